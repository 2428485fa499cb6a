"""How things are called in AWS: names and ARNs, built in this one place and from checked parts only.

The tool's own IAM objects carry a dot, which no prefix can hold. So what a pipeline may touch,
``role/shop-prod-*`` and ``policy/shop-prod-*``, never matches ``policy/shop-prod.boundary``.
"""

from __future__ import annotations

import re
from typing import Final

APPLICATION_LENGTH: Final = 32
ENVIRONMENT_LENGTH: Final = 20
POLICY_LENGTH: Final = 64
"""With the longest prefix and ``.policy-`` this stays below IAM's 128 characters for a managed policy."""

NAME_PATTERN: Final = r"[a-z][a-z0-9]*(-[a-z0-9]+)*"
TAG_PREFIX: Final = "ci-user:"
"""Reserved for the tool's own tags; Terraform ignores them and users may not set them."""

_NAME = re.compile(NAME_PATTERN)


def is_name(text: str, longest: int) -> bool:
    """Tell whether `text` may become part of IAM names, paths and ARNs: lower case, digits, single hyphens.

    Args:
        text: Any text at all.
        longest: The greatest length allowed, in characters.
    """
    return len(text) <= longest and _NAME.fullmatch(text) is not None


def prefix(application: str, environment: str) -> str:
    """Return ``application-environment``, which starts the name of everything the pipeline makes.

    Raises:
        ValueError: when one of the two is no name (see `is_name`).
    """
    if not is_name(application, APPLICATION_LENGTH):
        raise ValueError(f"no application name: {application!r}")
    if not is_name(environment, ENVIRONMENT_LENGTH):
        raise ValueError(f"no environment name: {environment!r}")
    return f"{application}-{environment}"


def nested(one: str, other: str) -> bool:
    """Tell whether two prefixes are equal, or one is the other up to a hyphen.

    Resources of ``shop-prod-eu`` match the pattern ``shop-prod-*``, so the shorter prefix would reach them.
    """
    return f"{one}-".startswith(f"{other}-") or f"{other}-".startswith(f"{one}-")


def role_under(starts: str | tuple[str, ...], name: str, path: str = "/") -> str | None:
    """Return what to call a role that lies under a prefix; None when it lies elsewhere.

    Policies compare ARNs, and a role's path is part of its ARN: with the path ``/shop-prod-x/`` any name matches
    ``role/shop-prod-*``, and the pipeline may choose the path.
    https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_identifiers.html#identifiers-arns

    >>> role_under("shop-prod-", "admin", "/shop-prod-x/")
    'shop-prod-x/admin'

    Args:
        starts: What names under the prefix begin with, or under one of several.
        name: The role's name.
        path: Its path, with slashes around it.
    """
    return next((one for one in (name, f"{path}{name}".lstrip("/")) if one.startswith(starts)), None)


def user_name(prefix: str) -> str:
    """Return the name of the CI user, and of its group of one."""
    return f"{prefix}.ci"


def group_name(prefix: str) -> str:
    """Return the name of the group of one that carries the policies."""
    return f"{prefix}.ci"


def policy_name(prefix: str, policy: str) -> str:
    """Return the name of the managed policy made from the shipped or own policy `policy`.

    Raises:
        ValueError: when `policy` is no name of at most `POLICY_LENGTH` characters.
    """
    if not is_name(policy, POLICY_LENGTH):
        raise ValueError(f"no policy name: {policy!r}")
    return f"{prefix}.policy-{policy}"


def is_own_policy(name: str) -> bool:
    """Tell whether a managed policy of this name, in lower case, is one that this tool makes, in whatever environment."""
    _, dot, rest = name.partition(".")
    return bool(dot) and (rest in ("boundary", "role-boundary") or rest.startswith("policy-"))


def boundary_name(prefix: str) -> str:
    """Return the name of the CI user's permissions boundary."""
    return f"{prefix}.boundary"


def role_boundary_name(prefix: str) -> str:
    """Return the name of the permissions boundary for the roles that the pipeline makes."""
    return f"{prefix}.role-boundary"


def arn(partition: str, service: str, region: str, account_id: str, resource: str) -> str:
    """Return ``arn:partition:service:region:account:resource``; region and account may be empty.

    https://docs.aws.amazon.com/IAM/latest/UserGuide/reference-arns.html
    """
    return f"arn:{partition}:{service}:{region}:{account_id}:{resource}"

"""The two permissions boundaries: what a CI user, and a role made by its pipeline, can never do.

They hold whatever policies are chosen. The documents are ``terraform/policies/guard/*.json``.
https://docs.aws.amazon.com/IAM/latest/UserGuide/access_policies_boundaries.html
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Protocol

from ci_user.errors import PolicyError
from ci_user.policy import documents

ROOT: Final = Path(__file__).resolve().parents[2]
"""The repository that this code lies in: the boundaries belong to the code, not to an environment."""

OWN_FOLDER: Final = "ci-user/"
"""Secrets and parameters in this folder are the tool's: the boundaries guard all of them, later ones too."""


class Guarded(Protocol):
    """What nobody's pipeline may touch, as ARNs."""

    @property
    def state_buckets(self) -> Sequence[str]: ...  # noqa: D102
    @property
    def secret_names(self) -> Sequence[str]: ...  # noqa: D102
    @property
    def parameter_arns(self) -> Sequence[str]: ...  # noqa: D102
    @property
    def kms_keys(self) -> Sequence[str]: ...  # noqa: D102


def boundary(environment: documents.PolicyEnvironment, guarded: Guarded, root: Path = ROOT) -> str:
    """Return the CI user's permissions boundary as canonical JSON.

    Raises:
        PolicyError: The document is wrong, or more is guarded than fits into one managed policy.
    """
    return _render("boundary", environment, guarded, root)


def role_boundary(environment: documents.PolicyEnvironment, guarded: Guarded, root: Path = ROOT) -> str:
    """Return the boundary for roles that the pipeline makes as canonical JSON.

    Raises:
        PolicyError: The document is wrong, or more is guarded than fits into one managed policy.
    """
    return _render("role-boundary", environment, guarded, root)


def _render(name: str, environment: documents.PolicyEnvironment, guarded: Guarded, root: Path) -> str:
    path = documents.directory(root) / "guard" / f"{name}.json"
    parameters = beyond_own_folder(guarded.parameter_arns, environment)
    lists = {
        "state_bucket_arns": [arn + end for arn in sorted(guarded.state_buckets) for end in ("", "/*")],
        "guarded_secret_arns": beyond_own_folder(guarded.secret_names, environment),
        "guarded_parameter_arns": parameters,
        "guarded_path_arns": _paths_above(parameters),
        "guarded_kms_arns": sorted(guarded.kms_keys),
    }
    document = documents.render(documents.read(path), {**documents.parameters(environment), **lists})
    text = documents.canonical(document)
    if documents.size(text) > documents.MANAGED_POLICY_SIZE:
        count = sum(len(items) for items in lists.values())
        raise PolicyError(
            f"the {name} of {environment.prefix}, with {count} guarded ARNs, has "
            f"{documents.size(text):,} characters that are not white space",
            where=str(path),
            expected=f"at most {documents.MANAGED_POLICY_SIZE:,}: IAM's limit for one managed policy",
            do=f"let the names of this account's secrets and parameters begin with {OWN_FOLDER}, and its "
            "environments share a state bucket and a KMS key",
        )
    return text


def beyond_own_folder(arns: Sequence[str], environment: documents.PolicyEnvironment) -> list[str]:
    """Return the ARNs that the documents' own patterns for `OWN_FOLDER` do not cover, sorted."""
    account = re.escape(environment.account_id)
    kinds = rf"(secretsmanager:[^:]+:{account}:secret:|ssm:[^:]+:{account}:parameter/)"
    covered = re.compile(rf"arn:[^:]+:{kinds}{OWN_FOLDER}.*")
    return sorted(arn for arn in arns if not covered.fullmatch(arn))


def _paths_above(parameter_arns: Sequence[str]) -> list[str]:
    """Return the ARN of every path above the parameters, but for the root, which the documents name.

    Whoever may call GetParametersByPath on a path reads all below it, even what an explicit deny names:
    https://docs.aws.amazon.com/systems-manager/latest/userguide/sysman-paramstore-access.html
    """
    paths = set()
    for arn in parameter_arns:
        start, _, name = arn.partition(":parameter/")
        above = name.split("/")[:-1]
        for depth in range(1, len(above) + 1):
            path = f"{start}:parameter/{'/'.join(above[:depth])}"
            paths |= {path, f"{path}/"}
    return sorted(paths)

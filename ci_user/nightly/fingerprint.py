"""The digest of everything that a plan and its scan are a function of: equal digests, equal verdict.

A plan depends on the configuration, the variables, the state, the provider, and on what AWS answers. The first four are here;
the last is the digest of the facts. What depends on the day, as the end of an acceptance does, is judged anew each night.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ci_user.environment_fields import inside
from ci_user.environment_policies import PolicyDirectory, PolicyFile
from ci_user.files import digest_of_files

if TYPE_CHECKING:
    from ci_user.environment import Environment
    from ci_user.run import Loaded
    from ci_user.toolchain import Toolchain

_JUDGES: Final = ("checkov", "cloudsplaining", "policy-sentry", "python-terraform", "botocore")
_DATA: Final = Path(__file__).parent.parent / "policy" / "data"


@functools.cache
def judges() -> Mapping[str, str]:
    """Return what a verdict depends on besides the code: versions of packages, and the catalogue of actions."""
    found = {}
    for name in _JUDGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = ""
    return found | {"data": digest_of_files(_DATA, sorted(_DATA.iterdir()))}


def of_versions(code: str, toolchain: Toolchain) -> str:
    """Return the part of the digest that all environments share, as text.

    Args:
        code: What ``approval.code_digest`` returned: modules, policies, provider lock and this package.
        toolchain: Terraform and its provider.
    """
    terraform = (toolchain.version, toolchain.provider_version, toolchain.dev_overrides)
    return json.dumps([code, terraform, dict(judges())], sort_keys=True)


def fingerprint(
    loaded: Loaded, *, versions: str, state: str | None, facts: str, inline_policy_names: tuple[str, ...] = ()
) -> str:
    """Return the SHA-256 (hex) of everything that an environment's plan and scan depend on.

    Args:
        loaded: The environment with those of its siblings that matter to it.
        versions: What ``of_versions`` returned.
        state: The version of the state object; None when there is none.
        facts: The digest of what AWS answers.
        inline_policy_names: Inline policies of the user that Terraform leaves alone.

    Raises:
        PolicyError: A policy file cannot be read.
    """
    environment = loaded.environment
    parts: list[Any] = [
        # Pydantic warns of a policy of the environment's own, which it has made a dictionary by then.
        environment.model_dump_json(exclude={"root"}, warnings=False),
        [settings.target(environment) for settings in environment.places],
        asdict(loaded.guarded),
        loaded.neighbours,
        own_policies(environment, loaded.root),
        versions,
        state,
        facts,
        inline_policy_names,
    ]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def own_policies(environment: Environment, root: Path) -> list[str]:
    """Return the digests of the policy files that an environment names itself; the project's own are part of its code."""
    return [
        _files_of(root, f"{start}{item.file if isinstance(item, PolicyFile) else item.directory}", item)
        for item in environment.policies
        if isinstance(item, PolicyFile | PolicyDirectory)
        # A path begins at the root or in environments/: see `policy.choice`.
        for start in ("", "environments/")
    ]


def _files_of(root: Path, text: str, item: PolicyFile | PolicyDirectory) -> str:
    try:
        path = inside(root, text)
        files = sorted(path.glob("*.json")) if isinstance(item, PolicyDirectory) else [path]
        return digest_of_files(root.absolute(), files)
    except (OSError, ValueError):
        # Whatever it is, the plan says it better.
        return "unreadable"

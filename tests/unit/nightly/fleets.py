"""Fleets for tests: environments of any account, without files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ci_user.environment import Environment
from ci_user.errors import EnvironmentFileError
from ci_user.nightly.selection import Fleet
from tests.unit.nightly.identities import environment


def one(name: str, account: str = "111111111111", **changes: Any) -> Environment:
    """Return an environment that shares nothing with others but its account."""
    own = {
        "state": {"bucket": f"states-{account}"},
        "secrets": [{"backend": "aws-secrets-manager", "name": f"ci/{name}"}],
    }
    return environment(name=name, account_id=account, **own | changes)


def fleet(
    accounts: Mapping[str, str], *broken: str, root: Path = Path(), sandboxes: tuple[str, ...] = (), **changes: Any
) -> Fleet:
    """Return a fleet.

    Args:
        accounts: Each environment's account, by name.
        broken: The names of files that cannot be read.
        root: The repository.
        sandboxes: Names of sandboxes that are there besides.
        changes: What all environments have besides.
    """
    every = {name: one(name, account, **changes) for name, account in accounts.items()}
    every |= {name: one(name, sandbox=True) for name in sandboxes}
    return Fleet(root, every, {name: EnvironmentFileError(f"environments/{name}.yaml: broken") for name in broken})


def same_account(*names: str, **changes: Any) -> Fleet:
    """Return a fleet of one account."""
    return fleet(dict.fromkeys(names, "111111111111"), **changes)

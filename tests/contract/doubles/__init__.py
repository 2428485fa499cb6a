"""The doubles of the vendors, by backend; a new backend adds its places here and runs the whole contract."""

from __future__ import annotations

from importlib import import_module
from typing import Final

from tests.contract.place import Place

_PLACES: Final = {
    "bitbucket repository": ("bitbucket", "RepositoryPlace"),
    "bitbucket deployment": ("bitbucket", "DeploymentPlace"),
    "bitbucket workspace": ("bitbucket", "WorkspacePlace"),
    "circleci context": ("circleci", "ContextPlace"),
    "circleci project": ("circleci", "ProjectPlace"),
}


def names() -> tuple[str, ...]:
    """Return the names of all places."""
    return tuple(_PLACES)


def place(name: str) -> type[Place]:
    """Return a place's class."""
    module, cls = _PLACES[name]
    found: type[Place] = getattr(import_module(f"tests.contract.doubles.{module}"), cls)
    return found

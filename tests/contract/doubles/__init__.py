"""The doubles of the vendors, by backend; a new backend adds its places here and runs the whole contract."""

from __future__ import annotations

from contextlib import ExitStack
from importlib import import_module
from pathlib import Path
from typing import Any, Final

from tests.contract.place import Place

_PLACES: Final = {
    "azure-devops group": ("azure_devops", "GroupPlace"),
    "bitbucket repository": ("bitbucket", "RepositoryPlace"),
    "bitbucket deployment": ("bitbucket", "DeploymentPlace"),
    "bitbucket workspace": ("bitbucket", "WorkspacePlace"),
    "circleci context": ("circleci", "ContextPlace"),
    "circleci project": ("circleci", "ProjectPlace"),
    "gitlab project": ("gitlab", "ProjectPlace"),
    "gitlab group": ("gitlab", "GroupPlace"),
    "gitlab instance": ("gitlab", "InstancePlace"),
    "github repository": ("github", "RepositoryPlace"),
    "github app": ("github", "AppPlace"),
    "github environment": ("github", "EnvironmentPlace"),
    "github organization": ("github", "OrganizationPlace"),
    "kubernetes": ("kubernetes", "SecretPlace"),
    "vault": ("vault", "VaultPlace"),
    "vault approle": ("vault", "AppRolePlace"),
}


def names() -> tuple[str, ...]:
    """Return the names of all places."""
    return tuple(_PLACES)


def place(name: str) -> type[Place]:
    """Return a place's class."""
    module, cls = _PLACES[name]
    found: type[Place] = getattr(import_module(f"tests.contract.doubles.{module}"), cls)
    return found


def place_of(name: str, running: dict[object, Any], stack: ExitStack, root: Path) -> Place:
    """Return a fresh place; the places of one double share its server, which is started when it is first needed."""
    cls = place(name)
    # A class method is another object for each class: the function behind it is the double's.
    key: object = getattr(cls.serve, "__func__", cls.serve)
    if key not in running:
        running[key] = stack.enter_context(cls.serve())
    return cls.at(running[key], root)

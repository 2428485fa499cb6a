"""The secrets backends by name; each one's module is imported only when an environment names it."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from ci_user.backends.protocol import AwsAccess, Backend, BackendSettings, EnvironmentNames, Held, OpenContext
from ci_user.errors import BackendError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "AwsAccess",
    "Backend",
    "BackendSettings",
    "EnvironmentNames",
    "Held",
    "UnknownBackendError",
    "names",
    "open_backend",
    "settings_model",
    "settings_of",
]

_MODULES = {
    "aws-secrets-manager": "ci_user.backends.aws_secrets_manager",
    "aws-ssm": "ci_user.backends.aws_ssm",
    "dotenv": "ci_user.backends.dotenv",
}


class UnknownBackendError(BackendError, KeyError):
    """No backend has this name."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"there is no secrets backend named {name[:80]!r}",
            expected=f"one of: {', '.join(names())}",
            do="correct `backend` in the environment file",
        )

    def __str__(self) -> str:
        return BackendError.__str__(self)


def names() -> tuple[str, ...]:
    """Return the names that an environment file may use, sorted."""
    return tuple(sorted(_MODULES))


def settings_model(name: str) -> type[BackendSettings]:
    """Return the settings class of the backend ``name``.

    Raises:
        UnknownBackendError: There is no such backend. It is a ``BackendError`` and a ``KeyError``.
    """
    if name not in _MODULES:
        raise UnknownBackendError(name)
    model: type[BackendSettings] = import_module(_MODULES[name]).Settings
    return model


def settings_of(target: str, environment: EnvironmentNames) -> BackendSettings | None:
    """Return the settings by which a place of the journal can be opened again; None when nothing here knows how.

    Args:
        target: The place, as its settings' ``target`` wrote it.
        environment: The environment that it was written for.
    """
    name = target.partition(":")[0]
    return settings_model(name).from_target(target, environment) if name in _MODULES else None


def open_backend(
    settings: BackendSettings, access: AwsAccess, environment: EnvironmentNames, root: Path | None = None
) -> Backend:
    """Return the backend that ``settings`` describe; nothing is contacted yet.

    Args:
        settings: An instance of the class that ``settings_model`` gave.
        access: Clients for the account and region that the settings name.
        environment: The environment the key is for.
        root: The repository's root, for backends that write files; the working directory if not given.

    Raises:
        UnknownBackendError: ``settings.backend`` is not a known name.
        BackendError: A protected environment names a backend that it may not use.
    """
    if settings.backend not in _MODULES:
        raise UnknownBackendError(settings.backend)
    if environment.protected and not settings.allowed_in_protected:
        raise BackendError(
            f"the {settings.backend} backend is refused in a protected environment",
            where=f"environment {environment.name}",
            expected="a backend that keeps the key in a secret store",
            do="remove it from `secrets`, or set `protected: false`",
        )
    factory: Callable[[BackendSettings, OpenContext], Backend] = import_module(_MODULES[settings.backend]).open_with
    return factory(settings, OpenContext(access, environment, root or Path.cwd()))

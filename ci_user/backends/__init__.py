"""The secrets backends by name; each one's module is imported only when an environment names it."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ci_user.backends.entry_points import PIN, Installed, Plugin, installed
from ci_user.backends.protocol import About, AwsAccess, Backend, BackendSettings, EnvironmentNames, Held, OpenContext
from ci_user.errors import BackendError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = [
    "PIN",
    "About",
    "AwsAccess",
    "Backend",
    "BackendSettings",
    "EnvironmentNames",
    "Held",
    "OpenContext",
    "UnknownBackendError",
    "about",
    "builtin",
    "names",
    "open_backend",
    "plugin",
    "plugins",
    "settings_model",
    "settings_of",
]

_MODULES = {
    "age": "ci_user.backends.age",
    "aws-secrets-manager": "ci_user.backends.aws_secrets_manager",
    "aws-ssm": "ci_user.backends.aws_ssm",
    "azure-devops": "ci_user.backends.azure_devops",
    "bitbucket": "ci_user.backends.bitbucket",
    "circleci": "ci_user.backends.circleci",
    "dotenv": "ci_user.backends.dotenv",
    "github": "ci_user.backends.github",
    "gitlab": "ci_user.backends.gitlab",
    "kubernetes": "ci_user.backends.kubernetes",
    "vault": "ci_user.backends.vault",
}


class UnknownBackendError(BackendError, KeyError):
    """No backend has this name."""

    def __init__(self, name: str) -> None:
        why = plugins().refused.get(name)
        super().__init__(
            f"the secrets backend {name[:80]!r} cannot be used: {why}"
            if why
            else f"there is no secrets backend named {name[:80]!r}",
            expected=f"one of: {', '.join(names())}",
            do="correct `backend` in the environment file",
        )

    def __str__(self) -> str:
        return BackendError.__str__(self)


def builtin() -> tuple[str, ...]:
    """Return the names of the project's own backends, sorted."""
    return tuple(sorted(_MODULES))


def plugins() -> Installed:
    """Return the backends of other packages on this machine; imports none of them."""
    return installed(_MODULES)


def plugin(name: str) -> Plugin | None:
    """Return the plugin of this name; None for a built-in backend and for an unknown name."""
    return None if name in _MODULES else plugins().plugins.get(name)


def names() -> tuple[str, ...]:
    """Return the names that an environment file may use, sorted."""
    return tuple(sorted((*_MODULES, *plugins().plugins)))


def about(name: str) -> About:
    """Return what the documentation tells of a backend.

    Raises:
        UnknownBackendError: There is no such backend.
    """
    found: About = _module(name).ABOUT
    return found


def settings_model(name: str) -> type[BackendSettings]:
    """Return the settings class of the backend ``name``.

    Raises:
        UnknownBackendError: There is no such backend. It is a ``BackendError`` and a ``KeyError``.
    """
    model: type[BackendSettings] = _module(name).Settings
    return model


def settings_of(target: str, environment: EnvironmentNames) -> BackendSettings | None:
    """Return the settings by which a place of the journal can be opened again; None when nothing here knows how.

    A plugin's place is not opened again: its code runs only where an environment file names it.

    Args:
        target: The place, as its settings' ``target`` wrote it.
        environment: The environment that it was written for.
    """
    name = target.partition(":")[0]
    return settings_model(name).from_target(target, environment) if name in _MODULES else None


def open_backend(
    settings: BackendSettings,
    access: AwsAccess,
    environment: EnvironmentNames,
    root: Path | None = None,
    *,
    environ: Mapping[str, str] | None = None,
    check: Callable[[Any], None] | None = None,
    reads_secrets: bool = True,
) -> Backend:
    """Return the backend that ``settings`` describe; nothing is contacted yet.

    Args:
        settings: An instance of the class that ``settings_model`` gave.
        access: Clients for the account and region that the settings name.
        environment: The environment the key is for.
        root: The repository's root, for backends that write files; the working directory if not given.
        environ: The environment variables that tokens may come from; none if not given.
        check: Told each HTTP request just before it is sent; raises when this run must not send it.
        reads_secrets: False for a run that reads no secret: see `OpenContext`.

    Raises:
        UnknownBackendError: ``settings.backend`` is not a known name.
        BackendError: A protected environment names a backend that it may not use.
    """
    module = _module(settings.backend)
    if environment.protected and not settings.allowed_in_protected:
        raise BackendError(
            f"the {settings.backend} backend is refused in a protected environment",
            where=f"environment {environment.name}",
            expected="a backend that keeps the key in a secret store",
            do="remove it from `secrets`, or set `protected: false`",
        )
    factory: Callable[[BackendSettings, OpenContext], Backend] = module.open_with
    context = OpenContext(access, environment, root or Path.cwd(), environ or {}, check, reads_secrets=reads_secrets)
    return factory(settings, context)


def _module(name: str) -> Any:
    if name in _MODULES:
        return import_module(_MODULES[name])
    found = plugin(name)
    if found is None:
        raise UnknownBackendError(name)
    return found.load()

"""Backends of other packages: entry points of the group ``ci_user.backends``, each a module as the files here are.

Listing them imports none of them. One is imported only when an environment names it, and in a protected environment only when
the entry pins the distribution and its version, because its code sees the key.
https://packaging.python.org/en/latest/specifications/entry-points/
"""

from __future__ import annotations

import importlib.metadata
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final

from ci_user.errors import BackendError

GROUP: Final = "ci_user.backends"
PIN: Final = "plugin"
"""The key of an entry of ``secrets`` that pins a plugin: ``DISTRIBUTION==VERSION``."""


@dataclass(frozen=True)
class Plugin:
    """One entry point.

    Args:
        name: What environment files call the backend.
        distribution: The package that offers it.
        version: Its version.
        entry: Loads the module.
    """

    name: str
    distribution: str
    version: str
    entry: importlib.metadata.EntryPoint

    @property
    def pin(self) -> str:
        """``DISTRIBUTION==VERSION``, as an environment file pins it."""
        return f"{self.distribution}=={self.version}"

    def load(self) -> Any:
        """Return the module.

        Raises:
            BackendError: It cannot be imported, or lacks what a backend's module has.
        """
        from ci_user.backends.protocol import BackendSettings

        try:
            module = self.entry.load()
        except (Exception, SystemExit) as error:  # noqa: BLE001 - another package's code may raise anything
            raise BackendError(
                f"the backend {self.name} of {self.pin} cannot be imported: {type(error).__name__}",
                do=f"repair or uninstall {self.distribution}",
            ) from None
        missing = [name for name in ("Settings", "open_with", "ABOUT") if not hasattr(module, name)]
        if missing:
            raise BackendError(
                f"the backend {self.name} of {self.pin} has no {', '.join(missing)}",
                expected="a module with Settings, open_with and ABOUT (docs/backends.md, Backends of your own)",
                do=f"repair or uninstall {self.distribution}",
            )
        if not (isinstance(module.Settings, type) and issubclass(module.Settings, BackendSettings)):
            raise BackendError(
                f"the Settings of the backend {self.name} of {self.pin} are no BackendSettings",
                expected="a class that is derived from ci_user.backends.BackendSettings",
                do=f"repair or uninstall {self.distribution}",
            )
        return module


@dataclass(frozen=True)
class Installed:
    """What is installed.

    Args:
        plugins: The usable ones, by name.
        refused: Names that cannot be used, with the reason.
    """

    plugins: Mapping[str, Plugin]
    refused: Mapping[str, str]


def installed(taken: Collection[str]) -> Installed:
    """Return the plugins on this machine; imports none.

    Args:
        taken: The names of the built-in backends, which no plugin can have.
    """
    found: dict[str, list[Plugin]] = {}
    for entry in importlib.metadata.entry_points(group=GROUP):
        dist = entry.dist
        plugin = Plugin(entry.name, *_whose(dist), entry)
        found.setdefault(entry.name, []).append(plugin)
    plugins, refused = {}, {}
    for name, offered in sorted(found.items()):
        pins = ", ".join(sorted(plugin.pin for plugin in offered))
        if name in taken:
            refused[name] = f"{pins} offers a backend by the name of a built-in one, which it cannot take"
        elif len(offered) > 1:
            refused[name] = f"more than one package offers it: {pins}"
        elif not (offered[0].distribution and offered[0].version):
            refused[name] = "the package that offers it does not tell its name and version, so that nothing can pin it"
        elif re.fullmatch(r"[a-z][a-z0-9-]{0,40}", name) is None:
            refused[name] = f"{pins} offers a name that is not lower case letters, digits and hyphens"
        else:
            plugins[name] = offered[0]
    return Installed(plugins, refused)


def _whose(dist: importlib.metadata.Distribution | None) -> tuple[str, str]:
    """Return name and version; empty where what is left of a package does not tell them."""
    meta: Any = (dist.metadata if dist else None) or {}
    name, version = (str(meta[key]) if key in meta else "" for key in ("Name", "Version"))
    return re.sub(r"[-_.]+", "-", name).lower(), version

"""What backends there are and what can be set, read from the models; `invoke backends` and docs/backends.md show it."""

from __future__ import annotations

import importlib.metadata
import typing
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from ci_user import backends
from ci_user.backends.protocol import About, BackendSettings
from ci_user.text import plain


@dataclass(frozen=True)
class Setting:
    """One key of an entry of ``secrets``.

    Args:
        key: The key, with a dot before each level below the first.
        default: Its default, in words.
        meaning: What it means.
    """

    key: str
    default: str
    meaning: str


@dataclass(frozen=True)
class Overview:
    """One backend as it is installed.

    Args:
        name: What environment files call it.
        origin: ``built in``, or the package and version that offers it.
        readable: Whether it can be the stage; None for a plugin that was not imported.
        protected: Whether a protected environment may use it; None likewise.
        consumers: What a pipeline reads.
        tested: What it was tested against.
        missing: What is to be installed first, empty when nothing is.
        settings: What can be set; empty for a plugin that was not imported.
    """

    name: str
    origin: str
    readable: bool | None = None
    protected: bool | None = None
    consumers: str = ""
    tested: str = ""
    missing: str = ""
    settings: tuple[Setting, ...] = ()


def overview(name: str) -> Overview:
    """Return one backend with its settings; a plugin is imported.

    Raises:
        UnknownBackendError: There is none of this name.
        BackendError: A plugin cannot be imported.
    """
    plugin = backends.plugin(name)
    model, about = backends.settings_model(name), backends.about(name)
    return Overview(
        name=name,
        origin=plugin.pin if plugin else "built in",
        readable=model.readable,
        protected=model.allowed_in_protected,
        consumers=about.consumers,
        tested=about.tested,
        missing=missing(about) if plugin is None else "",
        settings=settings(model),
    )


def overviews() -> tuple[Overview, ...]:
    """Return all backends: the built-in ones with their settings, the plugins without being imported."""
    found = [overview(name) for name in backends.builtin()]
    plugins = backends.plugins()
    found += [Overview(name, plugin.pin) for name, plugin in plugins.plugins.items()]
    return tuple(found)


def settings(model: type[BackendSettings]) -> tuple[Setting, ...]:
    """Return what can be set in an entry, without ``backend`` itself."""
    return tuple(setting for setting in _settings(model, "") if setting.key != "backend")


def missing(about: About) -> str:
    """Return the package of the backend's extra that is not installed, empty when all are there or none is needed."""
    if about.extra is None:
        return ""
    for package in packages(about.extra):
        try:
            importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            return package
    return ""


def packages(extra: str) -> tuple[str, ...]:
    """Return the packages of an optional extra, as ``EXTRAS`` has them."""
    return EXTRAS[extra]


EXTRAS: typing.Final = {
    "age": ("pyrage",),
    "github": ("pygithub", "pynacl"),
    "gitlab": ("python-gitlab",),
    "keyring": ("keyring",),
    "kubernetes": ("kubernetes",),
    "vault": ("hvac",),
}
"""What optional extras of backends and token sources hold; a test compares them with ``pyproject.toml``."""


def _settings(model: type[BaseModel], above: str) -> Iterator[Setting]:
    for name, field in model.model_fields.items():
        inner = _model_in(field.annotation)
        if inner is None:
            yield Setting(f"{above}{name}", _default(field), field.description or "")
            continue
        yield from _settings(inner, f"{above}{name}.")


def _model_in(annotation: object) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next(filter(None, map(_model_in, typing.get_args(annotation))), None)


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "must be given"
    default: Any = field.get_default(call_default_factory=True)
    if default is None or default in ("", ()):
        return ""
    if isinstance(default, bool):
        return str(default).lower()
    return str(default)


def lines(found: tuple[Overview, ...], refused: typing.Mapping[str, str]) -> list[str]:
    """Return the list for a person."""
    text: list[str] = []
    for one in found:
        kind = "" if one.readable is None else "can be the stage" if one.readable else "takes delivery only"
        where = "" if one.protected in (True, None) else ", not in protected environments"
        text.append(plain(f"{one.name}  ({one.origin}{f'; {kind}{where}' if kind else ''})"))
        if one.consumers:
            text.append(plain(f"    a pipeline reads: {one.consumers}"))
        if one.missing:
            text.append(plain(f"    missing: the package {one.missing}; `make sandbox` installs it"))
        if not one.settings and one.origin != "built in":
            text.append(
                f"    a package's own: `invoke backends --backend {one.name}` imports it and shows its settings"
            )
        width = max((len(setting.key) for setting in one.settings), default=0)
        for setting in one.settings:
            default = f" [{setting.default}]" if setting.default else ""
            text.append(plain(f"    {setting.key:<{width}}  {setting.meaning}{default}"))
    text += [plain(f"{name}  REFUSED: {reason}") for name, reason in refused.items()]
    return text


def document(found: tuple[Overview, ...], refused: typing.Mapping[str, str]) -> dict[str, Any]:
    """Return the list as a JSON object."""
    return {"backends": [asdict(one) for one in found], "refused": dict(refused)}

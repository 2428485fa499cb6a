"""Reads one entry of an environment file's ``secrets`` with the model of the backend that it names."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationInfo

from ci_user import backends
from ci_user.backends.protocol import BackendSettings
from ci_user.environment_fields import expected, refusal
from ci_user.errors import BackendError


def read(value: object, info: ValidationInfo) -> object:
    """Return the settings in an entry, checked; settings that are ready are given back as they are.

    A plugin is imported only after its pin was compared, which a protected environment must have.

    Raises:
        pydantic.ValidationError: No backend is called so, its plugin is another than the pinned one, or a setting is wrong.
    """
    if isinstance(value, BackendSettings):
        return value
    if not isinstance(value, dict):
        raise expected("a backend and its settings, such as backend: aws-secrets-manager")
    name = value.get("backend")
    if not isinstance(name, str) or (name not in backends.builtin() and name not in backends.names()):
        reason = backends.plugins().refused.get(name) if isinstance(name, str) else None
        raise refusal([(("backend",), reason or f"one of {', '.join(backends.names())}", name)])
    if name in backends.builtin():
        return backends.settings_model(name).model_validate(value, context=info.context)
    settings = {key: item for key, item in value.items() if key != backends.PIN}
    _compare_pin(name, value.get(backends.PIN), protected=info.data.get("protected", True))
    try:
        model = backends.settings_model(name)
    except BackendError as error:
        raise refusal([(("backend",), f"a backend that can be imported ({error.what})", name)]) from None
    return model.model_validate(settings, context=info.context)


def _compare_pin(name: str, pin: Any, *, protected: bool) -> None:
    found = backends.plugin(name)
    wanted = found.pin if found else "DISTRIBUTION==VERSION"
    if pin is None and protected:
        text = f"DISTRIBUTION==VERSION of the package that offers {name}, since the environment is protected; here is {wanted}"
        raise refusal([((backends.PIN,), text, pin)])
    if pin is not None and pin != wanted:
        raise refusal([((backends.PIN,), f"{wanted}, which is what is installed", pin)])

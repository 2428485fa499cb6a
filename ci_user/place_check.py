"""Asks each place of an environment whether it could take a key, before anybody makes one: `invoke doctor --env NAME`."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from ci_user.doctor import Examined
from ci_user.errors import BackendError, CiUserError
from ci_user.run import Loaded, opened

if TYPE_CHECKING:
    from ci_user.backends.protocol import Backend
    from ci_user.reports.console import Console

_AT_ONCE = 8


def examine_places(loaded: Loaded, console: Console, environ: Mapping[str, str]) -> tuple[Examined, ...]:
    """Return how each place of the environment answered its preflight; nothing is changed, and no secret read.

    A sandbox is started for it. What cannot be reached is an entry of the result and never an exception.
    """
    try:
        with opened(loaded, console, environ) as run:
            who = Examined("login", "ok", run.caller.arn, f"account {loaded.environment.account_id}")
            places = run.backends()
            with ThreadPoolExecutor(max_workers=min(_AT_ONCE, len(places)), thread_name_prefix="place") as pool:
                return (who, *pool.map(_examined, places))
    except CiUserError as error:
        return (Examined("login", "wrong", error.what, error.where or "", error.do or ""),)


def _examined(place: Backend) -> Examined:
    try:
        return Examined(place.target, "ok", "; ".join(place.preflight()))
    except BackendError as error:
        return Examined(place.target, "wrong", error.what, error.expected or "", error.do or "")

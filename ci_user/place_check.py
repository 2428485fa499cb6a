"""Asks each place of an environment whether it could take a key, before anybody makes one: `invoke doctor --env NAME`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from ci_user.doctor import Examined
from ci_user.errors import CiUserError
from ci_user.run import Loaded, opened
from ci_user.side_by_side import side_by_side

if TYPE_CHECKING:
    from ci_user.reports.console import Console


def examine_places(loaded: Loaded, console: Console, environ: Mapping[str, str]) -> tuple[Examined, ...]:
    """Return how each place of the environment answered its preflight; nothing is changed, and no secret read.

    A sandbox is started for it. What cannot be reached is an entry of the result and never an exception.
    """
    try:
        with opened(loaded, console, environ) as run:
            who = Examined("login", "ok", run.caller.arn, f"account {loaded.environment.account_id}")
            places = run.backends()
            answers = side_by_side({place.target: place.preflight for place in places})
    except CiUserError as error:
        return (_failed("login", error),)
    if answers.stopped is not None:
        raise answers.stopped
    found = {target: Examined(target, "ok", notes=sentences) for target, sentences in answers.values.items()}
    found |= {target: _failed(target, error) for target, error in answers.failures.items()}
    return (who, *(found[place.target] for place in places))


def _failed(name: str, error: CiUserError) -> Examined:
    return Examined(name, "wrong", error.what, f"expected: {error.expected}" if error.expected else "", error.do or "")

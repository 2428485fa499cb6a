"""Foreign text made safe for a log that a terminal or a CI system reads, and how times and spans are told."""

from __future__ import annotations

import datetime as dt
import re
from typing import Final

from ci_user.naming import ENVIRONMENT_LENGTH, NAME_PATTERN
from ci_user.nightly.model import Acceptance
from ci_user.text import plain

_NAME: Final = re.compile(NAME_PATTERN)


def shown(text: object, limit: int | None = None) -> str:
    """Return `text` on one line without effect on a terminal or a GitHub runner.

    The runner takes ``##[command]`` anywhere in a line, and ``::command::`` where a line begins with it after spaces; the
    latter is for the caller to see to, by beginning each line with a word of its own.
    https://github.com/actions/runner/blob/main/src/Runner.Common/ActionCommand.cs

    Args:
        text: Anything.
        limit: The greatest length in characters; what is longer ends in ``...``.
    """
    return plain(text, limit).replace("##[", "# #[")


def when(moment: dt.datetime) -> str:
    """Return a time to the minute, in UTC."""
    return f"{moment.astimezone(dt.UTC):%Y-%m-%d %H:%M} UTC"


def span(seconds: float) -> str:
    """Return a time span as people say it."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{int(seconds) // 60} min {int(seconds) % 60} s"


def why(accepted: Acceptance) -> str:
    """Return why something may stay; it is as foreign as what it is made of."""
    lasts = "for good" if accepted.expires == "never" else f"until {accepted.expires}"
    return f"{accepted.reason} ({accepted.owner}, {lasts})"


def counted(count: int, what: str) -> str:
    """Return a number of things, such as "1 error" and "2 errors"."""
    return f"{count} {what}{'' if count == 1 else 's'}"


def some(names: tuple[str, ...], most: int) -> str:
    """Return names with commas between them, `most` of them at most and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(shown(name, 100) for name in names[:most]) + more


def file_of(environment: str) -> str | None:
    """Return an environment's file, relative to the repository's root; None when that cannot be an environment's name.

    So no result, wherever it comes from, names a file elsewhere.
    """
    if len(environment) > ENVIRONMENT_LENGTH or _NAME.fullmatch(environment) is None:
        return None
    return f"environments/{environment}.yaml"

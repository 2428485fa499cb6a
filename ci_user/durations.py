"""Time spans as people write them: ``500ms``, ``90s``, ``2m``, ``24h``, ``7d``."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated, Final

from pydantic import AfterValidator, BeforeValidator, PlainSerializer, WithJsonSchema

from ci_user.environment_fields import expected

DURATION_PATTERN: Final = r"[0-9]{1,9}(ms|s|m|h|d)"
_UNITS: Final = {
    "d": timedelta(days=1),
    "h": timedelta(hours=1),
    "m": timedelta(minutes=1),
    "s": timedelta(seconds=1),
    "ms": timedelta(milliseconds=1),
}


def parse_duration(text: object) -> timedelta:
    """Return the time span that ``90s``, ``2m``, ``500ms``, ``24h`` or ``7d`` stands for.

    Raises:
        pydantic_core.PydanticCustomError: when `text` is anything else.
    """
    if isinstance(text, timedelta):
        return text
    if not isinstance(text, str) or re.fullmatch(DURATION_PATTERN, text) is None:
        raise expected("a time span such as 500ms, 90s, 2m, 24h or 7d")
    unit = text.lstrip("0123456789")
    count = int(text.removesuffix(unit))
    try:
        return count * _UNITS[unit]
    except OverflowError:
        raise expected("a time span of at most 999999999d") from None


def format_duration(span: timedelta) -> str:
    """Return the shortest text that `parse_duration` reads as `span`; the inverse for whole milliseconds."""
    if not span:
        return "0s"
    for unit, length in _UNITS.items():
        if not span % length:
            return f"{span // length}{unit}"
    raise ValueError(f"not whole milliseconds: {span!r}")


def between(low: timedelta, high: timedelta) -> AfterValidator:
    """Return the validator of a time span from `low` to `high`, both included."""

    def check(value: timedelta) -> timedelta:
        if not low <= value <= high:
            raise expected(f"a time span from {format_duration(low)} to {format_duration(high)}")
        return value

    return AfterValidator(check)


Duration = Annotated[
    timedelta,
    BeforeValidator(parse_duration),
    PlainSerializer(format_duration, return_type=str),
    WithJsonSchema({"type": "string", "pattern": f"^{DURATION_PATTERN}$"}),
]

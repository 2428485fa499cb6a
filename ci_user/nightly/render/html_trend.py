"""How the last nights were: bars for what was not clean, and the same as a table."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from typing import Final, Protocol

from ci_user.nightly.render.html_parts import table
from ci_user.nightly.render.markup import Markup, element

_SHOWN: Final = 30
_WIDTH: Final = 900
_LEFT: Final = 44
_TALL: Final = 120
_TOP: Final = 12


class Night(Protocol):
    """One night's run: its day, and how many environments were clean, had findings, or could not be checked."""

    @property
    def date(self) -> dt.date:
        """The day on which it began, in UTC."""

    @property
    def clean(self) -> int:
        """How many environments were clean."""

    @property
    def findings(self) -> int:
        """How many had findings."""

    @property
    def errors(self) -> int:
        """How many could not be checked."""


def trend(nights: Sequence[Night]) -> Iterator[Markup]:
    """Return the picture and the table of the last nights, the oldest on the left."""
    shown = sorted(nights, key=lambda night: night.date)[-_SHOWN:]
    yield _picture(shown)
    yield element(
        "details",
        element("summary", "As a table"),
        table(
            "Environments by verdict, the last night first",
            ("Night", "Error", "Findings", "Clean"),
            [(None, ((f"{one.date:%Y-%m-%d}", one.errors, one.findings, one.clean) for one in reversed(shown)))],
        ),
    )


def _picture(nights: Sequence[Night]) -> Markup:
    most = max(*(night.errors + night.findings for night in nights), 1)
    step = (_WIDTH - _LEFT) / max(len(nights), 10)
    bottom = _TOP + _TALL
    first, last = nights[0], nights[-1]
    return element(
        "svg",
        element("title", "Environments that were not clean, by night", id="trend-title"),
        element(
            "desc",
            f"From {first.date:%Y-%m-%d} with {first.errors} in error and {first.findings} with findings "
            f"to {last.date:%Y-%m-%d} with {last.errors} and {last.findings}. The table after this picture says the same.",
            id="trend-about",
        ),
        (_level(value, bottom - _TALL * value / most) for value in sorted({0, most // 2, most})),
        (_bar(night, _LEFT + place * step, step, most, bottom) for place, night in enumerate(nights)),
        element("text", f"{first.date:%Y-%m-%d}", x=_LEFT, y=bottom + 20, class_="small"),
        element(
            "text",
            f"{last.date:%Y-%m-%d}",
            x=_LEFT + len(nights) * step,
            y=bottom + 20,
            text_anchor="end",
            class_="small",
        )
        if len(nights) > 2
        else None,
        viewBox=f"0 0 {_WIDTH} {bottom + 28}",
        width=_WIDTH,
        height=bottom + 28,
        role="img",
        aria_labelledby="trend-title",
        aria_describedby="trend-about",
        class_="picture always",
    )


def _level(value: int, y: float) -> Iterator[Markup]:
    yield element("line", x1=_LEFT, y1=y, x2=_WIDTH, y2=y, class_="grid")
    yield element("text", f"{value:,}", x=_LEFT - 8, y=y + 4, text_anchor="end", class_="small")


def _bar(night: Night, left: float, step: float, most: int, bottom: int) -> Markup:
    errors, findings = _TALL * night.errors / most, _TALL * night.findings / most
    wide = min(step * 0.7, 40.0)
    left += (step - wide) / 2
    return element(
        "g",
        element(
            "title",
            f"{night.date:%Y-%m-%d}: {night.errors} in error, {night.findings} with findings, {night.clean} clean",
        ),
        element("rect", x=left, y=bottom - findings, width=wide, height=findings, class_="bar findings"),
        element("rect", x=left, y=bottom - findings - errors, width=wide, height=errors, class_="bar errors"),
    )

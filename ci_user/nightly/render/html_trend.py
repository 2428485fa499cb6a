"""How the last nights were: bars for what was not clean, and the same as a table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

from ci_user.nightly.render.html_parts import badge, table, utc
from ci_user.nightly.render.markup import Markup, element

if TYPE_CHECKING:
    from ci_user.nightly.history import Night

_SHOWN: Final = 30
_WIDTH: Final = 480
_LEFT: Final = 40
_TALL: Final = 120
_TOP: Final = 12


def trend(nights: Sequence[Night]) -> Iterator[Markup]:
    """Return the picture and the table of the last nights, the oldest on the left."""
    shown = sorted(nights, key=lambda night: utc(night.began))[-_SHOWN:]
    yield element(
        "p",
        badge("error", "could not be checked"),
        " over ",
        badge("findings"),
        ", environments by night",
        class_="note",
    )
    yield _picture(shown)
    yield element(
        "details",
        element("summary", "As a table"),
        table(
            "Environments by verdict, the last night first",
            ("Night", "Error", "Findings", "Clean"),
            [(None, ((_day(one), _errors(one), one.findings, one.clean) for one in reversed(shown)))],
        ),
    )


def _picture(nights: Sequence[Night]) -> Markup:
    most = max(*(_errors(night) + night.findings for night in nights), 1)
    step = (_WIDTH - _LEFT) / max(len(nights), 10)
    bottom = _TOP + _TALL
    first, last = nights[0], nights[-1]
    return element(
        "svg",
        element("title", "Environments that were not clean, by night", id="trend-title"),
        element(
            "desc",
            f"From {_day(first)} with {_errors(first)} in error and {first.findings} with findings "
            f"to {_day(last)} with {_errors(last)} and {last.findings}. The table after this picture says the same.",
            id="trend-about",
        ),
        (_level(value, bottom - _TALL * value / most) for value in sorted({0, most // 2, most})),
        (_bar(night, _LEFT + place * step, step, most, bottom) for place, night in enumerate(nights)),
        element("text", _day(first), x=_LEFT, y=bottom + 20, class_="small"),
        element(
            "text",
            _day(last),
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
    errors, findings = _TALL * _errors(night) / most, _TALL * night.findings / most
    wide = min(step * 0.7, 40.0)
    left += (step - wide) / 2
    return element(
        "g",
        element(
            "title",
            f"{_day(night)}: {_errors(night)} in error, {night.findings} with findings, {night.clean} clean",
        ),
        element("rect", x=left, y=bottom - findings, width=wide, height=findings, class_="bar findings"),
        element("rect", x=left, y=bottom - findings - errors, width=wide, height=errors, class_="bar errors"),
    )


def _day(night: Night) -> str:
    return f"{utc(night.began):%Y-%m-%d}"


def _errors(night: Night) -> int:
    return night.errors + night.missing

"""The keys of an environment: what is true of each, and a picture of their lives with the same as a table."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from ci_user.nightly.model import Key, KeyEvent
from ci_user.nightly.render.html_parts import (
    ago,
    badge,
    bullets,
    code,
    counted,
    cut,
    day,
    facts,
    moment,
    table,
    utc,
)
from ci_user.nightly.render.markup import Child, Markup, element

_WIDTH: Final = 900
_LEFT: Final = 190
_RIGHT: Final = 870
_LANE: Final = 54
_AXIS: Final = 26
_TICKS: Final = 5
_NEAR: Final = 26
"""Marks nearer to each other than this many pixels become one."""


def keys(every: Sequence[Key], checked_at: dt.datetime, anchor: str) -> Iterator[Markup]:
    """Return what is known of the keys, the picture, and the steps of each key's life."""
    yield element("div", (_card(key, checked_at) for key in every), class_="keys")
    if any(key.events for key in every):
        yield _timeline(every, checked_at, anchor)
        yield table(
            "The lives of the keys, step by step; times are in UTC",
            ("Step", "When", "What"),
            ((code(key.id), _steps(key)) for key in every if key.events),
        )


def _steps(key: Key) -> Iterator[Sequence[Child]]:
    return (
        (str(number), f"{utc(event.at):%Y-%m-%d %H:%M:%S}", event.what)
        for number, event in enumerate(_in_order(key), 1)
    )


def _card(key: Key, now: dt.datetime) -> Markup:
    used: Child = "never"
    if key.last_used is not None:
        used = (moment(key.last_used), f", {ago(key.last_used, now)} ago")
    rows: list[tuple[str, Child]] = [
        ("State", key.state),
        ("Created", (day(key.created), f", {ago(key.created, now)} old")),
        ("Last used", used),
    ]
    if key.last_used_in:
        rows.append(("Used in", key.last_used_in))
    rows.append(("Held by", bullets(key.held_by, "bare") if key.held_by else "no place"))
    return element(
        "div",
        element("h4", code(key.id), " ", badge("plain", "active" if key.active else "inactive")),
        facts(rows),
        class_="card",
    )


def _in_order(key: Key) -> Sequence[KeyEvent]:
    return sorted(key.events, key=lambda event: utc(event.at))


@dataclass(frozen=True)
class _Scale:
    """Where a time is, from left to right."""

    first: dt.datetime
    last: dt.datetime

    def x(self, at: dt.datetime) -> float:
        """Return the place of a time in pixels."""
        whole = (self.last - self.first).total_seconds()
        part = (utc(at) - self.first).total_seconds() / whole if whole else 1.0
        return _LEFT + part * (_RIGHT - _LEFT)


def _timeline(every: Sequence[Key], checked_at: dt.datetime, anchor: str) -> Markup:
    times = [utc(checked_at), *(utc(key.created) for key in every)]
    times += [utc(event.at) for key in every for event in key.events]
    scale = _Scale(min(times), max(times))
    bottom = len(every) * _LANE + 8
    title, about = f"{anchor}.lives", f"{anchor}.lives-about"
    return element(
        "svg",
        element("title", "The lives of the keys", id=title),
        element(
            "desc",
            f"{counted(len(every), 'key')}, from {scale.first:%Y-%m-%d} to {scale.last:%Y-%m-%d}. "
            "The table after this picture says the same.",
            id=about,
        ),
        _axis(scale, bottom),
        (_lane(key, place, scale, checked_at) for place, key in enumerate(every)),
        viewBox=f"0 0 {_WIDTH} {bottom + _AXIS}",
        width=_WIDTH,
        height=bottom + _AXIS,
        role="img",
        aria_labelledby=title,
        aria_describedby=about,
        class_="picture",
    )


def _axis(scale: _Scale, bottom: int) -> Iterator[Markup]:
    whole = scale.last - scale.first
    pattern = "%Y-%m-%d" if whole >= dt.timedelta(days=_TICKS) else "%m-%d %H:%M"
    ticks = range(_TICKS) if whole else (_TICKS - 1,)
    places = [(scale.first + whole * tick / (_TICKS - 1), tick) for tick in ticks]
    yield element("path", d="".join(f"M{scale.x(at):.0f} 0V{bottom}" for at, _ in places), class_="grid")
    for at, tick in places:
        end = "end" if tick == _TICKS - 1 else "middle" if tick else "start"
        yield element("text", at.strftime(pattern), x=scale.x(at), y=bottom + 18, text_anchor=end, class_="small")


def _lane(key: Key, place: int, scale: _Scale, checked_at: dt.datetime) -> Iterator[Markup]:
    middle = place * _LANE + 32
    yield element("text", cut(key.id, 22), x=0, y=middle - 2, class_="mono")
    yield element("text", cut(key.state, 26), x=0, y=middle + 14, class_="small")
    begin, now = scale.x(key.created), scale.x(checked_at)
    kind = "life" if key.active else "life over"
    yield element("line", x1=begin, y1=middle, x2=max(now, begin + 2), y2=middle, class_=kind)
    if key.last_used is not None and scale.first <= utc(key.last_used) <= scale.last:
        x = scale.x(key.last_used)
        yield element("path", d=f"M{x:.1f} {middle + 10}l-5 8h10z", class_="used")
        # Left of its mark, but not over the key's state.
        left = x > _LEFT + 70
        end = "end" if left else "start"
        yield element("text", "last used", x=x - 9 if left else x + 9, y=middle + 20, text_anchor=end, class_="small")
    marks: list[tuple[float, int, int]] = []
    for number, event in enumerate(_in_order(key), 1):
        x = scale.x(event.at)
        if marks and x - marks[-1][0] < _NEAR:
            marks[-1] = (marks[-1][0], marks[-1][1], number)
        else:
            marks.append((x, number, number))
    for x, first, last in marks:
        yield from _mark(x, middle, str(first) if first == last else f"{first}-{last}")


def _mark(x: float, middle: int, word: str) -> Iterator[Markup]:
    width = 12 + 7 * len(word)
    left = min(max(x - width / 2, float(_LEFT)), float(_WIDTH - width))
    yield element("rect", x=left, y=middle - 9, width=width, height=18, rx=9, class_="mark")
    yield element("text", word, x=left + width / 2, y=middle + 4, text_anchor="middle", class_="word onmark")

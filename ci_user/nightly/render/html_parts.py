"""The small pieces of the HTML report: words with a colour, times, tables, lists of facts."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from ci_user.nightly.grouping import urgency
from ci_user.nightly.model import Entry, EnvironmentResult
from ci_user.nightly.render.markup import Child, Markup, element, joined, lines
from ci_user.text import plain

GRAVITIES: Final = ("error", "finding", "notice")
_PLAIN_ID: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")


def badge(kind: str, word: str | None = None) -> Markup:
    """Return a word with the colour and the sign of its kind: error, findings, finding, clean, notice, plain."""
    return element("span", word or kind, class_=f"badge {kind}")


def tag(word: str) -> Markup:
    """Return a word in a frame."""
    return element("span", word, class_="tag")


def code(text: str) -> Markup:
    """Return a name in a fixed-width font, which may break anywhere."""
    return element("code", text)


def counted(number: int, word: str, words: str | None = None) -> str:
    """Return ``1 finding`` or ``1,200 findings``."""
    return f"1 {word}" if number == 1 else f"{number:,} {words or word + 's'}"


def utc(at: dt.datetime) -> dt.datetime:
    """Return a time in UTC. One without a zone is taken to be so already, as is one that would leave the calendar."""
    if at.tzinfo is None:
        return at.replace(tzinfo=dt.UTC)
    try:
        return at.astimezone(dt.UTC)
    except OverflowError:
        return at.replace(tzinfo=dt.UTC)


def moment(at: dt.datetime) -> Markup:
    """Return a time to the minute, in UTC."""
    at = utc(at)
    return element("time", f"{at:%Y-%m-%d %H:%M} UTC", datetime=f"{at:%Y-%m-%dT%H:%MZ}")


def day(at: dt.datetime) -> Markup:
    """Return the day of a time, in UTC."""
    at = utc(at)
    return element("time", f"{at:%Y-%m-%d}", datetime=f"{at:%Y-%m-%d}")


def ago(at: dt.datetime, now: dt.datetime) -> str:
    """Return how long ago a time was, in the greatest unit that fits: ``3 days``."""
    seconds = max((utc(now) - utc(at)).total_seconds(), 0)
    for unit, length in (("day", 86_400), ("hour", 3_600), ("minute", 60)):
        if seconds >= length:
            return counted(int(seconds // length), unit)
    return "less than a minute"


def lasted(began: dt.datetime, ended: dt.datetime) -> str:
    """Return how long something took: ``42 s``, ``3 min 5 s``."""
    return seconds((utc(ended) - utc(began)).total_seconds())


def seconds(number: float) -> str:
    """Return a length of time in words."""
    if number < 10:
        return f"{max(number, 0):.1f} s"
    minutes, rest = divmod(round(number), 60)
    return f"{minutes:,} min {rest} s" if minutes else f"{rest} s"


def facts(rows: Iterable[tuple[str, Child]]) -> Markup:
    """Return names with values."""
    return element("dl", ((element("dt", name), element("dd", value)) for name, value in rows), class_="facts")


def bullets(items: Iterable[Child], class_: str | None = None) -> Markup:
    """Return a list."""
    return element("ul", (element("li", item) for item in items), class_=class_)


def table(
    caption: Child,
    heads: Sequence[str],
    groups: Iterable[tuple[Child, Iterable[Sequence[Child]]]],
    class_: str | None = None,
) -> Markup:
    """Return a table in groups of rows; a group has a name of its own, or None. The first column names the row."""
    bodies = (
        element(
            "tbody",
            element("tr", element("th", name, scope="rowgroup", colspan=len(heads))) if name is not None else None,
            (
                element("tr", element("th", row[0], scope="row"), (element("td", cell) for cell in row[1:]))
                for row in rows
            ),
        )
        for name, rows in groups
    )
    head = element("thead", element("tr", (element("th", head, scope="col") for head in heads)))
    return element("table", element("caption", caption), head, bodies, class_=class_)


def failing(entry: Entry, message: str, where: str, level: str = "h4") -> Iterator[Markup]:
    """Return what was found as a heading, then where and what should be true, and the rest of the message.

    A title says what should be true: alone beside the word error it would be read the wrong way round.
    """
    first, _, rest = message.partition("\n")
    expected = f"Fails: {entry.title}"
    yield element(level, spoken(first or expected), class_="what")
    aside = [
        part
        for part in (code(where) if where else None, expected if first and entry.title not in first else None)
        if part
    ]
    if aside:
        yield element("p", aside[0], (" · ", aside[1]) if aside[1:] else None, class_="note")
    if rest:
        yield element("p", lines(rest), class_="lines")


def spoken(text: str) -> Markup:
    """Return a sentence with what stands between backticks as code."""
    parts = text.split("`")
    if len(parts) % 2 == 0:
        return joined(text)
    return joined(code(part) if number % 2 else part for number, part in enumerate(parts))


def section(id_: str, heading: str, *content: Child, note: str | None = None) -> Markup:
    """Return a part of an environment's page with its heading."""
    return element(
        "section",
        element("h3", heading, id=id_),
        element("p", note, class_="note") if note else None,
        *content,
        class_="part",
        aria_labelledby=id_,
    )


def cut(text: str, length: int) -> tuple[Markup | None, str]:
    """Return a text for a picture, its middle left out where it is too long and the whole shown under the pointer."""
    text = plain(text)
    if len(text) <= length:
        return None, text
    half = (length - 1) // 2
    return element("title", text), f"{text[: length - 1 - half]}…{text[-half:]}"


def anchors(environments: Iterable[str]) -> tuple[str, ...]:
    """Return an id for each environment's page: its name where it is an ordinary one, else its place in the list."""
    taken: set[str] = set()
    found = []
    for place, name in enumerate(environments, 1):
        anchor = f"env-{name}"
        if not _PLAIN_ID.fullmatch(name) or anchor in taken:
            # An underscore: no ordinary name has one.
            anchor = f"env_{place}"
        taken.add(anchor)
        found.append(anchor)
    return tuple(found)


def open_entries(one: EnvironmentResult) -> tuple[Entry, ...]:
    """Return what a person has to look at, the most urgent first."""
    return tuple(sorted((entry for entry in one.entries if entry.counts), key=urgency))


def since(one: EnvironmentResult) -> dt.datetime | None:
    """Return since when an environment is other than clean, as far as the history knows."""
    return min((utc(entry.since) for entry in one.entries if entry.counts and entry.since), default=None)


def found(one: EnvironmentResult) -> str:
    """Return how much was found: ``1 error, 2 findings``."""
    of = {
        gravity: sum(entry.gravity == gravity for entry in one.entries if entry.accepted is None)
        for gravity in GRAVITIES
    }
    accepted = sum(entry.accepted is not None for entry in one.entries)
    told = [counted(of[gravity], gravity) for gravity in GRAVITIES if of[gravity]]
    return ", ".join([*told, *([f"{accepted:,} accepted"] if accepted else [])])

"""What a plan says, as HTML: each resource with its attributes before and after, line by line, marked + and - in text."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from difflib import SequenceMatcher
from typing import Any, Final

from ci_user.nightly.model import AttributeChange, Change
from ci_user.nightly.render.html_parts import code, counted, tag
from ci_user.nightly.render.markup import Markup, element

_CONTEXT: Final = 3
_MOST_LINES: Final = 2_000
"""difflib's time grows with the square of the lines: beyond so many of them a text is shown whole, before and after."""
_ORIGINS: Final = {
    "drift": (
        "Changed in AWS",
        "Somebody changed this outside Terraform: before is what Terraform left, after is what is there.",
    ),
    "unapplied": ("Not deployed yet", "The configuration wants this, and AWS does not have it yet."),
    "output": ("Outputs", "Only what the state says of itself differs; nothing in AWS changes."),
}
_SIGNS: Final = {"create": "+", "delete": "-", "forget": "-"}


def changes(every: Sequence[Change]) -> Iterator[Markup]:
    """Return a plan's changes, drift first; long plans are folded."""
    for origin, (heading, note) in _ORIGINS.items():
        of_it = [change for change in every if change.origin == origin]
        if of_it:
            yield element("h4", heading, " ", element("span", counted(len(of_it), "change"), class_="quiet"))
            yield element("p", note, class_="note")
            yield from (_change(change, opened=len(every) <= 8) for change in of_it)


def _change(change: Change, *, opened: bool) -> Markup:
    head = (f"{_SIGNS.get(change.action, '~')} ", code(change.address), " ", tag(change.action))
    if not change.attributes:
        return element("div", head, class_="change lone")
    return element(
        "details",
        element("summary", head),
        (_attribute(attribute) for attribute in change.attributes),
        class_="change",
        open=opened,
    )


def _attribute(attribute: AttributeChange) -> Markup:
    before, after = _comparable(attribute.before, attribute.after)
    return element(
        "div",
        element("div", attribute.name, class_="attribute"),
        element("pre", *_compared(before.split("\n"), after.split("\n")), class_="diff"),
    )


def _compared(before: Sequence[str], after: Sequence[str]) -> Iterator[Markup]:
    if before == after:
        yield from _kept(before)
        return
    if len(before) + len(after) > _MOST_LINES:
        yield from (*_marked("del", "-", before), *_marked("ins", "+", after))
        return
    for number, group in enumerate(SequenceMatcher(None, before, after, autojunk=False).get_grouped_opcodes(_CONTEXT)):
        if number:
            yield element("span", "⋯", class_="gap")
        for kind, from_, to, new_from, new_to in group:
            if kind == "equal":
                yield from _kept(before[from_:to])
            else:
                yield from _marked("del", "-", before[from_:to])
                yield from _marked("ins", "+", after[new_from:new_to])


def _kept(texts: Iterable[str]) -> Iterator[Markup]:
    return (element("span", f"  {text.expandtabs(4)}") for text in texts)


def _marked(tag_: str, sign: str, texts: Sequence[str]) -> Iterator[Markup]:
    # An attribute that is not there is an empty text: its absence is no line.
    return (element(tag_, f"{sign} {text.expandtabs(4)}") for text in texts if text or len(texts) > 1)


def _comparable(before: str, after: str) -> tuple[str, str]:
    """Return both texts, JSON spread over lines where both of them are (or one is not there)."""
    spread = _spread(before), _spread(after)
    if spread[0] is None or spread[1] is None or spread[0] == spread[1]:
        return before, after
    return spread[0], spread[1]


def _spread(text: str) -> str | None:
    if not text:
        return text
    if text[:1] not in "[{":
        return None
    try:
        spread = json.dumps(
            json.loads(text, object_pairs_hook=_unrepeated), indent=2, sort_keys=True, ensure_ascii=False
        )
    except (ValueError, RecursionError):
        return None
    # What is nested very deeply would be mostly indentation.
    return spread if len(spread) <= 10 * len(text) + 1_000 else None


def _unrepeated(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object; one that repeats a key says more than a dict can show."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError
    return found

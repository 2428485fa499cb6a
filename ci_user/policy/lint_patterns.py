"""Which patterns of a policy cover which: quickly, and never wrongly so."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final

COMPARISONS: Final = 300_000
"""The most pairs of patterns that one list is searched through."""

_WILD: Final = re.compile(r"[*?]")


def covers(wide: str, narrow: str) -> bool:
    """Tell whether every text that `narrow` matches also matches `wide`. May miss that it does, in tangled cases.

    A wildcard of the narrow pattern is taken as a character: ``*`` of the wide one covers it, ``?`` covers only ``?``.

    Args:
        wide: A pattern as a policy has it; one with policy variables covers only itself.
        narrow: Likewise; policy variables in it count as text.
    """
    if wide in (narrow, "*"):
        return True
    if "${" in wide or not _WILD.search(wide):
        return False
    at = position = 0
    star, mark = -1, 0
    while position < len(narrow):
        if at < len(wide) and wide[at] == "*":
            star, mark = at, position
            at += 1
        elif at < len(wide) and (wide[at] == narrow[position] or (wide[at] == "?" and narrow[position] != "*")):
            at += 1
            position += 1
        elif star >= 0:
            mark += 1
            at, position = star + 1, mark
        else:
            return False
    return not wide[at:].strip("*")


def covering(patterns: Sequence[str]) -> Mapping[int, int]:
    """Return for each pattern that another one of the list covers, by its place, the place of such a one.

    Of equal patterns, and of those that cover each other, the later ones count as covered by the first. After
    `COMPARISONS` it is left at what was found.
    """
    first: dict[str, int] = {}
    by_start: dict[str, list[int]] = {}
    for at, text in enumerate(patterns):
        if first.setdefault(text, at) == at and _WILD.search(text):
            by_start.setdefault(_WILD.split(text, maxsplit=1)[0], []).append(at)
    found: dict[int, int] = {}
    compared = 0
    for at, text in enumerate(patterns):
        if first[text] != at:
            found[at] = first[text]
            continue
        for one in (one for end in range(len(text) + 1) for one in by_start.get(text[:end], ())):
            compared += 1
            if compared > COMPARISONS:
                return found
            if _wider(patterns, one, at):
                found[at] = one
                break
    return found


def _wider(patterns: Sequence[str], one: int, other: int) -> bool:
    if one == other or not covers(patterns[one], patterns[other]):
        return False
    return one < other or not covers(patterns[other], patterns[one])

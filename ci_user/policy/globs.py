"""Patterns with ``*`` and ``?``: whether they match a text or each other, and which texts tell them apart.

All of it takes time that is bounded by the lengths, whatever the patterns are: no regular expressions, no backtracking.
"""

from __future__ import annotations

import functools
import re
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

STAR: Final = "\ue000"
"""Stands for any text in a glob; a policy, which is Latin-1, cannot hold it, so ``*`` itself stays a plain character."""
ONE: Final = "\ue001"
"""Stands for any one character."""
WORD: Final = "\ue002"
"""Stands for any text without a colon; in a universe of `witnesses` only."""
_LETTER: Final = "\ue003"
NAME: Final = _LETTER + WORD
"""Stands for any name: a text without a colon that is not empty; in a universe of `witnesses` only."""

STATES_AT_MOST: Final = 1_000
"""How many states `witnesses` looks at besides those that patterns need which only share a beginning."""
_STATES_PER_GLOB: Final = 50
_STATES_OF_TWO: Final = 300
_HEAD: Final = re.compile(f"[^{STAR}{ONE}{WORD}{_LETTER}]*")
_READABLE: Final = "zqxjkvwyubpgfm0987654321"


class TangledPatternsError(ValueError):
    """So many patterns overlap in so many ways that what they tell apart cannot be listed in bounded time."""


def glob(pattern: str) -> str:
    """Return a pattern of a policy as a glob.

    >>> glob("role/*") == "role/" + STAR
    True
    """
    return pattern.replace("*", STAR).replace("?", ONE)


@functools.lru_cache(maxsize=65_536)
def matches(pattern: str, text: str) -> bool:
    """Tell whether a glob matches a text, in time proportional to the product of their lengths at most."""
    if ONE in pattern:
        return _matches_slowly(pattern, text)
    first, *rest = pattern.split(STAR)
    if not rest:
        return first == text
    *middle, last = rest
    if not text.startswith(first) or len(text) < len(first) + len(last):
        return False
    position, end = len(first), len(text) - len(last)
    for part in middle:
        position = text.find(part, position, end)
        if position < 0:
            return False
        position += len(part)
    return text.endswith(last)


def _matches_slowly(pattern: str, text: str) -> bool:
    at = position = 0
    star, mark = -1, 0
    while position < len(text):
        if at < len(pattern) and pattern[at] == STAR:
            star, mark = at, position
            at += 1
        elif at < len(pattern) and pattern[at] in (ONE, text[position]):
            at += 1
            position += 1
        elif star >= 0:
            mark += 1
            at, position = star + 1, mark
        else:
            return False
    return all(character == STAR for character in pattern[at:])


@dataclass(frozen=True)
class _Machine:
    """All globs side by side as one bit-parallel automaton: each owns a row of bits, one for each place in it."""

    masks: dict[str, int]
    anything: int
    loops: int
    words: int
    letters: int
    start: int
    ends: tuple[int, ...]
    rows: tuple[int, ...]

    @classmethod
    def of(cls, globs: Sequence[str]) -> _Machine:
        masks: dict[str, int] = {}
        anything = loops = words = letters = start = offset = 0
        ends, rows = [], []
        for one in globs:
            bit = first = 1 << offset
            start |= bit
            for token in one:
                if token in (STAR, WORD):
                    loops |= bit if token == STAR else 0
                    words |= bit if token == WORD else 0
                    continue
                if token == ONE:
                    anything |= bit
                elif token == _LETTER:
                    letters |= bit
                else:
                    masks[token] = masks.get(token, 0) | bit
                bit <<= 1
            ends.append(bit)
            rows.append((bit << 1) - first)
            offset = bit.bit_length()
        return cls(
            {token: mask | anything for token, mask in masks.items()},
            anything,
            loops,
            words,
            letters,
            start,
            tuple(ends),
            tuple(rows),
        )

    def step(self, state: int, character: str) -> int:
        passing, loops = self.masks.get(character, self.anything), self.loops
        if character != ":":
            passing, loops = passing | self.letters, loops | self.words
        return ((state & passing) << 1) | (state & loops)


def witnesses(universe: str, globs: Sequence[str]) -> tuple[str, ...]:
    """Return texts of ``universe``, one for each combination of the globs that some text of it matches.

    So what holds for none of these texts holds for no text of the universe, as far as only these globs look at it.

    Args:
        universe: A glob that every text must match.
        globs: The globs to tell apart.

    Raises:
        TangledPatternsError: The globs overlap in too many ways to list them in bounded time.
    """
    found = _witnesses(universe, tuple(sorted({one for one in globs if one != STAR})))
    if found is None:
        raise TangledPatternsError(f"{len(globs)} patterns overlap in too many ways")
    return found


@functools.lru_cache(maxsize=4_096)
def _witnesses(universe: str, globs: tuple[str, ...]) -> tuple[str, ...] | None:
    # A pattern that begins otherwise tells nothing apart.
    globs = tuple(one for one in globs if _begin_alike(one, universe))
    machine = _Machine.of((universe, *globs))
    row, end = machine.rows[0], machine.ends[0]
    ends = functools.reduce(int.__or__, machine.ends[1:], 0)
    other = next(c for c in (*_READABLE, *map(chr, range(0x100, 0x1000))) if c not in machine.masks)
    literal = [(c, mask & ~machine.anything) for c, mask in machine.masks.items()]
    limit = STATES_AT_MOST + _STATES_PER_GLOB * len(globs)
    found: dict[int, str] = {}
    seen = {machine.start}
    queue = deque([(machine.start, "")])
    while queue:
        state, text = queue.popleft()
        if state & end:
            found.setdefault(state & ends, text)
        for character in (*(c for c, mask in literal if state & mask), other):
            following = machine.step(state, character)
            if following & row and following not in seen:
                if len(seen) >= limit:
                    return None
                seen.add(following)
                queue.append((following, text + character))
    return tuple(found.values())


def _head(pattern: str) -> str:
    """Return the text before a glob's first wildcard."""
    found = _HEAD.match(pattern)
    return found[0] if found else ""


def _begin_alike(one: str, other: str) -> bool:
    first, second = _head(one), _head(other)
    return first.startswith(second) or second.startswith(first)


@functools.lru_cache(maxsize=16_384)
def meet(one: str, other: str) -> bool:
    """Tell whether some text matches both globs. Patterns too tangled to tell count as meeting."""
    if not _begin_alike(one, other):
        return False
    machine = _Machine.of((one, other))
    rows = machine.rows
    seen = {machine.start}
    # The deepest first: what meets is mostly found at the first try.
    waiting = [machine.start]
    while waiting:
        state = waiting.pop()
        if state & machine.ends[0] and state & machine.ends[1]:
            return True
        for character in (STAR, *(c for c, mask in machine.masks.items() if state & mask)):
            following = machine.step(state, character)
            if following & rows[0] and following & rows[1] and following not in seen:
                if len(seen) >= _STATES_OF_TWO:
                    return True
                seen.add(following)
                waiting.append(following)
    return False

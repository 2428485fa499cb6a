"""Which shards of a fleet a result holds, as text and back: ``3/10``, and after a merge ``1-2,4-10/10``."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

SHARDS_AT_MOST: Final = 1_000
NONE: Final = "none"
_PART: Final = re.compile(r"(none|[0-9]{1,4}(?:-[0-9]{1,4})?(?:,[0-9]{1,4}(?:-[0-9]{1,4})?)*)/([0-9]{1,4})")
_LINE: Final = re.compile(r"shard [0-9]{1,4}/[0-9]{1,4}")
_PLUS: Final = " + "


@dataclass(frozen=True)
class Shards:
    """The shards that are there, by how many there should be."""

    there: Mapping[int, frozenset[int]]

    @classmethod
    def joined(cls, texts: Iterable[str | None], expect: int | None) -> Shards:
        """Return the shards that results hold; when it is said how many there should be, those of that division only.

        Text that names no shards stands for none.
        """
        there: dict[int, frozenset[int]] = {} if expect is None else {expect: frozenset()}
        for text in texts:
            for part in (text or "").split(_PLUS):
                found = _PART.fullmatch(part)
                total = int(found[2]) if found else 0
                if found is None or not 1 <= total <= SHARDS_AT_MOST or expect not in (None, total):
                    continue
                there[total] = there.get(total, frozenset()) | _numbers(found[1], total)
        return cls(there)

    @property
    def absent(self) -> tuple[str, ...]:
        """Return a line for each shard that is not there."""
        return tuple(
            f"shard {number}/{total}"
            for total, there in sorted(self.there.items())
            for number in range(1, total + 1)
            if number not in there
        )

    @property
    def text(self) -> str:
        """Return what is there, as ``joined`` reads it."""
        return _PLUS.join(f"{_ranges(there)}/{total}" for total, there in sorted(self.there.items())) or NONE


def is_line(text: str) -> bool:
    """Tell whether a line is one of ``Shards.absent``."""
    return _LINE.fullmatch(text) is not None


def _numbers(text: str, total: int) -> frozenset[int]:
    numbers: set[int] = set()
    for part in text.split(",") if text != NONE else ():
        first, _, last = part.partition("-")
        numbers |= set(range(max(int(first), 1), min(int(last or first), total) + 1))
    return frozenset(numbers)


def _ranges(numbers: Iterable[int]) -> str:
    """Return numbers as ranges: 1, 2 and 4 as ``1-2,4``."""
    runs: list[list[int]] = []
    for number in sorted(numbers):
        if runs and runs[-1][1] == number - 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in runs) or NONE

"""In which line of a JSON text each value stands."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

Path = tuple[str | int, ...]

# A string, a structural character, or a number or word.
_TOKEN: Final = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"|[\[\]{},:]|[^\s\[\]{},:"]+')


@dataclass
class _Container:
    is_object: bool
    at: str | int
    awaits_key: bool


def lines(text: str) -> Mapping[Path, int]:
    """Return the line, from 1, in which each value of a JSON text begins; nested values by their path.

    Args:
        text: Well-formed JSON.
    """
    found: dict[Path, int] = {}
    stack: list[_Container] = []
    line, counted = 1, 0
    for token in _TOKEN.finditer(text):
        line += text.count("\n", counted, token.start())
        counted = token.start()
        what = token[0]
        inner = stack[-1] if stack else None
        if what in "]}":
            stack.pop()
        elif what == ",":
            if inner is not None and isinstance(inner.at, int):
                inner.at += 1
            elif inner is not None:
                inner.awaits_key = True
        elif what == ":":
            continue
        elif inner is not None and inner.awaits_key:
            inner.at, inner.awaits_key = json.loads(what), False
        else:
            found[tuple(one.at for one in stack)] = line
            if what in "[{":
                stack.append(_Container(what == "{", "" if what == "{" else 0, what == "{"))
    return found


@dataclass(frozen=True)
class Positions:
    """The lines of one policy's file, asked for by statement.

    Args:
        found: The lines by path, as `lines` returns them; empty when nothing is known.
    """

    found: Mapping[Path, int]

    def line(self, statement: int | None, path: Path, length: int | None = None) -> int | None:
        """Return the line of a value, else of the nearest value around it; None when not even that is known.

        Args:
            statement: The statement's number, from 1; None for a value of the document itself.
            path: The way from there.
            length: How many items the list has that the path leads into. When the file's own list has another number,
                since a parameter stood for several, only the list's line is told.
        """
        start: Path = ()
        if statement is not None:
            listed = ("Statement", 0) in self.found
            start = ("Statement", statement - 1) if listed else ("Statement",)
        whole = self._as_written(start, path)
        if length is not None:
            items = whole[:-1]
            if (*items, length - 1) not in self.found or (*items, length) in self.found:
                whole = items
        while whole and whole not in self.found:
            whole = whole[:-1]
        return self.found.get(whole)

    def _as_written(self, start: Path, path: Path) -> Path:
        """Return the path with its first element in the file's own case."""
        if not path:
            return start
        own = self._names.get((*start, str(path[0]).lower()), path[0])
        return (*start, own, *path[1:])

    @functools.cached_property
    def _names(self) -> Mapping[Path, str | int]:
        """Return the elements' names in the file's own case, by their path in lower case."""
        return {(*path[:-1], str(path[-1]).lower()): path[-1] for path in self.found if 0 < len(path) <= 3}

"""From a defect to a finding with its place in the file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ci_user.policy import lint_positions
from ci_user.policy.lint_finding import Defect, LintFinding, Place
from ci_user.policy.lint_positions import Positions


def entries(document: Mapping[str, Any]) -> list[Any]:
    """Return a document's statements as they stand, however wrong; none when there is no list of them."""
    found = next((value for name, value in document.items() if name.lower() == "statement"), None)
    return [found] if isinstance(found, dict) else found if isinstance(found, list) else []


def positions(path: Path | None, statements: int) -> Positions:
    """Return the lines of a policy's file; none when it has another number of statements than the document at hand."""
    if path is None:
        return Positions({})
    try:
        found = lint_positions.lines(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, IndexError):
        return Positions({})
    if statements > 1 and (("Statement", statements) in found or ("Statement", statements - 1) not in found):
        return Positions({})
    return Positions(found)


def placed(defect: Defect, where: str, known: Positions, number: int | None, entry: object) -> LintFinding:
    """Return the finding.

    Args:
        defect: What is wrong.
        where: What to call the document for people.
        known: The lines of its file.
        number: The statement's number, from 1; None for the document itself.
        entry: The statement, or the document.
    """
    sid = entry.get("Sid") if isinstance(entry, dict) and number is not None else None
    line = known.line(number, defect.path, _length(entry, defect.path))
    place = Place(where, number, sid if isinstance(sid, str) else "", line)
    return LintFinding(defect.id, defect.severity, place, defect.message, defect.fix)


def _length(entry: object, path: Sequence[str | int]) -> int | None:
    """Return how many items the list has that a path ends in; None when it ends in none."""
    if not path or not isinstance(path[-1], int):
        return None
    value: Any = entry
    for step in path[:-1]:
        value = value.get(step) if isinstance(value, dict) else None
    return len(value) if isinstance(value, list) else None

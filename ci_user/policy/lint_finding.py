"""What lint says: a finding, where it is, and how lines are put into words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from ci_user.policy.statement import Statement
from ci_user.text import plain

Severity = Literal["error", "warning", "note"]
SEVERITIES: Final[Sequence[Severity]] = ("error", "warning", "note")
"""The worst first. An error is what IAM refuses or what has no effect; a warning does something else than one reads; a note
is superfluous, or wider than it need be."""

_SHOWN: Final = 120


@dataclass(frozen=True)
class Place:
    """Where something stands.

    Args:
        file: The file or the policy's name.
        statement: The statement's number, from 1; None for the document itself.
        sid: The statement's Sid.
        line: The line in the file, from 1, when it is known.
    """

    file: str
    statement: int | None = None
    sid: str = ""
    line: int | None = None

    def __str__(self) -> str:
        text = plain(self.file) if self.line is None else f"{plain(self.file)}:{self.line}"
        if self.statement is not None:
            text += f", statement {self.statement}"
        return f"{text} ({plain(self.sid, _SHOWN)})" if self.sid else text


@dataclass(frozen=True)
class LintFinding:
    """One thing that is wrong with a policy.

    Args:
        id: Which rule found it; stays the same from version to version: ``unknown-action``.
        severity: See `SEVERITIES`.
        where: The place; ``str()`` of it is for people.
        message: What is wrong, and why that matters. Safe to print.
        fix: What to do about it. Safe to print.
    """

    id: str
    severity: Severity
    where: Place
    message: str
    fix: str

    def as_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        place = {"file": self.where.file, "line": self.where.line, "statement": self.where.statement}
        return {
            "id": self.id,
            "severity": self.severity,
            "where": str(self.where),
            **place,
            "sid": self.where.sid,
            "message": self.message,
            "fix": self.fix,
        }


Path = tuple[str | int, ...]


@dataclass(frozen=True)
class Defect:
    """A finding before its place is known.

    Args:
        id: As for `LintFinding`.
        severity: Likewise.
        message: Likewise.
        fix: Likewise.
        path: The way to it from the statement, or from the document: ``("Action", 3)``.
    """

    id: str
    severity: Severity
    message: str
    fix: str
    path: Path = ()


@dataclass(frozen=True)
class Subject:
    """A statement that can be read: typed, and as it is written.

    Args:
        number: Its place among the statements, from 1.
        statement: The typed one.
        raw: The entry of the document.
    """

    number: int
    statement: Statement
    raw: Mapping[str, Any]

    @property
    def actions(self) -> tuple[str, ...]:
        """Return the items of Action or NotAction in their own case."""
        return self.written(self.action_element)

    @property
    def action_element(self) -> str:
        """Return ``Action`` or ``NotAction``."""
        return "Action" if self.statement.actions is not None else "NotAction"

    @property
    def resources(self) -> tuple[str, ...]:
        """Return the items of Resource or NotResource."""
        return self.written(self.resource_element)

    @property
    def resource_element(self) -> str:
        """Return ``Resource`` or ``NotResource``."""
        return "Resource" if self.statement.resources is not None else "NotResource"

    def written(self, element: str) -> tuple[str, ...]:
        """Return an element's items as they stand."""
        value = next(value for name, value in self.raw.items() if name.lower() == element.lower())
        return (value,) if isinstance(value, str) else tuple(value)


def quoted(text: object) -> str:
    """Return foreign text for a message: on one line, harmless and not too long."""
    return f"`{plain(text, _SHOWN)}`"


def listed(names: Iterable[object], most: int = 6) -> str:
    """Return names as ``a, b and 3 more``, each quoted."""
    every = [quoted(name) for name in dict.fromkeys(names)]
    if len(every) <= most:
        return ", ".join(every)
    return f"{', '.join(every[: most - 1])} and {len(every) - most + 1} more"


def nearest(text: str, known: Iterable[str]) -> str | None:
    """Return the known name that somebody who wrote `text` most likely meant."""
    import difflib

    by_case = {name.lower(): name for name in known}
    found = difflib.get_close_matches(text.lower()[:_SHOWN], by_case, n=1, cutoff=0.7)
    return by_case[found[0]] if found else None

"""Lint of a policy document: everything that IAM would refuse, or take otherwise than its author.

Nothing here asks AWS; ``access_analyzer.py`` does.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from ci_user.policy import documents, lint_place, lint_template
from ci_user.policy.lint_actions import action_defects, idle_tagging, repeated_actions
from ci_user.policy.lint_conditions import condition_defects
from ci_user.policy.lint_finding import SEVERITIES, LintFinding, Place, Subject
from ci_user.policy.lint_grammar import document_defects, sid_defects, statement_defects
from ci_user.policy.lint_place import placed
from ci_user.policy.lint_positions import Positions
from ci_user.policy.lint_resources import missing_resources, resource_defects
from ci_user.policy.lint_values import variable_defects
from ci_user.policy.statement import UnreadableStatementError, statements

__all__ = ["SEVERITIES", "LintFinding", "Place", "lint", "lint_file"]

EXAMINED_SIZE: Final = 10 * documents.MANAGED_POLICY_SIZE
"""The largest document, in characters that are not white space, of which more than the grammar is examined."""
COMPARED: Final = 200
"""The most statements that are compared with each other."""
REPORTED: Final = 500
"""The most findings about one document that are told."""

BREADTH: Final = frozenset(
    {
        *("data-on-everything", "every-resource", "idle-tagging", "missing-resource", "not-action-allowed"),
        *("not-resource-allowed", "permissions-on-everything"),
    }
)
"""The rules about allowing too much or too little: a boundary allows nothing by itself, so they say nothing about one."""

_CHECKS: Final = (action_defects, resource_defects, variable_defects, condition_defects)


def lint_file(path: Path, where: str | None = None, *, boundary: bool = False) -> tuple[LintFinding, ...]:
    """Lint a policy's file. The project's parameters in it, ``${prefix}``, get plausible values first.

    Args:
        path: The file.
        where: What to call it for people; else its path.
        boundary: As for `lint`.

    Raises:
        PolicyError: The file cannot be read as a policy (see `documents.read`), or has an unknown parameter.
    """
    return lint(lint_template.rendered(documents.read(path)), where or str(path), path, boundary=boundary)


def lint(
    document: Mapping[str, Any], where: str, path: Path | None = None, *, boundary: bool = False
) -> tuple[LintFinding, ...]:
    """Lint a document that has no parameters of the project left.

    Args:
        document: The policy as JSON values, however wrong.
        where: What to call it for people: a file, or a policy's name.
        path: The file it comes from, when lines are to be told.
        boundary: Whether it serves as a permissions boundary; then the rules of `BREADTH` are left out.

    Returns:
        The findings in the document's order. Of more than `REPORTED` the rest is left out, which is an error of its own.
    """
    entries = lint_place.entries(document)
    positions = lint_place.positions(path, len(entries))
    every = itertools.chain(
        (placed(defect, where, positions, None, document) for defect in document_defects(document)),
        _of_statements(entries, where, positions, examined=documents.size(document) <= EXAMINED_SIZE),
    )
    told = (one for one in every if not (boundary and one.id in BREADTH))
    # Suggestions cost time: who gets that many findings needs no more of them.
    findings = list(itertools.islice(told, REPORTED))
    ordered = sorted(findings, key=lambda one: one.where.statement or 0)
    if next(told, None) is not None:
        more = f"there are more than {REPORTED} findings: the rest was not examined"
        ordered.append(LintFinding("more-findings", "error", Place(where), more, "correct these first"))
    return tuple(ordered)


def _of_statements(
    entries: Sequence[object], where: str, positions: Positions, *, examined: bool
) -> Iterator[LintFinding]:
    for number, defect in sid_defects(entries):
        yield placed(defect, where, positions, number, entries[number - 1])
    subjects: list[Subject] = []
    for number, entry in enumerate(entries, 1):
        defects = list(statement_defects(entry))
        for defect in defects:
            yield placed(defect, where, positions, number, entry)
        if examined and not any(defect.severity == "error" for defect in defects):
            subjects += _subject(number, entry)
    if not examined:
        message = f"it is larger than {EXAMINED_SIZE:,} characters: only its grammar was examined"
        yield LintFinding("not-examined", "error", Place(where), message, "split it")
    for subject in subjects:
        for check in _CHECKS:
            for defect in check(subject):
                yield placed(defect, where, positions, subject.number, subject.raw)
    if len(subjects) > COMPARED:
        message = f"it has more than {COMPARED} statements: they were not compared with each other"
        yield LintFinding("not-compared", "note", Place(where), message, "merge statements about the same resources")
        return
    for number, defect in (*repeated_actions(subjects), *missing_resources(subjects), *idle_tagging(subjects)):
        yield placed(defect, where, positions, number, entries[number - 1])


def _subject(number: int, entry: Any) -> Iterable[Subject]:
    try:
        (statement,) = statements({"Statement": [entry]}, "")
    except UnreadableStatementError:
        # Only what `statement_defects` calls an error is unreadable; the next reader of the document says so again.
        return
    yield Subject(number, statement, entry)

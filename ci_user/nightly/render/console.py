"""A night on the console: causes first, then the environments that are not clean, then one line for all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Final

from ci_user.nightly.grouping import Cause, causes
from ci_user.nightly.model import EnvironmentResult, NightResult
from ci_user.nightly.render.counts import Counts
from ci_user.nightly.render.foreign import counted, shown, some, span, when, why
from ci_user.reports.console import Console

_MOST_NAMES: Final = 40
_MOST_CHARACTERS: Final = 600
_MOST_DETAILS: Final = 10


def lines(result: NightResult, *, verbose: bool = False) -> list[str]:
    """Return a run's report; each line begins with a word of ours, and no character in it steers a terminal.

    Args:
        result: The run.
        verbose: Whether accepted findings are listed too, and nothing is shortened.
    """
    told: list[str] = []
    for cause in causes(result):
        if cause.entry.accepted is None or verbose:
            told += [*_cause(cause, verbose=verbose), ""]
    unclean = [one for one in result.environments if one.exit_code]
    unclean.sort(key=lambda one: (one.exit_code, one.environment))
    told += [f"environment {environment_line(one)}" for one in unclean]
    told += [f"environment {shown(name, 200)}: not checked" for name in result.missing]
    if unclean or result.missing:
        told.append("")
    shard = f"shard {shown(result.shard, 40)}: " if result.shard else ""
    return [*told, f"{shard}{Counts.of(result)}"]


def write(result: NightResult, console: Console) -> None:
    """Write a run's report for a person."""
    for line in lines(result, verbose=console.verbose):
        console.line(line)


def environment_line(one: EnvironmentResult) -> str:
    """Return one environment's verdict on one line, such as "prod: 2 findings, 1 accepted (planned, 12 s)"."""
    counts = Counter(entry.gravity for entry in one.entries if entry.counts)
    accepted = sum(entry.accepted is not None for entry in one.entries)
    parts = [counted(counts[what], what) for what in ("error", "finding") if counts[what]] or ["clean"]
    if accepted:
        parts.append(f"{accepted} accepted")
    return f"{shown(one.environment, 200)}: {', '.join(parts)} ({one.way}, {span(one.seconds)})"


def _cause(cause: Cause, *, verbose: bool) -> Iterator[str]:
    entry = cause.entry
    most = None if verbose else _MOST_CHARACTERS
    names = cause.environments
    word = "accepted" if entry.accepted else entry.gravity
    yield f"{word} {entry.id}: {shown(entry.title, most)}"
    yield f"    in {len(names)}:{' ' * (5 - len(str(len(names))))}{some(names, len(names) if verbose else _MOST_NAMES)}"
    accepted = entry.accepted
    told = (
        ("where", cause.where),
        ("what", cause.message),
        *(("", detail) for detail in entry.details[: None if verbose else _MOST_DETAILS]),
        ("why", why(accepted) if accepted else ""),
        ("do", "" if accepted else cause.fix),
        ("see", f"docs/runbooks.md#{entry.runbook}" if entry.runbook else ""),
        ("since", when(cause.since) if cause.since else ""),
    )
    for label, text in told:
        if text:
            lead = f"{label}:" if label else "-"
            yield f"    {lead:<8} {shown(text, most)}"

"""A night on the console: causes first, then the environments that are not clean, then one line for all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Final

from ci_user.nightly.codes import NOT_CHECKED
from ci_user.nightly.grouping import Cause, causes
from ci_user.nightly.model import EnvironmentResult, NightResult
from ci_user.nightly.render.counts import Counts
from ci_user.nightly.render.foreign import counted, file_of, shown, some, span, when, why
from ci_user.nightly.shards import NONE
from ci_user.reports.console import Console

_MOST_NAMES: Final = 40
_MOST_CHARACTERS: Final = 600
_MOST_DETAILS: Final = 10


def lines(result: NightResult, *, verbose: bool = False) -> list[str]:
    """Return a run's report; each line begins with a word of ours, and no character in it steers a terminal.

    Args:
        result: The run.
        verbose: Whether notices and accepted findings are listed too, and nothing is shortened.
    """
    told: list[str] = []
    for some_causes in _alike(cause for cause in causes(result) if cause.counts or verbose):
        told += [*_causes(some_causes, verbose=verbose), ""]
    unclean = [one for one in result.environments if one.exit_code]
    unclean.sort(key=lambda one: (one.exit_code, one.environment))
    told += [f"environment {environment_line(one)}" for one in unclean]
    # A shard that is not there, or a result that cannot be read, is no environment.
    told += [
        f"environment {name}: not checked" if file_of(name) else f"not checked: {shown(name, 500)}"
        for name in result.missing
    ]
    if result.missing:
        told.append(_line("see", f"docs/runbooks.md#{NOT_CHECKED.runbook}"))
    if unclean or result.missing:
        told.append("")
    counts = Counts.of(result)
    if counts.notices and not verbose:
        told.append(
            f"{counted(counts.notices, 'notice')} {'is' if counts.notices == 1 else 'are'} listed with --verbose"
        )
    shard = f"shard {shown(result.shard, 40)}: " if result.shard and not result.shard.startswith(NONE) else ""
    return [*told, f"{shard}{counts}"]


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


def _alike(found: Iterable[Cause]) -> Iterable[list[Cause]]:
    """Return causes of one kind that ask for the same in the same environments together, where the first of them stands."""
    groups: dict[tuple[object, ...], list[Cause]] = {}
    for cause in found:
        entry = cause.entry
        same = (entry.id, entry.gravity, entry.title, entry.accepted, entry.runbook, cause.fix, cause.environments)
        groups.setdefault(same, []).append(cause)
    return groups.values()


def _causes(found: list[Cause], *, verbose: bool) -> Iterator[str]:
    """Yield the lines of one block. A title says what should be true: it never stands beside a gravity without its "fails"."""
    first, entry, accepted = found[0], found[0].entry, found[0].entry.accepted
    most = None if verbose else _MOST_CHARACTERS
    names = first.environments
    word = "accepted" if accepted else entry.gravity
    fails = f"fails: {entry.title}"
    since = min((cause.since for cause in found if cause.since), default=None)
    yield f"{word} {entry.id}: {shown(first.message or fails, most)}"
    yield f"    in {len(names)}:{' ' * (5 - len(str(len(names))))}{some(names, len(names) if verbose else _MOST_NAMES)}"
    if first.where:
        yield _line("where", first.where, most)
    yield from _details(first, verbose=verbose)
    for cause in found[1 : None if verbose else _MOST_DETAILS]:
        yield _line("also", ": ".join(text for text in (cause.where, cause.message) if text) or fails, most)
        yield from _details(cause, verbose=verbose)
    if not verbose and len(found) > _MOST_DETAILS:
        yield _line("also", f"{len(found) - _MOST_DETAILS} more")
    told = (
        ("fails", entry.title if first.message and entry.title not in first.message else ""),
        ("why", why(accepted) if accepted else ""),
        ("do", "" if accepted else first.fix),
        ("see", f"docs/runbooks.md#{entry.runbook}" if entry.runbook else ""),
        ("since", when(since) if since else ""),
    )
    for label, text in told:
        if text:
            yield _line(label, text, most)


def _details(cause: Cause, *, verbose: bool) -> Iterator[str]:
    for detail in cause.entry.details[: None if verbose else _MOST_DETAILS]:
        yield _line("", detail, None if verbose else _MOST_CHARACTERS)


def _line(label: str, text: str, most: int | None = None) -> str:
    return f"    {f'{label}:' if label else '-':<8} {shown(text, most)}"

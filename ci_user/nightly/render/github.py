"""A night on GitHub: the summary of a step, and annotations as workflow commands.

Both are read by machines that take commands from text, so every foreign string is written without any character that could be
one: https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-commands
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from ci_user.nightly.codes import NOT_CHECKED
from ci_user.nightly.grouping import Cause, causes
from ci_user.nightly.model import EnvironmentResult, NightResult
from ci_user.nightly.render.counts import Counts, told_in_words
from ci_user.nightly.render.foreign import counted, file_of, shown, some, span, when
from ci_user.text import plain

MOST_BYTES: Final = 1024 * 1024 - 16 * 1024
"""A step's summary may have 1 MiB; some of it is left for what else the step writes there."""
MOST_ANNOTATIONS: Final = 10
"""GitHub shows 10 of each kind for a step, and 50 for a job; what is beyond is dropped without a word."""
_NOTE_BYTES: Final = 2_000
_FEW: Final = 10
_MANY: Final = 200
_MOST_CHARACTERS: Final = 500
_KINDS: Final = {"error": "error", "finding": "warning", "notice": "notice"}


def summary(result: NightResult, *, most_bytes: int = MOST_BYTES) -> str:
    """Return a run as Markdown for ``GITHUB_STEP_SUMMARY``.

    Foreign text stands in ``<code>`` in blocks of HTML, which Markdown leaves alone, and each character of it that is no
    letter, digit, space or hyphen is a character reference. So it makes no link, mention, heading or element, also where the
    summary is shown by something else than GitHub.

    Args:
        result: The run.
        most_bytes: The greatest length in UTF-8; what does not fit is counted instead.
    """
    every = causes(result)
    told = [cause for cause in every if cause.entry.accepted is None]
    accepted = [cause for cause in every if cause.entry.accepted is not None]
    unclean = sorted(
        (one for one in result.environments if one.exit_code), key=lambda one: (one.exit_code, one.environment)
    )
    shard = f", shard {_code(result.shard, 40)}" if result.shard else ""
    head = f"## Nightly check: {told_in_words(result)}\n\n<p>{Counts.of(result)}{shard}</p>\n"
    room = most_bytes - len(head.encode()) - _NOTE_BYTES
    parts, left_out = [head], []
    accepted_rows = [_cause(cause) for cause in accepted]
    sections = (
        ("causes", ("Gravity", "What", "Environments", "What to do"), [_cause(cause) for cause in told], 0.6),
        (
            "environments that are not clean",
            ("Environment", "Verdict", "Found", "Took"),
            [*map(_environment, unclean), *map(_missing, result.missing)],
            0.8,
        ),
        ("accepted findings", ("Accepted", "What", "Environments", "Why"), accepted_rows, 1.0),
    )
    for what, headings, rows, share in sections:
        kept, room = _kept(rows, room, share)
        if kept:
            table = _table(headings, kept)
            folded = rows is accepted_rows
            parts.append(_folded(counted(len(accepted), "accepted finding"), table) if folded else table)
        if len(kept) < len(rows):
            left_out.append(f"{len(rows) - len(kept)} {what}")
    if left_out:
        parts.append(
            f"<p>Not shown here, since a summary has its limits: {', '.join(left_out)}. The report has them all.</p>\n"
        )
    return "\n".join(parts)


def workflow_commands(result: NightResult) -> list[str]:
    """Return a run's workflow commands, errors first: one line each, for standard output.

    A cause is one annotation, however many environments it is in. Where a kind has more than GitHub shows, its last one says
    how many more there are.
    """
    found: dict[str, list[str]] = {kind: [] for kind in _KINDS.values()}
    if result.missing:
        found["error"].append(_annotation("error", "Not checked", some(result.missing, _FEW), ""))
    for cause in causes(result):
        entry = cause.entry
        if entry.accepted is not None:
            continue
        names = cause.environments
        place = f"{shown(cause.where, 200)}: " if cause.where else ""
        message = f"{some(names, _FEW)}: {place}{shown(cause.message or entry.title, _MOST_CHARACTERS)}"
        if cause.fix:
            message += f"\n{shown(cause.fix, _MOST_CHARACTERS)}"
        kind = _KINDS[entry.gravity]
        found[kind].append(
            _annotation(kind, f"{entry.id} in {counted(len(names), 'environment')}", message, file_of(names[0]) or "")
        )
    lines = []
    for kind, every in found.items():
        lines += every
        if len(every) > MOST_ANNOTATIONS:
            more = len(every) - MOST_ANNOTATIONS + 1
            del lines[-more:]
            lines.append(_annotation(kind, f"{more} more", "the summary of this step and the report list them", ""))
    return lines


def _kept(rows: list[str], room: int, share: float) -> tuple[list[str], int]:
    """Return the rows that fit into a share of the room, and the room that is left."""
    kept: list[str] = []
    used = 0
    for row in rows:
        size = len(row.encode()) + 1
        if used + size > room * share:
            break
        used += size
        kept.append(row)
    return kept, room - used - (_NOTE_BYTES // 4 if kept else 0)


def _table(headings: Iterable[str], rows: Iterable[str]) -> str:
    """Return a block of HTML: it ends at the first empty line, and no row has one."""
    heads = "".join(f"<th>{heading}</th>" for heading in headings)
    return "\n".join(("<table>", f"<tr>{heads}</tr>", *rows, "</table>", ""))


def _folded(what: str, table: str) -> str:
    """Return a table that is opened by hand: what may stay is the same every night."""
    return f"<details><summary>{what}</summary>\n{table.rstrip()}\n</details>\n"


def _row(*cells: str) -> str:
    return f"<tr>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"


def _cause(cause: Cause) -> str:
    entry = cause.entry
    # A title says what should be true: beside the word error it would be read the wrong way round.
    what = [f"<strong>{entry.id}</strong> {_code(cause.message) if cause.message else ''}".rstrip()]
    what += [_code(cause.where)] if cause.where else []
    if entry.title not in cause.message:
        what.append(f"Fails: {_code(entry.title)}")
    if entry.accepted is not None:
        lasts = "for good" if entry.accepted.expires == "never" else f"until {_code(entry.accepted.expires, 40)}"
        do = [_code(entry.accepted.reason), f"{_code(entry.accepted.owner, 100)}, {lasts}"]
    else:
        do = [_code(text) for text in (cause.fix, f"docs/runbooks.md#{entry.runbook}" if entry.runbook else "") if text]
    if cause.since is not None:
        what.append(f"since {when(cause.since)}")
    return _row(
        entry.gravity if entry.accepted else f"<strong>{entry.gravity}</strong>",
        "<br>".join(what),
        _names(cause.environments),
        "<br>".join(do),
    )


def _names(names: tuple[str, ...]) -> str:
    told = " ".join(_code(name, 100) for name in names[:_MANY])
    if len(names) > _MANY:
        told += f" and {len(names) - _MANY} more"
    if len(names) <= _FEW:
        return told
    return f"<details><summary>{len(names)} environments</summary>{told}</details>"


def _environment(one: EnvironmentResult) -> str:
    gravities = [entry.gravity for entry in one.entries if entry.counts]
    counts = [counted(gravities.count(what), what) for what in ("error", "finding") if what in gravities]
    return _row(_code(one.environment, 200), one.verdict, ", ".join(counts), f"{one.way}, {span(one.seconds)}")


def _missing(name: str) -> str:
    return _row(_code(name, 200), "not checked", _code(f"docs/runbooks.md#{NOT_CHECKED.runbook}"), "")


def _code(text: str, limit: int = _MOST_CHARACTERS) -> str:
    """Return foreign text as an element without any character that means something to HTML, Markdown or GitHub."""
    safe = (c if c.isalnum() or c in " -" else f"&#{ord(c)};" for c in plain(text, limit))
    return f"<code>{''.join(safe)}</code>"


def _annotation(kind: str, title: str, message: str, file: str) -> str:
    """Return a command, escaped as the runner unescapes it.

    https://github.com/actions/runner/blob/main/src/Runner.Common/ActionCommand.cs
    """
    properties = ",".join(f"{name}={_property(value)}" for name, value in (("file", file), ("title", title)) if value)
    return f"::{kind} {properties}::{_data(message)}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")

"""The shards of a night joined into one result; one that is broken or not there never hides the others."""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ci_user import __version__
from ci_user.errors import UsageError
from ci_user.files import write_private
from ci_user.nightly.model import EnvironmentResult, NightResult
from ci_user.nightly.render import document
from ci_user.nightly.shards import NONE, SHARDS_AT_MOST, Shards, is_line
from ci_user.text import plain

FILE: Final = "results.json"
BYTES_AT_MOST: Final = 64 * 1024 * 1024
TWICE: Final = "it was checked more than once; this is the newest result"
_AND: Final = " and "
_LINE_AT_MOST: Final = 2_000


@dataclass(frozen=True)
class Read:
    """What was read: the results, and one line for each that could not be."""

    results: tuple[NightResult, ...]
    broken: tuple[str, ...]


def merge(results: Sequence[NightResult], expect: int | None, *, broken: Sequence[str] = ()) -> NightResult:
    """Return one result of many. Their order makes no difference, and merging one alone changes nothing.

    Of an environment that was checked twice the newest result counts, and says so. What one run missed and another one
    checked is not missing; a run that was not sharded had the whole fleet before it. Different versions are all named, and
    each environment says which one checked it.

    Args:
        results: What shards found, or what was merged before.
        expect: How many shards there should be; None for what the shards themselves say.
        broken: A line for each result that could not be read; each is missing.

    Raises:
        UsageError: There is nothing to merge, or ``expect`` is no number of shards.
    """
    if expect is not None and not 1 <= expect <= SHARDS_AT_MOST:
        raise UsageError(f"--expect {expect}", expected=f"1 to {SHARDS_AT_MOST}", do="say how many shards there are")
    if not results and not broken and expect is None:
        raise UsageError("there is no result to merge", expected="--result DIR", do="name each shard's directory")
    shards = Shards.joined((one.shard for one in results), expect)
    absent = () if any(one.shard is None for one in results) else shards.absent
    tools = sorted({tool for one in results for tool in one.tool.split(_AND)})
    environments = tuple(_environments(results, several_tools=len(tools) > 1))
    checked = {one.environment for one in environments}
    missing = {line for one in results for line in one.missing if line not in checked and not is_line(line)}
    now = dt.datetime.now(tz=dt.UTC)
    return NightResult(
        tool=_AND.join(tools) or __version__,
        began=min((one.began for one in results), default=now),
        ended=max((one.ended for one in results), default=now),
        shard=shards.text if absent else None if results else NONE,
        environments=environments,
        missing=(*sorted(missing | {plain(line, _LINE_AT_MOST) for line in broken}), *absent),
    )


def read_all(places: Iterable[Path]) -> Read:
    """Return the results of many shards, and what is wrong with those that cannot be read. Never raises for one of them."""
    results, broken = [], []
    for place in places:
        try:
            results.append(read_result(place))
        except UsageError as error:
            broken.append(f"{plain(place, 500)}: {error.what}")
    return Read(tuple(results), tuple(broken))


def read_result(place: Path) -> NightResult:
    """Return the result in a directory, or in a file.

    Raises:
        UsageError: There is none, it is too large, or no result of this version.
    """
    file = place / FILE if place.is_dir() else place
    try:
        with file.open("rb") as opened:
            body = opened.read(BYTES_AT_MOST + 1)
    except OSError as error:
        raise _unreadable(file, f"it cannot be read ({error.strerror})") from None
    if len(body) > BYTES_AT_MOST:
        raise _unreadable(file, f"it is larger than {BYTES_AT_MOST:,} bytes")
    result = document.read(body, plain(file))
    if any(moment.tzinfo is None for moment in _moments(result)):
        raise _unreadable(file, "it has a time without a time zone")
    return result


def write_result(directory: Path, result: NightResult) -> Path:
    """Write a result into a directory, readable by its owner only; return the file.

    Raises:
        UsageError: The directory cannot be written.
    """
    file = directory / FILE
    write_private(file, document.text(result).encode())
    return file


def _environments(results: Iterable[NightResult], *, several_tools: bool) -> Iterator[EnvironmentResult]:
    """Yield one result for each environment, in the order of their names."""
    found: dict[str, list[EnvironmentResult]] = defaultdict(list)
    for result in results:
        # What was merged before has said so itself.
        note = f"checked by version {result.tool}" if several_tools and _AND not in result.tool else None
        for one in result.environments:
            found[one.environment].append(one if note is None else _with_notes(one, [note]))
    for _, same in sorted(found.items()):
        yield same[0] if len(same) == 1 else _newest(same)


def _newest(same: Sequence[EnvironmentResult]) -> EnvironmentResult:
    """Return the newest of several results; of two of one moment the graver one."""
    by_content: dict[str, list[EnvironmentResult]] = defaultdict(list)
    for one in same:
        by_content[one.model_copy(update={"notes": ()}).model_dump_json()].append(one)

    def rank(content: str) -> tuple[dt.datetime, int, str]:
        one = by_content[content][0]
        return one.checked_at, {0: 0, 3: 1, 1: 2}[one.exit_code], content

    newest = sorted(by_content[max(by_content, key=rank)], key=lambda one: (-len(one.notes), one.notes))
    notes = [note for one in newest for note in one.notes]
    return _with_notes(newest[0], notes if len(by_content) == 1 else [*notes, TWICE])


def _with_notes(one: EnvironmentResult, notes: Iterable[str]) -> EnvironmentResult:
    """Return a result with notes added that it does not have yet."""
    return one.model_copy(update={"notes": tuple(dict.fromkeys((*one.notes, *notes)))})


def _moments(result: NightResult) -> Iterator[dt.datetime]:
    yield from (result.began, result.ended)
    yield from (one.checked_at for one in result.environments)


def _unreadable(file: Path, what: str) -> UsageError:
    return UsageError(
        f"{plain(file.name)}: {what}",
        where=plain(file.parent),
        expected="the directory that `invoke check --out DIR` wrote",
        do="look at that job; the results of the others are there all the same",
        runbook="nightly-merge",
    )

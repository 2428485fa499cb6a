"""Many environments at once: a bounded number side by side, each with its own output, none stopping another."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from ci_user.errors import CiUserError
from ci_user.reports.console import Console
from ci_user.reports.keys import FleetReport

if TYPE_CHECKING:
    from ci_user.reports.model import Report

SIDE_BY_SIDE = 4

Work = Callable[[str, Console], "Report"]
"""Does one environment's work: its name, and where its progress goes."""

_Result = tuple[str, int, tuple[str, ...], Mapping[str, Any]]


class Buffered(Console):
    """Keeps an environment's lines until it has ended, so that lines of several do not mix."""

    def __init__(self, *, verbose: bool) -> None:
        super().__init__(verbose=verbose)
        self._live = False
        self.kept: list[str] = []

    @property
    def ask(self) -> None:
        """Return None: nobody can answer several environments at once."""
        return

    def _write(self, text: str) -> None:
        self.kept.append(text)


def each(names: Sequence[str], work: Work, console: Console) -> FleetReport:
    """Do the work for each environment, ``SIDE_BY_SIDE`` at a time.

    One that fails is reported and stops no other. What an environment has to say is written when it has ended, in the
    order of the names. A mistake in this tool is the failure of the environment that met it, with the way it took.
    """
    results = []
    with ThreadPoolExecutor(max_workers=SIDE_BY_SIDE) as pool:
        for name, (buffer, future) in _in_order(names, work, console, pool):
            result = _result(name, future)
            for line in (*buffer.kept, *result[2]):
                console.line(line)
            results.append(result)
    return FleetReport(tuple(results))


def _in_order(
    names: Sequence[str], work: Work, console: Console, pool: ThreadPoolExecutor
) -> Iterator[tuple[str, tuple[Buffered, Future[Report]]]]:
    """Yield each environment's future in order, starting no more ahead than can be held."""
    started: dict[str, tuple[Buffered, Future[Report]]] = {}
    waiting = iter(names)
    for name in names:
        for following in waiting:
            buffer = Buffered(verbose=console.verbose)
            started[following] = (buffer, pool.submit(work, following, buffer))
            if len(started) > SIDE_BY_SIDE:
                break
        yield name, started.pop(name)


def _result(name: str, future: Future[Report]) -> _Result:
    failure = future.exception()
    if failure is None:
        report = future.result()
        return name, report.exit_code, tuple(report.lines()), report.document()
    if not isinstance(failure, Exception):
        raise failure
    error = failure if isinstance(failure, CiUserError) else mistake(failure)
    text = tuple(f"{name}: {line}" if n == 0 else line for n, line in enumerate(f"error: {error}".split("\n")))
    return name, error.exit_code, text, {"error": {"what": error.what, "where": error.where, "do": error.do}}


def mistake(failure: Exception) -> CiUserError:
    """Return the error for what nobody foresaw: its kind and the way it took, without its message, which may hold anything."""
    way = "\n".join(line.rstrip() for line in traceback.format_tb(failure.__traceback__))
    return CiUserError(
        f"a mistake in this tool, {type(failure).__name__}:\n{way}",
        do="run the command for this environment alone; report the lines above",
    )

"""Many environments at once: a bounded number side by side, each with its own output, none stopping another."""

from __future__ import annotations

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


class _Buffered(Console):
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
    order of the names.
    """
    mistakes: list[BaseException] = []
    results = []
    with ThreadPoolExecutor(max_workers=SIDE_BY_SIDE) as pool:
        for name, (buffer, future) in _in_order(names, work, console, pool):
            mistake = future.exception()
            if mistake is not None and not isinstance(mistake, CiUserError):
                mistakes.append(mistake)
                continue
            result = _result(name, future)
            for line in (*buffer.kept, *result[2]):
                console.line(line)
            results.append(result)
    if mistakes:
        # A mistake in this tool: the other environments are done, and it is not hidden.
        raise mistakes[0]
    return FleetReport(tuple(results))


def _in_order(
    names: Sequence[str], work: Work, console: Console, pool: ThreadPoolExecutor
) -> Iterator[tuple[str, tuple[_Buffered, Future[Report]]]]:
    """Yield each environment's future in order, starting no more ahead than can be held."""
    started: dict[str, tuple[_Buffered, Future[Report]]] = {}
    waiting = iter(names)
    for name in names:
        for following in waiting:
            buffer = _Buffered(verbose=console.verbose)
            started[following] = (buffer, pool.submit(work, following, buffer))
            if len(started) > SIDE_BY_SIDE:
                break
        yield name, started.pop(name)


def _result(name: str, future: Future[Report]) -> tuple[str, int, tuple[str, ...], Mapping[str, Any]]:
    try:
        report = future.result()
    except CiUserError as error:
        text = tuple(f"{name}: {line}" if n == 0 else line for n, line in enumerate(f"error: {error}".split("\n")))
        return name, error.exit_code, text, {"error": {"what": error.what, "where": error.where, "do": error.do}}
    return name, report.exit_code, tuple(report.lines()), report.document()

"""How far a night is: one live table on a terminal, else a line for each environment that has ended."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any, Final, Self

from ci_user.nightly.grouping import urgency
from ci_user.nightly.model import EnvironmentResult
from ci_user.nightly.render.console import environment_line
from ci_user.nightly.render.foreign import shown, span
from ci_user.reports.console import Console

if TYPE_CHECKING:
    from rich.table import Table

_MOST_ROWS: Final = 20
_REST_OF_THE_SCREEN: Final = 6
"""Lines that the table's frame, its line of counts and the lines above it need."""
_MOST_ENTRIES: Final = 5
_REFRESHES: Final = 4


@dataclass
class _Row:
    state: str = "waiting"
    began: float = 0.0
    seconds: float = 0.0
    way: str = ""
    ended: int = 0
    """The how manyth to end it was, 0 while it has not."""


class Progress:
    """Shows a night while it runs; what is not clean is told as soon as it is known. Any thread may call it.

    Args:
        names: All environments of the run.
        console: Where lines go.
        terminal: The terminal to draw on, or None to write lines only.
        clock: Seconds that only grow.
    """

    def __init__(
        self,
        names: Sequence[str],
        console: Console,
        *,
        terminal: IO[str] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._rows = {name: _Row() for name in names}
        self._console = console
        self._terminal = terminal
        self._clock = clock
        self._ended = 0
        # Two locks: the table's own thread takes the first, and it must never wait for somebody who is writing.
        self._known = threading.Lock()
        self._writing = threading.Lock()
        self._live: Any = None

    def __enter__(self) -> Self:
        if self._terminal is not None:
            from rich.console import Console as RichConsole
            from rich.live import Live

            self._live = Live(
                console=RichConsole(file=self._terminal, highlight=False, markup=False, emoji=False),
                get_renderable=self._table,
                refresh_per_second=_REFRESHES,
                transient=True,
                redirect_stdout=False,
                redirect_stderr=False,
            )
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        live, self._live = self._live, None
        if live is not None:
            live.stop()

    def start(self, name: str) -> None:
        """Say that an environment's turn has come."""
        self.stage(name, "reading")

    def stage(self, name: str, word: str) -> None:
        """Say what is done for an environment now, in one word."""
        with self._known:
            row = self._rows.setdefault(name, _Row())
            if row.state == "waiting":
                row.began = self._clock()
            row.state = word

    def done(self, result: EnvironmentResult, log: Sequence[str] = ()) -> None:
        """Say how an environment's check ended; what it wrote meanwhile is shown when it is not clean, or with ``--verbose``.

        Args:
            result: Its result.
            log: The lines that were kept for it.
        """
        with self._known:
            self._ended += 1
            row = self._rows.setdefault(result.environment, _Row())
            row.state, row.way, row.seconds, row.ended = result.verdict, result.way, result.seconds, self._ended
            count = f"{self._ended}/{len(self._rows)}"
        lines = [f"{'! ' if result.exit_code else '  '}{count} {environment_line(result)}"]
        counting = sorted((entry for entry in result.entries if entry.counts), key=urgency)
        for entry in counting[:_MOST_ENTRIES]:
            where = f"{shown(entry.where, 120)}: " if entry.where else ""
            lines.append(f"    {entry.gravity} {entry.id} {where}{shown(entry.message or entry.title, 300)}")
        if len(counting) > _MOST_ENTRIES:
            lines.append(f"    and {len(counting) - _MOST_ENTRIES} more")
        if result.exit_code or self._console.verbose:
            lines += [f"    | {shown(line, 1000)}" for line in log]
        if result.exit_code or self._console.verbose or self._live is None:
            self._write(lines)

    def _write(self, lines: Sequence[str]) -> None:
        with self._writing:
            live = self._live
            if live is not None:
                live.console.print("\n".join(lines), markup=False, highlight=False, emoji=False, soft_wrap=True)
                return
            for line in lines:
                self._console.line(line)

    def _table(self) -> Table:
        from rich.table import Table
        from rich.text import Text

        height = self._live.console.height if self._live is not None else _MOST_ROWS
        room = max(min(height - _REST_OF_THE_SCREEN, _MOST_ROWS), 1)
        with self._known:
            now = self._clock()
            rows = [(name, row.state, now - row.began, "") for name, row in self._rows.items() if _running(row)]
            ended = sorted(
                ((name, row) for name, row in self._rows.items() if row.ended), key=lambda one: -one[1].ended
            )
            rows += [(name, row.state, row.seconds, row.way) for name, row in ended if row.state != "clean"]
            rows += [(name, row.state, row.seconds, row.way) for name, row in ended if row.state == "clean"]
            counts: dict[str, int] = {}
            for row in self._rows.values():
                state = "running" if _running(row) else row.state
                counts[state] = counts.get(state, 0) + 1
        told = ", ".join(f"{count} {shown(state, 20)}" for state, count in sorted(counts.items()))
        table = Table(caption=Text(told), caption_justify="left", expand=False)
        for heading in ("environment", "state", "seconds", "way"):
            table.add_column(heading, no_wrap=True, justify="right" if heading == "seconds" else "left")
        for name, state, seconds, way in rows[:room]:
            table.add_row(
                Text(shown(name, 40)),
                Text(shown(state, 20), style=_STYLES.get(state, "")),
                Text(span(max(seconds, 0.0))),
                Text(way),
            )
        return table


_STYLES: Final = {"clean": "green", "findings": "yellow", "error": "bold red"}


def _running(row: _Row) -> bool:
    return not row.ended and row.state != "waiting"

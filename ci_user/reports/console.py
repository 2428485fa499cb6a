"""What a person sees while a task runs: lines, live progress on a terminal, and questions."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import IO, Any

from ci_user.errors import UsageError
from ci_user.text import plain


def write(stream: IO[str], text: str) -> None:
    """Write at once. It is no error when nobody reads on.

    Raises:
        UsageError: The stream cannot be written, as on a full disk.
    """
    try:
        stream.write(text)
        stream.flush()
    except OSError as error:
        # What waits in the buffer would fail again when Python ends, and change the exit code.
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, stream.fileno())
        os.close(null)
        if not isinstance(error, BrokenPipeError):
            raise UsageError(
                f"the output cannot be written: {error.strerror}",
                where=stream.name,
                do="make room where the output goes, then run the same command again",
                runbook="disk",
            ) from None


class Console:
    """Writes lines for people.

    With ``--json`` they go to standard error, and standard output holds nothing but the document.

    Args:
        json: Whether standard output belongs to a JSON document.
        verbose: Whether ``detail`` lines are shown: what the tool does, step by step, and never a secret.
    """

    def __init__(self, *, json: bool = False, verbose: bool = False) -> None:
        self._out: IO[str] = sys.stderr if json else sys.stdout
        self._verbose = verbose
        self._live = self._out.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
        self._status: Any = None

    @property
    def verbose(self) -> bool:
        """Return whether ``detail`` lines are shown."""
        return self._verbose

    @property
    def terminal(self) -> IO[str] | None:
        """Return the terminal that progress may be drawn on, or None when lines go to a file or a pipe."""
        return self._out if self._live else None

    @property
    def ask(self) -> Callable[[str], str] | None:
        """Return how to ask a person, or None when nobody sits there."""
        return self._ask if sys.stdin.isatty() and self._out.isatty() else None

    def line(self, text: str = "") -> None:
        """Write one line or several; control characters in them become visible."""
        for part in text.split("\n"):
            self._write(plain(part))

    def detail(self, text: str) -> None:
        """Write a line that only ``--verbose`` shows."""
        if self._verbose:
            self.line(f"    {text}")

    @contextlib.contextmanager
    def step(self, text: str) -> Iterator[None]:
        """Show a long step: a spinner on a terminal, else one plain line when it begins."""
        if not self._live:
            self.line(f"  {text} ...")
            yield
            return
        from rich.console import Console as RichConsole
        from rich.markup import escape

        rich = RichConsole(file=self._out, highlight=False)
        with rich.status(escape(plain(text)), spinner="dots") as status:
            self._status = (rich, status, text)
            try:
                yield
            finally:
                self._status = None
        self.line(f"  {text}")

    def event(self, event: Mapping[str, Any]) -> None:
        """Show one of Terraform's events: beside the spinner, or as a line where each change is one."""
        kind = event.get("type")
        message = plain(str(event.get("@message", "")))
        if kind in ("apply_start", "apply_complete", "apply_errored", "refresh_start"):
            if self._status is not None:
                from rich.markup import escape

                _, status, text = self._status
                status.update(f"{escape(plain(text))} [dim]{escape(message[:100])}[/dim]")
            if kind == "apply_complete" and self._status is None:
                self.line(f"    {message}")
            else:
                self.detail(message)

    def _ask(self, question: str) -> str:
        self._out.write(plain(question))
        self._out.flush()
        answer = sys.stdin.readline()
        return answer.rstrip("\n")

    def _write(self, text: str) -> None:
        if self._status is not None:
            rich = self._status[0]
            rich.print(text, markup=False, highlight=False, soft_wrap=True)
            return
        write(self._out, f"{text}\n")

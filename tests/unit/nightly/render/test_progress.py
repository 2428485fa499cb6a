"""Progress is seen while a night runs, on a terminal and without one, and names in it do nothing."""

from __future__ import annotations

import io
import re
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from rich.console import Console as RichConsole

from ci_user.nightly.render.progress import Progress
from ci_user.reports.console import Console
from tests.unit.nightly.render.hostile_nights import HOSTILE, entry, environment, hostile
from tests.unit.nightly.render.test_console import harmless


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("LINES", "20")


def table(progress: Progress) -> str:
    out = io.StringIO()
    RichConsole(file=out, width=100).print(progress._table())
    return out.getvalue()


def test_without_a_terminal_the_first_finding_is_told_while_others_run(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress(("prod", "dev"), Console()) as progress:
        progress.start("prod")
        progress.start("dev")
        progress.done(environment("dev", entry(where="module.x", message="was changed")), ("planned", "read"))
        first = capsys.readouterr().out
        progress.done(environment("prod", way="unchanged"), ("nothing to see",))
    assert first == (
        "! 1/2 dev: 1 finding (planned, 2.5 s)\n"
        "    finding CIUSER_DRIFT module.x: was changed\n"
        "    | planned\n"
        "    | read\n"
    )
    assert capsys.readouterr().out == "  2/2 prod: clean (unchanged, 2.5 s)\n"


def test_with_verbose_a_clean_environments_lines_are_shown_too(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress(("prod",), Console(verbose=True)) as progress:
        progress.done(environment("prod"), ("read",))
    assert capsys.readouterr().out.endswith("    | read\n")


def test_a_long_list_of_findings_is_cut_with_errors_first(capsys: pytest.CaptureFixture[str]) -> None:
    found = (*(entry() for _ in range(9)), entry("CIUSER_PLAN_ERROR", gravity="error"))
    with Progress(("prod",), Console()) as progress:
        progress.done(environment("prod", *found))
    told = capsys.readouterr().out.splitlines()
    assert told[1].startswith("    error CIUSER_PLAN_ERROR")
    assert told[-1] == "    and 5 more"


def test_the_table_shows_what_runs_and_counts_the_rest() -> None:
    now = [0.0]
    names = tuple(f"e{n:03}" for n in range(300))
    progress = Progress(names, Console(), terminal=Terminal(), clock=lambda: now[0])
    progress.start("e000")
    progress.start("e001")
    progress.stage("e001", "planning")
    now[0] = 12.0
    progress.done(environment("e002", entry()))
    progress.done(environment("e003", way="unchanged"))
    text = table(progress)
    assert re.search(r"e000 +│ reading +│ +12 s │", text)
    assert re.search(r"e001 +│ planning +│ +12 s │", text)
    assert re.search(r"e002 +│ findings +│ +2.5 s │ planned", text)
    assert re.search(r"e003 +│ clean +│ +2.5 s │ unchanged", text)
    assert "e004" not in text
    assert "1 clean, 1 findings, 2 running, 296 waiting" in text


def test_the_table_stays_within_the_screen() -> None:
    names = tuple(f"e{n:03}" for n in range(300))
    terminal = Terminal()
    with Progress(names, Console(), terminal=terminal) as progress:
        for name in names:
            progress.start(name)
        assert len(table(progress).splitlines()) <= 20


def test_on_a_terminal_findings_are_written_above_the_table_and_the_table_goes() -> None:
    terminal = Terminal()
    with Progress(("prod", "dev"), Console(), terminal=terminal) as progress:
        progress.start("prod")
        progress.done(environment("dev", entry(message="[red]was[/red] changed")), ("a line",))
        seen = terminal.getvalue()
        progress.done(environment("prod"))
    assert "[red]was[/red] changed" in seen
    assert "    | a line" in seen
    assert "prod: clean" not in terminal.getvalue()
    assert terminal.getvalue().rstrip("\n").endswith("\x1b[2K")


def test_an_interrupt_leaves_the_terminal_as_it_was() -> None:
    terminal = Terminal()
    with pytest.raises(KeyboardInterrupt), Progress(("prod",), Console(), terminal=terminal):
        raise KeyboardInterrupt
    assert terminal.getvalue().rfind("\x1b[?25h") > terminal.getvalue().rfind("\x1b[?25l")


def test_many_threads_may_tell_at_once_and_lines_of_one_stay_together(capsys: pytest.CaptureFixture[str]) -> None:
    names = tuple(f"e{n:03}" for n in range(100))
    gate = threading.Barrier(8)

    def work(part: int) -> None:
        gate.wait()
        for name in names[part::8]:
            progress.start(name)
            progress.stage(name, "planning")
            progress.done(environment(name, entry(message=f"of {name}")), (f"log of {name}",))

    with Progress(names, Console()) as progress, ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    told = capsys.readouterr().out.splitlines()
    assert len(told) == 300
    for head, finding, log in zip(told[::3], told[1::3], told[2::3], strict=True):
        name = head.split()[2].rstrip(":")
        assert finding.endswith(f"of {name}")
        assert log.endswith(f"log of {name}")


def test_many_threads_may_tell_at_once_on_a_terminal() -> None:
    names = tuple(f"e{n:02}" for n in range(40))
    terminal = Terminal()
    with Progress(names, Console(), terminal=terminal) as progress, ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda name: progress.done(environment(name, entry(message=f"of {name}"))), names))
    assert all(f"CIUSER_DRIFT of {name}" in terminal.getvalue() for name in names)


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_names_have_no_effect(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    mean = hostile(text).environments[0]
    with Progress((text,), Console(verbose=True)) as progress:
        progress.done(mean, (text, text))
    assert all(harmless(line) for line in capsys.readouterr().out.split("\n"))

    terminal = Terminal()
    with Progress((text, "prod"), Console(), terminal=terminal) as progress:
        progress.stage(text, text)
        assert all(harmless(line) for line in table(progress).split("\n"))
        progress.done(mean, (text,))
    # Only Rich's own sequences are left: colours, the cursor, and erasing lines.
    rest = re.sub(r"\x1b\[(?:\?25[lh]|2K|1A|[0-9;]*m)|\r", "", terminal.getvalue())
    assert all(harmless(line) for line in rest.split("\n"))
    assert "\x1b[31mred" not in terminal.getvalue()

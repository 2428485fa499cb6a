"""Many environments side by side: in order, bounded, and none stopping another."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import pytest

from ci_user import fleet
from ci_user.errors import KeyStateError, LockHeldError
from ci_user.reports.console import Console
from ci_user.reports.model import TextReport


class Listening(Console):
    def __init__(self) -> None:
        super().__init__()
        self.said: list[str] = []

    def line(self, text: str = "") -> None:
        self.said += text.split("\n")


NAMES = [f"env-{n:02d}" for n in range(30)]


def test_results_and_lines_come_in_the_order_of_the_names() -> None:
    console = Listening()

    def work(name: str, own: Console) -> TextReport:
        own.line(f"{name} begins")
        return TextReport((f"{name} ends",), {"name": name})

    report = fleet.each(NAMES, work, console)
    assert console.said == [line for name in NAMES for line in (f"{name} begins", f"{name} ends")]
    assert [entry["name"] for entry in report.document()["environments"]] == NAMES
    assert report.exit_code == 0


def test_no_more_run_at_once_than_are_bounded_and_no_more_wait_than_one() -> None:
    lock, running, most, started = threading.Lock(), [0], [0], list[str]()

    def work(name: str, own: Console) -> TextReport:
        with lock:
            running[0] += 1
            started.append(name)
            most[0] = max(most[0], running[0])
        with lock:
            running[0] -= 1
        return TextReport(())

    fleet.each(NAMES, work, Listening())
    assert 1 <= most[0] <= fleet.SIDE_BY_SIDE
    assert sorted(started) == NAMES


@pytest.mark.parametrize(
    ("codes", "gravest"), [((0, 0), 0), ((0, 3), 3), ((3, 4), 4), ((4, 1, 3), 1), ((0, 2), 2), ((), 0)]
)
def test_the_exit_code_is_the_gravest(codes: Sequence[int], gravest: int) -> None:
    names = [str(n) for n in range(len(codes))]
    report = fleet.each(names, lambda name, _: TextReport((), exit_code=codes[int(name)]), Listening())
    assert report.exit_code == gravest


def test_one_that_fails_stops_no_other_and_says_why_and_what_to_do() -> None:
    def work(name: str, _: Console) -> TextReport:
        if name == "env-03":
            raise KeyStateError("two keys", do="look")
        if name == "env-05":
            raise LockHeldError("held")
        return TextReport((f"{name} ends",))

    console = Listening()
    report = fleet.each(NAMES[:8], work, console)
    assert "env-03: error: two keys" in console.said
    assert "  do:       look" in console.said
    assert "env-07 ends" in console.said
    assert report.exit_code == 1
    assert report.lines() == [
        "8 environments, 6 in order",
        "  ! 1 failed: env-03",
        "  ! 1 locked by somebody else: env-05",
    ]


def test_a_mistake_in_the_tool_is_told_with_its_environment_and_its_way_and_stops_no_other() -> None:
    def work(name: str, _: Console) -> TextReport:
        if name == "env-00":
            raise ZeroDivisionError("a message that may hold anything")
        return TextReport((), {"name": name})

    console = Listening()
    report = fleet.each(NAMES, work, console)
    assert console.said[0] == "env-00: error: a mistake in this tool, ZeroDivisionError:"
    assert any("test_fleet.py" in line for line in console.said)
    assert report.exit_code == 1
    first, *others = report.document()["environments"]
    assert (first["environment"], first["exit_code"]) == ("env-00", 1)
    assert "ZeroDivisionError" in first["error"]["what"]
    assert [entry["name"] for entry in others] == NAMES[1:]
    # The line of code is shown, never what the exception itself says.
    assert not any("may hold anything" in line for line in console.said if "raise" not in line)


def test_ctrl_c_in_an_environments_work_is_no_result() -> None:
    def work(_: str, own: Console) -> TextReport:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fleet.each(["one"], work, Listening())


def test_nobody_is_asked_anything() -> None:
    asked: list[Any] = []

    def work(_: str, own: Console) -> TextReport:
        asked.append(own.ask)
        return TextReport(())

    fleet.each(["one"], work, Listening())
    assert asked == [None]

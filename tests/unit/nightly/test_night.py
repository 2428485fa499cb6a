"""Many environments side by side: one that fails stops no other, what is found is told at once, and Ctrl-C loses nothing."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ci_user import run as run_module
from ci_user.errors import AwsError, CiUserError, EnvironmentFileError, InterruptedRunError, UsageError
from ci_user.nightly import night as module
from ci_user.nightly.check import Checked, Tools
from ci_user.nightly.codes import DRIFT, KNOWN_DRIFT, NOT_CHECKED
from ci_user.nightly.model import EnvironmentResult
from ci_user.nightly.night import LOOKS_AT_ONCE, Night, NightOptions
from ci_user.nightly.night import run as run_night
from ci_user.nightly.records import RecordBook
from ci_user.nightly.selection import Fleet
from ci_user.run import Loaded, Run
from tests.unit.nightly.fleets import fleet, one, same_account
from tests.unit.nightly.nights import environment
from tests.unit.nightly.test_records import DIGEST, record

Check = Callable[[str, Tools], Checked]
LONG = 30.0
"""Seconds to wait for another thread before the test fails."""


class Told:
    """Takes what is shown; ``first`` is set when the first environment has been told of."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, ...]] = []
        self.logs: dict[str, Sequence[str]] = {}
        self.first = threading.Event()

    def start(self, name: str) -> None:
        self.lines.append((name, "start"))

    def stage(self, name: str, word: str) -> None:
        self.lines.append((name, word))

    def done(self, result: EnvironmentResult, log: Sequence[str]) -> None:
        self.lines.append((result.environment, result.verdict))
        self.logs[result.environment] = log
        self.first.set()


class Nights:
    """Runs nights over doubles of the check; what was opened is kept."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.opened: list[Loaded] = []
        self.tools: list[Tools] = []
        self.told = Told()
        self.work: Check = lambda name, _: clean(name)
        self.later: Callable[[str], str] = lambda _: DIGEST
        patch.setattr(run_module, "opened", self._opened)
        patch.setattr(module, "check", self._check)
        patch.setattr(module, "now", self._now)

    def run(
        self,
        whole: Fleet,
        names: Sequence[str] | None = None,
        options: NightOptions | None = None,
        book: RecordBook | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> Night:
        return run_night(
            whole,
            whole.names if names is None else names,
            options or NightOptions(),
            self.told,
            book=book,
            environ=environ or {},
        )

    @contextmanager
    def _opened(self, loaded: Loaded, console: Any, environ: Any, *, logins: Any) -> Iterator[Any]:
        self.opened.append(loaded)
        console.detail("opened")
        yield SimpleNamespace(environment=loaded.environment, loaded=loaded)

    def _check(self, run: Run, tools: Tools, stage: Callable[[str], None]) -> Checked:
        self.tools.append(tools)
        stage("reading")
        return self.work(run.environment.name, tools)

    def _now(self, run: Run, tools: Tools) -> str:
        self.tools.append(tools)
        return self.later(run.environment.name)


@pytest.fixture
def nights(monkeypatch: pytest.MonkeyPatch) -> Nights:
    return Nights(monkeypatch)


def ctrl_c() -> None:
    # To the main thread itself: another one would keep the signal from it while it waits.
    signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)


def clean(name: str, way: str = "planned") -> Checked:
    result = environment(name, way=way)
    return Checked(result, record(name, result=result))


def ways(night: Night) -> dict[str, str]:
    return {one.environment: one.way for one in night.result.environments}


THREE = same_account("a", "b", "c")


@pytest.mark.parametrize("error", [AwsError("refused"), UsageError("refused"), ZeroDivisionError("a hidden value")])
def test_one_that_fails_stops_no_other_and_results_come_in_the_order_of_the_names(
    nights: Nights, error: Exception
) -> None:
    def work(name: str, _: Tools) -> Checked:
        if name == "b":
            raise error
        return clean(name)

    nights.work = work
    night = nights.run(THREE, ["c", "b", "a"])
    assert list(ways(night).items()) == [("a", "planned"), ("b", "failed"), ("c", "planned")]
    assert (night.result.exit_code, night.result.missing) == (1, ())
    assert [one.environment for one in night.records] == ["a", "c"]
    (entry,) = night.result.environments[1].entries
    assert entry.id == "CIUSER_NOT_CHECKED"
    if isinstance(error, CiUserError):
        assert entry.message == "refused"
    else:
        # Its message may hold anything, a secret too: only the kind and the way are told.
        assert "a mistake in this tool, ZeroDivisionError" in entry.message
        assert "a hidden value" not in entry.model_dump_json()
        assert any("test_night.py" in line for line in entry.details)


def test_a_file_that_cannot_be_read_is_a_failure_of_its_name(nights: Nights) -> None:
    night = nights.run(fleet({"a": "1" * 12}, "x"))
    assert ways(night) == {"a": "planned", "x": "failed"}
    assert night.result.environments[1].entries[0].message == "environments/x.yaml: broken"
    assert [one.environment.name for one in nights.opened] == ["a", "a"]


@pytest.mark.parametrize(
    ("gravities", "code"),
    [
        ((), 0),
        (("notice", "notice"), 0),
        (("notice", "finding"), 3),
        (("finding", "error"), 1),
        (("error", "finding", "finding"), 1),
    ],
)
def test_the_exit_code_is_the_gravest_of_all_environments(
    nights: Nights, gravities: tuple[str, ...], code: int
) -> None:
    kinds = {"notice": KNOWN_DRIFT, "finding": DRIFT, "error": NOT_CHECKED}
    names = {f"e{at}": kind for at, kind in enumerate(gravities)}

    def work(name: str, _: Tools) -> Checked:
        gravity: Any = names[name]
        return Checked(environment(name, kinds[gravity].entry("where", "what", gravity=gravity)))

    nights.work = work
    assert nights.run(same_account(*names)).result.exit_code == code


def test_the_first_finding_is_told_while_others_still_run(nights: Nights) -> None:
    def work(name: str, _: Tools) -> Checked:
        if name == "b":
            return Checked(environment("b", DRIFT.entry("where", "what")))
        # The others end when somebody has been told of b.
        assert nights.told.first.wait(LONG)
        return clean(name)

    nights.work = work
    night = nights.run(THREE)
    assert ways(night) == {"a": "planned", "b": "planned", "c": "planned"}
    ends = [line for line in nights.told.lines if line[1] in ("clean", "findings", "error")]
    assert ends[0] == ("b", "findings")
    assert len(ends) == 3


def test_what_is_done_for_an_environment_is_told_in_order_and_its_log_at_its_end(nights: Nights) -> None:
    nights.run(same_account("a"), options=NightOptions(verbose=True))
    assert nights.told.lines == [("a", "start"), ("a", "reading"), ("a", "clean")]
    assert nights.told.logs == {"a": ["    opened"]}


def test_what_was_interrupted_itself_is_missing_and_no_failure(nights: Nights) -> None:
    def work(name: str, _: Tools) -> Checked:
        if name == "b":
            raise InterruptedRunError("stopped")
        return clean(name)

    nights.work = work
    night = nights.run(THREE)
    assert (set(ways(night)), night.result.missing, night.result.exit_code) == ({"a", "c"}, ("b",), 1)
    assert ("b", "error") not in nights.told.lines


def test_after_ctrl_c_nothing_begins_what_runs_is_told_to_stop_and_what_was_done_is_told(
    nights: Nights, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LOOKS_AT_ONCE", 2)
    last, submitted = threading.Event(), threading.Event()

    class Pool(ThreadPoolExecutor):
        def submit(self, *arguments: Any, **more: Any) -> Any:
            future = super().submit(*arguments, **more)
            if arguments[-1] == "e":
                submitted.set()
            return future

    monkeypatch.setattr(module, "ThreadPoolExecutor", Pool)

    def work(name: str, tools: Any) -> Checked:
        if name == "a":
            return clean(name)
        if name == "b":
            assert last.wait(LONG)
            assert submitted.wait(LONG)
            ctrl_c()
        last.set()
        assert tools.stop.event.wait(LONG)
        if name == "b":
            tools.stop()
        # This one was too far to stop, and ends in order.
        return clean(name)

    nights.work = work
    night = nights.run(same_account("a", "b", "c", "d", "e"))
    assert ways(night).keys() == {"a", "c"}
    assert (night.result.missing, night.result.exit_code) == (("b", "d", "e"), 1)
    assert night.records == (), "what nobody looked at a second time vouches for nothing"
    assert {line[0] for line in nights.told.lines} == {"a", "b", "c"}


def test_an_environment_is_opened_with_those_of_its_account(nights: Nights) -> None:
    nights.run(fleet({"a": "1" * 12, "b": "1" * 12, "c": "2" * 12}))
    assert {loaded.environment.name: set(loaded.every) for loaded in nights.opened} == {
        "a": {"a", "b"},
        "b": {"a", "b"},
        "c": {"c"},
    }


def test_the_nightly_login_takes_the_place_of_the_deployers(nights: Nights) -> None:
    deployer, reader = ({"role": {"arn": f"arn:aws:iam::{'1' * 12}:role/{name}"}} for name in ("deployer", "reader"))
    whole = fleet({})
    every = {
        "own": one("own", access=deployer, check_access=reader),
        "same": one("same", access=deployer),
        "none": one("none", check_access={}),
    }
    nights.run(replace(whole, environments=every))
    roles = {
        loaded.environment.name: loaded.environment.access and loaded.environment.access.role
        for loaded in nights.opened
    }
    assert {name: role and role.arn.rpartition("/")[2] for name, role in roles.items()} == {
        "own": "reader",
        "same": "deployer",
        "none": None,
    }


@pytest.mark.parametrize(("full", "trusted"), [(False, True), (True, False)])
def test_with_full_no_record_is_looked_at(nights: Nights, full: bool, trusted: bool) -> None:
    book = RecordBook()
    night = nights.run(THREE, options=NightOptions(full=full, shard="1/1"), book=book)
    assert all((tools.book is book) is trusted for tools in nights.tools)
    assert night.result.shard == "1/1"


def test_no_more_are_read_at_once_than_are_bounded(nights: Nights) -> None:
    lock, running = threading.Lock(), [0, 0]
    enough = threading.Barrier(LOOKS_AT_ONCE)

    def work(name: str, _: Tools) -> Checked:
        with lock:
            running[0] += 1
            running[1] = max(running)
        # All that may be at work are: and not one more.
        enough.wait(LONG)
        with lock:
            running[0] -= 1
        return clean(name, "unchanged")

    nights.work = work
    night = nights.run(same_account(*(f"e{number:02}" for number in range(2 * LOOKS_AT_ONCE))))
    assert (running[1], len(night.result.environments)) == (LOOKS_AT_ONCE, 2 * LOOKS_AT_ONCE)


def test_a_record_is_kept_only_where_the_second_look_sees_the_same(nights: Nights) -> None:
    def later(name: str) -> str:
        if name == "b":
            raise AwsError("refused")
        if name == "c":
            raise KeyError("a mistake in this tool")
        return DIGEST if name == "a" else "1" * 64

    nights.later = later
    whole = same_account("a", "b", "c", "d")
    night = nights.run(whole)
    assert [one.environment for one in night.records] == ["a"]
    # It takes the record away and no result.
    assert (set(ways(night)), night.result.exit_code) == ({"a", "b", "c", "d"}, 0)
    first, second = nights.tools[0], nights.tools[-1]
    assert (first.readings is second.readings, first.states is second.states) == (False, False)


def test_what_was_not_planned_is_not_looked_at_again(nights: Nights) -> None:
    nights.work = lambda name, _: clean(name, "unchanged")
    night = nights.run(THREE)
    assert [one.environment for one in night.records] == ["a", "b", "c"]
    assert len(nights.tools) == 3


def test_ctrl_c_during_the_second_look_loses_no_result(nights: Nights) -> None:
    asked = threading.Event()

    def later(_: str) -> str:
        if not asked.is_set():
            asked.set()
            ctrl_c()
        return "1" * 64

    nights.later = later
    night = nights.run(THREE)
    assert (set(ways(night)), night.result.missing, night.records) == ({"a", "b", "c"}, (), ())


def test_terraform_is_looked_for_once_for_each_kind_of_environment(
    nights: Nights, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[tuple[str, Mapping[str, str]]] = []

    def find(loaded: Loaded, environ: Mapping[str, str]) -> Any:
        looked.append((loaded.environment.name, environ))
        return SimpleNamespace(version="1", provider_version="5", dev_overrides=False)

    monkeypatch.setattr(run_module, "find_toolchain", find)

    def work(name: str, tools: Tools) -> Checked:
        loaded = next(one for one in nights.opened if one.environment.name == name)
        assert tools.toolchain(loaded) is tools.toolchain(loaded)
        assert "5" in tools.versions(loaded)
        return clean(name, "unchanged")

    nights.work = work
    every = {name: one(name) for name in ("a", "b", "c")} | {"p": one("p", protected=True)}
    night = nights.run(Fleet(Path(), every, {}), environ={"ONLY": "this"})
    assert set(ways(night).values()) == {"unchanged"}
    assert len(looked) == 2
    assert all(environ == {"ONLY": "this"} for _, environ in looked)


def test_a_night_over_nothing_is_clean(nights: Nights) -> None:
    night = nights.run(Fleet(Path(), {}, {"broken": EnvironmentFileError("no")}), [])
    assert (night.result.environments, night.result.exit_code) == ((), 0)

"""How many plans are made at once, and what a planner asks of Terraform: to plan, and nothing that could apply."""

from __future__ import annotations

import json
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ci_user.errors import InterruptedRunError, TerraformError
from ci_user.nightly import planner
from ci_user.nightly.planner import Planner, at_once
from ci_user.redaction import SENSITIVE

MIB = 1024 * 1024


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A machine of eight processors about which nothing else is known yet."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    monkeypatch.setattr(planner, "_MEMINFO", tmp_path / "meminfo")
    monkeypatch.setattr(planner, "_CGROUP", tmp_path)
    return tmp_path


def meminfo(mebibytes: float) -> str:
    return f"MemTotal:       99999999 kB\nMemFree:  1 kB\nMemAvailable:   {int(mebibytes * 1024)} kB\nBuffers: 1 kB\n"


@pytest.mark.parametrize(
    ("free", "plans"), [(0, 1), (599, 1), (1199, 1), (1200, 2), (2400, 4), (4799, 7), (4800, 8), (100_000, 8)]
)
def test_as_many_are_planned_at_once_as_the_free_memory_carries_and_the_processors(
    machine: Path, free: int, plans: int
) -> None:
    (machine / "meminfo").write_text(meminfo(free))
    assert at_once() == plans


@pytest.mark.parametrize(
    "text", [None, "", "MemTotal: 1 kB\n", "MemAvailable:\n", "MemAvailable: many kB\n", b"\xff\xfe", "\n\n"]
)
def test_where_the_system_does_not_say_there_is_memory_for_four(machine: Path, text: str | bytes | None) -> None:
    if text is not None:
        (machine / "meminfo").write_bytes(text if isinstance(text, bytes) else text.encode())
    assert at_once() == 4


def test_without_affinity_the_processors_are_counted(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (machine / "meminfo").write_text(meminfo(100_000))
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 3)
    assert at_once() == 3
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert at_once() == 1


@pytest.mark.parametrize(
    ("limit", "used", "files", "plans"),
    [("max", 1, 0, 8), (1800, 600, 0, 2), (1800, 600, 600, 3), (600, 900, 0, 1), (100_000, 1, 0, 8), (1800, "?", 0, 8)],
)
def test_a_containers_memory_bounds_it_too_and_what_it_holds_of_files_is_free(
    machine: Path, limit: Any, used: Any, files: int, plans: int
) -> None:
    (machine / "meminfo").write_text(meminfo(100_000))
    for name, value in (("memory.max", limit), ("memory.current", used)):
        (machine / name).write_text(f"{value * MIB if isinstance(value, int) else value}\n")
    (machine / "memory.stat").write_text(f"anon 1\ninactive_file {files * MIB}\nactive_file 5\n")
    assert at_once() == plans


@pytest.mark.parametrize(
    ("quota", "plans"), [("max 100000", 8), ("200000 100000", 2), ("150000 100000", 2), ("1000 100000", 1), ("", 8)]
)
def test_a_containers_share_of_the_processors_bounds_it_too(machine: Path, quota: str, plans: int) -> None:
    (machine / "meminfo").write_text(meminfo(100_000))
    (machine / "cpu.max").write_text(f"{quota}\n")
    assert at_once() == plans


class Terraform:
    """Keeps what it is asked for. ``fails`` is raised by the plans, one after the other."""

    def __init__(self, *fails: Exception, began: bool = True, shows: Any = None) -> None:
        self.fails = list(fails)
        self.began = began
        self.shows = shows or {"planned_values": {"root_module": {}}}
        self.asked: list[str] = []
        self.file: Path | None = None

    def init(self, lock: Path, twins: object = None) -> bool:
        self.asked.append("init" if twins is None else "init with twins")
        assert lock.name == "init.lock"
        return self.began

    def plan(self, variables: Path, out: Path, *, lock: bool) -> bool:
        assert json.loads(variables.read_bytes()) == {"name": "shop"}
        self.asked.append(f"plan lock={lock}")
        if self.fails:
            raise self.fails.pop(0)
        out.write_text("a plan with secrets")
        self.file = out
        return False

    def show(self, plan: Path) -> Any:
        self.asked.append("show")
        if isinstance(self.shows, Exception):
            raise self.shows
        return self.shows

    def forget(self) -> None:
        self.asked.append("forget")


def planning(terraform: Terraform, directory: Path) -> Planner:
    run: Any = SimpleNamespace(
        workdir=directory,
        cache=directory / "environments" / "shop",
        loaded=SimpleNamespace(tfvars=SimpleNamespace(content=b'{"name": "shop"}')),
        terraform=lambda toolchain, check: terraform,
    )
    toolchain: Any = None
    return Planner(run, toolchain, {}, lambda: None)


UNINITIALISED = TerraformError("`terraform plan` failed (exit code 1):\n    Error: Backend initialization required")


def test_it_plans_without_a_lock_and_leaves_no_plan_behind(tmp_path: Path) -> None:
    terraform = Terraform()
    assert planning(terraform, tmp_path).document() == {"planned_values": {"root_module": {}}}
    assert terraform.asked == ["init with twins", "plan lock=False", "show"]
    assert terraform.file is not None
    assert not terraform.file.exists()


def test_sensitive_values_do_not_leave_it(tmp_path: Path) -> None:
    shown = {
        "resource_changes": [
            {"change": {"after": {"password": "hidden", "name": "a"}, "after_sensitive": {"password": True}}}
        ]
    }
    document = planning(Terraform(shows=shown), tmp_path).document()
    assert "hidden" not in json.dumps(document)
    assert SENSITIVE in json.dumps(document)


def test_a_plan_that_cannot_be_shown_is_not_left_behind_either(tmp_path: Path) -> None:
    terraform = Terraform(shows=TerraformError("no JSON"))
    with pytest.raises(TerraformError):
        planning(terraform, tmp_path).document()
    assert terraform.file is not None
    assert not terraform.file.exists()


def test_where_what_was_taken_over_does_not_do_it_is_initialised_and_planned_once_more(tmp_path: Path) -> None:
    terraform = Terraform(UNINITIALISED)
    planning(terraform, tmp_path).document()
    assert terraform.asked == ["init with twins", "plan lock=False", "forget", "init", "plan lock=False", "show"]


@pytest.mark.parametrize(
    ("terraform", "plans"),
    [
        (Terraform(UNINITIALISED, UNINITIALISED), 2),
        (Terraform(UNINITIALISED, began=False), 1),
        (Terraform(TerraformError("no rights")), 1),
    ],
    ids=["again", "its own", "another failure"],
)
def test_any_other_failure_is_told(tmp_path: Path, terraform: Terraform, plans: int) -> None:
    with pytest.raises(TerraformError):
        planning(terraform, tmp_path).document()
    assert terraform.asked.count("plan lock=False") == plans


def test_what_is_interrupted_is_not_planned_again(tmp_path: Path) -> None:
    terraform = Terraform(InterruptedRunError("initialization was interrupted"))
    with pytest.raises(InterruptedRunError):
        planning(terraform, tmp_path).document()
    assert terraform.asked == ["init with twins", "plan lock=False"]


def test_whoever_holds_a_planner_can_only_plan(tmp_path: Path) -> None:
    assert [name for name in dir(planning(Terraform(), tmp_path)) if not name.startswith("_")] == ["document"]

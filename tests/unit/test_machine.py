"""Whether a process is certainly over: when in doubt it is not."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ci_user import machine
from ci_user.machine import ThisMachine, owner_text

HERE = ThisMachine()
linux_only = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="start times are read from /proc")


def child() -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)


def test_a_living_process_is_not_gone() -> None:
    assert not HERE.gone(os.getpid(), HERE.started(os.getpid()))


def test_a_process_that_was_killed_and_reaped_is_gone() -> None:
    process = child()
    started = HERE.started(process.pid)
    process.kill()
    process.communicate()
    assert HERE.gone(process.pid, started)


@linux_only
def test_a_process_that_was_killed_and_nobody_reaped_is_gone() -> None:
    process = child()
    started = HERE.started(process.pid)
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    try:
        assert HERE.gone(process.pid, started)
    finally:
        process.communicate()


@linux_only
def test_a_pid_that_was_given_to_another_process_counts_as_gone() -> None:
    assert HERE.gone(os.getpid(), "1")


def test_a_process_of_unknown_start_is_not_gone_while_its_pid_is_taken() -> None:
    assert not HERE.gone(os.getpid(), None)


@pytest.mark.parametrize("pid", [0, -1])
def test_a_number_that_is_no_process_is_not_called_gone(pid: int) -> None:
    assert not HERE.gone(pid, None)


def test_somebody_elses_process_whose_details_are_hidden_is_not_gone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def refuse(pid: int, signal: int) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "kill", refuse)
    monkeypatch.setattr(machine, "_PROC", tmp_path)
    assert not HERE.gone(4711, "then")


@linux_only
def test_machine_ids_differ_between_containers_of_one_host(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def container(name: str) -> str:
        proc = tmp_path / name
        (proc / "sys/kernel/random").mkdir(parents=True)
        (proc / "self/ns").mkdir(parents=True)
        (proc / "sys/kernel/random/boot_id").write_text("the same\n")
        (proc / "self/ns/pid").symlink_to(f"pid:[{name}]")
        monkeypatch.setattr(machine, "_PROC", proc)
        return machine._machine_id.__wrapped__()

    assert container("1") != container("2")
    # A machine that cannot be told from others is never recognised again.
    monkeypatch.setattr(machine, "_PROC", tmp_path / "none")
    assert machine._machine_id.__wrapped__() != machine._machine_id.__wrapped__()


def test_the_machine_keeps_its_id() -> None:
    assert ThisMachine().id == HERE.id
    assert len(HERE.id) == 32


def test_a_user_without_a_name_still_owns_a_lease(monkeypatch: pytest.MonkeyPatch) -> None:
    def nameless() -> str:
        raise KeyError("uid not found")

    monkeypatch.setattr("getpass.getuser", nameless)
    assert owner_text().startswith(f"uid {os.getuid()}@")

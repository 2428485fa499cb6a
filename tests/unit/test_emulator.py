from __future__ import annotations

import errno
import os
import shutil
import socket
import subprocess
import sys
import threading
from collections import namedtuple
from pathlib import Path
from typing import Any

import pytest

from ci_user import emulator
from ci_user.errors import SandboxError, UsageError
from ci_user.files import cannot_write
from ci_user.process_identity import identity
from ci_user.sandbox import Sandbox
from tests.programs import write_program

Usage = namedtuple("Usage", "total used free")


def make(root: Path, directory: Path, usual_port: int = 0) -> Sandbox:
    return Sandbox(root, account_id="000000000000", region="eu-west-1", directory=directory, usual_port=usual_port)


@pytest.fixture
def launched(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The ids of all processes that were started."""
    pids: list[int] = []

    class Recording(subprocess.Popen[bytes]):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            pids.append(self.pid)

    monkeypatch.setattr(subprocess, "Popen", Recording)
    return pids


def fake_interpreter(root: Path, body: str) -> None:
    place = root / ".venv" / "sandbox" / "bin"
    place.mkdir(parents=True)
    (place / "ministack").touch()
    write_program(place / "python", body)


def test_missing_emulator_names_the_command_that_installs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, launched: list[int]
) -> None:
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "other"))
    with pytest.raises(SandboxError, match="not installed") as refused:
        make(tmp_path, tmp_path / "state").up()
    assert refused.value.do is not None
    assert "make sandbox" in refused.value.do
    assert refused.value.exit_code == 1
    assert launched == []
    assert {path.name for path in (tmp_path / "state").iterdir()} <= {"lock"}


def test_broken_interpreter_is_a_clear_error(tmp_path: Path) -> None:
    place = tmp_path / ".venv" / "sandbox" / "bin"
    place.mkdir(parents=True)
    (place / "ministack").touch()
    with pytest.raises(SandboxError, match="cannot be started: No such file"):
        make(tmp_path, tmp_path / "state").up()
    assert not (tmp_path / "state" / "running.json").exists()


def test_emulator_that_ends_at_once_shows_the_end_of_its_log(tmp_path: Path) -> None:
    fake_interpreter(tmp_path, "import sys; sys.exit('it \\x1b[31mtripped')")
    with pytest.raises(SandboxError, match="ended at once with exit code 1") as refused:
        make(tmp_path, tmp_path / "state").up()
    assert "tripped" in str(refused.value)
    assert "\x1b" not in str(refused.value)
    assert not (tmp_path / "state" / "running.json").exists()


def test_emulator_that_never_answers_is_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, launched: list[int]
) -> None:
    monkeypatch.setattr(emulator, "START_SECONDS", 0.2)
    fake_interpreter(tmp_path, "import time; time.sleep(60)")
    with pytest.raises(SandboxError, match="did not answer within"):
        make(tmp_path, tmp_path / "state").up()
    assert [identity(pid) for pid in launched] == [None]
    assert not (tmp_path / "state" / "running.json").exists()


def test_interrupt_while_it_starts_leaves_no_process(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, launched: list[int]
) -> None:
    def interrupt(*_: object) -> bool:
        raise KeyboardInterrupt

    monkeypatch.setattr(emulator.Emulator, "await_health", interrupt)
    with pytest.raises(KeyboardInterrupt):
        make(root, tmp_path / "state").up()
    assert [identity(pid) for pid in launched] == [None]
    assert not (tmp_path / "state" / "running.json").exists()


# Port taken


def test_port_that_is_taken_is_seen() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert emulator.free_port(taken.getsockname()[1]) is None


def test_port_that_is_bound_without_listening_is_seen() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        assert emulator.free_port(taken.getsockname()[1]) is None


def test_port_taken_on_every_address_is_seen() -> None:
    with socket.create_server(("0.0.0.0", 0)) as taken:  # noqa: S104 - what is tested
        assert emulator.free_port(taken.getsockname()[1]) is None


def test_no_free_port_at_all_is_a_clear_error(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, launched: list[int]
) -> None:
    monkeypatch.setattr(emulator, "free_port", lambda _: None)
    with pytest.raises(SandboxError, match="no free port") as refused:
        make(root, tmp_path / "state", 4566).up()
    assert refused.value.expected == "port 4566 or any other free one"
    assert launched == []
    assert not (tmp_path / "state" / "running.json").exists()


def test_port_lost_between_look_and_start_leads_to_another_try(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = emulator.free_port
    with socket.create_server(("127.0.0.1", 0)) as taken:
        lost = taken.getsockname()[1]
        monkeypatch.setattr(emulator, "free_port", lambda port: lost if port == lost else real(port))
        sandbox = make(root, tmp_path / "state", lost)
        try:
            up = sandbox.up()
            assert up.port != lost
            assert up.orderly
        finally:
            sandbox.down()


def test_something_else_that_answers_is_not_the_emulator() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        other.settimeout(5)
        port = other.getsockname()[1]

        def answer() -> None:
            connection, _ = other.accept()
            with connection:
                connection.recv(1000)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n[[]]")

        thread = threading.Thread(target=answer)
        thread.start()
        assert emulator.instance_at(port) is None
        thread.join(5)


# Disk and permissions


def test_full_disk_is_said_before_anything_is_started(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, launched: list[int]
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(10, 10, 3 * 1024**2))
    with pytest.raises(SandboxError, match="the disk is full: 3 MiB are free") as refused:
        make(root, tmp_path / "state").up()
    assert refused.value.runbook == "disk"
    assert launched == []


def test_cache_that_is_a_file_is_a_clear_error(root: Path, tmp_path: Path, launched: list[int]) -> None:
    (tmp_path / "state").write_text("in the way")
    with pytest.raises(SandboxError, match="cannot be written") as refused:
        make(root, tmp_path / "state").up()
    assert refused.value.where == str(tmp_path / "state")
    assert launched == []
    assert (tmp_path / "state").read_text() == "in the way"


def test_data_directory_in_the_way_is_a_clear_error(root: Path, tmp_path: Path, launched: list[int]) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "data").write_text("in the way")
    with pytest.raises(SandboxError, match="cannot be written"):
        make(root, tmp_path / "state").up()
    assert launched == []


def test_log_that_cannot_be_written_is_a_clear_error(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, launched: list[int]
) -> None:
    real = os.open

    def refuse(path: object, *args: int, **kwargs: int) -> int:
        if str(path).endswith("/log"):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return real(path, *args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(SandboxError, match="Permission denied"):
        make(root, tmp_path / "state").up()
    assert launched == []


def test_record_that_cannot_be_written_leaves_no_process(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, launched: list[int]
) -> None:
    def full(path: Path, _: bytes) -> UsageError:
        raise cannot_write(path, OSError(errno.ENOSPC, "No space left on device"))

    monkeypatch.setattr("ci_user.sandbox.write_private", full)
    with pytest.raises(SandboxError, match="No space left on device"):
        make(root, tmp_path / "state").up()
    assert len(launched) == 1
    assert identity(launched[0]) is None
    assert not (tmp_path / "state" / "running.json").exists()


def test_state_that_could_not_be_saved_is_told_and_remembered(root: Path, tmp_path: Path) -> None:
    sandbox = make(root, tmp_path / "state")
    sandbox.up()
    try:
        # Where the emulator wants a file to be, it cannot write one.
        for name in ("scheduler.json", "scheduler.json.tmp"):
            (tmp_path / "state/data/state" / name / "in the way").mkdir(parents=True)
        down = sandbox.down()
        assert (down.stopped, down.orderly) == (True, False)
        assert "failed to save scheduler" in down.notes[0]
        assert not sandbox.up().orderly
    finally:
        shutil.rmtree(tmp_path / "state/data/state", ignore_errors=True)
        sandbox.down()


def test_identity_tells_processes_apart() -> None:
    mine, parents = identity(os.getpid()), identity(os.getppid())
    assert mine == identity(os.getpid())
    assert None not in (mine, parents)
    assert mine != parents


@pytest.mark.parametrize("pid", [0, -1, 2**30])
def test_no_process_has_no_identity(pid: int) -> None:
    assert identity(pid) is None


def test_identity_without_proc_comes_from_ps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ci_user.process_identity._PROC", tmp_path)
    assert identity(os.getpid()) == identity(os.getpid())
    assert identity(2**30) is None

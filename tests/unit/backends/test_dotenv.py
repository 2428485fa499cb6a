from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

import pytest

from ci_user.backends import Backend, open_backend, settings_model
from ci_user.backends.private_file import PrivateFile
from ci_user.backends.protocol import Held
from ci_user.errors import BackendError
from ci_user.secret import AccessKey, Secret
from tests.contract.place import Names, NoAccess, modes_of_what_is_synced

NAMES = Names(name="sandbox", prefix="shop-sandbox")
KEY = AccessKey("AKIAIOSFODNN7EXAMPLE", Secret("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"))
OTHER = AccessKey("AKIAI44QH8DHBEXAMPLE", Secret("je7MtGbClwBF/2Zp9Utk/h3yCo8nvbEXAMPLEKEY"))


def opened(root: Path, path: str = "keys/.env", names: Names | None = None) -> Backend:
    settings = settings_model("dotenv").model_validate({"backend": "dotenv", "path": path}, context={"root": root})
    return open_backend(settings, NoAccess(), names or NAMES, root)


def test_the_file_is_private_and_complete(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        backend = opened(tmp_path)
        backend.preflight()
        assert not (tmp_path / "keys").exists()
        backend.deliver(KEY)
    finally:
        os.umask(old)
    file = tmp_path / "keys" / ".env"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    assert file.read_text() == (
        "# Written by ci-user for shop-sandbox; do not edit or commit\n"
        "AWS_ACCESS_KEY_ID=AKIAIOSFODNN7EXAMPLE\n"
        "AWS_SECRET_ACCESS_KEY=wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY\n"
        "AWS_REGION=eu-west-1\n"
    )
    assert [path.name for path in file.parent.iterdir()] == [".env"]


def test_it_is_created_private_not_made_private_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    modes = modes_of_what_is_synced(monkeypatch)
    monkeypatch.setattr(os, "chmod", lambda *_, **__: pytest.fail("chmod after writing"))
    opened(tmp_path).deliver(KEY)
    assert modes == [0o600]


def test_create_update_unchanged_and_remove(tmp_path: Path) -> None:
    backend = opened(tmp_path)
    assert backend.held() == Held(None, None)
    assert backend.remove() is False
    for key in (KEY, OTHER, OTHER):
        backend.deliver(key)
        backend.preflight()
        assert opened(tmp_path).held() == Held(key.id, None)
    assert backend.remove() is True
    assert backend.remove() is False
    assert not (tmp_path / "keys" / ".env").exists()


def test_a_file_readable_by_all_becomes_private(tmp_path: Path) -> None:
    opened(tmp_path).deliver(KEY)
    (tmp_path / "keys" / ".env").chmod(0o666)
    opened(tmp_path).deliver(KEY)
    assert stat.S_IMODE((tmp_path / "keys" / ".env").stat().st_mode) == 0o600


def test_held_does_not_read_the_line_with_the_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened(tmp_path).deliver(KEY)
    file = tmp_path / "keys" / ".env"
    first_two = len("".join(file.read_text().splitlines(keepends=True)[:2]))
    positions = []
    original = os.open

    def remember(path: Any, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        descriptor = original(path, flags, mode, dir_fd=dir_fd)
        if path == ".env":
            positions.append(os.dup(descriptor))
        return descriptor

    monkeypatch.setattr(os, "open", remember)
    assert opened(tmp_path).held().current == KEY.id
    assert [os.lseek(one, 0, os.SEEK_CUR) for one in positions] == [first_two]
    for one in positions:
        os.close(one)


def unchanging(file: Path) -> tuple[int, ...]:
    found = file.lstat()
    return found.st_ino, found.st_mode, found.st_size, found.st_mtime_ns


def a_file_of_somebody(place: Path) -> None:
    place.write_text("DATABASE=x\n")


def a_file_of_another_environment(place: Path) -> None:
    place.write_text("# Written by ci-user for shop-production; do not edit or commit\nAWS_ACCESS_KEY_ID=X\n")


def a_directory(place: Path) -> None:
    place.mkdir()


def a_symlink(place: Path) -> None:
    (place.parent / "elsewhere").write_text("# Written by ci-user for shop-sandbox; do not edit or commit\n")
    place.symlink_to("elsewhere")


def a_pipe(place: Path) -> None:
    os.mkfifo(place)


def binary(place: Path) -> None:
    place.write_bytes(b"\xff\xfe\x00" * 5000)


@pytest.mark.parametrize(
    "make", [a_file_of_somebody, a_file_of_another_environment, a_directory, a_symlink, a_pipe, binary]
)
def test_what_is_not_ours_is_left_alone(tmp_path: Path, make: Any) -> None:
    place = tmp_path / ".env"
    make(place)
    before = unchanging(place)
    backend = opened(tmp_path, ".env")
    for refused in (backend.preflight, lambda: backend.deliver(KEY)):
        with pytest.raises(BackendError, match="was not written by this tool") as caught:
            refused()
        assert str(place) in str(caught.value)
        assert caught.value.do
    assert backend.held() == Held(None, None)
    assert backend.remove() is False
    assert unchanging(place) == before


def test_a_symlink_on_the_way_is_refused(tmp_path: Path) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside"
    root.mkdir()
    outside.mkdir()
    backend = opened(root)
    (root / "keys").symlink_to(outside)
    for refused in (backend.preflight, backend.held, backend.remove, lambda: backend.deliver(KEY)):
        with pytest.raises(BackendError, match="cannot use"):
            refused()
    assert list(outside.iterdir()) == []


def test_a_file_in_place_of_a_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("")
    for refused in (opened(tmp_path).preflight, lambda: opened(tmp_path).deliver(KEY)):
        with pytest.raises(BackendError, match="Not a directory"):
            refused()


def test_a_missing_root_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BackendError, match="No such file"):
        opened(tmp_path / "nowhere").preflight()


@pytest.mark.parametrize("failing", ["fsync", "replace", "open"])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EACCES, errno.EROFS, errno.EDQUOT])
def test_a_failing_disk_keeps_the_old_file_and_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str, number: int
) -> None:
    opened(tmp_path).deliver(KEY)
    original = getattr(os, failing)

    def fail(*args: Any, **more: Any) -> Any:
        if failing == "open" and not args[1] & os.O_CREAT:
            return original(*args, **more)
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, failing, fail)
    with pytest.raises(BackendError, match=os.strerror(number)) as caught:
        opened(tmp_path).deliver(OTHER)
    monkeypatch.undo()
    assert str(tmp_path / "keys" / ".env") in str(caught.value)
    assert OTHER.secret.reveal() not in str(caught.value)
    assert opened(tmp_path).held() == Held(KEY.id, None)
    assert [path.name for path in (tmp_path / "keys").iterdir()] == [".env"]


def test_a_directory_that_cannot_be_written_is_found_beforehand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # root may write everywhere, so the answer is given in its place
    monkeypatch.setattr(os, "access", lambda *_, **__: False)
    with pytest.raises(BackendError, match="its directory cannot be written"):
        opened(tmp_path).preflight()


def test_an_interruption_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> NoReturn:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        opened(tmp_path).deliver(KEY)
    assert list((tmp_path / "keys").iterdir()) == []


KILLED = """
import os, signal, sys
from pathlib import Path
from ci_user.backends.private_file import PrivateFile

def write(stream):
    stream.write(b"SECRET")
    stream.flush()
    os.kill(os.getpid(), signal.SIGKILL)

with PrivateFile(Path(sys.argv[1]), "keys/.env", "dotenv:keys/.env").directory(create=True) as directory:
    directory.replace(".env", write)
"""


@pytest.mark.parametrize("act", ["deliver", "remove"])
def test_what_a_killed_run_left_of_the_secret_goes_with_the_next(tmp_path: Path, act: str) -> None:
    subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], check=False)
    (left,) = (tmp_path / "keys").iterdir()
    assert left.read_bytes() == b"SECRET"
    others = [left.with_name(name) for name in (".env.x", "..env.0123456789abcde", "..other.0123456789abcdef")]
    readable = left.with_name("..env.0123456789abcdef")
    for other in (*others, readable):
        other.touch(0o600)
    readable.chmod(0o644)
    backend = opened(tmp_path)
    if act == "deliver":
        backend.deliver(KEY)
        others.append(left.with_name(".env"))
    else:
        assert backend.remove() is False
    assert set(left.parent.iterdir()) == {*others, readable}


def test_what_another_run_is_writing_is_not_swept_up(tmp_path: Path) -> None:
    place = PrivateFile(tmp_path, "keys/.env", "dotenv:keys/.env")
    with place.directory(create=True) as directory:

        def write(stream: BinaryIO) -> None:
            stream.write(b"x")
            opened(tmp_path).deliver(KEY)
            opened(tmp_path).remove()

        directory.replace(".env", write)
    assert (tmp_path / "keys" / ".env").read_bytes() == b"x"


def test_two_at_once_leave_one_whole_file(tmp_path: Path) -> None:
    threads = [threading.Thread(target=opened(tmp_path).deliver, args=(key,)) for key in (KEY, OTHER) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    text = (tmp_path / "keys" / ".env").read_text()
    held = opened(tmp_path).held().current
    (key,) = [one for one in (KEY, OTHER) if one.id == held]
    assert key.secret.reveal() in text
    assert len(list((tmp_path / "keys").iterdir())) == 1


def test_it_cannot_be_the_stage(tmp_path: Path) -> None:
    backend = opened(tmp_path)
    assert backend.readable is False
    attempts: tuple[Callable[[], object], ...] = (
        lambda: backend.stage(KEY),
        lambda: backend.read_staged(KEY.id),
        lambda: backend.promote(KEY.id),
        lambda: backend.discard_staged(KEY.id),
    )
    for refused in attempts:
        with pytest.raises(BackendError, match="the dotenv backend does not"):
            refused()


def test_a_line_break_in_a_key_id_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BackendError, match="is not an access key id"):
        opened(tmp_path).deliver(AccessKey("AKIAIOSFODNN7EXAMPLE\nX=1", KEY.secret))
    assert not (tmp_path / "keys").exists()


def test_environments_do_not_share_a_file(tmp_path: Path) -> None:
    opened(tmp_path).deliver(KEY)
    other = opened(tmp_path, names=replace(NAMES, prefix="shop-testing"))
    with pytest.raises(BackendError, match="not written by this tool for this environment"):
        other.deliver(OTHER)
    assert other.remove() is False

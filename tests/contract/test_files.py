"""The same cases for every backend that writes a file."""

from __future__ import annotations

import functools
import io
import itertools
import json
import os
import stat
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyrage  # type: ignore[import-untyped, unused-ignore]
import pytest

from ci_user.backends import Backend, open_backend, settings_model, settings_of
from ci_user.backends.protocol import Held
from ci_user.errors import BackendError
from ci_user.secret import AccessKey
from tests.contract.place import Names, NoAccess, modes_of_what_is_synced, new_key
from tests.contract.showing import leaks, shown

TESTING = Names()
CHANGING = ("replace", "unlink", "fsync", "mkdir")


class FilePlace(ABC):
    """A file below a repository's root."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.file = root / "keys" / "file"

    @abstractmethod
    def document(self) -> dict[str, Any]:
        """Return the entry of ``secrets``."""

    @abstractmethod
    def read(self) -> dict[str, str]:
        """Return names and values as a pipeline reads them."""

    def open(self, environment: Names = TESTING, **changes: Any) -> Backend:
        document = self.document() | changes
        settings = settings_model(document["backend"]).model_validate(document, context={"root": self.root})
        return open_backend(settings, NoAccess(), environment, self.root)

    def consumed(self) -> tuple[str | None, ...]:
        if not self.file.exists():
            return (None, None)
        found = self.read()
        return found["AWS_ACCESS_KEY_ID"], found["AWS_SECRET_ACCESS_KEY"]


class Dotenv(FilePlace):
    def document(self) -> dict[str, Any]:
        return {"backend": "dotenv", "path": "keys/file"}

    def read(self) -> dict[str, str]:
        lines = [line for line in self.file.read_text().splitlines() if not line.startswith("#")]
        return {name: value for name, _, value in (line.partition("=") for line in lines)}


class Age(FilePlace):
    """An age file for an identity that is made here."""

    form = "dotenv"

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.identity = pyrage.x25519.Identity.generate()

    def document(self) -> dict[str, Any]:
        recipients = [str(self.identity.to_public())]
        return {"backend": "age", "path": "keys/file", "recipients": recipients, "format": self.form}

    def plain(self) -> str:
        return str(pyrage.decrypt(self.file.read_bytes(), [self.identity]).decode())

    def read(self) -> dict[str, str]:
        return {name: value for name, _, value in (line.partition("=") for line in self.plain().splitlines())}


class AgeJson(Age):
    form = "json"

    def read(self) -> dict[str, str]:
        return dict(json.loads(self.plain()))


class AgeSsh(Age):
    """An age file for an SSH key."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        private, self.public = _ssh_key()
        self.identity = pyrage.ssh.Identity.from_buffer(private)

    def document(self) -> dict[str, Any]:
        return {"backend": "age", "path": "keys/file", "recipients": [self.public]}


@functools.cache
def _ssh_key() -> tuple[bytes, str]:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
    )
    public = key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    return private, f"{public.decode()} ci@example.com"


@pytest.fixture(params=[Dotenv, Age, AgeJson, AgeSsh])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> FilePlace:
    found: FilePlace = request.param(tmp_path)
    return found


def values(key: AccessKey) -> tuple[str, str]:
    return key.id, key.secret.reveal()


def files(place: FilePlace) -> dict[str, bytes]:
    found = place.file.parent
    return {path.name: path.read_bytes() for path in found.iterdir()} if found.exists() else {}


def test_nothing_there_holds_nothing_and_preflight_changes_nothing(place: FilePlace) -> None:
    assert all(place.open().preflight())
    assert place.open().held() == Held(None, None)
    assert place.open().remove() is False
    assert list(place.root.iterdir()) == []


def test_a_delivered_key_is_exactly_what_a_pipeline_reads(place: FilePlace) -> None:
    key = new_key()
    place.open().deliver(key)
    assert place.consumed() == values(key)
    assert place.open().held() == Held(key.id, None)
    assert place.open().preflight()


def test_a_second_key_replaces_the_first_and_a_repetition_changes_nothing(place: FilePlace) -> None:
    old, new = new_key(), new_key()
    place.open().deliver(old)
    for _ in range(2):
        place.open().deliver(new)
        assert place.consumed() == values(new)
        assert place.open().held() == Held(new.id, None)
    before = files(place)
    place.open().deliver(new)
    assert files(place) == before


def test_every_file_is_private_from_its_first_byte(place: FilePlace, monkeypatch: pytest.MonkeyPatch) -> None:
    modes = modes_of_what_is_synced(monkeypatch)
    old = os.umask(0)
    try:
        place.open().deliver(new_key())
    finally:
        os.umask(old)
    assert set(modes) == {0o600}
    assert {stat.S_IMODE(path.stat().st_mode) for path in place.file.parent.iterdir()} == {0o600}
    assert stat.S_IMODE(place.file.parent.stat().st_mode) == 0o700


def test_two_at_once_leave_one_whole_key(place: FilePlace) -> None:
    keys, failures, start = [new_key(), new_key()], [], threading.Barrier(4)

    def run(key: AccessKey) -> None:
        try:
            start.wait(20)
            place.open().deliver(key)
        except BaseException as error:  # noqa: BLE001 - handed to the test's own thread
            failures.append(error)

    threads = [threading.Thread(target=run, args=(key,)) for key in keys for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failures == []
    held = place.open().held().current
    assert place.consumed() == values(next(key for key in keys if key.id == held))


class KilledError(BaseException):
    """Stands for a process that dies: nothing is done after it, no cleaning up either."""


def die_at(monkeypatch: pytest.MonkeyPatch, step: int, *, afterwards: bool) -> None:
    """Let the run die at one of the calls that change something, before it or after it."""
    count = itertools.count()
    dead = threading.Event()

    def dying(original: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **more: Any) -> Any:
            last = next(count) == step
            if dead.is_set() or (last and not afterwards):
                dead.set()
                raise KilledError
            found = original(*args, **more)
            if last:
                dead.set()
                raise KilledError
            return found

        return call

    for name in CHANGING:
        monkeypatch.setattr(os, name, dying(getattr(os, name)))


@pytest.mark.parametrize("afterwards", [False, True])
def test_a_write_that_dies_anywhere_is_told_apart_and_healed(
    place: FilePlace, monkeypatch: pytest.MonkeyPatch, afterwards: bool
) -> None:
    died = 0
    for first in (True, False):
        for step in range(60):
            old, new = new_key(), new_key()
            place.open().remove()
            if not first:
                place.open().deliver(old)
            with monkeypatch.context() as patch:
                die_at(patch, step, afterwards=afterwards)
                try:
                    place.open().deliver(new)
                    finished = True
                except KilledError:
                    finished = False
            held = place.open().held()
            if held.current is None:
                assert first
                assert place.consumed() == (None, None)
            else:
                assert place.consumed() == values(next(key for key in (old, new) if key.id == held.current))
            if finished:
                assert held.current == new.id
                break
            died += 1
            assert held.torn is (held.current is None and bool(set(files(place)) & {"file", "file.ci-user.json"}))
            place.open().preflight()
            place.open().deliver(new)
            assert place.consumed() == values(new)
            assert place.open().held() == Held(new.id, None)
    assert died >= 4


def test_a_removal_that_dies_anywhere_is_finished_by_the_next(
    place: FilePlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    for step in range(20):
        key = new_key()
        place.open().deliver(key)
        with monkeypatch.context() as patch:
            die_at(patch, step, afterwards=False)
            try:
                place.open().remove()
                finished = True
            except KilledError:
                finished = False
        held = place.open().held()
        assert held in (Held(key.id, None), Held(None, None, torn=True), Held(None, None))
        if held.current:
            assert place.consumed() == values(key)
        # What is said to hold nothing has nothing left to remove, and the other way round.
        assert place.open().remove() is (held != Held(None, None))
        assert files(place) == {}
        if finished:
            break
    assert step >= 2


def unchanging(file: Path) -> tuple[int, ...]:
    found = file.lstat()
    return found.st_ino, found.st_mode, found.st_size, found.st_mtime_ns


def a_file_of_somebody(place: FilePlace) -> None:
    place.file.write_text("DATABASE=x\n")


def an_age_file_of_somebody(place: FilePlace) -> None:
    recipient = pyrage.x25519.Identity.generate().to_public()
    place.file.write_bytes(pyrage.encrypt(b"AWS_ACCESS_KEY_ID=x\n", [recipient]))


def a_file_and_a_note_of_somebody(place: FilePlace) -> None:
    place.file.write_text("x")
    place.file.with_name("file.ci-user.json").write_text('{"environment": "shop-testing"}')


def a_directory(place: FilePlace) -> None:
    place.file.mkdir()


def a_symlink(place: FilePlace) -> None:
    (place.file.parent / "elsewhere").write_text("# Written by ci-user for shop-testing; do not edit or commit\n")
    place.file.symlink_to("elsewhere")


def a_pipe(place: FilePlace) -> None:
    os.mkfifo(place.file)


@pytest.mark.parametrize(
    "make",
    [
        a_file_of_somebody,
        an_age_file_of_somebody,
        a_file_and_a_note_of_somebody,
        a_directory,
        a_symlink,
        a_pipe,
    ],
)
def test_what_is_not_ours_is_left_alone(place: FilePlace, make: Callable[[FilePlace], None]) -> None:
    place.file.parent.mkdir()
    make(place)
    before = unchanging(place.file)
    names = sorted(path.name for path in place.file.parent.iterdir())
    for refused in (place.open().preflight, lambda: place.open().deliver(new_key())):
        with pytest.raises(BackendError, match="was not written by this tool") as caught:
            refused()
        assert str(place.file) in str(caught.value)
        assert caught.value.do
    assert place.open().held() == Held(None, None)
    assert place.open().remove() is False
    assert unchanging(place.file) == before
    assert sorted(path.name for path in place.file.parent.iterdir()) == names


def test_a_file_of_another_environment_is_left_alone(place: FilePlace) -> None:
    key, other = new_key(), replace(Names(), prefix="shop-production")
    place.open().deliver(key)
    for refused in (place.open(other).preflight, lambda: place.open(other).deliver(new_key())):
        with pytest.raises(BackendError, match="not written by this tool for this environment"):
            refused()
    assert place.open(other).held() == Held(None, None)
    assert place.open(other).remove() is False
    assert place.consumed() == values(key)


def test_removal_takes_just_what_was_written(place: FilePlace) -> None:
    place.open().deliver(new_key())
    (place.file.parent / "other").write_text("x")
    assert place.open().remove() is True
    assert files(place) == {"other": b"x"}
    assert place.open().held() == Held(None, None)
    assert place.open().remove() is False
    key = new_key()
    place.open().deliver(key)
    assert place.consumed() == values(key)


def test_a_place_that_only_its_line_is_left_of_is_emptied(place: FilePlace) -> None:
    key = new_key()
    place.open().deliver(key)
    settings = settings_of(place.open().target, Names())
    assert settings is not None
    again = open_backend(settings, NoAccess(), Names(), place.root)
    assert again.target == place.open().target
    assert again.held() == Held(key.id, None)
    assert again.remove() is True
    assert files(place) == {}
    assert again.remove() is False


def test_a_symlink_on_the_way_is_refused(place: FilePlace) -> None:
    outside = place.root / "outside"
    outside.mkdir()
    backend = place.open()
    (place.root / "keys").symlink_to(outside)
    for refused in (backend.preflight, backend.held, backend.remove, lambda: backend.deliver(new_key())):
        with pytest.raises(BackendError, match="cannot use"):
            refused()
    assert list(outside.iterdir()) == []


@pytest.mark.parametrize("failing", ["fsync", "replace"])
def test_a_failing_disk_keeps_what_was_there(place: FilePlace, monkeypatch: pytest.MonkeyPatch, failing: str) -> None:
    old = new_key()
    place.open().deliver(old)
    before = files(place)

    def fail(*_: Any, **__: Any) -> Any:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, failing, fail)
        with pytest.raises(BackendError, match="No space left") as caught:
            place.open().deliver(new_key())
    assert leaks(shown(caught.value)) == []
    assert files(place) == before
    assert place.open().held() == Held(old.id, None)


def test_it_cannot_be_the_stage(place: FilePlace) -> None:
    backend, key = place.open(), new_key()
    assert backend.readable is False
    attempts: tuple[Callable[[], object], ...] = (
        lambda: backend.stage(key),
        lambda: backend.read_staged(key.id),
        lambda: backend.promote(key.id),
        lambda: backend.discard_staged(key.id),
    )
    for refused in attempts:
        with pytest.raises(BackendError, match="backend does not"):
            refused()


# What must not be told


def test_nothing_but_the_file_shows_the_secret(
    place: FilePlace, debug_log: io.StringIO, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = place.open()
    backend.deliver(new_key())
    found = [repr(backend), repr(vars(backend)), backend.target, repr(backend.held())]
    for step in range(12):
        count = itertools.count()

        def fail(*_: Any, count: Iterator[int] = count, step: int = step, **__: Any) -> None:
            if next(count) >= step:
                raise OSError(5, "Input/output error")

        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", fail)
            with suppress(BackendError):
                backend.deliver(new_key())
                break
            with pytest.raises(BackendError) as caught:
                backend.deliver(new_key())
            found.append(shown(caught.value))
    captured = capfd.readouterr()
    assert leaks("\n".join([*found, debug_log.getvalue(), captured.out, captured.err])) == []
    if not isinstance(place, Dotenv):
        everything = b"".join(files(place).values())
        assert leaks(everything.decode("latin-1")) == []

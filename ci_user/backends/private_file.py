"""Files below the repository's root: private from their first byte, replaced as a whole, and never outside of the root.

Every directory on the way is opened relative to the one before, without following symlinks, so a file cannot end up outside of
the repository even if the way is changed meanwhile.
"""

from __future__ import annotations

import fcntl
import os
import re
import secrets
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Final

from ci_user.errors import BackendError

_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_READ: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_WRITE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class NotOursError(BackendError):
    """The file is not the tool's."""


class NotRegularError(Exception):
    """Something else than a file has its name; the text completes "it is"."""


@dataclass(frozen=True, slots=True)
class Directory:
    """An open directory.

    Args:
        descriptor: It, or the last directory on the way that exists.
        complete: Whether it is the file's own directory.
    """

    descriptor: int
    complete: bool

    def writable(self) -> bool:
        """Return whether a file can be made in it."""
        return os.access(".", os.W_OK | os.X_OK, dir_fd=self.descriptor)

    @contextmanager
    def reading(self, name: str) -> Iterator[BinaryIO | None]:
        """Give a file unbuffered, so that no more of it is read than is asked for; None when there is none.

        Raises:
            NotRegularError: It is a symlink, a directory or the like.
        """
        file = self._open(name)
        if file is None:
            yield None
            return
        with open(file, "rb", buffering=0) as stream:  # noqa: PTH123 - a descriptor
            yield stream

    def replace(self, name: str, write: Callable[[BinaryIO], object]) -> None:
        """Replace a file: a reader sees the old one or the new one, never half of it.

        Args:
            name: The file's name in this directory.
            write: Writes the new content.
        """
        self.sweep(name)
        temporary, file = self._temporary(name)
        try:
            # `open` takes the descriptor over and closes it.
            with open(file, "wb") as stream:  # noqa: PTH123 - a descriptor
                write(stream)
                stream.flush()
                os.fsync(stream.fileno())
                # Still open, and so still locked: nobody sweeps it up.
                os.replace(temporary, name, src_dir_fd=self.descriptor, dst_dir_fd=self.descriptor)
        except BaseException:
            with suppress(FileNotFoundError):
                os.unlink(temporary, dir_fd=self.descriptor)
            raise
        os.fsync(self.descriptor)

    def sweep(self, name: str) -> None:
        """Delete what runs that were killed while they wrote a file left of it, since that may hold a secret."""
        if not self.complete:
            return
        temporary = re.compile(re.escape(_beginning(name)) + r"[0-9a-f]{16}")
        for found in filter(temporary.fullmatch, os.listdir(self.descriptor)):  # noqa: PTH208 - a descriptor
            with suppress(OSError):
                file = os.open(found, _READ, dir_fd=self.descriptor)
                try:
                    # A run that is alive has it locked.
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    if _is_own(os.fstat(file)):
                        os.unlink(found, dir_fd=self.descriptor)
                finally:
                    os.close(file)

    def _temporary(self, name: str) -> tuple[str, int]:
        while True:
            temporary = _beginning(name) + secrets.token_hex(8)
            file = os.open(temporary, _WRITE, 0o600, dir_fd=self.descriptor)
            try:
                fcntl.flock(file, fcntl.LOCK_EX)
                there = os.fstat(file).st_nlink > 0
            except BaseException:
                os.close(file)
                os.unlink(temporary, dir_fd=self.descriptor)
                raise
            if there:
                return temporary, file
            # Swept up between the two calls.
            os.close(file)

    def unlink(self, name: str) -> None:
        """Delete a file."""
        os.unlink(name, dir_fd=self.descriptor)
        os.fsync(self.descriptor)

    def _open(self, name: str) -> int | None:
        if not self.complete:
            return None
        try:
            found = os.stat(name, dir_fd=self.descriptor, follow_symlinks=False)
        except FileNotFoundError:
            return None
        if not stat.S_ISREG(found.st_mode):
            kind = "a directory" if stat.S_ISDIR(found.st_mode) else "no regular file"
            raise NotRegularError("a symlink" if stat.S_ISLNK(found.st_mode) else kind)
        return os.open(name, _READ, dir_fd=self.descriptor)


class PrivateFile:
    """Where a file is, and how what goes wrong there is told.

    Args:
        root: The repository's root.
        path: The file's path, relative to it and without ``..``.
        target: The place, in one line.
    """

    def __init__(self, root: Path, path: str, target: str) -> None:
        self._root = root
        self._parts = PurePosixPath(path).parts
        self._target = target

    @property
    def name(self) -> str:
        """The file's name in its directory."""
        return self._parts[-1]

    @property
    def path(self) -> Path:
        """The file's whole path."""
        return self._root.joinpath(*self._parts)

    @contextmanager
    def directory(self, *, create: bool = False) -> Iterator[Directory]:
        """Give the file's directory.

        Args:
            create: Make the directories that are missing, 0700.

        Raises:
            BackendError: A directory on the way is a symlink or cannot be used, or what was done inside failed (``OSError``).
        """
        try:
            with self._walk(create=create) as found:
                yield found
        except OSError as error:
            raise self.unusable(
                os.strerror(error.errno) if error.errno else type(error).__name__,
                "check the path's owner, permissions, symlinks and the free disk space",
            ) from None

    def check_writable(self, directory: Directory) -> None:
        """Refuse a directory that cannot be written.

        Raises:
            BackendError: It cannot.
        """
        if not directory.writable():
            raise self.unusable("its directory cannot be written", "give yourself the right to write there")

    def not_ours(self, why: str, expected: str) -> NotOursError:
        """Return the error for a file that somebody else wrote."""
        return NotOursError(
            f"{self.path} was not written by this tool for this environment: {why}",
            where=self._target,
            expected=expected,
            do="move it away, or choose another `path` in the environment file",
        )

    def unusable(self, what: str, do: str) -> BackendError:
        """Return the error for a file that cannot be read or written."""
        return BackendError(
            f"cannot use {self.path}: {what}",
            where=self._target,
            expected="a file that you may write, in a directory without symlinks, on a disk with space left",
            do=do,
            runbook="disk",
        )

    @contextmanager
    def _walk(self, *, create: bool) -> Iterator[Directory]:
        directory, complete = os.open(self._root, _DIRECTORY), True
        try:
            for part in self._parts[:-1]:
                if create:
                    _make(part, directory)
                inner = _inner(part, directory)
                if inner is None:
                    complete = False
                    break
                os.close(directory)
                directory = inner
            yield Directory(directory, complete)
        finally:
            os.close(directory)


def _beginning(name: str) -> str:
    return f".{name[:200]}."


def _is_own(found: os.stat_result) -> bool:
    return stat.S_ISREG(found.st_mode) and stat.S_IMODE(found.st_mode) == 0o600 and found.st_uid == os.geteuid()


def _inner(part: str, directory: int) -> int | None:
    try:
        return os.open(part, _DIRECTORY | os.O_NOFOLLOW, dir_fd=directory)
    except FileNotFoundError:
        return None


def _make(part: str, directory: int) -> None:
    try:
        os.mkdir(part, 0o700, dir_fd=directory)
    except FileExistsError:
        return

"""A dotenv file in the repository's directory: for the sandbox, and for piping a key into other tools.

It is written 0600 from its first byte and replaced atomically. It is local, so it cannot be the stage.
"""

from __future__ import annotations

import os
import re
import secrets
import stat
from contextlib import contextmanager
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, ClassVar, Final, Literal, Self

from pydantic import Field, ValidationError

from ci_user.backends.deliver_only import DeliverOnly
from ci_user.backends.protocol import About, BackendSettings, EnvironmentNames, Held, OpenContext
from ci_user.backends.refusals import KEY_ID, check_key_id
from ci_user.environment_fields import RepositoryPath
from ci_user.errors import BackendError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ci_user.secret import AccessKey

NAME: Final = "dotenv"
_HEADER: Final = "# Written by ci-user for"
_KEY_LINE: Final = re.compile(rf"AWS_ACCESS_KEY_ID=({KEY_ID})")
_LINE_BYTES: Final = 4096

ABOUT: Final = About(
    title="dotenv file",
    consumers="one file, mode 0600",
    tested="the file system",
    atomic=True,
    tells="the file's second line",
    how_to="""\
```yaml
secrets:
  - backend: dotenv
    path: .cache/sandbox.env
```

The file has a comment, `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY` and `AWS_REGION`, one per line. It is private from its first
byte and replaced as a whole; directories that are missing are made with mode 0700. Read it with
`set -a; . .cache/sandbox.env; set +a`, and keep it out of version control.
""",
)


class Settings(BackendSettings):
    """One dotenv file."""

    allowed_in_protected: ClassVar[bool] = False

    backend: Literal["dotenv"] = Field(description="Which backend this is.")
    path: RepositoryPath = Field(
        description="Path of the file, relative to the repository's root; keep it out of version control."
    )

    @classmethod
    def from_target(cls, target: str, environment: EnvironmentNames) -> Self | None:
        """Return the settings that ``dotenv:PATH`` stands for, None for anything else."""
        try:
            found = cls.model_validate({"backend": NAME, "path": target.removeprefix(f"{NAME}:")})
        except ValidationError:
            return None
        return found if found.target(environment) == target else None

    def target(self, environment: EnvironmentNames) -> str:
        """Return ``dotenv:PATH``, the path without redundant parts."""
        del environment
        return f"{NAME}:{PurePosixPath(self.path)}"

    def guarded_arns(self, environment: EnvironmentNames) -> tuple[str, ...]:
        """Return nothing: no policy reaches a local file."""
        del environment
        return ()


def open_with(settings: BackendSettings, context: OpenContext) -> DotenvFile:
    """Return the backend of ``settings``."""
    if not isinstance(settings, Settings):
        raise TypeError(f"{NAME} needs its own settings")
    return DotenvFile(settings, context)


class DotenvFile(DeliverOnly):
    """A dotenv file as a backend that only takes delivery.

    Every directory on the way is opened relative to the one before, without following symlinks, so the file
    cannot end up outside of the repository even if the way is changed meanwhile.
    """

    name: str = NAME

    def __init__(self, settings: Settings, context: OpenContext) -> None:
        self.target: str = settings.target(context.environment)
        self._environment = context.environment
        self._root = context.root
        self._parts = PurePosixPath(settings.path).parts
        self._header = f"{_HEADER} {context.environment.prefix}; do not edit or commit"

    @property
    def _path(self) -> Path:
        return self._root.joinpath(*self._parts)

    def preflight(self) -> tuple[str, ...]:
        """Check that the file is ours or absent, and that its directory can be written; changes nothing."""
        ours = False
        with self._errors(), self._directory(create=False) as (directory, complete):
            if complete:
                ours = bool(self._first_lines(directory))
            if not os.access(".", os.W_OK | os.X_OK, dir_fd=directory):
                raise self._error("its directory cannot be written", "give yourself the right to write there")
        return (
            "its directory can be written",
            "the file is this environment's" if ours else "the file does not exist yet",
        )

    def held(self) -> Held:
        """Return the key id in the file's second line; the line with the secret is not read."""
        with self._errors(), self._directory(create=False) as (directory, complete):
            if not complete:
                return Held(None, None)
            try:
                lines = self._first_lines(directory)
            except _NotOursError:
                return Held(None, None)
        match = _KEY_LINE.fullmatch(lines[1]) if len(lines) > 1 else None
        return Held(match[1] if match else None, None)

    def deliver(self, key: AccessKey) -> None:
        """Replace the file: a reader sees the old key or the new one, never half of it."""
        check_key_id(key.id)
        with self._errors(), self._directory(create=True) as (directory, _):
            self._first_lines(directory)
            temporary = f".{self._parts[-1][:200]}.{secrets.token_hex(8)}"
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            file = os.open(temporary, flags, 0o600, dir_fd=directory)
            try:
                self._write(file, key)
                os.replace(temporary, self._parts[-1], src_dir_fd=directory, dst_dir_fd=directory)
            except BaseException:
                os.unlink(temporary, dir_fd=directory)
                raise
            os.fsync(directory)

    def remove(self) -> bool:
        """Delete the file if its first line says that it is ours."""
        with self._errors(), self._directory(create=False) as (directory, complete):
            if not complete:
                return False
            try:
                lines = self._first_lines(directory)
            except _NotOursError:
                return False
            if not lines:
                return False
            os.unlink(self._parts[-1], dir_fd=directory)
            os.fsync(directory)
            return True

    def _write(self, file: int, key: AccessKey) -> None:
        # `open` takes the descriptor over and closes it; no name is bound to the secret.
        with open(file, "w", encoding="utf-8", newline="\n") as stream:
            stream.write(f"{self._header}\nAWS_ACCESS_KEY_ID={key.id}\n")
            stream.write(f"AWS_SECRET_ACCESS_KEY={key.secret.reveal()}\n")
            stream.write(f"AWS_REGION={self._environment.region}\n")
            stream.flush()
            os.fsync(stream.fileno())

    @contextmanager
    def _directory(self, *, create: bool) -> Iterator[tuple[int, bool]]:
        """Give a descriptor of the file's directory, and whether it is that one or the last that exists."""
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
        directory, complete = os.open(self._root, flags), True
        try:
            for part in self._parts[:-1]:
                if create:
                    self._make(part, directory)
                inner = self._open(part, flags | os.O_NOFOLLOW, directory)
                if inner is None:
                    complete = False
                    break
                os.close(directory)
                directory = inner
            yield directory, complete
        finally:
            os.close(directory)

    @staticmethod
    def _open(part: str, flags: int, directory: int) -> int | None:
        try:
            return os.open(part, flags, dir_fd=directory)
        except FileNotFoundError:
            return None

    @staticmethod
    def _make(part: str, directory: int) -> None:
        try:
            os.mkdir(part, 0o700, dir_fd=directory)
        except FileExistsError:
            return

    def _first_lines(self, directory: int) -> list[str]:
        """Return the first two lines of the file, nothing if there is no file.

        Raises:
            _NotOursError: It is no regular file, a symlink, or has another first line.
        """
        name = self._parts[-1]
        try:
            found = os.stat(name, dir_fd=directory, follow_symlinks=False)
        except FileNotFoundError:
            return []
        if not stat.S_ISREG(found.st_mode):
            kind = "a directory" if stat.S_ISDIR(found.st_mode) else "no regular file"
            kind = "a symlink" if stat.S_ISLNK(found.st_mode) else kind
            raise self._not_ours(f"it is {kind}")
        file = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=directory)
        # Unbuffered, and no further than the key id's line: the next one holds the secret.
        with open(file, "rb", buffering=0) as stream:  # noqa: PTH123 - a descriptor
            first = stream.readline(_LINE_BYTES).decode("utf-8", "replace").rstrip("\r\n")
            if first != self._header:
                raise self._not_ours("its first line does not say so")
            return [first, stream.readline(_LINE_BYTES).decode("utf-8", "replace").rstrip("\r\n")]

    def _not_ours(self, why: str) -> _NotOursError:
        return _NotOursError(
            f"{self._path} was not written by this tool for this environment: {why}",
            where=self.target,
            expected=f"no file, or one that begins with: {self._header}",
            do="move it away, or choose another `path` in the environment file",
        )

    def _error(self, what: str, do: str) -> BackendError:
        return BackendError(
            f"cannot use {self._path}: {what}",
            where=self.target,
            expected="a file that you may write, in a directory without symlinks, on a disk with space left",
            do=do,
            runbook="disk",
        )

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """Turn an ``OSError`` into a ``BackendError``."""
        try:
            yield
        except OSError as error:
            raise self._error(
                os.strerror(error.errno) if error.errno else type(error).__name__,
                "check the path's owner, permissions, symlinks and the free disk space",
            ) from None


class _NotOursError(BackendError):
    """The file is not the tool's."""

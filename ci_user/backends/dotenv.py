"""A dotenv file in the repository's directory: for the sandbox, and for piping a key into other tools.

It is written 0600 from its first byte and replaced atomically. It is local, so it cannot be the stage.
"""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, BinaryIO, ClassVar, Final, Literal, Self

from pydantic import Field, ValidationError

from ci_user.backends.deliver_only import DeliverOnly
from ci_user.backends.private_file import Directory, NotOursError, NotRegularError, PrivateFile
from ci_user.backends.protocol import About, BackendSettings, EnvironmentNames, Held, OpenContext
from ci_user.backends.refusals import KEY_ID, check_key_id
from ci_user.environment_fields import RepositoryPath

if TYPE_CHECKING:
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
    """A dotenv file as a backend that only takes delivery."""

    name: str = NAME

    def __init__(self, settings: Settings, context: OpenContext) -> None:
        self.target: str = settings.target(context.environment)
        self._environment = context.environment
        self._file = PrivateFile(context.root, settings.path, self.target)
        self._header = f"{_HEADER} {context.environment.prefix}; do not edit or commit"

    def preflight(self) -> tuple[str, ...]:
        """Check that the file is ours or absent, and that its directory can be written; changes nothing."""
        with self._file.directory() as directory:
            ours = bool(self._first_lines(directory))
            self._file.check_writable(directory)
        return (
            "its directory can be written",
            "the file is this environment's" if ours else "the file does not exist yet",
        )

    def held(self) -> Held:
        """Return the key id in the file's second line; the line with the secret is not read."""
        with self._file.directory() as directory:
            try:
                lines = self._first_lines(directory)
            except NotOursError:
                return Held(None, None)
        match = _KEY_LINE.fullmatch(lines[1]) if len(lines) > 1 else None
        return Held(match[1] if match else None, None)

    def deliver(self, key: AccessKey) -> None:
        """Replace the file: a reader sees the old key or the new one, never half of it."""
        check_key_id(key.id)
        with self._file.directory(create=True) as directory:
            self._first_lines(directory)
            directory.replace(self._file.name, lambda stream: self._write(stream, key))

    def remove(self) -> bool:
        """Delete the file if its first line says that it is ours, and what a killed run left of it."""
        with self._file.directory() as directory:
            directory.sweep(self._file.name)
            try:
                lines = self._first_lines(directory)
            except NotOursError:
                return False
            if not lines:
                return False
            directory.unlink(self._file.name)
            return True

    def _write(self, stream: BinaryIO, key: AccessKey) -> None:
        # No name is bound to the secret.
        stream.write(f"{self._header}\nAWS_ACCESS_KEY_ID={key.id}\n".encode())
        stream.write(f"AWS_SECRET_ACCESS_KEY={key.secret.reveal()}\n".encode())
        stream.write(f"AWS_REGION={self._environment.region}\n".encode())

    def _first_lines(self, directory: Directory) -> list[str]:
        """Return the first two lines of the file, nothing if there is no file.

        Raises:
            NotOursError: It is no regular file, a symlink, or has another first line.
        """
        try:
            with directory.reading(self._file.name) as stream:
                return [] if stream is None else self._ours(stream)
        except NotRegularError as error:
            why = f"it is {error}"
        raise self._not_ours(why)

    def _ours(self, stream: BinaryIO) -> list[str]:
        # No further than the key id's line: the next one holds the secret.
        first = _line(stream)
        if first != self._header:
            raise self._not_ours("its first line does not say so")
        return [first, _line(stream)]

    def _not_ours(self, why: str) -> NotOursError:
        return self._file.not_ours(why, f"no file, or one that begins with: {self._header}")


def _line(stream: BinaryIO) -> str:
    return stream.readline(_LINE_BYTES).decode("utf-8", "replace").rstrip("\r\n")

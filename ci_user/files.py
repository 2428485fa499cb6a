"""Files that this project writes: private from the first byte, and never half written."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterable
from pathlib import Path

from ci_user.errors import UsageError


def write_private(path: Path, content: bytes) -> None:
    """Write a file that only its owner can read, atomically: readers see the old content or the new.

    Raises:
        UsageError: The directory cannot be written or the disk is full; nothing is left behind.
    """
    temporary: str | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # mkstemp opens with 0600 and O_EXCL.
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)  # noqa: PTH105 - the temporary name is a string
    except OSError as error:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)
        raise cannot_write(path, error) from None


def private_directory(path: Path) -> Path:
    """Return the directory, made with mode 0700 when it was missing.

    Raises:
        UsageError: It cannot be made.
    """
    try:
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise cannot_write(path, error) from None
    return path


def cannot_write(path: Path, error: OSError) -> UsageError:
    """Return the error for a path that could not be written."""
    return UsageError(
        f"cannot write {path}: {error.strerror}",
        where=str(path.parent),
        expected="a directory that you may write, with free space",
        do="check its owner, its permissions and the free disk space, then run the same command again",
        runbook="disk",
    )


def digest_of_files(root: Path, files: Iterable[Path]) -> str:
    """Return the SHA-256 (hex) of names relative to ``root`` and contents; a missing file counts as missing."""
    digest = hashlib.sha256()
    for path in files:
        digest.update(f"{path.relative_to(root).as_posix()}\0".encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest() if path.is_file() else b"missing")
    return digest.hexdigest()


def digest_of_file(path: Path) -> str:
    """Return the SHA-256 (hex) of one file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

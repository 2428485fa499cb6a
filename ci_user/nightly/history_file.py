"""The SQLite file of a history: made, opened and looked at before anything in it is believed.

It travels between runs of a CI system, in a cache or an artifact. So its tables must be exactly these: nobody else's trigger or
view runs here.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

from ci_user.errors import UsageError
from ci_user.text import plain

VERSION: Final = 1
# "CIUS"; https://www.sqlite.org/pragma.html#pragma_application_id
APPLICATION: Final = 0x43495553
# https://www.sqlite.org/fileformat2.html#the_database_header: the text, and where 1 stands for a journal and 2 for WAL.
_MAGIC: Final = b"SQLite format 3\0"
_JOURNAL: Final = b"\x01\x01"
_BUSY_SECONDS: Final = 30.0

# Times are microseconds since 1970, UTC. A check is whole when what it did not find was not there.
_NIGHTS: Final = (
    "CREATE TABLE nights (id INTEGER PRIMARY KEY, began INTEGER NOT NULL, ended INTEGER NOT NULL, shard TEXT NOT NULL,"
    " tool TEXT NOT NULL, clean INTEGER NOT NULL, findings INTEGER NOT NULL, errors INTEGER NOT NULL,"
    " missing INTEGER NOT NULL, open INTEGER NOT NULL, UNIQUE (began, shard))"
)
_CHECKS: Final = (
    "CREATE TABLE checks (environment INTEGER NOT NULL, night INTEGER NOT NULL, at INTEGER NOT NULL,"
    " whole INTEGER NOT NULL, PRIMARY KEY (environment, night)) WITHOUT ROWID"
)
_FOUND: Final = (
    "CREATE TABLE found (environment INTEGER NOT NULL, night INTEGER NOT NULL, thing INTEGER NOT NULL,"
    " PRIMARY KEY (environment, night, thing)) WITHOUT ROWID"
)
_ENVIRONMENTS: Final = "CREATE TABLE environments (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE)"
_THINGS: Final = "CREATE TABLE things (id INTEGER PRIMARY KEY, key BLOB NOT NULL UNIQUE)"
_TABLES: Final = (_NIGHTS, _ENVIRONMENTS, _THINGS, _CHECKS, _FOUND)


def is_there(file: Path) -> bool:
    """Return whether there is a history to read; an empty file is none yet.

    Raises:
        UsageError: The path cannot be looked at.
    """
    try:
        return file.stat().st_size > 0
    except FileNotFoundError:
        return False
    except OSError as error:
        raise unusable(file, f"it cannot be looked at ({error.strerror})") from None


@contextmanager
def reading(file: Path) -> Iterator[sqlite3.Connection]:
    """Open a history to read it.

    Raises:
        UsageError: It is no history of this version.
    """
    with _connected(file, "ro") as base:
        _must_be_ours(file, base)
        yield base


@contextmanager
def writing(file: Path) -> Iterator[sqlite3.Connection]:
    """Open a history in one transaction, which is committed at the end; made when it is missing, readable by its owner only.

    https://www.sqlite.org/lang_transaction.html

    Raises:
        UsageError: It is no history of this version, or cannot be written; it is untouched.
    """
    if not is_there(file):
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            os.close(os.open(file, os.O_CREAT | os.O_WRONLY, 0o600))
        except OSError as error:
            raise unusable(file, f"it cannot be made ({error.strerror})") from None
    with _connected(file, "rw") as base:
        # From here on nobody else writes, so what is looked at stays so.
        base.execute("BEGIN IMMEDIATE")
        if base.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] == 0 and _number(base, "user_version") == 0:
            for table in _TABLES:
                base.execute(table)
            base.execute(f"PRAGMA application_id = {APPLICATION}")
            base.execute(f"PRAGMA user_version = {VERSION}")
        else:
            _must_be_ours(file, base)
        yield base
        base.execute("COMMIT")


def unusable(file: Path, what: str) -> UsageError:
    """Return the error for a file that is no history, or none that this version can use."""
    return UsageError(
        f"the history {plain(file.name)}: {what}",
        where=plain(file.parent),
        expected=f"a file that `invoke reports.merge --history FILE` made, of version {VERSION}",
        do="name another file, or move this one away: then a new history begins; it was not changed",
        runbook="nightly-history",
    )


@contextmanager
def _connected(file: Path, mode: str) -> Iterator[sqlite3.Connection]:
    try:
        with file.open("rb") as opened:
            header = opened.read(20)
        if header and header[:16] != _MAGIC:
            raise unusable(file, "it is no SQLite file")
        if header and header[18:20] != _JOURNAL:
            raise unusable(file, "it keeps part of itself in a second file (WAL)")
        address = f"{file.resolve().as_uri()}?mode={mode}"
        # Without an isolation level of Python's, transactions are those that are written here.
        with closing(sqlite3.connect(address, uri=True, timeout=_BUSY_SECONDS, isolation_level=None)) as base:
            # https://www.sqlite.org/security.html#untrusted_sqlite_database_files
            base.execute("PRAGMA trusted_schema = OFF")
            base.execute("PRAGMA cell_size_check = ON")
            # Closing without a commit takes back what an exception has left undone.
            yield base
    except OSError as error:
        raise unusable(file, f"it cannot be read ({error.strerror})") from None
    except sqlite3.Error as error:
        raise unusable(file, f"SQLite says: {plain(error, 200)}") from None


def _must_be_ours(file: Path, base: sqlite3.Connection) -> None:
    version = _number(base, "user_version")
    if _number(base, "application_id") != APPLICATION:
        raise unusable(file, "another program made it")
    if version != VERSION:
        age = "newer" if version > VERSION else "older"
        raise unusable(file, f"it is of version {version}, which is {age} than this program's")
    found = base.execute("SELECT type, sql FROM sqlite_master WHERE sql IS NOT NULL").fetchall()
    if sorted(found) != sorted(("table", table) for table in _TABLES):
        raise unusable(file, "it holds other tables than a history has")


def _number(base: sqlite3.Connection, pragma: str) -> int:
    return int(base.execute(f"PRAGMA {pragma}").fetchone()[0])

"""The nights before, in one small SQLite file: since when something is wrong, and how the fleet has been."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from ci_user.nightly.model import Entry, EnvironmentResult, NightResult
from ci_user.text import plain

if TYPE_CHECKING:
    import sqlite3
    from pathlib import Path

DAYS: Final = 400
"""On how many days nights are kept: the newest ones on which there was any, so that no wrong clock deletes them."""
_DAY: Final = 86_400_000_000
_EPOCH: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_MICROSECOND: Final = dt.timedelta(microseconds=1)

_Firsts = Mapping[bytes, dt.datetime]
"""When each thing was first found, by its key."""


@dataclass(frozen=True)
class Night:
    """One run, for the trend.

    Args:
        began: When it began.
        ended: When it ended.
        shard: Which part of the fleet it was; None for all of it.
        tool: The version of this package.
        clean: How many environments were clean.
        findings: In how many a person had to act.
        errors: How many could not be checked.
        missing: How many were not checked at all.
        open: How many entries counted, in all environments.
    """

    began: dt.datetime
    ended: dt.datetime
    shard: str | None
    tool: str
    clean: int
    findings: int
    errors: int
    missing: int
    open: int

    @property
    def date(self) -> dt.date:
        """Return the day on which it began, in UTC."""
        return self.began.astimezone(dt.UTC).date()

    @property
    def environments(self) -> int:
        """Return how many environments were looked at."""
        return self.clean + self.findings + self.errors


def append(file: Path, result: NightResult, *, days: int = DAYS) -> None:
    """Add a night, in one transaction: a run that is killed leaves the file as it was. The file is made when it is missing.

    The same run again, which is what began at the same time with the same shard, takes the place of what it said before.

    Args:
        file: The history.
        result: The night, merged or not.
        days: On how many days nights are kept.

    Raises:
        UsageError: The file is no history of this version, or cannot be written; it is untouched.
    """
    from ci_user.nightly.history_file import writing

    with writing(file) as base:
        _forget(
            base, "SELECT id FROM nights WHERE began = ? AND shard = ?", (_micros(result.began), result.shard or "")
        )
        _write(base, result)
        _forget(
            base,
            "SELECT id FROM nights WHERE began / ? NOT IN"
            " (SELECT DISTINCT began / ? AS day FROM nights ORDER BY day DESC LIMIT ?)",
            (_DAY, _DAY, max(days, 1)),
        )
        base.execute("DELETE FROM things WHERE id NOT IN (SELECT thing FROM found)")
        base.execute("DELETE FROM environments WHERE id NOT IN (SELECT environment FROM checks)")


def since(file: Path, result: NightResult) -> NightResult:
    """Return the result with ``since`` at each entry that counts: when it first did so without having been gone in between.

    What is accepted or only good to know is not kept: the file grows with what is wrong and not with the fleet. A night in
    which the environment was not checked, or not wholly, is no sign that something was gone. Without a file, or with nothing
    in it about an environment, it is when the environment was checked. The result need not be in the history.

    Raises:
        UsageError: The file is no history of this version.
    """
    from ci_user.nightly.history_file import is_there, reading

    if not is_there(file):
        return _told(result, {})
    with reading(file) as base:
        firsts = {one.environment: _first_found(file, base, one) for one in result.environments if one.exit_code}
    return _told(result, firsts)


def nights(file: Path, limit: int) -> tuple[Night, ...]:
    """Return the newest nights, the oldest of them first; none when there is no file.

    Raises:
        UsageError: The file is no history of this version.
    """
    from ci_user.nightly.history_file import is_there, reading

    if not is_there(file):
        return ()
    with reading(file) as base:
        rows = base.execute(
            "SELECT began, ended, clean, findings, errors, missing, open, shard, tool FROM nights"
            " ORDER BY began DESC, shard DESC LIMIT ?",
            (max(limit, 0),),
        ).fetchall()
    found = []
    for row in reversed(rows):
        began, ended, *counts = (_integer(file, value) for value in row[:7])
        shard, tool = (plain(value, 200) for value in row[7:])
        found.append(Night(_moment(file, began), _moment(file, ended), shard or None, tool, *counts))
    return tuple(found)


def _write(base: sqlite3.Connection, result: NightResult) -> None:
    verdicts = [one.verdict for one in result.environments]
    night = base.execute(
        "INSERT INTO nights (began, ended, shard, tool, clean, findings, errors, missing, open)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            _micros(result.began),
            _micros(result.ended),
            result.shard or "",
            result.tool,
            *(verdicts.count(word) for word in ("clean", "findings", "error")),
            len(result.missing),
            sum(entry.counts for one in result.environments for entry in one.entries),
        ),
    ).lastrowid
    for one in result.environments:
        base.execute("INSERT OR IGNORE INTO environments (name) VALUES (?)", (one.environment,))
        (environment,) = base.execute("SELECT id FROM environments WHERE name = ?", (one.environment,)).fetchone()
        base.execute(
            "INSERT OR REPLACE INTO checks (environment, night, at, whole) VALUES (?, ?, ?, ?)",
            (environment, night, _micros(one.checked_at), _whole(one)),
        )
        keys = [(_key(entry),) for entry in one.entries if entry.counts]
        base.executemany("INSERT OR IGNORE INTO things (key) VALUES (?)", keys)
        base.executemany(
            "INSERT OR IGNORE INTO found (environment, night, thing) SELECT ?, ?, id FROM things WHERE key = ?",
            [(environment, night, *key) for key in keys],
        )


def _forget(base: sqlite3.Connection, which: str, values: tuple[Any, ...]) -> None:
    """Delete the nights that a query chooses, and what was found in them."""
    chosen = base.execute(which, values).fetchall()
    base.executemany("DELETE FROM found WHERE night = ?", chosen)
    base.executemany("DELETE FROM checks WHERE night = ?", chosen)
    base.executemany("DELETE FROM nights WHERE id = ?", chosen)


def _first_found(file: Path, base: sqlite3.Connection, one: EnvironmentResult) -> _Firsts:
    """Return since when each thing of an environment has been found without a gap."""
    checks = base.execute(
        "SELECT checks.at, checks.whole, checks.night FROM checks JOIN environments ON environments.id = checks.environment"
        " WHERE environments.name = ? AND checks.at < ? ORDER BY checks.at DESC, checks.night DESC",
        (one.environment, _micros(one.checked_at)),
    ).fetchall()
    nights_of: dict[Any, set[Any]] = defaultdict(set)
    for key, night in base.execute(
        "SELECT things.key, found.night FROM found JOIN things ON things.id = found.thing"
        " JOIN environments ON environments.id = found.environment WHERE environments.name = ?",
        (one.environment,),
    ):
        nights_of[key].add(night)
    firsts = {}
    for key in {_key(entry) for entry in one.entries if entry.counts}:
        first = None
        for at, whole, night in checks:
            if night in nights_of[key]:
                first = at
            elif whole:
                break
        if first is not None:
            firsts[key] = _moment(file, _integer(file, first))
    return firsts


def _told(result: NightResult, firsts: Mapping[str, _Firsts]) -> NightResult:
    told = []
    for one in result.environments:
        found = firsts.get(one.environment, {})
        entries = tuple(
            entry.model_copy(update={"since": found.get(_key(entry), one.checked_at) if entry.counts else None})
            for entry in one.entries
        )
        told.append(one.model_copy(update={"entries": entries}))
    return result.model_copy(update={"environments": tuple(told)})


def _whole(one: EnvironmentResult) -> bool:
    """Return whether what was not found was not there: nothing hindered the check."""
    return one.way != "failed" and all(entry.gravity != "error" for entry in one.entries)


def _key(entry: Entry) -> bytes:
    """Return what makes an entry the same in another night: what it is and where. Its words change from day to day."""
    return hashlib.sha256(json.dumps([entry.id, entry.where]).encode()).digest()[:16]


def _micros(moment: dt.datetime) -> int:
    return ((moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)) - _EPOCH) // _MICROSECOND


def _moment(file: Path, micros: int) -> dt.datetime:
    from ci_user.nightly.history_file import unusable

    try:
        return _EPOCH + dt.timedelta(microseconds=micros)
    except OverflowError:
        raise unusable(file, f"{micros} is no time") from None


def _integer(file: Path, value: object) -> int:
    """Return a number as such: columns of SQLite hold whatever was put there."""
    from ci_user.nightly.history_file import unusable

    if not isinstance(value, int):
        raise unusable(file, f"it has {plain(value, 40)!r} where a number belongs")
    return value

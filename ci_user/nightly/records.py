"""Records of clean checks: what lets the next night do without a plan."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Final, Literal, Self

from pydantic import AwareDatetime, Field, ValidationError, model_validator

from ci_user import __version__
from ci_user.errors import UsageError
from ci_user.nightly.model import EnvironmentResult, Part
from ci_user.text import plain

FILE: Final = "records.json"
BYTES_AT_MOST: Final = 64 * 1024 * 1024
LONGEST: Final = dt.timedelta(days=31)
"""No record stands for longer than this from when it is kept."""
_RUNBOOK: Final = "nightly-records"


class Record(Part):
    """A clean check of one environment.

    Args:
        environment: Its name.
        account_id: Its account, 12 digits.
        digest: SHA-256 (hex) of everything that the verdict depends on.
        planned_at: When the plan was made.
        valid_until: The first day on which the verdict may change by itself.
        result: What was found: nothing that a person has to act on.
    """

    environment: Annotated[str, Field(min_length=1, max_length=200)]
    account_id: Annotated[str, Field(pattern=r"^[0-9]{12}$")]
    digest: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    planned_at: AwareDatetime
    valid_until: dt.date
    result: EnvironmentResult

    def stands(self, *, digest: str, account_id: str, today: dt.date) -> bool:
        """Return whether it still says what a plan would: nothing that it depends on has changed, and its day has not come."""
        return self.digest == digest and self.account_id == account_id and today < self.valid_until

    @model_validator(mode="after")
    def _clean(self) -> Self:
        result = self.result
        if (result.environment, result.account_id) != (self.environment, self.account_id):
            raise ValueError("the result is of another environment")
        if result.exit_code != 0 or result.way not in ("planned", "unchanged"):
            raise ValueError("the result is not clean")
        return self


class Records(Part):
    """All records, by environment; ``tool`` is the version of this package that made them."""

    schema_version: Literal[1] = 1
    tool: Annotated[str, Field(max_length=100)] = __version__
    environments: Mapping[str, Record] = {}

    @classmethod
    def of(cls, records: Iterable[Record]) -> Records:
        """Return a document of this version, with the newest record of each environment, in the order of their names."""
        found: dict[str, Record] = {}
        for record in records:
            other = found.get(record.environment)
            if other is None or _newer(record, other):
                found[record.environment] = record
        return cls(environments=dict(sorted(found.items())))

    def render(self) -> bytes:
        """Return it as JSON."""
        return self.model_dump_json().encode()

    @model_validator(mode="after")
    def _named(self) -> Self:
        if any(name != record.environment for name, record in self.environments.items()):
            raise ValueError("a record stands under another environment's name")
        return self


@dataclass(frozen=True)
class RecordBook:
    """The records that are trusted. ``why_not`` says in one line why there are none; None when there is no reason."""

    records: Mapping[str, Record] = field(default_factory=dict)
    why_not: str | None = None

    def get(self, environment: str) -> Record | None:
        """Return an environment's record, or None: then it is planned."""
        return self.records.get(environment)


class UnusableRecordsError(ValueError):
    """The document cannot be used; ``str()`` says why."""


def load(file: Path) -> Records:
    """Return the records that a check wrote.

    Raises:
        UsageError: There are none, or they are of another version.
    """
    try:
        with file.open("rb") as opened:
            return parsed(opened.read(BYTES_AT_MOST + 1))
    except OSError as error:
        found = f"it cannot be read ({error.strerror})"
    except UnusableRecordsError as error:
        found = str(error)
    raise UsageError(
        f"{plain(file.name)}: {found}",
        where=plain(file.parent),
        expected="the directory that `invoke check --out DIR` or `invoke reports.merge --out DIR` wrote",
        do="name that directory, and run this with the version that wrote it",
        runbook=_RUNBOOK,
    )


def parsed(body: bytes) -> Records:
    """Return the records of a document.

    Raises:
        UnusableRecordsError: It is too large, no such document, or another version's.
    """
    if len(body) > BYTES_AT_MOST:
        raise UnusableRecordsError(f"it is larger than {BYTES_AT_MOST:,} bytes")
    try:
        records = Records.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        place = ".".join(plain(step, 60) for step in first["loc"][:6])
        raise UnusableRecordsError(
            f"it is not what this version writes ({place or 'the whole'}: {plain(first['msg'], 200)})"
        ) from None
    if records.tool != __version__:
        # Another version may look at more, so its verdict is not this one's.
        raise UnusableRecordsError(f"version {plain(records.tool)} wrote it and this is {__version__}")
    return records


def _newer(record: Record, other: Record) -> bool:
    if record.planned_at != other.planned_at:
        return record.planned_at > other.planned_at
    # Whatever the order in which shards come, the same one stays.
    return record.model_dump_json() > other.model_dump_json()

"""What a nightly check found: one frozen model, which every rendering reads and which travels as JSON between jobs.

Nothing in it is a secret. Everything in it may have been chosen by somebody else, as names in AWS are: each rendering escapes it.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

SCHEMA_VERSION: Final = 1

Gravity = Literal["error", "finding", "notice"]
"""``error``: it could not be checked (exit code 1). ``finding``: a person has to act (3). ``notice``: good to know (0)."""
Area = Literal["plan", "scan", "policies", "identity", "keys", "places", "check"]
Way = Literal["planned", "unchanged", "absent", "failed"]
"""How a result was reached: by a plan, because nothing has changed since the last clean one, because nothing is deployed that
could be planned against, or not at all."""
Origin = Literal["drift", "unapplied", "output"]
Level = Literal["list", "read", "write", "tagging", "permissions"]


def _fitting(most: int) -> BeforeValidator:
    """Return what keeps any text from being refused: a hostile name must not make a result impossible."""

    def fit(value: object) -> object:
        if not isinstance(value, str):
            return value
        text = value.encode("utf-8", "backslashreplace").decode("utf-8")
        return text if len(text) <= most else f"{text[: most - 3]}..."

    return BeforeValidator(fit)


_Text = Annotated[str, _fitting(20_000), Field(max_length=20_000)]
_Line = Annotated[str, _fitting(2_000), Field(max_length=2_000)]


def _sane(moment: dt.datetime) -> dt.datetime:
    """Return a time that can be told in every zone; what comes from another job may hold any."""
    if not 1970 <= moment.year <= 9998:
        raise ValueError("a time between 1970 and 9998 is expected")
    return moment


_Moment = Annotated[dt.datetime, AfterValidator(_sane)]


class Part(BaseModel):
    """The base of all parts: frozen, and nothing unknown in it, since shards come from other jobs."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class Acceptance(Part):
    """Why a finding may stay. ``expires`` is a date, or the word never."""

    reason: _Line
    owner: _Line
    expires: _Line


class Entry(Part):
    """One thing that was found.

    ``title`` says what should be true and is the same in every environment; ``message`` says what was found here.
    """

    id: Annotated[str, Field(max_length=64, pattern=r"^[A-Z][A-Z0-9_]+$")]
    area: Area
    gravity: Gravity
    title: _Line
    where: _Line = ""
    message: _Text = ""
    fix: _Line = ""
    details: tuple[_Line, ...] = ()
    accepted: Acceptance | None = None
    runbook: _Line | None = None
    since: _Moment | None = None

    @property
    def counts(self) -> bool:
        """Return whether it makes the environment other than clean."""
        return self.accepted is None and self.gravity != "notice"


class AttributeChange(Part):
    """An attribute before and after, as text; what is sensitive is masked."""

    name: _Line
    before: _Text
    after: _Text


class Change(Part):
    """What a plan says of one resource or output."""

    address: _Line
    action: _Line
    origin: Origin
    attributes: tuple[AttributeChange, ...] = ()


class KeyEvent(Part):
    """A point in a key's life."""

    at: _Moment
    what: _Line


class Key(Part):
    """An access key: its id, never its secret."""

    id: _Line
    active: bool
    created: _Moment
    last_used: _Moment | None = None
    last_used_in: _Line | None = None
    state: _Line
    held_by: tuple[_Line, ...] = ()
    events: tuple[KeyEvent, ...] = ()


class Grant(Part):
    """What one policy lets the CI user do in one service, at which levels; ``everywhere`` where a resource is ``*``."""

    policy: _Line
    holder: _Line
    service: _Line
    levels: tuple[Level, ...]
    everywhere: bool


class EnvironmentResult(Part):
    """One environment's check. ``seconds`` is its own time; ``planned_at`` when the last plan of it was made.

    ``prefix`` is what its names in AWS begin with, application-environment, where it is known.
    """

    environment: _Line
    prefix: _Line = ""
    account_id: _Line
    region: _Line
    protected: bool = False
    sandbox: bool = False
    way: Way
    checked_at: _Moment
    planned_at: _Moment | None = None
    seconds: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    entries: tuple[Entry, ...] = ()
    changes: tuple[Change, ...] = ()
    access: tuple[_Line, ...] = ()
    keys: tuple[Key, ...] = ()
    grants: tuple[Grant, ...] = ()
    targets: tuple[_Line, ...] = ()
    notes: tuple[_Line, ...] = ()

    @property
    def exit_code(self) -> int:
        """Return 1 with an error, 3 with a finding or drift, else 0."""
        counting = {entry.gravity for entry in self.entries if entry.counts}
        return 1 if "error" in counting else 3 if "finding" in counting else 0

    @property
    def verdict(self) -> Literal["clean", "findings", "error"]:
        """Return the exit code as a word."""
        return {0: "clean", 3: "findings", 1: "error"}[self.exit_code]  # type: ignore[return-value]


class NightResult(Part):
    """A run over many environments, or several shards of one joined.

    ``missing`` are those that were to be checked and were not, because the run was interrupted or a shard is not there.
    """

    schema_version: Literal[1] = SCHEMA_VERSION
    tool: _Line
    began: _Moment
    ended: _Moment
    shard: _Line | None = None
    environments: tuple[EnvironmentResult, ...] = ()
    missing: tuple[_Line, ...] = ()

    @property
    def exit_code(self) -> int:
        """Return the gravest: 1 over 3 over 0; what is missing is an error."""
        codes = {one.exit_code for one in self.environments} | ({1} if self.missing else set())
        return 1 if 1 in codes else 3 if 3 in codes else 0


def schema() -> dict[str, Any]:
    """Return the JSON Schema of a run's document."""
    return NightResult.model_json_schema(mode="serialization")


def gravest(codes: Iterable[int]) -> int:
    """Return the gravest exit code: 1 over 3 over 0."""
    found = set(codes)
    return 1 if 1 in found else 3 if 3 in found else 0

"""The journal of an environment's access keys: what was begun, which keys came of it, and where they went.

It lives in the lease object (``lease.py``), never holds a secret, and is the only evidence on which a key is ever
touched. Every value is frozen; a change makes a new journal.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, Final, Literal, NoReturn, TypeVar, cast, get_args

from ci_user.errors import KeyStateError

SCHEMA: Final = 2
"""Schema 1 knew no revoked keys; it is read as a journal without any."""

_REVOKED_AT_MOST: Final = 50

_T = TypeVar("_T")

KeyState = Literal["minted", "staged", "verified", "delivered", "grace", "inactive", "deleted"]

_STATES: Final = frozenset(get_args(KeyState))
# https://docs.aws.amazon.com/IAM/latest/APIReference/API_AccessKey.html allows any word character, lower case too,
# which a secret access key has as well: ids in use are upper case only.
_KEY_ID: Final = re.compile(r"[A-Z0-9]{16,128}")
_INTENT_ID: Final = re.compile(r"[0-9a-f]{32}")
# Neither holds an upper-case letter or a slash, so that no secret access key passes for one.
_REASON: Final = re.compile(r"[a-z][a-z-]{0,31}")
_RUN: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")
_TARGET: Final = re.compile(r"[a-z][a-z0-9-]*:[^\x00-\x1f\x7f]{1,1024}")


def _must(pattern: re.Pattern[str], value: object, what: str) -> None:
    # The value is not quoted: what does not belong here may be a secret.
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise ValueError(f"a journal's {what} matches {pattern.pattern}")


def _moment(value: datetime) -> datetime:
    if value.tzinfo is None:
        raise ValueError("a journal's times carry a time zone")
    return value.astimezone(UTC)


@dataclass(frozen=True)
class Intent:
    """That a run is about to make a key.

    Args:
        id: 32 hexadecimal digits; they travel in CreateAccessKey's user agent, so CloudTrail can confirm them.
        reason: Why: ``first``, ``repair``, ``rotate``, ``replace``.
        before: The ids of the keys that were there before.
        at: When, by the state bucket's clock.
        run: The run that meant it.

    Raises:
        ValueError: A part does not have its shape.
    """

    id: str
    reason: str
    before: tuple[str, ...]
    at: datetime
    run: str

    def __post_init__(self) -> None:
        _must(_INTENT_ID, self.id, "intent id")
        _must(_REASON, self.reason, "reason")
        _must(_RUN, self.run, "run")
        for key_id in self.before:
            _must(_KEY_ID, key_id, "key id")
        object.__setattr__(self, "before", tuple(self.before))
        object.__setattr__(self, "at", _moment(self.at))

    def to_document(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {
            "id": self.id,
            "reason": self.reason,
            "before": list(self.before),
            "at": self.at.isoformat(),
            "run": self.run,
        }

    @classmethod
    def from_document(cls, document: object) -> Intent:
        """Read it back.

        Raises:
            KeyStateError: It is not what ``to_document`` writes.
        """
        values = _fields(document, {"id", "reason", "before", "at", "run"}, "intent")
        before = values["before"]
        if not isinstance(before, list):
            _broken("intent: before is no list")
        return _made(lambda: cls(**{**values, "before": tuple(before), "at": _time(values["at"])}), "intent")


@dataclass(frozen=True)
class KeyRecord:
    """One key that was made here.

    Args:
        id: The access key id.
        intent: The id of the intent it was made for.
        state: How far it has come.
        times: When it entered each state it has been in, by the state bucket's clock.
        delivered: When each target received it.

    Raises:
        ValueError: A part does not have its shape; an id that is a secret by mistake, above all.
    """

    id: str
    intent: str
    state: KeyState
    times: Mapping[str, datetime] = field(default_factory=dict)
    delivered: Mapping[str, datetime] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _must(_KEY_ID, self.id, "key id")
        _must(_INTENT_ID, self.intent, "intent id")
        if not {self.state, *self.times} <= _STATES:
            raise ValueError(f"a key's states are {', '.join(get_args(KeyState))}")
        for target in self.delivered:
            _must(_TARGET, target, "target")
        for name in ("times", "delivered"):
            moments = {key: _moment(when) for key, when in sorted(getattr(self, name).items())}
            object.__setattr__(self, name, MappingProxyType(moments))

    def entering(self, state: str, when: datetime) -> KeyRecord:
        """Return it in ``state`` since ``when``.

        Raises:
            ValueError: There is no such state.
        """
        return replace(self, state=cast("KeyState", state), times={**self.times, state: when})

    def delivered_to(self, target: str, when: datetime) -> KeyRecord:
        """Return it as received by ``target`` at ``when``; its state stays."""
        return replace(self, delivered={**self.delivered, target: when})

    def to_document(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {
            "id": self.id,
            "intent": self.intent,
            "state": self.state,
            "times": {state: when.isoformat() for state, when in self.times.items()},
            "delivered": {target: when.isoformat() for target, when in self.delivered.items()},
        }

    @classmethod
    def from_document(cls, document: object) -> KeyRecord:
        """Read it back.

        Raises:
            KeyStateError: It is not what ``to_document`` writes.
        """
        values = _fields(document, {"id", "intent", "state", "times", "delivered"}, "key")
        for name in ("times", "delivered"):
            if not isinstance(values[name], dict):
                _broken(f"key: {name} is no mapping")
            values[name] = {key: _time(when) for key, when in values[name].items()}
        return _made(lambda: cls(**values), "key")


@dataclass(frozen=True)
class Journal:
    """What is known about an environment's keys.

    Args:
        intent: What a run is about to do, or was when it died.
        keys: The keys made here and not yet forgotten, by key id.
        targets: Every destination that ever received one, sorted; it stays when its keys are forgotten.
        revoked: The ids of keys that leaked, the latest 50, in the order in which they were revoked; never made active again.

    Raises:
        ValueError: A part does not have its shape.
    """

    intent: Intent | None = None
    keys: Mapping[str, KeyRecord] = field(default_factory=dict)
    targets: tuple[str, ...] = ()
    revoked: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if any(key_id != record.id for key_id, record in self.keys.items()):
            raise ValueError("a journal's keys are filed under their own ids")
        targets = set(self.targets).union(*(record.delivered for record in self.keys.values()))
        for target in targets:
            _must(_TARGET, target, "target")
        for key_id in self.revoked:
            _must(_KEY_ID, key_id, "revoked key id")
        object.__setattr__(self, "revoked", tuple(dict.fromkeys(self.revoked))[-_REVOKED_AT_MOST:])
        object.__setattr__(self, "keys", MappingProxyType(dict(sorted(self.keys.items()))))
        object.__setattr__(self, "targets", tuple(sorted(targets)))

    def with_intent(self, intent: Intent) -> Journal:
        """Return it with the intent.

        Raises:
            ValueError: Another intent stands; it has to be settled first, or its key could not be attributed.
        """
        if self.intent is not None and self.intent.id != intent.id:
            raise ValueError("another intent stands")
        return replace(self, intent=intent)

    def without_intent(self) -> Journal:
        """Return it without an intent."""
        return replace(self, intent=None)

    def with_key(self, record: KeyRecord) -> Journal:
        """Return it with the key added or replaced; the key's targets become the journal's."""
        return replace(self, keys={**self.keys, record.id: record})

    def without_key(self, key_id: str) -> Journal:
        """Return it without the key; without change when it is not there. The targets stay."""
        return replace(self, keys={name: record for name, record in self.keys.items() if name != key_id})

    def without_target(self, target: str) -> Journal:
        """Return it without a destination, which holds nothing of ours any more."""
        keys = {
            key_id: replace(record, delivered={t: when for t, when in record.delivered.items() if t != target})
            for key_id, record in self.keys.items()
        }
        return replace(self, keys=keys, targets=tuple(one for one in self.targets if one != target))

    def with_revoked(self, key_ids: Iterable[str]) -> Journal:
        """Return it with these keys among the revoked ones."""
        return replace(self, revoked=(*self.revoked, *key_ids))

    def to_document(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {
            "schema": SCHEMA,
            "intent": self.intent.to_document() if self.intent else None,
            "keys": [record.to_document() for record in self.keys.values()],
            "targets": list(self.targets),
            "revoked": list(self.revoked),
        }

    @classmethod
    def from_document(cls, document: object) -> Journal:
        """Read it back.

        Raises:
            KeyStateError: A newer version wrote it, or it is not what ``to_document`` writes.
        """
        check_schema(document, SCHEMA, "journal")
        older = isinstance(document, dict) and document["schema"] == 1 and "revoked" not in document
        values = _fields(
            {**cast("dict[str, Any]", document), "revoked": []} if older else document,
            {"schema", "intent", "keys", "targets", "revoked"},
            "journal",
        )
        if not all(isinstance(values[name], list) for name in ("keys", "targets", "revoked")):
            _broken("keys, targets and revoked are lists")
        intent = None if values["intent"] is None else Intent.from_document(values["intent"])
        records = [KeyRecord.from_document(entry) for entry in values["keys"]]
        if len({record.id for record in records}) != len(records):
            _broken("a key is there twice")
        targets, revoked = tuple(values["targets"]), tuple(values["revoked"])
        return _made(lambda: cls(intent, {record.id: record for record in records}, targets, revoked), "journal")


def check_schema(document: object, newest: int, what: str) -> None:
    """See that this version can read the document.

    Raises:
        KeyStateError: A newer version wrote it, or it has no version.
    """
    schema = document.get("schema") if isinstance(document, dict) else None
    if not isinstance(schema, int) or isinstance(schema, bool) or schema < 1:
        _broken(f"the {what} carries no schema version")
    if schema > newest:
        raise KeyStateError(
            f"the {what} was written by a newer version (schema {schema})",
            expected=f"schema {newest} at most",
            do="update this tool; nothing was changed",
            runbook="journal-unreadable",
        )


def _fields(document: object, names: set[str], what: str) -> dict[str, Any]:
    if not isinstance(document, dict) or set(document) != names:
        _broken(f"{what}: the fields are not {', '.join(sorted(names))}")
    return dict(document)


def _time(text: object) -> datetime:
    try:
        return _moment(datetime.fromisoformat(cast("str", text)))
    except (ValueError, TypeError):
        _broken("a time is not ISO 8601 with a time zone")


def _made(make: Callable[[], _T], what: str) -> _T:
    try:
        return make()
    except (ValueError, TypeError, AttributeError) as error:
        _broken(f"{what}: {error}" if isinstance(error, ValueError) else what)


def _broken(why: str) -> NoReturn:
    raise KeyStateError(
        f"the journal in the lease object cannot be read: {why}",
        expected="what this tool writes",
        do="somebody else changed the object: restore an earlier version of it; nothing was changed",
        runbook="journal-unreadable",
    ) from None

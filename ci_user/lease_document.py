"""What stands in the lease object: who holds the environment, and the journal of its keys."""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from ci_user.errors import KeyStateError
from ci_user.journal import Journal, check_schema
from ci_user.text import plain

SCHEMA: Final = 1
_BYTES_AT_MOST: Final = 1_000_000


@dataclass(frozen=True)
class Holder:
    """The run that holds an environment.

    Args:
        run: The run's id.
        owner: Who, for people: ``user@host``.
        machine: Where, as ``machine.py`` tells machines apart.
        pid: The process there.
        pid_started: When that process started, as ``machine.py`` tells it, or None.
        command: What it does: ``deploy``.
        acquired_at: Since when, by the state bucket's clock.
        expires_at: Until when, unless it is renewed, by the state bucket's clock.
    """

    run: str
    owner: str
    machine: str
    pid: int
    pid_started: str | None
    command: str
    acquired_at: datetime
    expires_at: datetime

    def to_document(self) -> dict[str, Any]:
        """Return it as JSON values."""
        times = {name: getattr(self, name).isoformat() for name in ("acquired_at", "expires_at")}
        return {**vars(self), **times}

    @property
    def text(self) -> str:
        """Return it in one line for people."""
        since = self.acquired_at.isoformat(timespec="seconds")
        expires = self.expires_at.isoformat(timespec="seconds")
        return (
            f"{plain(self.owner, 120)} (process {self.pid}, `{plain(self.command, 120)}`)"
            f" since {since}, expires {expires}"
        )


@dataclass(frozen=True)
class LeaseDocument:
    """The content of a lease object. ``nonce`` differs in each, so that no two writes have the same ETag."""

    nonce: str
    holder: Holder | None
    journal: Journal

    @classmethod
    def new(cls, holder: Holder | None, journal: Journal) -> LeaseDocument:
        """Return a document with a nonce of its own."""
        return cls(secrets.token_hex(16), holder, journal)

    def render(self) -> bytes:
        """Return it as JSON."""
        document = {
            "schema": SCHEMA,
            "nonce": self.nonce,
            "holder": self.holder.to_document() if self.holder else None,
            "journal": self.journal.to_document(),
        }
        return json.dumps(document, indent=1, sort_keys=True, ensure_ascii=True).encode()

    @classmethod
    def parse(cls, body: bytes) -> LeaseDocument:
        """Read it back.

        Raises:
            KeyStateError: A newer version wrote it, or it is not what ``render`` writes.
        """
        try:
            document = json.loads(body) if len(body) <= _BYTES_AT_MOST else None
        except (ValueError, RecursionError):
            document = None
        if not isinstance(document, dict):
            raise _unreadable("it is no JSON document")
        check_schema(document, SCHEMA, "lease object")
        if set(document) != {"schema", "nonce", "holder", "journal"} or not isinstance(document["nonce"], str):
            raise _unreadable("its fields are not holder, journal, nonce, schema")
        holder = None if document["holder"] is None else _holder(document["holder"])
        return cls(document["nonce"], holder, Journal.from_document(document["journal"]))


def _holder(document: object) -> Holder:
    kinds = dict.fromkeys(("run", "owner", "machine", "command", "acquired_at", "expires_at"), (str,))
    shapes: dict[str, tuple[type, ...]] = {**kinds, "pid": (int,), "pid_started": (str, type(None))}
    if not isinstance(document, dict) or set(document) != set(shapes):
        raise _unreadable(f"the holder's fields are not {', '.join(sorted(shapes))}")
    if not all(isinstance(document[name], kind) for name, kind in shapes.items()):
        raise _unreadable("a field of the holder has another type")
    try:
        times = {name: datetime.fromisoformat(document[name]) for name in ("acquired_at", "expires_at")}
    except ValueError:
        raise _unreadable("a time of the holder is not ISO 8601") from None
    if any(when.tzinfo is None for when in times.values()):
        raise _unreadable("a time of the holder has no time zone")
    return Holder(**{**document, **{name: when.astimezone(UTC) for name, when in times.items()}})


def _unreadable(why: str) -> KeyStateError:
    return KeyStateError(
        f"the lease object cannot be read: {why}",
        expected="what this tool writes",
        do="somebody else changed the object: restore an earlier version of it; nothing was changed",
        runbook="journal-unreadable",
    )

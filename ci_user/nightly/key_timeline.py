"""The access keys as the reports show them, each with its life. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ci_user.nightly.model import Key, KeyEvent
from ci_user.text import plain

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ci_user.iam_user import LiveKey
    from ci_user.journal import KeyRecord
    from ci_user.nightly.key_audit import Keys

NOT_OURS: Final = "not made by this tool"

_WORDS: Final = {
    "minted": "made",
    "staged": "staged",
    "verified": "verified",
    "delivered": "delivered everywhere",
    "grace": "in its grace",
    "inactive": "inactive",
    "deleted": "deleted",
}


def timeline(keys: Keys) -> tuple[Key, ...]:
    """Return every key that IAM lists, oldest first."""
    return tuple(_key(keys, key) for key in keys.seen.keys)


def _key(keys: Keys, key: LiveKey) -> Key:
    record, used = keys.journal.keys.get(key.id), keys.seen.uses.get(key.id)
    state = record.state if record else NOT_OURS
    return Key(
        id=key.id,
        active=key.active,
        created=key.created,
        last_used=used.at if used else None,
        last_used_in=f"{plain(used.service, 100)}, {plain(used.region, 100)}" if used and used.at else None,
        state=f"{state}, revoked" if key.id in keys.seen.revoked else state,
        held_by=tuple(plain(target, 300) for target, one in keys.held.items() if one.current == key.id),
        events=tuple(sorted(_events(key, record), key=lambda event: event.at)),
    )


def _events(key: LiveKey, record: KeyRecord | None) -> Iterator[KeyEvent]:
    if record is None or "minted" not in record.times:
        yield KeyEvent(at=key.created, what="made")
    if record is None:
        return
    for state, at in record.times.items():
        yield KeyEvent(at=at, what=_WORDS[state])
    for target, at in record.delivered.items():
        yield KeyEvent(at=at, what=f"delivered to {plain(target, 300)}")

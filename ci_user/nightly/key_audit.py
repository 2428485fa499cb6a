"""The access keys of one environment, judged every night: whose they are, how old, how far, and what went wrong. Pure."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from ci_user import revocation
from ci_user.durations import format_duration
from ci_user.journal import Journal, KeyRecord
from ci_user.key_outlook import old_keys
from ci_user.lease_state import SIGNATURE_MAX_AGE
from ci_user.nightly import codes
from ci_user.rotation import UNFINISHED, Observation, delivered_key, in_states, in_use, older_keys
from ci_user.text import plain

if TYPE_CHECKING:
    from ci_user.backends.protocol import Held
    from ci_user.environment import Environment
    from ci_user.iam_user import LiveKey
    from ci_user.lease_state import LeaseState
    from ci_user.nightly.facts_model import Facts
    from ci_user.nightly.model import Entry
    from ci_user.revocation import Revocation

SETTLING: Final = SIGNATURE_MAX_AGE
"""What changed so lately may have changed between two of the night's reads."""
LATE: Final = dt.timedelta(days=1)
"""How much later than it may a scheduled rotation comes, at least: it runs once a day."""
LATE_PART: Final = 8
"""Of the age at which a key is due this part may pass until somebody is told: schedules are weekly, too."""
UNUSED: Final = dt.timedelta(days=45)
"""As the CIS AWS Foundations Benchmark has it (1.12: credentials unused for 45 days are disabled)."""
LONGEST_RUN: Final = dt.timedelta(hours=24)
"""After so long a run that still renews its lease is told: it waits for somebody."""


@dataclass(frozen=True)
class Keys:
    """What is known of an environment's keys.

    Args:
        seen: Keys, journal, places and clock, as the rotation sees them.
        lease: What the lease object says; None when there is no bucket.
        deny: The deny of a revocation, None for none.
        user: The user's name.
    """

    seen: Observation
    lease: LeaseState | None
    deny: Revocation | None
    user: str

    @classmethod
    def of(
        cls,
        facts: Facts,
        environment: Environment,
        lease: LeaseState | None,
        held: Mapping[str, Held],
        now: dt.datetime,
    ) -> Keys:
        """Return it for what was read."""
        deny = revocation.parse(facts.user_inline.get(revocation.POLICY_NAME))
        seen = Observation(
            keys=facts.keys,
            journal=_dated(lease.journal, facts.keys, now) if lease else Journal(),
            held=held,
            stage="",
            targets=tuple(settings.target(environment) for settings in environment.places),
            in_hand=None,
            run="read-only",
            now=now,
            lag=environment.verification.lag,
            doubts={},
            schedule=environment.rotation,
            uses=facts.uses,
            denied=deny.key_ids if deny else (),
        )
        return cls(seen, lease, deny, environment.user_name)

    @property
    def journal(self) -> Journal:
        """Return the journal, empty when there is none."""
        return self.seen.journal

    @property
    def held(self) -> Mapping[str, Held]:
        """Return what each place holds."""
        return self.seen.held

    @property
    def listed(self) -> dict[str, LiveKey]:
        """Return what IAM lists, by id."""
        return {key.id: key for key in self.seen.keys}

    @property
    def working(self) -> bool:
        """Return whether somebody holds the environment, and has not held it for too long."""
        holder, now = self.lease.holder if self.lease else None, self.seen.now
        return holder is not None and now < holder.expires_at and now - holder.acquired_at < LONGEST_RUN

    @property
    def busy(self) -> bool:
        """Return whether keys and places may have changed while they were read."""
        intent = self.journal.intent
        moments = [when for record in self.journal.keys.values() for when in _times(record)]
        moments += [intent.at] if intent else []
        return self.working or any(_near(self.seen.now, when) for when in moments)


def key_entries(keys: Keys) -> Iterator[Entry]:
    """Yield what is wrong with the keys of a user that exists."""
    if keys.lease is None:
        yield codes.NO_JOURNAL.entry(
            keys.user, "there is no state bucket, and so no journal that tells whose the keys are"
        )
    yield from _revoked(keys)
    yield from _foreign(keys)
    yield from _delivered(keys)
    yield from _old(keys)
    yield from _stuck(keys)
    yield from _lease(keys)


def _revoked(keys: Keys) -> Iterator[Entry]:
    deny, now = keys.deny, keys.seen.now
    for key in keys.seen.keys:
        if key.id in keys.seen.revoked and key.active and not (deny is not None and deny.cutoff is None):
            told = "it was revoked because it leaked, and it is ACTIVE: whoever has it works with it"
            yield codes.REVOKED_ACTIVE.entry(key.id, told)
    if deny is None:
        return
    listed = ", ".join(deny.key_ids) or "no key"
    if deny.cutoff is None:
        told = f"a revocation of {listed} was begun and is not finished: everything that the CI user does is denied"
        active = [f"still active: {key.id}" for key in keys.seen.keys if key.active and key.id in deny.key_ids]
        yield codes.REVOCATION.entry(keys.user, told, details=active)
        return
    until = deny.cutoff + revocation.LASTS
    if deny.over(now):
        told = f"the deny of the revocation of {listed} is still on the user, and no session is left that it denies"
    else:
        told = f"{listed} was revoked: sessions from before {_time(deny.cutoff)} are denied everything, until {_time(until)}"
    yield codes.DENIED.entry(keys.user, told)


def _foreign(keys: Keys) -> Iterator[Entry]:
    """Yield the keys that no journal names; what a run may just have made is told the next night."""
    intent = keys.journal.intent
    for key in keys.seen.keys:
        if key.id in keys.journal.keys or key.id in keys.seen.revoked:
            continue
        meant = intent is not None and key.id not in intent.before
        if meant and keys.busy and _near(keys.seen.now, key.created):
            continue
        used = keys.seen.uses.get(key.id)
        use = f", last used {_time(used.at)} in {plain(used.service, 100)}" if used and used.at else ", never used"
        state = "active" if key.active else "inactive"
        told = f"nothing here made this key: {state}, made {_time(key.created)}{use}"
        details = ["perhaps an interrupted run made it: `invoke deploy` finds out"] if meant else []
        details += [
            f"{plain(target, 300)} holds it"
            for target, one in keys.held.items()
            if key.id in (one.current, one.pending)
        ]
        fix = codes.FOREIGN_KEY.fix.replace("ID", key.id)
        yield codes.FOREIGN_KEY.entry(key.id, told, fix=fix, details=details)


def _delivered(keys: Keys) -> Iterator[Entry]:
    seen = keys.seen
    record = delivered_key(seen)
    if keys.lease is None or (record is not None and record.id in seen.revoked):
        return
    if record is None:
        if not keys.busy and not in_states(keys.journal, *UNFINISHED):
            yield codes.NO_KEY.entry(keys.user, "no key is delivered")
        return
    key = keys.listed.get(record.id)
    if key is None:
        if not _lately(keys, record):
            yield codes.NO_KEY.entry(record.id, "it was delivered, and IAM has it no more")
        return
    if not key.active and not _lately(keys, record):
        yield codes.INACTIVE_KEY.entry(
            record.id, "it is what consumers read, and it is inactive: nothing here made it so"
        )
    yield from _aged(keys, key)
    yield from _unused(keys, key, record)


def _aged(keys: Keys, key: LiveKey) -> Iterator[Entry]:
    age, schedule = keys.seen.now - key.created, keys.seen.schedule
    if age < schedule.rotate_after:
        return
    late = age >= schedule.rotate_after + max(LATE, schedule.rotate_after / LATE_PART)
    told = f"it is {format_duration(_hours(age))} old and due at {format_duration(schedule.rotate_after)}"
    yield codes.KEY_AGE.entry(key.id, told, gravity=None if late else "notice")


def _unused(keys: Keys, key: LiveKey, record: KeyRecord) -> Iterator[Entry]:
    use = keys.seen.uses.get(key.id)
    since = record.times.get("delivered", key.created)
    if use is None or keys.seen.now - max(since, use.at or since) < UNUSED:
        return
    told = f"last used {_time(use.at)}" if use.at else f"never used since it was delivered, {_time(since)}"
    yield codes.KEY_UNUSED.entry(key.id, told)


def _old(keys: Keys) -> Iterator[Entry]:
    seen, listed = keys.seen, keys.listed
    whys = {old.id: old for old in old_keys(seen)}
    for record in older_keys(seen):
        key, old = listed.get(record.id), whys[record.id]
        if key is None:
            continue
        if record.state == "inactive":
            if key.active:
                if not keys.busy:
                    told = f"it was made inactive {_time(record.times['inactive'])}, and is active again"
                    yield codes.TWO_KEYS.entry(record.id, told)
            elif seen.now - record.times["inactive"] >= seen.schedule.soak + LATE:
                yield codes.KEY_LEFT.entry(record.id, old.why)
            continue
        since = record.times["grace"]
        if old.overdue and key.active:
            yield codes.KEY_STILL_USED.entry(record.id, old.why)
        elif key.active and not in_use(seen, record) and seen.now - since >= seen.schedule.overlap + LATE:
            told = f"its grace was over {_time(since + seen.schedule.overlap)}, nobody uses it, and it is still active"
            yield codes.TWO_KEYS.entry(record.id, told)
    # A run that died between its last delivery and its last word left two that count as delivered.
    current = delivered_key(seen)
    for record in in_states(keys.journal, "delivered"):
        if record != current and record.id not in seen.revoked and not keys.busy:
            yield codes.STUCK.entry(record.id, "its successor was delivered, and it was not retired")


def _stuck(keys: Keys) -> Iterator[Entry]:
    now, intent = keys.seen.now, keys.journal.intent
    longest = LONGEST_RUN if keys.working else SETTLING
    records = in_states(keys.journal, *UNFINISHED)
    for record in records:
        since = record.times[record.state]
        if _stopped(now, since, longest):
            yield codes.STUCK.entry(record.id, f"a run stopped when it was {record.state}, {_time(since)}")
    if intent is not None and not records and _stopped(now, intent.at, longest):
        told = f"a run meant to make a key ({intent.reason}) {_time(intent.at)}, and did not come back to it"
        yield codes.STUCK.entry(intent.id, told)


def _stopped(now: dt.datetime, since: dt.datetime, longest: dt.timedelta) -> bool:
    # Nor is what was begun far in the future: nobody comes back to it before that.
    return now - since >= longest or since - now >= SETTLING


def _lease(keys: Keys) -> Iterator[Entry]:
    holder = keys.lease.holder if keys.lease else None
    if keys.busy:
        told = f"{plain(holder.text, 200)} works on it" if holder and keys.working else "its journal was just written"
        yield codes.BUSY.entry(keys.user, f"{told}: what may be half done is judged the next night")
    elif holder is not None and keys.seen.now >= holder.expires_at + SIGNATURE_MAX_AGE:
        yield codes.LEASE_LEFT.entry(keys.user, f"{plain(holder.text, 200)} ended without giving the lease back")


def _lately(keys: Keys, record: KeyRecord) -> bool:
    return any(_near(keys.seen.now, when) for when in _times(record))


def _near(now: dt.datetime, when: dt.datetime) -> bool:
    # A time far in the future is nobody's: it must not hide anything for good.
    return abs(now - when) < SETTLING


def _dated(journal: Journal, keys: tuple[LiveKey, ...], now: dt.datetime) -> Journal:
    """Return a journal each of whose keys has the time of its state: whoever wrote one without is no reason to judge nothing."""
    made = {key.id: key.created for key in keys}
    for record in journal.keys.values():
        if record.state not in record.times:
            since = min(_times(record), default=made.get(record.id, now))
            journal = journal.with_key(replace(record, times={**record.times, record.state: since}))
    return journal


def _times(record: KeyRecord) -> tuple[dt.datetime, ...]:
    return (*record.times.values(), *record.delivered.values())


def _hours(age: dt.timedelta) -> dt.timedelta:
    """Return an age in whole days, or in whole hours when it is less than one."""
    unit = dt.timedelta(days=1) if age >= dt.timedelta(days=1) else dt.timedelta(hours=1)
    return age // unit * unit


def _time(when: dt.datetime) -> str:
    return when.isoformat(timespec="seconds")

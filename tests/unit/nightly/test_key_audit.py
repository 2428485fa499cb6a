"""Keys and places, every night: what is late, stuck, foreign, gone or behind; and nothing that a run may just be changing."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ci_user.backends.protocol import Held
from ci_user.iam_user import LastUse, LiveKey
from ci_user.journal import Intent, Journal
from ci_user.nightly.live_audit import Audit
from ci_user.rotation import UNFINISHED
from tests.unit.nightly.identities import (
    DAY,
    DELIVERED,
    FOREIGN,
    HELD,
    HOUR,
    INTENT,
    KEY,
    NEW,
    NOW,
    OLD,
    SECOND,
    STAGE,
    facts,
    holder,
    journal,
    judged,
    key,
    record,
)

MINUTE = dt.timedelta(minutes=1)


def told(found: Audit) -> list[tuple[str, str]]:
    return [(one.id.removeprefix("CIUSER_"), one.gravity) for one in found.entries]


def keys(*listed: LiveKey, **used: dt.timedelta | None) -> Any:
    """Return facts with these keys; ``used`` tells how long ago, by the key's name."""
    names = {"OLD": OLD, "KEY": KEY, "NEW": NEW}
    uses = {one.id: LastUse(NOW - HOUR if one.id == KEY else None, "s3", "eu-west-1") for one in listed}
    uses |= {names[name]: LastUse(NOW - ago if ago else None, "s3", "eu-west-1") for name, ago in used.items()}
    return facts(keys=listed, uses=uses)


def intent(ago: dt.timedelta, before: tuple[str, ...] = (KEY,)) -> Intent:
    return Intent(INTENT, "rotate", before, NOW - ago, "run")


# Whose they are


def test_a_key_that_nobody_delivered_is_told_with_who_holds_it() -> None:
    found = judged(keys(key(), key(FOREIGN, age=DAY)), held={**HELD, SECOND: Held(FOREIGN, None)})
    assert told(found) == [("FOREIGN_KEY", "finding"), ("PLACE", "finding")]
    assert found.entries[0].details == (f"{SECOND} holds it",)
    assert "no key that anybody delivered" in found.entries[1].message
    assert found.keys[1].state == "not made by this tool"


def test_a_key_that_a_run_may_just_have_made_is_left_for_the_next_night() -> None:
    seen = keys(key(), key(NEW, age=MINUTE))
    assert told(judged(seen, journal(DELIVERED, intent=intent(MINUTE)))) == [("BUSY", "notice")]
    # But not one that was there before, or much earlier.
    assert ("FOREIGN_KEY", "finding") in told(judged(seen, journal(DELIVERED, intent=intent(MINUTE, (KEY, NEW)))))
    old = keys(key(), key(NEW, age=2 * DAY))
    assert ("FOREIGN_KEY", "finding") in told(judged(old, journal(DELIVERED, intent=intent(MINUTE))))


# How old


@pytest.mark.parametrize(
    ("age", "gravity"), [(59 * DAY, None), (61 * DAY, "notice"), (67 * DAY, "notice"), (68 * DAY, "finding")]
)
def test_a_key_that_is_due_is_a_finding_when_no_rotation_comes(age: dt.timedelta, gravity: str | None) -> None:
    assert told(judged(keys(key(age=age)))) == ([("KEY_AGE", gravity)] if gravity else [])


def test_a_key_that_nobody_uses_is_good_to_know() -> None:
    content = journal(record(KEY, "delivered", 50 * DAY))
    assert told(judged(keys(key(age=50 * DAY), KEY=None), content)) == [("KEY_UNUSED", "notice")]
    assert told(judged(keys(key(age=50 * DAY), KEY=46 * DAY), content)) == [("KEY_UNUSED", "notice")]
    assert told(judged(keys(key(age=50 * DAY), KEY=44 * DAY), content)) == []


# Old ones


@pytest.mark.parametrize(
    ("since", "used", "expected"),
    [
        (HOUR * 5, None, []),
        (2 * DAY + HOUR, None, [("TWO_KEYS", "finding")]),
        (3 * DAY, HOUR, []),
        (14 * DAY, HOUR, [("KEY_STILL_USED", "finding")]),
        (14 * DAY, 14 * DAY, [("TWO_KEYS", "finding")]),
    ],
)
def test_an_old_key_stays_active_for_a_while_only(
    since: dt.timedelta, used: dt.timedelta | None, expected: list[tuple[str, str]]
) -> None:
    content = journal(record(KEY, "delivered", since), record(OLD, "grace", since))
    seen = keys(key(OLD, age=40 * DAY), key(age=since), OLD=used)
    assert told(judged(seen, content)) == expected


def test_an_old_key_that_is_active_again_and_one_that_is_left_are_told() -> None:
    content = journal(DELIVERED, record(OLD, "inactive", 3 * DAY, grace=5 * DAY))
    assert told(judged(keys(key(OLD, active=False), key()), content)) == []
    assert told(judged(keys(key(OLD), key()), content)) == [("TWO_KEYS", "finding")]
    content = journal(DELIVERED, record(OLD, "inactive", 9 * DAY, grace=12 * DAY))
    assert told(judged(keys(key(OLD, active=False), key()), content)) == [("KEY_LEFT", "notice")]


# The delivered one


def test_a_delivered_key_that_is_inactive_or_gone_is_told() -> None:
    assert told(judged(keys(key(active=False)))) == [("INACTIVE_KEY", "finding")]
    assert told(judged(keys()))[0] == ("NO_KEY", "finding")
    assert told(judged(keys(), journal(), {STAGE: Held(None, None), SECOND: Held(None, None)})) == [
        ("NO_KEY", "finding")
    ]


def test_two_that_count_as_delivered_are_a_rotation_that_stopped() -> None:
    content = journal(DELIVERED, record(OLD, "delivered", 70 * DAY))
    assert ("ROTATION_STUCK", "finding") in told(judged(keys(key(OLD), key()), content))


# Stuck


@pytest.mark.parametrize("state", UNFINISHED)
def test_a_key_on_its_way_for_too_long_is_stuck(state: str) -> None:
    seen = keys(key(), key(NEW, age=HOUR))
    content = journal(DELIVERED, record(NEW, state, HOUR), intent=intent(HOUR))
    held = {**HELD, STAGE: Held(KEY, NEW)}
    assert told(judged(seen, content, held)) == [("ROTATION_STUCK", "finding"), ("PLACE_PENDING", "notice")]
    # Not while somebody works on it.
    assert told(judged(seen, content, held, held_by=holder())) == [("BUSY", "notice")]
    lately = journal(DELIVERED, record(NEW, state, MINUTE), intent=intent(MINUTE))
    assert told(judged(seen, lately, held)) == [("BUSY", "notice")]


def test_an_intent_that_nobody_came_back_to_is_stuck() -> None:
    assert told(judged(content=journal(DELIVERED, intent=intent(HOUR)))) == [("ROTATION_STUCK", "finding")]
    assert told(judged(content=journal(DELIVERED, intent=intent(MINUTE)))) == [("BUSY", "notice")]


def test_a_run_that_holds_the_environment_for_days_hides_nothing() -> None:
    content = journal(DELIVERED, intent=intent(2 * DAY))
    found = told(judged(content=content, held={**HELD, SECOND: Held(None, None)}, held_by=holder(ago=2 * DAY)))
    assert found == [("ROTATION_STUCK", "finding"), ("PLACE", "finding")]


def test_a_journal_from_the_future_hides_nothing() -> None:
    content = journal(record(KEY, "delivered", -30 * DAY))
    assert ("PLACE", "finding") in told(judged(content=content, held={**HELD, SECOND: Held(None, None)}))


def test_a_lease_that_nobody_gave_back_is_good_to_know() -> None:
    assert told(judged(held_by=holder(ends=-HOUR, ago=2 * HOUR))) == [("LEASE_LEFT", "notice")]


# Places


@pytest.mark.parametrize(
    ("held", "part"),
    [
        (Held(None, None), f"does not hold {KEY}"),
        (Held(None, None, torn=True), "no whole key"),
        (Held(OLD, None), "no key of this user"),
    ],
)
def test_a_place_without_the_delivered_key_is_behind(held: Held, part: str) -> None:
    found = judged(held={**HELD, SECOND: held})
    assert told(found) == [("PLACE", "finding")]
    assert part in found.entries[0].message


def test_a_pending_copy_of_a_key_that_is_not_on_its_way_was_left_behind() -> None:
    assert told(judged(held={**HELD, STAGE: Held(KEY, NEW)})) == [("PLACE_PENDING", "finding")]
    assert told(judged(held={**HELD, STAGE: Held(KEY, KEY)})) == [("PLACE_PENDING", "finding")]


def test_a_place_that_the_file_names_no_more_is_told() -> None:
    content = journal(DELIVERED, targets=("github:elsewhere",))
    found = judged(content=content)
    assert told(found) == [("PLACE_FORMER", "notice")]
    assert found.entries[0].where == "github:elsewhere"


def test_a_key_has_its_life() -> None:
    content = journal(record(KEY, "delivered", DAY, minted=2 * DAY, staged=2 * DAY - HOUR, verified=2 * DAY - 2 * HOUR))
    (found,) = judged(content=content).keys
    assert [one.what for one in found.events[:3]] == ["made", "staged", "verified"]
    assert {one.what for one in found.events[3:]} == {
        "delivered everywhere",
        f"delivered to {STAGE}",
        f"delivered to {SECOND}",
    }
    assert (found.last_used_in, found.held_by) == ("s3, eu-west-1", (STAGE, SECOND))


# Everything with everything

AGES = st.sampled_from((MINUTE, HOUR, 2 * DAY, 15 * DAY, 90 * DAY, -DAY))
IDS = (OLD, KEY, NEW, FOREIGN)
STATES = ("minted", "staged", "verified", "delivered", "grace", "inactive", "deleted")
LISTED = st.lists(
    st.builds(key, st.sampled_from(IDS), active=st.booleans(), age=AGES), max_size=3, unique_by=lambda k: k.id
)
RECORDS = st.lists(
    st.builds(record, st.sampled_from(IDS), st.sampled_from(STATES), AGES), max_size=3, unique_by=lambda r: r.id
)


def test_a_run_that_stopped_in_the_far_future_stopped() -> None:
    tomorrow = record(OLD, "minted", -dt.timedelta(days=1))
    assert ("ROTATION_STUCK", "finding") in told(judged(keys(), journal(tomorrow)))


HOLDS = st.builds(Held, st.sampled_from((None, *IDS)), st.sampled_from((None, *IDS)), st.booleans())


@given(
    listed=LISTED,
    records=RECORDS,
    holds=st.fixed_dictionaries({STAGE: HOLDS, SECOND: HOLDS}),
    meant=st.none() | st.builds(intent, AGES),
    working=st.booleans(),
    revoked=st.sets(st.sampled_from(IDS), max_size=2),
)
def test_whatever_is_there_is_judged(
    listed: list[LiveKey],
    records: list[Any],
    holds: Mapping[str, Held],
    meant: Intent | None,
    working: bool,
    revoked: set[str],
) -> None:
    content = journal(*records, intent=meant, revoked=tuple(sorted(revoked)))
    found = judged(keys(*listed), content, holds, held_by=holder() if working else None)
    ids = [one.id for one in found.entries]
    busy = "CIUSER_BUSY" in ids
    assert [one.id for one in found.keys] == [one.id for one in listed]
    for one in listed:
        told_of = {entry.id for entry in found.entries if entry.where == one.id}
        if one.id in revoked:
            assert ("CIUSER_REVOKED_ACTIVE" in told_of) is one.active
        elif one.id not in content.keys and not busy:
            assert "CIUSER_FOREIGN_KEY" in told_of
    delivered = [r.id for r in records if r.state == "delivered"]
    clean = not any(entry.counts for entry in found.entries)
    if clean and not busy:
        # Then one active key is delivered, not revoked, and every place holds it and nothing else.
        assert len(delivered) == 1
        assert holds == {STAGE: Held(delivered[0], None), SECOND: Held(delivered[0], None)}
        assert [one.active for one in listed if one.id == delivered[0]] == [True]
        assert delivered[0] not in revoked
        assert meant is None or meant.at > NOW


@given(records=RECORDS)
def test_a_journal_without_times_is_judged_too(records: list[Any]) -> None:
    bare = {one.id: type(one)(one.id, one.intent, one.state) for one in records}
    assert judged(content=Journal(None, bare)).keys

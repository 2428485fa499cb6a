"""What a deploy is said to do about the keys is what it does."""

from __future__ import annotations

import datetime as dt
import itertools
from dataclasses import replace

import pytest

from ci_user import key_actions as acts
from ci_user.backends.protocol import Held
from ci_user.journal import Journal
from ci_user.key_forecast import foretell
from ci_user.rotation import Observation, decide
from tests.unit.test_rotation import (
    BOTH,
    DELIVERED,
    LONG_AGO,
    NOW,
    OTHER,
    OURS,
    SECOND,
    STAGE,
    every_observation,
    intent,
    journal,
    key,
    record,
    seen,
)

ANOTHER = "1" * 32
MADE = "is made, verified and delivered to"


def settled(*records: object, keys: tuple[object, ...] = (), stands: object = None) -> Observation:
    """Return an observation with a delivered key in every place, and more."""
    return seen(
        keys=(key(OURS), *keys),  # type: ignore[arg-type]
        journal=journal(DELIVERED, *records, intent=stands),  # type: ignore[arg-type]
        stage=Held(OURS, None),
        second=Held(OURS, None),
    )


def test_something_is_told_exactly_when_something_will_happen() -> None:
    for observation in itertools.islice(every_observation(), 0, None, 5):
        action, told = decide(observation), foretell(observation)
        if isinstance(action, acts.Done | acts.Stop):
            assert told is None
        elif not isinstance(action, acts.Forget):
            assert told


def test_after_a_completed_rotation_nothing_is_pending() -> None:
    assert foretell(settled(record(OTHER, "deleted", intent=ANOTHER))) is None


def test_what_hides_behind_the_tidying_of_the_journal_is_told() -> None:
    lost = settled(record(OTHER, "deleted", intent=ANOTHER))
    lost = replace(lost, held={STAGE: Held(OURS, None), SECOND: Held(None, None)})
    assert foretell(lost) == f"the access key {OURS} is delivered to {SECOND}"
    person = replace(lost, keys=(key(OURS), key("AKIASTRANGER00000003")))
    assert str(foretell(person)).startswith("then a person is needed: no journal names this key")
    gone = seen(journal=journal(DELIVERED), stage=Held(OURS, None))
    assert foretell(gone) == f"an access key {MADE} {STAGE}, {SECOND}"


RETIRED = settled(record(OTHER, "grace", intent=ANOTHER), keys=(key(OTHER),))
RETIRED = replace(RETIRED, journal=RETIRED.journal.with_revoked((OTHER,)))
OVER = replace(
    settled(record(OTHER, "inactive", intent=ANOTHER), keys=(key(OTHER, active=False),)), deny="over", denied=(OTHER,)
)

NO_KEY_IS_MADE = [
    (
        "a deleted key that IAM lists for too long",
        settled(record(OTHER, "deleted", intent=ANOTHER), keys=(key(OTHER),)),
        f"{OTHER}, which was deleted and which IAM still lists, is deleted once more",
    ),
    (
        "an intent of a dead run beside a delivered key",
        settled(stands=replace(intent(OURS, run="earlier"), id=ANOTHER)),
        "the intent of an interrupted run is closed",
    ),
    (
        "an orphan beside a delivered key",
        settled(record(OTHER, "minted", intent=ANOTHER), keys=(key(OTHER),)),
        f"{OTHER}, which an interrupted run made and nobody received, is deleted",
    ),
    ("an older key that was revoked", RETIRED, f"{OTHER}, which was revoked, is to be inactive"),
    (
        "a deny that is over",
        replace(OVER, journal=OVER.journal.with_revoked((OTHER,))),
        f"{OTHER}, which was revoked, is deleted; the deny of the last revocation is taken off: no session is as old as that",
    ),
]


@pytest.mark.parametrize(
    ("observation", "told"), [row[1:] for row in NO_KEY_IS_MADE], ids=[r[0] for r in NO_KEY_IS_MADE]
)
def test_where_a_delivered_key_stands_none_is_said_to_be_made(observation: Observation, told: str) -> None:
    assert foretell(observation) == told


def test_a_revoked_key_and_its_successor_are_told_together() -> None:
    leaked = settled()
    leaked = replace(leaked, journal=leaked.journal.with_revoked((OURS,)))
    assert foretell(leaked) == (f"{OURS}, which was revoked, is to be inactive; an access key {MADE} {STAGE}, {SECOND}")


def test_a_place_that_the_file_no_longer_names_is_told_whatever_else_happens() -> None:
    former = "aws-ssm:old"
    was_there = replace(DELIVERED, delivered={**DELIVERED.delivered, former: LONG_AGO})
    full = seen(keys=(key(OURS),), journal=journal(was_there), stage=Held(OURS, None), second=Held(OURS, None))
    full = replace(full, former=(former,), held={**full.held, former: Held(OURS, None)})
    emptied = f"what was delivered to {former}, which the environment file no longer names, is removed"
    assert foretell(full) == emptied
    both = replace(full, held={**full.held, SECOND: Held(None, None)})
    assert foretell(both) == f"the access key {OURS} is delivered to {SECOND}; {emptied}"
    empty = replace(full, held={**full.held, former: Held(None, None)})
    assert (
        foretell(empty)
        == f"{former}, which the environment file no longer names and which is empty, is taken out of the journal"
    )


def test_what_is_waited_for_may_leave_nothing_to_make() -> None:
    stands = replace(intent(OURS, run="earlier"), id=ANOTHER, at=NOW - dt.timedelta(seconds=2))
    told = foretell(settled(stands=stands))
    assert (
        told == "what an interrupted run may have asked for is waited for; the intent of an interrupted run is closed"
    )
    first = seen(journal=Journal(replace(stands, before=())))
    assert str(foretell(first)).endswith(f"an access key {MADE} {STAGE}, {SECOND}")


def test_a_key_that_its_stage_lost_on_the_way_is_told_as_it_is_treated() -> None:
    stuck = seen(
        keys=(key(OURS), key(OTHER)),
        journal=journal(
            record(OURS, "verified", delivered=(STAGE,)),
            record(OTHER, "delivered", delivered=BOTH, intent=ANOTHER),
            intent=intent(OTHER, run="earlier"),
        ),
        second=Held(OTHER, None),
    )
    told = str(foretell(stuck))
    assert "is kept for its grace" in told
    assert "then a person is needed" in told

"""The decision table: every combination of what can be observed leads to an action, and the actions lead to the end."""

from __future__ import annotations

import datetime as dt
import itertools
from collections.abc import Iterator
from dataclasses import replace
from typing import get_args

import pytest

from ci_user import rotation
from ci_user.backends.protocol import Held
from ci_user.iam_user import LiveKey
from ci_user.journal import Intent, Journal, KeyRecord
from ci_user.rotation import Observation, decide, decide_removal

NOW = dt.datetime(2026, 11, 24, 12, tzinfo=dt.UTC)
LONG_AGO = NOW - dt.timedelta(hours=3)
OURS, OTHER = "AKIAOURS000000000001", "AKIAOTHER00000000002"
INTENT = "0" * 32
STAGE, SECOND = "aws-secrets-manager:x", "dotenv:y"


def key(key_id: str, *, active: bool = True) -> LiveKey:
    return LiveKey(key_id, active, LONG_AGO)


def record(key_id: str, state: str, *, delivered: tuple[str, ...] = (), intent: str = INTENT) -> KeyRecord:
    made = KeyRecord(key_id, intent, "minted", {"minted": LONG_AGO}, dict.fromkeys(delivered, LONG_AGO))
    return made if state == "minted" else made.entering(state, LONG_AGO)


def intent(*before: str, run: str = "this-run") -> Intent:
    return Intent(INTENT, "first", before, LONG_AGO, run)


def seen(
    *,
    keys: tuple[LiveKey, ...] = (),
    journal: Journal | None = None,
    stage: Held = Held(None, None),  # noqa: B008
    second: Held = Held(None, None),  # noqa: B008
    in_hand: str | None = None,
    doubts: dict[str, str | None] | None = None,
) -> Observation:
    return Observation(
        keys=keys,
        journal=journal or Journal(),
        held={STAGE: stage, SECOND: second},
        stage=STAGE,
        targets=(STAGE, SECOND),
        in_hand=in_hand,
        run="this-run",
        now=NOW,
        lag=dt.timedelta(seconds=60),
        doubts=doubts or {},
    )


def journal(*records: KeyRecord, intent: Intent | None = None) -> Journal:
    return Journal(intent, {r.id: r for r in records})


BOTH = (STAGE, SECOND)
DELIVERED = record(OURS, "delivered", delivered=BOTH)

TABLE = [
    ("nothing at all", seen(), rotation.RecordIntent("first")),
    ("an intent of this run", seen(journal=journal(intent=intent())), rotation.Mint()),
    (
        "an intent of an earlier run without a key",
        seen(journal=journal(intent=intent(run="earlier"))),
        rotation.DropIntent(),
    ),
    (
        "a minted key in hand",
        seen(keys=(key(OURS),), journal=journal(record(OURS, "minted"), intent=intent()), in_hand=OURS),
        rotation.Stage(OURS),
    ),
    (
        "a minted key that IAM does not list yet",
        seen(journal=journal(record(OURS, "minted"), intent=intent()), in_hand=OURS),
        rotation.Stage(OURS),
    ),
    (
        "a minted key whose secret was lost",
        seen(keys=(key(OURS),), journal=journal(record(OURS, "minted"), intent=intent())),
        rotation.DeleteOrphan(OURS),
    ),
    (
        "a key that only the intent explains, without doubt",
        seen(keys=(key(OURS),), journal=journal(intent=intent()), doubts={OURS: None}),
        rotation.DeleteOrphan(OURS),
    ),
    (
        "a key that the journal says is minted, and the stage has",
        seen(
            keys=(key(OURS),),
            journal=journal(record(OURS, "minted"), intent=intent()),
            stage=Held(None, OURS),
        ),
        rotation.Stage(OURS),
    ),
    (
        "staged",
        seen(
            keys=(key(OURS),),
            journal=journal(record(OURS, "staged"), intent=intent()),
            stage=Held(None, OURS),
        ),
        rotation.Verify(OURS),
    ),
    (
        "verified",
        seen(
            keys=(key(OURS),),
            journal=journal(record(OURS, "verified"), intent=intent()),
            stage=Held(None, OURS),
        ),
        rotation.Promote(OURS),
    ),
    (
        "a promotion that was interrupted half-way",
        seen(
            keys=(key(OURS),),
            journal=journal(record(OURS, "verified"), intent=intent()),
            stage=Held(OURS, OURS),
        ),
        rotation.Promote(OURS),
    ),
    (
        "promoted, the second target still without it",
        seen(
            keys=(key(OURS),),
            journal=journal(record(OURS, "verified"), intent=intent()),
            stage=Held(OURS, None),
        ),
        rotation.Deliver(OURS, SECOND),
    ),
    (
        "in both targets",
        seen(
            keys=(key(OURS),),
            journal=journal(record(OURS, "verified", delivered=BOTH), intent=intent()),
            stage=Held(OURS, None),
            second=Held(OURS, None),
        ),
        rotation.Settle(OURS),
    ),
    (
        "all done",
        seen(keys=(key(OURS),), journal=journal(DELIVERED), stage=Held(OURS, None), second=Held(OURS, None)),
        rotation.Done(OURS),
    ),
    (
        "a target lost the key",
        seen(keys=(key(OURS),), journal=journal(DELIVERED), stage=Held(OURS, None)),
        rotation.Deliver(OURS, SECOND),
    ),
    (
        "the stage lost the key",
        seen(keys=(key(OURS),), journal=journal(DELIVERED), second=Held(OURS, None)),
        rotation.RecordIntent("repair"),
    ),
    (
        "the stage lost the key before everything was recorded, but a target has it",
        seen(
            keys=(key(OURS),),
            journal=journal(record(OURS, "verified", delivered=(SECOND,)), intent=intent()),
            second=Held(OURS, None),
        ),
        rotation.Settle(OURS),
    ),
    (
        "a key that IAM no longer has",
        seen(journal=journal(DELIVERED), stage=Held(OURS, None)),
        rotation.Forget(OURS),
    ),
    (
        "a pending copy of a key that nobody knows",
        seen(keys=(key(OURS),), journal=journal(DELIVERED), stage=Held(OURS, OTHER), second=Held(OURS, None)),
        rotation.DiscardStaged(OTHER),
    ),
]


@pytest.mark.parametrize(("observation", "action"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE])
def test_the_next_action_follows_from_what_is_observed(observation: Observation, action: rotation.Action) -> None:
    assert decide(observation) == action


STOPS = [
    ("a key that nobody journalled", seen(keys=(key(OTHER),))),
    ("ours and one that nobody journalled", seen(keys=(key(OURS), key(OTHER)), journal=journal(DELIVERED))),
    (
        "a stranger next to an intent, in doubt",
        seen(keys=(key(OTHER),), journal=journal(intent=intent()), doubts={OTHER: "it was used"}),
    ),
    (
        "a stranger that was there before the intent",
        seen(keys=(key(OTHER),), journal=journal(intent=intent(OTHER)), doubts={OTHER: None}),
    ),
    (
        "two strangers, neither doubted",
        seen(keys=(key(OURS), key(OTHER)), journal=journal(intent=intent()), doubts={OURS: None, OTHER: None}),
    ),
    (
        "the intent's key and a stranger",
        seen(
            keys=(key(OURS), key(OTHER)),
            journal=journal(record(OURS, "minted"), intent=intent()),
            in_hand=OURS,
            doubts={OTHER: None},
        ),
    ),
    (
        "the delivered key was made inactive by somebody",
        seen(keys=(key(OURS, active=False),), journal=journal(DELIVERED), stage=Held(OURS, None)),
    ),
    (
        "two keys of ours, and neither is in the stage",
        seen(
            keys=(key(OURS), key(OTHER)),
            journal=journal(DELIVERED, record(OTHER, "grace", intent="1" * 32)),
        ),
    ),
]


@pytest.mark.parametrize("observation", [row[1] for row in STOPS], ids=[row[0] for row in STOPS])
def test_what_only_a_person_can_judge_stops(observation: Observation) -> None:
    assert isinstance(decide(observation), rotation.Stop)


def every_observation() -> Iterator[Observation]:
    """Yield each combination of two keys, their records, an intent, a stage, a target, and a doubt."""
    states = [None, "minted", "staged", "verified", "delivered", "grace", "inactive", "deleted"]
    held = [Held(a, b) for a in (None, OURS, OTHER) for b in (None, OURS, OTHER)]
    lives = [(), (key(OURS),), (key(OTHER),), (key(OURS), key(OTHER)), (key(OURS, active=False),)]
    intents = [None, intent(), intent(run="earlier"), intent(OTHER), intent(OURS, OTHER)]
    for live, ours, other, stands in itertools.product(lives, states, (None, "grace", "delivered"), intents):
        records = [record(OURS, ours)] if ours else []
        records += [record(OTHER, other, intent="1" * 32)] if other else []
        for stage, second, in_hand in itertools.product(held, (Held(None, None), Held(OURS, None)), (None, OURS)):
            for doubt in (None, "a reason"):
                yield seen(
                    keys=live,
                    journal=journal(*records, intent=stands),
                    stage=stage,
                    second=second,
                    in_hand=in_hand,
                    doubts={OURS: doubt, OTHER: doubt},
                )


def test_every_combination_has_an_action_and_none_touches_a_key_that_is_not_attributed() -> None:
    count = 0
    for observation in every_observation():
        count += 1
        named = set(observation.journal.keys)
        for action in (decide(observation), decide_removal(observation)):
            assert isinstance(action, get_args(rotation.Action))
            if isinstance(action, rotation.DeleteOrphan | rotation.Delete | rotation.Deactivate):
                stands = observation.journal.intent
                attributed = (
                    stands is not None
                    and action.key_id not in stands.before
                    and observation.doubts[action.key_id] is None
                )
                assert action.key_id in named or attributed
    assert count > 20_000


def test_a_key_that_was_delivered_somewhere_is_never_deleted_as_an_orphan() -> None:
    for observation in every_observation():
        action = decide(observation)
        if isinstance(action, rotation.DeleteOrphan) and action.key_id in observation.journal.keys:
            assert not observation.journal.keys[action.key_id].delivered


def test_a_key_is_minted_only_under_an_intent_of_this_run_that_has_no_key() -> None:
    for observation in every_observation():
        if isinstance(decide(observation), rotation.Mint):
            stands = observation.journal.intent
            assert stands is not None
            assert stands.run == observation.run
            assert not [k for k in observation.keys if k.id not in observation.journal.keys]
            assert all(r.intent != stands.id for r in observation.journal.keys.values())


def test_a_new_intent_is_recorded_only_where_iam_has_room_for_its_key() -> None:
    for observation in every_observation():
        if isinstance(decide(observation), rotation.RecordIntent):
            assert len(observation.keys) < 2


def test_nothing_is_done_only_when_the_delivered_key_is_everywhere() -> None:
    for observation in every_observation():
        action = decide(observation)
        if isinstance(action, rotation.Done):
            assert action.key_id is not None
            assert all(held.current == action.key_id for held in observation.held.values())
            assert action.key_id in {k.id for k in observation.keys if k.active}


def test_a_key_recorded_a_moment_ago_is_believed_although_iam_does_not_list_it() -> None:
    fresh = KeyRecord(OURS, INTENT, "staged", {"minted": NOW - dt.timedelta(seconds=5)}, {})
    observation = seen(journal=journal(fresh, intent=intent()), stage=Held(None, OURS))
    assert decide(observation) == rotation.Verify(OURS)
    assert decide(replace(observation, now=NOW + dt.timedelta(minutes=5))) == rotation.Forget(OURS)


def test_a_delivered_key_that_iam_does_not_list_for_a_moment_is_not_replaced() -> None:
    moment_ago = {"minted": NOW - dt.timedelta(seconds=5)}
    fresh = KeyRecord(OURS, INTENT, "delivered", moment_ago, dict.fromkeys(BOTH, NOW))
    assert decide(seen(journal=journal(fresh), stage=Held(OURS, None), second=Held(OURS, None))) == rotation.Done(OURS)


def test_what_a_dead_run_asked_for_a_moment_ago_is_waited_for_before_another_key_is_made() -> None:
    stands = replace(intent(run="earlier"), at=NOW - dt.timedelta(seconds=2))
    observation = seen(journal=journal(intent=stands))
    assert decide(observation) == rotation.Wait()
    assert decide(replace(observation, lag=dt.timedelta(0))) == rotation.DropIntent()
    assert decide(replace(observation, now=NOW + dt.timedelta(minutes=5))) == rotation.DropIntent()


def test_a_second_target_that_holds_both_copies_is_delivered_once_more() -> None:
    holding = seen(keys=(key(OURS),), journal=journal(DELIVERED), stage=Held(OURS, None), second=Held(OURS, OURS))
    assert decide(holding) == rotation.Deliver(OURS, SECOND)


def test_removal_deactivates_then_deletes_then_takes_back_what_was_delivered() -> None:
    holding = Held(OURS, None)
    start = seen(keys=(key(OURS),), journal=journal(DELIVERED), stage=holding)
    assert decide_removal(start) == rotation.Deactivate(OURS)
    assert decide_removal(replace(start, keys=(key(OURS, active=False),))) == rotation.Delete(OURS)
    assert decide_removal(replace(start, keys=())) == rotation.Forget(OURS)
    assert decide_removal(replace(start, keys=(), journal=Journal())) == rotation.RemoveDelivered(STAGE)
    assert decide_removal(seen()) == rotation.Done(None)


def test_removal_stops_before_it_touches_anything_when_there_is_a_foreign_key() -> None:
    assert isinstance(decide_removal(seen(keys=(key(OURS), key(OTHER)), journal=journal(DELIVERED))), rotation.Stop)


def test_what_will_happen_to_the_keys_is_told_exactly_when_something_will() -> None:
    for observation in itertools.islice(every_observation(), 0, None, 7):
        idle = isinstance(decide(observation), rotation.Done | rotation.Stop)
        assert (rotation.foretell(observation) is None) == idle

"""The decision table: every combination of what can be observed leads to an action, and the actions lead to the end."""

from __future__ import annotations

import datetime as dt
import itertools
from collections.abc import Iterator
from dataclasses import replace
from typing import get_args

import pytest

from ci_user import key_actions as acts
from ci_user.backends.protocol import Held
from ci_user.environment_parts import Rotation
from ci_user.iam_user import LastUse, LiveKey
from ci_user.journal import Intent, Journal, KeyRecord
from ci_user.key_life import LIFE, state_after
from ci_user.key_outlook import going, old_keys
from ci_user.rotation import Deny, Goal, Keep, Observation, Redeliver, Remove, Replace, Rotate, decide

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
    ("nothing at all", seen(), acts.RecordIntent("first")),
    ("an intent of this run", seen(journal=journal(intent=intent())), acts.Mint()),
    (
        "an intent of an earlier run without a key",
        seen(journal=journal(intent=intent(run="earlier"))),
        acts.DropIntent(),
    ),
    (
        "a minted key in hand",
        seen(keys=(key(OURS),), journal=journal(record(OURS, "minted"), intent=intent()), in_hand=OURS),
        acts.Stage(OURS),
    ),
    (
        "a minted key that IAM does not list yet",
        seen(journal=journal(record(OURS, "minted"), intent=intent()), in_hand=OURS),
        acts.Stage(OURS),
    ),
    (
        "a minted key whose secret was lost",
        seen(keys=(key(OURS),), journal=journal(record(OURS, "minted"), intent=intent())),
        acts.DeleteOrphan(OURS),
    ),
    (
        "a key that only an earlier run's intent explains, without doubt",
        seen(keys=(key(OURS),), journal=journal(intent=intent(run="earlier")), doubts={OURS: None}),
        acts.DeleteOrphan(OURS),
    ),
    (
        "a key that somebody made between this run's intent and its mint, without doubt",
        seen(keys=(key(OTHER),), journal=journal(intent=intent()), doubts={OTHER: None}),
        acts.DropIntent(),
    ),
    (
        "a key that the journal says is minted, and the stage has",
        seen(
            keys=(key(OURS),),
            journal=journal(record(OURS, "minted"), intent=intent()),
            stage=Held(None, OURS),
        ),
        acts.Stage(OURS),
    ),
    (
        "staged",
        seen(
            keys=(key(OURS),),
            journal=journal(record(OURS, "staged"), intent=intent()),
            stage=Held(None, OURS),
        ),
        acts.Verify(OURS),
    ),
    (
        "verified",
        seen(
            keys=(key(OURS),),
            journal=journal(record(OURS, "verified"), intent=intent()),
            stage=Held(None, OURS),
        ),
        acts.Promote(OURS),
    ),
    (
        "a promotion that was interrupted half-way",
        seen(
            keys=(key(OURS),),
            journal=journal(record(OURS, "verified"), intent=intent()),
            stage=Held(OURS, OURS),
        ),
        acts.Promote(OURS),
    ),
    (
        "promoted, the second target still without it",
        seen(
            keys=(key(OURS),),
            journal=journal(record(OURS, "verified"), intent=intent()),
            stage=Held(OURS, None),
        ),
        acts.Deliver(OURS, (SECOND,)),
    ),
    (
        "in both targets",
        seen(
            keys=(key(OURS),),
            journal=journal(record(OURS, "verified", delivered=BOTH), intent=intent()),
            stage=Held(OURS, None),
            second=Held(OURS, None),
        ),
        acts.Settle(OURS),
    ),
    (
        "all done",
        seen(keys=(key(OURS),), journal=journal(DELIVERED), stage=Held(OURS, None), second=Held(OURS, None)),
        acts.Done(OURS),
    ),
    (
        "a target lost the key",
        seen(keys=(key(OURS),), journal=journal(DELIVERED), stage=Held(OURS, None)),
        acts.Deliver(OURS, (SECOND,)),
    ),
    (
        "the stage lost the key",
        seen(keys=(key(OURS),), journal=journal(DELIVERED), second=Held(OURS, None)),
        acts.RecordIntent("repair"),
    ),
    (
        "the stage lost the key before everything was recorded, but a target has it",
        seen(
            keys=(key(OURS),),
            journal=journal(record(OURS, "verified", delivered=(SECOND,)), intent=intent()),
            second=Held(OURS, None),
        ),
        acts.Settle(OURS),
    ),
    (
        "the stage lost the key before everything was recorded, and a target has the key before it",
        seen(
            keys=(key(OURS), key(OTHER)),
            journal=journal(
                record(OURS, "verified", delivered=(STAGE,)),
                record(OTHER, "delivered", delivered=BOTH, intent="1" * 32),
                intent=intent(OTHER),
            ),
            second=Held(OTHER, None),
        ),
        acts.SetAside(OURS),
    ),
    (
        "the stage lost the key before everything was recorded, and no place has the key before it either",
        seen(
            keys=(key(OURS), key(OTHER)),
            journal=journal(
                record(OURS, "verified", delivered=(STAGE,)),
                record(OTHER, "delivered", delivered=BOTH, intent="1" * 32),
                intent=intent(OTHER),
            ),
        ),
        acts.Settle(OURS),
    ),
    (
        "a key that IAM no longer has",
        seen(journal=journal(DELIVERED), stage=Held(OURS, None)),
        acts.Forget(OURS),
    ),
    (
        "a pending copy of a key that nobody knows",
        seen(keys=(key(OURS),), journal=journal(DELIVERED), stage=Held(OURS, OTHER), second=Held(OURS, None)),
        acts.DiscardStaged(OTHER),
    ),
]


@pytest.mark.parametrize(("observation", "action"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE])
def test_the_next_action_follows_from_what_is_observed(observation: Observation, action: acts.Action) -> None:
    assert decide(observation) == action


STOPS = [
    ("a key that nobody journalled", seen(keys=(key(OTHER),))),
    ("ours and one that nobody journalled", seen(keys=(key(OURS), key(OTHER)), journal=journal(DELIVERED))),
    (
        "a stranger next to an intent, in doubt",
        seen(keys=(key(OTHER),), journal=journal(intent=intent(run="earlier")), doubts={OTHER: "it was used"}),
    ),
    (
        "a stranger that was there before the intent",
        seen(keys=(key(OTHER),), journal=journal(intent=intent(OTHER, run="earlier")), doubts={OTHER: None}),
    ),
    (
        "two strangers, neither doubted",
        seen(
            keys=(key(OURS), key(OTHER)),
            journal=journal(intent=intent(run="earlier")),
            doubts={OURS: None, OTHER: None},
        ),
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
    assert isinstance(decide(observation), acts.Stop)


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
        for action in (decide(observation), decide(observation, Remove())):
            assert isinstance(action, get_args(acts.Action))
            if isinstance(action, acts.DeleteOrphan | acts.Delete | acts.Deactivate):
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
        if isinstance(action, acts.DeleteOrphan) and action.key_id in observation.journal.keys:
            assert not observation.journal.keys[action.key_id].delivered


def test_a_key_is_minted_only_under_an_intent_of_this_run_that_has_no_key() -> None:
    for observation in every_observation():
        if isinstance(decide(observation), acts.Mint):
            stands = observation.journal.intent
            assert stands is not None
            assert stands.run == observation.run
            assert not [k for k in observation.keys if k.id not in observation.journal.keys]
            assert all(r.intent != stands.id for r in observation.journal.keys.values())


def test_a_new_intent_is_recorded_only_where_iam_has_room_for_its_key() -> None:
    for observation in every_observation():
        if isinstance(decide(observation), acts.RecordIntent):
            assert len(observation.keys) < 2


def test_nothing_is_done_only_when_the_delivered_key_is_everywhere() -> None:
    for observation in every_observation():
        action = decide(observation)
        if isinstance(action, acts.Done):
            assert action.key_id is not None
            assert all(held.current == action.key_id for held in observation.held.values())
            assert action.key_id in {k.id for k in observation.keys if k.active}


GOALS: tuple[Goal, ...] = (
    Keep(),
    Rotate(),
    Rotate(force=True),
    Rotate(now=True),
    Rotate(force=True, now=True),
    Replace(),
    Redeliver((STAGE,)),
    Redeliver((STAGE, SECOND)),
    Remove(),
    Remove(leave_foreign=True, lift=False),
)
STATES = (None, "minted", "staged", "verified", "delivered", "grace", "inactive", "deleted")


def every_life() -> Iterator[Observation]:
    """Yield each combination of two keys in all of their states, with an intent, a deny, revoked keys, and a last use."""
    lives = [
        (),
        (key(OURS),),
        (key(OURS), key(OTHER)),
        (key(OURS, active=False), key(OTHER)),
        (key(OTHER, active=False),),
    ]
    others = (None, "delivered", "grace", "inactive", "deleted")
    intents = [None, intent(), replace(intent(OTHER, run="earlier"), reason="rotate")]
    holds = [Held(OURS, None), Held(None, OURS), Held(OTHER, None)]
    ways = [*((state, BOTH if state in LATE else ()) for state in STATES), ("verified", (STAGE,))]
    for live, (ours, reached), other, stands, stage in itertools.product(lives, ways, others, intents, holds):
        records = [record(OURS, ours, delivered=reached)] if ours else []
        records += [record(OTHER, other, delivered=BOTH, intent="1" * 32)] if other else []
        made = journal(*records, intent=stands)
        for deny, revoked, used in itertools.product(get_args(Deny), ((), (OURS,)), (LONG_AGO, NOW)):
            yield replace(
                seen(keys=live, journal=made.with_revoked(revoked), stage=stage, second=Held(OURS, None)),
                deny=deny,
                denied=revoked,
                doubts={OURS: None, OTHER: "a reason"},
                readable=frozenset({STAGE}),
                uses={OURS: LastUse(used, "s3", "eu-west-1"), OTHER: LastUse(used, "s3", "eu-west-1")},
                schedule=Rotation(
                    grace=dt.timedelta(hours=1), soak=dt.timedelta(hours=1), margin=dt.timedelta(hours=1)
                ),
            )


LATE = ("delivered", "grace", "inactive", "deleted")
ON_THE_WAY = (acts.Stage, acts.Verify, acts.Promote, acts.Deliver, acts.Settle)


def assert_a_fan_out(action: acts.Deliver, observation: Observation, goal: Goal) -> None:
    """See that a delivery names every place that is due, once, and that the stage is never one of those that wait for it."""
    assert len(set(action.targets)) == len(action.targets) > 0
    assert set(action.targets) <= set(observation.targets)
    if isinstance(goal, Redeliver) and action.targets == goal.targets:
        return
    without = {t for t, held in observation.held.items() if held != Held(action.key_id, None)}
    assert set(action.targets) in ({STAGE}, without - {STAGE})


def test_the_table_is_complete_for_every_goal_and_keeps_what_it_promises() -> None:
    count = 0
    for observation in every_life():
        records = observation.journal.keys
        active = {k.id for k in observation.keys if k.active}
        for goal in GOALS:
            count += 1
            action = decide(observation, goal)
            assert isinstance(action, get_args(acts.Action))
            key_id = str(getattr(action, "key_id", None))
            if observation.deny == "everything" and not isinstance(goal, Remove):
                assert isinstance(action, acts.Stop)
            if isinstance(action, ON_THE_WAY):
                assert key_id not in observation.revoked
            if isinstance(action, acts.Deactivate | acts.Delete | acts.DeleteOrphan) and key_id not in records:
                assert observation.journal.intent is not None
                assert observation.doubts[key_id] is None
            if isinstance(action, acts.Delete) and key_id in records and not isinstance(goal, Remove):
                assert records[key_id].state in ("inactive", "deleted")
            if isinstance(action, acts.Deactivate) and not isinstance(goal, Remove):
                assert isinstance(goal, Rotate)
                assert goal.now or key_id not in active or observation.uses[key_id].at == LONG_AGO
            if isinstance(action, acts.Mint | acts.RecordIntent):
                assert not isinstance(goal, Redeliver | Remove)
            if isinstance(action, acts.RecordIntent) and isinstance(goal, Rotate):
                assert any(r.state == "delivered" and r.id in active for r in records.values())
            if isinstance(action, acts.Reinstate):
                assert key_id in active
            if isinstance(action, acts.Deliver):
                assert_a_fan_out(action, observation, goal)
    assert count > 250_000


_STAYING = acts.Promote | acts.Deliver | acts.DiscardStaged | acts.Done


def test_every_change_of_state_is_a_step_of_the_documented_life_and_every_step_happens() -> None:
    happened: set[tuple[str, type[acts.Action]]] = {("intent", acts.Mint)}
    for observation in every_life():
        for goal in (Keep(), Rotate(), Rotate(force=True), Replace()):
            action = decide(observation, goal)
            moved = observation.journal.keys.get(getattr(action, "key_id", ""))
            if moved is not None and not isinstance(action, _STAYING):
                happened.add((moved.state, type(action)))
                if isinstance(action, acts.Settle):
                    happened |= {
                        (r.state, acts.Settle) for r in observation.journal.keys.values() if r.state == "delivered"
                    }
    documented = {(step.before, step.action) for step in LIFE}
    assert documented <= happened
    # `Retire` stands once for all states, a repeated deletion and a forgotten key change nothing about a life.
    extra = {pair for pair in happened - documented if not issubclass(pair[1], acts.Retire | acts.Forget | acts.Delete)}
    assert extra == set()
    for step in LIFE:
        if step.after not in ("forgotten", "minted") and step.action is not acts.Settle:
            assert state_after(step.action(OURS)) == step.after  # type: ignore[call-arg, arg-type]


def rotating(*, grace_since: dt.datetime, used: dt.datetime | None = None, **changes: object) -> Observation:
    old = replace(record(OTHER, "delivered", delivered=BOTH, intent="1" * 32), times={"minted": LONG_AGO})
    observation = seen(
        keys=(key(OURS), key(OTHER)),
        journal=journal(DELIVERED, old.entering("grace", grace_since)),
        stage=Held(OURS, None),
        second=Held(OURS, None),
    )
    observation = replace(observation, uses={OTHER: LastUse(used, "s3", "eu-west-1")})
    return replace(observation, **changes)  # type: ignore[arg-type]


DAY = dt.timedelta(days=1)


def test_an_old_key_stays_active_for_its_grace_and_as_long_as_somebody_uses_it() -> None:
    assert decide(rotating(grace_since=NOW - DAY + dt.timedelta(seconds=1)), Rotate()) == acts.Done(OURS)
    assert decide(rotating(grace_since=NOW - DAY), Rotate()) == acts.Deactivate(OTHER)
    within = rotating(grace_since=NOW - DAY, used=NOW - DAY + dt.timedelta(hours=6))
    assert decide(within, Rotate()) == acts.Deactivate(OTHER)
    later = rotating(grace_since=NOW - DAY, used=NOW - DAY + dt.timedelta(hours=6, seconds=1))
    assert decide(later, Rotate()) == acts.Done(OURS)
    assert decide(later, Rotate(now=True)) == acts.Deactivate(OTHER)
    assert decide(replace(later, uses={}), Rotate()) == acts.Done(OURS)


def test_an_old_key_stays_active_for_the_margin_if_that_is_longer_than_the_grace() -> None:
    schedule = Rotation(grace=dt.timedelta(0), margin=dt.timedelta(hours=6))
    within = rotating(grace_since=NOW - dt.timedelta(hours=6) + dt.timedelta(seconds=1), schedule=schedule)
    assert decide(within, Rotate()) == acts.Done(OURS)
    assert "in its grace until 2026-11-24T12:00:01" in old_keys(within)[0].why
    assert decide(rotating(grace_since=NOW - dt.timedelta(hours=6), schedule=schedule), Rotate()) == acts.Deactivate(
        OTHER
    )


def test_now_lists_every_key_that_it_makes_inactive() -> None:
    def ids(observation: Observation, goal: Rotate) -> list[str]:
        return [one.id for one in going(observation, goal)]

    under_way = rotating(grace_since=NOW - dt.timedelta(hours=1))
    assert ids(under_way, Rotate(now=True)) == [OTHER]
    assert ids(under_way, Rotate(now=True, force=True)) == [OTHER, OURS]
    due = replace(under_way, keys=(LiveKey(OURS, True, NOW - 60 * DAY), key(OTHER)))
    assert ids(due, Rotate(now=True)) == [OTHER, OURS]
    alone = seen(keys=(key(OURS),), journal=journal(DELIVERED), stage=Held(OURS, None), second=Held(OURS, None))
    assert ids(alone, Rotate(now=True)) == [OURS]
    interrupted = replace(alone, journal=alone.journal.with_key(record(OTHER, "verified", intent="1" * 32)))
    assert ids(interrupted, Rotate(now=True)) == [OURS]


def test_whoever_redelivers_finishes_no_delivery_to_a_place_that_nobody_was_asked_about() -> None:
    new, stands = "memory:new", intent(OURS, run="earlier")
    begun = record(OTHER, "verified", delivered=(STAGE,))
    observation = seen(
        keys=(key(OURS), key(OTHER)),
        journal=journal(replace(DELIVERED, intent="1" * 32), begun, intent=stands),
        stage=Held(OTHER, None),
        second=Held(OURS, None),
    )
    targets = (*observation.targets, new)
    observation = replace(observation, targets=targets, held={**observation.held, new: Held(None, None)})
    stop = decide(observation, Redeliver((SECOND,)))
    assert isinstance(stop, acts.Stop)
    assert (stop.runbook, new in stop.why) == ("new-target", True)
    assert isinstance(decide(observation, Redeliver((new,))), acts.Deliver)
    assert isinstance(decide(observation, Keep()), acts.Deliver)
    unnamed = replace(observation, journal=observation.journal.without_intent())
    assert isinstance(decide(unnamed, Redeliver((SECOND,))), acts.Stop)


def test_a_deploy_leaves_old_keys_alone() -> None:
    assert decide(rotating(grace_since=NOW - 100 * DAY), Keep()) == acts.Done(OURS)


def test_an_old_key_that_is_used_for_too_long_is_told_with_service_and_region_and_not_cut_off() -> None:
    late = rotating(grace_since=NOW - 20 * DAY, used=NOW - DAY)
    (old,) = old_keys(late)
    assert old.overdue
    assert "s3, eu-west-1" in old.why
    assert decide(late, Rotate()) == acts.Done(OURS)
    (recent,) = old_keys(rotating(grace_since=NOW - 3 * DAY, used=NOW - DAY))
    assert not recent.overdue


def test_an_inactive_key_is_deleted_when_it_has_soaked() -> None:
    observation = rotating(grace_since=NOW - 9 * DAY)
    inactive = observation.journal.keys[OTHER].entering("inactive", NOW - 7 * DAY)
    soaked = replace(
        observation,
        keys=(key(OURS), key(OTHER, active=False)),
        journal=observation.journal.with_key(inactive),
    )
    assert decide(soaked, Rotate()) == acts.Delete(OTHER)
    assert decide(replace(soaked, now=NOW - dt.timedelta(seconds=1)), Rotate()) == acts.Done(OURS)
    assert decide(replace(soaked, now=NOW - DAY), Rotate(now=True)) == acts.Delete(OTHER)
    assert decide(replace(soaked, keys=(key(OURS), key(OTHER))), Rotate()) == acts.Reinstate(OTHER)


def test_a_key_is_renewed_when_it_is_due_or_when_that_is_asked_for_and_once_in_a_run() -> None:
    fresh = seen(keys=(key(OURS),), journal=journal(DELIVERED), stage=Held(OURS, None), second=Held(OURS, None))
    assert decide(fresh, Rotate()) == acts.Done(OURS)
    assert decide(fresh, Rotate(force=True)) == acts.RecordIntent("rotate")
    assert decide(fresh, Rotate(now=True)) == acts.RecordIntent("rotate")
    assert decide(replace(fresh, renewed=True), Rotate(force=True)) == acts.Done(OURS)
    assert decide(replace(fresh, retired=True), Rotate(now=True)) == acts.Done(OURS)
    old = replace(fresh, keys=(LiveKey(OURS, True, NOW - 60 * DAY),))
    assert decide(old, Rotate()) == acts.RecordIntent("rotate")
    assert decide(old, Keep()) == acts.Done(OURS)


def test_a_rotation_that_died_is_finished_by_whatever_comes_next() -> None:
    stands = replace(intent(OURS, run="earlier"), reason="rotate")
    stands = replace(stands, id="2" * 32)
    died = seen(
        keys=(key(OURS),), journal=journal(DELIVERED, intent=stands), stage=Held(OURS, None), second=Held(OURS, None)
    )
    assert decide(died, Rotate()) == acts.RecordIntent("rotate")
    assert decide(died, Keep()) == acts.RecordIntent("rotate")
    assert decide(died, Replace()) == acts.DropIntent()


def test_a_rotation_never_makes_a_first_key_and_delivers_nowhere_new() -> None:
    assert decide(seen(), Rotate(force=True)) == acts.Done(None)
    stopped = decide(seen(journal=journal(intent=intent(run="earlier"))), Rotate(force=True))
    assert stopped == acts.DropIntent()
    elsewhere = replace(DELIVERED, delivered={STAGE: LONG_AGO})
    observation = seen(keys=(key(OURS),), journal=journal(elsewhere), stage=Held(OURS, None))
    stop = decide(observation, Rotate())
    assert isinstance(stop, acts.Stop)
    assert stop.runbook == "new-target"
    assert decide(observation, Keep()) == acts.Deliver(OURS, (SECOND,))


def test_a_stage_that_lost_a_key_on_its_way_gets_it_from_another_place_that_can_be_read_back() -> None:
    begun = record(OURS, "verified", delivered=BOTH)
    lost = seen(keys=(key(OURS),), journal=journal(begun, intent=intent()), second=Held(OURS, None))
    assert decide(lost) == acts.Settle(OURS)
    assert decide(replace(lost, readable=frozenset(BOTH))) == acts.Deliver(OURS, (STAGE,))


def test_places_that_the_file_no_longer_names_are_emptied_last_and_by_a_deploy_only() -> None:
    former = "aws-ssm:old"
    was_there = replace(DELIVERED, delivered={**DELIVERED.delivered, former: LONG_AGO})
    observation = seen(keys=(key(OURS),), journal=journal(was_there), stage=Held(OURS, None), second=Held(OURS, None))
    observation = replace(observation, former=(former,), held={**observation.held, former: Held(OURS, None)})
    assert decide(observation, Keep()) == acts.RemoveDelivered(former)
    assert decide(observation, Rotate()) == acts.Done(OURS)
    emptied = replace(observation, held={**observation.held, former: Held(None, None)})
    assert decide(emptied, Keep()) == acts.ForgetTarget(former)
    lost = replace(observation, held={**observation.held, SECOND: Held(None, None)})
    assert decide(lost, Keep()) == acts.Deliver(OURS, (SECOND,))


def test_a_new_stage_gets_the_key_from_the_one_before() -> None:
    former = "aws-ssm:old"
    was_there = replace(DELIVERED, delivered={former: LONG_AGO})
    observation = seen(keys=(key(OURS),), journal=journal(was_there))
    observation = replace(observation, former=(former,), held={**observation.held, former: Held(OURS, None)})
    assert decide(replace(observation, readable=frozenset({STAGE, former}))) == acts.Deliver(OURS, (STAGE,))
    assert decide(observation) == acts.RecordIntent("repair")


def test_a_revoked_key_is_retired_by_whoever_comes_first_and_deleted_when_its_deny_is_over() -> None:
    leaked = seen(keys=(key(OURS),), journal=journal(DELIVERED), stage=Held(OURS, None), second=Held(OURS, None))
    leaked = replace(leaked, deny="sessions", denied=(OURS,))
    for goal in (Keep(), Rotate(), Replace()):
        assert decide(leaked, goal) == acts.NoteRevoked((OURS,))
        noted = replace(leaked, journal=leaked.journal.with_revoked((OURS,)))
        assert decide(noted, goal) == acts.Retire(OURS)
    retired = journal(record(OURS, "inactive", delivered=BOTH)).with_revoked((OURS,))
    inactive = replace(leaked, keys=(key(OURS, active=False),), journal=retired)
    assert decide(inactive, Replace()) == acts.RecordIntent("replace")
    assert decide(inactive, Rotate(force=True)) == acts.Done(None)
    again = decide(replace(inactive, keys=(key(OURS),)), Rotate())
    assert again == acts.Retire(OURS)
    replaced = replace(
        inactive,
        keys=(key(OURS, active=False), key(OTHER)),
        journal=retired.with_key(record(OTHER, "delivered", delivered=BOTH, intent="1" * 32)),
        held={STAGE: Held(OTHER, None), SECOND: Held(OTHER, None)},
    )
    assert decide(replaced, Rotate()) == acts.Done(OTHER)
    assert decide(replace(replaced, deny="over"), Rotate()) == acts.Delete(OURS)
    gone = replace(replaced, deny="over", keys=(key(OTHER),), journal=replaced.journal.without_key(OURS))
    assert decide(gone, Keep()) == acts.LiftDeny()


def test_a_revoked_key_makes_room_for_the_next_one() -> None:
    both = journal(record(OURS, "inactive"), record(OTHER, "inactive", intent="1" * 32)).with_revoked((OURS, OTHER))
    full = seen(keys=(key(OURS, active=False), key(OTHER, active=False)), journal=both)
    assert isinstance(decide(full, Replace()), acts.Delete)


def test_foreign_keys_do_not_keep_a_leak_from_being_answered() -> None:
    leaked = journal(record(OURS, "inactive")).with_revoked((OURS,))
    observation = seen(keys=(key(OURS, active=False), key(OTHER)), journal=leaked)
    assert decide(observation, Replace()) == acts.Delete(OURS)
    assert isinstance(decide(observation, Keep()), acts.Stop)
    assert decide(observation, Remove(leave_foreign=True)) == acts.Delete(OURS)


def test_a_deleted_key_that_iam_still_lists_for_a_moment_is_nobody_elses() -> None:
    lately = record(OTHER, "delivered", intent="1" * 32).entering("deleted", NOW - dt.timedelta(seconds=5))
    observation = seen(
        keys=(key(OURS), key(OTHER)),
        journal=journal(DELIVERED, lately),
        stage=Held(OURS, None),
        second=Held(OURS, None),
    )
    assert decide(observation) == acts.Done(OURS)
    assert decide(replace(observation, now=NOW + dt.timedelta(minutes=5))) == acts.Delete(OTHER)
    unlisted = replace(observation, keys=(key(OURS),), now=NOW + dt.timedelta(minutes=5))
    assert decide(unlisted) == acts.Forget(OTHER)


def test_the_key_is_delivered_once_more_without_making_one() -> None:
    observation = seen(keys=(key(OURS),), journal=journal(DELIVERED), stage=Held(OURS, None))
    observation = replace(observation, readable=frozenset({STAGE}))
    assert decide(observation, Redeliver((SECOND,))) == acts.Deliver(OURS, (SECOND,))
    assert decide(replace(observation, redelivered=frozenset({SECOND})), Redeliver((SECOND,))) == acts.Done(OURS)
    lost = replace(observation, held={STAGE: Held(None, None), SECOND: Held(OURS, None)})
    assert isinstance(decide(lost, Redeliver((STAGE,))), acts.Stop)
    assert isinstance(decide(seen(), Redeliver((STAGE,))), acts.Stop)


def test_a_key_recorded_a_moment_ago_is_believed_although_iam_does_not_list_it() -> None:
    fresh = KeyRecord(OURS, INTENT, "staged", {"minted": NOW - dt.timedelta(seconds=5)}, {})
    observation = seen(journal=journal(fresh, intent=intent()), stage=Held(None, OURS))
    assert decide(observation) == acts.Verify(OURS)
    assert decide(replace(observation, now=NOW + dt.timedelta(minutes=5))) == acts.Forget(OURS)


def test_a_delivered_key_that_iam_does_not_list_for_a_moment_is_not_replaced() -> None:
    moment_ago = {"minted": NOW - dt.timedelta(seconds=5)}
    fresh = KeyRecord(OURS, INTENT, "delivered", moment_ago, dict.fromkeys(BOTH, NOW))
    assert decide(seen(journal=journal(fresh), stage=Held(OURS, None), second=Held(OURS, None))) == acts.Done(OURS)


def test_what_a_dead_run_asked_for_a_moment_ago_is_waited_for_before_another_key_is_made() -> None:
    stands = replace(intent(run="earlier"), at=NOW - dt.timedelta(seconds=2))
    observation = seen(journal=journal(intent=stands))
    assert decide(observation) == acts.Wait()
    assert decide(replace(observation, lag=dt.timedelta(0))) == acts.DropIntent()
    assert decide(replace(observation, now=NOW + dt.timedelta(minutes=5))) == acts.DropIntent()


def test_a_second_target_that_holds_both_copies_is_delivered_once_more() -> None:
    holding = seen(keys=(key(OURS),), journal=journal(DELIVERED), stage=Held(OURS, None), second=Held(OURS, OURS))
    assert decide(holding) == acts.Deliver(OURS, (SECOND,))


def test_removal_deactivates_then_deletes_then_takes_back_what_was_delivered() -> None:
    holding = Held(OURS, None)
    start = seen(keys=(key(OURS),), journal=journal(DELIVERED), stage=holding)
    assert decide(start, Remove()) == acts.Deactivate(OURS)
    assert decide(replace(start, keys=(key(OURS, active=False),)), Remove()) == acts.Delete(OURS)
    assert decide(replace(start, keys=()), Remove()) == acts.Forget(OURS)
    assert decide(replace(start, keys=(), journal=Journal()), Remove()) == acts.RemoveDelivered(STAGE)
    assert decide(seen(), Remove()) == acts.Done(None)


def test_removal_stops_before_it_touches_anything_when_there_is_a_foreign_key() -> None:
    assert isinstance(decide(seen(keys=(key(OURS), key(OTHER)), journal=journal(DELIVERED)), Remove()), acts.Stop)


def test_a_stage_that_was_lost_while_an_old_key_is_there_is_healed_by_a_rotation_that_moves_it_on() -> None:
    lost = rotating(grace_since=NOW - 3 * DAY, held={STAGE: Held(None, None), SECOND: Held(OURS, None)})
    assert decide(lost, Rotate()) == acts.Deactivate(OTHER)
    young = rotating(grace_since=NOW, held={STAGE: Held(None, None), SECOND: Held(OURS, None)})
    assert isinstance(decide(young, Rotate()), acts.Stop)
    assert decide(young, Rotate(now=True)) == acts.Deactivate(OTHER)


def test_an_interrupted_rotation_makes_no_key_that_a_new_place_would_then_refuse() -> None:
    stands = replace(intent(OURS, run="earlier"), reason="rotate", id="2" * 32)
    elsewhere = replace(DELIVERED, delivered={STAGE: LONG_AGO})
    observation = seen(keys=(key(OURS),), journal=journal(elsewhere, intent=stands), stage=Held(OURS, None))
    stop = decide(observation, Rotate())
    assert isinstance(stop, acts.Stop)
    assert stop.runbook == "new-target"


def test_a_list_that_still_shows_a_key_active_after_its_deactivation_is_not_taken_for_a_persons_act() -> None:
    moment_ago = NOW - dt.timedelta(seconds=5)
    observation = rotating(grace_since=NOW - 9 * DAY)
    deactivated = observation.journal.keys[OTHER].entering("inactive", moment_ago)
    stale = replace(observation, journal=observation.journal.with_key(deactivated))
    assert decide(stale, Rotate()) == acts.Done(OURS)
    assert decide(stale, Rotate(now=True)) == acts.Delete(OTHER)
    assert decide(replace(stale, now=NOW + dt.timedelta(minutes=2)), Rotate()) == acts.Reinstate(OTHER)
    assert decide(stale, Remove()) == acts.Deactivate(OURS)
    both = stale.journal.with_key(stale.journal.keys[OURS].entering("inactive", moment_ago))
    assert isinstance(decide(replace(stale, journal=both), Remove()), acts.Delete)
    revoked = replace(stale, journal=stale.journal.with_revoked((OTHER,)))
    assert decide(revoked, Rotate()) == acts.Done(OURS)
    assert decide(replace(revoked, now=NOW + dt.timedelta(minutes=2)), Rotate()) == acts.Retire(OTHER)


def test_a_list_that_still_shows_a_key_inactive_after_its_reactivation_deactivates_nothing() -> None:
    observation = rotating(grace_since=NOW - dt.timedelta(seconds=5))
    stale = replace(observation, keys=(key(OURS), key(OTHER, active=False)))
    assert decide(stale, Rotate()) == acts.Done(OURS)
    assert decide(replace(stale, now=NOW + dt.timedelta(minutes=2)), Rotate()) == acts.Deactivate(OTHER)


def test_all_places_that_are_due_are_named_at_once_in_the_order_of_the_file() -> None:
    third, fourth = "memory:third", "memory:fourth"
    some = seen(keys=(key(OURS),), journal=journal(DELIVERED), stage=Held(OURS, None))
    some = replace(some, targets=(third, STAGE, fourth, SECOND))
    some = replace(some, held={**some.held, third: Held(None, None, torn=True), fourth: Held(OURS, None)})
    assert decide(some) == acts.Deliver(OURS, (third, SECOND))
    behind = replace(some, readable=frozenset({STAGE}))
    assert decide(behind, Redeliver((fourth, SECOND, third))) == acts.Deliver(OURS, (fourth, SECOND, third))
    some_done = replace(behind, redelivered=frozenset({SECOND}))
    assert decide(some_done, Redeliver((fourth, SECOND, third))) == acts.Deliver(OURS, (fourth, third))

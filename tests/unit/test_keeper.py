"""Keys through faults: whatever call fails, before or after it took effect, the next run ends with one delivered key."""

from __future__ import annotations

import datetime as dt
import itertools
import threading

import pytest

from ci_user import rotation
from ci_user.backends.memory import MemoryBackend
from ci_user.backends.protocol import Held
from ci_user.environment_parts import Rotation
from ci_user.errors import AwsError, BackendError, CiUserError, KeyStateError, LeaseLostError
from ci_user.iam_user import LiveKey
from ci_user.key_actions import Action, LiftDeny
from ci_user.revocation import Revocation
from ci_user.secret import AccessKey, Secret
from tests.unit.key_world import START, Crash, Faults, Sts, World, assert_one_working_key, keeper


def test_the_first_key_is_made_staged_verified_and_delivered_once() -> None:
    world = World()
    kept = keeper(world).reach(rotation.Keep())
    assert kept.made
    assert kept.key_id == "AKIA0000000000000001"
    assert_one_working_key(world)
    again = keeper(world, run="run-2").reach(rotation.Keep())
    assert (again.made, again.changed, again.key_id) == (False, False, kept.key_id)
    assert world.made == 1


def calls_of_a_first_key() -> int:
    faults = Faults()
    keeper(World(), faults).reach(rotation.Keep())
    return faults.count


@pytest.mark.parametrize("readable", [False, True], ids=["write-only", "readable"])
@pytest.mark.parametrize("lag", [0, 60])
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("at", range(1, calls_of_a_first_key() + 1))
def test_a_run_that_dies_at_any_call_is_finished_by_the_next_one(
    at: int, after: bool, lag: int, readable: bool
) -> None:
    world = World(lag=dt.timedelta(seconds=lag), second=MemoryBackend(target="memory:second", readable=readable))
    with pytest.raises(Crash):
        keeper(world, Faults(at, after)).reach(rotation.Keep())
    assert len(world.keys) <= 1
    world.now += dt.timedelta(seconds=3)
    keeper(world, run="run-2").reach(rotation.Keep())
    assert_one_working_key(world)


def test_two_deaths_in_a_row_at_any_two_calls_leave_nothing_behind() -> None:
    total = calls_of_a_first_key()
    for first, second, after in itertools.product(range(1, total + 1), range(1, total + 3), (False, True)):
        world = World()
        with pytest.raises(Crash):
            keeper(world, Faults(first, after)).reach(rotation.Keep())
        try:
            keeper(world, Faults(second, not after), run="run-2").reach(rotation.Keep())
        except Crash:
            keeper(world, run="run-3").reach(rotation.Keep())
        assert_one_working_key(world)


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_a_removal_that_dies_at_any_call_is_finished_by_the_next_one(after: bool) -> None:
    faults = Faults()
    world = World()
    keeper(world).reach(rotation.Keep())
    keeper(world, faults, run="run-2").reach(rotation.Remove())
    for at in range(1, faults.count + 1):
        world = World()
        keeper(world).reach(rotation.Keep())
        with pytest.raises(Crash):
            keeper(world, Faults(at, after), run="run-2").reach(rotation.Remove())
        keeper(world, run="run-3").reach(rotation.Remove())
        assert not world.keys
        assert {record.state for record in world.journal.keys.values()} <= {"deleted"}
        assert world.stage.held().current is None
        assert world.second.held().current is None


def test_a_key_that_works_only_after_a_while_is_waited_for() -> None:
    world = World()
    keeper(world, sts=Sts(world, ignorant=7)).reach(rotation.Keep())
    assert_one_working_key(world)


def test_a_key_that_never_works_is_kept_in_the_stage_and_finished_later() -> None:
    world = World()
    with pytest.raises(KeyStateError, match="did not come to work"):
        keeper(world, sts=Sts(world, ignorant=10**9)).reach(rotation.Keep())
    assert world.stage.held().pending == "AKIA0000000000000001"
    assert world.stage.held().current is None
    keeper(world, run="run-2").reach(rotation.Keep())
    assert_one_working_key(world)
    assert world.made == 1


def test_a_key_that_turns_out_to_be_somebody_elses_is_not_delivered() -> None:
    world = World()
    with pytest.raises(KeyStateError, match="belongs to"):
        keeper(world, sts=Sts(world, arn="arn:aws:iam::000000000000:user/other")).reach(rotation.Keep())
    assert world.stage.held().current is None
    assert world.second.held().current is None


def foreign(world: World, *, created: dt.datetime, used: bool = False) -> str:
    key = LiveKey("AKIAFOREIGN000000001", True, created)
    world.keys[key.id] = key
    if used:
        world.used[key.id] = created
    return key.id


def dead_after_the_intent() -> World:
    world = World()
    with pytest.raises(Crash):
        keeper(world, Faults(1, after=True)).reach(rotation.Keep())
    assert world.journal.intent is not None
    return world


@pytest.mark.parametrize(
    ("created", "used", "forget_history"),
    [
        (dt.timedelta(hours=-1), False, False),
        (dt.timedelta(minutes=5), False, False),
        (dt.timedelta(seconds=1), True, False),
        (dt.timedelta(seconds=1), False, True),
    ],
    ids=["made before the intent", "made long after it", "used", "the history does not know the intent"],
)
def test_a_stranger_that_cannot_be_attributed_to_the_intent_is_never_deleted(
    created: dt.timedelta, used: bool, forget_history: bool
) -> None:
    world = dead_after_the_intent()
    key_id = foreign(world, created=START + created, used=used)
    if forget_history:
        world.history.clear()
    with pytest.raises(KeyStateError, match=key_id) as raised:
        keeper(world, run="run-2").reach(rotation.Keep())
    assert raised.value.runbook == "foreign-key"
    assert list(world.keys) == [key_id]
    assert world.keys[key_id].active


def test_a_stranger_next_to_a_delivered_key_stops_every_command_and_stays() -> None:
    world = World()
    keeper(world).reach(rotation.Keep())
    key_id = foreign(world, created=START)
    for goal in (rotation.Keep(), rotation.Rotate(force=True), rotation.Remove()):
        with pytest.raises(KeyStateError, match=key_id):
            keeper(world, run="run-2").reach(goal)
    assert len(world.keys) == 2
    assert all(key.active for key in world.keys.values())


def test_a_target_that_lost_the_key_gets_it_again_without_a_new_one() -> None:
    world = World()
    keeper(world).reach(rotation.Keep())
    world.second.remove()
    keeper(world, run="run-2").reach(rotation.Keep())
    assert_one_working_key(world)
    assert world.made == 1


def test_a_stage_that_lost_the_key_leads_to_a_new_key_and_the_old_one_stays_for_its_grace_period() -> None:
    world = World()
    keeper(world).reach(rotation.Keep())
    world.stage.remove()
    kept = keeper(world, run="run-2").reach(rotation.Keep())
    assert kept.key_id == "AKIA0000000000000002"
    assert world.stage.held().current == world.second.held().current == kept.key_id
    assert world.journal.keys["AKIA0000000000000001"].state == "grace"
    assert len(world.keys) == 2


def test_a_key_that_somebody_deleted_in_iam_is_replaced() -> None:
    world = World()
    keeper(world).reach(rotation.Keep())
    world.keys.clear()
    world.now += dt.timedelta(minutes=10)
    keeper(world, run="run-2").reach(rotation.Keep())
    assert_one_working_key(world)


def test_a_key_of_a_dead_run_that_iam_lists_late_is_found_before_another_one_is_made() -> None:
    world = dead_after_the_intent()
    late = world.mint()
    hidden = world.keys.pop(late.id)
    subject = keeper(world, run="run-2")

    def listed_later(seconds: float) -> None:
        world.pass_time(seconds)
        if world.made == 1 and world.now - START > dt.timedelta(seconds=30):
            world.keys.setdefault(late.id, hidden)

    subject._pause = listed_later
    subject.reach(rotation.Keep())
    assert late.id not in world.keys
    assert_one_working_key(world)


def test_a_second_target_that_can_be_read_back_takes_the_key_and_drops_a_stray_pending_one() -> None:
    world = World(second=MemoryBackend(target="memory:second", readable=True))
    world.second.stage(AccessKey("AKIASTRAY00000000001", Secret("stray")))
    keeper(world).reach(rotation.Keep())
    assert_one_working_key(world)


def test_a_removal_right_after_an_interrupted_deploy_leaves_no_key() -> None:
    world = World()
    with pytest.raises(KeyStateError):
        keeper(world, sts=Sts(world, ignorant=10**9)).reach(rotation.Keep())
    keeper(world, run="run-2").reach(rotation.Remove())
    assert not world.keys
    assert {record.state for record in world.journal.keys.values()} <= {"deleted"}


def test_a_failing_mint_is_not_tried_again_in_the_same_run() -> None:
    world = World()
    subject = keeper(world)
    calls: list[str] = []

    def refuse(intent_id: str) -> AccessKey:
        calls.append(intent_id)
        raise AwsError("the answer was lost")

    subject._user.create_key = refuse  # type: ignore[method-assign]
    with pytest.raises(CiUserError):
        subject.reach(rotation.Keep())
    assert len(calls) == 1


def test_what_happens_between_the_first_look_and_the_work_is_seen() -> None:
    """A person may take an hour to confirm, and Terraform minutes to apply."""
    world = World()
    keeper(world).reach(rotation.Keep())
    subject = keeper(world, run="run-2")
    subject.observe(rotation.Rotate(force=True))
    key_id = foreign(world, created=world.now, used=True)
    with pytest.raises(KeyStateError, match=key_id):
        subject.reach(rotation.Rotate(force=True))
    assert world.made == 1
    del world.keys[key_id]
    subject = keeper(world, run="run-3")
    subject.observe(rotation.Rotate(force=True))
    world.deny = Revocation((), None)
    with pytest.raises(KeyStateError, match="a revocation was begun"):
        subject.reach(rotation.Rotate(force=True))
    assert world.made == 1


def test_a_key_that_somebody_makes_just_before_the_intent_is_never_taken_for_the_intents_own() -> None:
    world = World()
    keeper(world).reach(rotation.Keep())
    subject = keeper(world, run="run-2")
    listing, looks = subject._user.access_keys, []

    def late() -> tuple[LiveKey, ...]:
        found = listing()
        looks.append(found)
        if len(looks) == 1:
            # It is made after the first look of the run, was never used, and is as young as the intent.
            foreign(world, created=world.now)
        return found

    subject._user.access_keys = late  # type: ignore[method-assign]
    with pytest.raises(KeyStateError, match="AKIAFOREIGN000000001"):
        subject.reach(rotation.Rotate(force=True))
    assert world.journal.intent is None
    assert world.keys["AKIAFOREIGN000000001"].active
    assert world.made == 1


def test_the_grace_of_the_old_key_counts_from_the_last_delivery_of_the_new_one() -> None:
    world = World()
    old = keeper(world).reach(rotation.Keep()).key_id
    assert old is not None
    world.pass_time(3600)
    subject = keeper(world, run="run-2")
    # Each act takes ten minutes.
    subject._tell = lambda _: world.pass_time(600)
    new = subject.reach(rotation.Rotate(force=True)).key_id
    assert new is not None
    delivered = world.journal.keys[new].delivered
    assert len(set(delivered.values())) == 2
    assert world.journal.keys[old].times["grace"] == max(delivered.values())
    assert world.journal.keys[old].times["grace"] < world.journal.keys[new].times["delivered"]


@pytest.mark.parametrize("goal", [rotation.Keep(), rotation.Rotate(force=True)], ids=["deploy", "rotate"])
def test_a_key_that_somebody_makes_between_intent_and_mint_is_never_deleted(goal: rotation.Goal) -> None:
    world = World()
    if isinstance(goal, rotation.Rotate):
        keeper(world).reach(rotation.Keep())
    subject = keeper(world, run="run-2")
    made = world.made

    def told(act: str) -> None:
        if act.startswith("journalled the intent"):
            # Unused, in the intent's time, and the only stranger: nothing but the run itself knows that it is not its own.
            foreign(world, created=world.now)

    subject._tell = told
    with pytest.raises(KeyStateError, match="AKIAFOREIGN000000001"):
        subject.reach(goal)
    # Nor does a later run take it for what an interrupted one has made.
    with pytest.raises(KeyStateError, match="AKIAFOREIGN000000001"):
        keeper(world, run="run-3").reach(goal)
    assert world.keys["AKIAFOREIGN000000001"].active
    assert world.made == made


class StaleList:
    """IAM's list as it was a moment ago: what this run switched off is shown as active for a while."""

    def __init__(self, world: World, seconds: float) -> None:
        self.world, self.seconds = world, seconds
        self.history: list[tuple[dt.datetime, tuple[LiveKey, ...]]] = []

    def access_keys(self) -> tuple[LiveKey, ...]:
        self.history.append((self.world.now, tuple(self.world.keys.values())))
        before = self.world.now - dt.timedelta(seconds=self.seconds)
        old = [keys for when, keys in self.history if when <= before]
        shown = {key.id: key for key in (old[-1] if old else self.history[0][1])}
        # Only what is said of a key is old: which keys there are is up to date.
        return tuple(shown.get(key.id, key) for key in self.world.keys.values())


@pytest.mark.parametrize("goal", [rotation.Rotate(now=True), rotation.Remove()], ids=["rotate --now", "destroy"])
def test_a_list_that_runs_behind_a_deactivation_keeps_no_run_from_its_end(goal: rotation.Goal) -> None:
    world = World()
    old = keeper(world).reach(rotation.Keep()).key_id
    world.pass_time(3600)
    subject = keeper(world, run="run-2")
    subject._user.access_keys = StaleList(world, 30).access_keys  # type: ignore[method-assign]
    kept = subject.reach(goal)
    assert old not in world.keys
    assert not any("somebody made it active" in act for act in kept.acts)
    assert len([act for act in kept.acts if act == f"deactivated {old}"]) == 1


def test_a_list_that_runs_behind_the_deactivation_of_a_revoked_key_is_no_new_act() -> None:
    world = World()
    leaked = keeper(world).reach(rotation.Keep()).key_id
    assert leaked is not None
    world.pass_time(3600)
    world.deny = Revocation((leaked,), world.now)
    subject = keeper(world, run="run-2")
    subject._user.access_keys = StaleList(world, 30).access_keys  # type: ignore[method-assign]
    kept = subject.reach(rotation.Replace())
    assert kept.made
    assert len([act for act in kept.acts if "which was revoked" in act]) == 1
    assert not world.keys[leaked].active


def test_waiting_for_a_late_list_may_take_as_long_as_the_longest_lag() -> None:
    world = dead_after_the_intent()
    world.lag = dt.timedelta(minutes=5)
    keeper(world, run="run-2").reach(rotation.Keep())
    assert world.now - START >= dt.timedelta(minutes=5)
    assert_one_working_key(world)


def test_a_wait_that_never_ends_is_given_up() -> None:
    world = dead_after_the_intent()
    subject = keeper(world, run="run-2")
    subject._pause = lambda _: None
    with pytest.raises(KeyStateError, match="do not settle"):
        subject.reach(rotation.Keep())


def moved() -> World:
    """A world whose environment file no longer names a place that holds the key."""
    world = World()
    world.others.append(MemoryBackend(target="memory:former", readable=False))
    keeper(world).reach(rotation.Keep())
    world.former, world.others = world.others, []
    world.trail.clear()
    return world


def test_a_place_that_was_taken_out_is_emptied_and_told_as_such() -> None:
    world = moved()
    kept = keeper(world, run="run-2").reach(rotation.Keep())
    assert kept.removed == ("memory:former",)
    assert "removed what was delivered to memory:former" in kept.acts
    assert ("RemoveDelivered", (), ("memory:former",), "done") in world.trail
    assert "memory:former" not in world.journal.targets
    assert world.former[0].held().current is None


def test_a_place_that_was_taken_out_and_refuses_is_not_told_to_be_emptied() -> None:
    world = moved()
    world.former[0].failing.add("remove")
    told: list[str] = []
    subject = keeper(world, run="run-2")
    subject._tell = told.append
    kept = subject.reach(rotation.Keep())
    assert (kept.removed, kept.acts, kept.changed, told) == ((), (), False, [])
    assert world.trail == [("RemoveDelivered", (), ("memory:former",), "failed: remove was told to fail")]
    assert "memory:former" in world.journal.targets
    assert "remove was told to fail" in subject.former_notes()[0]


def test_a_place_that_was_taken_out_and_changed_by_somebody_is_not_forgotten_as_empty() -> None:
    world = moved()
    world.former[0].write_foreign()
    subject = keeper(world, run="run-2")
    kept = subject.reach(rotation.Keep())
    assert kept.acts == ()
    assert "memory:former" in world.journal.targets
    assert "changed" in subject.former_notes()[0]
    assert [(act, result[:7]) for act, _, _, result in world.trail] == [("ForgetTarget", "failed:")]


def over(world: World, key_id: str) -> Revocation:
    """Return a deny under which no session can be alive any more, as of now."""
    return Revocation((key_id,), world.now - dt.timedelta(hours=37))


def test_a_deny_that_another_revocation_put_there_meanwhile_stays() -> None:
    world = World()
    keeper(world).reach(rotation.Keep())
    world.deny = over(world, "AKIALEAKED0000000001")
    subject = keeper(world, run="run-2")
    another = Revocation(("AKIALEAKED0000000001",), world.now)
    begin = subject._view.forget

    def late(action: Action, stage: str) -> None:
        begin(action, stage)
        if isinstance(action, LiftDeny):
            # After the look that found the old one over, and before that one is taken off.
            world.deny = another

    subject._view.forget = late  # type: ignore[method-assign]
    kept = subject.reach(rotation.Keep())
    assert world.deny == another
    assert not [act for act in kept.acts if "took the deny" in act]
    assert [one[3][:7] for one in world.trail if one[0] == "LiftDeny"] == ["failed:"]


def test_a_deny_that_is_over_is_taken_off_and_told() -> None:
    world = World()
    keeper(world).reach(rotation.Keep())
    world.deny = over(world, "AKIALEAKED0000000001")
    kept = keeper(world, run="run-2").reach(rotation.Keep())
    assert world.deny is None
    assert "took the deny of the revocation off shop-sandbox.ci" in kept.acts
    assert ("LiftDeny", (), (), "done") in world.trail


def test_a_revoked_key_that_somebody_made_active_again_moves_the_cut_off() -> None:
    world = World()
    leaked = keeper(world).reach(rotation.Keep()).key_id
    assert leaked is not None
    world.deny = Revocation((leaked,), world.now)
    keeper(world, run="run-2").reach(rotation.Replace())
    assert world.deny.cutoff == START
    world.pass_time(3600)
    world.switch(leaked, active=True)
    keeper(world, run="run-3").reach(rotation.Keep())
    assert not world.keys[leaked].active
    assert world.deny == Revocation((leaked,), world.now + dt.timedelta(seconds=60))


def test_a_revoked_key_that_was_active_all_the_time_leaves_the_cut_off() -> None:
    world = World()
    leaked = keeper(world).reach(rotation.Keep()).key_id
    assert leaked is not None
    world.deny = Revocation((leaked,), world.now)
    keeper(world, run="run-2").reach(rotation.Replace())
    assert world.deny == Revocation((leaked,), START)


class Unfenced:
    """IAM without the lease's fence, as the way back of a reactivation uses it."""

    def __init__(self, access: Sts, name: str) -> None:
        self.world = access.world

    def deactivate_key(self, key_id: str) -> None:
        self.world.switch(key_id, active=False)


def rotated(monkeypatch: pytest.MonkeyPatch) -> tuple[World, str]:
    """Return a world with an old key in its grace, and its id."""
    monkeypatch.setattr("ci_user.keeper.IamUser", Unfenced)
    world = World(schedule=Rotation(grace=dt.timedelta(hours=1), margin=dt.timedelta(0)))
    old = keeper(world).reach(rotation.Keep()).key_id
    assert old is not None
    keeper(world, run="run-2").reach(rotation.Rotate(force=True))
    world.trail.clear()
    return world, old


@pytest.mark.parametrize(
    "by_hand", [True, False], ids=["switched off by hand in its grace", "deactivated by a rotation"]
)
def test_the_grace_of_a_key_that_is_made_active_again_begins_anew(
    monkeypatch: pytest.MonkeyPatch, by_hand: bool
) -> None:
    world, old = rotated(monkeypatch)
    world.pass_time(7200)
    if by_hand:
        world.switch(old, active=False)
    else:
        keeper(world, run="run-3").reach(rotation.Rotate())
    world.pass_time(7200)
    assert not world.keys[old].active
    assert keeper(world, run="run-4").reactivate(old) == "grace"
    assert world.keys[old].active
    record = world.journal.keys[old]
    assert (record.state, record.times["grace"]) == ("grace", world.now)
    world.pass_time(3599)
    keeper(world, run="run-5").reach(rotation.Rotate())
    assert world.keys[old].active


def test_a_delivered_key_that_is_made_active_again_stays_the_delivered_one(monkeypatch: pytest.MonkeyPatch) -> None:
    world, _ = rotated(monkeypatch)
    current = world.stage.held().current
    assert current is not None
    world.switch(current, active=False)
    assert keeper(world, run="run-3").reactivate(current) == "delivered"
    assert world.keys[current].active


@pytest.mark.parametrize("when", ["before", "while", "it cannot be asked"])
def test_a_key_that_is_revoked_while_it_is_made_active_again_goes_back_to_inactive(
    monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    world, old = rotated(monkeypatch)
    world.switch(old, active=False)
    subject = keeper(world, run="run-3")
    activate = subject._user.activate_key

    def revoked_meanwhile(key_id: str) -> None:
        activate(key_id)
        world.deny = Revocation((key_id,), None)

    def broken(key_id: str) -> None:
        activate(key_id)
        raise AwsError("the answer was lost")

    if when == "before":
        world.deny = Revocation((old,), world.now)
    else:
        act = revoked_meanwhile if when == "while" else broken
        subject._user.activate_key = act  # type: ignore[method-assign]
    with pytest.raises(CiUserError) as caught:
        subject.reactivate(old)
    assert not world.keys[old].active
    assert world.journal.keys[old].state == "grace"
    if when != "before":
        assert [one[0::3] for one in world.trail] == [
            ("Reactivate", f"failed: {caught.value.what}"),
            ("Deactivate", "done"),
        ]


def test_a_way_back_that_fails_too_is_in_the_trail(monkeypatch: pytest.MonkeyPatch) -> None:
    world, old = rotated(monkeypatch)
    world.switch(old, active=False)

    def refused(self: Unfenced, key_id: str) -> None:
        raise AwsError("AWS is away")

    monkeypatch.setattr(Unfenced, "deactivate_key", refused)
    subject = keeper(world, run="run-3")

    def revoked_meanwhile(key_id: str) -> None:
        world.deny = Revocation((key_id,), None)

    subject._user.activate_key = revoked_meanwhile  # type: ignore[method-assign]
    with pytest.raises(AwsError, match="AWS is away"):
        subject.reactivate(old)
    assert world.trail[-1] == ("Deactivate", (old,), (), "failed: AWS is away")


def lost_on_the_way() -> tuple[World, str, str]:
    """Return a world whose stage lost the new key right after it was promoted there, and the ids of both keys."""
    world = World(schedule=Rotation(grace=dt.timedelta(hours=1), margin=dt.timedelta(0), soak=dt.timedelta(hours=1)))
    world.others.append(MemoryBackend(target="memory:third", readable=False))
    old = keeper(world).reach(rotation.Keep()).key_id
    world.second.failing.add("deliver")
    with pytest.raises(BackendError):
        keeper(world, run="run-2").reach(rotation.Rotate(force=True))
    world.second.failing.clear()
    new = world.stage.held().current
    world.stage.remove()
    assert old is not None
    assert new is not None
    return world, old, new


def test_a_key_whose_stage_is_lost_on_the_way_is_not_settled_as_delivered_to_places_that_never_got_it() -> None:
    world, old, new = lost_on_the_way()
    with pytest.raises(KeyStateError) as raised:
        keeper(world, run="run-3").reach(rotation.Keep())
    assert raised.value.runbook == "two-keys"
    records = world.journal.keys
    assert (records[old].state, records[new].state) == ("delivered", "grace")
    assert "memory:second" not in records[new].delivered
    assert world.second.held().current == old
    assert world.keys[old].active
    world.pass_time(7200)
    with pytest.raises(KeyStateError):
        keeper(world, run="run-4").reach(rotation.Rotate())
    world.pass_time(7200)
    # The key that got stuck makes room, and the stage is repaired with a third one.
    kept = keeper(world, run="run-5").reach(rotation.Rotate())
    assert kept.made
    assert new not in world.keys
    assert {place.held().current for place in world.places} == {kept.key_id}
    assert world.journal.keys[old].state == "grace"


class Meeting(MemoryBackend):
    """A place whose deliveries wait for those of the others: they come to an end only side by side."""

    def __init__(self, target: str, together: threading.Barrier) -> None:
        super().__init__(target=target, readable=False)
        self.together = together

    def deliver(self, key: AccessKey) -> None:
        self.together.wait(30)
        super().deliver(key)

    def held(self) -> Held:
        self.together.wait(30)
        return super().held()

    def preflight(self) -> tuple[str, ...]:
        self.together.wait(30)
        return ()


def test_places_are_written_and_looked_into_side_by_side_once_the_stage_has_the_key() -> None:
    together = threading.Barrier(7)
    world = World(second=Meeting("memory:second", together))
    world.others += [Meeting(f"memory:{n}", together) for n in range(6)]
    # The stage, which does not wait for the others, is the first of eight.
    subject = keeper(world)
    subject.preflight()
    kept = subject.reach(rotation.Keep())
    assert [act for act in kept.acts if act.startswith("delivered")] == [
        f"delivered {kept.key_id} to memory:stage",
        f"delivered {kept.key_id} to memory:second, " + ", ".join(f"memory:{n}" for n in range(6)),
    ]
    assert {place.consumed for place in world.places} == {world.stage.consumed}
    assert kept.key_id is not None
    assert set(world.journal.keys[kept.key_id].delivered) == {place.target for place in world.places}


def test_the_key_is_read_back_once_for_all_places() -> None:
    world = World(others=[MemoryBackend(target=f"memory:{n}", readable=False) for n in range(6)])
    keeper(world).reach(rotation.Keep())
    # Once to verify it, once to deliver it.
    assert world.stage.calls.count("read_staged") == 2


def three_more() -> World:
    return World(others=[MemoryBackend(target=f"memory:{n}", readable=False) for n in range(3)])


def test_one_place_that_fails_keeps_no_other_from_the_key_nor_from_the_journal() -> None:
    world = three_more()
    world.others[1].failing.add("deliver")
    told: list[str] = []
    subject = keeper(world)
    subject._tell = told.append
    with pytest.raises(BackendError, match="deliver was told to fail") as caught:
        subject.reach(rotation.Keep())
    assert caught.value.where == "memory:1"
    arrived = ("memory:second", "memory:0", "memory:2")
    (record,) = world.journal.keys.values()
    assert set(record.delivered) == {"memory:stage", *arrived}
    assert record.state == "verified"
    assert told[-1] == f"delivered {record.id} to {', '.join(arrived)}"
    assert world.trail[-2:] == [
        ("Deliver", (record.id,), ("memory:1",), "failed: deliver was told to fail"),
        ("Deliver", (record.id,), arrived, "done"),
    ]
    world.others[1].failing.clear()
    kept = keeper(world, run="run-2").reach(rotation.Keep())
    assert f"delivered {record.id} to memory:1" in kept.acts
    assert [place.calls.count("deliver") for place in world.others] == [1, 2, 1]
    assert_one_working_key(world)


def test_all_places_that_fail_are_named_in_one_error_and_each_is_in_the_trail() -> None:
    world = three_more()
    for place in (world.others[0], world.others[2]):
        place.failing.add("deliver")
    with pytest.raises(BackendError) as caught:
        keeper(world).reach(rotation.Keep())
    assert caught.value.what.split("\n") == [
        "2 places did not take the key:",
        "    memory:0: deliver was told to fail",
        "    memory:2: deliver was told to fail",
    ]
    assert set(caught.value.details["places"]) == {"memory:0", "memory:2"}
    failed = [targets for act, _, targets, result in world.trail if act == "Deliver" and result != "done"]
    assert failed == [("memory:0",), ("memory:2",)]


def test_the_first_place_in_the_files_order_that_cannot_be_looked_into_or_take_a_key_is_named() -> None:
    world = three_more()
    for place in (world.others[2], world.others[0]):
        place.failing |= {"held", "preflight"}
    subject = keeper(world)
    for look in (subject.preflight, subject.observe):
        with pytest.raises(BackendError) as caught:
            look()
        assert caught.value.where == "memory:0"
    assert list(keeper(three_more()).observe().held) == [
        "memory:stage",
        "memory:second",
        *(f"memory:{n}" for n in range(3)),
    ]


def test_a_lease_that_is_lost_meanwhile_lets_no_further_delivery_begin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ci_user.keeper.DELIVERIES_AT_ONCE", 1)
    world = three_more()
    subject = keeper(world)
    deliver = world.second.deliver

    def lost() -> None:
        raise LeaseLostError("this run no longer holds the environment")

    def last(key: AccessKey) -> None:
        deliver(key)
        subject._lease.check = lost  # type: ignore[method-assign]

    world.second.deliver = last  # type: ignore[method-assign]
    with pytest.raises(LeaseLostError):
        subject.reach(rotation.Keep())
    assert [place.consumed is not None for place in world.places] == [True, True, False, False, False]
    assert [place.calls.count("deliver") for place in world.others] == [0, 0, 0]


def test_what_arrived_before_ctrl_c_is_journalled(monkeypatch: pytest.MonkeyPatch) -> None:
    arrived = threading.Event()
    world = three_more()
    deliver = world.second.deliver

    def first(key: AccessKey) -> None:
        deliver(key)
        arrived.set()

    def ctrl_c(_: object) -> None:
        assert arrived.wait(30)
        raise KeyboardInterrupt

    subject = keeper(world)
    begin = subject._read_back

    def read_back(seen: rotation.Observation, key_id: str) -> AccessKey:
        monkeypatch.setattr("ci_user.side_by_side.wait", ctrl_c)
        return begin(seen, key_id)

    world.second.deliver = first  # type: ignore[method-assign]
    subject._read_back = read_back  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        subject.reach(rotation.Keep())
    (record,) = world.journal.keys.values()
    assert "memory:second" in record.delivered
    assert set(record.delivered) == {place.target for place in world.places if place.consumed is not None}


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_a_run_that_dies_among_many_places_is_finished_by_the_next_one(after: bool) -> None:
    faults = Faults()
    keeper(three_more(), faults).reach(rotation.Keep())
    for at in range(1, faults.count + 1):
        world = three_more()
        with pytest.raises(Crash):
            keeper(world, Faults(at, after)).reach(rotation.Keep())
        world.now += dt.timedelta(seconds=3)
        keeper(world, run="run-2").reach(rotation.Keep())
        assert_one_working_key(world)

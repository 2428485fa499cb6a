"""Keys through faults: whatever call fails, before or after it took effect, the next run ends with one delivered key."""

from __future__ import annotations

import datetime as dt
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from ci_user.backends.memory import MemoryBackend
from ci_user.credentials import Caller
from ci_user.environment import Verification
from ci_user.errors import AwsError, CiUserError, CredentialsError, KeyStateError
from ci_user.iam_user import LastUse, LiveKey
from ci_user.journal import Intent, Journal
from ci_user.keeper import KeyKeeper
from ci_user.secret import AccessKey, Secret

START = dt.datetime(2026, 11, 24, 12, tzinfo=dt.UTC)
USER_ARN = "arn:aws:iam::000000000000:user/shop-sandbox.ci"


class Crash(BaseException):
    """The process dies: nothing of the tool may catch it."""


@dataclass
class Faults:
    """Counts the calls that leave the process, and kills it at one of them, before or after the call took effect."""

    at: int | None = None
    after: bool = False
    count: int = 0

    def call(self, effect: Callable[[], Any]) -> Any:
        self.count += 1
        if self.count == self.at and not self.after:
            raise Crash
        result = effect()
        if self.count == self.at:
            raise Crash
        return result


@dataclass
class World:
    """What outlives a process: IAM, the backends, the journal and its history."""

    keys: dict[str, LiveKey] = field(default_factory=dict)
    secrets: dict[str, Secret] = field(default_factory=dict)
    used: dict[str, dt.datetime] = field(default_factory=dict)
    journal: Journal = field(default_factory=Journal)
    history: list[Journal] = field(default_factory=list)
    tags: dict[str, str] = field(default_factory=dict)
    now: dt.datetime = START
    made: int = 0
    lag: dt.timedelta = dt.timedelta(seconds=60)
    stage: MemoryBackend = field(default_factory=lambda: MemoryBackend(target="memory:stage", readable=True))
    second: MemoryBackend = field(default_factory=lambda: MemoryBackend(target="memory:second", readable=False))

    def pass_time(self, seconds: float) -> None:
        self.now += dt.timedelta(seconds=seconds)

    def mint(self) -> AccessKey:
        if len(self.keys) >= 2:
            raise KeyStateError("LimitExceeded")
        self.made += 1
        made = AccessKey(f"AKIA{self.made:016d}", Secret(f"secret-{self.made:040d}"))
        self.keys[made.id] = LiveKey(made.id, True, self.now)
        self.secrets[made.id] = made.secret
        return made


class Iam:
    name = "shop-sandbox.ci"

    def __init__(self, world: World, faults: Faults) -> None:
        self.world, self.faults = world, faults

    def keys(self) -> tuple[LiveKey, ...]:
        return tuple(self.world.keys.values())

    def last_use(self, key_id: str) -> LastUse:
        return LastUse(self.world.used.get(key_id), "s3", "eu-west-1")

    def create_key(self, intent_id: str) -> AccessKey:
        assert self.world.journal.intent is not None
        assert self.world.journal.intent.id == intent_id
        key: AccessKey = self.faults.call(self.world.mint)
        return key

    def deactivate_key(self, key_id: str) -> None:
        def effect() -> None:
            old = self.world.keys[key_id]
            self.world.keys[key_id] = LiveKey(old.id, False, old.created)

        self.faults.call(effect)

    def delete_key(self, key_id: str) -> None:
        self.faults.call(lambda: self.world.keys.pop(key_id, None))

    def mirror(self, facts: dict[str, str]) -> None:
        self.faults.call(lambda: self.world.tags.update(facts))


class HeldLease:
    def __init__(self, world: World, faults: Faults, run: str) -> None:
        self.world, self.faults, self.run = world, faults, run

    @property
    def journal(self) -> Journal:
        return self.world.journal

    def record(self, journal: Journal) -> None:
        def effect() -> None:
            self.world.journal = journal
            self.world.history.append(journal)

        self.faults.call(effect)

    def check(self) -> None:
        return None

    def now(self) -> dt.datetime:
        return self.world.now

    def confirm_intent(self, intent_id: str) -> Intent | None:
        found = [j.intent for j in self.world.history if j.intent is not None and j.intent.id == intent_id]
        return found[0] if found else None


class FaultyBackend:
    def __init__(self, backend: MemoryBackend, faults: Faults) -> None:
        self.backend, self.faults = backend, faults

    def __getattr__(self, name: str) -> Any:
        value = getattr(self.backend, name)
        if name not in ("stage", "promote", "deliver", "discard_staged", "remove"):
            return value
        return lambda *arguments: self.faults.call(lambda: value(*arguments))


class Sts:
    """Knows exactly the keys that are active in IAM, and their secrets."""

    account_id = "000000000000"

    def __init__(self, world: World, *, ignorant: int = 0, arn: str = USER_ARN) -> None:
        self.world, self.ignorant, self.arn = world, ignorant, arn

    def with_key(self, key_id: str, secret: Secret) -> Sts:
        self.key_id, self.secret = key_id, secret
        return self

    def caller(self) -> Caller:
        if self.ignorant > 0:
            self.ignorant -= 1
            raise CredentialsError("InvalidClientTokenId")
        key = self.world.keys.get(self.key_id)
        if key is None or not key.active or self.world.secrets[self.key_id] != self.secret:
            raise CredentialsError("InvalidClientTokenId")
        return Caller(self.arn, "000000000000")


def keeper(world: World, faults: Faults | None = None, *, run: str = "run-1", sts: Sts | None = None) -> KeyKeeper:
    faults = faults or Faults()
    return KeyKeeper(
        user=Iam(world, faults),  # type: ignore[arg-type]
        access=sts or Sts(world),  # type: ignore[arg-type]
        backends=[FaultyBackend(world.stage, faults), FaultyBackend(world.second, faults)],
        lease=HeldLease(world, faults, run),
        verification=Verification(
            successes=3, interval=dt.timedelta(milliseconds=1), deadline=dt.timedelta(seconds=1), lag=world.lag
        ),
        user_arn=USER_ARN,
        pause=world.pass_time,
    )


def assert_one_working_key(world: World) -> None:
    assert len(world.keys) == 1
    (key,) = world.keys.values()
    assert key.active
    for backend in (world.stage, world.second):
        assert backend.held().current == key.id
        assert backend.held().pending is None
    held = world.stage.read_staged(key.id)
    assert held is not None
    assert held.secret == world.secrets[key.id]
    assert world.journal.intent is None
    assert list(world.journal.keys) == [key.id]
    assert world.journal.keys[key.id].state == "delivered"
    assert world.tags["key"] == key.id


def test_the_first_key_is_made_staged_verified_and_delivered_once() -> None:
    world = World()
    kept = keeper(world).keep()
    assert kept.made
    assert kept.key_id == "AKIA0000000000000001"
    assert_one_working_key(world)
    again = keeper(world, run="run-2").keep()
    assert (again.made, again.changed, again.key_id) == (False, False, kept.key_id)
    assert world.made == 1


def calls_of_a_first_key() -> int:
    faults = Faults()
    keeper(World(), faults).keep()
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
        keeper(world, Faults(at, after)).keep()
    assert len(world.keys) <= 1
    world.now += dt.timedelta(seconds=3)
    keeper(world, run="run-2").keep()
    assert_one_working_key(world)


def test_two_deaths_in_a_row_at_any_two_calls_leave_nothing_behind() -> None:
    total = calls_of_a_first_key()
    for first, second, after in itertools.product(range(1, total + 1), range(1, total + 3), (False, True)):
        world = World()
        with pytest.raises(Crash):
            keeper(world, Faults(first, after)).keep()
        try:
            keeper(world, Faults(second, not after), run="run-2").keep()
        except Crash:
            keeper(world, run="run-3").keep()
        assert_one_working_key(world)


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_a_removal_that_dies_at_any_call_is_finished_by_the_next_one(after: bool) -> None:
    faults = Faults()
    world = World()
    keeper(world).keep()
    keeper(world, faults, run="run-2").remove()
    for at in range(1, faults.count + 1):
        world = World()
        keeper(world).keep()
        with pytest.raises(Crash):
            keeper(world, Faults(at, after), run="run-2").remove()
        keeper(world, run="run-3").remove()
        assert not world.keys
        assert not world.journal.keys
        assert world.stage.held().current is None
        assert world.second.held().current is None


def test_a_key_that_works_only_after_a_while_is_waited_for() -> None:
    world = World()
    keeper(world, sts=Sts(world, ignorant=7)).keep()
    assert_one_working_key(world)


def test_a_key_that_never_works_is_kept_in_the_stage_and_finished_later() -> None:
    world = World()
    with pytest.raises(KeyStateError, match="did not come to work"):
        keeper(world, sts=Sts(world, ignorant=10**9)).keep()
    assert world.stage.held().pending == "AKIA0000000000000001"
    assert world.stage.held().current is None
    keeper(world, run="run-2").keep()
    assert_one_working_key(world)
    assert world.made == 1


def test_a_key_that_turns_out_to_be_somebody_elses_is_not_delivered() -> None:
    world = World()
    with pytest.raises(KeyStateError, match="belongs to"):
        keeper(world, sts=Sts(world, arn="arn:aws:iam::000000000000:user/other")).keep()
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
        keeper(world, Faults(1, after=True)).keep()
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
        keeper(world, run="run-2").keep()
    assert raised.value.runbook == "foreign-key"
    assert list(world.keys) == [key_id]
    assert world.keys[key_id].active


def test_a_stranger_next_to_a_delivered_key_stops_every_command_and_stays() -> None:
    world = World()
    keeper(world).keep()
    key_id = foreign(world, created=START)
    for act in ("keep", "remove"):
        with pytest.raises(KeyStateError, match=key_id):
            getattr(keeper(world, run="run-2"), act)()
    assert len(world.keys) == 2
    assert all(key.active for key in world.keys.values())


def test_a_target_that_lost_the_key_gets_it_again_without_a_new_one() -> None:
    world = World()
    keeper(world).keep()
    world.second.remove()
    keeper(world, run="run-2").keep()
    assert_one_working_key(world)
    assert world.made == 1


def test_a_stage_that_lost_the_key_leads_to_a_new_key_and_the_old_one_stays_for_its_grace_period() -> None:
    world = World()
    keeper(world).keep()
    world.stage.remove()
    kept = keeper(world, run="run-2").keep()
    assert kept.key_id == "AKIA0000000000000002"
    assert world.stage.held().current == world.second.held().current == kept.key_id
    assert world.journal.keys["AKIA0000000000000001"].state == "grace"
    assert len(world.keys) == 2


def test_a_key_that_somebody_deleted_in_iam_is_replaced() -> None:
    world = World()
    keeper(world).keep()
    world.keys.clear()
    world.now += dt.timedelta(minutes=10)
    keeper(world, run="run-2").keep()
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
    subject.keep()
    assert late.id not in world.keys
    assert_one_working_key(world)


def test_a_second_target_that_can_be_read_back_takes_the_key_and_drops_a_stray_pending_one() -> None:
    world = World(second=MemoryBackend(target="memory:second", readable=True))
    world.second.stage(AccessKey("AKIASTRAY00000000001", Secret("stray")))
    keeper(world).keep()
    assert_one_working_key(world)


def test_a_removal_right_after_an_interrupted_deploy_leaves_no_key() -> None:
    world = World()
    with pytest.raises(KeyStateError):
        keeper(world, sts=Sts(world, ignorant=10**9)).keep()
    keeper(world, run="run-2").remove()
    assert not world.keys
    assert not world.journal.keys


def test_a_failing_mint_is_not_tried_again_in_the_same_run() -> None:
    world = World()
    subject = keeper(world)
    calls: list[str] = []

    def refuse(intent_id: str) -> AccessKey:
        calls.append(intent_id)
        raise AwsError("the answer was lost")

    subject._user.create_key = refuse  # type: ignore[method-assign]
    with pytest.raises(CiUserError):
        subject.keep()
    assert len(calls) == 1

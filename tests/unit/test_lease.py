"""The lease: who holds it, until when, and that nothing is lost, whatever the network and the clocks do."""

from __future__ import annotations

import contextlib
import datetime as dt
import hashlib
import itertools
import json
import logging
import threading
from collections.abc import Callable, Iterator
from typing import Any, Literal

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from ci_user.errors import AwsError, CiUserError, KeyStateError, LeaseLostError, LockHeldError, StateBucketError
from ci_user.journal import Intent, Journal, KeyRecord
from ci_user.lease import SIGNATURE_MAX_AGE, Lease, break_lease, confirm_intent, peek
from ci_user.lease_document import LeaseDocument
from ci_user.stored_object import StaleWriteError, StoredObject, UnclearWriteError, Version, Written

START = 1_795_492_800.0
KEY = "shop/testing/lease.json"
TTL = dt.timedelta(minutes=2)
NAMES = (f"AKIA{number:016d}" for number in itertools.count())


class World:
    """The server's clock, and which processes are alive."""

    def __init__(self) -> None:
        self.time = START
        self.alive: set[int] = set()
        self.pids = itertools.count(100)

    def advance(self, seconds: float) -> None:
        self.time += seconds


class FakeMachine:
    def __init__(self, world: World, name: str) -> None:
        self.id = name
        self.world = world
        self.pid = next(world.pids)
        world.alive.add(self.pid)

    def started(self, pid: int) -> str:
        return "then"

    def gone(self, pid: int, started: str | None) -> bool:
        return pid not in self.world.alive

    def dies(self) -> None:
        self.world.alive.discard(self.pid)


class FakeBucket:
    """Conditional writes as S3 has them, over a network that delays, loses and doubles.

    ``plan`` yields, for each call, how it goes: ``ok``, ``dropped`` (never arrived), ``lost`` (done, but no answer),
    ``late`` (no answer, done only when ``deliver`` is called), ``slow`` (done at once, answered much later),
    ``refused``, or something to do just before it is done.
    """

    name = "state-bucket"

    def __init__(self, world: World) -> None:
        self.world = world
        self.plan: Iterator[str | Callable[[], object]] = itertools.repeat("ok")
        self.history: dict[str, list[StoredObject]] = {}
        self.deleted: set[str] = set()
        self.late: list[Callable[[], object]] = []
        self.writes = 0

    def current(self, key: str = KEY) -> StoredObject | None:
        return None if key in self.deleted or key not in self.history else self.history[key][-1]

    def document(self) -> LeaseDocument:
        current = self.current()
        assert current is not None
        return LeaseDocument.parse(current.body)

    def deliver(self) -> None:
        late, self.late = self.late, []
        for landing in late:
            landing()

    def steal(self) -> None:
        current = self.current()
        assert current is not None
        self._land(KEY, LeaseDocument.new(None, Journal()).render(), current.etag)

    def read(self, key: str, version_id: str | None = None) -> StoredObject | None:
        if self._fate() not in ("ok", "slow"):
            raise AwsError("no answer")
        if version_id is None:
            found = self.current(key)
        else:
            found = next((v for v in self.history.get(key, []) if v.version_id == version_id), None)
        return None if found is None else StoredObject(**{**vars(found), "server_time": self.server_time()})

    def write(self, key: str, body: bytes, if_match: str | None) -> Written:
        self.writes += 1
        fate = self._fate()
        match fate:
            case "ok":
                return self._land(key, body, if_match)
            case "slow":
                written = self._land(key, body, if_match)
                self.world.advance(115)
                return written
            case "refused":
                raise AwsError("AccessDenied")
            case "lost":
                self._land_quietly(key, body, if_match)
            case "late":
                self.late.append(lambda: self._land_quietly(key, body, if_match))
        self.world.advance(30)
        raise UnclearWriteError("no answer")

    def versions(self, key: str) -> Iterator[Version]:
        for stored in reversed(self.history.get(key, [])):
            yield Version(str(stored.version_id), stored.etag, stored.stored_at)

    def server_time(self) -> dt.datetime:
        return dt.datetime.fromtimestamp(int(self.world.time), tz=dt.UTC)

    def _fate(self) -> str:
        self.world.advance(0.01)
        fate = next(self.plan, "ok")
        if callable(fate):
            fate()
            fate = "ok"
        self.world.advance(0.01)
        return fate

    def _land(self, key: str, body: bytes, if_match: str | None) -> Written:
        current = self.current(key)
        if (current.etag if current else None) != if_match:
            raise StaleWriteError("changed meanwhile")
        etag = hashlib.md5(body, usedforsecurity=False).hexdigest()
        history = self.history.setdefault(key, [])
        now = dt.datetime.fromtimestamp(self.world.time, tz=dt.UTC)
        history.append(StoredObject(body, etag, now, f"v{len(history)}", now))
        self.deleted.discard(key)
        return Written(etag, self.server_time(), history[-1].version_id)

    def _land_quietly(self, key: str, body: bytes, if_match: str | None) -> None:
        with contextlib.suppress(StaleWriteError):
            self._land(key, body, if_match)


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def bucket(world: World) -> FakeBucket:
    return FakeBucket(world)


def take(
    bucket: FakeBucket,
    machine: FakeMachine | None = None,
    *,
    boot: float = 0.0,
    wait: float = 0.0,
    owner: str = "ada@build-7",
    on_pause: Callable[[float], None] | None = None,
) -> Lease:
    world = bucket.world
    return Lease.acquire(
        bucket,
        KEY,
        ttl=TTL,
        command="deploy",
        wait=dt.timedelta(seconds=wait),
        owner=owner,
        clock=lambda: world.time - START + boot,
        machine=machine or FakeMachine(world, f"machine {next(world.pids)}"),
        pause=on_pause or world.advance,
        renewing=False,
    )


def passes(lease: Lease) -> bool:
    try:
        lease.check()
    except LeaseLostError:
        return False
    return True


def key_record(key_id: str | None = None) -> KeyRecord:
    return KeyRecord(id=key_id or next(NAMES), intent="0a" * 16, state="minted")


def intent(number: int, at: dt.datetime) -> Intent:
    return Intent(id=f"{number:032x}", reason="first", before=(), at=at, run="r1")


def test_a_second_run_is_told_who_holds_the_lease_and_what_to_do(bucket: FakeBucket) -> None:
    with take(bucket), pytest.raises(LockHeldError) as caught:
        take(bucket, owner="bob@laptop")
    text = str(caught.value)
    for part in ("ada@build-7", "`deploy`", "2026-11-24T04:00:00+00:00", "expires", "invoke unlock --env NAME", KEY):
        assert part in text
    assert caught.value.exit_code == 4


def test_what_a_holder_calls_itself_cannot_steer_the_terminal(bucket: FakeBucket) -> None:
    with take(bucket, owner="ada\x1b[2J\n"), pytest.raises(LockHeldError) as caught:
        take(bucket)
    assert "\x1b" not in str(caught.value)


def test_a_lease_given_back_is_free_at_once_and_its_journal_stays(bucket: FakeBucket) -> None:
    record = key_record()
    with take(bucket) as first:
        first.record(first.journal.with_key(record))
    with take(bucket) as second:
        assert dict(second.journal.keys) == {record.id: record}


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, KeyStateError("stop")])
def test_it_is_given_back_whatever_ends_the_block(
    bucket: FakeBucket, error: BaseException | type[BaseException]
) -> None:
    with pytest.raises(BaseException), take(bucket):  # noqa: B017 - each of them
        raise error
    assert bucket.document().holder is None


def test_after_it_was_given_back_nothing_more_may_be_done_with_it(bucket: FakeBucket) -> None:
    with take(bucket) as lease:
        pass
    for act in (lease.check, lease.renew, lambda: lease.record(Journal())):
        with pytest.raises(LeaseLostError):
            act()


def test_giving_back_without_a_network_only_warns(bucket: FakeBucket, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING), take(bucket):
        bucket.plan = itertools.repeat("dropped")
    assert "could not be given back" in caplog.text


def test_ctrl_c_while_the_answer_is_awaited_leaves_nothing_locked(bucket: FakeBucket) -> None:
    interrupts = iter([KeyboardInterrupt])

    def interrupt(_: float) -> None:
        for error in interrupts:
            raise error

    bucket.plan = iter(["ok", "lost", "dropped"])
    with pytest.raises(KeyboardInterrupt):
        take(bucket, on_pause=interrupt)
    assert bucket.document().holder is None


def test_a_waiting_run_takes_the_lease_when_it_is_given_back(bucket: FakeBucket, world: World) -> None:
    first = take(bucket)

    def pause(seconds: float) -> None:
        world.advance(seconds)
        first.release()

    with take(bucket, wait=60, on_pause=pause) as second:
        second.check()


def test_waiting_ends_when_its_time_is_over(bucket: FakeBucket, world: World) -> None:
    with take(bucket):
        began = world.time
        with pytest.raises(LockHeldError):
            take(bucket, wait=30)
        assert 30 <= world.time - began < 32


def test_a_lease_is_not_safe_to_use_shortly_before_it_expires(bucket: FakeBucket, world: World) -> None:
    with take(bucket) as lease:
        world.advance(100)
        assert passes(lease)
        world.advance(9)
        assert not passes(lease)


def test_renewing_prolongs_it(bucket: FakeBucket, world: World) -> None:
    with take(bucket) as lease:
        for _ in range(5):
            world.advance(80)
            lease.renew()
            assert passes(lease)


def test_recording_prolongs_it_too(bucket: FakeBucket, world: World) -> None:
    with take(bucket) as lease:
        world.advance(100)
        lease.record(lease.journal)
        world.advance(100)
        assert passes(lease)


def test_the_time_of_a_slow_answer_counts_against_the_holder(bucket: FakeBucket, world: World) -> None:
    # The write is done at once, its answer takes 115 of the 120 seconds: what is left is too little.
    bucket.plan = iter(["ok", "slow"])
    with take(bucket) as lease:
        assert not passes(lease)


def test_an_expired_lease_is_taken_only_when_no_signature_of_its_holder_counts_any_more(
    bucket: FakeBucket, world: World
) -> None:
    paused = take(bucket)
    world.advance(TTL.total_seconds() + SIGNATURE_MAX_AGE.total_seconds() - 2)
    with pytest.raises(LockHeldError):
        take(bucket)
    world.advance(4)
    with take(bucket):
        assert not passes(paused)


def test_a_run_that_was_paused_past_its_takeover_changes_nothing_more(bucket: FakeBucket, world: World) -> None:
    paused = take(bucket)
    world.advance(3600)
    with take(bucket) as second:
        second.record(second.journal.with_key(key_record()))
        before = bucket.current()
        for act in (paused.check, paused.renew, paused.check, lambda: paused.record(Journal())):
            with pytest.raises(LeaseLostError):
                act()
        paused.release()
        assert bucket.current() == before


def test_a_run_that_was_paused_and_not_taken_over_goes_on_once_it_has_renewed(bucket: FakeBucket, world: World) -> None:
    with take(bucket) as lease:
        world.advance(3600)
        assert not passes(lease)
        lease.renew()
        assert passes(lease)


def test_a_killed_run_is_resumed_at_once_on_the_same_machine(bucket: FakeBucket, world: World) -> None:
    killed = FakeMachine(world, "runner")
    record = key_record()
    lease = take(bucket, killed)
    lease.record(lease.journal.with_key(record))
    killed.dies()
    with take(bucket, FakeMachine(world, "runner")) as second:
        assert record.id in second.journal.keys


def test_a_killed_run_is_not_taken_for_dead_from_another_machine(bucket: FakeBucket, world: World) -> None:
    killed = FakeMachine(world, "runner")
    take(bucket, killed)
    killed.dies()
    with pytest.raises(LockHeldError):
        take(bucket, FakeMachine(world, "laptop"))


def test_a_living_run_is_not_taken_over_on_the_same_machine(bucket: FakeBucket, world: World) -> None:
    take(bucket, FakeMachine(world, "runner"))
    with pytest.raises(LockHeldError):
        take(bucket, FakeMachine(world, "runner"))


@pytest.mark.parametrize("fates", [["lost"], ["dropped"], ["dropped", "ok", "lost"], ["lost", "dropped", "ok"]])
def test_a_lost_answer_is_settled_by_reading(bucket: FakeBucket, fates: list[str]) -> None:
    bucket.plan = iter(["ok", "ok", *fates])
    record = key_record()
    with take(bucket) as lease:
        lease.record(lease.journal.with_key(record))
        assert passes(lease)
        assert record.id in bucket.document().journal.keys


def test_a_record_without_an_answer_is_carried_by_the_next_write(bucket: FakeBucket) -> None:
    record = key_record()
    lease = take(bucket)
    bucket.plan = itertools.repeat("dropped", 8)
    with pytest.raises(AwsError):
        lease.record(lease.journal.with_key(record))
    lease.release()
    assert record.id in bucket.document().journal.keys


def test_a_write_that_comes_through_late_undoes_nothing(bucket: FakeBucket) -> None:
    first, second = key_record(), key_record()
    with take(bucket) as lease:
        bucket.plan = itertools.cycle(["late", "dropped"])
        with pytest.raises(AwsError):
            lease.record(lease.journal.with_key(first))
        bucket.plan = itertools.repeat("ok")
        bucket.deliver()
        lease.record(lease.journal.with_key(second))
        bucket.deliver()
        assert set(bucket.document().journal.keys) == {first.id, second.id}


def test_a_refused_write_takes_nothing(bucket: FakeBucket) -> None:
    bucket.plan = iter(["ok", "refused"])
    with pytest.raises(AwsError, match="AccessDenied"):
        take(bucket)
    assert bucket.history == {}
    assert bucket.writes == 1


def test_of_two_that_see_it_free_one_wins_and_the_other_names_it(bucket: FakeBucket) -> None:
    won: list[Lease] = []
    bucket.plan = iter(["ok", lambda: won.append(take(bucket))])
    with pytest.raises(LockHeldError, match="ada@build-7"):
        take(bucket, owner="bob@laptop")
    assert passes(won[0])


def test_a_deleted_object_loses_neither_journal_nor_holder(bucket: FakeBucket) -> None:
    record = key_record()
    holder = take(bucket)
    holder.record(holder.journal.with_key(record))
    bucket.deleted.add(KEY)
    with pytest.raises(LockHeldError):
        take(bucket)
    bucket.world.advance(3600)
    with take(bucket) as lease:
        assert record.id in lease.journal.keys


def test_reading_takes_no_lease_and_writes_nothing(bucket: FakeBucket, world: World) -> None:
    empty = peek(bucket, KEY, clock=lambda: 0.0)
    assert (empty.nonce, empty.holder_text, empty.journal) == (None, None, Journal())
    assert empty.now() == bucket.server_time()
    with take(bucket):
        writes = bucket.writes
        seen = peek(bucket, KEY, clock=lambda: 0.0)
        assert seen.holder_text is not None
        assert "ada@build-7" in seen.holder_text
        seen.check()
        with pytest.raises(LeaseLostError):
            seen.record(Journal())
        assert bucket.writes == writes


def test_breaking_a_lease_keeps_the_journal_and_stops_its_holder(bucket: FakeBucket) -> None:
    record = key_record()
    holder = take(bucket)
    holder.record(holder.journal.with_key(record))
    break_lease(bucket, KEY, str(peek(bucket, KEY).nonce))
    with pytest.raises(LeaseLostError):
        holder.renew()
    assert not passes(holder)
    with take(bucket) as lease:
        assert record.id in lease.journal.keys


def test_only_what_was_shown_is_broken(bucket: FakeBucket) -> None:
    with take(bucket) as holder:
        shown = str(peek(bucket, KEY).nonce)
        holder.renew()
        with pytest.raises(LockHeldError, match="is alive"):
            break_lease(bucket, KEY, shown)
        bucket.plan = iter(["ok", holder.renew])
        with pytest.raises(LockHeldError, match="is alive"):
            break_lease(bucket, KEY, str(peek(bucket, KEY).nonce))
        assert passes(holder)


def test_breaking_settles_a_lost_answer_by_reading(bucket: FakeBucket) -> None:
    take(bucket)
    shown = str(peek(bucket, KEY).nonce)
    bucket.plan = iter(["ok", "lost"])
    break_lease(bucket, KEY, shown)
    assert bucket.document().holder is None


def test_an_intent_is_confirmed_with_the_time_at_which_it_was_first_stored(bucket: FakeBucket, world: World) -> None:
    with take(bucket) as lease:
        claimed = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
        lease.record(lease.journal.with_intent(intent(1, claimed)))
        stored_at = bucket.history[KEY][-1].stored_at
        world.advance(60)
        lease.renew()
        assert lease.confirm_intent(f"{1:032x}") == intent(1, stored_at)
        lease.record(lease.journal.without_intent())
    assert confirm_intent(bucket, KEY, f"{1:032x}") == intent(1, stored_at)


def test_an_intent_that_was_never_stored_is_not_confirmed(bucket: FakeBucket) -> None:
    with take(bucket) as lease:
        lease.record(lease.journal.with_intent(intent(1, lease.now())))
    assert confirm_intent(bucket, KEY, f"{2:032x}") is None
    assert confirm_intent(bucket, "other/lease.json", f"{1:032x}") is None


def changed(**changes: object) -> bytes:
    document = {"schema": 1, "nonce": "n", "holder": None, "journal": Journal().to_document()}
    return json.dumps({**document, **changes}).encode()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xff",
        b"[" * 100_000,
        b"[]",
        changed(schema="1"),
        changed(more=1),
        changed(nonce=1),
        changed(holder="me"),
        changed(holder={"run": "x"}),
    ],
)
def test_an_object_that_somebody_else_wrote_stops_the_run_and_stays(bucket: FakeBucket, body: bytes) -> None:
    bucket.write(KEY, body, None)
    with pytest.raises(KeyStateError, match="cannot be read"):
        take(bucket)
    assert len(bucket.history[KEY]) == 1


def test_an_object_of_a_newer_version_stops_the_run(bucket: FakeBucket) -> None:
    bucket.write(KEY, changed(schema=2, more={}), None)
    with pytest.raises(KeyStateError, match="written by a newer version"):
        take(bucket)


class Wire:
    """What botocore sends its requests through: answers with 500 and counts."""

    def __init__(self) -> None:
        self.sent: list[Any] = []

    def __call__(self, _: object, request: Any) -> Any:
        from botocore.awsrequest import AWSResponse, HeadersDict

        self.sent.append(request)

        class Raw:
            def stream(self, **_: object) -> Iterator[bytes]:
                yield b""

        return AWSResponse(request.url, 500, HeadersDict(), Raw())  # type: ignore[arg-type]


@pytest.fixture
def wire(monkeypatch: pytest.MonkeyPatch) -> Wire:
    import time

    from botocore.httpsession import URLLib3Session

    found = Wire()
    monkeypatch.setattr(URLLib3Session, "send", lambda session, request: found(session, request))
    monkeypatch.setattr(time, "sleep", lambda _: None)
    return found


def iam_client(mode: Literal["legacy", "standard"]) -> Any:
    import botocore.session
    from botocore.config import Config

    session = botocore.session.Session()
    session.set_credentials("AKIAIOSFODNN7EXAMPLE", "not a secret")
    config = Config(retries={"mode": mode, "total_max_attempts": 3})
    return session.create_client("iam", region_name="us-east-1", config=config)


@pytest.mark.parametrize("mode", ["standard", "legacy"])
def test_a_fenced_client_is_checked_before_each_attempt(
    bucket: FakeBucket, wire: Wire, monkeypatch: pytest.MonkeyPatch, mode: Literal["legacy", "standard"]
) -> None:
    from botocore.exceptions import ClientError

    with take(bucket) as lease:
        checks: list[int] = []
        monkeypatch.setattr(lease, "check_request", lambda **_: checks.append(len(wire.sent)))
        client = iam_client(mode)
        lease.fence(client)
        with pytest.raises(ClientError):
            client.create_access_key(UserName="shop-testing.ci")
    assert checks == [0, 1, 2]


@pytest.mark.parametrize("mode", ["standard", "legacy"])
def test_a_lost_lease_keeps_a_signed_request_from_being_sent(
    bucket: FakeBucket, wire: Wire, world: World, mode: Literal["legacy", "standard"]
) -> None:
    lease = take(bucket)
    client = iam_client(mode)
    lease.fence(client)
    world.advance(3600)
    with pytest.raises(LeaseLostError):
        client.create_access_key(UserName="shop-testing.ci")
    assert wire.sent == []


def test_a_run_that_is_paused_between_two_attempts_sends_no_second_one(
    bucket: FakeBucket, wire: Wire, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    import time

    world.time = dt.datetime.now(tz=dt.UTC).timestamp()
    lease = take(bucket)
    client = iam_client("standard")
    lease.fence(client)
    monkeypatch.setattr(time, "sleep", lambda _: world.advance(3600))
    with pytest.raises(LeaseLostError):
        client.create_access_key(UserName="shop-testing.ci")
    assert len(wire.sent) == 1


def test_a_request_signed_with_a_time_after_the_lease_is_not_sent(bucket: FakeBucket, wire: Wire, world: World) -> None:
    # The server's clock is ten minutes behind this machine's (and what the machine takes until it signs), the lease lasts two.
    world.time = dt.datetime.now(tz=dt.UTC).timestamp() - 600
    lease = take(bucket)
    client = iam_client("standard")
    lease.fence(client)
    with pytest.raises(LeaseLostError, match=r"clock is 6\d\d seconds ahead"):
        client.create_access_key(UserName="shop-testing.ci")
    assert wire.sent == []


def test_renewals_go_on_in_the_background_until_somebody_else_wrote(bucket: FakeBucket, world: World) -> None:
    bucket.plan = itertools.chain(itertools.repeat("ok", 5), [lambda: bucket.steal()])
    before = set(threading.enumerate())
    with Lease.acquire(
        bucket,
        KEY,
        ttl=dt.timedelta(seconds=0.06),
        command="deploy",
        clock=lambda: world.time,
        machine=FakeMachine(world, "m"),
        pause=world.advance,
    ) as lease:
        for thread in set(threading.enumerate()) - before:
            thread.join(20)
        assert set(threading.enumerate()) <= before
        with pytest.raises(LeaseLostError, match="somebody else took the lease over"):
            lease.check()
    assert len(bucket.history[KEY]) > 3


FATES = st.lists(
    st.sampled_from(
        ["ok", "ok", "ok", "dropped", "lost", "late", "slow", "refused", "pause", "suspend", "rival", "deliver"]
    ),
    max_size=8,
)


class Contenders(RuleBasedStateMachine):
    """Runs on several machines, with any network between them and the bucket."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.bucket = FakeBucket(self.world)
        self.leases: dict[int, Lease] = {}
        self.machines: dict[int, FakeMachine] = {}
        self.acknowledged: set[str] = set()
        self.busy: set[int] = set()

    @initialize(machines=st.lists(st.sampled_from(["a", "b", "c"]), min_size=2, max_size=4))
    def start(self, machines: list[str]) -> None:
        self.homes = machines

    def _plan(self, fates: list[str], actor: int) -> Iterator[str | Callable[[], object]]:
        for fate in fates:
            match fate:
                case "pause":
                    yield lambda: self._advance(7)
                case "suspend":
                    yield lambda: self._advance(2000)
                case "deliver":
                    yield self.bucket.deliver
                case "rival":
                    yield lambda: self._rival(actor)
                case _:
                    yield fate

    def _advance(self, seconds: float) -> None:
        self.world.advance(seconds)
        self.only_one_holds()

    def _rival(self, actor: int) -> None:
        """Let another contender do something in the middle of this one's call."""
        plan, self.bucket.plan = self.bucket.plan, itertools.repeat("ok")
        rival = (actor + 1) % len(self.homes)
        if rival not in self.busy:
            self._act(rival, [], "record" if rival in self.leases else "acquire")
        self.bucket.plan = plan
        self.only_one_holds()

    def _act(self, number: int, fates: list[str], what: str) -> None:
        number %= len(self.homes)
        self.busy.add(number)
        self.bucket.plan = self._plan(fates, number)
        try:
            if what == "acquire":
                if number in self.leases:
                    return
                machine = FakeMachine(self.world, self.homes[number])
                self.machines[number] = machine
                self.leases[number] = take(self.bucket, machine, boot=1000.0 * number)
            elif number in self.leases:
                lease = self.leases[number]
                if what == "record":
                    record = key_record()
                    lease.record(lease.journal.with_key(record))
                    self.acknowledged.add(record.id)
                elif what == "renew":
                    lease.renew()
                elif what == "release":
                    del self.leases[number]
                    lease.release()
                elif what == "crash":
                    del self.leases[number]
                    self.machines[number].dies()
        except (LockHeldError, LeaseLostError, AwsError, StateBucketError):
            pass
        finally:
            self.bucket.plan = itertools.repeat("ok")
            self.busy.discard(number)

    @rule(number=st.integers(0, 3), fates=FATES)
    def acquire(self, number: int, fates: list[str]) -> None:
        self._act(number, fates, "acquire")

    @rule(number=st.integers(0, 3), fates=FATES, what=st.sampled_from(["record", "renew"]))
    def work(self, number: int, fates: list[str], what: str) -> None:
        self._act(number, fates, what)

    @rule(number=st.integers(0, 3), fates=FATES)
    def release(self, number: int, fates: list[str]) -> None:
        self._act(number, fates, "release")

    @rule(number=st.integers(0, 3))
    def crash(self, number: int) -> None:
        self._act(number, [], "crash")

    @rule(seconds=st.sampled_from([0.3, 5, 40, 115, 125, 900, 1019, 1021, 5000]))
    def time_passes(self, seconds: float) -> None:
        self.world.advance(seconds)

    @rule()
    def late_requests_arrive(self) -> None:
        self.bucket.deliver()

    @invariant()
    def only_one_holds(self) -> None:
        assert sum(passes(lease) for lease in self.leases.values()) <= 1

    @invariant()
    def no_acknowledged_key_is_lost(self) -> None:
        if self.acknowledged:
            assert self.acknowledged <= set(self.bucket.document().journal.keys)

    @invariant()
    def no_two_writes_have_the_same_etag(self) -> None:
        etags = [stored.etag for stored in self.bucket.history.get(KEY, [])]
        assert len(etags) == len(set(etags))


TestContenders = Contenders.TestCase
TestContenders.settings = settings(max_examples=150, stateful_step_count=30, deadline=None)


def test_every_error_of_a_lost_lease_is_one_of_the_project(bucket: FakeBucket) -> None:
    lease = take(bucket)
    lease.release()
    with pytest.raises(CiUserError) as caught:
        lease.check()
    assert "invoke status --env NAME" in str(caught.value)

"""A world for the work on keys in memory: IAM, the backends and the journal, with faults at any call that leaves the process."""

from __future__ import annotations

import datetime as dt
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ci_user.backends.memory import MemoryBackend
from ci_user.credentials import Caller
from ci_user.environment import Verification
from ci_user.environment_parts import Rotation
from ci_user.errors import CredentialsError, KeyStateError
from ci_user.iam_user import LastUse, LiveKey
from ci_user.journal import Intent, Journal
from ci_user.keeper import KeyKeeper
from ci_user.revocation import Revocation
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
    lock: threading.Lock = field(default_factory=threading.Lock)

    def call(self, effect: Callable[[], Any]) -> Any:
        with self.lock:
            self.count += 1
            mine = self.count
        if mine == self.at and not self.after:
            raise Crash
        result = effect()
        if mine == self.at:
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
    intents: set[str] = field(default_factory=set)
    schedule: Rotation = field(default_factory=Rotation)
    deny: Revocation | None = None
    lag: dt.timedelta = dt.timedelta(seconds=60)
    stage: MemoryBackend = field(default_factory=lambda: MemoryBackend(target="memory:stage", readable=True))
    second: MemoryBackend = field(default_factory=lambda: MemoryBackend(target="memory:second", readable=False))
    others: list[MemoryBackend] = field(default_factory=list)
    former: list[MemoryBackend] = field(default_factory=list)
    trail: list[tuple[str, tuple[str, ...], tuple[str, ...], str]] = field(default_factory=list)

    @property
    def places(self) -> list[MemoryBackend]:
        return [self.stage, self.second, *self.others]

    def record(
        self, act: str, *, key_ids: Sequence[str] = (), targets: Sequence[str] = (), result: str = "done"
    ) -> None:
        """Be the audit trail."""
        self.trail.append((act, tuple(key_ids), tuple(targets), result))

    def pass_time(self, seconds: float) -> None:
        self.now += dt.timedelta(seconds=seconds)

    def switch(self, key_id: str, *, active: bool) -> None:
        if key_id in self.keys:
            self.keys[key_id] = replace(self.keys[key_id], active=active)

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

    def access_keys(self) -> tuple[LiveKey, ...]:
        return tuple(self.world.keys.values())

    def last_use(self, key_id: str) -> LastUse:
        return LastUse(self.world.used.get(key_id), "s3", "eu-west-1")

    def create_key(self, intent_id: str) -> AccessKey:
        assert self.world.journal.intent is not None
        assert self.world.journal.intent.id == intent_id
        assert intent_id not in self.world.intents
        self.world.intents.add(intent_id)
        key: AccessKey = self.faults.call(self.world.mint)
        return key

    def deactivate_key(self, key_id: str) -> None:
        self.faults.call(lambda: self.world.switch(key_id, active=False))

    def activate_key(self, key_id: str) -> None:
        self.faults.call(lambda: self.world.switch(key_id, active=True))

    def delete_key(self, key_id: str) -> None:
        self.faults.call(lambda: self.world.keys.pop(key_id, None))

    def revocation(self) -> Revocation | None:
        return self.world.deny

    def deny(self, revocation: Revocation) -> None:
        self.faults.call(lambda: setattr(self.world, "deny", revocation))

    def lift_deny(self) -> None:
        self.faults.call(lambda: setattr(self.world, "deny", None))

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
        backends=[FaultyBackend(backend, faults) for backend in world.places],
        former=[FaultyBackend(backend, faults) for backend in world.former],
        audit=world,
        lease=HeldLease(world, faults, run),
        verification=Verification(
            successes=3, interval=dt.timedelta(milliseconds=1), deadline=dt.timedelta(seconds=1), lag=world.lag
        ),
        schedule=world.schedule,
        user_arn=USER_ARN,
        pause=world.pass_time,
    )


def assert_one_working_key(world: World) -> None:
    assert len(world.keys) == 1
    (key,) = world.keys.values()
    assert key.active
    for backend in world.places:
        assert backend.held().current == key.id
        assert backend.held().pending is None
    held = world.stage.read_staged(key.id)
    assert held is not None
    assert held.secret == world.secrets[key.id]
    assert world.journal.intent is None
    # A deleted key stays in the journal for as long as IAM may still list it.
    assert {r.id: r.state for r in world.journal.keys.values() if r.state != "deleted"} == {key.id: "delivered"}
    assert world.tags["key"] == key.id

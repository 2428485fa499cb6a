"""Any order of runs, faults, clock jumps and interference from outside: what the work on keys promises always holds."""

from __future__ import annotations

import datetime as dt
from contextlib import suppress

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from ci_user import rotation
from ci_user.backends.memory import MemoryBackend
from ci_user.environment_parts import Rotation
from ci_user.errors import CiUserError
from ci_user.iam_user import LiveKey
from ci_user.key_forecast import foretell
from ci_user.revocation import Revocation
from ci_user.rotation import Goal
from tests.unit.key_world import Crash, Faults, World, assert_one_working_key, keeper

HOUR = dt.timedelta(hours=1)
GOALS = st.sampled_from(
    [
        rotation.Keep(),
        rotation.Rotate(),
        rotation.Rotate(force=True),
        rotation.Rotate(now=True),
        rotation.Rotate(force=True, now=True),
        rotation.Redeliver(("memory:second",)),
        rotation.Redeliver(("memory:third", "memory:second")),
    ]
)
FAULTS = st.one_of(st.none(), st.tuples(st.integers(1, 25), st.booleans()))


class Life(RuleBasedStateMachine):
    """A user, its backends, its journal, and whoever meddles with them."""

    def __init__(self) -> None:
        super().__init__()
        # Without a lag: while lists may run behind, a key that somebody deletes is believed to exist for that long.
        self.world = World(
            lag=dt.timedelta(0),
            schedule=Rotation(rotate_after=40 * HOUR, grace=10 * HOUR, margin=HOUR, soak=20 * HOUR),
            others=[MemoryBackend(target="memory:third", readable=False)],
        )
        self.runs = 0
        self.foreign: dict[str, bool] = {}
        self.leaked: set[str] = set()
        self.acts: tuple[str, ...] = ()

    @initialize()
    def first_deploy(self) -> None:
        self.run(rotation.Keep(), None)
        assert_one_working_key(self.world)

    def run(self, goal: Goal, fault: tuple[int, bool] | None) -> bool:
        """Run to the goal, or to the fault; return whether it got there."""
        self.runs += 1
        faults = Faults(*fault) if fault else Faults()
        with suppress(Crash, CiUserError):
            self.acts = keeper(self.world, faults, run=f"run-{self.runs}").reach(goal).acts
            return True
        return False

    def foretold(self) -> str:
        """Return what a plan says of the keys; empty when it says nothing."""
        return foretell(keeper(self.world, run="plan").observe()) or ""

    def working(self, backend: MemoryBackend) -> bool:
        held = backend.consumed
        key = self.world.keys.get(held.id) if held else None
        return held is not None and key is not None and key.active and self.world.secrets[key.id] == held.secret

    @rule(goal=GOALS, fault=FAULTS)
    def work(self, goal: Goal, fault: tuple[int, bool] | None) -> None:
        before = [self.working(backend) for backend in self.world.places]
        made, active = self.world.made, {key.id for key in self.world.keys.values() if key.active}
        used = dict(self.world.used)
        # One that an interrupted run had begun to deliver counts: consumers may read it.
        delivered = [r.id for r in self.world.journal.keys.values() if r.delivered and r.id in active]
        grace = {r.id: r.times["grace"] for r in self.world.journal.keys.values() if r.state == "grace"}
        told = self.foretold() if isinstance(goal, rotation.Keep) and fault is None else None
        reached = self.run(goal, fault)
        if reached and told is not None:
            assert ("is made, verified and delivered" in told) == (self.world.made > made)
            changed = [act for act in self.acts if "IAM no longer has it" not in act]
            assert bool(told) == bool(changed)
        after = [self.working(backend) for backend in self.world.places]
        # What consumers could read and use, they still can: in each place for itself, at whichever call the run died.
        assert all(now for now, then in zip(after, before, strict=True) if then)
        if isinstance(goal, rotation.Rotate):
            assert self.world.made == made or delivered
        if isinstance(goal, rotation.Redeliver):
            assert self.world.made == made
        stopped = active - {key.id for key in self.world.keys.values() if key.active}
        for key_id in stopped & set(grace):
            late = used.get(key_id)
            in_use = late is not None and late > grace[key_id] + HOUR
            assert (isinstance(goal, rotation.Rotate) and goal.now) or not in_use or key_id in self.leaked
        if reached and not self.foreign and isinstance(goal, rotation.Keep):
            assert len({backend.held().current for backend in self.world.places}) == 1
            assert self.working(self.world.stage)
            assert self.world.journal.intent is None

    @rule(step=st.integers(0, 4), replacement=st.booleans())
    def revoke(self, step: int, replacement: bool) -> None:
        """Answer a leak as ``leak.py`` does, dying after so many of its steps."""
        held = self.world.stage.held()
        ours = {*self.world.journal.keys, *filter(None, (held.current, held.pending))} & set(self.world.keys)
        ours -= set(self.foreign)
        known = set(self.world.deny.key_ids) if self.world.deny else set()
        self.world.deny = Revocation(tuple(sorted(known | ours)), None)
        self.leaked |= ours
        if step > 0:
            for key_id in ours:
                self.world.switch(key_id, active=False)
        if step > 1:
            self.world.deny = Revocation(tuple(sorted(known | ours)), self.world.now.replace(microsecond=0))
            goal = rotation.Replace() if replacement else rotation.Remove(leave_foreign=True, lift=False)
            done = self.run(goal, None if step > 3 else (step, True))
            if done and not replacement:
                # What is left was made by others, or cannot be told to be ours: an interrupted run's, used since.
                assert not set(self.world.keys) & set(self.world.journal.keys)

    @rule(hours=st.sampled_from([0.01, 1, 11, 21, 37, 50]))
    def time_passes(self, hours: float) -> None:
        self.world.pass_time(hours * 3600)

    @rule()
    def the_pipeline_works(self) -> None:
        if self.working(self.world.stage):
            held = self.world.stage.held().current
            assert held is not None
            self.world.used[held] = self.world.now

    @rule(number=st.integers(0, 1))
    def an_old_key_is_used(self, number: int) -> None:
        active = sorted(key.id for key in self.world.keys.values() if key.active)
        if number < len(active):
            self.world.used[active[number]] = self.world.now

    @rule()
    def somebody_adds_a_key(self) -> None:
        if len(self.world.keys) < 2:
            key_id = f"AKIAFOREIGN{self.runs:09d}"
            self.world.keys[key_id] = LiveKey(key_id, True, self.world.now)
            self.foreign[key_id] = True
            # It was in somebody's hands, so it is used: what was never used could be an interrupted run's own.
            self.world.used[key_id] = self.world.now

    @rule()
    def somebody_clears_foreign_keys_up(self) -> None:
        for key_id in self.foreign:
            self.world.keys.pop(key_id, None)
        self.foreign.clear()

    @rule(number=st.integers(0, 1))
    def somebody_deletes_a_key(self, number: int) -> None:
        ids = sorted(set(self.world.keys) - set(self.foreign))
        if number < len(ids):
            del self.world.keys[ids[number]]

    @rule(number=st.integers(0, 1), active=st.booleans())
    def somebody_switches_a_key(self, number: int, active: bool) -> None:
        ids = sorted(set(self.world.keys) - set(self.foreign) - self.leaked)
        if number < len(ids):
            self.world.switch(ids[number], active=active)

    @rule(number=st.integers(0, 2))
    def somebody_removes_the_secret(self, number: int) -> None:
        self.world.places[number].remove()

    @rule(number=st.integers(1, 2), refuses=st.booleans())
    def a_place_refuses_keys_or_takes_them_again(self, number: int, refuses: bool) -> None:
        failing = self.world.places[number].failing
        (failing.add if refuses else failing.discard)("deliver")

    @rule(text=st.text(max_size=5))
    def somebody_forges_a_tag(self, text: str) -> None:
        self.world.tags["key"] = text

    @invariant()
    def no_user_has_more_than_two_keys(self) -> None:
        assert len(self.world.keys) <= 2

    @invariant()
    def foreign_keys_are_left_alone(self) -> None:
        for key_id in self.foreign:
            assert self.world.keys[key_id].active

    @invariant()
    def a_leaked_key_stays_denied_or_inactive(self) -> None:
        for key_id in self.leaked & set(self.world.keys):
            denied = self.world.deny is not None and self.world.deny.cutoff is None
            assert denied or not self.world.keys[key_id].active

    @invariant()
    def what_is_healed_is_healed(self) -> None:
        """A deploy that nothing disturbs ends well from wherever things stand, or names the keys that need a person."""
        refuses = any(backend.failing for backend in self.world.places)
        if self.runs % 5 == 0 and not self.foreign and self.world.deny is None and not refuses:
            inactive = [k.id for k in self.world.keys.values() if not k.active]
            if self.run(rotation.Keep(), None):
                assert all(self.working(backend) for backend in self.world.places)
            else:
                assert inactive or len(self.world.keys) == 2


TestLife = Life.TestCase
TestLife.settings = settings(max_examples=120, stateful_step_count=30, deadline=None)

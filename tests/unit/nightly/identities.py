"""One environment's identity for tests: in order, until a test changes something."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ci_user.backends.protocol import Held
from ci_user.environment import Environment
from ci_user.iam_user import LastUse, LiveKey, LiveUser
from ci_user.journal import Intent, Journal, KeyRecord
from ci_user.lease_document import Holder
from ci_user.lease_state import LeaseState
from ci_user.nightly.facts_model import Facts, GroupFact, PolicyFact
from ci_user.nightly.live_audit import Audit, audit
from ci_user.server_clock import ServerTime

NOW = dt.datetime(2026, 11, 24, 3, tzinfo=dt.UTC)
DAY = dt.timedelta(days=1)
HOUR = dt.timedelta(hours=1)
ACCOUNT = "111111111111"
OLD, KEY, NEW, FOREIGN = (f"AKIA{name:A<16}" for name in ("OLD", "KEY", "NEW", "FOREIGN"))
INTENT = "0" * 32
ALLOW = '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}'


def environment(**changes: Any) -> Environment:
    values: dict[str, Any] = {
        "name": "testing",
        "version": 1,
        "application": "shop",
        "account_id": ACCOUNT,
        "region": "eu-west-1",
        "policies": ["sample"],
        "state": {"bucket": "states"},
        "secrets": [{"backend": "aws-secrets-manager", "name": "ci/key"}, {"backend": "aws-ssm", "name": "/ci/key"}],
    }
    return Environment.model_validate({**values, **changes}, context={"today": NOW.date(), "root": Path()})


ENVIRONMENT = environment()
STAGE, SECOND = (settings.target(ENVIRONMENT) for settings in ENVIRONMENT.places)


def key(key_id: str = KEY, *, active: bool = True, age: dt.timedelta = 10 * DAY) -> LiveKey:
    return LiveKey(key_id, active, NOW - age)


def record(key_id: str, state: Any, since: dt.timedelta, **times: dt.timedelta) -> KeyRecord:
    """Return what the journal has of a key; times are told as how long ago."""
    moments = {name: NOW - ago for name, ago in {**times, state: since}.items()}
    delivered = dict.fromkeys((STAGE, SECOND), NOW - times.get("delivered", since)) if state == "delivered" else {}
    return KeyRecord(key_id, INTENT, state, moments, delivered)


def journal(*records: KeyRecord, intent: Intent | None = None, **changes: Any) -> Journal:
    return Journal(intent, {one.id: one for one in records}, **changes)


def holder(*, ends: dt.timedelta = HOUR, ago: dt.timedelta = HOUR) -> Holder:
    return Holder("run", "ops@box", "m", 1, None, "rotate", NOW - ago, NOW + ends)


def lease(content: Journal, held_by: Holder | None = None) -> LeaseState:
    none: Any = None
    return LeaseState("n", held_by, content, "e", ServerTime(NOW, 0.0, 0.0), none, "key", lambda: 0.0)


def user(**changes: Any) -> LiveUser:
    own = LiveUser(
        arn=ENVIRONMENT.user_arn,
        created=NOW - 100 * DAY,
        boundary_arn=ENVIRONMENT.boundary_arn,
        groups=(ENVIRONMENT.group_name,),
        attached=(),
        inline=(),
        tags={},
    )
    return dataclasses.replace(own, **changes)


def facts(**changes: Any) -> Facts:
    policy = ENVIRONMENT.policy_arn("sample")
    own = Facts(
        user=user(),
        user_inline={},
        groups={ENVIRONMENT.group_name: GroupFact(ENVIRONMENT.group_name, (policy,), {})},
        policies={
            policy: PolicyFact(policy, policy.rsplit("/", 1)[-1], ALLOW, "v1"),
            ENVIRONMENT.boundary_arn: PolicyFact(ENVIRONMENT.boundary_arn, "boundary", ALLOW, "v1"),
        },
        roles=(),
        lent=(),
        keys=(key(),),
        uses={KEY: LastUse(NOW - HOUR, "s3", "eu-west-1")},
        ways_in=(),
        unread=(),
        other_ci_users=(),
        now=NOW,
        digest="0" * 64,
    )
    return dataclasses.replace(own, **changes)


DELIVERED = record(KEY, "delivered", 10 * DAY, minted=10 * DAY)
IN_ORDER = journal(DELIVERED)
HELD: Mapping[str, Held] = {STAGE: Held(KEY, None), SECOND: Held(KEY, None)}


def judged(
    seen: Facts | None = None,
    content: Journal | None = IN_ORDER,
    held: Mapping[str, Held] = HELD,
    trouble: Mapping[str, str] | None = None,
    *,
    held_by: Holder | None = None,
    of: Environment = ENVIRONMENT,
) -> Audit:
    """Audit an identity that is in order but for what is given."""
    state = None if content is None else lease(content, held_by)
    return audit(seen or facts(), of, state, held, trouble or {}, NOW)

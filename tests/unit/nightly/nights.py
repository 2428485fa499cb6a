"""Nights for the tests of merging, history and records: small, whole results."""

from __future__ import annotations

import datetime as dt
from typing import Any

from ci_user.nightly.model import Acceptance, Entry, EnvironmentResult, Gravity, NightResult

FIRST = dt.datetime(2026, 11, 1, 2, tzinfo=dt.UTC)
ACCOUNT = "123456789012"


def night_at(day: int) -> dt.datetime:
    return FIRST + dt.timedelta(days=day)


def entry(where: str = "a", gravity: Gravity = "finding", *, accepted: bool = False, **values: Any) -> Entry:
    acceptance = Acceptance(reason="known", owner="ops", expires="never") if accepted else None
    return Entry(
        **{"id": "CIUSER_DRIFT", "area": "plan", "title": "t", **values},
        where=where,
        gravity=gravity,
        accepted=acceptance,
    )


def environment(name: str, *entries: Entry, day: float = 0, **values: Any) -> EnvironmentResult:
    return EnvironmentResult(
        **{
            "environment": name,
            "account_id": ACCOUNT,
            "region": "eu-west-1",
            "way": "planned",
            "checked_at": FIRST + dt.timedelta(days=day),
            "entries": entries,
            **values,
        }
    )


def night(*environments: EnvironmentResult, day: float = 0, **values: Any) -> NightResult:
    began = FIRST + dt.timedelta(days=day)
    return NightResult(
        **{
            "tool": "1.0.0",
            "began": began,
            "ended": began + dt.timedelta(minutes=5),
            "environments": environments,
            **values,
        }
    )

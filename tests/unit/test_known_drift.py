"""Drift that may stay is named exactly, for a reason and a while, and never lets the user do more."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from ci_user.environment import Environment
from ci_user.known_drift import PERMISSIONS

TODAY = date(2026, 11, 24)


def environment(*known: dict[str, Any], **changes: Any) -> Environment:
    values: dict[str, Any] = {
        "name": "testing",
        "version": 1,
        "application": "shop",
        "account_id": "111111111111",
        "region": "eu-west-1",
        "policies": ["sample"],
        "state": {"bucket": "states"},
        "secrets": [{"backend": "aws-secrets-manager", "name": "ci/key"}],
        "known_drift": list(known),
    }
    return Environment.model_validate({**values, **changes}, context={"today": TODAY, "root": Path()})


def refusals(*known: dict[str, Any], **changes: Any) -> dict[str, str]:
    with pytest.raises(ValidationError) as caught:
        environment(*known, **changes)
    return {".".join(map(str, e["loc"])): e["msg"] for e in caught.value.errors()}


def drift(**changes: Any) -> dict[str, Any]:
    return {
        "resource": "module.ci_user.aws_iam_user.this",
        "attributes": ["tags"],
        "reason": "set by the account's own automation",
        "owner": "platform",
        "expires": "2027-01-31",
        **changes,
    }


def test_it_loads_and_is_over_after_its_last_day() -> None:
    (one,) = environment(drift(expires="2026-11-24", attributes=["tags", "path"])).known_drift
    assert one.attributes == ("tags", "path")
    assert not one.expired(TODAY)
    assert one.expired(TODAY + timedelta(days=1))


def test_a_sandbox_may_know_drift_for_ever() -> None:
    (one,) = environment(drift(expires="never"), sandbox=True).known_drift
    assert not one.expired(date.max)


@pytest.mark.parametrize(
    ("changes", "place"),
    [
        ({"attributes": []}, "attributes"),
        ({"attributes": "tags"}, "attributes"),
        ({"attributes": ["*"]}, "attributes.0"),
        ({"attributes": ["tags", "tag*"]}, "attributes.1"),
        ({"attributes": ["tags", ""]}, "attributes.1"),
        ({"attributes": ["tags", "tags"]}, "attributes.1"),
        ({"attributes": ["tags.team"]}, "attributes.0"),
        ({"resource": "*"}, "resource"),
        ({"resource": "module.ci_user"}, None),
        ({"resource": 'module.ci_policy["a*"].aws_iam_policy.this'}, None),
        ({"reason": "short"}, "reason"),
        ({"owner": ""}, "owner"),
        ({"expires": "2027-11-25"}, "expires"),
        ({"expires": "2027-11-24"}, None),
        ({"expires": "soon"}, "expires"),
        ({"expires": "never"}, "expires"),
        ({"surprise": 1}, "surprise"),
    ],
)
def test_it_says_exactly_what_and_why_and_how_long(changes: dict[str, Any], place: str | None) -> None:
    if place is None:
        assert environment(drift(**changes)).known_drift
    else:
        assert refusals(drift(**changes)).keys() == {f"known_drift.0.{place}"}


@pytest.mark.parametrize("attribute", PERMISSIONS)
def test_what_decides_what_the_user_may_do_is_refused_even_in_a_sandbox(attribute: str) -> None:
    found = refusals(drift(attributes=["tags", attribute]), sandbox=True)
    assert found.keys() == {"known_drift.0.attributes.1"}
    assert "never acceptable" in found["known_drift.0.attributes.1"]


def test_a_resource_is_named_once() -> None:
    assert refusals(drift(), drift(attributes=["path"])).keys() == {"known_drift.1.resource"}

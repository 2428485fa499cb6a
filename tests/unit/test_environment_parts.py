"""When keys are renewed and where acts are recorded; the other parts are tested through whole environments."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from ci_user.durations import format_duration
from ci_user.environment_parts import Audit, Rotation

HOUR, DAY = timedelta(hours=1), timedelta(days=1)


def refused(**changes: Any) -> dict[str, str]:
    with pytest.raises(ValidationError) as caught:
        Rotation.model_validate(changes)
    return {".".join(map(str, e["loc"])): e["msg"] for e in caught.value.errors()}


def test_keys_are_renewed_every_sixty_days_unless_told_otherwise() -> None:
    one = Rotation()
    assert (one.rotate_after, one.grace, one.margin) == (60 * DAY, DAY, 6 * HOUR)
    assert (one.soak, one.expire_after) == (7 * DAY, 14 * DAY)
    assert Rotation.model_validate({}) == one


@pytest.mark.parametrize(
    ("key", "least", "most"),
    [
        ("rotate_after", HOUR, 400 * DAY),
        ("grace", timedelta(0), 90 * DAY),
        ("margin", timedelta(0), 7 * DAY),
        ("soak", timedelta(0), 90 * DAY),
        ("expire_after", timedelta(0), 365 * DAY),
    ],
)
def test_each_time_has_its_limits(key: str, least: timedelta, most: timedelta) -> None:
    # Everything else as wide as it may be, so that only the time's own limits are met.
    room = {"rotate_after": "400d", "grace": "0s", "margin": "0s", "soak": "0s", "expire_after": "365d"}
    for value in (least, most):
        assert getattr(Rotation.model_validate({**room, key: format_duration(value)}), key) == value
    outside = [most + timedelta(seconds=1), *([least - timedelta(seconds=1)] if least else [])]
    for value in outside:
        assert refused(**{**room, key: format_duration(value)}).keys() == {key}


@pytest.mark.parametrize("grace", ["0s", "1h", "24h", "9d"])
def test_the_next_rotation_has_room_exactly_when_the_old_key_is_gone_by_then(grace: str) -> None:
    # The margin of six hours is the longer one in the first two.
    least = {"0s": "174h", "1h": "174h", "24h": "8d", "9d": "16d"}[grace]
    one = Rotation.model_validate({"rotate_after": least, "grace": grace})
    assert one.rotate_after == max(one.grace, one.margin) + one.soak
    shorter = format_duration(one.rotate_after - timedelta(seconds=1))
    (text,) = (found := refused(rotate_after=shorter, grace=grace)).values()
    assert found.keys() == {"rotate_after"}
    assert "two keys at most" in text


def test_a_key_is_no_finding_before_its_grace_is_over() -> None:
    assert Rotation.model_validate({"grace": "14d"}).expire_after == 14 * DAY
    assert refused(grace="2d", expire_after="47h").keys() == {"expire_after"}
    assert refused(grace="15d").keys() == {"expire_after"}


@pytest.mark.parametrize("value", ["soon", 60, "60", "-1d", "1d 1h", None, ""])
def test_a_time_is_text_with_its_unit(value: object) -> None:
    assert refused(rotate_after=value).keys() == {"rotate_after"}


def test_it_is_frozen() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Rotation().grace = DAY  # type: ignore[misc]


def test_acts_are_recorded_in_the_cache_and_not_in_the_bucket_unless_told() -> None:
    assert (Audit().file, Audit().bucket) == (".cache/audit.jsonl", False)
    assert Audit.model_validate({"file": "log/keys.jsonl", "bucket": True}).bucket


@pytest.mark.parametrize(
    "file", ["/var/log/audit.jsonl", "../audit.jsonl", "a/../../b", "", ".", "~/a", "a\nb", "a\\b"]
)
def test_the_audit_file_lies_in_the_repository(file: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Audit.model_validate({"file": file})
    assert [e["loc"] for e in caught.value.errors()] == [("file",)]

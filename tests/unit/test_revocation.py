"""The deny of a revocation: what it says can be read back from it, and nothing else passes for it."""

from __future__ import annotations

import datetime as dt
import json
import urllib.parse
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ci_user import revocation
from ci_user.revocation import LASTS, Revocation, parse

if TYPE_CHECKING:
    from tests.conftest import EmbeddedAws

KEY = "AKIAIOSFODNN7EXAMPLE"
OTHER = "AKIAI44QH8DHBEXAMPLE"
NOW = dt.datetime(2026, 11, 25, 18, 30, tzinfo=dt.UTC)

key_ids = st.lists(st.text("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789", min_size=16, max_size=32), max_size=5).map(tuple)
cutoffs = st.none() | st.integers(1_600_000_000, 4_000_000_000).map(lambda s: dt.datetime.fromtimestamp(s, dt.UTC))
encodings = st.sampled_from([lambda d: d, json.dumps, lambda d: urllib.parse.quote(json.dumps(d))])


@given(ids=key_ids, cutoff=cutoffs, encoding=encodings)
def test_what_is_written_is_read_back(ids: tuple[str, ...], cutoff: dt.datetime | None, encoding: Any) -> None:
    made = Revocation(ids, cutoff)
    assert parse(encoding(made.document())) == made
    assert len(made.text()) <= 2048


def test_at_first_everything_is_denied_and_then_older_sessions() -> None:
    first = Revocation((KEY,), None).document()["Statement"][0]
    assert (first["Effect"], first["Action"], first["Resource"]) == ("Deny", "*", "*")
    assert "Condition" not in first
    narrowed = Revocation((KEY,), NOW).document()["Statement"][0]
    assert narrowed["Condition"] == {"DateLessThan": {"aws:TokenIssueTime": "2026-11-25T18:30:00Z"}}
    assert narrowed["Sid"].isalnum()


def change(**parts: Any) -> dict[str, Any]:
    document = Revocation((KEY,), NOW).document()
    return {**document, "Statement": [{**document["Statement"][0], **parts}]}


@pytest.mark.parametrize(
    "document",
    [
        None,
        "",
        "no JSON",
        [],
        {},
        {"Statement": []},
        change(Effect="Allow"),
        change(Action=["iam:*"]),
        change(NotAction="s3:*"),
        change(Resource="arn:aws:s3:::bucket"),
        change(Condition={"DateLessThan": {"aws:TokenIssueTime": "2026-11-25T18:30:00Z"}, "Bool": {"x": "true"}}),
        change(Condition={"DateLessThan": {"aws:TokenIssueTime": "soon"}}),
        change(Condition={"DateGreaterThan": {"aws:TokenIssueTime": "2026-11-25T18:30:00Z"}}),
        change(Sid="revokedxakia"),
        change(Sid=7),
        {**change(), "Statement": [change()["Statement"][0], {"Effect": "Allow", "Action": "*", "Resource": "*"}]},
        {**change(), "Id": "more"},
    ],
)
def test_a_policy_made_by_hand_never_passes_for_a_revocation(document: object) -> None:
    assert parse(document) is None


def test_the_oldest_keys_go_when_there_is_no_more_room() -> None:
    many = tuple(f"AKIA{n:016d}" for n in range(200))
    kept = Revocation(many, NOW)
    assert kept.key_ids[-1] == many[-1]
    assert 60 < len(kept.key_ids) < 200
    assert len(kept.text()) <= 2048
    assert parse(kept.document()) == kept


def test_it_is_over_when_the_longest_session_has_ended() -> None:
    assert not Revocation((KEY,), NOW).over(NOW + LASTS - dt.timedelta(seconds=1))
    assert Revocation((KEY,), NOW).over(NOW + LASTS)
    assert not Revocation((KEY,), None).over(NOW + 10 * LASTS)


@pytest.mark.parametrize(
    ("ids", "cutoff"), [(("secret/value",), None), ((KEY.lower(),), None), ((KEY,), NOW.replace(tzinfo=None))]
)
def test_what_is_no_key_id_or_no_moment_is_refused(ids: tuple[str, ...], cutoff: dt.datetime | None) -> None:
    with pytest.raises(ValueError, match=r"key's id|time zone"):
        Revocation(ids, cutoff)


def test_it_is_put_on_a_user_read_and_taken_away(aws: EmbeddedAws) -> None:
    user = "revocation-unit.ci"
    aws.client("iam").create_user(UserName=user)
    assert revocation.live(aws.access, user) is None
    first = Revocation((KEY,), None)
    revocation.put(aws.access, user, first)
    assert revocation.live(aws.access, user) == first
    second = Revocation((KEY, OTHER), NOW)
    revocation.put(aws.access, user, second)
    assert revocation.live(aws.access, user) == second
    revocation.take_away(aws.access, user)
    revocation.take_away(aws.access, user)
    assert revocation.live(aws.access, user) is None
    aws.client("iam").delete_user(UserName=user)

"""Records are trusted only where nobody else can write them."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest

from ci_user.errors import UsageError
from ci_user.nightly.record_location import BUCKET_ACTIONS, OBJECT_ACTIONS, Location, bucket_policy, parse_location
from ci_user.nightly.record_trust import judge

ACCOUNT = "123456789012"
LOCATION = Location("shop-nightly", "records")
ROLE = f"arn:aws:iam::{ACCOUNT}:role/nightly"
SESSION = f"arn:aws:sts::{ACCOUNT}:assumed-role/nightly/GitHubActions"

Edit = Callable[[list[dict[str, Any]]], object]


def judged(*edits: Edit, caller: str = SESSION, role: str = ROLE) -> str | None:
    """Return what is said of the right policy after some edits of its statements."""
    policy = copy.deepcopy(dict(bucket_policy(LOCATION, role)))
    for edit in edits:
        edit(policy["Statement"])
    return judge(json.dumps(policy), LOCATION, caller)


def principal(*arns: str, operator: str = "ArnNotEquals", key: str = "aws:PrincipalArn") -> Edit:
    def edit(statements: list[dict[str, Any]]) -> None:
        for one in statements:
            one["Condition"] = {operator: {key: list(arns)}}

    return edit


def setting(key: str, value: Any) -> Edit:
    return lambda statements: [one.update({key: value}) for one in statements]


def test_the_policy_that_the_documentation_shows_is_trusted() -> None:
    assert judged() is None


@pytest.mark.parametrize("partition", ["aws", "aws-cn", "aws-us-gov"])
def test_it_is_in_every_partition(partition: str) -> None:
    role, session = (text.replace("arn:aws:", f"arn:{partition}:") for text in (ROLE, SESSION))
    assert judged(role=role, caller=session) is None


def test_a_role_with_a_path_is_told_by_its_name() -> None:
    assert judged(role=f"arn:aws:iam::{ACCOUNT}:role/ops/ci/nightly") is None


def test_sessions_of_the_role_itself_may_be_named_beside_it() -> None:
    assert judge(json.dumps(bucket_policy(LOCATION, ROLE, SESSION)), LOCATION, SESSION) is None


def test_a_user_may_be_the_only_writer() -> None:
    user = f"arn:aws:iam::{ACCOUNT}:user/ops/nightly"
    assert judged(role=user, caller=user) is None
    assert judged(role=user, caller=f"arn:aws:iam::{ACCOUNT}:user/nightly") is not None


@pytest.mark.parametrize("operator", ["ArnNotLike", "StringNotEquals", "StringNotLike", "ArnNotEqualsIfExists"])
def test_other_ways_to_say_the_same_are_trusted(operator: str) -> None:
    assert judged(principal(ROLE, operator=operator)) is None


@pytest.mark.parametrize("everybody", ["*", {"AWS": "*"}, {"AWS": ["*"]}])
def test_everybody_may_be_written_in_three_ways(everybody: Any) -> None:
    assert judged(setting("Principal", everybody)) is None


@pytest.mark.parametrize(
    ("there", "twice"),
    [
        ('"Effect": "Deny"', '"Effect": "Allow", "Effect": "Deny"'),
        ('"Statement": ', '"Statement": [], "Statement": '),
        ('"Condition": ', '"Condition": {"Bool": {"aws:SecureTransport": "false"}}, "Condition": '),
    ],
)
def test_a_policy_that_says_something_twice_is_not_trusted(there: str, twice: str) -> None:
    text = json.dumps(bucket_policy(LOCATION, ROLE))
    assert judge(text, LOCATION, SESSION) is None
    assert judge(text.replace(there, twice), LOCATION, SESSION) is not None


def test_other_statements_take_nothing_back() -> None:
    everything = {"Effect": "Allow", "Principal": "*", "Action": "s3:*", "Resource": "*"}
    strange = {"Effect": "Deny", "NotPrincipal": {"AWS": ROLE}, "Action": "s3:*", "Resource": "*"}
    assert judged(lambda statements: statements.extend([everything, strange, {"Effect": "Maybe"}])) is None


def test_wider_denies_are_trusted() -> None:
    assert judged(setting("Action", "s3:*"), setting("Resource", "*")) is None


@pytest.mark.parametrize(
    "others",
    [
        (f"arn:aws:iam::{ACCOUNT}:role/deployer",),
        (f"arn:aws:iam::{ACCOUNT}:role/nightly-2",),
        (f"arn:aws:iam::{ACCOUNT}:role/NIGHTLY",),
        (f"arn:aws:iam::{ACCOUNT}:user/nightly",),
        (f"arn:aws:iam::{ACCOUNT}:root",),
        ("arn:aws:iam::210987654321:role/nightly",),
        (SESSION.replace("/nightly/", "/nightly-2/"),),
    ],
)
def test_nobody_else_may_be_left_out_of_the_denies(others: tuple[str, ...]) -> None:
    assert judged(principal(ROLE, *others)) is not None
    assert judged(principal(*others)) is not None


@pytest.mark.parametrize(
    "value",
    [
        "*",
        f"arn:aws:iam::{ACCOUNT}:role/nightly*",
        f"arn:aws:iam::{ACCOUNT}:role/*",
        "arn:aws:iam::*:role/nightly",
        f"arn:aws:iam::{ACCOUNT}:role/nigh?ly",
        "${aws:PrincipalArn}",
        f"arn:aws:iam::{ACCOUNT}:role/${{aws:PrincipalTag/role}}",
    ],
)
def test_patterns_are_not_trusted(value: str) -> None:
    assert judged(principal(ROLE, value, operator="ArnNotLike")) is not None


@pytest.mark.parametrize("action", [*OBJECT_ACTIONS, *BUCKET_ACTIONS])
def test_each_action_is_needed(action: str) -> None:
    def without(statements: list[dict[str, Any]]) -> None:
        for one in statements:
            one["Action"] = [each for each in one["Action"] if each != action]

    found = judged(without)
    assert found is not None
    assert action in found


@pytest.mark.parametrize(
    "edit",
    [
        setting("Effect", "Allow"),
        setting("Principal", {"AWS": f"arn:aws:iam::{ACCOUNT}:root"}),
        setting("Principal", {"Service": "*"}),
        setting("Resource", "arn:aws:s3:::shop-nightly/other/*"),
        setting("Resource", "arn:aws:s3:::shop-nightly-2/records/*"),
        principal(ROLE, operator="ArnEquals"),
        principal(ROLE, key="aws:SourceArn"),
        principal(ACCOUNT, operator="StringNotEquals", key="aws:PrincipalAccount"),
        principal(f"{ROLE}-x", operator="ArnNotEquals"),
        setting("Condition", {"ArnNotEquals": {"aws:PrincipalArn": ROLE}, "Bool": {"aws:SecureTransport": "false"}}),
        setting("Condition", {"ArnNotEquals": {"aws:PrincipalArn": ROLE}, "Null": {"aws:PrincipalArn": "false"}}),
        lambda statements: statements.clear(),
        lambda statements: statements.pop(0),
        lambda statements: statements.pop(1),
    ],
)
def test_denies_that_leave_something_open_are_not_trusted(edit: Edit) -> None:
    assert judged(edit) is not None


def test_a_deny_without_exception_is_trusted_and_keeps_everybody_out() -> None:
    assert judged(lambda statements: [one.pop("Condition") for one in statements]) is None


@pytest.mark.parametrize("text", ["", "no JSON", "[]", "{}", '{"Statement": 3}', '{"Statement": [3]}', "[" * 50_000])
def test_a_policy_that_cannot_be_read_is_not_trusted(text: str) -> None:
    assert judge(text, LOCATION, SESSION) is not None


def test_names_from_a_policy_are_shown_without_effect() -> None:
    found = judged(principal(ROLE, f"arn:aws:iam::{ACCOUNT}:role/\x1b[31m"))
    assert found is not None
    assert "\x1b" not in found


@pytest.mark.parametrize(
    ("text", "location"),
    [
        ("s3://shop-nightly/records", Location("shop-nightly", "records")),
        ("s3://shop-nightly/a/b.c_d-e/", Location("shop-nightly", "a/b.c_d-e")),
    ],
)
def test_a_location_is_a_bucket_and_a_prefix(text: str, location: Location) -> None:
    assert parse_location(text) == location
    assert location.key.endswith("/records.json")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "shop-nightly/records",
        "https://shop-nightly/records",
        "s3://",
        "s3://shop-nightly",
        "s3://shop-nightly/",
        "s3:///records",
        "s3://UPPER/records",
        "s3://a..b/records",
        "s3://shop-nightly//records",
        "s3://shop-nightly/a//b",
        "s3://shop-nightly/../b",
        "s3://shop-nightly/a*",
        "s3://shop-nightly/${aws:username}",
        "s3://shop-nightly/a b",
        "s3://shop-nightly/a\n",
        f"s3://shop-nightly/{'a' * 201}",
    ],
)
def test_other_locations_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--records"):
        parse_location(text)

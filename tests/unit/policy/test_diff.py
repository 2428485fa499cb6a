"""The access diff: what it says, and that it is silent about nothing."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ci_user.policy import catalogue, documents, lint_template
from ci_user.policy.conditions import Context, holds
from ci_user.policy.diff import AccessDiff, Actions, Change, Resources, diff
from ci_user.policy.diff_words import words
from ci_user.policy.statement import Statement, statements
from ci_user.policy.statement import Test as Condition

ROOT = Path(__file__).resolve().parents[3]
BUCKETS = "arn:aws:s3:::shop-*"
QUEUE = "arn:aws:sqs:eu-west-1:123456789012:q"


def parsed(*entries: dict[str, Any]) -> tuple[Statement, ...]:
    return statements({"Statement": list(entries)}, "mine") if entries else ()


def rule(actions: Any, resources: Any = BUCKETS, effect: str = "Allow", **more: Any) -> dict[str, Any]:
    return {"Effect": effect, "Action": actions, "Resource": resources, **more}


def lines(old: Iterable[dict[str, Any]], new: Iterable[dict[str, Any]]) -> list[str]:
    return list(diff(parsed(*old), parsed(*new)).lines())


GETS = len(catalogue.expand("s3:Get*"))
REST = len(catalogue.expand("*")) - len(catalogue.expand("iam:*")) - len(catalogue.expand("sts:*"))
VPC: dict[str, Any] = {"Condition": {"StringEquals": {"aws:SourceVpc": "vpc-1"}}}


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ([], [rule("s3:DeleteBucket")], ["+ s3:DeleteBucket on arn:aws:s3:::shop-*"]),
        ([rule("sqs:SendMessage", "*", **VPC)], [], ["- sqs:SendMessage on * if aws:SourceVpc is vpc-1"]),
        (
            [rule("s3:Get*")],
            [rule("s3:GetObject")],
            [f"- s3:Get* ({GETS - 1} of {GETS} actions) on arn:aws:s3:::shop-*"],
        ),
        (
            [rule("s3:GetObject")],
            [rule("s3:Get*")],
            [f"+ s3:Get* ({GETS - 1} of {GETS} actions) on arn:aws:s3:::shop-*"],
        ),
        ([], [rule("s3:Get*")], [f"+ s3:Get* ({GETS} actions) on arn:aws:s3:::shop-*"]),
        (
            [rule(["sqs:Send*"], QUEUE)],
            [rule(["sqs:S*"], QUEUE)],
            ["+ sqs:SetQueueAttributes and sqs:StartMessageMoveTask (of sqs:S*) on " + QUEUE],
        ),
        (
            [rule(["sqs:SendMessage"], QUEUE)],
            [rule(["sqs:Send*"], QUEUE)],
            ["+ sqs:Send* (no action known today) on " + QUEUE],
        ),
        (
            [rule("s3:*")],
            [rule("s3:*"), rule("s3:DeleteBucket", "*", "Deny")],
            ["- s3:DeleteBucket on * is denied now"],
        ),
        (
            [rule("s3:*"), rule("s3:DeleteBucket", "*", "Deny", **VPC)],
            [rule("s3:*")],
            ["+ s3:DeleteBucket on * is no longer denied if aws:SourceVpc is vpc-1"],
        ),
        ([], [rule("s3:Nothing")], ["+ s3:nothing on arn:aws:s3:::shop-*"]),
        (
            [],
            [{"Effect": "Allow", "NotAction": ["iam:*", "sts:*"], "NotResource": BUCKETS}],
            [f"+ everything but iam:* and sts:* ({REST:,} actions) on everything but arn:aws:s3:::shop-*"],
        ),
        ([rule("s3:GetObject", **VPC)], [rule("s3:GetObject")], ["+ s3:GetObject on arn:aws:s3:::shop-*"]),
        (
            [rule("s3:GetObject")],
            [rule("s3:GetObject", **VPC)],
            ["- s3:GetObject on arn:aws:s3:::shop-*"],
        ),
        (
            [rule("s3:GetObject", "arn:aws:s3:::a")],
            [rule("s3:GetObject", "arn:aws:s3:::a*")],
            ["+ s3:GetObject on arn:aws:s3:::a*"],
        ),
        (
            [],
            [rule(["s3:GetObject", "sqs:SendMessage"], [BUCKETS, QUEUE])],
            ["+ s3:GetObject on arn:aws:s3:::shop-*", f"+ sqs:SendMessage on {QUEUE}"],
        ),
        (
            [],
            [rule(["s3:GetObject", "s3:PutObject"], ["arn:aws:s3:::a", "arn:aws:s3:::b"])],
            ["+ s3:GetObject and s3:PutObject on arn:aws:s3:::a and arn:aws:s3:::b"],
        ),
        (
            [],
            [
                rule(
                    [f"s3:{name}Object" for name in ("Get", "Put", "Delete", "Restore")]
                    + ["s3:ListBucket", "s3:PutObjectAcl"]
                )
            ],
            ["+ s3:GetObject, s3:PutObject, s3:DeleteObject, s3:RestoreObject and 2 more on arn:aws:s3:::shop-*"],
        ),
        ([], [rule("sqs:SendMessage", BUCKETS)], ["+ sqs:SendMessage on arn:aws:s3:::shop-*"]),
    ],
)
def test_a_change_in_words(old: list[dict[str, Any]], new: list[dict[str, Any]], expected: list[str]) -> None:
    assert lines(old, new) == expected


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ([rule("s3:Get*")], [rule(["s3:GetObject", "s3:Get*"])]),
        ([rule("*", "*")], [rule(["*", "s3:*"], ["*", BUCKETS])]),
        (
            [rule("s3:*"), rule("s3:Delete*", "*", "Deny")],
            [rule("s3:*"), rule(["s3:Delete*", "s3:DeleteBucket"], "*", "Deny")],
        ),
        ([rule("s3:GetObject", "*")], [rule("s3:GetObject", "*"), rule("s3:GetObject", BUCKETS, **VPC)]),
        (
            [{"Effect": "Allow", "NotAction": ["a:*", "b:*"], "Resource": "*"}] * 2,
            [{"Effect": "Allow", "NotAction": ["b:*", "a:*"], "Resource": "*"}],
        ),
        (
            [{"Effect": "Deny", "Action": "*", "NotResource": ["x", "y"]}],
            [{"Effect": "Deny", "Action": "*", "NotResource": ["y", "x"]}],
        ),
        (
            [rule("s3:GetObject", Condition={"StringLike": {"aws:userid": ["a", "b"]}})],
            [rule("S3:getobject", Condition={"StringLike": {"AWS:userid": ["b", "a"]}})],
        ),
    ],
)
def test_what_means_the_same_is_no_change(old: list[dict[str, Any]], new: list[dict[str, Any]]) -> None:
    assert lines(old, new) == []
    assert lines(new, old) == []
    assert not diff(parsed(*old), parsed(*new))


@pytest.mark.parametrize(
    ("wide", "narrow"),
    [
        ({}, {"StringEquals": {"aws:userid": "a"}}),
        ({"StringEquals": {"aws:userid": ["a", "b"]}}, {"StringEquals": {"aws:userid": "a"}}),
        ({"StringNotEquals": {"aws:userid": "a"}}, {"StringNotEquals": {"aws:userid": ["a", "b"]}}),
        ({"StringEqualsIfExists": {"aws:userid": "a"}}, {"StringEquals": {"aws:userid": "a"}}),
        (
            {"Bool": {"aws:SecureTransport": "true"}},
            {"Bool": {"aws:SecureTransport": "true"}, "Null": {"aws:userid": "false"}},
        ),
    ],
)
def test_a_condition_that_got_narrower_is_a_loss_only(wide: dict[str, Any], narrow: dict[str, Any]) -> None:
    old, new = rule("s3:GetObject", Condition=wide), rule("s3:GetObject", Condition=narrow)
    assert [line[0] for line in lines([old], [new])] == ["-"]
    assert [line[0] for line in lines([new], [old])] == ["+"]
    old, new = (
        rule("s3:GetObject", effect="Deny", Condition=wide),
        rule("s3:GetObject", effect="Deny", Condition=narrow),
    )
    assert [line[0] for line in lines([old], [new])] == ["+"]
    assert [line[0] for line in lines([new], [old])] == ["-"]


def test_conditions_that_cannot_be_compared_are_told_on_both_sides() -> None:
    old = rule("s3:GetObject", Condition={"StringLike": {"aws:userid": "a*"}})
    new = rule("s3:GetObject", Condition={"StringLike": {"aws:userid": "ab*"}})
    assert [line[0] for line in lines([old], [new])] == ["+", "-"]


def test_what_a_denial_takes_away_in_any_case_is_not_gained() -> None:
    denial = rule("s3:Delete*", "*", "Deny")
    assert lines([denial], [denial, rule(["s3:GetObject", "s3:DeleteBucket"])]) == [
        "+ s3:GetObject on arn:aws:s3:::shop-*"
    ]
    conditional = rule("s3:Delete*", "*", "Deny", **VPC)
    assert len(lines([conditional], [conditional, rule("s3:DeleteBucket")])) == 1


def test_the_number_of_lines_is_bounded_and_the_rest_is_counted() -> None:
    new = [
        rule("s3:GetObject", f"arn:aws:s3:::b{number}", Condition={"Bool": {f"aws:PrincipalTag/{number}": "true"}})
        for number in range(50)
    ]
    found = diff((), parsed(*new))
    assert len(found.lines()) == 41
    assert found.lines()[-1] == "+ and 10 more"
    assert len(found.lines(most=60)) == len(found.gained) == 50


def test_what_a_policy_holds_cannot_steer_a_terminal() -> None:
    condition = {"StringLike": {"aws:PrincipalTag/\x1b": "\u202e\x1b[2J"}}
    (line,) = lines([], [rule("s3:Get\x07*", "arn:aws:s3:::\x1b[31m", Condition=condition)])
    assert line.isprintable()


@pytest.mark.parametrize(
    ("test", "expected"),
    [
        (Condition("StringEquals", "", False, "aws:sourcevpc", ("vpc-1",)), "aws:SourceVpc is vpc-1"),
        (Condition("StringLike", "", True, "aws:userid", ("a*", "b")), "aws:userid is like a* or b or absent"),
        (Condition("StringNotEquals", "", False, "aws:userid", ("a", "b")), "aws:userid is not a nor b"),
        (Condition("StringEquals", "", False, "aws:requesttag/team", ("",)), "aws:RequestTag/team is empty"),
        (Condition("Null", "", False, "aws:tagkeys", ("true",)), "aws:TagKeys is absent"),
        (Condition("Null", "", False, "iam:awsservicename", ("false",)), "iam:AWSServiceName is there"),
        (Condition("StringEquals", "ForAllValues", False, "aws:tagkeys", ("a",)), "every value of aws:TagKeys is a"),
        (Condition("StringLike", "ForAnyValue", False, "aws:tagkeys", ("a",)), "a value of aws:TagKeys is like a"),
        (Condition("NumericLessThanEquals", "", False, "zzz:key", ("3",)), "zzz:key is at most 3"),
        (Condition("DateGreaterThan", "", False, "aws:currenttime", ("2030",)), "aws:CurrentTime is after 2030"),
        (Condition("NotIpAddress", "", False, "aws:sourceip", ("10.0.0.0/8",)), "aws:SourceIp is not in 10.0.0.0/8"),
        (
            Condition("ArnLike", "", False, "aws:principalarn", tuple("abcdef")),
            "aws:PrincipalArn is like a, b, c, d or 2 more",
        ),
    ],
)
def test_a_condition_in_words(test: Condition, expected: str) -> None:
    assert words(test) == expected


def test_every_operator_has_words() -> None:
    from ci_user.policy.statement import OPERATORS

    for name in OPERATORS.values():
        assert words(Condition(name, "", False, "aws:userid", ("true",)))


# Properties. The patterns overlap in every way that patterns can; "Future" stands for what AWS adds next year.
ACTIONS = ["s3:GetObject", "s3:PutObject", "s3:Get*", "s3:?etObject", "s3:*Object", "s3:*", "s3:Future", "sqs:*", "*"]
ACTIONS += ["sqs:SendMessage", "sqs:Send*", "sqs:S*Message", "zzz:Do", "zzz:*"]
RESOURCES = ["*", BUCKETS, "arn:aws:s3:::shop-a", "arn:aws:s3:::*a", "arn:aws:s3:::s?op-*", QUEUE, "arn:aws:sqs:*:*:*"]
CONDITIONS: list[dict[str, Any]] = [
    {},
    {"StringEquals": {"aws:userid": "a"}},
    {"StringEquals": {"aws:userid": ["a", "b"]}},
    {"StringNotEquals": {"aws:userid": "a"}},
    {"StringNotEquals": {"aws:userid": ["a", "b"]}},
    {"StringEqualsIfExists": {"aws:userid": "a"}},
    {"StringNotEqualsIfExists": {"aws:userid": "a"}},
    {"Null": {"aws:userid": "false"}},
    {"StringLike": {"aws:userid": "*"}, "Null": {"aws:TagKeys": "false"}},
    {"Null": {"aws:userid": "true"}},
    {"ForAllValues:StringEquals": {"aws:TagKeys": ["a"]}},
    {"ForAllValues:StringNotEquals": {"aws:TagKeys": ["a", "b"]}},
    {"ForAnyValue:StringEquals": {"aws:TagKeys": ["a", "b"]}},
    {"ForAnyValue:StringNotEqualsIfExists": {"aws:TagKeys": ["a"]}},
]


def some(options: Sequence[str], most: int = 3) -> st.SearchStrategy[list[str]]:
    return st.lists(st.sampled_from(options), min_size=1, max_size=most)


RULES = st.builds(
    lambda effect, actions, resources, condition: {"Effect": effect, **actions, **resources, "Condition": condition},
    st.sampled_from(["Allow", "Allow", "Deny"]),
    st.builds(lambda name, items: {name: items}, st.sampled_from(["Action", "Action", "NotAction"]), some(ACTIONS)),
    st.builds(
        lambda name, items: {name: items}, st.sampled_from(["Resource", "Resource", "NotResource"]), some(RESOURCES)
    ),
    st.sampled_from(CONDITIONS),
)
POLICIES = st.lists(RULES, max_size=4)

# What a request can be: its resource lies in the action's own service.
REQUESTS = [
    (action, resource)
    for action in (
        "s3:GetObject",
        "s3:PutObject",
        "s3:DeleteObject",
        "s3:Future",
        "sqs:SendMessage",
        "sqs:Future",
        "zzz:Do",
    )
    for resource in (
        "arn:aws:s3:::shop-a",
        "arn:aws:s3:::shop-b",
        "arn:aws:s3:::xa",
        QUEUE,
        f"{QUEUE}2",
        "arn:aws:zzz:::x",
    )
    if resource.split(":")[2] == action.split(":")[0]
]
CONTEXTS = [
    Context({key: values for key, values in (("aws:userid", users), ("aws:tagkeys", tags)) if values})
    for users in ((), ("a",), ("b",), ("c",))
    for tags in ((), ("a",), ("b",), ("a", "c"))
]


def any_matches(patterns: Sequence[str] | None, text: str) -> bool:
    return any(fnmatchcase(text, pattern) for pattern in patterns or ())


def speaks_of(one: Statement, action: str, resource: str, context: Context) -> bool:
    acts = any_matches(one.actions, action.lower()) if one.actions else not any_matches(one.not_actions, action.lower())
    on = any_matches(one.resources, resource) if one.resources else not any_matches(one.not_resources, resource)
    return acts and on and all(holds(test, context) is True for test in one.tests)


def allowed(policy: Sequence[Statement], action: str, resource: str, context: Context) -> bool:
    about = [one.allows for one in policy if speaks_of(one, action, resource, context)]
    return bool(about) and all(about)


def told(changes: Sequence[Change], action: str, resource: str, context: Context) -> bool:
    """Tell whether a change names a request; an action that is known must be among those that are said to differ."""
    known = catalogue.action(action)

    def acts(one: Change) -> bool:
        named = any(
            not any_matches(actions.but, action.lower())
            if actions.pattern is None
            else fnmatchcase(action.lower(), actions.pattern)
            for actions in one.actions
        )
        return named and (known is None or known.full in one.differing)

    def on(one: Change) -> bool:
        return any(
            not any_matches(place.but, resource) if place.pattern is None else fnmatchcase(resource, place.pattern)
            for place in one.resources
        )

    return any(acts(one) and on(one) and all(holds(test, context) is True for test in one.tests) for one in changes)


def assert_sound(old: Sequence[dict[str, Any]], new: Sequence[dict[str, Any]]) -> None:
    before, after = parsed(*old), parsed(*new)
    found = diff(before, after)
    for action, resource in REQUESTS:
        for context in CONTEXTS:
            was, will = (allowed(one, action, resource, context) for one in (before, after))
            if will and not was:
                assert told(found.gained, action, resource, context), (action, resource, context, found.lines())
            if was and not will:
                assert told(found.lost, action, resource, context), (action, resource, context, found.lines())


@settings(max_examples=200, deadline=None)
@given(POLICIES, POLICIES)
def test_whatever_is_newly_allowed_or_no_longer_is_told(old: list[dict[str, Any]], new: list[dict[str, Any]]) -> None:
    assert_sound(old, new)


EVERYTHING = rule("*", "*")


@pytest.mark.parametrize("effect", ["Allow", "Deny"])
def test_no_change_of_a_condition_is_missed(effect: str) -> None:
    for one, other in itertools.permutations(CONDITIONS, 2):
        old, new = (rule("s3:GetObject", "*", effect, Condition=condition) for condition in (one, other))
        base = [EVERYTHING] if effect == "Deny" else []
        assert_sound([*base, old], [*base, new])


def lists(name: str, options: Sequence[str]) -> list[dict[str, list[str]]]:
    chosen = [*itertools.combinations(options, 1), *itertools.combinations(options, 2)]
    return [{f"{negated}{name}": list(items)} for negated in ("", "Not") for items in chosen]


@pytest.mark.parametrize("effect", ["Allow", "Deny"])
def test_no_change_of_actions_is_missed(effect: str) -> None:
    base = [EVERYTHING] if effect == "Deny" else []
    for one, other in itertools.permutations(lists("Action", ["s3:*", "s3:Get*", "s3:GetObject", "sqs:*"]), 2):
        assert_sound(*([*base, {"Effect": effect, "Resource": "*", **actions}] for actions in (one, other)))


@pytest.mark.parametrize("effect", ["Allow", "Deny"])
def test_no_change_of_resources_is_missed(effect: str) -> None:
    base = [EVERYTHING] if effect == "Deny" else []
    for one, other in itertools.permutations(lists("Resource", [*RESOURCES[:5], QUEUE]), 2):
        assert_sound(*([*base, {"Effect": effect, "Action": "s3:*", **resources}] for resources in (one, other)))


@settings(deadline=None)
@given(POLICIES)
def test_a_policy_does_not_differ_from_itself(policy: list[dict[str, Any]]) -> None:
    assert diff(parsed(*policy), parsed(*policy)) == AccessDiff((), ())


@settings(deadline=None)
@given(st.data())
def test_order_splitting_and_repeating_make_no_difference(data: st.DataObject) -> None:
    policy = data.draw(POLICIES)
    other = []
    for one in data.draw(st.permutations(policy)):
        pieces = [one]
        for element in ("Action", "Resource"):
            if element in one and data.draw(st.booleans()):
                items = data.draw(st.permutations(one[element]))
                pieces = [{**piece, element: [item]} for piece in pieces for item in items]
        other += pieces * data.draw(st.integers(1, 2))
    found = diff(parsed(*policy), parsed(*other))
    assert found.lines() == ()
    assert diff(parsed(*other), parsed(*policy)).lines() == ()


@settings(deadline=None)
@given(POLICIES, POLICIES)
def test_the_way_back_is_the_opposite(old: list[dict[str, Any]], new: list[dict[str, Any]]) -> None:
    there, back = diff(parsed(*old), parsed(*new)), diff(parsed(*new), parsed(*old))
    assert (there.gained, there.lost) == (back.lost, back.gained)


@settings(deadline=None)
@given(POLICIES, POLICIES)
def test_every_change_has_a_line(old: list[dict[str, Any]], new: list[dict[str, Any]]) -> None:
    found = diff(parsed(*old), parsed(*new))
    assert len(found.lines(most=1_000)) == len(found.gained) + len(found.lost)
    assert all(line.isprintable() and line[:2] in ("+ ", "- ") for line in found.lines())


@pytest.mark.parametrize("path", sorted(documents.directory(ROOT).rglob("*.json")), ids=lambda path: path.stem)
def test_every_shipped_document_can_be_compared(path: Path) -> None:
    sample = parsed(*json.loads((documents.directory(ROOT) / "sample.json").read_text())["Statement"])
    other = statements(lint_template.rendered(documents.read(path)), path.stem)
    assert not diff(other, other)
    assert bool(diff(sample, other)) is (path.stem != "sample")
    assert len(diff(sample, other).lines()) <= 82


def test_pathological_patterns_are_compared() -> None:
    old = parsed(rule("s3:" + "*a" * 200, "arn:aws:s3:::" + "*a?" * 500, effect="Deny"))
    new = parsed({"Effect": "Allow", "NotAction": "s3:" + "*a" * 200, "NotResource": "arn:aws:s3:::" + "*?a" * 500})
    assert diff(old, new)


def test_units_of_a_change_are_values() -> None:
    (change,) = diff((), parsed(rule("s3:GetObject"))).gained
    assert change == Change((Actions("s3:getobject"),), (Resources(BUCKETS),), (), False, ("s3:GetObject",))

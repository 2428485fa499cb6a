"""The search for a request: whatever a concrete request shows to be allowed is found, and what is found is allowed."""

from __future__ import annotations

import itertools
import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from ci_user.policy.conditions import Context
from ci_user.policy.evaluate import Request, evaluate
from ci_user.policy.holder import Holder
from ci_user.policy.statement import Statement, parse
from ci_user.policy.ways import Ask, best, known_names, strangers, way

IAM = "arn:aws:iam::123456789012:"
BOUNDARIES = (f"{IAM}policy/one", f"{IAM}policy/two", "arn:aws:iam::aws:policy/AdministratorAccess")
NAMES = ("a", "ab", "b", "abc", "x/a")

ROLES = st.sampled_from([f"{IAM}role/{name}" for name in ("*", "a*", "*b", "a", "x/*", "?b")])
KEYS = st.sampled_from(["iam:PermissionsBoundary", "aws:RequestTag/team", "aws:TagKeys", "iam:PassedToService"])
OPERATORS = st.sampled_from(
    [
        "StringEquals",
        "StringNotEquals",
        "StringLike",
        "StringNotLike",
        "StringEqualsIfExists",
        "StringNotEqualsIfExists",
        "ForAnyValue:StringEquals",
        "ForAllValues:StringLike",
        "ForAnyValue:StringNotLike",
        "Null",
    ]
)
VALUES = st.sampled_from([*BOUNDARIES, f"{IAM}policy/*", "*", "shop", "s*"])


@st.composite
def conditions(draw: st.DrawFn) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for _ in range(draw(st.integers(0, 2))):
        operator = draw(OPERATORS)
        values = st.sampled_from(["true", "false"]) if operator == "Null" else st.lists(VALUES, min_size=1, max_size=2)
        found.setdefault(operator, {})[draw(KEYS)] = draw(values)
    return found


@st.composite
def statements(draw: st.DrawFn) -> dict[str, Any]:
    entry: dict[str, Any] = {"Effect": draw(st.sampled_from(["Allow", "Allow", "Deny"]))}
    entry[draw(st.sampled_from(["Action", "Action", "Action", "NotAction"]))] = draw(
        st.lists(st.sampled_from(["iam:CreateRole", "iam:PutRolePolicy", "iam:*Role", "s3:*"]), min_size=1, max_size=2)
    )
    entry[draw(st.sampled_from(["Resource", "Resource", "NotResource"]))] = draw(
        st.lists(ROLES, min_size=1, max_size=2)
    )
    found = draw(conditions())
    return entry | ({"Condition": found} if found else {})


def policy(entries: list[dict[str, Any]]) -> tuple[Statement, ...]:
    return parse(json.dumps({"Version": "2012-10-17", "Statement": entries}), "p")


DOCUMENTS = st.lists(statements(), min_size=1, max_size=4).map(policy)
HOLDERS = st.builds(Holder, DOCUMENTS, st.one_of(st.none(), DOCUMENTS), arn=st.just(f"{IAM}user/ci"))
CONTEXTS = tuple(
    {"iam:permissionsboundary": boundary, "aws:requesttag/team": team, "aws:tagkeys": ("team",) if team else ()}
    for boundary, team in itertools.product([(), *((one,) for one in BOUNDARIES)], [(), ("shop",), ("sales",)])
)


@settings(max_examples=300, deadline=None)
@given(HOLDERS)
def test_no_request_that_is_allowed_is_missed(holder: Holder) -> None:
    for name, keys in itertools.product(NAMES, CONTEXTS):
        request = Request("iam:CreateRole", f"{IAM}role/{name}", Context(keys))
        if evaluate(holder.identity, holder.boundary, request).allowed:
            found = way(holder, [Ask("iam:CreateRole")], request.resource)
            assert found is not None
            assert found.certain
            texts = (*strangers(holder, "iam:CreateRole"), *known_names(holder, ["iam:CreateRole"]))
            anywhere = best(way(holder, [Ask("iam:CreateRole")], text) for text in texts)
            assert anywhere is not None
            assert anywhere.certain


@settings(max_examples=300, deadline=None)
@given(HOLDERS)
def test_two_calls_on_one_resource_have_to_fit_together(holder: Holder) -> None:
    asks = [Ask("iam:CreateRole"), Ask("iam:PutRolePolicy")]
    for name, boundary in itertools.product(NAMES, [(), *((one,) for one in BOUNDARIES)]):
        resource = f"{IAM}role/{name}"
        keys = {"iam:permissionsboundary": boundary}
        answers = [
            evaluate(holder.identity, holder.boundary, Request(ask.action, resource, Context(keys))) for ask in asks
        ]
        if all(answer.allowed for answer in answers):
            found = way(holder, asks, resource)
            assert found is not None
            assert found.certain
        if way(holder, asks, resource) is not None:
            assert all(way(holder, [ask], resource) is not None for ask in asks)


@settings(max_examples=200, deadline=None)
@given(HOLDERS)
def test_what_is_certain_is_allowed_on_that_resource_with_some_keys(holder: Holder) -> None:
    for name in NAMES:
        found = way(holder, [Ask("iam:PutRolePolicy")], f"{IAM}role/{name}")
        if found is not None and found.certain:
            tried = [
                (),
                *((one,) for one in (*BOUNDARIES, f"{IAM}policy/z", f"{IAM}policy/*", "*", "shop", "s*", "other")),
            ]
            assert any(
                evaluate(
                    holder.identity,
                    holder.boundary,
                    Request("iam:PutRolePolicy", found.resource, Context({"iam:permissionsboundary": keys})),
                ).allowed
                for keys in tried
            )

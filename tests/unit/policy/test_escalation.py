"""Escalation: every loosened boundary, wildcard, split and negation, each beside the one that holds."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ci_user.policy import documents, guard
from ci_user.policy.escalation import escalation
from ci_user.policy.escalation_model import Escalation
from ci_user.policy.holder import Holder
from ci_user.policy.statement import Statement, parse, statements

ROOT = Path(__file__).resolve().parents[3]
IAM = "arn:aws:iam::123456789012:"
BOUNDARY = f"{IAM}policy/guard/shop-prod-role-boundary"
ADMINISTRATOR = "arn:aws:iam::aws:policy/AdministratorAccess"
ROLES = f"{IAM}role/ci/shop-prod/*"
KEY = "iam:PermissionsBoundary"
MAKE = ["iam:CreateRole", "iam:PutRolePolicy"]

Piece = dict[str, Any]


def allow(action: str | list[str], resource: str | list[str] = "*", condition: Any = None) -> Piece:
    return {"Effect": "Allow", "Action": action, "Resource": resource} | ({"Condition": condition} if condition else {})


def deny(action: str | list[str], resource: str | list[str] = "*", condition: Any = None) -> Piece:
    return allow(action, resource, condition) | {"Effect": "Deny"}


def policy(*pieces: Piece, name: str = "p") -> tuple[Statement, ...]:
    return parse(json.dumps({"Version": "2012-10-17", "Statement": list(pieces)}), name)


def judged(*pieces: Piece, boundary: tuple[Piece, ...] | None = None, **more: Any) -> Escalation:
    return escalation(Holder(policy(*pieces), policy(*boundary, name="b") if boundary else None, **more))


def roles(condition: Any, *more: Piece) -> tuple[Piece, ...]:
    """Roles may be made and written under one path, on a condition."""
    return (allow(MAKE, ROLES, condition), *more)


EXACT = {"StringEquals": {KEY: BOUNDARY}}

SAFE: dict[str, tuple[Piece, ...]] = {
    "an exact boundary": roles(EXACT),
    "an exact boundary, written with Like": roles({"StringLike": {KEY: BOUNDARY}}),
    "an exact boundary, written as an ARN": roles({"ArnEquals": {KEY: BOUNDARY}}),
    "an exact boundary, ignoring case": roles({"StringEqualsIgnoreCase": {KEY: BOUNDARY}}),
    "an exact boundary and its presence": roles({**EXACT, "Null": {KEY: "false"}}),
    "an exact boundary, on any value": roles({"ForAnyValue:StringEquals": {KEY: BOUNDARY}}),
    "only the making on condition": (allow("iam:CreateRole", ROLES, EXACT), allow("iam:PutRolePolicy", ROLES)),
    "a deny unless the boundary": (allow(MAKE, ROLES), deny(MAKE, "*", {"StringNotEquals": {KEY: BOUNDARY}})),
    "a deny unless the boundary, absent included": (
        allow(MAKE, ROLES),
        deny(MAKE, "*", {"StringNotEqualsIfExists": {KEY: BOUNDARY}}),
    ),
    "a deny of the making unless the boundary": (
        allow(MAKE, ROLES),
        deny("iam:CreateRole", "*", {"StringNotEquals": {KEY: BOUNDARY}}),
    ),
    "another boundary, on the same condition": roles(EXACT, allow("iam:PutRolePermissionsBoundary", ROLES, EXACT)),
    "removing the boundary, denied": roles(
        EXACT, allow("iam:*RolePermissionsBoundary", ROLES), deny("iam:*RolePermissionsBoundary")
    ),
    "editing policies, of which the boundary is none": roles(
        EXACT, allow("iam:GetPolicyVersion", f"{IAM}policy/guard/*")
    ),
    "passing a bounded role": roles(
        EXACT, allow("iam:PassRole", ROLES), allow(["lambda:CreateFunction", "lambda:InvokeFunction"])
    ),
    "passing to a service that it may not use": (
        allow("iam:PassRole", "*", {"StringEquals": {"iam:PassedToService": "ec2.amazonaws.com"}}),
        allow(["lambda:CreateFunction", "lambda:InvokeFunction"]),
    ),
    "passing without anything that takes a role": (allow("iam:PassRole"),),
    "its own keys": (allow("iam:CreateAccessKey", f"{IAM}user/${{aws:username}}"),),
    "reading": (allow(["s3:Get*", "ec2:Describe*", "iam:Get*", "iam:List*"]),),
    "a permission that is over": (allow("*", "*", {"DateLessThan": {"aws:CurrentTime": "2020-01-01T00:00:00Z"}}),),
    "everything, denied": (allow("*"), deny("*")),
    "all but IAM, with what runs as somebody else denied": (
        {"Effect": "Allow", "NotAction": ["iam:*", "sts:*"], "Resource": "arn:aws:s3:::*"},
    ),
    "a condition on a key that the action does not know": (
        allow("iam:PutUserPolicy", "*", {"StringEquals": {"iam:PassedToService": "lambda.amazonaws.com"}}),
    ),
    "a wildcard that StringEquals takes for a character": roles({"StringEquals": {KEY: f"{IAM}policy/*"}}),
    "two conditions that exclude each other": (
        allow(MAKE, ROLES, {"StringEquals": {KEY: BOUNDARY}, "Null": {KEY: "true"}}),
    ),
}

ESCALATES: dict[str, tuple[Piece, ...]] = {
    "no boundary": roles(None),
    "no boundary, split over two statements": (allow("iam:CreateRole", ROLES), allow("iam:PutRolePolicy", ROLES)),
    "no boundary, where two patterns meet": (
        allow("iam:CreateRole", f"{IAM}role/a*"),
        allow("iam:PutRolePolicy", f"{IAM}role/*b"),
    ),
    "any boundary": roles({"StringLike": {KEY: "*"}}),
    "any boundary, as an ARN": roles({"ArnLike": {KEY: "arn:aws:iam::*:policy/*"}}),
    "any boundary of the account": roles({"StringLike": {KEY: f"{IAM}policy/*"}}),
    "a boundary only if there is one": roles({"StringEqualsIfExists": {KEY: BOUNDARY}}),
    "a boundary for all of no values": roles({"ForAllValues:StringEquals": {KEY: BOUNDARY}}),
    "only that there is a boundary": roles({"Null": {KEY: "false"}}),
    "only that there is none": roles({"Null": {KEY: "true"}}),
    "any boundary but one": roles({"StringNotEquals": {KEY: f"{IAM}policy/other"}}),
    "an administrator as the boundary": roles({"StringEquals": {KEY: ADMINISTRATOR}}),
    "an administrator among the boundaries": roles({"StringEquals": {KEY: [BOUNDARY, ADMINISTRATOR]}}),
    "a boundary that can be taken off": roles(EXACT, allow("iam:DeleteRolePermissionsBoundary", ROLES)),
    "a boundary that can be exchanged": roles(EXACT, allow("iam:PutRolePermissionsBoundary", ROLES)),
    "a boundary that can be written": roles(EXACT, allow("iam:CreatePolicyVersion", f"{IAM}policy/guard/*")),
    "a boundary that can be switched back": roles(EXACT, allow("iam:SetDefaultPolicyVersion", BOUNDARY)),
    "a boundary that can be made anew": roles(EXACT, allow(["iam:DeletePolicy", "iam:CreatePolicy"], BOUNDARY)),
    "a name that can be given to an own policy": roles(
        {"StringLike": {KEY: f"{IAM}policy/ci-*"}}, allow("iam:CreatePolicy", f"{IAM}policy/ci-x*")
    ),
    "a deny that an absent boundary gets around": (
        allow(MAKE, ROLES),
        deny(MAKE, "*", {"ForAnyValue:StringNotEquals": {KEY: BOUNDARY}}),
    ),
    "a deny that names another path": (allow(MAKE, ROLES), deny(MAKE, f"{IAM}role/ci/other/*")),
    "a deny with NotResource that leaves it out": (
        allow(MAKE, ROLES),
        {"Effect": "Deny", "Action": MAKE, "NotResource": ROLES},
    ),
    "wildcards in actions": (allow(["iam:C*Role", "iam:?utRolePolicy"], ROLES),),
    "everything but something": ({"Effect": "Allow", "NotAction": "s3:*", "Resource": "*"},),
    "everything but one resource": ({"Effect": "Allow", "Action": "iam:*", "NotResource": f"{IAM}role/x"},),
    "users on condition of a boundary only if there is one": (
        allow(
            ["iam:CreateUser", "iam:PutUserPolicy", "iam:CreateAccessKey"],
            f"{IAM}user/ci/*",
            {"StringEqualsIfExists": {KEY: BOUNDARY}},
        ),
    ),
    "AdministratorAccess among what may be attached": (
        allow(["iam:CreateRole", "sts:TagSession"], ROLES),
        allow("iam:AttachRolePolicy", ROLES, {"ArnLike": {"iam:PolicyARN": "arn:aws:iam::aws:policy/A*"}}),
    ),
    "an own policy among what may be attached": (
        allow("iam:CreateRole", ROLES),
        allow("iam:AttachRolePolicy", ROLES, {"ArnLike": {"iam:PolicyARN": f"{IAM}policy/own-*"}}),
        allow("iam:CreatePolicy", f"{IAM}policy/own-*"),
    ),
    "passing any role": (allow("iam:PassRole"), allow(["lambda:CreateFunction", "lambda:InvokeFunction"], "*")),
    "passing any role to the right service": (
        allow("iam:PassRole", "*", {"StringLike": {"iam:PassedToService": "lambda.*"}}),
        allow(["lambda:CreateFunction", "lambda:InvokeFunction"]),
    ),
    "a permission that begins later": (
        allow("iam:*", "*", {"DateGreaterThan": {"aws:CurrentTime": "2090-01-01T00:00:00Z"}}),
    ),
    "another account than most ARNs name": (
        allow("iam:PutUserPolicy", "arn:aws:iam::111111111111:user/*"),
        allow("s3:GetObject", ["arn:aws:s3:eu-west-1:222222222222:x", "arn:aws:s3:eu-west-1:222222222222:y"]),
    ),
    "passing any role to a service by its name in one region": (
        allow("iam:PassRole", "*", {"StringEquals": {"iam:PassedToService": "states.eu-west-1.amazonaws.com"}}),
        allow(["states:CreateStateMachine", "states:StartExecution"]),
    ),
    "passing any role to a service by its name in China": (
        allow("iam:PassRole", "*", {"StringEquals": {"iam:PassedToService": "lambda.amazonaws.com.cn"}}),
        allow(["lambda:CreateFunction", "lambda:InvokeFunction"]),
    ),
    "other users' keys": (allow("iam:CreateAccessKey", f"{IAM}user/*"),),
    "taking off a policy that denies": (allow(["s3:*", "iam:DetachUserPolicy"]), deny("s3:DeleteBucket")),
    "leaving a group whose policy denies": (allow(["s3:*", "iam:RemoveUserFromGroup"]), deny("s3:DeleteBucket")),
    "through HTTPS only": (allow(MAKE, ROLES, {"Bool": {"aws:SecureTransport": "true"}}),),
    "in one region only": (allow(MAKE, ROLES, {"StringEquals": {"aws:RequestedRegion": "us-east-1"}}),),
    "with a tag that it chooses itself": (
        allow("iam:CreateRole", ROLES, {"StringEquals": {"aws:RequestTag/team": "shop"}}),
        allow("iam:PutRolePolicy", ROLES),
    ),
    "with tag keys that it chooses itself": (
        allow(
            "iam:CreateRole",
            ROLES,
            {
                "ForAnyValue:StringEquals": {"aws:TagKeys": "team"},
                "ForAllValues:StringEquals": {"aws:TagKeys": ["team", "x"]},
            },
        ),
        allow("iam:PutRolePolicy", ROLES),
    ),
}

UNKNOWN: dict[str, tuple[Piece, ...]] = {
    "from one network": (allow("iam:*", "*", {"IpAddress": {"aws:SourceIp": "203.0.113.0/24"}}),),
    "from one organisation": (allow("iam:*", "*", {"StringEquals": {"aws:PrincipalOrgID": "o-1"}}),),
    "signed in with a device": (allow("iam:*", "*", {"Bool": {"aws:MultiFactorAuthPresent": "true"}}),),
    "a deny that hangs on something unknown": (
        allow("iam:*"),
        deny("iam:*", "*", {"StringNotEquals": {"aws:SourceVpc": "vpc-1"}}),
    ),
    "roles of a tag": (
        allow("iam:PassRole", "*", {"StringEquals": {"iam:ResourceTag/team": "shop"}}),
        allow(["lambda:CreateFunction", "lambda:InvokeFunction"]),
    ),
    "a tag that AWS's reference does not list for the action": (
        allow("iam:PutUserPolicy", "*", {"StringEquals": {"aws:ResourceTag/team": "shop"}}),
    ),
    "a deny unless a tag that the reference does not list": (
        allow("glue:UpdateDevEndpoint"),
        deny("glue:UpdateDevEndpoint", "*", {"StringNotEquals": {"aws:ResourceTag/team": "shop"}}),
    ),
    "roles of any name with one letter in it, though it may make such roles itself": (
        allow(MAKE, f"{IAM}role/*a*", EXACT),
        allow("iam:PassRole", f"{IAM}role/*a*"),
        allow(["lambda:CreateFunction", "lambda:InvokeFunction"]),
    ),
    "the boundary of a role that is there": (allow("iam:DeleteRolePermissionsBoundary", f"{IAM}role/app-*"),),
    "the boundary of users that are there": (allow("iam:PutUserPermissionsBoundary", f"{IAM}user/*"),),
    "more accounts than can be tried": (*(allow("s3:GetObject", f"arn:aws:iam::{n:012}:role/x") for n in range(1, 9)),),
    "passing one role that is there": (
        allow("iam:PassRole", f"{IAM}role/app"),
        allow(["lambda:CreateFunction", "lambda:InvokeFunction"]),
    ),
    "passing any role to what may not let it in": (allow("iam:PassRole"), allow("lambda:CreateFunction")),
    "a boundary of AWS that nobody has read": roles(
        {"StringEquals": {KEY: "arn:aws:iam::aws:policy/job-function/ViewOnlyAccess"}}
    ),
    "boundaries of a name that may be anything": roles({"StringLike": {KEY: f"{IAM}policy/ci-*"}}),
    "attaching what nobody has read": (
        allow("iam:CreateRole", ROLES),
        allow(
            "iam:AttachRolePolicy", ROLES, {"ArnEquals": {"iam:PolicyARN": "arn:aws:iam::aws:policy/ReadOnlyAccess"}}
        ),
    ),
    "roles that others made": (allow("iam:PutRolePolicy", f"{IAM}role/app-*"),),
    "assuming one role": (allow("sts:AssumeRole", f"{IAM}role/app"),),
    "roles of a variable nobody knows": (allow(MAKE, f"{IAM}role/${{aws:PrincipalTag/team}}-*"),),
    "functions that others made": (
        allow("lambda:UpdateFunctionCode", "arn:aws:lambda:eu-west-1:123456789012:function:app-*"),
    ),
    "policies that may be its own": (allow("iam:CreatePolicyVersion", f"{IAM}policy/app-*"),),
}


@pytest.mark.parametrize("name", SAFE)
def test_what_holds_is_safe(name: str) -> None:
    found = judged(*SAFE[name])
    assert found.verdict == "safe", "\n".join(found.lines())


@pytest.mark.parametrize("name", ESCALATES)
def test_what_is_open_escalates_and_says_by_which_statements(name: str) -> None:
    found = judged(*ESCALATES[name])
    assert found.verdict == "escalates", "\n".join(found.lines())
    assert all(path.statements and path.statements[0].startswith("p, statement") for path in found.paths)


@pytest.mark.parametrize("name", UNKNOWN)
def test_what_cannot_be_decided_is_said_and_never_safe(name: str) -> None:
    found = judged(*UNKNOWN[name])
    assert found.verdict == "unknown", "\n".join(found.lines())
    assert all(path.depends for path in found.unknown)


@pytest.mark.parametrize("name", [*SAFE, *ESCALATES, *UNKNOWN])
def test_the_order_of_statements_and_their_split_over_policies_do_not_matter(name: str) -> None:
    pieces = (SAFE | ESCALATES | UNKNOWN)[name]
    apart = tuple(one for i, piece in enumerate(reversed(pieces)) for one in policy(piece, name=f"p{i}"))
    assert escalation(Holder(apart)).verdict == judged(*pieces).verdict


def test_what_is_taken_for_granted_is_said() -> None:
    found = judged(*SAFE["passing a bounded role"])
    assert any(BOUNDARY in text and "content was not given" in text for text in found.assumptions)
    assert any(ROLES in text and "made by this holder" in text for text in found.assumptions)
    assert any("taken for granted" in line for line in found.lines())


def test_a_given_boundary_is_judged_by_its_content() -> None:
    def with_content(*pieces: Piece) -> Escalation:
        return judged(*roles(EXACT), contents={BOUNDARY: policy(*pieces, name="role boundary")})

    assert with_content(allow("s3:*")).verdict == "safe"
    assert not any("content was not given" in text for text in with_content(allow("s3:*")).assumptions)
    assert with_content(allow("*")).verdict == "escalates"
    assert with_content(allow("*"), deny(["iam:*", "sts:*"])).verdict == "escalates"
    assert with_content(allow("iam:*", "*", {"StringEquals": {"aws:SourceVpc": "vpc-1"}})).verdict == "unknown"


def test_the_holders_own_boundary_limits_what_its_policies_allow() -> None:
    everything = allow("*")
    assert judged(everything, boundary=(allow("s3:*"),)).verdict == "safe"
    assert judged(everything, boundary=(everything,)).verdict == "escalates"
    assert judged(everything, boundary=(everything, deny("*", "*", {"Null": {"aws:x": "true"}}))).verdict != "safe"
    assert judged(*roles(None), boundary=roles(EXACT)).verdict == "safe"
    assert judged(*roles(EXACT), boundary=(everything,)).verdict == "safe"


def test_a_boundary_that_its_holder_can_take_off_or_write_is_none() -> None:
    limits = (allow(["s3:*", "iam:*"]),)
    arn, own = f"{IAM}user/shop-prod.ci", f"{IAM}policy/shop-prod.boundary"
    known = {
        "arn": arn,
        "boundary_arn": own,
        "groups": ("shop-prod.ci",),
        "policy_arns": (f"{IAM}policy/shop-prod.policy-x",),
    }
    for action, resource in {
        "iam:DeleteUserPermissionsBoundary": arn,
        "iam:PutUserPermissionsBoundary": arn,
        "iam:CreatePolicyVersion": own,
        "iam:PutGroupPolicy": f"{IAM}group/shop-prod.ci",
        "iam:AttachUserPolicy": arn,
    }.items():
        found = judged(allow(["s3:*"]), allow(action, resource), boundary=limits, **known)
        assert found.verdict == "escalates", action
    assert judged(allow("s3:*"), boundary=limits, **known).verdict == "safe"


def test_a_user_of_keys_never_carries_a_device() -> None:
    condition = {"Bool": {"aws:MultiFactorAuthPresent": "true"}}
    assert judged(allow("iam:*", "*", condition), long_term_keys=True).verdict == "safe"
    unless = {"BoolIfExists": {"aws:MultiFactorAuthPresent": "false"}}
    assert judged(allow("iam:*"), deny("iam:*", "*", unless), long_term_keys=True).verdict == "safe"
    assert (
        judged(allow("iam:*"), deny("iam:*", "*", {"Bool": unless["BoolIfExists"]}), long_term_keys=True).verdict
        == "escalates"
    )


def test_whose_policy_it_is_decides_about_writing_it() -> None:
    own = (f"{IAM}policy/shop-prod.policy-x",)
    writes = allow(["iam:CreatePolicy", "iam:CreatePolicyVersion"], f"{IAM}policy/shop-prod-*")
    assert judged(writes, policy_arns=own).verdict == "safe"
    assert judged(writes).verdict == "unknown"
    assert judged(allow("iam:CreatePolicyVersion", own[0]), policy_arns=own).verdict == "escalates"


def test_tangled_patterns_are_unknown_and_end() -> None:
    tangled = [f"{IAM}role/*" + "*".join(f"{a}{b}" for b in "abcdefghij") + "*" for a in "abcdefghijklmnop"]
    found = judged(allow(MAKE, tangled, EXACT), allow("iam:DeleteRolePermissionsBoundary", tangled))
    assert found.verdict in ("unknown", "escalates")


def environment() -> SimpleNamespace:
    return SimpleNamespace(
        name="prod",
        application="shop",
        account_id="123456789012",
        partition="aws",
        region="eu-west-1",
        prefix="shop-prod",
        policies=("sample",),
    )


GUARDED = SimpleNamespace(state_buckets=("arn:aws:s3:::state",), secret_names=(), parameter_arns=(), kms_keys=())


def test_the_sample_makes_an_administrator_and_under_the_boundary_it_does_not() -> None:
    sample = statements(documents.read_policy("sample", ROOT), "sample.json")
    alone = escalation(Holder(sample))
    assert alone.verdict == "escalates"
    assert "CreateRole + PutRolePolicy" in alone.paths[0].ids
    limits = parse(guard.boundary(environment(), GUARDED), "boundary")
    arn = f"{IAM}policy/shop-prod.role-boundary"
    contents = {arn: parse(guard.role_boundary(environment(), GUARDED), "role boundary")}
    for holder in (Holder(sample, limits), Holder(sample, limits, contents=contents)):
        bounded = escalation(holder)
        assert bounded.verdict == "safe", "\n".join(bounded.lines())


def test_everything_under_the_boundary_is_no_administrator() -> None:
    limits = parse(guard.boundary(environment(), GUARDED), "boundary")
    holder = Holder(
        policy(allow("*")),
        limits,
        arn=f"{IAM}user/shop-prod.ci",
        policy_arns=(f"{IAM}policy/shop-prod.policy-x",),
        boundary_arn=f"{IAM}policy/shop-prod.boundary",
        groups=("shop-prod.ci",),
    )
    found = escalation(holder)
    # What other services run with roles from elsewhere is the policies' own affair; identities are out of reach.
    assert not [
        one for one in (*found.paths, *found.unknown) if one.ids[0].startswith(("iam-", "sts", "Create", "admin"))
    ]

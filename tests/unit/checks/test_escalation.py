"""CIUSER_8 and CIUSER_9: a plan whose user can become more than it is fails, and one of which that is not known too."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest

from ci_user.checks import ALL
from ci_user.checks.escalation import EscalationDecided, NoEscalation
from ci_user.plan_model import Plan, Resource
from ci_user.scan import NEVER_ACCEPTABLE
from tests.unit.plans import CONTEXT, allow, plan_of, policy, resource

USER = resource("aws_iam_user", name="scan-fixture.ci")
START = "arn:aws:iam::000000000000:"
EVERYTHING = dataclasses.replace(CONTEXT, boundary_document=policy(allow("*")))
"""A boundary that limits nothing, so that only the policies count."""
LIMITED = {
    "iam:PermissionsBoundary": f"{START}policy/scan-fixture.role-boundary",
}


def own(*statements: dict[str, Any], name: str = "x") -> Resource:
    return resource("aws_iam_policy", name, name=f"scan-fixture.policy-{name}", path="/", policy=policy(*statements))


def judged(plan: Plan, context: Any = CONTEXT) -> tuple[str | None, str | None]:
    return NoEscalation().evaluate(USER, plan, context), EscalationDecided().evaluate(USER, plan, context)


def test_a_policy_that_is_safe_passes_both() -> None:
    roles = allow(
        ["iam:CreateRole", "iam:PutRolePolicy"], f"{START}role/scan-fixture-*", Condition={"StringEquals": LIMITED}
    )
    assert judged(plan_of(USER, own(allow("s3:Get*"), roles)), EVERYTHING) == (None, None)


def test_the_boundary_closes_what_a_policy_opens() -> None:
    plan = plan_of(USER, own(allow(["iam:CreateRole", "iam:PutRolePolicy", "iam:CreateAccessKey"])))
    open_path, undecided = judged(plan, EVERYTHING)
    assert open_path is not None
    assert "iam:CreateRole + iam:PutRolePolicy" in open_path
    assert "scan-fixture.policy-x, statement 1" in open_path
    assert undecided is None
    assert judged(plan) == (None, None)


def test_a_pair_split_over_two_policies_is_seen() -> None:
    pieces = own(allow("iam:CreateRole"), name="a"), own(allow("iam:PutRolePolicy"), name="b")
    text = judged(plan_of(USER, *pieces), EVERYTHING)[0]
    assert text is not None
    assert "policy-a, statement 1" in text
    assert "policy-b, statement 1" in text


def test_an_inline_policy_counts() -> None:
    inline = resource("aws_iam_group_policy", name="more", policy=policy(allow("iam:PutUserPolicy")))
    assert judged(plan_of(USER, own(allow("s3:Get*")), inline), EVERYTHING)[0] is not None


def test_what_is_not_decided_fails_the_other_check() -> None:
    guarded = allow("iam:PutUserPolicy", Condition={"IpAddress": {"aws:SourceIp": "203.0.113.0/24"}})
    open_path, undecided = judged(plan_of(USER, own(guarded)), EVERYTHING)
    assert open_path is None
    assert "depending on aws:sourceip" in str(undecided)


@pytest.mark.parametrize("text", [None, "{", '{"Version":"2012-10-17","Statement":[{"Effect":"Maybe"}]}'])
def test_a_document_that_is_unknown_or_no_policy_is_not_decided(text: str | None) -> None:
    unknown = resource("aws_iam_policy", "x", name="scan-fixture.policy-x", path="/", policy=text)
    open_path, undecided = judged(plan_of(USER, unknown))
    assert open_path is None
    assert undecided is not None


def test_an_existing_policy_is_judged_by_what_is_in_it() -> None:
    arn = f"{START}policy/elsewhere"
    attached = resource("aws_iam_group_policy_attachments_exclusive", policy_arns=[arn])
    plan = plan_of(USER, own(allow("s3:Get*")), attached)
    assert arn in str(judged(plan, EVERYTHING)[1])
    for action, opens in (("iam:PutUserPolicy", True), ("s3:Put*", False)):
        context = dataclasses.replace(EVERYTHING, contents=((arn, policy(allow(action))),))
        open_path, undecided = judged(plan, context)
        assert (open_path is not None) is opens
        assert undecided is None
        assert not opens or arn in str(open_path)


def test_the_content_of_the_role_boundary_counts() -> None:
    roles = allow(
        ["iam:CreateRole", "iam:PutRolePolicy"], f"{START}role/scan-fixture-*", Condition={"StringEquals": LIMITED}
    )
    context = dataclasses.replace(EVERYTHING, role_boundary_document=policy(allow("*")))
    assert "limits nothing that matters" in str(judged(plan_of(USER, own(roles)), context)[0])


def test_other_users_and_data_sources_are_not_judged() -> None:
    plan = plan_of(USER, own(allow("iam:*")))
    for other in (
        resource("aws_iam_user", "other", name="other"),
        resource("aws_iam_user", "x", "data", name="scan-fixture.ci"),
    ):
        assert NoEscalation().evaluate(other, plan, EVERYTHING) is None
        assert EscalationDecided().evaluate(other, plan, EVERYTHING) is None


def test_nobody_may_accept_an_escalation() -> None:
    assert NoEscalation.id in NEVER_ACCEPTABLE
    assert EscalationDecided.id not in NEVER_ACCEPTABLE
    assert {NoEscalation.id, EscalationDecided.id} <= {check.id for check in ALL}
    assert json.loads(EVERYTHING.boundary_document)["Statement"]

"""What lives under the prefix already is judged before a deploy: against the embedded AWS, with real roles, functions, stacks."""

from __future__ import annotations

import io
import json
import uuid
import zipfile
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from ci_user.errors import AwsError
from ci_user.live_prefix import FOREIGN_TRUST, LIVE_ESCALATION, LIVE_UNKNOWN, lies_under, prefix_findings

if TYPE_CHECKING:
    from tests.conftest import EmbeddedAws

Findings = dict[str, set[str]]


class Prefix:
    """One prefix in the account, and what a test puts under it."""

    def __init__(self, aws: EmbeddedAws) -> None:
        self.aws = aws
        self.prefix = f"p{uuid.uuid4().hex[:8]}-test"
        self.environment: Any = SimpleNamespace(
            prefix=self.prefix,
            role_boundary_arn=f"arn:aws:iam::{aws.account_id}:policy/{self.prefix}.role-boundary",
            arn=lambda service, resource: f"arn:aws:{service}::{aws.account_id}:{resource}",
        )
        self.iam = aws.client("iam")
        self.iam.create_policy(
            PolicyName=f"{self.prefix}.role-boundary",
            PolicyDocument='{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Action":"iam:*","Resource":"*"}]}',
        )

    def role(self, name: str, principal: Any = None, *, bounded: bool = True, path: str = "/") -> str:
        trust = {
            "Effect": "Allow",
            "Action": "sts:AssumeRole",
            "Principal": principal or {"Service": "lambda.amazonaws.com"},
        }
        boundary = {"PermissionsBoundary": self.environment.role_boundary_arn} if bounded else {}
        made = self.iam.create_role(
            RoleName=name,
            Path=path,
            AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [trust]}),
            **boundary,
        )
        arn: str = made["Role"]["Arn"]
        return arn

    def function(self, name: str, role: str) -> None:
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w") as archive:
            archive.writestr("main.py", "def handler(event, context): return 1\n")
        self.aws.client("lambda").create_function(
            FunctionName=name,
            Runtime="python3.12",
            Role=role,
            Handler="main.handler",
            Code={"ZipFile": packed.getvalue()},
        )

    def found(self) -> Findings:
        by_check: Findings = {}
        for finding in prefix_findings(self.aws.access, self.environment):
            by_check.setdefault(finding.check, set()).add(finding.resource)
        return by_check


def test_bounded_roles_that_trust_services_and_functions_with_them_are_fine(aws: EmbeddedAws) -> None:
    prefix = Prefix(aws)
    role = prefix.role(f"{prefix.prefix}-api")
    prefix.role(f"{prefix.prefix}-flow", {"Service": ["states.eu-west-1.amazonaws.com", "lambda.amazonaws.com.cn"]})
    prefix.function(f"{prefix.prefix}-api", role)
    prefix.role(f"elsewhere-{prefix.prefix}", {"AWS": "*"}, bounded=False)
    assert prefix.found() == {}


def test_a_role_without_the_boundary_lends_its_rights(aws: EmbeddedAws) -> None:
    prefix = Prefix(aws)
    prefix.role(f"{prefix.prefix}-old", bounded=False)
    assert prefix.found() == {LIVE_ESCALATION: {f'live.role["{prefix.prefix}-old"]'}}


def test_a_role_lies_under_the_prefix_by_its_path_too(aws: EmbeddedAws) -> None:
    prefix = Prefix(aws)
    name = f"admin-{prefix.prefix}"
    prefix.role(name, {"AWS": "arn:aws:iam::999999999999:root"}, bounded=False, path=f"/{prefix.prefix}-x/")
    prefix.role(f"{prefix.prefix}-old", bounded=False, path="/service-role/")
    prefix.role(f"other-{prefix.prefix}", {"AWS": "*"}, bounded=False, path=f"/x/{prefix.prefix}-x/")
    by_path = f'live.role["{prefix.prefix}-x/{name}"]'
    assert prefix.found() == {
        LIVE_ESCALATION: {by_path, f'live.role["{prefix.prefix}-old"]'},
        FOREIGN_TRUST: {by_path},
    }


def test_a_function_with_a_role_from_elsewhere_lends_it(aws: EmbeddedAws) -> None:
    prefix = Prefix(aws)
    prefix.function(f"{prefix.prefix}-job", prefix.role(f"admin-{prefix.prefix}", bounded=False))
    assert prefix.found() == {LIVE_ESCALATION: {f'live.function["{prefix.prefix}-job"]'}}


def test_a_stack_with_a_service_role_lends_it(aws: EmbeddedAws, monkeypatch: pytest.MonkeyPatch) -> None:
    prefix = Prefix(aws)
    template = json.dumps({"Resources": {"Topic": {"Type": "AWS::SNS::Topic"}}})
    stacks = aws.client("cloudformation")
    stacks.create_stack(StackName=f"{prefix.prefix}-plain", TemplateBody=template)
    assert prefix.found() == {}
    # The embedded AWS forgets a stack's RoleARN, so its answer is completed here.
    pages = stacks.get_paginator("describe_stacks").paginate().build_full_result()
    for stack in pages["Stacks"]:
        stack["RoleARN"] = f"arn:aws:iam::{aws.account_id}:role/stacks"
    completed = SimpleNamespace(paginate=lambda: [pages])
    monkeypatch.setattr(stacks, "get_paginator", lambda _: completed)
    assert prefix.found() == {LIVE_ESCALATION: {f'live.stack["{prefix.prefix}-plain"]'}}


def test_the_stack_that_is_called_like_the_prefix_lies_under_it_and_such_a_function_does_not() -> None:
    assert lies_under("shop-prod-", "stack", "shop-prod")
    assert lies_under(("shop-test-", "shop-prod-"), "stack", "shop-prod-api")
    assert not lies_under(("shop-prod-", "shop-test-"), "stack", "shop")
    assert not lies_under("shop-prod-", "stack", "shop-production")
    assert lies_under("shop-prod-", "function", "shop-prod-api")
    assert not lies_under("shop-prod-", "function", "shop-prod")


@pytest.mark.parametrize(
    "principal",
    [
        "*",
        {"AWS": "arn:aws:iam::999999999999:root"},
        {"AWS": ["arn:aws:iam::000000000000:user/somebody"]},
        {"Service": ["lambda.amazonaws.com", "ec2.amazonaws.com"]},
        {"Federated": "cognito-identity.amazonaws.com"},
    ],
)
def test_a_role_that_lets_in_somebody_else_is_told(aws: EmbeddedAws, principal: Any) -> None:
    prefix = Prefix(aws)
    prefix.role(f"{prefix.prefix}-api", principal)
    assert prefix.found() == {FOREIGN_TRUST: {f'live.role["{prefix.prefix}-api"]'}}


def test_what_may_not_be_looked_at_is_unknown_and_never_fine(aws: EmbeddedAws) -> None:
    class Refused:
        def client(self, service: str) -> Any:
            raise AwsError(f"listing {service}: AWS answered AccessDenied")

    found = prefix_findings(Refused(), Prefix(aws).environment)  # type: ignore[arg-type]
    assert [(one.check, one.resource) for one in found] == [
        (LIVE_UNKNOWN, "live.roles"),
        (LIVE_UNKNOWN, "live.functions"),
        (LIVE_UNKNOWN, "live.stacks"),
    ]
    assert all("AccessDenied" in one.message and "let the deployer call" in one.fix for one in found)

"""The shipped policies: well written, small enough, safe by themselves, and limited to account, region and prefix."""

from __future__ import annotations

import re

import pytest

from ci_user.policy import catalogue, documents
from ci_user.policy.conditions import Context
from ci_user.policy.escalation import escalation
from ci_user.policy.evaluate import Request, evaluate
from ci_user.policy.holder import Holder
from ci_user.policy.lint import lint_file
from tests import policies_page
from tests.shipped_policies import (
    ACCOUNT,
    BLOCKS,
    HARDENED,
    OTHER,
    PREFIX,
    REGION,
    ROOT,
    allowed,
    as_list,
    boundary,
    entries,
    environment,
    rendered,
    shipped,
)


@pytest.mark.parametrize("name", HARDENED)
def test_lint_finds_nothing_but_notes(name: str) -> None:
    found = lint_file(documents.directory(ROOT) / f"{name}.json")
    assert {one.id for one in found} <= {"every-resource", "if-exists-allowed"}
    assert {one.severity for one in found} <= {"note"}


@pytest.mark.parametrize("name", HARDENED)
def test_nobody_becomes_more_than_it_is_by_a_shipped_policy_even_without_the_boundary(name: str) -> None:
    assert escalation(Holder(shipped(name))).verdict == "safe"
    assert escalation(Holder(shipped(name), boundary())).verdict == "safe"


def test_all_of_them_together_are_safe() -> None:
    together = tuple(one for name in HARDENED for one in shipped(name))
    assert escalation(Holder(together, boundary())).verdict == "safe"


def test_the_sample_alone_is_an_administrator_and_the_boundary_prevents_it() -> None:
    assert escalation(Holder(shipped("sample"))).verdict == "escalates"
    assert escalation(Holder(shipped("sample"), boundary())).verdict == "safe"


def test_serverless_is_one_managed_policy_up_to_the_length_that_the_page_promises() -> None:
    found = re.search(r"prefixes of\s+up\s+to\s+(\d+)\s+characters in `eu-west-1`", policies_page.PAGE.read_text())
    assert found is not None
    longest = int(found[1])
    assert longest >= len("webshop-production")
    for length, fits in ((longest, True), (longest + 1, False)):
        size = documents.size(rendered("serverless", environment(f"{'a' * (length - 5)}-prod")))
        assert (size <= documents.MANAGED_POLICY_SIZE) is fits


@pytest.mark.parametrize("name", BLOCKS)
def test_a_block_is_one_managed_policy_with_the_longest_names(name: str) -> None:
    place = environment(f"{'a' * 32}-{'e' * 20}", "aws-us-gov", "ap-southeast-1")
    assert documents.size(rendered(name, place)) <= documents.MANAGED_POLICY_SIZE


@pytest.mark.parametrize("name", HARDENED)
def test_no_partition_is_written_down(name: str) -> None:
    text = documents.canonical(rendered(name, environment(partition="aws-cn", region="cn-north-1")))
    assert "arn:aws:" not in text
    assert "arn:aws-cn:" in text


# Resources whose ARN tells no prefix: random ids, API Gateway, what is only used, and AWS's own.
WITHOUT_PREFIX = re.compile(
    rf"arn:aws:(apigateway:{REGION}::/(apis|domainnames|tags)\S*"
    rf"|cloudfront::{ACCOUNT}:(distribution|origin-access-control|origin-access-identity)/\S+"
    rf"|cloudformation:{REGION}:aws:\*"
    rf"|cognito-idp:{REGION}:{ACCOUNT}:userpool/\S+"
    rf"|iam::{ACCOUNT}:role/aws-service-role/\*"
    rf"|rds:{REGION}:{ACCOUNT}:(cluster-pg|og|pg|subgrp):\*)"
)
WITH_PREFIX = re.compile(
    rf"arn:aws:(s3:::{PREFIX}-\*"
    rf"|(cloudfront:|iam:|[a-z-]+:{REGION}):{ACCOUNT}:[a-z*-]+[:/](/aws/\*/)?{PREFIX}(-\S*\*\S*|-\*|/\*))"
)


@pytest.mark.parametrize("name", HARDENED)
def test_every_resource_that_can_be_named_carries_account_region_and_prefix(name: str) -> None:
    for entry in entries(name):
        if entry["Effect"] == "Allow" and entry["Resource"] != "*":
            for arn in as_list(entry["Resource"]):
                assert WITH_PREFIX.fullmatch(arn) or WITHOUT_PREFIX.fullmatch(arn), arn


@pytest.mark.parametrize("name", HARDENED)
def test_what_is_allowed_on_everything_knows_no_resource_or_asks_for_the_owner_tag(name: str) -> None:
    for entry in entries(name):
        if entry["Effect"] == "Allow" and entry["Resource"] == "*":
            if entry.get("Condition") == {"StringEquals": {"aws:RequestTag/ci-owner": PREFIX}}:
                continue
            assert "Condition" not in entry
            for action in entry["Action"] if isinstance(entry["Action"], list) else [entry["Action"]]:
                found = catalogue.action(action)
                assert found is not None
                assert found.resource_types == (), action


@pytest.mark.parametrize("name", HARDENED)
def test_every_allow_of_s3_asks_for_the_account(name: str) -> None:
    for entry in entries(name):
        if any(action.startswith("s3:") for action in as_list(entry["Action"])):
            assert entry["Condition"] == {"StringEquals": {"aws:ResourceAccount": ACCOUNT}}


@pytest.mark.parametrize("name", ["serverless", "lambda-api"])
def test_roles_are_written_with_exactly_the_role_boundary(name: str) -> None:
    role, right = f"arn:aws:iam::{ACCOUNT}:role/{PREFIX}-api", f"arn:aws:iam::{ACCOUNT}:policy/{PREFIX}.role-boundary"
    key = "iam:PermissionsBoundary"
    conditions = [entry["Condition"] for entry in entries(name) if "iam:CreateRole" in entry["Action"]]
    assert conditions == [{"StringEquals": {key: right}}]
    for action in ("CreateRole", "PutRolePolicy", "AttachRolePolicy", "DeleteRolePolicy", "PutRolePermissionsBoundary"):
        assert allowed(name, f"iam:{action}", role, {key: right}) is True
        assert allowed(name, f"iam:{action}", role) is False
        for wrong in (f"{right}x", right.upper(), f"arn:aws:iam::{ACCOUNT}:policy/{OTHER}.role-boundary", "*"):
            assert allowed(name, f"iam:{action}", role, {key: wrong}) is False
        assert allowed(name, f"iam:{action}", role.replace(PREFIX, OTHER), {key: right}) is False
    assert allowed(name, "iam:DeleteRolePermissionsBoundary", role, {key: right}) is False
    assert allowed(name, "iam:UpdateAssumeRolePolicy", role, {key: right}) is False


def test_roles_are_passed_to_the_services_that_run_the_application_only() -> None:
    role, key = f"arn:aws:iam::{ACCOUNT}:role/{PREFIX}-api", "iam:PassedToService"
    for service in ("apigateway", "cognito-idp", "lambda"):
        assert allowed("serverless", "iam:PassRole", role, {key: f"{service}.amazonaws.com"}) is True
    for service in ("cloudformation", "ec2", "ecs-tasks", "glue", "states", "sagemaker"):
        assert allowed("serverless", "iam:PassRole", role, {key: f"{service}.amazonaws.com"}) is False
    assert allowed("serverless", "iam:PassRole", role) is False
    foreign = role.replace(PREFIX, OTHER)
    assert allowed("serverless", "iam:PassRole", foreign, {key: "lambda.amazonaws.com"}) is False


def test_migrations_are_the_only_functions_that_run() -> None:
    start = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:"
    for name in (f"{PREFIX}-runMigrations", f"{PREFIX}-api-runMigrations"):
        assert allowed("serverless", "lambda:InvokeFunction", start + name) is True
    for name in (f"{PREFIX}-api", f"{OTHER}-runMigrations", f"{PREFIX}x-runMigrations", f"x:{PREFIX}-runMigrations"):
        assert allowed("serverless", "lambda:InvokeFunction", start + name) is False


@pytest.mark.parametrize(
    ("action", "resource"),
    [
        ("cloudfront:UpdateFunction", f"arn:aws:cloudfront::{ACCOUNT}:function/{PREFIX}-router"),
        ("cloudfront:DeleteFunction", f"arn:aws:cloudfront::{ACCOUNT}:function/{PREFIX}-router"),
        ("lambda:CreateFunction", f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{PREFIX}-api"),
        ("lambda:AddPermission", f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{PREFIX}-api"),
        ("rds:AddTagsToResource", f"arn:aws:rds:{REGION}:{ACCOUNT}:cluster-snapshot:{PREFIX}-copy"),
        ("rds:RemoveTagsFromResource", f"arn:aws:rds:{REGION}:{ACCOUNT}:cluster:{PREFIX}-db"),
        ("rds:DescribeDBClusterSnapshots", f"arn:aws:rds:{REGION}:{ACCOUNT}:cluster-snapshot:{PREFIX}-copy"),
    ],
)
def test_what_the_embedded_aws_asks_about_on_everything_is_limited_to_the_prefix(action: str, resource: str) -> None:
    assert allowed("serverless", action, resource) is True
    assert allowed("serverless", action, resource.replace(PREFIX, OTHER)) is False
    assert allowed("serverless", action, resource.replace(f"{PREFIX}-", f"{PREFIX}x-")) is False
    assert allowed("serverless", action, "*") is False


def test_service_linked_roles_are_those_of_the_sample() -> None:
    start, key = f"arn:aws:iam::{ACCOUNT}:role/aws-service-role", "iam:AWSServiceName"
    for service, name in (("rds", "ForRDS"), ("ops.apigateway", "ForAPIGateway"), ("autoscaling", "ForAutoScaling")):
        role = f"{start}/{service}.amazonaws.com/AWSServiceRole{name}"
        asked = {key: f"{service}.amazonaws.com"}
        assert allowed("serverless", "iam:CreateServiceLinkedRole", role, asked) is (service != "autoscaling")
        assert allowed("serverless", "iam:DeleteServiceLinkedRole", role, asked) is False


def test_functions_are_opened_to_services_and_the_own_account_only() -> None:
    function = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{PREFIX}-api"
    principals = {
        "apigateway.amazonaws.com": True,
        ACCOUNT: True,
        f"arn:aws:iam::{ACCOUNT}:role/any": True,
        "*": False,
        "999999999999": False,
        "arn:aws:iam::999999999999:root": False,
    }
    for principal, right in principals.items():
        request = Request("lambda:AddPermission", function, Context({"lambda:principal": (principal,)}))
        assert evaluate(shipped("serverless"), boundary(), request).allowed is right, principal


def test_no_stack_gets_a_service_role() -> None:
    stack = f"arn:aws:cloudformation:{REGION}:{ACCOUNT}:stack/{PREFIX}-api/1"
    role = Context({"cloudformation:rolearn": (f"arn:aws:iam::{ACCOUNT}:role/{PREFIX}-api",)})
    for action in ("CreateStack", "UpdateStack", "DeleteStack"):
        for context, right in ((Context(), True), (role, False)):
            request = Request(f"cloudformation:{action}", stack, context)
            assert evaluate(shipped("serverless"), boundary(), request).allowed is right

"""The policies of whoever runs the tool: for one account, small enough, well written, and what they make of a role."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

import pytest

from ci_user.environment import Environment
from ci_user.errors import PolicyError, UsageError
from ci_user.nightly import read_only
from ci_user.policy import catalogue, documents, operators
from ci_user.policy.conditions import Context
from ci_user.policy.escalation import escalation
from ci_user.policy.evaluate import Request, evaluate
from ci_user.policy.holder import Holder
from ci_user.policy.lint import lint_file
from ci_user.policy.statement import Statement, statements
from tests.policies_page import quoted, table
from tests.shipped_policies import ROOT

ACCOUNT = "222222222222"
KEY = f"arn:aws:kms:eu-west-1:{ACCOUNT}:key/1234abcd-12ab-34cd-56ef-1234567890ab"
IAM = f"arn:aws:iam::{ACCOUNT}:"


def environment(name: str = "production", **changes: Any) -> Environment:
    content = {
        "name": name,
        "version": 1,
        "application": "shop",
        "account_id": ACCOUNT,
        "region": "eu-west-1",
        "policies": ["serverless"],
        "state": {"bucket": "acme-state"},
        "secrets": [{"backend": "aws-secrets-manager", "name": f"ci-user/shop/{name}"}],
        **changes,
    }
    return Environment.model_validate(content)


def shown(name: str, one: Environment | None = None, *every: Environment) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(operators.document(name, one or environment(), every, ROOT))
    return document


@functools.cache
def holds(name: str) -> tuple[Statement, ...]:
    return statements(shown(name), name)


def allowed(name: str, action: str, resource: str, **keys: str) -> bool | None:
    context = Context({key.replace("_", ":").lower(): (value,) for key, value in keys.items()})
    return evaluate(holds(name), None, Request(action, resource, context)).allowed


def actions(name: str) -> set[str]:
    written = [
        statement["Action"]
        for statement in shown(name, environment(state={"bucket": "b-state", "kms_key": KEY}))["Statement"]
    ]
    return {action for one in written for action in ([one] if isinstance(one, str) else one)}


@pytest.mark.parametrize("name", documents.OPERATORS)
def test_lint_finds_nothing_but_that_one_action_could_be_limited_which_lists_all_stacks(name: str) -> None:
    found = lint_file(documents.directory(ROOT) / f"{name}.json")
    assert [(one.id, one.severity) for one in found] == [("every-resource", "note")]
    assert "cloudformation:DescribeStacks" in found[0].message


def test_the_nightly_check_cannot_become_more_than_it_is() -> None:
    assert escalation(Holder(holds("nightly-check"))).verdict == "safe"


def test_a_deployer_can_become_an_administrator_and_the_page_says_so() -> None:
    found = escalation(Holder(holds("deployer")))
    assert found.verdict == "escalates"
    text = (ROOT / "docs" / "policies.md").read_text()
    assert "`invoke policy.escalation --file terraform/policies/deployer.json` says `escalates`" in text


def test_the_nightly_check_is_allowed_what_the_check_asks_what_its_plan_asks_and_nothing_else() -> None:
    own = {action for action in read_only.OPERATIONS.values() if action}
    elsewhere = {
        # Said by the nightly role's own policy, where environments lie in several accounts: docs/nightly.md.
        "sts:AssumeRole",
        # Of the records' bucket.
        "s3:GetBucketPolicy",
    }
    terraform = {
        *("iam:GetGroup", "iam:ListGroupsForUser", "iam:ListGroupPolicies", "iam:ListAttachedGroupPolicies"),
        *("iam:ListUserPolicies", "iam:ListAttachedUserPolicies"),
    }
    # By the reference, all stacks are described with ListStacks only; and S3 decrypts the state.
    implied = {"cloudformation:ListStacks", "kms:Decrypt"}
    assert actions("nightly-check") == (own - elsewhere) | terraform | implied


def test_the_nightly_check_reads_only_and_no_secret() -> None:
    for action in actions("nightly-check") - {"kms:Decrypt"}:
        known = catalogue.action(action)
        assert known is not None, action
        assert known.access_level in ("List", "Read"), action
    for action in (
        "secretsmanager:GetSecretValue",
        "ssm:GetParameter",
        "ssm:GetParametersByPath",
        "ssm:GetParameterHistory",
    ):
        assert not allowed("nightly-check", action, "*")
    assert {
        one["Sid"]: one["Condition"]
        for one in shown("nightly-check", environment(state={"bucket": "b-state", "kms_key": KEY}))["Statement"]
        if "kms:Decrypt" in one["Action"]
    } == {"StateKeysThroughS3": {"StringLike": {"kms:ViaService": ["s3.*.amazonaws.com*"]}}}


@pytest.mark.parametrize(
    ("action", "mine", "others", "keys"),
    [
        ("iam:DeleteUser", f"{IAM}user/shop-production.ci", f"{IAM}user/alice", {}),
        ("iam:CreateAccessKey", f"{IAM}user/shop-production.ci", f"{IAM}user/alice", {}),
        ("iam:PutUserPolicy", f"{IAM}user/shop-production.ci", f"{IAM}user/alice.ci.x", {}),
        ("iam:AddUserToGroup", f"{IAM}group/shop-production.ci", f"{IAM}group/admins", {}),
        ("iam:CreatePolicyVersion", f"{IAM}policy/shop-production.policy-serverless", f"{IAM}policy/team", {}),
        ("iam:CreatePolicyVersion", f"{IAM}policy/shop-production.boundary", f"{IAM}policy/shop-production-x", {}),
        (
            "s3:PutObject",
            "arn:aws:s3:::acme-state/shop/production/lease.json",
            "arn:aws:s3:::acme-state/other/x",
            {"aws_ResourceAccount": ACCOUNT},
        ),
        ("s3:PutBucketPolicy", "arn:aws:s3:::acme-state", "arn:aws:s3:::shop-site", {"aws_ResourceAccount": ACCOUNT}),
        (
            "secretsmanager:GetSecretValue",
            f"arn:aws:secretsmanager:eu-west-1:{ACCOUNT}:secret:ci-user/shop/production-AbCdEf",
            f"arn:aws:secretsmanager:eu-west-1:{ACCOUNT}:secret:shop-production-database-AbCdEf",
            {},
        ),
        (
            "ssm:GetParameter",
            f"arn:aws:ssm:eu-west-1:{ACCOUNT}:parameter/ci-user/shop/production",
            f"arn:aws:ssm:eu-west-1:{ACCOUNT}:parameter/shop/production",
            {},
        ),
    ],
)
def test_a_deployer_works_on_the_tools_own_things_only(
    action: str, mine: str, others: str, keys: dict[str, str]
) -> None:
    assert allowed("deployer", action, mine, **keys)
    assert allowed("deployer", action, others, **keys) is False


def test_a_deployer_makes_no_user_without_one_of_the_tools_boundaries_and_takes_none_off() -> None:
    user = f"{IAM}user/shop-production.ci"
    for action in ("iam:CreateUser", "iam:PutUserPermissionsBoundary"):
        assert allowed("deployer", action, user, iam_PermissionsBoundary=f"{IAM}policy/shop-production.boundary")
        assert (
            allowed("deployer", action, user, iam_PermissionsBoundary="arn:aws:iam::aws:policy/AdministratorAccess")
            is False
        )
        assert allowed("deployer", action, user) is False
    assert allowed("deployer", "iam:DeleteUserPermissionsBoundary", user) is False


def test_a_deployer_attaches_the_tools_policies_and_those_that_a_file_names() -> None:
    group, extra = f"{IAM}group/shop-production.ci", f"{IAM}policy/team/extra"
    one = environment(policies=["serverless", {"arn": extra}])
    named = statements(shown("deployer", one), "deployer")
    for arn, without_it, with_it in (
        (f"{IAM}policy/shop-production.policy-serverless", True, True),
        (extra, False, True),
        ("arn:aws:iam::aws:policy/AdministratorAccess", False, False),
    ):
        assert allowed("deployer", "iam:AttachGroupPolicy", group, iam_PolicyARN=arn) is without_it
        request = Request("iam:AttachGroupPolicy", group, Context({"iam:policyarn": (arn,)}))
        assert evaluate(named, None, request).allowed is with_it


def test_nobody_takes_off_the_policy_that_aws_attaches_to_a_leaked_keys_user() -> None:
    user, own = f"{IAM}user/shop-production.ci", "arn:aws:iam::aws:policy/"
    assert allowed("deployer", "iam:DetachUserPolicy", user, iam_PolicyARN=f"{own}ReadOnlyAccess")
    for arn in (f"{own}AWSCompromisedKeyQuarantineV3", f"{own}AWSCompromisedKeyQuarantine"):
        assert allowed("deployer", "iam:DetachUserPolicy", user, iam_PolicyARN=arn) is False
    assert allowed("deployer", "iam:DetachUserPolicy", user) is False


def test_a_bucket_of_another_account_is_out_of_reach_whatever_its_name() -> None:
    for name in documents.OPERATORS:
        for action, resource in (
            ("s3:ListBucket", "arn:aws:s3:::acme-state"),
            ("s3:GetObject", "arn:aws:s3:::acme-state/shop/production/x"),
        ):
            assert allowed(name, action, resource, aws_ResourceAccount=ACCOUNT)
            assert allowed(name, action, resource, aws_ResourceAccount="999999999999") is False


def test_one_policy_serves_the_environments_of_its_account_and_no_others() -> None:
    one = environment(
        secrets=[
            {"backend": "aws-secrets-manager", "name": "keys/shop", "kms_key": KEY},
            {"backend": "aws-ssm", "name": "/keys/shop"},
            {"backend": "github", "repository": "acme/shop", "token": {"secret": "tokens/github"}},
        ],
    )
    beside = environment("staging", state={"bucket": "acme-state-2", "kms_key": KEY.replace("1234abcd", "5678abcd")})
    other_account = environment("testing", account_id="333333333333")
    other_state = environment("demo", state={"bucket": "central", "account_id": "444444444444"})
    text = json.dumps(shown("deployer", one, one, beside, other_account, other_state))
    for found in (
        "arn:aws:s3:::acme-state/shop/production/*",
        "arn:aws:s3:::acme-state-2/shop/staging/*",
        "secret:keys/shop-??????",
        "secret:tokens/github-??????",
        "parameter/keys/shop",
        "parameter/keys/shop.pending",
        "key/1234abcd",
        "key/5678abcd",
    ):
        assert found in text
    # Before it is there, a secret has no six characters behind its name.
    assert f'"arn:aws:secretsmanager:eu-west-1:{ACCOUNT}:secret:keys/shop"' in text
    for missing in ("333333333333", "central", "444444444444", "shop/demo"):
        assert missing not in text
    nightly = json.dumps(shown("nightly-check", one, beside))
    # The check reads the state, and not what is encrypted with the secret's key.
    assert "key/5678abcd" in nightly
    assert "key/1234abcd" not in nightly
    assert '"aws:ResourceAccount": "444444444444"' in json.dumps(shown("deployer", other_state))


def test_what_does_not_fit_into_a_managed_policy_is_refused_with_a_way_out() -> None:
    many = [
        environment(f"e{number}", state={"bucket": f"a-state-bucket-with-a-long-name-{number}"}) for number in range(60)
    ]
    with pytest.raises(PolicyError, match="for the 60 environments of account") as error:
        operators.document("deployer", many[0], many, ROOT)
    assert "wildcard" in str(error.value.do)
    forty = [environment(f"e{number}") for number in range(40)]
    assert documents.size(operators.document("deployer", forty[0], forty, ROOT)) <= documents.MANAGED_POLICY_SIZE


def test_other_policies_are_not_shown_this_way() -> None:
    with pytest.raises(UsageError, match="no operators' policy 'serverless'") as error:
        operators.document("serverless", environment(), (), ROOT)
    assert "deployer, nightly-check" in str(error.value.expected)


def test_the_page_lists_the_operators_policies_statement_by_statement() -> None:
    for name in documents.OPERATORS:
        written = documents.read(documents.directory(ROOT) / f"{name}.json")
        rows = table(f"Statements of {name}")
        assert [quoted(row[0])[0] for row in rows] == [one["Sid"] for one in written["Statement"]]
        assert all(row[1] for row in rows)


def test_no_environment_of_the_repository_names_them(root: Path) -> None:
    assert not set(documents.OPERATORS) & set(documents.names(root))

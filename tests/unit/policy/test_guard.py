"""The two boundaries: valid, small enough, without a gap for any action on identities."""

from __future__ import annotations

import fnmatch
import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ci_user.errors import PolicyError
from ci_user.policy import catalogue, documents, guard
from ci_user.policy.conditions import Context
from ci_user.policy.evaluate import Request, evaluate
from ci_user.policy.statement import parse

Make = Callable[..., str]
BOUNDARIES = pytest.mark.parametrize("make", [guard.boundary, guard.role_boundary])


def environment(**changes: Any) -> SimpleNamespace:
    values = {
        "name": "prod",
        "application": "shop",
        "account_id": "123456789012",
        "partition": "aws",
        "region": "eu-west-1",
        "prefix": "shop-prod",
        "policies": ("sample",),
    }
    return SimpleNamespace(**values | changes)


def guarded(partition: str = "aws", region: str = "eu-west-1", account: str = "123456789012") -> SimpleNamespace:
    start, end = f"arn:{partition}", f"{region}:{account}"
    return SimpleNamespace(
        state_buckets=(f"{start}:s3:::shop-state", f"{start}:s3:::other-state"),
        secret_names=(f"{start}:secretsmanager:{end}:secret:shop/ci-key-??????",),
        parameter_arns=(
            f"{start}:ssm:{end}:parameter/shop/ci/key",
            f"{start}:ssm:{end}:parameter/shop/ci/key.pending",
            f"{start}:ssm:{end}:parameter/plain",
        ),
        kms_keys=(f"{start}:kms:{end}:key/11111111-2222-3333-4444-555555555555",),
    )


NOTHING = SimpleNamespace(state_buckets=(), secret_names=(), parameter_arns=(), kms_keys=())


def statements(text: str) -> dict[str, dict[str, Any]]:
    return {one["Sid"]: one for one in json.loads(text)["Statement"]}


def as_list(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value


def denied_everywhere(text: str) -> list[str]:
    """Return the action patterns that are denied on every resource, whatever the request says."""
    return [
        pattern
        for one in statements(text).values()
        if one["Effect"] == "Deny" and one.get("Resource") == "*" and "Condition" not in one
        for pattern in as_list(one["Action"])
    ]


def matches(action: str, patterns: list[str]) -> bool:
    return any(fnmatch.fnmatchcase(action.lower(), pattern.lower()) for pattern in patterns)


@BOUNDARIES
def test_a_boundary_is_valid_fits_and_is_stable(make: Make) -> None:
    text = make(environment(), guarded())
    assert text == make(environment(), guarded()) == documents.canonical(json.loads(text))
    assert documents.size(text) <= 5_200
    assert "${" not in text
    assert len(statements(text)) == len(json.loads(text)["Statement"])


@BOUNDARIES
def test_a_boundary_fits_with_the_longest_names_and_four_secrets_elsewhere(make: Make) -> None:
    region, prefix = "us-gov-west-1", f"{'a' * 32}-{'e' * 20}"
    most = guarded("aws-us-gov", region)
    most.secret_names = tuple(
        f"arn:aws-us-gov:secretsmanager:{region}:123456789012:secret:ci/{'a' * 12}/env{i:02}-??????" for i in range(4)
    )
    place = environment(partition="aws-us-gov", region=region, prefix=prefix)
    assert documents.size(make(place, most)) <= documents.MANAGED_POLICY_SIZE


@BOUNDARIES
def test_more_than_fits_is_refused_before_anything_runs(make: Make) -> None:
    too_much = guarded()
    too_much.secret_names = tuple(
        f"arn:aws:secretsmanager:eu-west-1:123456789012:secret:shop/ci/environment-{i:03}-??????" for i in range(60)
    )
    with pytest.raises(PolicyError, match=r"of shop-prod, with \d+ guarded ARNs") as error:
        make(environment(), too_much)
    assert error.value.do is not None
    assert "6,144" in (error.value.expected or "")


@BOUNDARIES
@pytest.mark.parametrize(("partition", "region"), [("aws-cn", "cn-north-1"), ("aws-us-gov", "us-gov-west-1")])
def test_no_other_partition_is_named(make: Make, partition: str, region: str) -> None:
    text = make(environment(partition=partition, region=region), guarded(partition, region))
    assert "arn:aws:" not in text
    assert f"arn:{partition}:" in text


@BOUNDARIES
def test_everything_guarded_is_denied_to_user_and_roles(make: Make) -> None:
    what = guarded()
    statement = statements(make(environment(), what))["NeverGuarded"]
    assert statement["Effect"] == "Deny"
    assert statement["Action"] == ["kms:*", "s3:*", "secretsmanager:*", "ssm:*"]
    assert "Condition" not in statement
    assert set(statement["Resource"]) == {
        "arn:aws:secretsmanager:*:123456789012:secret:ci-user/*",
        "arn:aws:ssm:*:123456789012:parameter/ci-user/*",
        *what.state_buckets,
        *(f"{bucket}/*" for bucket in what.state_buckets),
        *what.secret_names,
        *what.parameter_arns,
        *what.kms_keys,
    }


@BOUNDARIES
def test_no_path_above_a_guarded_parameter_can_be_listed(make: Make) -> None:
    statement = statements(make(environment(), guarded()))["NeverGuardedPaths"]
    start = "arn:aws:ssm:eu-west-1:123456789012:parameter/"
    assert (statement["Effect"], statement["Action"]) == ("Deny", "ssm:GetParametersByPath")
    assert set(statement["Resource"]) == {
        "arn:aws:ssm:*:123456789012:parameter/",
        "arn:aws:ssm:*:123456789012:parameter/ci-user",
        f"{start}shop",
        f"{start}shop/",
        f"{start}shop/ci",
        f"{start}shop/ci/",
    }


@BOUNDARIES
def test_the_tools_own_folder_is_guarded_before_anything_lies_in_it(make: Make) -> None:
    found = statements(make(environment(), NOTHING))
    assert found["NeverGuarded"]["Resource"] == [
        "arn:aws:secretsmanager:*:123456789012:secret:ci-user/*",
        "arn:aws:ssm:*:123456789012:parameter/ci-user/*",
    ]


@BOUNDARIES
def test_another_environment_in_the_own_folder_leaves_the_boundary_as_it_was(make: Make) -> None:
    thousand = SimpleNamespace(
        state_buckets=(),
        secret_names=[f"arn:aws:secretsmanager:eu-west-1:123456789012:secret:ci-user/a{i}-??????" for i in range(1000)],
        parameter_arns=[f"arn:aws:ssm:eu-west-1:123456789012:parameter/ci-user/a{i}" for i in range(1000)],
        kms_keys=(),
    )
    assert make(environment(), thousand) == make(environment(), NOTHING)


@BOUNDARIES
def test_a_secret_of_another_account_is_guarded_by_its_own_arn(make: Make) -> None:
    foreign = "arn:aws:secretsmanager:eu-west-1:999999999999:secret:ci-user/shop-??????"
    what = SimpleNamespace(state_buckets=(), secret_names=(foreign,), parameter_arns=(), kms_keys=())
    assert foreign in statements(make(environment(), what))["NeverGuarded"]["Resource"]


def iam_actions() -> list[str]:
    from policy_sentry.querying.actions import get_actions_for_service

    return list(get_actions_for_service("iam"))


IDENTITIES = (
    *("User", "Group", "AccessKey", "LoginProfile", "MFA", "SSHPublicKey", "ServiceSpecificCredential"),
    *("SigningCertificate", "SAMLProvider", "OpenIDConnectProvider", "Account", "Organizations"),
    *("ChangePassword", "ServerCertificate", "CloudFrontPublicKey", "SetSecurityTokenServicePreferences"),
)


def test_every_action_on_an_identity_is_denied_explicitly() -> None:
    denied = denied_everywhere(guard.boundary(environment(), guarded()))
    on_identities = [action for action in iam_actions() if any(word in action for word in IDENTITIES)]
    assert len(on_identities) > 90
    assert [action for action in on_identities if not matches(action, denied)] == []


@pytest.mark.parametrize(
    "action",
    [
        "iam:CreateAccessKey",
        "iam:CreateLoginProfile",
        "iam:DeleteUserPermissionsBoundary",
        "iam:PutUserPermissionsBoundary",
        "iam:TagUser",
        "iam:AddUserToGroup",
        "iam:DeleteRolePermissionsBoundary",
        "iam:UpdateAssumeRolePolicy",
        "sts:AssumeRole",
        "sts:AssumeRoot",
        "sts:GetFederationToken",
        "organizations:LeaveOrganization",
        "account:EnableRegion",
        "cloudformation:CreateStackSet",
        "cloudformation:UpdateStackInstances",
        "s3:CreateAccessPoint",
    ],
)
def test_what_makes_somebody_else_of_the_user_is_denied_everywhere(action: str) -> None:
    assert matches(action, denied_everywhere(guard.boundary(environment(), guarded())))


def test_every_iam_write_that_is_not_denied_everywhere_is_confined() -> None:
    """Each remaining write is denied outside the prefix, outside service-linked roles, or never allowed."""
    from policy_sentry.querying.actions import get_actions_with_access_level

    found = statements(guard.boundary(environment(), guarded()))
    confined = [
        pattern
        for one in found.values()
        if one["Effect"] == "Deny" and "NotResource" in one
        for pattern in as_list(one["Action"])
    ]
    allowed = [
        pattern
        for one in found.values()
        if one["Effect"] == "Allow" and "Action" in one
        for pattern in as_list(one["Action"])
    ]
    everywhere = denied_everywhere(guard.boundary(environment(), guarded()))
    writes = [
        action
        for level in ("Write", "Permissions management", "Tagging")
        for action in get_actions_with_access_level("iam", level)
    ]
    assert len(writes) > 100
    open_ones = [
        action
        for action in writes
        if matches(action, allowed) and not matches(action, everywhere) and not matches(action, confined)
    ]
    assert open_ones == []


def test_the_one_wide_allow_leaves_identity_and_buckets_out() -> None:
    found = statements(guard.boundary(environment(), guarded()))
    wide = [one for one in found.values() if one["Effect"] == "Allow" and "NotAction" in one]
    assert len(wide) == 1
    assert {"iam:*", "s3:*", "sts:*", "organizations:*", "account:*", "sso:*"} <= set(wide[0]["NotAction"])
    assert not [one for one in found.values() if one["Effect"] == "Allow" and "*" in as_list(one.get("Action", []))]


def test_buckets_of_other_accounts_are_out_of_reach() -> None:
    for text in (guard.boundary(environment(), guarded()), guard.role_boundary(environment(), guarded())):
        for one in json.loads(text)["Statement"]:
            reaching = [a for a in as_list(one.get("Action", [])) if a.startswith("s3:")]
            if one["Effect"] == "Allow" and set(reaching) - {"s3:CreateBucket", "s3:ListAllMyBuckets"}:
                assert one["Condition"] == {"StringEquals": {"aws:ResourceAccount": "123456789012"}}


ACCOUNT = "arn:aws:iam::123456789012:"
ROLE_BOUNDARY = f"{ACCOUNT}policy/shop-prod.role-boundary"


def judged(action: str, resource: str, boundary: str | None = None) -> bool | None:
    """Decide a request of a user who may do everything, so that only the boundary limits it."""
    everything = parse('{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"*","Resource":"*"}}', "all")
    limits = parse(guard.boundary(environment(), guarded()), "boundary")
    values = {"aws:resourceaccount": ("123456789012",)}
    context = Context(values | ({"iam:permissionsboundary": (boundary,)} if boundary else {}))
    return evaluate(everything, limits, Request(action, resource, context)).allowed


def test_roles_are_written_only_under_the_prefix_and_with_the_role_boundary() -> None:
    found = statements(guard.boundary(environment(), guarded()))
    written = [action.full for pattern in found["BoundedRoles"]["Action"] for action in catalogue.expand(pattern)]
    assert sorted(written) == [
        "iam:AttachRolePolicy",
        "iam:CreateRole",
        "iam:DeleteRolePolicy",
        "iam:DetachRolePolicy",
        "iam:PutRolePermissionsBoundary",
        "iam:PutRolePolicy",
    ]
    for action in written:
        assert judged(action, f"{ACCOUNT}role/shop-prod-api", ROLE_BOUNDARY) is True, action
        assert judged(action, f"{ACCOUNT}role/shop-prod-api") is False, action
        assert judged(action, f"{ACCOUNT}role/shop-prod-api", f"{ROLE_BOUNDARY}x") is False, action
        assert judged(action, f"{ACCOUNT}role/shop-test-api", ROLE_BOUNDARY) is False, action


def test_nothing_of_iam_is_written_outside_the_prefix() -> None:
    for kind, actions in {
        "role": ("DeleteRole", "PassRole", "TagRole", "UntagRole", "UpdateRole", "UpdateRoleDescription"),
        "policy": ("CreatePolicy", "CreatePolicyVersion", "DeletePolicy", "SetDefaultPolicyVersion", "TagPolicy"),
        "instance-profile": ("AddRoleToInstanceProfile", "CreateInstanceProfile", "DeleteInstanceProfile"),
    }.items():
        for action in actions:
            assert judged(f"iam:{action}", f"{ACCOUNT}{kind}/shop-prod-api") is True, action
            for name in ("shop-test-api", "shop-prod.ci", "x/shop-prod-api"):
                assert judged(f"iam:{action}", f"{ACCOUNT}{kind}/{name}") is False, action


def test_code_that_runs_with_a_role_from_elsewhere_is_not_exchanged() -> None:
    for action, kind in {
        "cloudformation:ContinueUpdateRollback": "cloudformation:eu-west-1:123456789012:stack/",
        "cloudformation:CreateChangeSet": "cloudformation:eu-west-1:123456789012:stack/",
        "cloudformation:DeleteStack": "cloudformation:eu-west-1:123456789012:stack/",
        "cloudformation:ExecuteChangeSet": "cloudformation:eu-west-1:123456789012:stack/",
        "cloudformation:UpdateStack": "cloudformation:eu-west-1:123456789012:stack/",
        "lambda:UpdateFunctionCode": "lambda:eu-west-1:123456789012:function:",
        "lambda:UpdateFunctionConfiguration": "lambda:eu-west-1:123456789012:function:",
    }.items():
        assert judged(action, f"arn:aws:{kind}shop-prod-api/1") is True, action
        assert judged(action, f"arn:aws:{kind}shop-test-api/1") is False, action


def test_a_stack_may_be_called_as_the_prefix() -> None:
    """The Serverless Framework calls its stack SERVICE-STAGE."""
    for action in ("CreateStack", "UpdateStack", "DeleteStack", "ExecuteChangeSet"):
        start = "arn:aws:cloudformation:eu-west-1:123456789012:stack"
        assert judged(f"cloudformation:{action}", f"{start}/shop-prod/1") is True, action
    assert judged("cloudformation:UpdateStack", f"{start}/shop-production/1") is False


def test_a_template_may_use_the_transforms_of_aws() -> None:
    """SAM needs it: https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/control-access-with-iam.html."""
    transform = "arn:aws:cloudformation:eu-west-1:aws:transform/Serverless-2016-10-31"
    assert judged("cloudformation:CreateChangeSet", transform) is True
    assert judged("cloudformation:CreateChangeSet", transform.replace(":aws:t", ":123456789012:t")) is False


def test_the_tools_own_policies_lie_outside_what_the_user_may_edit() -> None:
    (pattern,) = [
        arn
        for arn in statements(guard.boundary(environment(), guarded()))["NeverOutsideThePrefix"]["NotResource"]
        if ":policy/" in arn
    ]
    for name in ("shop-prod.boundary", "shop-prod.role-boundary", "shop-prod.policy-sample"):
        assert not fnmatch.fnmatchcase(f"arn:aws:iam::123456789012:policy/{name}", pattern)


def test_no_role_reaches_a_stack() -> None:
    found = statements(guard.boundary(environment(), guarded()))
    assert found["NeverStacksWithRoles"]["Condition"] == {"Null": {"cloudformation:RoleArn": "false"}}
    assert found["NeverRolesForStacks"]["Action"] == "iam:PassRole"
    assert "iam:PassRole" in found["NeverOutsideThePrefix"]["Action"]


def test_roles_of_the_pipeline_never_get_at_identities() -> None:
    denied = denied_everywhere(guard.role_boundary(environment(), guarded()))
    for action in ("iam:CreateRole", "iam:PassRole", "sts:AssumeRole", "organizations:ListAccounts"):
        assert matches(action, denied)


def test_roles_of_the_pipeline_reach_only_what_carries_the_prefix_or_cannot_be_scoped() -> None:
    from policy_sentry.querying.actions import get_action_data

    for one in json.loads(guard.role_boundary(environment(), guarded()))["Statement"]:
        if one["Effect"] != "Allow":
            continue
        assert "NotAction" not in one
        if one["Resource"] == "*":
            for action in one["Action"]:
                service, _, name = action.partition(":")
                (data,) = get_action_data(service, name)[service]
                assert data["resource_arn_format"] == "*", action
        else:
            for arn in as_list(one["Resource"]):
                assert "shop-prod-" in arn or "shop-prod/" in arn or ":123456789012:" in arn


@pytest.mark.parametrize("name", ["boundary", "role-boundary"])
def test_a_broken_guard_is_an_error_that_names_the_file(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "terraform" / "policies" / "guard"
    folder.mkdir(parents=True)
    (folder / f"{name}.json").write_text("{", encoding="utf-8")
    make = guard.boundary if name == "boundary" else guard.role_boundary
    with pytest.raises(PolicyError, match="no JSON") as error:
        make(environment(), NOTHING, tmp_path)
    assert str(folder) in str(error.value)

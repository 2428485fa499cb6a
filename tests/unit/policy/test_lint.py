"""Lint as a whole: the defects of the recipe's policy, the shipped documents, order, places, bounds."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ci_user.errors import PolicyError
from ci_user.policy import documents, lint
from ci_user.policy.lint import LintFinding

ROOT = Path(__file__).resolve().parents[3]
SHIPPED = sorted(documents.directory(ROOT).rglob("*.json"))


def policy(*statements: Any, **head: Any) -> dict[str, Any]:
    return {"Version": "2012-10-17", "Statement": list(statements), **head}


def allow(actions: Any, resources: Any = "*", **more: Any) -> dict[str, Any]:
    return {"Effect": "Allow", "Action": actions, "Resource": resources, **more}


@pytest.fixture(scope="module")
def sample() -> Sequence[LintFinding]:
    return lint.lint_file(documents.directory(ROOT) / "sample.json", "sample.json")


def only(findings: Sequence[LintFinding], rule: str, statement: int) -> LintFinding:
    (found,) = [one for one in findings if one.id == rule and one.where.statement == statement]
    return found


def test_the_sample_names_an_action_that_does_not_exist(sample: Sequence[LintFinding]) -> None:
    found = only(sample, "unknown-action", 6)
    assert found.severity == "error"
    assert "cloudfront:CreateDistributionWithTags" in found.message
    assert "cloudfront:CreateDistribution and cloudfront:TagResource" in found.fix
    assert str(found.where) == "sample.json:92, statement 6"


@pytest.mark.parametrize("statement", [3, 4])
def test_the_sample_uses_a_key_of_one_action_for_four(sample: Sequence[LintFinding], statement: int) -> None:
    found = only(sample, "key-unknown-to-action", statement)
    assert "iam:AWSServiceName" in found.message
    assert "never allows them" in found.message
    for action in ("UpdateRoleDescription", "DeleteServiceLinkedRole", "GetServiceLinkedRoleDeletionStatus"):
        assert f"iam:{action}" in found.message
    assert "iam:CreateServiceLinkedRole" not in found.message


def test_the_samples_function_lacks_its_kind(sample: Sequence[LintFinding]) -> None:
    found = only(sample, "arn-without-type", 5)
    assert "arn:aws:lambda:*:*:*-runMigrations" in found.message
    assert found.fix == "write the kind: `arn:aws:lambda:*:*:function:*-runMigrations`"


def test_one_resource_of_the_sample_is_inside_another(sample: Sequence[LintFinding]) -> None:
    found = only(sample, "covered-resource", 2)
    assert "/domainnames`" in found.message
    assert "/domainnames*`" in found.message


def test_an_action_stands_twice_in_the_sample(sample: Sequence[LintFinding]) -> None:
    found = only(sample, "repeated-action", 6)
    assert found.message.startswith("`s3:DeleteBucket`: statement 1 says the same")


def test_the_sample_tags_policies_that_it_cannot_create(sample: Sequence[LintFinding]) -> None:
    found = only(sample, "idle-tagging", 1)
    assert found.message.startswith("`iam:TagPolicy`, `iam:UntagPolicy`")


def test_85_of_the_samples_actions_on_everything_could_be_limited(sample: Sequence[LintFinding]) -> None:
    counted = [int(one.message.split()[0]) for one in sample if one.id == "every-resource"]
    assert sum(counted) == 85


def test_the_sample_gives_rights_on_everything(sample: Sequence[LintFinding]) -> None:
    found = only(sample, "permissions-on-everything", 1)
    assert "iam:CreateRole" in found.message
    assert "iam:PutRolePolicy" in found.message


@pytest.mark.parametrize(("statement", "action"), [(1, "s3:GetObject"), (6, "secretsmanager:GetSecretValue")])
def test_the_sample_reads_everybodys_data(sample: Sequence[LintFinding], statement: int, action: str) -> None:
    assert action in only(sample, "data-on-everything", statement).message


def test_the_sample_has_no_other_finding(sample: Sequence[LintFinding]) -> None:
    assert len(sample) == 12


@pytest.mark.parametrize("path", SHIPPED, ids=[path.stem for path in SHIPPED])
def test_only_the_sample_of_the_shipped_documents_has_errors(path: Path) -> None:
    found = [one for one in lint.lint_file(path, boundary="guard" in path.parts) if one.severity == "error"]
    assert [one.id for one in found] == (["unknown-action"] if path.stem == "sample" else [])


def test_a_clean_policy_has_no_finding() -> None:
    arn = "arn:aws:sqs:eu-west-1:123456789012:shop-*"
    condition = {"StringEquals": {"aws:PrincipalTag/team": "shop"}}
    assert lint.lint(policy(allow(["sqs:SendMessage"], arn, Sid="Send", Condition=condition)), "mine") == ()


def test_a_policy_without_any_statement_list_is_judged_too() -> None:
    assert {one.id for one in lint.lint({}, "mine")} == {"missing-version", "no-statement"}
    assert [one.id for one in lint.lint(policy() | {"Statement": "x"}, "mine")] == ["wrong-type"]


def test_a_single_statement_may_stand_without_a_list(tmp_path: Path) -> None:
    document = policy() | {"Statement": allow("s3:GetObjekt", "arn:aws:s3:::b/*")}
    path = tmp_path / "one.json"
    path.write_text(json.dumps(document, indent=1))
    (found,) = lint.lint_file(path, "one.json")
    assert (found.id, str(found.where)) == ("unknown-action", "one.json:5, statement 1")


def test_findings_come_in_the_documents_order() -> None:
    found = lint.lint(policy(allow("a:B"), allow("s3:Nothing"), allow("a:C"), Nothing=1), "mine")
    places = [one.where.statement for one in found]
    assert places == [None, 1, 2, 3]


def test_a_place_names_file_line_statement_and_sid(tmp_path: Path) -> None:
    path = tmp_path / "mine.json"
    path.write_text(json.dumps(policy(allow(["s3:ListAllMyBuckets", "s3:Nothing"], Sid="Two")), indent=1))
    (found,) = lint.lint_file(path)
    assert str(found.where) == f"{path}:8, statement 1 (Two)"
    assert found.as_dict()["line"] == 8
    assert found.as_dict()["where"] == str(found.where)
    assert json.loads(json.dumps(found.as_dict()))["id"] == "unknown-action"


def test_parameters_of_the_project_are_filled_in_for_a_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.json"
    arns = ["arn:${partition}:s3:::${prefix}-*/*", "${state_bucket_arns}"]
    path.write_text(json.dumps(policy(allow(["s3:GetObject", "s3:ListBucket"], arns, Sid="Read"))))
    assert lint.lint_file(path) == ()


def test_a_parameter_that_the_project_does_not_know_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "mine.json"
    path.write_text(json.dumps(policy(allow("s3:GetObject", "arn:aws:s3:::${prefixes}/*"))))
    with pytest.raises(PolicyError, match="prefixes"):
        lint.lint_file(path)


def test_lines_after_a_list_parameter_are_those_of_the_list(tmp_path: Path) -> None:
    path = tmp_path / "mine.json"
    resources = ["${state_bucket_arns}", "arn:aws:s3:::x*", "arn:aws:s3:::xy"]
    path.write_text(json.dumps(policy(allow("s3:ListBucket", resources)), indent=1))
    found = next(one for one in lint.lint_file(path) if one.id == "covered-resource")
    assert found.where.line == path.read_text().split("\n").index('   "Resource": [') + 1


@pytest.mark.parametrize("size", [2, 50_000])
def test_a_boundary_is_not_blamed_for_what_it_allows(size: int) -> None:
    document = policy(
        {"Effect": "Allow", "NotAction": ["iam:*"], "Resource": "*"}, allow("secretsmanager:GetSecretValue")
    )
    assert [one.id for one in lint.lint(document, "mine", boundary=True)] == []
    assert [one.id for one in lint.lint(document, "mine")] == [
        "not-action-allowed",
        "data-on-everything",
        "every-resource",
    ]


def test_a_document_too_large_to_examine_says_so() -> None:
    document = policy(allow([f"s3:Nothing{number}" for number in range(10_000)]))
    assert {one.id for one in lint.lint(document, "mine")} == {"too-large", "not-examined"}


def test_many_findings_are_cut_off_and_counted() -> None:
    found = lint.lint(policy(*[allow("s3:Nothing") for _ in range(700)]), "mine")
    assert len(found) == lint.REPORTED + 1
    assert found[-1].id == "more-findings"


def test_many_statements_are_not_compared_and_that_is_said() -> None:
    found = lint.lint(policy(*[allow("sqs:ListQueues") for _ in range(lint.COMPARED + 1)]), "mine")
    assert [one.id for one in found] == ["too-large", "not-compared"]


@pytest.mark.parametrize(
    "make",
    [
        lambda: policy(allow("iam:" + "*a" * 1_000, "arn:aws:s3:::" + "*a?" * 1_000)),
        lambda: policy(allow("s3:*", ["arn:aws:s3:::" + "*a*b?" * number for number in range(40)])),
        lambda: policy(allow(["s3:*" + "a?" * number for number in range(60)])),
        lambda: policy(allow("*", Condition={"StringLike": {"kms:" + "*" * 3_000: "*" * 3_000}})),
        lambda: policy(allow([f"ec2:Nothing{number}" for number in range(300)])),
    ],
)
def test_pathological_documents_are_answered(make: Callable[[], dict[str, Any]]) -> None:
    document = make()
    assert documents.size(document) < 2 * documents.MANAGED_POLICY_SIZE
    assert lint.lint(document, "mine")


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b" " * 10_000_000, "larger than"),
        (b'{"Version": ' + b"[" * 400_000, "nested deeper"),
        ('{"Version": "2012-10-17", "Statement": []}'.encode("utf-16"), "not UTF-8"),
        (
            b'{"Version": "2012-10-17",\n "Statement": [' + b'{"Sid": "x"},' * 30_000 + b'{"Sid": "a", "Sid": "b"}]}',
            "'Sid'",
        ),
        (b'{"Version": "2012-10-17", "Statement": [{', "no JSON"),
        (b"\x00" * 1_000, "no JSON"),
    ],
    ids=["10 MB", "deep", "utf-16", "duplicate", "cut off", "zeros"],
)
def test_a_file_that_is_no_policy_is_refused_with_its_place(tmp_path: Path, content: bytes, what: str) -> None:
    path = tmp_path / "mine.json"
    path.write_bytes(content)
    with pytest.raises(PolicyError) as error:
        lint.lint_file(path)
    assert what in error.value.what
    assert str(path) in str(error.value)


def test_messages_hide_nothing() -> None:
    found = lint.lint(policy(allow("s3:\x1b[31mGet", "arn:aws:s3:::\u202eb", Sid="\x07")), "\x1b")
    assert found
    for one in found:
        assert (str(one.where) + one.message + one.fix).isprintable()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
TEXTS = st.sampled_from(
    [
        "*",
        "s3:*",
        "s3:GetObject",
        "S3:getobject",
        "iam:PassRole",
        "arn:aws:s3:::b",
        "arn:aws:s3:::b/*",
        "${aws:username}",
        "${",
        "${x}",
        "",
        "Allow",
        "a:b:c",
        "arn:::::",
        "arn:aws:iam::*:role/*",
        "aws:TagKeys",
        "true",
        "2012-10-17",
        "x",
    ]
)
NEARLY = TEXTS | st.lists(TEXTS, max_size=3) | JSON
ELEMENTS = st.sampled_from(
    ["Sid", "Effect", "Action", "NotAction", "Resource", "NotResource", "Condition", "Principal", "action", "Statment"]
)
OPERATORS = st.sampled_from(
    ["StringEquals", "ForAllValues:StringLike", "Null", "NumericEqualsIfExists", "Bool", "Arnlike", "X"]
)
CONDITIONS = st.dictionaries(OPERATORS, st.dictionaries(TEXTS, NEARLY, max_size=2) | JSON, max_size=2)
STATEMENTS = st.dictionaries(ELEMENTS, NEARLY | CONDITIONS, max_size=6) | JSON


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(st.sampled_from(["Version", "Statement", "Id", "x"]), NEARLY | st.lists(STATEMENTS, max_size=3)))
def test_no_document_however_wrong_breaks_it(document: dict[str, Any]) -> None:
    for one in lint.lint(document, "mine"):
        assert one.severity in lint.SEVERITIES
        assert one.message
        assert one.fix

"""Lint of actions."""

from __future__ import annotations

from typing import Any

import pytest

from ci_user.policy import catalogue
from ci_user.policy.lint import LintFinding, lint
from ci_user.policy.lint_actions import _OPERATIONS

QUEUE = "arn:aws:sqs:eu-west-1:123456789012:shop"


def policy(*statements: Any) -> dict[str, Any]:
    return {"Version": "2012-10-17", "Statement": list(statements)}


def found_in(actions: Any, effect: str = "Allow", element: str = "Action") -> list[LintFinding]:
    quiet = ("every-resource", "data-on-everything", "permissions-on-everything", "idle-tagging")
    found = lint(policy({"Effect": effect, element: actions, "Resource": "*"}), "mine")
    return [one for one in found if one.id not in quiet]


@pytest.mark.parametrize("action", ["*", "s3:*", "S3:getobject", "s3:Get?bject", "iam:*Role*", "execute-api:Invoke"])
def test_what_exists_in_any_case_is_fine(action: str) -> None:
    assert found_in(action) == []


@pytest.mark.parametrize(
    ("action", "rule", "fix"),
    [
        ("s3", "bad-action", "`*`"),
        ("s3:", "bad-action", "`*`"),
        (":GetObject", "bad-action", "`*`"),
        ("s3:Get Object", "bad-action", "`*`"),
        ("s3:Get:Object", "bad-action", "`*`"),
        ("s3:GetObj\u00e9ct", "bad-action", "`*`"),
        ("s3:${aws:username}", "variable-in-action", "write the action out"),
        ("*:GetObject", "service-wildcard", "name the service"),
        ("s?:GetObject", "service-wildcard", "name the service"),
        ("lamda:InvokeFunction", "unknown-service", "`lambda:InvokeFunction`"),
        ("zzzzzz:Do", "unknown-service", "make catalogue"),
        ("lamda:*", "unknown-service", "`lambda:*`"),
        ("s3:GetObjekt", "unknown-action", "`s3:GetObject`"),
        ("s3:Zzzzzz", "unknown-action", "list_amazons3.html"),
        ("s3:HeadObject", "unknown-action", "s3:GetObject"),
        ("s3:Fetch*", "action-matches-nothing", "list_amazons3.html"),
    ],
)
def test_what_does_not_exist_is_an_error_with_a_suggestion(action: str, rule: str, fix: str) -> None:
    (found,) = found_in(action)
    assert (found.id, found.severity) == (rule, "error")
    assert fix in found.fix


@pytest.mark.parametrize(("effect", "word"), [("Allow", "allows nothing"), ("Deny", "denies nothing")])
def test_an_unknown_action_is_told_for_allow_and_deny(effect: str, word: str) -> None:
    (found,) = found_in("s3:GetObjekt", effect)
    assert word in found.message
    assert str(catalogue.dated().date) in found.message


def test_operations_that_are_no_actions_lead_to_actions_that_are() -> None:
    for operation, wanted in _OPERATIONS.items():
        assert catalogue.action(operation) is None
        for word in wanted.split():
            assert ":" not in word or catalogue.action(word.strip(",")) is not None, wanted


@pytest.mark.parametrize(
    ("actions", "rules"),
    [
        (["s3:GetObject", "S3:GETOBJECT"], ["duplicate-action"]),
        (["s3:GetObject", "s3:Get*"], ["covered-action"]),
        (["s3:Get*", "s3:GetObject"], ["covered-action"]),
        (["s3:Get*", "s3:GetBucket*"], ["covered-action"]),
        (["s3:*", "s3:GetObject", "s3:PutObject"], ["covered-action", "covered-action"]),
        (["s3:Get*", "s3:*Object"], []),
        (["s3:GetObject", "s3:GetObjectAcl"], []),
    ],
)
def test_what_stands_twice_is_a_note(actions: list[str], rules: list[str]) -> None:
    found = found_in(actions)
    assert [one.id for one in found] == rules
    assert {one.severity for one in found} <= {"note"}


def test_allow_with_not_action_is_a_warning_and_deny_is_not() -> None:
    (found,) = found_in("iam:*", element="NotAction")
    assert (found.id, found.severity) == ("not-action-allowed", "warning")
    assert found_in("iam:*", "Deny", "NotAction") == []


def statement(actions: Any, resources: Any = QUEUE, effect: str = "Allow", **more: Any) -> dict[str, Any]:
    return {"Effect": effect, "Action": actions, "Resource": resources, **more}


CONDITION: dict[str, Any] = {"Condition": {"StringEquals": {"aws:PrincipalTag/team": "shop"}}}


@pytest.mark.parametrize(
    ("one", "other", "superfluous"),
    [
        (statement("sqs:SendMessage"), statement("sqs:SendMessage"), 2),
        (statement("sqs:SendMessage"), statement("sqs:Send*"), 1),
        (statement("sqs:Send*"), statement(["sqs:SendMessage", "sqs:GetQueueUrl"]), 2),
        (statement("sqs:SendMessage", f"{QUEUE}-a"), statement("sqs:SendMessage", f"{QUEUE}-*"), 1),
        (statement("sqs:SendMessage"), statement("sqs:SendMessage", **CONDITION), 2),
        (statement("sqs:SendMessage", effect="Deny"), statement("sqs:SendMessage", effect="Deny"), 2),
        (statement("sqs:SendMessage"), statement("sqs:SendMessage", effect="Deny"), None),
        (statement("sqs:SendMessage"), statement("sqs:SendMessage", f"{QUEUE}2"), None),
        (statement("sqs:SendMessage"), statement("sqs:GetQueueUrl"), None),
    ],
)
def test_an_action_that_another_statement_covers_is_told(
    one: dict[str, Any], other: dict[str, Any], superfluous: int | None
) -> None:
    found = [finding for finding in lint(policy(one, other), "mine") if finding.id == "repeated-action"]
    assert [finding.where.statement for finding in found] == ([superfluous] if superfluous else [])


def test_tagging_of_what_nothing_else_works_on_is_told() -> None:
    (found,) = lint(policy(statement("sqs:TagQueue")), "mine")
    assert (found.id, found.severity) == ("idle-tagging", "note")
    assert lint(policy(statement(["sqs:TagQueue", "sqs:SendMessage"])), "mine") == ()
    assert lint(policy(statement("sqs:TagQueue", effect="Deny")), "mine") == ()
    rest = {"Effect": "Allow", "NotAction": "iam:*", "Resource": QUEUE}
    assert "idle-tagging" not in {one.id for one in lint(policy(statement("sqs:TagQueue"), rest), "mine")}

"""What a plan newly allows, in words, against what is live."""

from __future__ import annotations

import dataclasses
from typing import Any

from ci_user.plan import Change, Plan
from ci_user.plan_access import access_changes
from tests.unit.plans import CONTEXT, allow, plan_of, policy

ARN = "arn:aws:iam::000000000000:policy/extra"


def change(kind: str, before: dict[str, Any] | None, after: dict[str, Any] | None) -> Change:
    return Change(
        address=f"{kind}.x",
        mode="managed",
        type=kind,
        name="x",
        module=None,
        actions=("update",),
        kind="update",
        before=before,
        after=after,
        after_unknown={},
        replace_paths=(),
        recorded_only=False,
    )


def plan(*changes: Change) -> Plan:
    return dataclasses.replace(plan_of(), changes=changes)


def document(*statements: dict[str, Any], name: str = "scan-fixture.policy-x") -> dict[str, Any]:
    return {"name": name, "policy": policy(*statements)}


def test_what_is_newly_and_no_longer_allowed_is_told() -> None:
    before = document(allow("s3:GetObject", "arn:aws:s3:::a/*"), allow("sqs:SendMessage"))
    after = document(allow("s3:GetObject", "arn:aws:s3:::a/*"), allow("s3:DeleteBucket", "arn:aws:s3:::a"))
    assert access_changes(plan(change("aws_iam_policy", before, after)), CONTEXT) == (
        "access + s3:DeleteBucket on arn:aws:s3:::a",
        "access - sqs:SendMessage on *",
    )


def test_what_moves_to_another_policy_or_is_written_otherwise_is_no_difference() -> None:
    one = document(allow(["s3:GetObject", "s3:PutObject"]))
    parts = [
        document(allow(action), name=f"scan-fixture.policy-{action[3]}") for action in ("s3:GetObject", "s3:PutObject")
    ]
    changes = [change("aws_iam_policy", one, None), *(change("aws_iam_policy", None, part) for part in parts)]
    assert access_changes(plan(*changes), CONTEXT) == ()


def test_everything_is_new_at_first() -> None:
    told = access_changes(plan(change("aws_iam_policy", None, document(allow("s3:GetObject")))), CONTEXT)
    assert told == ("access + s3:GetObject on *",)


def test_a_boundary_is_told_apart_and_only_when_it_was_there() -> None:
    old, new = (document(allow(action), name="scan-fixture.boundary") for action in ("s3:*", "s3:Get*"))
    (line,) = access_changes(plan(change("aws_iam_policy", old, new)), CONTEXT)
    assert line.startswith("boundary - s3:")
    assert access_changes(plan(change("aws_iam_policy", None, new)), CONTEXT) == ()
    role = [document(allow(action), name="scan-fixture.role-boundary") for action in ("s3:*", "s3:Get*")]
    assert access_changes(plan(change("aws_iam_policy", role[0], role[1])), CONTEXT) == ()


def test_an_existing_policy_counts_when_it_comes_and_when_it_goes() -> None:
    context = dataclasses.replace(CONTEXT, contents=((ARN, policy(allow("sns:Publish"))),))
    comes = change("aws_iam_group_policy_attachment", None, {"policy_arn": ARN})
    goes = change("aws_iam_group_policy_attachments_exclusive", {"policy_arns": [ARN]}, {"policy_arns": []})
    assert access_changes(plan(comes), context) == ("access + sns:Publish on *",)
    assert access_changes(plan(goes), context) == ("access - sns:Publish on *",)


def test_a_document_that_cannot_be_read_is_said() -> None:
    broken = {"name": "scan-fixture.policy-x", "policy": "{"}
    (line,) = access_changes(plan(change("aws_iam_policy", broken, document(allow("s3:*")))), CONTEXT)
    assert "cannot be told" in line


def test_a_long_list_is_cut_and_counted() -> None:
    many = [
        allow("s3:GetObject", f"arn:aws:s3:::b{n}/*", Condition={"StringEquals": {"aws:username": f"u{n}"}})
        for n in range(50)
    ]
    told = access_changes(plan(change("aws_iam_policy", None, document(*many))), CONTEXT)
    assert len(told) == 21
    assert told[-1] == "access + and 30 more"

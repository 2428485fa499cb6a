"""A night as it might be, for the tests of its renderings: an error, drift, a cause in many environments, and many clean ones."""

from __future__ import annotations

import datetime as dt
import json

from ci_user.nightly.codes import ACCEPTED_SOON, DRIFT, NOT_CHECKED, UNAPPLIED
from ci_user.nightly.history import Night
from ci_user.nightly.model import (
    Acceptance,
    AttributeChange,
    Change,
    Entry,
    EnvironmentResult,
    Grant,
    Key,
    KeyEvent,
    Level,
    NightResult,
)

BEGAN = dt.datetime(2026, 7, 12, 2, 0, tzinfo=dt.UTC)
_SERVICES = (
    "acm apigateway application-autoscaling autoscaling cloudformation cloudfront cloudwatch cognito-idp dynamodb ec2 ecr ecs "
    "elasticloadbalancing events execute-api iam kinesis kms lambda logs rds route53 s3 scheduler secretsmanager sns sqs ssm "
    "states sts"
)


def nights(number: int = 24) -> list[Night]:
    """Return a history, the oldest night first."""
    wrong = (0, 0, 1, 1, 0, 4, 4, 3, 12, 12, 9, 2)
    found = []
    for back in reversed(range(number)):
        began = BEGAN - dt.timedelta(days=back)
        bad, failed = wrong[back % 12], int(back % 7 == 3)
        ended = began + dt.timedelta(seconds=50)
        found.append(Night(began, ended, None, "ci-user 0.1.0", 60 - bad, bad, failed, 0, open=2 * bad))
    return found


def grants(services: int = 30, name: str = "shop-prod-eu") -> tuple[Grant, ...]:
    """Return what three policies open."""
    levels: tuple[tuple[Level, ...], ...] = (
        ("list", "read", "write"),
        ("read",),
        ("list", "read", "write", "tagging"),
        ("list",),
        ("list", "read", "write", "tagging", "permissions"),
    )
    return tuple(
        Grant(
            policy=f"{name}-{'sample' if at < services // 2 else 'serverless' if at < services - 2 else 'own'}",
            holder=f"group {name}-ci",
            service=service,
            levels=levels[at % 5],
            everywhere=at % 6 == 1,
        )
        for at, service in enumerate(_SERVICES.split()[:services])
    )


def key(letter: str, age: int, state: str, *, active: bool = True) -> Key:
    """Return a key of some days' age."""
    made = BEGAN - dt.timedelta(days=age, hours=3)
    words = ("made", "staged in aws-secrets-manager", "verified", "delivered to github", "delivered to aws-ssm")
    events = [KeyEvent(at=made + dt.timedelta(seconds=9 * at), what=word) for at, word in enumerate(words)]
    if state == "grace":
        events.append(KeyEvent(at=made + dt.timedelta(days=age - 3), what="set aside: its successor is in every place"))
    return Key(
        id=f"AKIA{letter * 4}EXAMPLE{letter}",
        active=active,
        created=made,
        last_used=BEGAN - dt.timedelta(hours=age),
        last_used_in="s3 in eu-central-1",
        state=state,
        held_by=("github:example/shop", "aws-ssm:/shop/prod-eu/ci"),
        events=tuple(events),
    )


def _document(actions: list[str], resource: str) -> str:
    statements = [
        {"Sid": "Read", "Effect": "Allow", "Action": actions, "Resource": resource},
        {"Sid": "List", "Effect": "Allow", "Action": "s3:ListBucket", "Resource": "arn:aws:s3:::shop-prod-eu"},
    ]
    return json.dumps({"Version": "2012-10-17", "Statement": statements}, separators=(",", ":"))


_CHANGES = (
    Change(
        address='module.ci_policy["sample"].aws_iam_policy.this',
        action="update",
        origin="drift",
        attributes=(
            AttributeChange(
                name="policy",
                before=_document(["s3:GetObject", "s3:PutObject"], "arn:aws:s3:::shop-prod-eu/*"),
                after=_document(["s3:GetObject", "s3:PutObject", "s3:DeleteObject"], "arn:aws:s3:::*"),
            ),
            AttributeChange(name="description", before="Sample", after="Sample, changed by hand"),
        ),
    ),
    Change(address="module.ci_user.aws_iam_user_group_membership.foreign", action="create", origin="unapplied"),
    Change(
        address="user_arn",
        action="update",
        origin="output",
        attributes=(AttributeChange(name="value", before="", after="arn:aws:iam::123456789012:user/shop-prod-eu-ci"),),
    ),
)
_SCAN = Entry(
    id="CKV_AWS_290",
    area="scan",
    gravity="finding",
    title="IAM policies do not allow write access without constraints",
    where='module.ci_policy["sample"].aws_iam_policy.this',
    message="s3:DeleteObject is allowed on arn:aws:s3:::*",
    fix="name the buckets",
    runbook="findings",
    since=BEGAN - dt.timedelta(days=2),
)


def environment(name: str, at: int = 0, **more: object) -> EnvironmentResult:
    """Return a clean environment, with what ``more`` says instead."""
    values: dict[str, object] = {
        "environment": name,
        "prefix": f"shop-{name}",
        "account_id": f"{100000000000 + at % 50:012}",
        "region": ("eu-central-1", "us-east-1", "ap-southeast-2")[at % 3],
        "way": "unchanged",
        "checked_at": BEGAN + dt.timedelta(seconds=20),
        "planned_at": BEGAN - dt.timedelta(days=at % 9, hours=1),
        "seconds": 0.04,
        "keys": (key("C", 12 + at % 60, "delivered"),),
        "grants": grants(12, f"shop-{name}"),
        "targets": ("github:example/shop", f"aws-ssm:/shop/{name}/ci"),
    }
    return EnvironmentResult.model_validate(values | more)


def night(clean: int = 40, waiting: int = 20) -> NightResult:
    """Return a night: two environments in error, one with everything, a cause in twenty, the others clean."""
    drifted = DRIFT.entry(
        'module.ci_policy["sample"].aws_iam_policy.this',
        "policy was changed in AWS: s3:DeleteObject was added\nresource: arn:aws:s3:::* instead of arn:aws:s3:::shop-prod-eu/*",
        details=("by whom: see CloudTrail's UpdatePolicy events", "version v7 is the default now"),
    ).model_copy(update={"since": BEGAN - dt.timedelta(days=5)})
    accepted = Acceptance(reason="The pipeline invalidates every cache", owner="team-shop", expires="2026-09-30")
    rich = environment(
        "prod-eu",
        protected=True,
        way="planned",
        seconds=7.3,
        planned_at=BEGAN,
        entries=(
            drifted,
            _SCAN,
            ACCEPTED_SOON.entry("CKV_AWS_289", "it expires on 2026-07-20"),
            _SCAN.model_copy(update={"id": "CKV_AWS_355", "accepted": accepted}),
        ),
        changes=_CHANGES,
        access=(
            "access + s3:DeleteObject on arn:aws:s3:::* if aws:ResourceAccount is 123456789012",
            "access - cloudfront:CreateInvalidation on everything but arn:aws:cloudfront::123456789012:distribution/E1",
            "boundary + s3:Put* (21 actions) on arn:aws:s3:::shop-*",
        ),
        keys=(key("A", 95, "grace"), key("B", 4, "delivered"), key("D", 200, "inactive", active=False)),
        grants=grants(),
        notes=("AWS counts 2 attachments of the boundary", "the state was written 3 hours before"),
    )
    broken = [
        environment(
            name,
            way="failed",
            planned_at=None,
            keys=(),
            grants=(),
            entries=(
                NOT_CHECKED.entry(name, f"AWS refused sts:AssumeRole on arn:aws:iam::{number}:role/nightly-check"),
            ),
            account_id=number,
        )
        for name, number in (("staging-us", "100000000031"), ("staging-ap", "100000000032"))
    ]
    merged = UNAPPLIED.entry("module.ci_policy.aws_iam_policy.this", "a statement for sqs is in the configuration only")
    undeployed = [
        environment(f"team-{at:02}", at, way="planned", entries=(merged,), changes=_CHANGES[1:2])
        for at in range(waiting)
    ]
    quiet = [environment(f"app-{at:03}", at) for at in range(clean)]
    return NightResult(
        tool="ci-user 0.1.0",
        began=BEGAN,
        ended=BEGAN + dt.timedelta(seconds=47),
        environments=(*quiet, rich, *broken, *undeployed),
        missing=("perf-eu",),
    )

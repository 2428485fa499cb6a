"""What may be accepted where: an undecided user never in a protected environment, an escalating one nowhere."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace
from typing import Any

import pytest

from ci_user import judging
from ci_user.checks.escalation import EscalationDecided, NoEscalation
from ci_user.findings import Finding, Verdict
from ci_user.live import USER_ADDRESS
from ci_user.live_policies import LiveDocument
from ci_user.live_prefix import LIVE_ESCALATION, LIVE_UNKNOWN
from ci_user.scan import ScanResult
from tests.unit.plans import CONTEXT, allow, policy

OPEN = dataclasses.replace(CONTEXT, boundary_document=policy(allow("*")))


def run(*checks: str, packs: dict[str, str] | None = None) -> Any:
    accepted = SimpleNamespace(check=checks, resource=USER_ADDRESS, reason="a test", owner="tests", expires="never")
    return SimpleNamespace(
        environment=SimpleNamespace(accepted_findings=[accepted] if checks else []),
        loaded=SimpleNamespace(choice=SimpleNamespace(packs=packs or {"x": policy(allow("s3:GetObject"))})),
    )


def verdict(
    found: tuple[Finding, ...], accepting: str, *, protected: bool = False, documents: tuple[LiveDocument, ...] = ()
) -> Verdict:
    result = ScanResult(findings=found, passed=1, resources=1, checkov_version="", checks_run=())
    context = dataclasses.replace(OPEN, protected=protected)
    live = judging.Live(user=None, documents=documents, findings=())
    return judging.verdict(run(accepting), context, result, live)


def finding(check: str) -> Finding:
    return Finding(check, "", USER_ADDRESS, "", "")


@pytest.mark.parametrize(
    ("check", "plain", "protected"),
    [
        (EscalationDecided.id, True, False),
        (LIVE_UNKNOWN, True, False),
        (NoEscalation.id, False, False),
        (LIVE_ESCALATION, False, False),
    ],
)
def test_what_may_be_accepted(check: str, plain: bool, protected: bool) -> None:
    assert verdict((finding(check),), check).clean is plain
    assert verdict((finding(check),), check, protected=True).clean is protected


def test_what_stays_live_is_united_with_the_planned_documents() -> None:
    # Neither half opens anything alone.
    half = policy(allow("iam:CreateRole"))
    packs = {"x": policy(allow("iam:PutRolePolicy", "arn:aws:iam::000000000000:role/app-*"), allow("s3:GetObject"))}
    result = ScanResult(findings=(), passed=1, resources=1, checkov_version="", checks_run=())
    for stays, failing in ((True, [LIVE_ESCALATION]), (False, [])):
        live = judging.Live(None, (LiveDocument("inline policy p of group people", half, stays),), ())
        found = judging.verdict(run(packs=packs), OPEN, result, live)
        assert [one.check for one in found.failed] == failing


def test_a_live_document_that_cannot_be_read_is_not_decided() -> None:
    found = verdict((), "CKV_AWS_273", documents=(LiveDocument("people", "{", stays=True),))
    assert LIVE_UNKNOWN in [one.check for one in found.failed]


def test_what_a_deploy_takes_off_is_told_only_when_it_makes_a_difference() -> None:
    for text, told in (
        (policy(allow("codebuild:StartBuild")), True),
        (policy(allow("s3:PutObject")), False),
        ("{", True),
    ):
        live = judging.Live(None, (LiveDocument("byhand", text, stays=False),), ())
        notes = judging.passing_rights(run(), OPEN, live)
        assert bool(notes) is told
        assert not told or "byhand" in notes[0]
    assert judging.passing_rights(run(), OPEN, judging.Live(None, (), ())) == ()

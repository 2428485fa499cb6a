"""The check of one environment: when it is planned, what is told without a plan, and what the next night may rely on."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
from typing import Any

import pytest

from ci_user import revocation
from ci_user.backends.protocol import Held
from ci_user.errors import BackendError, InterruptedRunError, LockHeldError, TerraformError
from ci_user.findings import Finding
from ci_user.nightly import check as check_module
from ci_user.nightly.check import check, failed, now
from ci_user.nightly.codes import CHANGED_OUTSIDE
from ci_user.nightly.live_policies_audit import PoliciesJudged
from ci_user.nightly.model import EnvironmentResult
from ci_user.nightly.read_only import refuse_writes
from ci_user.nightly.records import Record
from tests.unit.nightly.checking import World, world
from tests.unit.nightly.identities import DAY, HELD, NOW, OLD, SECOND, STAGE, facts
from tests.unit.nightly.nights import environment as result_of

__all__ = ["world"]

USER = "module.ci_user.aws_iam_user.this"
POLICY = 'module.ci_policy["sample"].aws_iam_policy.this'
FOUND = Finding("CKV_AWS_273", "Access through SSO", USER, "a user is made", "use SSO")
LIVE = Finding("CIUSER_LIVE_4", "What is live is as in the files", USER, "more is attached", "deploy")


def accepting(finding: Finding, expires: str = "2027-01-31") -> dict[str, Any]:
    why = {"reason": "a pipeline has no person", "owner": "platform", "expires": expires}
    return {"check": finding.check, "resource": finding.resource, **why}


def drifted(world: World) -> None:
    changed = {
        "address": USER,
        "mode": "managed",
        "type": "aws_iam_user",
        "name": "this",
        "change": {"actions": ["update"], "before": {"path": "/"}, "after": {"path": "/x/"}, "after_unknown": {}},
    }
    back = {**changed, "change": {**changed["change"], "before": {"path": "/x/"}, "after": {"path": "/"}}}  # type: ignore[dict-item]
    world.document = {"resource_drift": [changed], "resource_changes": [back]}


def ids(result: EnvironmentResult, *, counting: bool = True) -> list[str]:
    return [entry.id for entry in result.entries if entry.counts or not counting]


def kept(world: World, *records: Record | None) -> Record:
    record = world.check(*records).record
    assert record is not None
    return record


def test_without_a_record_it_is_planned_and_scanned_and_what_is_clean_is_recorded(world: World) -> None:
    checked = world.check()
    assert world.did == ["stage reading", "stage waiting", "stage planning", "plan", "stage scanning", "scan"]
    assert (checked.result.way, checked.result.exit_code) == ("planned", 0)
    assert checked.record is not None
    assert checked.record.result == checked.result
    assert checked.record.digest == now(world.run(), world.tools())


def test_with_a_record_that_stands_it_is_not_planned_and_the_record_stays_what_it_was(world: World) -> None:
    world.file, world.scanned = {"accepted_findings": [accepting(FOUND)]}, [FOUND]
    world.policies = PoliciesJudged(entries=(CHANGED_OUTSIDE.entry(USER, "a notice"),), access=("access + s3:*",))
    first = kept(world)
    again = world.check(first)
    assert world.did == ["stage reading"]
    assert again.result.way == "unchanged"
    assert again.result.planned_at == first.planned_at
    assert [one for one in again.result.entries if one.accepted] == [
        one for one in first.result.entries if one.accepted
    ]
    assert again.result.access == first.result.access
    assert again.record is not None
    same = {"planned_at", "valid_until", "digest", "account_id"}
    assert again.record.model_dump(include=same) == first.model_dump(include=same)
    # However many nights in a row: what is told stays what the plan said.
    third = world.check(again.record)
    assert (third.result.entries, third.result.access) == (again.result.entries, again.result.access)


@pytest.mark.parametrize(
    "changed",
    [
        {"digest": "1" * 64},
        {"account_id": "222222222222"},
        {"valid_until": NOW.date()},
        {"environment": "another"},
    ],
    ids=lambda changed: next(iter(changed)),
)
def test_with_a_record_of_something_else_it_is_planned(world: World, changed: dict[str, Any]) -> None:
    record = kept(world).model_copy(update=changed)
    assert world.check(record).result.way == "planned"
    assert world.plans == 1


def test_without_a_book_it_is_planned_whatever_was_recorded(world: World) -> None:
    kept(world)
    assert world.check(None).result.way == "planned"


def test_what_aws_answers_otherwise_has_it_planned(world: World) -> None:
    record = kept(world)
    world.facts = facts(digest="1" * 64)
    assert world.check(record).result.way == "planned"


def test_another_state_has_it_planned(world: World) -> None:
    record = kept(world)
    world.states = ("another",)
    assert world.check(record).result.way == "planned"


def test_a_sandbox_is_always_planned_and_never_recorded(world: World) -> None:
    record = kept(world)
    world.file = {"sandbox": True}
    digest = now(world.run(), world.tools())
    checked = world.check(record.model_copy(update={"digest": digest}))
    assert (checked.result.way, checked.result.exit_code, checked.record) == ("planned", 0, None)


def test_an_acceptance_that_expired_since_is_a_finding_although_nothing_is_planned(world: World) -> None:
    world.file, world.scanned = {"accepted_findings": [accepting(FOUND, "2026-12-01")]}, [FOUND]
    record = kept(world)
    assert [one.id for one in record.result.entries if not one.counts] == [FOUND.check, "CIUSER_ACCEPTED_SOON"]
    world.facts = facts(now=dt.datetime(2026, 12, 1, 23, tzinfo=dt.UTC))
    assert world.check(record).result.way == "unchanged"
    world.facts = facts(now=dt.datetime(2026, 12, 2, tzinfo=dt.UTC))
    checked = world.check(record)
    assert (world.plans, checked.result.way, checked.record) == (0, "unchanged", None)
    (entry,) = [one for one in checked.result.entries if one.id == FOUND.check]
    assert (entry.counts, entry.area, entry.where) == (True, "scan", USER)
    assert "it was accepted until 2026-12-01" in entry.message


def test_what_is_accepted_of_live_policies_is_weighed_again_without_a_plan(world: World) -> None:
    world.file = {"accepted_findings": [accepting(LIVE)]}
    world.policies = PoliciesJudged(findings=(LIVE,))
    record = kept(world)
    (entry,) = [one for one in record.result.entries if one.accepted]
    assert entry.area == "policies"
    again = world.check(record)
    assert (again.result.way, again.result.exit_code) == ("unchanged", 0)
    assert entry in again.result.entries


def test_what_is_not_accepted_is_no_record(world: World) -> None:
    world.scanned = [FOUND]
    checked = world.check()
    assert (checked.result.exit_code, checked.record) == (3, None)


def test_drift_is_no_record(world: World) -> None:
    drifted(world)
    checked = world.check()
    assert (ids(checked.result), checked.record) == (["CIUSER_DRIFT"], None)


def test_a_key_in_trouble_is_no_record_although_the_plan_is_clean(world: World) -> None:
    world.facts = facts(keys=())
    checked = world.check()
    assert checked.record is None
    assert "CIUSER_NO_KEY" in ids(checked.result)


def test_what_is_judged_every_night_is_judged_without_a_plan_too(world: World) -> None:
    record = kept(world)
    world.facts = facts(keys=())
    checked = world.check(record)
    assert (checked.result.way, checked.result.exit_code, checked.record) == ("unchanged", 3, None)


def test_a_notice_keeps_nothing_from_being_recorded(world: World) -> None:
    world.policies = PoliciesJudged(entries=(CHANGED_OUTSIDE.entry(USER, "a notice"),))
    assert CHANGED_OUTSIDE.id in ids(kept(world).result, counting=False)


def test_a_state_that_moves_once_is_planned_again(world: World) -> None:
    world.states = ("one", "two", "two")
    checked = world.check()
    assert (world.plans, checked.result.exit_code) == (2, 0)


def test_a_state_that_moves_during_both_plans_is_an_error_and_nothing_else_is_said_of_it(world: World) -> None:
    world.file = {"accepted_findings": [accepting(FOUND)]}
    world.states = ("one", "two", "two", "three", "three")
    checked = world.check()
    assert (world.plans, "scan" in world.did) == (2, False)
    assert (ids(checked.result), checked.result.exit_code, checked.record) == (["CIUSER_STATE_MOVES"], 1, None)


def test_a_plan_that_stopped_half_way_is_an_error_and_no_acceptance_is_said_to_be_unused(world: World) -> None:
    world.file, world.document = {"accepted_findings": [accepting(FOUND)]}, {"errored": True}
    checked = world.check()
    assert "scan" not in world.did
    assert (ids(checked.result), checked.record) == (["CIUSER_PLAN_ERROR"], None)


def test_an_acceptance_that_accepts_nothing_is_a_finding_once_it_was_scanned(world: World) -> None:
    world.file = {"accepted_findings": [accepting(FOUND)]}
    checked = world.check()
    assert (ids(checked.result), checked.record) == ([FOUND.check], None)


@pytest.mark.parametrize("bucket", [True, False])
def test_what_is_not_deployed_is_said_without_a_plan(world: World, bucket: bool) -> None:
    world.file = {"accepted_findings": [accepting(FOUND)]}
    # A bucket that is not there is not asked for a state.
    world.facts, world.bucket, world.states = facts(user=None, keys=()), bucket, ("state",) if not bucket else (None,)
    checked = world.check()
    assert (world.plans, checked.result.way, checked.record) == (0, "absent", None)
    assert ids(checked.result) == ["CIUSER_NOT_DEPLOYED"]
    assert checked.result.planned_at is None


@pytest.mark.parametrize("there", [{"states": (None,)}, {"facts": facts(user=None, keys=())}], ids=["user", "state"])
def test_with_a_user_or_a_state_alone_it_is_planned(world: World, there: dict[str, Any]) -> None:
    for name, value in there.items():
        setattr(world, name, value)
    assert world.check().result.way == "planned"


def test_a_record_ends_after_the_last_day_of_known_drift(world: World) -> None:
    known = {"resource": USER, "attributes": ["path"], "reason": "moved by the platform", "owner": "platform"}
    drifted(world)
    world.file = {"known_drift": [{**known, "expires": "2026-11-30"}]}
    record = kept(world)
    assert record.valid_until == dt.date(2026, 12, 1)
    world.facts = facts(now=dt.datetime(2026, 11, 30, 23, tzinfo=dt.UTC))
    assert world.check(record).result.way == "unchanged"
    world.facts = facts(now=dt.datetime(2026, 12, 1, tzinfo=dt.UTC))
    checked = world.check(record)
    assert (checked.result.way, checked.record) == ("planned", None)
    assert "CIUSER_KNOWN_DRIFT" in ids(checked.result) or "CIUSER_DRIFT" in ids(checked.result)


def test_records_end_on_different_days_and_none_after_a_month() -> None:
    ends = []
    for name in (f"shop-{number}" for number in range(100)):
        result = result_of(name, planned_at=NOW)
        own: Any = type("Own", (), {"name": name, "account_id": result.account_id, "sandbox": False, "known_drift": ()})
        record = check_module._record(own, "0" * 64, result, NOW.date())
        assert record is not None
        ends.append((record.valid_until - NOW.date()).days)
    assert min(ends) > 20
    assert max(ends) <= 30
    assert len(set(ends)) >= 4


def test_a_revocations_deny_is_left_to_stay_and_is_in_the_digest(world: World) -> None:
    before = kept(world)
    deny = revocation.Revocation((OLD,), NOW - DAY).text()
    world.facts = facts(user_inline={revocation.POLICY_NAME: deny})
    checked = world.check(before)
    assert checked.result.way == "planned"
    assert revocation.POLICY_NAME in json.dumps(world.variables[-1])
    assert revocation.POLICY_NAME not in json.dumps(world.variables[0])
    # What only is called so is no deny of this tool's.
    world.facts = facts(user_inline={revocation.POLICY_NAME: '{"Version":"2012-10-17","Statement":[]}'})
    world.check(None)
    assert revocation.POLICY_NAME not in json.dumps(world.variables[-1])


def test_each_place_is_asked_without_reading_a_secret_and_one_that_cannot_be_keeps_nothing_else_back(
    world: World,
) -> None:
    world.held = {**HELD, STAGE: BackendError("no token")}
    checked = world.check()
    assert [one["target"] for one in world.asked] == [STAGE, SECOND]
    assert all(one["check"] is refuse_writes and one["reads_secrets"] is False for one in world.asked)
    assert ids(checked.result) == ["CIUSER_PLACE_UNASKED"]
    assert (checked.result.exit_code, checked.record) == (1, None)
    assert world.plans == 1
    assert checked.result.targets == (STAGE, SECOND)


def test_a_place_that_holds_another_key_is_found(world: World) -> None:
    world.held = {**HELD, SECOND: Held("AKIAOTHER00000000000", None)}
    assert "CIUSER_PLACE" in ids(world.check().result)


def test_what_terraform_cannot_plan_is_raised_and_its_turn_given_back(world: World) -> None:
    world.plan_fails = TerraformError("no")
    tools = world.tools()
    for _ in range(2):
        with pytest.raises(TerraformError):
            check(world.run(), tools, lambda _: None)
    assert tools.turns.acquire(blocking=False)


def test_a_night_that_ends_begins_no_plan(world: World) -> None:
    stages: list[str] = []

    def stop() -> None:
        raise InterruptedRunError("the check was interrupted")

    with pytest.raises(InterruptedRunError):
        check(world.run(), dataclasses.replace(world.tools(), stop=stop), stages.append)
    assert (stages, world.plans) == (["reading"], 0)


def test_the_fingerprint_as_it_is_now_tells_what_changed_meanwhile(world: World) -> None:
    digest = kept(world).digest
    assert now(world.run(), world.tools()) == digest
    world.states = ("later",)
    assert now(world.run(), world.tools()) != digest
    world.states, world.facts = ("state",), facts(digest="1" * 64, now=NOW + DAY)
    assert now(world.run(), world.tools()) != digest


def test_what_could_not_be_checked_says_where_why_and_what_to_do(world: World) -> None:
    error = LockHeldError("first\nsecond\nthird", where="here", expected="that", do="this", runbook="bucket")
    result = failed(world.run().environment, "testing", error, 0.0)
    (entry,) = result.entries
    assert (entry.id, entry.where, entry.message, entry.fix, entry.runbook) == (
        "CIUSER_NOT_CHECKED",
        "here",
        "first",
        "this",
        "bucket",
    )
    assert entry.details == ("second", "third", "expected: that")
    # Whatever exit code the error has elsewhere.
    assert (result.way, result.exit_code, result.prefix) == ("failed", 1, "shop-testing")


def test_a_file_that_cannot_be_read_is_named(world: World) -> None:
    result = failed(None, "broken", BackendError("no"), 0.0)
    assert result.entries[0].where == "environments/broken.yaml"
    assert (result.account_id, result.exit_code) == ("", 1)

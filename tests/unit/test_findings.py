"""A finding stays only for a reason that still holds; every acceptance must be worth its line."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ci_user.findings import SOON, Finding, judge

TODAY = date(2026, 3, 1)
NEVER = frozenset({"CIUSER_1"})
ADDRESS = 'module.ci_policy["sample"].aws_iam_policy.this'


@dataclass(frozen=True)
class Entry:
    check: tuple[str, ...]
    resource: str = ADDRESS
    expires: date | str = date(2027, 1, 31)
    reason: str = "the recipe's own sample"
    owner: str = "ops"


def finding(check: str, resource: str = ADDRESS) -> Finding:
    return Finding(check, "No star", resource, "it has one", "name the resources")


def test_nothing_found_and_nothing_accepted_is_clean() -> None:
    verdict = judge([], [], TODAY, never_acceptable=NEVER, passed=7)

    assert verdict.clean
    assert verdict.passed == 7
    assert verdict.lines() == ()


def test_a_finding_that_nobody_accepted_fails() -> None:
    verdict = judge([finding("CKV_AWS_355")], [], TODAY, never_acceptable=NEVER)

    assert not verdict.clean
    assert verdict.failed == (finding("CKV_AWS_355"),)
    assert "name the resources" in "".join(verdict.lines())


def test_an_accepted_finding_is_skipped_with_its_reason() -> None:
    entry = Entry(("CKV_AWS_355",), reason="the recipe's\n own sample")
    verdict = judge([finding("CKV_AWS_355")], [entry], TODAY, never_acceptable=NEVER)

    assert verdict.clean
    assert [(one.finding, one.acceptance) for one in verdict.accepted] == [(finding("CKV_AWS_355"), entry)]
    (line,) = verdict.lines()
    assert line.startswith("skipped CKV_AWS_355")
    assert "the recipe's own sample (ops, until 2027-01-31)" in line


@pytest.mark.parametrize(
    "entry",
    [
        Entry(("CKV_AWS_35",)),
        Entry(("CKV_AWS_3555",)),
        Entry(("ckv_aws_355",)),
        Entry(("CKV_AWS_355",), resource="module.ci_policy"),
        Entry(("CKV_AWS_355",), resource='module.ci_policy["other"].aws_iam_policy.this'),
        Entry(("CKV_AWS_355",), resource="*"),
    ],
)
def test_only_the_exact_check_and_address_are_accepted(entry: Entry) -> None:
    verdict = judge([finding("CKV_AWS_355")], [entry], TODAY, never_acceptable=NEVER)

    assert finding("CKV_AWS_355") in verdict.failed
    assert verdict.unused == (entry,)
    assert len(verdict.failed) == 2


def test_one_entry_accepts_several_checks_and_each_must_be_found() -> None:
    entry = Entry(("CKV_AWS_286", "CKV_AWS_288"))
    both = judge([finding("CKV_AWS_286"), finding("CKV_AWS_288")], [entry], TODAY, never_acceptable=NEVER)
    one = judge([finding("CKV_AWS_286")], [entry], TODAY, never_acceptable=NEVER)

    assert both.clean
    assert not one.clean
    assert [(failure.check, failure.resource) for failure in one.failed] == [("CKV_AWS_288", ADDRESS)]
    assert one.unused == (entry,)


@pytest.mark.parametrize(
    ("last", "clean"),
    [
        (TODAY - timedelta(days=1), False),
        (TODAY, True),
        (TODAY + timedelta(days=1), True),
        ("never", True),
        ("", False),
    ],
)
def test_the_last_day_counts_and_the_day_after_fails(last: date | str, clean: bool) -> None:
    entry = Entry(("CKV_AWS_355",), expires=last)
    verdict = judge([finding("CKV_AWS_355")], [entry], TODAY, never_acceptable=NEVER)

    assert verdict.clean is clean
    assert verdict.expired == (() if clean else (entry,))
    if not clean:
        assert f"it was accepted until {last}" in verdict.failed[0].message


def test_an_expired_entry_fails_also_when_nothing_is_found() -> None:
    entry = Entry(("CKV_AWS_355",), expires=TODAY - timedelta(days=1))
    verdict = judge([], [entry], TODAY, never_acceptable=NEVER)

    assert not verdict.clean
    assert "over since 2026-02-28" in verdict.failed[0].message


def test_a_renewed_entry_accepts_but_the_expired_one_beside_it_must_go() -> None:
    old, new = Entry(("CKV_AWS_355",), expires=TODAY - timedelta(days=1)), Entry(("CKV_AWS_355",))
    verdict = judge([finding("CKV_AWS_355")], [old, new], TODAY, never_acceptable=NEVER)

    assert [one.acceptance for one in verdict.accepted] == [new]
    assert verdict.expired == (old,)
    assert [one.message for one in verdict.failed] == ["accepted_findings names it, but it is over since 2026-02-28"]


def test_a_check_that_nobody_may_accept_fails_and_says_so() -> None:
    verdict = judge([finding("CIUSER_1")], [Entry(("CIUSER_1",))], TODAY, never_acceptable=NEVER)

    assert verdict.accepted == ()
    assert "nobody may accept this check" in verdict.failed[0].message


def test_a_destroy_plan_leaves_unused_entries_alone() -> None:
    assert judge([], [Entry(("CKV_AWS_355",))], TODAY, never_acceptable=NEVER, destroying=True).clean


def test_what_ends_soon_is_said() -> None:
    soon, late = Entry(("CKV_AWS_286",), expires=TODAY + SOON), Entry(("CKV_AWS_355",))
    verdict = judge([finding("CKV_AWS_286"), finding("CKV_AWS_355")], [soon, late], TODAY, never_acceptable=NEVER)

    assert verdict.clean
    assert verdict.expiring_soon == (soon,)
    assert any("soon over: CKV_AWS_286" in line for line in verdict.lines())


ids = st.sampled_from(["CKV_AWS_1", "CKV_AWS_2", "CIUSER_1"])
places = st.sampled_from(["a.b", "a.c"])
findings = st.lists(st.builds(finding, ids, places), max_size=5)
days = st.one_of(st.just("never"), st.dates(TODAY - timedelta(days=3), TODAY + timedelta(days=3)))
entries = st.lists(st.builds(Entry, st.lists(ids, min_size=1, max_size=3).map(tuple), places, days), max_size=5)


@given(findings, entries)
def test_every_finding_is_either_failed_or_accepted_for_a_good_reason(
    found: list[Finding], given_: list[Entry]
) -> None:
    verdict = judge(found, given_, TODAY, never_acceptable=NEVER)

    failed = {(one.check, one.resource) for one in verdict.failed}
    accepted = {(one.finding.check, one.finding.resource) for one in verdict.accepted}
    assert {(one.check, one.resource) for one in found} <= failed | accepted
    assert not failed & accepted or verdict.expired
    for one in verdict.accepted:
        assert one.finding.check in one.acceptance.check
        assert one.finding.resource == one.acceptance.resource
        assert one.acceptance.expires == "never" or one.acceptance.expires >= TODAY  # type: ignore[operator]
        assert one.finding.check not in NEVER
    keys = {(one.check, one.resource) for one in found}
    if any((id_, entry.resource) not in keys for entry in given_ for id_ in entry.check):
        assert not verdict.clean

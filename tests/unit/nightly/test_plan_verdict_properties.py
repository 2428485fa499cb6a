"""Whatever a plan holds: nothing is lost, nothing is told of an untouched account, and each attribute has its cause."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from ci_user.nightly.plan_verdict import verdict
from ci_user.plan import Change, Plan
from tests.unit.nightly.plan_parts import TODAY, change, known, plan

NAMES = ("name", "path", "tags", "policy", "groups", "arn", "tags_all")
VALUES = st.sampled_from([None, "", "a", "b", "{}", '{"Statement": []}', ("a",), True, 7])
TYPES = ("aws_iam_user", "aws_iam_policy", "aws_iam_user_group_membership", "aws_iam_user_policies_exclusive", "aws_x")
SIDES = st.none() | st.dictionaries(st.sampled_from(NAMES), VALUES.map(lambda value: _plain(value)))


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


@st.composite
def resources(draw: st.DrawFn, index: int) -> tuple[list[Change], list[Change]]:
    """Return what one resource adds to a plan's changes and to its drift, as Terraform does it."""
    address = f"module.m.{draw(st.sampled_from(TYPES))}.r{index}"
    old, live, wanted = draw(SIDES), draw(SIDES), draw(SIDES)
    if old is None:
        live = None
    elif draw(st.booleans()):
        live = old
    if draw(st.booleans()):
        wanted = live
    drift = [change(old, live, address=address)] if old != live else []
    unknown = draw(st.dictionaries(st.sampled_from(NAMES), st.booleans())) if wanted is not None else {}
    if live is None and wanted is None:
        return [], drift
    if live == wanted and not any(unknown.values()):
        moved = draw(st.booleans())
        return [change(live, wanted, "no-op", address=address, recorded_only=moved)], drift
    known_values = {key: value for key, value in (wanted or {}).items() if not unknown.get(key)}
    kind = draw(st.sampled_from(["update", "replace"])) if live is not None and wanted is not None else None
    planned = change(live, None if wanted is None else known_values, kind, address=address, unknown=unknown)
    return [planned], drift


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    parts = [draw(resources(index)) for index in range(draw(st.integers(0, 4)))]
    changes = [one for part in parts for one in part[0]]
    return plan(changes, [one for part in parts for one in part[1]], draw(st.lists(st.just("o"), max_size=1)))


@given(plans())
def test_what_an_apply_would_change_counts_and_an_untouched_account_says_nothing(one: Plan) -> None:
    entries = verdict(one, (), TODAY).entries
    assert any(entry.counts for entry in entries) == (not one.is_empty)
    if one.is_empty and not one.drift:
        assert not entries


@given(plans())
def test_each_attribute_that_will_change_has_one_cause_or_both_for_two_reasons(one: Plan) -> None:
    result = verdict(one, (), TODAY)
    outside = {drift.address: drift for drift in one.drift}
    for planned in one.changes:
        if planned.kind == "no-op":
            continue
        causes = [
            (told.origin, attribute.name)
            for told in result.changes
            if told.address == planned.address
            for attribute in told.attributes
        ]
        drift = outside.get(planned.address)
        before, after = planned.before or {}, planned.after or {}
        for name in {*before, *after} - {"arn", "tags_all"}:
            old, live, wanted = (drift.before if drift else planned.before) or {}, before.get(name), after.get(name)
            if planned.unknown(name) or _empty(live) == _empty(wanted):
                continue
            origins = {origin for origin, told in causes if told == name}
            expected = set()
            if _empty(old.get(name)) != _empty(live):
                expected.add("drift")
            if _empty(old.get(name)) != _empty(wanted):
                expected.add("unapplied")
            assert origins == expected, (name, old.get(name), live, wanted)


@given(
    plans(),
    st.lists(st.sampled_from(NAMES[:3]), min_size=1, unique=True),
    st.sampled_from(["2026-11-23", "2027-01-01"]),
)
def test_known_drift_accepts_nothing_but_drift_and_only_until_its_day(
    one: Plan, names: list[str], expires: str
) -> None:
    address = next((drift.address for drift in one.drift), "module.m.aws_x.r0")
    bare = verdict(one, (), TODAY)
    entry = known(*names, address=address, expires=expires)
    result = verdict(one, (entry,), TODAY)
    accepted = [found for found in result.entries if found.accepted is not None]
    assert all(found.id in ("CIUSER_DRIFT", "CIUSER_CHANGED_OUTSIDE") and found.where == address for found in accepted)
    assert result.changes == bare.changes
    if expires < TODAY.isoformat():
        assert not accepted
        assert "CIUSER_KNOWN_DRIFT" in {found.id for found in result.entries}
    told = {attribute.name for change in bare.changes if change.origin == "drift" for attribute in change.attributes}
    assert not accepted or told & set(names)


def _empty(value: Any) -> Any:
    return None if value in ("", [], {}) else value

"""A plan is read strictly, guarded, and told in IAM's words."""

from __future__ import annotations

import copy
import dataclasses
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ci_user.errors import PlanError
from ci_user.plan import Change, iam_changes, parse, refusals
from tests.unit.plans import (
    GROUP,
    READER,
    SAMPLE,
    USER,
    allow,
    change,
    document,
    edited,
    plan_of,
    planned,
    policy,
    with_resource,
)

EXCLUSIVE = "module.ci_user.aws_iam_user_policy_attachments_exclusive.this"


def test_a_first_plan_makes_everything() -> None:
    plan = parse(document("plan_first"))

    assert plan.terraform_version == "1.11.4"
    assert (plan.complete, plan.errored, plan.applyable, plan.is_empty) == (True, False, True, False)
    assert len(plan.managed) == len(plan.creates) == 13
    assert (plan.updates, plan.deletes, plan.replaces, plan.drift) == ((), (), (), ())
    user = next(resource for resource in plan.resources if resource.address == USER)
    assert (user.mode, user.type, user.name, user.module) == ("managed", "aws_iam_user", "this", "module.ci_user")
    assert plan.unknown(USER, "arn")
    assert not plan.unknown(USER, "permissions_boundary")


def test_a_destroy_plan_leaves_nothing() -> None:
    plan = parse(document("plan_destroyed"))

    assert plan.resources == ()
    assert len(plan.deletes) == 13


def test_a_replacement_is_no_deletion() -> None:
    plan = parse(document("plan_replaced"))

    assert [found.address for found in plan.replaces] == [USER]
    assert plan.deletes == ()


def test_drift_is_told_apart_from_changes() -> None:
    plan = parse(document("plan_quarantined"))

    assert {found.address for found in plan.drift} >= {USER}
    assert {found.kind for found in plan.drift} == {"update"}


def nothing_changes() -> dict[str, Any]:
    content = document("plan_replaced")
    for entry in content["resource_changes"]:
        entry["change"]["actions"] = ["no-op"]
    for output in content["output_changes"].values():
        output["actions"] = ["no-op"]
    return content


def test_a_plan_without_changes_is_empty() -> None:
    assert parse(nothing_changes()).is_empty
    assert iam_changes(parse(nothing_changes())) == ()


@pytest.mark.parametrize(
    "actions", [["create"], ["read"], ["update"], ["delete"], ["forget"], ["delete", "create"], ["create", "forget"]]
)
def test_any_single_change_makes_it_not_empty_and_is_told(actions: list[str]) -> None:
    content = nothing_changes()
    content["resource_changes"][0]["change"]["actions"] = actions

    assert not parse(content).is_empty
    assert iam_changes(parse(content)) != ()


@pytest.mark.parametrize("extra", [{"previous_address": "aws_iam_group.old"}, {"change": {"importing": {"id": "x"}}}])
def test_what_is_only_recorded_anew_is_a_change_too(extra: dict[str, Any]) -> None:
    content = nothing_changes()
    entry = content["resource_changes"][0]
    entry.update({key: value for key, value in extra.items() if key != "change"})
    entry["change"].update(extra.get("change", {}))

    assert not parse(content).is_empty
    assert iam_changes(parse(content)) == (f"~ {entry['address']} is recorded anew (moved or imported)",)


def test_a_changed_output_alone_is_a_change() -> None:
    content = nothing_changes()
    content["output_changes"]["user_name"]["actions"] = ["update"]

    assert not parse(content).is_empty
    assert iam_changes(parse(content)) == ("~ only what Terraform records changes: output user_name",)


@pytest.mark.parametrize("mask", [True, [True], [False, {"a": True}], {"a": {"b": [True]}}])
def test_an_attribute_unknown_in_part_is_unknown(mask: object) -> None:
    content = document("plan_first")
    change(content, USER)["after_unknown"]["tags"] = mask

    assert parse(content).unknown(USER, "tags")


def test_a_resource_unknown_as_a_whole_is_unknown_in_every_attribute() -> None:
    content = document("plan_first")
    change(content, USER)["after_unknown"] = True

    assert parse(content).unknown(USER, "permissions_boundary")


def test_a_resource_that_the_plan_does_not_speak_of_is_an_error() -> None:
    with pytest.raises(PlanError, match=r"aws_iam_user\.other"):
        parse(document("plan_first")).unknown("aws_iam_user.other", "name")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("format_version", None),
        ("format_version", "2.0"),
        ("format_version", 1.2),
        ("terraform_version", ""),
        ("planned_values", None),
        ("planned_values", {}),
        ("planned_values", {"root_module": []}),
        ("planned_values", {"root_module": {"resources": {}}}),
        ("planned_values", {"root_module": {"resources": ["x"]}}),
        ("planned_values", {"root_module": {"resources": [{"address": "a.b"}]}}),
        ("planned_values", {"root_module": {"child_modules": [{"resources": []}]}}),
        ("prior_state", []),
        ("resource_changes", {}),
        ("resource_changes", [None]),
        ("resource_changes", [{"address": "a.b", "change": {}}]),
        ("resource_drift", "x"),
        ("output_changes", []),
        ("output_changes", {"a": None}),
        ("complete", None),
        ("complete", "true"),
        ("errored", 0),
        ("applyable", None),
    ],
)
def test_a_malformed_document_is_a_plan_error(key: str, value: object) -> None:
    content = document("plan_first")
    content[key] = value

    with pytest.raises(PlanError):
        parse(content)


@pytest.mark.parametrize("actions", [[], ["explode"], ["create", "create"], "create", None, [1]])
def test_actions_that_nobody_knows_are_a_plan_error(actions: object) -> None:
    content = document("plan_first")
    content["resource_changes"][0]["change"]["actions"] = actions

    with pytest.raises(PlanError):
        parse(content)


def test_one_address_twice_is_a_plan_error() -> None:
    content = document("plan_first")
    module = content["planned_values"]["root_module"]["child_modules"][0]
    module["resources"].append(copy.deepcopy(module["resources"][0]))

    with pytest.raises(PlanError, match="twice"):
        parse(content)


@pytest.mark.parametrize("content", [None, [], "x", {}])
def test_what_is_no_object_is_a_plan_error(content: dict[str, Any]) -> None:
    with pytest.raises(PlanError):
        parse(content)


def test_modules_nested_without_end_are_a_plan_error() -> None:
    content = document("plan_first")
    module: dict[str, Any] = {"address": "module.deep"}
    for _ in range(100):
        module = {"address": "module.deep", "child_modules": [module]}
    content["planned_values"]["root_module"] = module

    with pytest.raises(PlanError, match="deeper"):
        parse(content)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(data=st.data())
def test_whatever_stands_anywhere_in_a_plan_it_is_read_or_a_plan_error(data: st.DataObject) -> None:
    content = SMALL()
    place: Any = content
    while True:
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        key = data.draw(st.sampled_from(keys))
        inner = place[key]
        if not isinstance(inner, dict | list) or not inner or data.draw(st.booleans()):
            place[key] = data.draw(json_values)
            break
        place = inner

    try:
        plan = parse(content)
    except PlanError:
        return
    assert isinstance(iam_changes(plan), tuple)
    assert isinstance(refusals(plan, allow_replace=False, destroying=False), tuple)


def SMALL() -> dict[str, Any]:  # noqa: N802 - a constant, made anew for each example
    content = document("plan_changed")
    content.pop("prior_state")
    content.pop("configuration")
    return content


@pytest.mark.parametrize("kind", ["plan_first", "plan_changed"])
def test_an_ordinary_plan_is_not_refused(kind: str) -> None:
    assert refusals(parse(document(kind)), allow_replace=False, destroying=False) == ()


@pytest.mark.parametrize("address", [USER, GROUP])
@pytest.mark.parametrize("actions", [["delete"], ["delete", "create"], ["create", "delete"], ["forget"]])
def test_losing_the_user_or_the_group_needs_a_flag(address: str, actions: list[str]) -> None:
    content = document("plan_replaced")
    change(content, USER)["actions"] = ["no-op"]
    change(content, address)["actions"] = actions
    plan = parse(content)

    (refusal,) = refusals(plan, allow_replace=False, destroying=False)
    assert address in refusal
    assert "--allow-replace" in refusal
    assert refusals(plan, allow_replace=True, destroying=False) == ()
    assert refusals(plan, allow_replace=False, destroying=True) == ()


def test_renaming_the_user_needs_the_flag_too() -> None:
    content = document("plan_replaced")
    found = change(content, USER)
    found["actions"] = ["update"]
    found["after"] = {**found["before"], "name": "other.ci"}

    assert "renamed" in refusals(parse(content), allow_replace=False, destroying=False)[0]


@pytest.mark.parametrize(("allow_replace", "destroying"), [(False, False), (True, False), (False, True), (True, True)])
def test_detaching_a_quarantine_is_always_refused(allow_replace: bool, destroying: bool) -> None:
    plan = parse(document("plan_quarantined"))

    found = refusals(plan, allow_replace=allow_replace, destroying=destroying)

    assert len(found) == 1
    assert "AWSCompromisedKeyQuarantineV3" in found[0]
    assert "scan-fixture.foreign" not in found[0]


def test_a_quarantine_that_shows_only_as_drift_is_refused() -> None:
    content = document("plan_quarantined")
    change(content, EXCLUSIVE)["before"]["policy_arns"] = []

    assert refusals(parse(content), allow_replace=True, destroying=True) != ()


def test_a_quarantine_that_stays_is_no_reason() -> None:
    content = document("plan_quarantined")
    found = change(content, EXCLUSIVE)
    found["after"] = copy.deepcopy(found["before"])

    assert refusals(parse(content), allow_replace=False, destroying=False) == ()


@pytest.mark.parametrize(
    "name", ["AWSCompromisedKeyQuarantine", "AWSCompromisedKeyQuarantineV9", "awscompromisedkeyQUARANTINEv2"]
)
@pytest.mark.parametrize("kind", ["aws_iam_user_policy_attachment", "aws_iam_group_policy_attachment"])
def test_a_quarantine_is_known_in_every_version_and_resource(name: str, kind: str) -> None:
    content = with_resource(document("plan_first"), kind)
    found = change(content, f"{kind}.added")
    found.update(actions=["delete"], before={"user": "u", "policy_arn": f"arn:aws:iam::aws:policy/{name}"}, after=None)

    assert refusals(parse(content), allow_replace=True, destroying=True) != ()


@pytest.mark.parametrize(("key", "value", "word"), [("errored", True, "half way"), ("complete", False, "not complete")])
def test_half_a_plan_is_refused(key: str, value: bool, word: str) -> None:
    content = document("plan_first") | {key: value}

    assert word in refusals(parse(content), allow_replace=True, destroying=True)[0]


def test_a_first_plan_is_told_in_iam_terms() -> None:
    lines = iam_changes(parse(document("plan_first")))

    assert (
        "+ user scan-fixture.ci is created, with the boundary arn:aws:iam::000000000000:policy/scan-fixture.boundary"
        in lines
    )
    assert "+ policy scan-fixture.policy-reader is created (1 statement)" in lines
    assert "+ policy scan-fixture.policy-reader is attached to group scan-fixture.ci" in lines
    assert "+ user scan-fixture.ci joins group scan-fixture.ci" in lines


def test_changed_content_is_counted_in_statements() -> None:
    lines = iam_changes(parse(document("plan_changed")))

    assert "~ content of policy scan-fixture.policy-reader changes: +1/-0 statements" in lines
    assert "~ user scan-fixture.ci changes: tags" in lines
    assert not [line for line in lines if "content of policy scan-fixture.policy-sample" in line]


def policy_change(name: str, kind: str, before: list[str] | None, after: list[str] | None) -> Change:
    def values(actions: list[str] | None) -> dict[str, Any] | None:
        return None if actions is None else {"name": name, "policy": policy(*(allow(action) for action in actions))}

    address = f'module.ci_policy["{name}"].aws_iam_policy.this'
    return Change(
        address, "managed", "aws_iam_policy", "this", None, (), kind, values(before), values(after), {}, (), False
    )


def test_statements_that_move_between_policies_that_stay_are_told() -> None:
    first = policy_change("p", "update", ["a:a", "b:b", "c:c", "d:d"], ["a:a", "d:e"])
    second = policy_change("p-2", "create", None, ["b:b", "c:c"])
    told = iam_changes(dataclasses.replace(plan_of(), changes=(first, second)))
    assert "~ 2 statements move from policy p to p-2: for a moment while applying in neither" in told


@pytest.mark.parametrize(
    "changes",
    [
        # The old one goes when the new one is attached.
        (policy_change("p", "delete", ["a:a"], None), policy_change("q", "create", None, ["a:a"])),
        # It was in both before.
        (policy_change("p", "update", ["a:a", "b:b"], ["b:b"]), policy_change("q", "no-op", ["a:a"], ["a:a"])),
        (policy_change("p", "update", ["a:a"], ["b:b"]),),
    ],
)
def test_what_is_there_all_the_time_is_not_told_as_moving(changes: tuple[Change, ...]) -> None:
    assert not [line for line in iam_changes(dataclasses.replace(plan_of(), changes=changes)) if "neither" in line]


def attachment(arn: str, kind: str) -> Change:
    values = {"group": "g", "policy_arn": arn}
    before, after = (None if kind == "create" else values), (None if kind == "delete" else values)
    kind_of = "aws_iam_group_policy_attachment"
    return Change(f'{kind_of}.this["{arn}"]', "managed", kind_of, "this", None, (), kind, before, after, {}, (), False)


@pytest.mark.parametrize(("old", "new", "refused"), [(5, 5, False), (6, 5, True), (0, 10, False), (10, 0, False)])
def test_a_change_for_which_the_group_has_no_room_is_refused(old: int, new: int, refused: bool) -> None:
    changes = [attachment(f"arn:old-{number}", "delete") for number in range(old)]
    changes += [attachment(f"arn:new-{number}", "create") for number in range(new)]
    found = refusals(dataclasses.replace(plan_of(), changes=tuple(changes)), allow_replace=True, destroying=False)
    assert [f"would carry {old + new} policies for a moment" in reason for reason in found] == [True] * refused


def test_what_was_attached_by_hand_is_told_as_detached() -> None:
    lines = iam_changes(parse(document("plan_quarantined")))

    assert "- policy scan-fixture.foreign is detached from user scan-fixture.ci" in lines
    assert (
        "~ boundary of user scan-fixture.ci changes from none to arn:aws:iam::000000000000:policy/scan-fixture.boundary"
    ) in lines


def test_a_destroy_plan_is_told_as_deletions() -> None:
    lines = iam_changes(parse(document("plan_destroyed")))

    assert "- user scan-fixture.ci is deleted" in lines
    assert "- policy scan-fixture.policy-sample is detached from group scan-fixture.ci" in lines
    assert all(line.startswith("-") for line in lines)


def test_one_file_of_statements_against_another_is_counted_by_content_not_by_order() -> None:
    content = document("plan_changed")
    found = change(content, SAMPLE)
    policy = json.loads(found["before"]["policy"])
    found["after"]["policy"] = json.dumps({**policy, "Statement": policy["Statement"][::-1]})

    assert any("+0/-0 statements" in line for line in iam_changes(parse(content)))


@pytest.mark.parametrize("policy", ["no json", "[]", '{"Statement": 1}', "(sensitive)"])
def test_content_that_cannot_be_read_is_said_so(policy: str) -> None:
    assert any("not readable" in line for line in iam_changes(parse(edited("plan_first", READER, policy=policy))))


def test_names_cannot_steer_the_terminal() -> None:
    lines = iam_changes(parse(edited("plan_first", USER, name="\x1b[2Jx\nforged line\u202e")))

    assert any("\\x1b[2Jx\\nforged line\\u202e" in line for line in lines)
    assert all(line.isprintable() for line in lines)


def test_a_resource_of_another_kind_is_told_by_its_address() -> None:
    content = with_resource(document("plan_first"), "aws_s3_bucket", bucket="b")

    assert "+ aws_s3_bucket.added is created" in iam_changes(parse(content))
    assert planned(content, "aws_s3_bucket.added")["values"] == {"bucket": "b"}

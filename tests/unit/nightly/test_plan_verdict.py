"""Who changed what: somebody in AWS, somebody in the configuration, or both; and what of it may stay for a while."""

from __future__ import annotations

import json
from datetime import date
from typing import Any

import pytest

from ci_user.nightly.model import Entry
from ci_user.nightly.plan_verdict import PlanVerdict, verdict
from ci_user.plan import Plan, parse
from ci_user.redaction import redact
from tests.unit.nightly.plan_parts import TODAY, USER, change, known, plan
from tests.unit.plans import Document, document

POLICY = 'module.ci_policy["reader"].aws_iam_policy.this'
GROUP = "module.ci_user.aws_iam_group.this"
ATTACHMENT = 'module.ci_user.aws_iam_group_policy_attachment.this["reader"]'
ATTACHED = "module.ci_user.aws_iam_group_policy_attachments_exclusive.this"
USER_ATTACHED = "module.ci_user.aws_iam_user_policy_attachments_exclusive.this"
USER_VALUES = {"name": "shop-testing.ci", "path": "/", "permissions_boundary": "b", "tags": {"team": "web"}}


def judged(one: Plan, *entries: Any, today: date = TODAY) -> PlanVerdict:
    return verdict(one, entries, today)


def found(one: PlanVerdict) -> list[tuple[str, str]]:
    return [(entry.id.removeprefix("CIUSER_"), entry.where) for entry in one.entries]


def user(**changes: Any) -> dict[str, Any]:
    return {**USER_VALUES, **changes}


def only(one: PlanVerdict) -> Entry:
    (entry,) = one.entries
    return entry


def real(name: str, content: Document | None = None) -> Plan:
    return parse(redact(content or document(name)))


def test_a_plan_that_changes_nothing_says_nothing() -> None:
    assert judged(plan([change(user(), user(), "no-op")])) == PlanVerdict((), ())


def test_what_is_put_back_was_changed_in_aws() -> None:
    result = judged(
        plan(
            [change(user(permissions_boundary=""), user())],
            [change(user(), user(permissions_boundary=""))],
        )
    )
    entry = only(result)
    assert entry.id == "CIUSER_DRIFT"
    assert entry.message == "somebody changed AWS: boundary of user shop-testing.ci changes from b to none"
    assert entry.details == (
        'permissions_boundary: b -> ""',
        "the next deploy: ~ boundary of user shop-testing.ci changes from none to b",
    )
    (one,) = result.changes
    assert (one.origin, one.action) == ("drift", "update")
    assert [(at.name, at.before, at.after) for at in one.attributes] == [("permissions_boundary", "b", '""')]


def test_what_nobody_touched_in_aws_was_merged() -> None:
    result = judged(plan([change(user(), user(tags={"team": "api"}))]))
    assert found(result) == [("UNAPPLIED", USER)]
    assert only(result).message == "not deployed yet: user shop-testing.ci changes: tags"
    (attribute,) = result.changes[0].attributes
    assert attribute.before == '{\n  "team": "web"\n}'
    assert attribute.after == '{\n  "team": "api"\n}'


def test_one_resource_can_be_both_attribute_by_attribute() -> None:
    result = judged(
        plan([change(user(path="/x/"), user(tags={}))], [change(user(), user(path="/x/"))]),
    )
    assert found(result) == [("DRIFT", USER), ("UNAPPLIED", USER)]
    assert "path" in result.entries[0].message
    assert "tags" not in result.entries[0].message
    assert "tags" in result.entries[1].message
    assert "path" not in result.entries[1].message
    assert [(one.origin, [at.name for at in one.attributes]) for one in result.changes] == [
        ("drift", ["path"]),
        ("unapplied", ["tags"]),
    ]


def test_an_attribute_changed_on_both_sides_is_both() -> None:
    result = judged(
        plan([change(user(path="/live/"), user(path="/wanted/"))], [change(user(), user(path="/live/"))]),
    )
    assert found(result) == [("DRIFT", USER), ("UNAPPLIED", USER)]
    assert [(at.before, at.after) for one in result.changes for at in one.attributes] == [
        ("/", "/live/"),
        ("/live/", "/wanted/"),
    ]


def test_what_no_deploy_would_change_is_a_notice() -> None:
    result = judged(plan([change(user(path="/x/"), user(path="/x/"), "no-op")], [change(user(), user(path="/x/"))]))
    entry = only(result)
    assert (entry.id, entry.gravity) == ("CIUSER_CHANGED_OUTSIDE", "notice")
    assert entry.details == ("path: / -> /x/",)


@pytest.mark.parametrize(
    ("old", "live"),
    [
        ({"attachment_count": 0}, {"attachment_count": 1}),
        ({"tags": None}, {"tags": {}}),
        ({"permissions_boundary": ""}, {"permissions_boundary": None}),
        ({"policy": '{"a": 1, "b": 2}'}, {"policy": '{"b":2,"a":1}'}),
        (
            {"policy": '{"Statement": [{"Action": ["a", "b"], "Resource": "*"}]}'},
            {"policy": '{"Statement": {"Resource": ["*"], "Action": ["b", "a"]}}'},
        ),
    ],
)
def test_what_changes_by_itself_or_only_in_writing_says_nothing(old: dict[str, Any], live: dict[str, Any]) -> None:
    assert (
        judged(plan([change(user(**live), user(**live), "no-op")], [change(user(**old), user(**live))])).entries == ()
    )


def test_what_was_deleted_outside_and_is_made_again_is_drift() -> None:
    values = {"name": "shop-testing.ci", "path": "/", "arn": "arn:1", "id": "1"}
    wanted = {"name": "shop-testing.ci", "path": "/"}
    unknown = {"arn": True, "id": True}
    drift = [change(values, None, address=GROUP)]
    result = judged(plan([change(None, wanted, address=GROUP, unknown=unknown)], drift))
    assert found(result) == [("DRIFT", GROUP)]
    assert only(result).message == "somebody changed AWS: group shop-testing.ci is deleted"
    result = judged(plan([change(None, {**wanted, "path": "/x/"}, address=GROUP, unknown=unknown)], drift))
    assert found(result) == [("DRIFT", GROUP), ("UNAPPLIED", GROUP)]
    assert result.entries[1].message == "not deployed yet: group shop-testing.ci changes: path"


def test_what_was_deleted_outside_and_is_not_wanted_any_more_is_a_notice() -> None:
    assert found(judged(plan([], [change(user(), None)]))) == [("CHANGED_OUTSIDE", USER)]


@pytest.mark.parametrize(
    ("one", "words"),
    [
        (change(user(), None), "user shop-testing.ci is deleted"),
        (change(user(), None, "forget"), "forgotten by Terraform but stays in AWS"),
        (change(None, user()), "user shop-testing.ci is created, with the boundary b"),
        (change(user(), user(), "no-op", recorded_only=True), "recorded anew (moved or imported)"),
        (change(user(), user(), "replace"), "user shop-testing.ci is replaced"),
        (change(user(), user(), "update"), "aws_iam_user.this changes"),
        (change({"x": 1}, {"x": 1}, "update", address=ATTACHED), "only what Terraform records"),
        (change(None, {"x": 1}, "read", address="data.aws_x.y", mode="data"), "data.aws_x.y is read while applying"),
    ],
)
def test_every_other_change_was_merged(one: Any, words: str) -> None:
    entry = only(judged(plan([one])))
    assert entry.id == "CIUSER_UNAPPLIED"
    assert words in entry.message


def test_what_waits_for_another_change_is_not_told_besides() -> None:
    reading = change(None, {"x": 1}, "read", address="data.aws_x.y", mode="data")
    assert found(judged(plan([reading, change(user(), user(path="/x/"))]))) == [("UNAPPLIED", USER)]


def test_a_replacement_that_the_drift_does_not_explain_was_merged_too() -> None:
    drift = [change(user(), user(path="/x/"))]
    explained = change(user(path="/x/"), user(), "replace", forced=["path"])
    assert found(judged(plan([explained], drift))) == [("DRIFT", USER)]
    tainted = change(user(path="/x/"), user(), "replace")
    assert found(judged(plan([tainted], drift))) == [("DRIFT", USER), ("UNAPPLIED", USER)]


def test_what_is_taken_out_after_a_change_outside_is_both() -> None:
    drift = [change(user(), user(path="/x/"))]
    assert found(judged(plan([change(user(path="/x/"), None)], drift))) == [("DRIFT", USER), ("UNAPPLIED", USER)]


def test_what_an_earlier_replacement_left_behind_is_not_the_drift() -> None:
    drift = [change(user(), user(path="/x/"))]
    result = judged(plan([change(user(), None), change(user(path="/x/"), user())], drift))
    assert found(result) == [("DRIFT", USER), ("UNAPPLIED", USER)]
    assert [one.action for one in result.changes] == ["update", "delete"]


def test_what_is_unknown_until_apply_follows_what_is_known() -> None:
    drift = [change(user(), user(path="/x/"))]
    wanted = {key: value for key, value in user().items() if key != "tags"}
    result = judged(plan([change(user(path="/x/"), wanted, unknown={"tags": {"team": True}})], drift))
    assert found(result) == [("DRIFT", USER)]
    result = judged(plan([change(user(), wanted, unknown={"tags": {"team": True}, "tags_all": True})]))
    assert found(result) == [("UNAPPLIED", USER)]
    assert [(at.name, at.after) for at in result.changes[0].attributes] == [("tags", "(known after apply)")]
    result = judged(
        plan([change(user(tags={}), wanted, unknown={"tags": True})], [change(user(), user(tags={}))]),
    )
    assert found(result) == [("DRIFT", USER)]


def test_only_outputs() -> None:
    result = judged(plan([change(user(), user(), "no-op")], outputs=["user_arn"]))
    assert found(result) == [("OUTPUTS", "")]
    assert "user_arn" in only(result).message
    assert [(one.address, one.origin) for one in result.changes] == [("output.user_arn", "output")]
    assert found(judged(plan([change(user(), user(path="/x/"))], outputs=["user_arn"]))) == [("UNAPPLIED", USER)]


def test_accepted_drift_does_not_hide_outputs() -> None:
    one = plan([change(user(path="/x/"), user())], [change(user(), user(path="/x/"))], outputs=["user_arn"])
    assert found(judged(one, known("path"))) == [("DRIFT", USER), ("OUTPUTS", "")]


@pytest.mark.parametrize("how", [(True, False), (False, False)])
def test_half_a_plan_is_an_error_and_says_nothing_else(how: tuple[bool, bool]) -> None:
    result = judged(plan([change(user(), user(path="/x/"))], errored=how[0], complete=how[1]), known("tags"))
    assert found(result) == [("PLAN_ERROR", "")]
    assert only(result).gravity == "error"


def test_an_attachment_and_the_list_of_all_are_told_once() -> None:
    gone = {"group": "shop-testing.ci", "policy_arn": "arn:aws:iam::1:policy/p"}
    full = {"group_name": "shop-testing.ci", "policy_arns": ["arn:aws:iam::1:policy/p"]}
    less = {**full, "policy_arns": []}
    both = plan(
        [change(None, gone, address=ATTACHMENT, unknown={"id": True}), change(less, full, address=ATTACHED)],
        [change(gone, None, address=ATTACHMENT), change(full, less, address=ATTACHED)],
    )
    result = judged(both)
    assert found(result) == [("DRIFT", ATTACHMENT)]
    assert only(result).message == "somebody changed AWS: policy p is detached from group shop-testing.ci"
    assert len(result.changes) == 2
    # The same as a merge.
    result = judged(plan([change(None, gone, address=ATTACHMENT), change(less, full, address=ATTACHED)]))
    assert found(result) == [("UNAPPLIED", ATTACHMENT)]
    # What only the list knows of is told by it.
    more = {**full, "policy_arns": ["arn:aws:iam::1:policy/foreign"]}
    result = judged(
        plan(
            [change(None, gone, address=ATTACHMENT), change(more, full, address=ATTACHED)],
            [change(gone, None, address=ATTACHMENT), change(full, more, address=ATTACHED)],
        )
    )
    assert found(result) == [("DRIFT", ATTACHMENT), ("DRIFT", ATTACHED)]


def test_what_hung_on_a_deleted_group_is_told_with_it() -> None:
    group = {"name": "shop-testing.ci"}
    on = {"group": "shop-testing.ci", "policy_arn": "arn:aws:iam::1:policy/p"}
    names = {"group_name": "shop-testing.ci", "policy_arns": ["arn:aws:iam::1:policy/p"]}
    values: list[tuple[str, dict[str, Any]]] = [(GROUP, group), (ATTACHMENT, on), (ATTACHED, names)]
    result = judged(
        plan(
            [change(None, value, address=address) for address, value in values],
            [change(value, None, address=address) for address, value in values],
        )
    )
    assert found(result) == [("DRIFT", GROUP)]
    assert "with it: policy p is detached from group shop-testing.ci" in only(result).details


def test_known_drift_is_accepted_with_its_reason() -> None:
    one = plan([change(user(path="/x/"), user())], [change(user(), user(path="/x/"))])
    entry = only(judged(one, known("path")))
    assert entry.accepted is not None
    assert (entry.accepted.owner, entry.accepted.expires) == ("platform", "2027-01-31")
    assert not entry.counts


@pytest.mark.parametrize(
    ("entries", "live", "codes", "told"),
    [
        ([known("tags")], {"path": "/x/"}, ["DRIFT", "KNOWN_DRIFT"], "it does not name path"),
        ([known("path", "tags")], {"path": "/x/"}, ["DRIFT", "KNOWN_DRIFT"], "names tags, which did not drift"),
        ([known("path")], {"path": "/x/", "tags": {}}, ["DRIFT"], "it does not name tags"),
        ([known("path", expires="2026-11-23")], {"path": "/x/"}, ["DRIFT", "KNOWN_DRIFT"], "it is still so"),
        ([known("tags", expires="2026-11-23")], {"path": "/x/"}, ["DRIFT", "KNOWN_DRIFT"], "it did not drift"),
        ([known("path", address=GROUP)], {"path": "/x/"}, ["DRIFT", "KNOWN_DRIFT"], "names path, which did not drift"),
    ],
)
def test_known_drift_that_does_not_fit_is_told(
    entries: list[Any], live: dict[str, Any], codes: list[str], told: str
) -> None:
    result = judged(plan([change(user(**live), user())], [change(user(), user(**live))]), *entries)
    assert [entry.id.removeprefix("CIUSER_") for entry in result.entries] == codes
    assert told in " ".join(line for entry in result.entries for line in (entry.message, *entry.details))
    assert any(entry.counts for entry in result.entries)


def test_known_drift_without_any_drift_is_of_no_use() -> None:
    assert found(judged(plan(), known("path"))) == [("KNOWN_DRIFT", USER)]


def test_known_drift_accepts_the_notice_too_and_nothing_that_was_merged() -> None:
    drift = [change(user(), user(path="/x/"))]
    entry = only(judged(plan([], drift), known("path")))
    assert (entry.id, entry.accepted is not None) == ("CIUSER_CHANGED_OUTSIDE", True)
    result = judged(plan([change(user(path="/x/"), user(path="/y/"))], drift), known("path"))
    assert [(entry.id, entry.counts) for entry in result.entries] == [
        ("CIUSER_DRIFT", False),
        ("CIUSER_UNAPPLIED", True),
    ]


def test_a_deleted_resource_and_permissions_are_never_accepted() -> None:
    one = plan([change(None, user())], [change(user(), None)])
    every = known("name", "path", "tags").model_copy(update={"attributes": tuple(USER_VALUES)})
    assert only(judged(one, every)).counts
    bare = user(permissions_boundary="")
    result = judged(plan([change(bare, user())], [change(user(), bare)]), every)
    assert (result.entries[0].id, result.entries[0].counts) == ("CIUSER_DRIFT", True)


def test_sensitive_values_stay_masked_and_hide_nothing() -> None:
    hidden = user(secret="(sensitive)")
    merged = judged(plan([change(hidden, hidden, "update")]))
    assert found(merged) == [("UNAPPLIED", USER)]
    drifted = judged(plan([change(hidden, hidden, "update")], [change(hidden, hidden, "update")]))
    assert found(drifted) == [("DRIFT", USER)]
    assert found(judged(plan([], [change(hidden, hidden, "update")]))) == [("CHANGED_OUTSIDE", USER)]
    assert [(at.before, at.after) for one in drifted.changes for at in one.attributes] == [
        ("(sensitive)", "(sensitive)")
    ]
    was = user(secret="once public")
    assert "once public" not in str(judged(plan([change(was, hidden)], [change(user(), was)])))
    path = {**hidden, "path": "/x/"}
    result = judged(plan([change(path, hidden)], [change(hidden, path)]), known("path"))
    assert result.entries[0].counts


def test_a_policys_content_reads_line_by_line_in_one_order() -> None:
    def policy(*actions: str) -> dict[str, Any]:
        statement = {"Resource": "*", "Action": list(actions), "Effect": "Allow", "Sid": "One"}
        return {"name": "p", "policy": json.dumps({"Statement": [statement], "Version": "2012-10-17"})}

    left, live = policy("s3:a", "s3:b"), policy("s3:c", "s3:b", "s3:a")
    result = judged(plan([change(live, left, address=POLICY)], [change(left, live, address=POLICY)]))
    assert only(result).message == "somebody changed AWS: content of policy p changes: +1/-1 statements"
    (attribute,) = result.changes[0].attributes
    before, after = attribute.before.splitlines(), attribute.after.splitlines()
    assert before[1].strip() == '"Version": "2012-10-17",'
    assert [line.strip() for line in after if line not in before] == ['"s3:b",', '"s3:c"']


def test_names_from_aws_steer_no_terminal_and_fit_the_model() -> None:
    evil = {"name": "\x1b[2J\u202eevil", "policy": "x" * 50_000, "tags": {"a": "\x1b\n"}, "description": "a\nb\x07"}
    address = 'module.ci_policy["' + "x" * 5_000 + '"].aws_iam_policy.this'
    result = judged(plan([change({}, evil, address=address)]))
    shown = result.entries[0].model_dump_json() + "".join(
        text for one in result.changes for at in one.attributes for text in (at.before, at.after)
    )
    assert not {"\x1b", "\u202e", "\x07"} & set(shown)


def test_the_real_first_plan_is_all_merged_and_each_thing_is_told_once() -> None:
    result = judged(real("plan_first"))
    assert {entry.id for entry in result.entries} == {"CIUSER_UNAPPLIED"}
    assert not [entry for entry in result.entries if "_exclusive" in entry.where]
    assert len({entry.message for entry in result.entries}) == len(result.entries) == 9


def test_the_real_plan_of_a_leaked_key_is_drift_that_names_the_quarantine() -> None:
    result = judged(real("plan_quarantined"))
    assert found(result) == [("DRIFT", USER), ("DRIFT", USER_ATTACHED)]
    assert "leave it attached" in result.entries[1].fix
    assert result.entries[1].runbook == "quarantine"


def test_the_real_plan_of_a_merge_has_no_drift_in_it() -> None:
    result = judged(real("plan_changed"))
    assert {entry.id for entry in result.entries} == {"CIUSER_UNAPPLIED"}
    assert {one.origin for one in result.changes} == {"unapplied", "output"}
    assert found(judged(real("plan_replaced"))) == [("UNAPPLIED", USER)]


def test_no_secret_of_a_real_plan_is_shown() -> None:
    for name in ("sensitive_created", "sensitive_changed"):
        content = document(name)
        result = judged(real(name, content))
        assert any(entry.counts for entry in result.entries)
        shown = "".join(entry.model_dump_json() for entry in result.entries)
        shown += "".join(one.model_dump_json() for one in result.changes)
        for secret in secrets(content):
            assert secret not in shown


def secrets(content: Document) -> set[str]:
    found: set[str] = set()
    for entry in content["resource_changes"]:
        for side in ("before", "after"):
            values, mask = entry["change"].get(side) or {}, entry["change"].get(f"{side}_sensitive") or {}
            found |= {
                value
                for key, value in values.items()
                if isinstance(value, str) and len(value) > 5 and mask.get(key) is True
            }
    assert found
    return found

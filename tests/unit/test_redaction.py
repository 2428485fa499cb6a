"""No sensitive value of a plan survives redaction, and everything that a scan needs does."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ci_user.errors import PlanError
from ci_user.plan import parse
from ci_user.redaction import SENSITIVE, masked, redact
from tests.unit.plans import SAMPLE, USER, change, document, planned

PLANTED = re.compile("PLANTED-[a-z-]+")
REAL = ["sensitive_created", "sensitive_changed"]


@pytest.mark.parametrize("name", REAL)
def test_no_planted_secret_is_left_in_a_real_plan(name: str) -> None:
    # tests/unit/data/sensitive holds the configuration: variables, nested objects, module inputs and outputs,
    # attributes that are sensitive by schema, literals, and copies that the provider makes without a mark.
    content = document(name)
    assert len(set(PLANTED.findall(json.dumps(content)))) >= 9

    assert PLANTED.findall(json.dumps(redact(content))) == []


@pytest.mark.parametrize("name", REAL)
def test_what_is_not_sensitive_stays(name: str) -> None:
    left = json.dumps(redact(document(name)))

    for word in ("visible-deep", "visible-in-module", "visible-output", "visible-part", "visible-tag", "eu-west-1"):
        assert word in left


@pytest.mark.parametrize("name", [*REAL, "plan_first", "plan_changed", "plan_destroyed", "plan_quarantined"])
def test_the_given_document_is_left_as_it_is(name: str) -> None:
    content = document(name)
    before = copy.deepcopy(content)

    redact(content)

    assert content == before


@pytest.mark.parametrize("name", [*REAL, "plan_first", "plan_changed", "plan_destroyed", "plan_quarantined"])
def test_the_redacted_plan_is_still_the_same_plan(name: str) -> None:
    content = document(name)
    plan, redacted = parse(content), parse(redact(content))

    assert [found.address for found in redacted.resources] == [found.address for found in plan.resources]
    assert [(found.address, found.kind) for found in redacted.changes] == [
        (found.address, found.kind) for found in plan.changes
    ]
    assert [set(found.values) for found in redacted.resources] == [set(found.values) for found in plan.resources]


def test_a_plan_without_secrets_keeps_every_value() -> None:
    content = document("plan_changed")

    redacted = redact(content)

    for part in ("planned_values", "resource_changes", "prior_state", "output_changes", "variables"):
        assert redacted[part] == content[part]


def test_redacting_twice_changes_nothing_more() -> None:
    once = redact(document("sensitive_changed"))

    assert redact(once) == once


def test_a_part_that_nobody_knows_is_left_out() -> None:
    content = document("plan_first") | {"action_invocations": [{"config_values": {"token": "PLANTED-future"}}]}

    assert PLANTED.findall(json.dumps(redact(content))) == []


@pytest.mark.parametrize("section", ["resource_changes", "resource_drift"])
@pytest.mark.parametrize("side", ["before", "after"])
def test_a_missing_mask_hides_everything(section: str, side: str) -> None:
    content = document("plan_quarantined")
    entry = content[section][0]["change"]
    entry[side] = {"x": "PLANTED-without-mask"}
    del entry[f"{side}_sensitive"]

    assert redact(content)[section][0]["change"][side] == {"x": SENSITIVE}


def test_a_missing_mask_of_planned_values_hides_everything() -> None:
    content = document("plan_first")
    del planned(content, USER)["sensitive_values"]

    assert set(planned(redact(content), USER)["values"].values()) == {SENSITIVE}


def test_an_output_that_does_not_say_is_taken_for_sensitive() -> None:
    content = document("plan_first")
    content["planned_values"]["outputs"]["new"] = {"value": {"a": ["PLANTED-output"]}}

    assert redact(content)["planned_values"]["outputs"]["new"]["value"] == SENSITIVE


def test_a_variable_that_is_not_declared_is_taken_for_sensitive() -> None:
    content = document("plan_first")
    content["variables"]["stray"] = {"value": "PLANTED-stray"}

    assert redact(content)["variables"]["stray"] == {"value": SENSITIVE}


def test_deferred_changes_and_checks_are_redacted_too() -> None:
    content = document("plan_first")
    content["deferred_changes"] = [
        {
            "reason": "instance_count_unknown",
            "resource_change": {
                "change": {
                    "actions": ["create"],
                    "after": {"a": "PLANTED-deferred", "b": "kept"},
                    "after_sensitive": {"a": True},
                }
            },
        }
    ]
    content["checks"] = [{"instances": [{"problems": [{"message": "PLANTED-message"}]}]}]

    redacted = redact(content)

    assert redacted["deferred_changes"][0]["resource_change"]["change"]["after"] == {"a": SENSITIVE, "b": "kept"}
    assert PLANTED.findall(json.dumps(redacted)) == []


def test_constants_of_the_configuration_go_but_for_the_providers_region_and_accounts() -> None:
    content = document("plan_first")
    expressions = content["configuration"]["provider_config"]["aws"]["expressions"]
    expressions["region"] = {"constant_value": "eu-west-1"}
    expressions["token"] = {"constant_value": "PLANTED-token"}
    expressions["assume_role"] = [{"external_id": {"constant_value": "PLANTED-external-id"}}]
    content["configuration"]["root_module"]["module_calls"]["ci_user"]["expressions"]["x"] = {
        "constant_value": {"deep": ["PLANTED-argument"]}
    }

    redacted = redact(content)

    kept = redacted["configuration"]["provider_config"]["aws"]["expressions"]
    assert kept["region"] == {"constant_value": "eu-west-1"}
    assert kept["token"] == {"constant_value": SENSITIVE}
    assert PLANTED.findall(json.dumps(redacted)) == []


def test_a_copy_without_a_mark_is_found_again_also_inside_of_other_text_and_json() -> None:
    content = document("plan_first")
    secret = 'PLANTED-a"quoted\nsecret'
    found = change(content, USER)
    found["after"] |= {"token": secret, "url": f"https://x/?k={secret}", "body": json.dumps({"k": secret})}
    found["after_sensitive"] = {"token": True}

    after = change(redact(content), USER)["after"]

    assert (after["token"], after["url"], after["body"]) == (SENSITIVE, SENSITIVE, SENSITIVE)
    assert after["name"] == "scan-fixture.ci"


def test_a_policy_that_holds_a_sensitive_text_is_hidden_as_a_whole() -> None:
    # With just the text replaced, an action could be hidden from the checks.
    content = document("plan_first")
    found = change(content, USER)
    found["after"]["token"], found["after_sensitive"] = "iam:CreateRole", {"token": True}

    assert planned(redact(content), SAMPLE)["values"]["policy"] == SENSITIVE


def test_short_sensitive_values_hide_only_their_equals() -> None:
    content = document("plan_first")
    found = change(content, USER)
    found["after"] |= {"flag": "ab", "number": 12345, "copy": 12345, "same": "ab", "longer": "abc", "no": False}
    found["after_sensitive"] = {"flag": True, "number": True, "no": True}

    after = change(redact(content), USER)["after"]

    assert (after["same"], after["copy"], after["longer"]) == (SENSITIVE, SENSITIVE, "abc")


@pytest.mark.parametrize("content", [None, [], "x", 1])
def test_what_is_no_object_is_a_plan_error(content: dict[str, Any]) -> None:
    with pytest.raises(PlanError):
        redact(content)


def test_endless_nesting_is_a_plan_error() -> None:
    deep: Any = "x"
    for _ in range(100_000):
        deep = [deep]

    with pytest.raises(PlanError, match="deep"):
        redact({"planned_values": deep})
    while isinstance(deep, list):  # taken apart by hand: freeing it at once would recurse as well
        deep = deep.pop()


leaves = st.none() | st.booleans() | st.integers() | st.text(max_size=4)
values = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=4),
    max_leaves=12,
)


def marked(value: object, draw: Callable[..., Any], planted: list[str]) -> tuple[Any, Any]:
    """Return the value with secrets planted into it, and Terraform's mask for them."""
    choice = draw(st.sampled_from(["open", "hidden", "inside", "inside"]))
    if choice == "hidden":
        planted.append(f"PLANTED-{len(planted)}")
        return {"any": [planted[-1], value]}, True
    if choice == "inside" and isinstance(value, dict):
        parts = {key: marked(part, draw, planted) for key, part in value.items()}
        return {key: part for key, (part, _) in parts.items()}, {
            # Terraform leaves out what is not sensitive.
            key: mask
            for key, (_, mask) in parts.items()
            if mask is not False
        }
    if choice == "inside" and isinstance(value, list):
        items = [marked(part, draw, planted) for part in value]
        return [part for part, _ in items], [mask for _, mask in items]
    return value, False


@given(data=st.data(), value=values)
def test_whatever_the_mask_marks_is_gone_and_nothing_else(data: st.DataObject, value: object) -> None:
    planted: list[str] = []
    value, mask = marked(value, data.draw, planted)
    before = copy.deepcopy(value)

    result = masked(value, mask)

    text = json.dumps(result)
    assert not [secret for secret in planted if f'"{secret}"' in text]
    assert value == before
    assert text.count(SENSITIVE) >= (1 if planted else 0)
    if not planted:
        assert result == value


@given(value=values, mask=values)
def test_a_mask_of_another_shape_that_marks_anything_hides_everything(value: object, mask: object) -> None:
    result = masked({"a": "PLANTED-x", "b": value}, [mask, True])

    assert result == SENSITIVE


@given(st.lists(st.text(min_size=1), min_size=2, max_size=5))
def test_a_mask_that_is_too_short_hides_the_rest(texts: list[str]) -> None:
    assert masked(texts, [True]) == [SENSITIVE] * len(texts)
    assert masked(texts, [False]) == texts

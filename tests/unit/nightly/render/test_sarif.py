"""SARIF that code scanning takes: suppressions with reasons, stable fingerprints, and files of the repository only."""

from __future__ import annotations

import json
import re
from typing import Any
from urllib.parse import unquote

import pytest
from hypothesis import given, settings
from jsonschema import Draft202012Validator

from ci_user.nightly.model import Acceptance, NightResult
from ci_user.nightly.render.sarif import MOST_RESULTS, text
from tests.unit.nightly.render.hostile_nights import HOSTILE, NIGHT, entry, environment, hostile, night, nights
from tests.unit.nightly.render.sarif_parts import LOG

VALIDATOR = Draft202012Validator(LOG)
ACCEPTED = Acceptance(reason="known", owner="ops", expires="2031-12-31")


def run(result: NightResult, **more: Any) -> dict[str, Any]:
    written = text(result, **more)
    assert written.isascii()
    log = json.loads(written)
    errors = [f"{list(error.path)}: {error.message}" for error in VALIDATOR.iter_errors(log)]
    assert not errors, errors
    (only,) = log["runs"]
    rules = only["tool"]["driver"]["rules"]
    assert len({rule["id"] for rule in rules}) == len(rules)
    for found in only["results"]:
        assert rules[found["ruleIndex"]]["id"] == found["ruleId"]
        message = found["message"]["text"]
        assert "](" not in message  # no embedded link
        assert not re.search(r"(?<!\{)(?:\{\{)*\{(?!\{)|(?<!\})(?:\}\})*\}(?!\})", message)  # no placeholder
    prints = [found["partialFingerprints"]["primaryLocationLineHash"] for found in only["results"]]
    assert len(set(prints)) == len(prints)
    return dict(only)


def test_levels_say_how_grave_it_is() -> None:
    found = run(night(environment("prod", *(entry(gravity=gravity) for gravity in ("notice", "finding", "error")))))[
        "results"
    ]
    assert [one["level"] for one in found] == ["error", "warning", "note"]


def test_what_is_accepted_is_suppressed_with_reason_owner_and_last_day() -> None:
    (found,) = run(night(environment("prod", entry(accepted=ACCEPTED))))["results"]
    assert found["suppressions"] == [
        {
            "kind": "external",
            "status": "accepted",
            "justification": "known (ops, until 2031-12-31)",
            "properties": {"owner": "ops", "expires": "2031-12-31"},
        }
    ]


def test_a_finding_is_in_its_environments_file_and_names_the_resource() -> None:
    (found,) = run(night(environment("prod-eu", entry(where="module.ci_user.aws_iam_user.this"))))["results"]
    assert found["locations"] == [
        {
            "physicalLocation": {"artifactLocation": {"uri": "environments/prod-eu.yaml", "uriBaseId": "%SRCROOT%"}},
            "logicalLocations": [{"fullyQualifiedName": "module.ci_user.aws_iam_user.this", "kind": "resource"}],
        }
    ]


def test_the_next_night_is_the_same_finding_though_it_is_worded_anew_and_accepted_meanwhile() -> None:
    def prints(*entries: Any) -> set[str]:
        found = run(night(environment("prod", *entries)))["results"]
        return {one["partialFingerprints"]["primaryLocationLineHash"] for one in found}

    first = entry(where="AKIA1", message="the key is 91 days old")
    second = entry(where="AKIA1", message="the key is 92 days old", since=NIGHT, accepted=ACCEPTED)
    other = entry(where="AKIA2", message="the key is 91 days old")
    assert prints(first) == prints(second)
    assert prints(first) != prints(other)
    assert prints(first) < prints(other, first)


def test_what_was_not_checked_and_what_does_not_fit_is_told() -> None:
    many = environment("prod", entry("CIUSER_PLAN_ERROR", gravity="error"), *(entry(where=str(n)) for n in range(9)))
    only = run(night(many, missing=("gone",)), most=4)
    assert [found["ruleId"] for found in only["results"]] == ["CIUSER_PLAN_ERROR", *["CIUSER_DRIFT"] * 3]
    (invocation,) = only["invocations"]
    told = [notification["message"]["text"] for notification in invocation["toolExecutionNotifications"]]
    assert told == [
        "gone was to be checked and was not.",
        "6 more results are not in this file; results.json has them all.",
    ]
    assert not invocation["executionSuccessful"]


def test_no_more_is_written_than_github_shows() -> None:
    result = night(environment("prod", *(entry(where=str(n)) for n in range(MOST_RESULTS + 1))))
    assert len(json.loads(text(result))["runs"][0]["results"]) == MOST_RESULTS == 5_000


def test_uploads_of_several_shards_do_not_replace_each_other() -> None:
    ids = {run(night(shard=shard))["automationDetails"]["id"] for shard in (None, "1/3", "2/3")}
    assert ids == {"ci-user-check/", "ci-user-check/shard-1-3/", "ci-user-check/shard-2-3/"}


@pytest.mark.parametrize("hostile_text", HOSTILE)
def test_hostile_names_lead_out_of_nowhere(hostile_text: str) -> None:
    for found in run(hostile(hostile_text))["results"]:
        uri = unquote(found["locations"][0]["physicalLocation"]["artifactLocation"]["uri"])
        assert uri in ("environments", "environments/prod.yaml")


@settings(max_examples=40, deadline=None)
@given(nights())
def test_every_night_is_valid_and_has_every_entry(result: NightResult) -> None:
    assert len(run(result)["results"]) == sum(len(one.entries) for one in result.environments)

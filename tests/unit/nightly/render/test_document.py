"""A night's document is what its schema says, comes back as it was, and steers nobody who reads it."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from jsonschema import Draft202012Validator

from ci_user.errors import UsageError
from ci_user.nightly.model import NightResult
from ci_user.nightly.render.document import SCHEMA_FILE, read, schema_text, text
from tests.project import ROOT
from tests.unit.nightly.render.hostile_nights import HOSTILE, entry, environment, hostile, night, nights
from tests.unit.nightly.render.test_console import harmless

SCHEMA = Draft202012Validator(json.loads(schema_text()))


def test_the_committed_schema_is_current() -> None:
    assert (ROOT / SCHEMA_FILE).read_text(encoding="utf-8") == schema_text(), "run `invoke schema`"


def test_the_schema_is_one() -> None:
    Draft202012Validator.check_schema(json.loads(schema_text()))


def test_verdicts_are_said_for_the_run_and_for_each_environment() -> None:
    found = json.loads(text(night(environment("a", entry()), environment("b"))))
    assert (found["verdict"], found["exit_code"]) == ("findings", 3)
    assert [(one["environment"], one["verdict"], one["exit_code"]) for one in found["environments"]] == [
        ("a", "findings", 3),
        ("b", "clean", 0),
    ]


def test_a_forged_verdict_is_worked_out_again() -> None:
    forged = json.loads(text(night(environment("a", entry()))))
    forged["verdict"] = forged["environments"][0]["verdict"] = "clean"
    forged["exit_code"] = forged["environments"][0]["exit_code"] = 0
    assert read(json.dumps(forged), "shard").exit_code == 3


@pytest.mark.parametrize(
    "written",
    [
        "",
        "[]",
        "1",
        "{",
        "{}",
        '{"environments": [1]}',
        '{"environments": {}}',
        "[" * 100_000,
        json.dumps({**json.loads(text(night())), "schema_version": 2}),
        json.dumps({**json.loads(text(night())), "more": 1}),
    ],
)
def test_what_is_no_result_is_refused_with_its_place(written: str) -> None:
    with pytest.raises(UsageError) as caught:
        read(written, "shard-3/results.json")
    assert caught.value.where == "shard-3/results.json"
    assert len(caught.value.what) < 300


@pytest.mark.parametrize("hostile_text", HOSTILE)
def test_hostile_names_come_back_and_have_no_effect_on_the_way(hostile_text: str) -> None:
    result = hostile(hostile_text)
    written = text(result)
    assert read(written, "x") == result
    assert written.isascii()
    assert all(harmless(line) for line in written.split("\n"))


@settings(max_examples=40, deadline=None)
@given(nights())
def test_every_night_fits_the_schema_and_comes_back_as_it_was(result: NightResult) -> None:
    written = text(result)
    assert SCHEMA.is_valid(json.loads(written))
    assert read(written, "x") == result
    assert all(harmless(line) for line in written.split("\n"))

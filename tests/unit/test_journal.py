"""The journal: what it accepts, what it refuses, and that it comes back as it was written."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ci_user.errors import KeyStateError
from ci_user.journal import SCHEMA, Intent, Journal, KeyRecord

NOW = dt.datetime(2026, 11, 24, 4, 0, 0, 250, tzinfo=dt.UTC)
KEY = "AKIAIOSFODNN7EXAMPLE"
INTENT = Intent(id="0f" * 16, reason="first", before=("AKIAI44QH8DHBEXAMPLE",), at=NOW, run="a1b2-c3")
RECORD = KeyRecord(id=KEY, intent=INTENT.id, state="minted", times={"minted": NOW})

key_ids = st.text("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789", min_size=16, max_size=128)
intent_ids = st.text("0123456789abcdef", min_size=32, max_size=32)
moments = st.datetimes(timezones=st.sampled_from([dt.UTC, dt.timezone(dt.timedelta(hours=-5))]))
states = st.sampled_from(["minted", "staged", "verified", "delivered", "grace", "inactive", "deleted"])
targets = st.from_regex(r"[a-z][a-z0-9-]{0,20}:[^\x00-\x1f\x7f]{1,40}", fullmatch=True)
intents = st.builds(
    Intent,
    id=intent_ids,
    reason=st.sampled_from(["first", "repair", "rotate"]),
    before=st.lists(key_ids, max_size=2).map(tuple),
    at=moments,
    run=st.from_regex(r"[a-z0-9][a-z0-9-]{0,20}", fullmatch=True),
)
records = st.builds(
    KeyRecord,
    id=key_ids,
    intent=intent_ids,
    state=states,
    times=st.dictionaries(states, moments, max_size=3),
    delivered=st.dictionaries(targets, moments, max_size=3),
)
journals = st.builds(
    Journal,
    intent=st.none() | intents,
    keys=st.lists(records, max_size=3).map(lambda found: {record.id: record for record in found}),
    targets=st.lists(targets, max_size=3).map(tuple),
)


@given(journals)
def test_a_journal_comes_back_from_json_as_it_was_written(journal: Journal) -> None:
    assert Journal.from_document(json.loads(json.dumps(journal.to_document()))) == journal


def test_the_targets_of_a_forgotten_key_stay() -> None:
    delivered = RECORD.entering("delivered", NOW).delivered_to("dotenv:build/.env", NOW)
    journal = Journal().with_key(delivered).without_key(KEY)
    assert (dict(journal.keys), journal.targets) == ({}, ("dotenv:build/.env",))


def test_a_key_keeps_when_it_entered_each_state() -> None:
    later = NOW + dt.timedelta(seconds=3)
    record = RECORD.entering("staged", later)
    assert (record.state, dict(record.times)) == ("staged", {"minted": NOW, "staged": later})


def test_a_change_leaves_the_journal_it_started_from_as_it_was() -> None:
    before = Journal().with_intent(INTENT)
    before.with_key(RECORD).without_intent()
    assert before == Journal(intent=INTENT)
    with pytest.raises(TypeError):
        before.keys[KEY] = RECORD  # type: ignore[index]


def test_an_intent_does_not_replace_another_one_that_stands() -> None:
    other = Intent(id="ab" * 16, reason="rotate", before=(), at=NOW, run="b")
    with pytest.raises(ValueError, match="another intent"):
        Journal().with_intent(INTENT).with_intent(other)


SECRET = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
SECRET_WITHOUT_SLASH = "wJalrXUtnFEMIaK7MDENGabPxRfiCYEXAMPLEKEY"


@pytest.mark.parametrize("secret", [SECRET, SECRET_WITHOUT_SLASH])
@pytest.mark.parametrize("place", ["id", "before", "run", "reason", "key", "target"])
def test_a_secret_access_key_fits_nowhere_and_is_not_quoted(place: str, secret: str) -> None:
    def put() -> object:
        fields: dict[str, Any] = {"id": INTENT.id, "reason": "first", "before": (), "at": NOW, "run": "r"}
        match place:
            case "key":
                return KeyRecord(id=secret, intent=INTENT.id, state="minted")
            case "target":
                return RECORD.delivered_to(secret, NOW)
            case "before":
                return Intent(**{**fields, "before": (secret,)})
            case _:
                return Intent(**{**fields, place: secret})

    with pytest.raises(ValueError) as caught:
        put()
    assert secret not in str(caught.value)


def test_a_time_without_a_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="time zone"):
        RECORD.entering("staged", NOW.replace(tzinfo=None))


def test_an_unknown_state_is_refused() -> None:
    with pytest.raises(ValueError, match="states"):
        RECORD.entering("lost", NOW)


def test_a_newer_schema_is_named_as_such() -> None:
    document = {**Journal().to_document(), "schema": SCHEMA + 1, "more": True}
    with pytest.raises(KeyStateError, match="written by a newer version"):
        Journal.from_document(document)


GOOD = Journal(intent=INTENT, keys={KEY: RECORD}, targets=("dotenv:.env",)).to_document()


@pytest.mark.parametrize(
    "document",
    [
        None,
        [],
        {},
        {**GOOD, "schema": 0},
        {**GOOD, "schema": True},
        {**GOOD, "schema": "1"},
        {**GOOD, "extra": 1},
        {**GOOD, "keys": {}},
        {**GOOD, "targets": "x"},
        {**GOOD, "targets": [1]},
        {**GOOD, "keys": GOOD["keys"] * 2},
        {**GOOD, "intent": {**GOOD["intent"], "before": "AKIA"}},
        {**GOOD, "intent": {**GOOD["intent"], "at": "yesterday"}},
        {**GOOD, "intent": {**GOOD["intent"], "at": 5}},
        {**GOOD, "intent": {**GOOD["intent"], "at": "2026-11-24T04:00:00"}},
        {**GOOD, "keys": [{**GOOD["keys"][0], "state": "lost"}]},
        {**GOOD, "keys": [{**GOOD["keys"][0], "state": ["minted"]}]},
        {**GOOD, "keys": [{**GOOD["keys"][0], "times": []}]},
        {**GOOD, "keys": [{**GOOD["keys"][0], "delivered": {"no target": NOW.isoformat()}}]},
        {**GOOD, "keys": ["x"]},
    ],
)
def test_what_this_tool_does_not_write_is_refused(document: object) -> None:
    with pytest.raises(KeyStateError, match="cannot be read"):
        Journal.from_document(document)

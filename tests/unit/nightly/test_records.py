"""Records: what may be one, and which one stays."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from ci_user import __version__
from ci_user.errors import UsageError
from ci_user.nightly import records
from ci_user.nightly.records import Record, Records, UnusableRecordsError, load, parsed
from tests.unit.nightly.nights import ACCOUNT, entry, environment, night_at

DIGEST = "0f" * 32


def record(name: str = "shop-prod", day: int = 0, **values: Any) -> Record:
    return Record(
        **{
            "environment": name,
            "account_id": ACCOUNT,
            "digest": DIGEST,
            "planned_at": night_at(day),
            "valid_until": dt.date(2026, 12, 1),
            "result": environment(name, entry(accepted=True), entry(gravity="notice"), day=day),
            **values,
        }
    )


@pytest.mark.parametrize(
    "values",
    [
        {"result": environment("shop-prod", entry())},
        {"result": environment("shop-prod", entry(gravity="error"))},
        {"result": environment("shop-prod", way="failed")},
        {"result": environment("shop-test")},
        {"account_id": "210987654321"},
        {"digest": "0F" * 32},
        {"planned_at": dt.datetime(2026, 11, 1)},  # noqa: DTZ001 - that is what is refused
        {"more": 1},
    ],
)
def test_only_a_clean_result_of_the_same_environment_is_a_record(values: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        record(**values)


def test_a_record_stands_until_its_day_while_nothing_changes() -> None:
    one, day = record(), dt.date(2026, 11, 30)
    assert one.stands(digest=DIGEST, account_id=ACCOUNT, today=day)
    assert not one.stands(digest=DIGEST, account_id=ACCOUNT, today=day + dt.timedelta(days=1))
    assert not one.stands(digest="1f" * 32, account_id=ACCOUNT, today=day)
    assert not one.stands(digest=DIGEST, account_id="210987654321", today=day)


def test_records_survive_being_written() -> None:
    document = Records.of([record(), record("shop-test")])
    assert parsed(document.render()) == document


@given(
    st.lists(
        st.builds(record, st.sampled_from(["a", "b"]), st.integers(0, 3), digest=st.sampled_from([DIGEST, "aa" * 32]))
    ),
    st.randoms(use_true_random=False),
)
def test_the_newest_record_of_an_environment_stays_in_whatever_order_they_come(
    found: list[Record], random: Any
) -> None:
    document = Records.of(found)
    shuffled = list(found)
    random.shuffle(shuffled)
    assert Records.of(shuffled).render() == document.render()
    assert Records.of([*found, *document.environments.values()]) == document
    for name, one in document.environments.items():
        assert one.planned_at == max(each.planned_at for each in found if each.environment == name)


def document(**values: Any) -> bytes:
    return json.dumps({**json.loads(Records.of([record()]).render()), **values}).encode()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"no JSON",
        b"\xff\xfe",
        b"[]",
        b"[" * 100_000,
        document(schema_version=2),
        document(tool=f"{__version__}.1"),
        document(more=1),
        document(environments={"other": json.loads(record().model_dump_json())}),
        document(environments={"shop-prod": {"\x1b[31m": 1}}),
    ],
)
def test_anything_else_is_no_document_of_records(body: bytes) -> None:
    with pytest.raises(UnusableRecordsError) as caught:
        parsed(body)
    assert "\x1b" not in str(caught.value)


def test_a_document_beyond_the_limit_is_not_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    body = Records().render()
    monkeypatch.setattr(records, "BYTES_AT_MOST", len(body) - 1)
    with pytest.raises(UnusableRecordsError, match="larger"):
        parsed(body)


@pytest.mark.parametrize("content", [None, b"{"])
def test_a_directory_without_records_is_a_usage_error(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "records.json").write_bytes(content)
    with pytest.raises(UsageError, match=r"records\.json"):
        load(tmp_path / "records.json")

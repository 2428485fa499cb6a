"""The audit trail: one line for each act, whatever stands in it, and no act stopped by it."""

from __future__ import annotations

import datetime as dt
import json
import stat
import threading
from pathlib import Path

import pytest

from ci_user.audit import Actor, Trail
from ci_user.errors import AwsError, StateBucketError
from ci_user.stored_object import StaleWriteError, StoredObject, Written

NOW = dt.datetime(2026, 11, 25, 18, 30, tzinfo=dt.UTC)
ACTOR = Actor("arn:aws:sts::1:assumed-role/x/y", "me@here", "rotate", "testing", "111111111111", "run-1")


class Bucket:
    """One object, with faults on demand."""

    def __init__(self) -> None:
        self.body: bytes | None = None
        self.version = 0
        self.failing: Exception | None = None
        self.lose_next_answer = False

    def read(self, key: str, version_id: str | None = None) -> StoredObject | None:
        assert version_id is None
        return None if self.body is None else StoredObject(self.body, str(self.version), NOW, None, NOW)

    def write(self, key: str, body: bytes, if_match: str | None) -> Written:
        assert key == "shop/testing/audit/2026-11-25-run-1.jsonl"
        if self.failing is not None:
            raise self.failing
        if if_match != (None if self.body is None else str(self.version)):
            raise StaleWriteError("another one is there")
        self.body, self.version = body, self.version + 1
        if self.lose_next_answer:
            self.lose_next_answer = False
            raise AwsError("no answer")
        return Written(str(self.version), NOW, None)


def trail(file: Path, warnings: list[str] | None = None) -> Trail:
    return Trail(ACTOR, file, (warnings if warnings is not None else []).append, now=lambda: NOW)


def lines(file: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def test_each_act_is_one_line_that_says_who_did_what_to_which_keys_and_places_when_and_how_it_ended(
    tmp_path: Path,
) -> None:
    file = tmp_path / "sub" / "audit.jsonl"
    subject = trail(file)
    subject.record("Mint", key_ids=("AKIAIOSFODNN7EXAMPLE",))
    subject.record("Deliver", targets=("dotenv:x",), result="failed: no")
    first, second = lines(file)
    assert first == {
        "time": "2026-11-25T18:30:00.000+00:00",
        "caller": ACTOR.caller,
        "owner": "me@here",
        "command": "rotate",
        "environment": "testing",
        "account_id": "111111111111",
        "run": "run-1",
        "act": "Mint",
        "key_ids": ["AKIAIOSFODNN7EXAMPLE"],
        "targets": [],
        "result": "done",
    }
    assert (second["targets"], second["result"]) == (["dotenv:x"], "failed: no")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_what_comes_from_outside_cannot_begin_a_line_or_steer_a_terminal(tmp_path: Path) -> None:
    file = tmp_path / "audit.jsonl"
    hostile = 'a\n{"act": "forged"}\r\x1b[2J\u202e\u2028\ud800 "'
    trail(file).record(hostile, targets=(hostile,), result=hostile)
    raw = file.read_bytes()
    assert raw.count(b"\n") == 1
    assert all(0x20 <= byte < 0x7F for byte in raw[:-1])
    assert lines(file)[0]["act"] == hostile


def test_lines_of_runs_side_by_side_stay_whole(tmp_path: Path) -> None:
    file = tmp_path / "audit.jsonl"

    def twenty() -> None:
        for _ in range(20):
            trail(file).record("x" * 3000)

    runs = [threading.Thread(target=twenty) for _ in range(4)]
    for run in runs:
        run.start()
    for run in runs:
        run.join()
    assert len(lines(file)) == 80


def test_a_file_that_cannot_be_written_is_told_once_and_stops_nothing(tmp_path: Path) -> None:
    warnings: list[str] = []
    subject = trail(tmp_path, warnings)
    subject.record("Mint")
    subject.record("Stage")
    assert len(warnings) == 1
    assert "audit trail is incomplete" in warnings[0]


def test_a_link_in_place_of_the_file_is_not_followed(tmp_path: Path) -> None:
    warnings: list[str] = []
    other = tmp_path / "other"
    (tmp_path / "audit.jsonl").symlink_to(other)
    trail(tmp_path / "audit.jsonl", warnings).record("Mint")
    assert warnings
    assert not other.exists()


def test_the_bucket_gets_the_same_lines_as_one_object_of_the_run(tmp_path: Path) -> None:
    bucket, file = Bucket(), tmp_path / "audit.jsonl"
    subject = trail(file)
    subject.record("Deny")
    subject.keep_in(bucket, "shop/testing")
    subject.record("Mint")
    assert bucket.body == file.read_bytes()


def test_an_answer_that_was_lost_loses_no_line(tmp_path: Path) -> None:
    bucket, warnings = Bucket(), list[str]()
    subject = trail(tmp_path / "audit.jsonl", warnings)
    subject.keep_in(bucket, "shop/testing")
    bucket.lose_next_answer = True
    subject.record("Mint")
    subject.record("Stage")
    assert bucket.body is not None
    assert bucket.body.count(b"\n") == 2
    assert len(warnings) == 1


@pytest.mark.parametrize("error", [AwsError("no"), StateBucketError("gone")])
def test_a_bucket_that_fails_is_told_once_and_stops_nothing(tmp_path: Path, error: Exception) -> None:
    bucket, warnings = Bucket(), list[str]()
    bucket.failing = error
    subject = trail(tmp_path / "audit.jsonl", warnings)
    subject.keep_in(bucket, "shop/testing")
    subject.record("Mint")
    subject.record("Stage")
    assert len(warnings) == 1
    assert len(lines(tmp_path / "audit.jsonl")) == 2

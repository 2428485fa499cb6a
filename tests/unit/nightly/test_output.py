"""The files of a run: every form of one result, for their owner only; and the records that several runs wrote."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from ci_user import __version__
from ci_user.errors import UsageError
from ci_user.nightly.merging import read_result
from ci_user.nightly.output import ready, records_of, write_all
from ci_user.nightly.records import Records
from tests import night_example
from tests.unit.nightly.test_records import record

FORMS = {"results.json", "records.json", "junit.xml", "results.sarif", "summary.md", "report.html"}


def test_every_form_is_of_the_same_result_and_readable_by_its_owner_only(tmp_path: Path) -> None:
    result = night_example.night(clean=3, waiting=2)
    write_all(tmp_path, result, [record("b"), record("a")], night_example.nights(3))
    assert {path.name for path in tmp_path.iterdir()} == FORMS
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o600}
    assert read_result(tmp_path) == result
    for name in FORMS - {"records.json"}:
        assert "prod-eu" in (tmp_path / name).read_text(encoding="utf-8"), name
    assert list(json.loads((tmp_path / "records.json").read_text())["environments"]) == ["a", "b"]


def test_what_an_earlier_run_left_is_replaced(tmp_path: Path) -> None:
    write_all(tmp_path, night_example.night(clean=3), [record("a")])
    later = night_example.night(clean=0, waiting=0)
    write_all(tmp_path, later, [])
    assert read_result(tmp_path) == later
    assert records_of([tmp_path]) == []


def test_a_directory_is_made_with_those_above_it(tmp_path: Path) -> None:
    assert ready(tmp_path / "a" / "b").is_dir()
    assert ready(tmp_path / "a" / "b") == tmp_path / "a" / "b"


@pytest.mark.parametrize("part", ["file", "file/below"])
def test_what_can_be_no_directory_is_said(tmp_path: Path, part: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="cannot write"):
        ready(tmp_path / part)


def test_a_directory_of_somebody_else_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(UsageError, match="cannot be written") as caught:
        ready(tmp_path)
    assert caught.value.where == "--out"


def test_records_come_from_every_run_whose_records_can_be_used(tmp_path: Path) -> None:
    one, two, other, torn, none = (tmp_path / name for name in ("one", "two", "other", "torn", "none"))
    for place, text in (
        (one, Records.of([record("a")]).render()),
        (two, Records.of([record("b"), record("a", day=1)]).render()),
        (other, Records.of([record("c")]).render().replace(__version__.encode(), b"0.0.1")),
        (torn, Records.of([record("d")]).render()[:-9]),
    ):
        place.mkdir()
        (place / "records.json").write_bytes(text)
    file = tmp_path / "a result.json"
    file.touch()
    assert records_of([one, torn, none, other, file, two]) == [record("a"), record("a", day=1), record("b")]
    assert records_of([]) == []

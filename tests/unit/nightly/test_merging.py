"""Shards joined: complete or not, in any order, and none hiding another."""

from __future__ import annotations

import datetime as dt
import re
import stat
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ci_user.errors import UsageError
from ci_user.nightly import merging
from ci_user.nightly.merging import TWICE, merge, read_all, read_result, write_result
from ci_user.nightly.model import EnvironmentResult, Gravity, Key, KeyEvent, NightResult, gravest
from ci_user.nightly.shards import Shards
from tests.unit.nightly.nights import entry, environment, night, night_at

_GRAVITIES: st.SearchStrategy[tuple[Gravity, ...]] = st.sampled_from(
    [(), ("notice",), ("finding",), ("error",), ("finding", "error")]
)


@st.composite
def environments(draw: st.DrawFn, names: st.SearchStrategy[str]) -> EnvironmentResult:
    entries = [entry(gravity=one) for one in draw(_GRAVITIES)]
    return environment(draw(names), *entries, day=draw(st.integers(0, 3)))


@st.composite
def shards(draw: st.DrawFn) -> list[NightResult]:
    total = draw(st.integers(1, 4))
    found = []
    for number in range(1, total + 1):
        own = st.sampled_from([f"{number}-a", f"{number}-b", "shared"])
        ran = draw(st.lists(environments(own), max_size=3, unique_by=lambda one: one.environment))
        missing = draw(st.lists(st.sampled_from(["1-a", "shared", "never"]), max_size=2, unique=True))
        there = {one.environment for one in ran}
        found.append(
            night(
                *ran,
                day=draw(st.integers(0, 2)),
                tool=draw(st.sampled_from(["1.0.0", "1.1.0"])),
                shard=draw(st.sampled_from([f"{number}/{total}", f"{number}/{total}", None, "odd"])),
                missing=tuple(name for name in missing if name not in there),
            )
        )
    return draw(st.lists(st.sampled_from(found), min_size=1, max_size=4))


@given(shards(), st.none() | st.integers(1, 5), st.randoms(use_true_random=False))
def test_the_order_of_results_makes_no_difference(found: list[NightResult], expect: int | None, random: Any) -> None:
    merged = merge(found, expect)
    random.shuffle(found)
    assert merge(found, expect) == merged


@given(shards(), st.none() | st.integers(1, 5))
def test_merging_what_is_merged_changes_nothing(found: list[NightResult], expect: int | None) -> None:
    merged = merge(found, expect)
    assert merge([merged], expect) == merged
    assert merge([merged], None) == merged
    assert merge([merged, merged], expect) == merged


@given(shards())
def test_the_exit_code_is_the_gravest_of_what_counts(found: list[NightResult]) -> None:
    merged = merge(found, None)
    newest: dict[str, dt.datetime] = {}
    for one in (each for result in found for each in result.environments):
        newest[one.environment] = max(newest.get(one.environment, one.checked_at), one.checked_at)
    assert {one.environment: one.checked_at for one in merged.environments} == newest
    codes = [one.exit_code for one in merged.environments]
    assert merged.exit_code == gravest([*codes, 1 if merged.missing else 0])


@given(st.lists(_GRAVITIES, min_size=1, max_size=5))
def test_the_exit_code_of_disjoint_shards_is_the_gravest_of_theirs(found: list[tuple[Gravity, ...]]) -> None:
    total = len(found)
    nights = [
        night(environment(f"e{number}", *[entry(gravity=one) for one in entries]), shard=f"{number}/{total}")
        for number, entries in enumerate(found, 1)
    ]
    assert merge(nights, total).exit_code == gravest(one.exit_code for one in nights)


def test_all_shards_together_are_a_whole_night() -> None:
    merged = merge([night(environment(f"e{n}"), day=n / 100, shard=f"{n}/3") for n in (3, 1, 2)], 3)
    assert (merged.shard, merged.missing, merged.exit_code) == (None, (), 0)
    assert [one.environment for one in merged.environments] == ["e1", "e2", "e3"]
    assert merged.began == night_at(0) + dt.timedelta(days=0.01)
    assert merged.ended == night_at(0) + dt.timedelta(days=0.03, minutes=5)


@pytest.mark.parametrize("expect", [None, 4])
def test_absent_shards_are_missing_and_an_error(expect: int | None) -> None:
    merged = merge([night(environment("a"), shard="1/4"), night(environment("b"), shard="3/4")], expect)
    assert merged.missing == ("shard 2/4", "shard 4/4")
    assert (merged.shard, merged.exit_code) == ("1,3/4", 1)


def test_a_shard_that_comes_later_completes_a_merged_night() -> None:
    part = merge([night(environment("a"), shard="1/2", missing=("b",))], 2)
    assert part.missing == ("b", "shard 2/2")
    whole = merge([part, night(environment("b"), shard="2/2")], 2)
    assert (whole.missing, whole.shard, whole.exit_code) == ((), None, 0)


def test_shards_of_another_division_do_not_count() -> None:
    merged = merge([night(environment("a"), shard="1/2"), night(environment("b"), shard="2/2")], 3)
    assert merged.missing == ("shard 1/3", "shard 2/3", "shard 3/3")
    assert [one.environment for one in merged.environments] == ["a", "b"]


def test_without_any_result_all_is_missing() -> None:
    merged = merge([], 2, broken=("results-1: no",))
    assert merged.missing == ("results-1: no", "shard 1/2", "shard 2/2")
    assert merge([merged], None) == merged
    assert merge([merge([], None, broken=("x",))], 1).missing == ("x", "shard 1/1")


@pytest.mark.parametrize("expect", [None, 0, -1, 1_001])
def test_nothing_to_merge_is_a_usage_error(expect: int | None) -> None:
    with pytest.raises(UsageError):
        merge([], expect)


def test_the_newest_result_of_an_environment_counts_and_says_so() -> None:
    old, new = environment("a", entry(gravity="error")), environment("a", day=1, notes=("n",))
    merged = merge([night(new, shard="1/2"), night(old, shard="2/2")], 2)
    assert merged.environments == (new.model_copy(update={"notes": ("n", TWICE)}),)
    assert merged.exit_code == 0


def test_of_two_results_of_one_moment_the_graver_counts() -> None:
    one, other = environment("a", entry()), environment("a", entry(gravity="error"))
    assert merge([night(one), night(other), night(environment("a"))], None).exit_code == 1


def test_the_same_result_twice_is_nothing_to_say() -> None:
    one = night(environment("a"), shard="1/1")
    assert merge([one, one], 1).environments == one.environments


def test_different_versions_are_named() -> None:
    merged = merge([night(environment("a"), tool="1.1.0"), night(environment("b"), tool="1.0.0")], None)
    assert merged.tool == "1.0.0 and 1.1.0"
    assert [one.notes for one in merged.environments] == [("checked by version 1.1.0",), ("checked by version 1.0.0",)]


@given(st.sets(st.integers(1, 30)), st.integers(30, 1_000))
def test_shards_as_text_are_read_back(there: set[int], total: int) -> None:
    found = Shards({total: frozenset(there)})
    assert Shards.joined([found.text], None) == found
    assert len(found.absent) == total - len(there)


@pytest.mark.parametrize("text", ["", "x", "1", "1/0", "0/3", "4/3", "1-9999/9999", "٣/10", "1/10\n", "-1/3"])
def test_text_that_names_no_shard_covers_none(text: str) -> None:
    assert len(Shards.joined([text], 3).absent) == 3


def test_a_result_survives_being_written(tmp_path: Path) -> None:
    result = night(environment("a", entry()), shard="1/2")
    file = write_result(tmp_path / "out", result)
    assert read_result(tmp_path / "out") == read_result(file) == result
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, "cannot be read"),
        (b"", "no result of a nightly check"),
        (b"[" * 100_000, "no result of a nightly check"),
        (night().model_dump_json().replace('"schema_version":1', '"schema_version":2').encode(), "schema_version"),
        (night().model_dump_json().replace("}", ',"\\u001b":1}').encode(), "no result of a nightly check"),
        (night().model_dump_json().replace('02:00:00Z"', '02:00:00"').encode(), "time zone"),
    ],
)
def test_a_broken_shard_is_missing_and_the_others_are_there(tmp_path: Path, content: bytes | None, told: str) -> None:
    write_result(tmp_path / "1", night(environment("a"), shard="1/2"))
    (tmp_path / "2").mkdir()
    if content is not None:
        (tmp_path / "2" / "results.json").write_bytes(content)
    read = read_all([tmp_path / "1", tmp_path / "2"])
    merged = merge(read.results, 2, broken=read.broken)
    assert [one.environment for one in merged.environments] == ["a"]
    assert merged.exit_code == 1
    line, shard = merged.missing
    assert told in line
    assert "\x1b" not in line
    assert shard == "shard 2/2"


@pytest.mark.parametrize("moment", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "1969-12-31T00:00:00Z"])
@pytest.mark.parametrize("name", ["began", "ended", "checked_at", "planned_at", "since", "created", "last_used", "at"])
def test_a_shard_with_a_time_that_no_zone_can_tell_is_broken_and_hides_no_other(
    tmp_path: Path, name: str, moment: str
) -> None:
    at = night_at(0)
    key = Key(id="AKIA", active=True, created=at, last_used=at, state="x", events=(KeyEvent(at=at, what="x"),))
    one = environment("a", entry().model_copy(update={"since": at}))
    one = one.model_copy(update={"keys": (key,), "planned_at": at})
    file = write_result(tmp_path, night(one))
    read_result(tmp_path)
    text = file.read_text()
    changed = re.sub(rf'("{name}": ")[^"]+"', rf'\g<1>{moment}"', text)
    assert changed != text
    file.write_text(changed)
    assert len(read_all([tmp_path]).broken) == 1


def test_a_result_beyond_the_limit_is_not_parsed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_result(tmp_path, night())
    monkeypatch.setattr(merging, "BYTES_AT_MOST", 10)
    with pytest.raises(UsageError, match="larger"):
        read_result(tmp_path)

"""The history: since when something is wrong, in one small file that nothing but this tool's own tables may be in."""

from __future__ import annotations

import datetime as dt
import sqlite3
import stat
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ci_user.errors import UsageError
from ci_user.nightly import history
from ci_user.nightly.history import append, nights, since
from ci_user.nightly.model import NightResult
from tests.unit.nightly.nights import entry, environment, night, night_at

FIND = entry("bucket")


def sinces(file: Path, result: NightResult) -> dict[str, dt.datetime | None]:
    return {
        f"{one.environment} {each.where}": each.since
        for one in since(file, result).environments
        for each in one.entries
    }


def kept(file: Path, *results: NightResult) -> Path:
    for result in results:
        append(file, result)
    return file


@contextmanager
def opened(file: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(file)) as base, base:
        yield base


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "a folder #1?" / "history.sqlite"


def found(day: float, *names: str, way: str = "planned") -> NightResult:
    return night(environment("a", *map(entry, names), day=day, way=way), day=day)


def test_what_is_found_again_and_again_is_so_since_the_first_night(file: Path) -> None:
    kept(file, found(0), found(1, "x"), found(2, "x", "y"))
    assert sinces(file, found(3, "x", "y", "z")) == {"a x": night_at(1), "a y": night_at(2), "a z": night_at(3)}


def test_whether_the_night_itself_is_kept_already_makes_no_difference(file: Path) -> None:
    last = found(2, "x", "y")
    before = sinces(kept(file, found(1, "x")), last)
    assert sinces(kept(file, last), last) == before == {"a x": night_at(1), "a y": night_at(2)}


def test_a_clean_night_begins_it_anew(file: Path) -> None:
    kept(file, found(0, "x"), found(1), found(2, "x"))
    assert sinces(file, found(3, "x")) == {"a x": night_at(2)}


def test_nights_without_a_check_are_no_gap(file: Path) -> None:
    others = night(environment("b", day=1), day=1)
    unread = night(environment("a", entry("api", "error"), day=2), day=2)
    kept(file, found(0, "x"), others, unread, found(3, way="failed"), night(day=4, missing=("a",)))
    assert sinces(file, found(5, "x", "api")) == {"a x": night_at(0), "a api": night_at(2)}


def test_environments_and_things_are_told_apart(file: Path) -> None:
    kept(file, night(environment("a", entry("x"), entry("y", id="CIUSER_OTHER")), environment("b", entry("z"))))
    last = night(environment("a", entry("y"), day=1), environment("b", entry("x"), entry("z"), day=1), day=1)
    assert sinces(file, last) == {"a y": night_at(1), "b x": night_at(1), "b z": night_at(0)}


def test_words_and_gravity_may_change_from_night_to_night(file: Path) -> None:
    kept(file, night(environment("a", entry("x", message="90 days"))))
    last = night(environment("a", entry("x", "error", message="91 days", title="other"), day=1), day=1)
    assert sinces(file, last) == {"a x": night_at(0)}


def test_what_is_accepted_or_good_to_know_has_no_since(file: Path) -> None:
    quiet = (entry("x", accepted=True), entry("y", "notice"))
    kept(file, night(environment("a", *quiet)))
    assert sinces(file, night(environment("a", *quiet, day=1), day=1)) == {"a x": None, "a y": None}
    assert sinces(file, found(1, "x", "y")) == {"a x": night_at(1), "a y": night_at(1)}


def test_without_a_history_it_is_so_since_tonight(file: Path) -> None:
    assert sinces(file, found(1, "x")) == {"a x": night_at(1)}
    assert nights(file, 10) == ()
    assert not file.exists()


_DAYS = st.lists(
    st.tuples(
        st.integers(0, 8),
        st.sets(st.sampled_from("xyz")),
        st.sampled_from(["planned", "planned", "unchanged", "failed"]),
    ),
    max_size=8,
    unique_by=lambda day: day[0],
)


def expected(days: Sequence[tuple[int, set[str], str]], last: int, name: str) -> dt.datetime:
    """Walk back from the last night, as a person would over printed reports."""
    first = last
    for day, names, way in sorted(days, reverse=True):
        if day < last and name in names:
            first = day
        elif day < last and way != "failed":
            break
    return night_at(first)


@settings(deadline=None, max_examples=40)
@given(_DAYS, st.integers(0, 9))
def test_it_is_never_after_the_first_time_that_it_was_seen_and_the_order_of_nights_makes_no_difference(
    days: list[tuple[int, set[str], str]], last: int
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = kept(Path(folder) / "h", *[found(day, *names, way=way) for day, names, way in days])
        told = sinces(file, found(last, "x", "y", "z"))
    for name in "xyz":
        moment = told[f"a {name}"]
        assert moment == expected(days, last, name)
        assert moment is not None
        assert moment <= night_at(last)


def test_telling_since_when_twice_changes_nothing(file: Path) -> None:
    kept(file, found(0, "x"))
    once = since(file, found(1, "x"))
    assert since(file, once) == once


def test_the_same_run_again_takes_its_own_place(file: Path) -> None:
    kept(file, found(0, "x"), found(0, "x"))
    assert [one.open for one in nights(file, 10)] == [1]
    kept(file, found(0, "x", "y"))
    assert [one.open for one in nights(file, 10)] == [2]
    shard = night(environment("b"), shard="2/2")
    kept(file, shard)
    assert [one.shard for one in nights(file, 10)] == [None, "2/2"]


def test_the_trend_is_the_newest_nights_in_their_order(file: Path) -> None:
    for day in range(4):
        every = (environment("a"), environment("b", entry()), environment("c", entry(gravity="error"), entry("2")))
        kept(file, night(*every, day=day, missing=("d",)))
    last = nights(file, 2)
    assert [one.began for one in last] == [night_at(2), night_at(3)]
    one = last[-1]
    assert (one.clean, one.findings, one.errors, one.missing, one.open, one.environments) == (1, 1, 1, 1, 3, 3)
    assert (one.ended - one.began, one.tool) == (dt.timedelta(minutes=5), "1.0.0")
    assert nights(file, 0) == ()


def test_old_nights_go_and_with_them_what_only_they_knew(file: Path) -> None:
    for day in range(6):
        append(file, night(environment(f"e{day}", entry(f"w{day}"), day=day), day=day), days=3)
    assert [one.began for one in nights(file, 10)] == [night_at(day) for day in (3, 4, 5)]
    with opened(file) as base:
        for table, count in (("nights", 3), ("checks", 3), ("found", 3), ("things", 3), ("environments", 3)):
            assert base.execute(f"SELECT count(*) FROM {table}").fetchone() == (count,)  # noqa: S608


def test_a_clock_that_is_years_ahead_deletes_nothing(file: Path) -> None:
    kept(file, found(0), found(20_000), found(1))
    assert [one.began for one in nights(file, 10)] == [night_at(day) for day in (0, 1, 20_000)]


def test_it_is_one_small_file_of_its_owner(file: Path) -> None:
    kept(file, *[night(*[environment(f"e{n}", day=day) for n in range(50)], day=day) for day in range(5)])
    assert [path.name for path in file.parent.iterdir()] == ["history.sqlite"]
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert file.stat().st_size < 64 * 1024


def test_a_run_that_ends_in_the_middle_leaves_the_file_as_it_was(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = kept(file, found(0, "x")).read_bytes()

    def interrupted(*_: Any) -> bool:
        raise KeyboardInterrupt

    monkeypatch.setattr(history, "_whole", interrupted)
    with pytest.raises(KeyboardInterrupt):
        append(file, found(1))
    assert file.read_bytes() == before
    monkeypatch.undo()
    assert [one.open for one in nights(kept(file, found(1)), 10)] == [1, 0]


def test_a_first_run_that_ends_in_the_middle_leaves_no_history(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: Any) -> bool:
        raise KeyboardInterrupt

    monkeypatch.setattr(history, "_whole", interrupted)
    with pytest.raises(KeyboardInterrupt):
        append(file, found(0))
    monkeypatch.undo()
    assert nights(file, 10) == ()
    assert len(nights(kept(file, found(0)), 10)) == 1


def test_names_are_values_and_no_sql(file: Path) -> None:
    hostile = "'); DROP TABLE nights; --\x00\x1b[31m"
    result = night(environment(hostile, entry(hostile)), shard=hostile, tool=hostile)
    (one,) = nights(kept(file, result), 10)
    assert sinces(file, night(environment(hostile, entry(hostile), day=1), day=1)) == {
        f"{hostile} {hostile}": night_at(0)
    }
    assert "\x1b" not in f"{one.shard}{one.tool}"


def newer(file: Path) -> None:
    with opened(kept(file, found(0))) as base:
        base.execute("PRAGMA user_version = 2")


def foreign(file: Path) -> None:
    with opened(file) as base:
        base.execute("CREATE TABLE nights (id INTEGER)")


def write_ahead(file: Path) -> None:
    with opened(kept(file, found(0))) as base:
        base.execute("PRAGMA journal_mode = WAL")


def triggered(file: Path) -> None:
    with opened(kept(file, found(0))) as base:
        base.execute("CREATE TRIGGER t AFTER INSERT ON nights BEGIN DELETE FROM found; END")


def viewed(file: Path) -> None:
    with opened(kept(file, found(0))) as base:
        base.execute("DROP TABLE found")
        base.execute("CREATE VIEW found AS SELECT 1 AS environment, 1 AS night, 1 AS thing")


def cut(file: Path) -> None:
    whole = kept(file, found(0, "x")).read_bytes()
    file.write_bytes(whole[:5_000])


def text(file: Path) -> None:
    file.write_bytes(b"no SQLite at all, but long enough to be something")


@pytest.mark.parametrize("make", [newer, foreign, write_ahead, triggered, viewed, cut, text])
def test_any_other_file_is_refused_and_untouched(file: Path, make: Callable[[Path], None]) -> None:
    file.parent.mkdir(parents=True)
    make(file)
    before = file.read_bytes()
    for act in (lambda: append(file, found(1)), lambda: since(file, found(1, "x")), lambda: nights(file, 10)):
        with pytest.raises(UsageError, match=r"history\.sqlite"):
            act()
    assert file.read_bytes() == before
    assert [path.name for path in file.parent.iterdir()] == ["history.sqlite"]


@pytest.mark.parametrize(
    "spoil",
    [
        "UPDATE nights SET began = 'x'",
        "UPDATE nights SET open = 'x'",
        "UPDATE nights SET ended = 4611686018427387904",
        "UPDATE nights SET clean = x'00'",
    ],
)
def test_values_of_another_kind_are_refused(file: Path, spoil: str) -> None:
    with opened(kept(file, found(0))) as base:
        base.execute(spoil)
    with pytest.raises(UsageError, match="the history"):
        nights(file, 10)


def test_times_that_are_none_are_refused(file: Path) -> None:
    with opened(kept(file, found(0, "x"))) as base:
        base.execute("UPDATE checks SET at = -9223372036854775807")
    with pytest.raises(UsageError, match="no time"):
        since(file, found(1, "x"))


def test_a_place_that_cannot_be_is_a_usage_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for act in (append, since):
        with pytest.raises(UsageError, match="cannot be looked at"):
            act(tmp_path / "file" / "h", found(0))


def test_a_directory_in_its_place_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        append(tmp_path, found(0))

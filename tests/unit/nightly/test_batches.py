"""What goes to a cluster and comes back: parts of the fleet, the same checkout there, and answers to what was asked only."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ci_user import commands
from ci_user.approval import code_digest
from ci_user.errors import ClusterError, CredentialsError
from ci_user.nightly import batches as module
from ci_user.nightly import executor_dask, record_access
from ci_user.nightly.batches import NAMES_AT_MOST, batches, check_batch, run_on_cluster
from ci_user.nightly.cluster import ClusterAddress
from ci_user.nightly.executor_dask import Answer
from ci_user.nightly.model import EnvironmentResult
from ci_user.nightly.night import Night, NightOptions
from ci_user.nightly.records import Record, RecordBook
from ci_user.nightly.selection import Fleet
from tests.unit.nightly.fleets import fleet, same_account
from tests.unit.nightly.nights import environment, night
from tests.unit.nightly.test_records import record
from tests.unit.nightly.test_selection import FLEETS, NAMES, of

CLUSTER = ClusterAddress("tcp://127.0.0.1:1")


class Told:
    """Takes what is shown of a run."""

    def __init__(self) -> None:
        self.ended: list[str] = []

    def start(self, name: str) -> None: ...
    def stage(self, name: str, word: str) -> None: ...
    def done(self, result: EnvironmentResult, log: Sequence[str]) -> None:
        self.ended.append(result.environment)


@given(FLEETS, st.frozensets(NAMES, max_size=5))
def test_each_environment_is_in_one_batch_of_one_account_and_of_twenty_at_most(
    accounts: dict[str, str], broken: frozenset[str]
) -> None:
    whole = of(accounts, broken)
    found = batches(whole, whole.names)
    assert sorted(itertools.chain(*found)) == list(whole.names)
    for batch in found:
        assert 0 < len(batch) <= NAMES_AT_MOST
        assert len({whole.account(name) for name in batch}) == 1


@pytest.mark.parametrize(("count", "sizes"), [(20, [20]), (21, [20, 1]), (45, [20, 20, 5]), (0, [])])
def test_an_account_is_in_as_few_batches_as_possible(count: int, sizes: list[int]) -> None:
    whole = of({f"e{number:03}": "1" * 12 for number in range(count)})
    assert [len(batch) for batch in batches(whole, whole.names)] == sizes


def on_cluster(
    monkeypatch: pytest.MonkeyPatch, whole: Fleet, work: Callable[[Sequence[str], Any], Answer], *, records: str = ""
) -> tuple[Night, Told, list[dict[str, Any]]]:
    """Return a night for which a cluster does what ``work`` says with each batch and the options."""
    sent: list[dict[str, Any]] = []

    def run(parts: Sequence[Sequence[str]], task: object, options: Any, cluster: object, take: Any) -> None:
        assert (task, cluster) == (check_batch, CLUSTER)
        sent.append(json.loads(json.dumps(options)))
        for part in parts:
            take(work(part, options))

    monkeypatch.setattr(executor_dask, "run", run)
    told = Told()
    found = run_on_cluster(whole, whole.names, NightOptions(shard="1/2"), told, records=records, cluster=CLUSTER)
    return found, told, sent


def answered(names: Sequence[str], *, told: Sequence[str] | None = None, records: Sequence[Record] = ()) -> Answer:
    results = [environment(name) for name in (names if told is None else told)]
    return Answer(tuple(names), Night(result=night(*results), records=tuple(records)).model_dump_json())


def test_what_workers_found_is_one_night_in_the_order_of_the_names(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    whole = fleet({"b": "1" * 12, "a": "2" * 12}, root=tmp_path)
    kept = {name: record(name) for name in ("a", "b")}
    found, told, sent = on_cluster(
        monkeypatch, whole, lambda names, _: answered(names, records=[kept[name] for name in names]), records="s3://b/p"
    )
    assert [one.environment for one in found.result.environments] == ["a", "b"]
    assert {one.environment: one for one in found.records} == kept
    assert (found.result.shard, found.result.missing, found.result.exit_code) == ("1/2", (), 0)
    assert sorted(told.ended) == ["a", "b"]
    assert sent == [{"full": False, "records": "s3://b/p", "code": code_digest(tmp_path), "fleet": whole.digest}]


def not_asked(names: Sequence[str], _: object) -> Answer:
    return answered(names, told=[*names, "another"])


def vouching_for_another(names: Sequence[str], _: object) -> Answer:
    return answered(names, records=[record("another")])


def malformed(names: Sequence[str], _: object) -> Answer:
    return Answer(tuple(names), '{"result": {"tool": 1}}')


def no_json(names: Sequence[str], _: object) -> Answer:
    return Answer(tuple(names), "\x1b[31mTraceback")


def failing(names: Sequence[str], _: object) -> Answer:
    return Answer(tuple(names), error=CredentialsError("no login", do="log in"))


@pytest.mark.parametrize(
    ("work", "said"),
    [
        (not_asked, "was not asked for"),
        (vouching_for_another, "was not asked for"),
        (malformed, "is no result of this version"),
        (no_json, "is no result of this version"),
        (failing, "no login"),
    ],
)
def test_an_answer_that_cannot_be_used_is_a_failure_of_its_names_and_of_no_others(
    monkeypatch: pytest.MonkeyPatch, work: Callable[[Sequence[str], Any], Answer], said: str
) -> None:
    whole = fleet({"a1": "1" * 12, "a2": "1" * 12, "b": "2" * 12}, "broken")
    found, told, _ = on_cluster(
        monkeypatch, whole, lambda names, options: (work if "a1" in names else answered_plainly)(names, options)
    )
    ways = {one.environment: one.way for one in found.result.environments}
    assert ways == {"a1": "failed", "a2": "failed", "b": "planned", "broken": "planned"}
    for one in found.result.environments[:2]:
        assert said in one.entries[0].message
        assert "\x1b" not in one.model_dump_json()
        assert one.account_id == "1" * 12
    assert (found.records, found.result.exit_code) == ((), 1)
    assert sorted(told.ended) == ["a1", "a2", "b", "broken"]


def answered_plainly(names: Sequence[str], _: object) -> Answer:
    return answered(names)


def test_what_a_worker_does_not_tell_of_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    found, _, _ = on_cluster(monkeypatch, same_account("a", "b"), lambda names, _: answered(names, told=names[:1]))
    assert ([one.environment for one in found.result.environments], found.result.missing) == (["a"], ("b",))
    assert found.result.exit_code == 1


def test_after_ctrl_c_what_came_back_is_told_and_the_rest_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    def work(names: Sequence[str], _: object) -> Answer:
        if "b" in names:
            raise KeyboardInterrupt
        return answered(names)

    found, told, _ = on_cluster(monkeypatch, fleet({"a": "1" * 12, "b": "2" * 12}), work)
    assert (found.result.missing, told.ended) == (("b",), ["a"])


def test_a_cluster_that_cannot_be_used_is_an_error_of_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    def work(*_: object) -> Answer:
        raise ClusterError("no scheduler")

    with pytest.raises(ClusterError):
        on_cluster(monkeypatch, same_account("a"), work)


@pytest.fixture
def worker(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A worker's checkout, with one environment that cannot be read."""
    (tmp_path / "terraform").mkdir()
    (tmp_path / "environments").mkdir()
    (tmp_path / "environments" / "shop.yaml").write_text("version: 1\n")
    monkeypatch.setattr(commands, "ROOT", tmp_path)
    monkeypatch.setattr(executor_dask, "_first_seen", {})
    return tmp_path


def options(root: Path, **changes: Any) -> dict[str, Any]:
    return {"full": False, "records": "", "code": code_digest(root), "fleet": Fleet.load(root).digest, **changes}


def test_a_worker_with_the_same_checkout_checks_what_it_is_given(worker: Path) -> None:
    found = Night.model_validate_json(check_batch(["shop"], options(worker)))
    (result,) = found.result.environments
    assert (result.environment, result.way) == ("shop", "failed")


def test_a_worker_with_other_code_checks_nothing(worker: Path) -> None:
    with pytest.raises(ClusterError, match="checkout is not the one"):
        check_batch(["shop"], options(worker, code="0" * 64))


def test_a_worker_with_older_environment_files_checks_nothing(worker: Path) -> None:
    sent = options(worker)
    (worker / "environments" / "shop.yaml").write_text("version: 2\n")
    with pytest.raises(
        ClusterError, match="environment files, or the policies that they name, are not those"
    ) as caught:
        check_batch(["shop"], sent)
    assert "same commit" in str(caught.value.do)


@pytest.mark.parametrize(("full", "asked"), [(False, ["s3://b/p"]), (True, [])])
def test_a_worker_reads_the_records_itself_unless_everything_is_planned(
    monkeypatch: pytest.MonkeyPatch, worker: Path, full: bool, asked: list[str]
) -> None:
    seen: list[Any] = []
    book = RecordBook()

    def read(text: str, _: Fleet) -> RecordBook:
        seen.append(text)
        return book

    monkeypatch.setattr(record_access, "book", read)

    def run(fleet: Fleet, names: Sequence[str], options: NightOptions, progress: Any, *, book: Any) -> Night:
        seen.append(book)
        progress.start("shop")
        progress.stage("shop", "reading")
        progress.done(environment("shop"), ())
        return Night(result=night())

    monkeypatch.setattr(module, "run", run)
    check_batch(["shop"], options(worker, full=full, records="s3://b/p"))
    assert seen == [*asked, None if full else book]


def test_an_error_of_a_worker_keeps_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    found, _, _ = on_cluster(monkeypatch, same_account("a"), failing)
    assert found.result.environments[0].entries[0].fix == "log in"

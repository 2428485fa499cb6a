"""The commands of the nightly check: what their flags mean together, what they print, and where they write."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from ci_user import commands, night_commands
from ci_user.errors import CiUserError, UsageError
from ci_user.nightly import batches, merging, night, record_access, record_store
from ci_user.nightly.codes import DRIFT
from ci_user.nightly.model import NightResult
from ci_user.nightly.night import Night, NightOptions
from ci_user.nightly.record_store import Kept
from ci_user.nightly.records import RecordBook
from ci_user.nightly.render import webhook
from ci_user.nightly.selection import Fleet
from ci_user.reports.console import Console
from tests.unit.nightly import nights as parts
from tests.unit.nightly.fleets import fleet
from tests.unit.nightly.test_records import record

FLAGS: dict[str, Any] = {
    "env": "",
    "every": False,
    "only": [],
    "shard": "",
    "full": False,
    "records": "",
    "out": "",
    "github": False,
    "executor": "",
    "scheduler": "",
    "tls_ca": "",
    "tls_cert": "",
    "tls_key": "",
}
FLEET = fleet({"prod-eu": "1" * 12, "prod-us": "1" * 12, "test-eu": "2" * 12}, "broken", sandboxes=("sandbox",))
FOUND = parts.night(parts.environment("prod-eu", parts.entry("here", message="%0A::error::injected")))


class Listening(Console):
    """Keeps what is written."""

    def __init__(self, *, verbose: bool = False) -> None:
        super().__init__(verbose=verbose)
        self.said: list[str] = []

    def _write(self, text: str) -> None:
        self.said.append(text)


class Asked:
    """What the check was asked for, in place of a check; ``found`` is what it finds."""

    def __init__(self) -> None:
        self.names: tuple[str, ...] = ()
        self.options = NightOptions()
        self.book: object = "not asked"
        self.records: list[str] = []
        self.cluster: Any = None
        self.progress: Any = None
        self.found = parts.night()

    def run(self, _: Fleet, names: Sequence[str], options: NightOptions, progress: Any, *, book: Any) -> Night:
        self.names, self.options, self.book, self.progress = tuple(names), options, book, progress
        for one in self.found.environments:
            progress.start(one.environment)
            progress.stage(one.environment, "reading")
            progress.done(one, ["a line of its log"])
        return Night(result=self.found, records=(record("prod-us"),))

    def on_cluster(
        self, _: Fleet, names: Sequence[str], options: NightOptions, __: object, *, records: str, cluster: Any
    ) -> Night:
        self.names, self.options, self.cluster = tuple(names), options, cluster
        self.records.append(records)
        return Night(result=self.found)

    def read(self, text: str, _: Fleet) -> RecordBook | None:
        self.records.append(text)
        return RecordBook(why_not="nobody may trust it") if text else None


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Asked:
    made = Asked()
    monkeypatch.setattr(Fleet, "load", lambda _: FLEET)
    monkeypatch.setattr(commands, "ROOT", tmp_path)
    monkeypatch.setattr(night, "run", made.run)
    monkeypatch.setattr(batches, "run_on_cluster", made.on_cluster)
    monkeypatch.setattr(record_access, "book", made.read)
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    return made


def checked(console: Console | None = None, **flags: Any) -> Any:
    return night_commands.check(console or Listening(), **FLAGS | flags)


ALL: dict[str, Any] = {"every": True}
DASK: dict[str, Any] = {**ALL, "executor": "dask", "scheduler": "tcp://127.0.0.1:8786"}


@pytest.mark.parametrize(
    ("flags", "where", "said"),
    [
        ({}, "--env", "no environment was named"),
        ({"full": True}, "--env", "no environment was named"),
        ({"env": "prod-eu", "every": True}, "--all", "do not go together"),
        ({"env": "prod-eu", "only": ["*"]}, "--only", "do not go together"),
        ({"env": "prod-eu", "shard": "1/2"}, "--shard", "do not go together"),
        ({"env": "prod-eu", "every": True, "only": ["*"]}, "--all", "do not go together"),
        ({"shard": "3/2"}, "--shard", "is no shard"),
        ({**ALL, "records": "bucket/prefix"}, None, "--records: "),
        ({**ALL, "records": "s3://bucket"}, None, "--records: "),
        ({**ALL, "executor": "dask"}, "--executor", "is no way to run it"),
        ({**ALL, "scheduler": "tcp://127.0.0.1:1"}, "--executor", "is no way to run it"),
        ({**DASK, "executor": "spark"}, "--executor", "is no way to run it"),
        ({**DASK, "scheduler": "somewhere"}, "--scheduler", "is not the address of a scheduler"),
        ({**DASK, "scheduler": "tcp://10.0.0.1:1"}, "--scheduler", "not encrypted"),
        ({**DASK, "tls_ca": "ca.pem"}, "--scheduler", "--tls-ca is given"),
        ({**ALL, "tls_ca": "ca.pem"}, "--tls-ca", "without a scheduler"),
        ({"env": "prod-eu", "tls_key": "key.pem"}, "--tls-key", "without a scheduler"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_flags_that_do_not_go_together_are_one_clear_error_before_anything_is_read(
    asked: Asked, monkeypatch: pytest.MonkeyPatch, flags: dict[str, Any], where: str | None, said: str
) -> None:
    monkeypatch.setattr(Fleet, "load", lambda _: pytest.fail("the files were read"))
    with pytest.raises(UsageError) as caught:
        checked(**flags)
    assert said in caught.value.what
    assert where is None or caught.value.where == where
    assert caught.value.expected


def test_without_a_name_the_message_lists_the_environments_that_there_are(asked: Asked, tmp_path: Path) -> None:
    (tmp_path / "environments").mkdir()
    (tmp_path / "environments" / "shop.yaml").touch()
    with pytest.raises(UsageError) as caught:
        checked()
    assert "one of: shop" in str(caught.value.expected)


@pytest.mark.parametrize(
    ("flags", "names"),
    [
        (ALL, ("broken", "prod-eu", "prod-us", "test-eu")),
        ({"only": ["prod-*"]}, ("prod-eu", "prod-us")),
        ({**ALL, "only": ["test-*"]}, ("test-eu",)),
        ({"shard": "1/2"}, ("broken", "prod-eu")),
        ({"shard": "2/2", "only": ["*-eu"]}, ("test-eu",)),
        ({"shard": "9/9", "only": ["prod-*"]}, ("prod-us",)),
        ({"env": "test-eu"}, ("test-eu",)),
        ({"env": "sandbox"}, ("sandbox",)),
        ({"env": "broken"}, ("broken",)),
    ],
)
def test_flags_choose_the_environments(asked: Asked, flags: dict[str, Any], names: tuple[str, ...]) -> None:
    checked(**flags)
    assert asked.names == names


@pytest.mark.parametrize("name", ["nowhere", "../secrets", "UPPER", "--all"])
def test_a_name_that_no_file_has_is_refused(asked: Asked, name: str) -> None:
    with pytest.raises(UsageError) as caught:
        checked(env=name)
    assert caught.value.where == "--env"


def test_a_shard_without_environments_is_clean(asked: Asked) -> None:
    assert checked(shard="1/9", only=["test-*"]).exit_code == 0
    assert asked.names == ()
    assert asked.options.shard == "1/9"


def test_records_are_read_and_why_they_are_not_trusted_is_said(asked: Asked) -> None:
    console = Listening()
    checked(console, **ALL, records="s3://bucket/prefix")
    assert asked.records == ["s3://bucket/prefix"]
    assert "everything is planned: nobody may trust it" in console.said
    checked(**ALL, records="s3://bucket/prefix", full=True)
    assert (asked.records[1:], asked.book, asked.options.full) == ([""], None, True)


def test_a_cluster_gets_the_address_of_the_records_and_reads_them_itself(asked: Asked) -> None:
    checked(**DASK, records="s3://bucket/prefix")
    assert (asked.records, asked.cluster.scheduler) == (["s3://bucket/prefix"], "tcp://127.0.0.1:8786")
    checked(**DASK, records="s3://bucket/prefix", full=True)
    assert asked.records[1:] == [""]


def test_every_form_of_the_result_goes_into_the_directory(asked: Asked, tmp_path: Path) -> None:
    asked.found = FOUND
    out = tmp_path / "a night" / "out"
    report = checked(**ALL, out=str(out))
    assert report.exit_code == 3
    assert merging.read_result(out) == FOUND
    assert {path.name for path in out.iterdir()} == {
        *("results.json", "records.json", "junit.xml", "results.sarif", "summary.md", "report.html")
    }
    assert json.loads((out / "records.json").read_text())["environments"].keys() == {"prod-us"}


def test_a_directory_that_cannot_be_written_is_said_before_anything_is_checked(asked: Asked, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UsageError):
        checked(**ALL, out=str(tmp_path / "file"))
    assert asked.names == ()


def test_of_a_single_environment_each_stage_is_a_line(asked: Asked) -> None:
    asked.found = FOUND
    console = Listening(verbose=True)
    checked(console, env="prod-eu")
    assert console.said == ["  prod-eu: reading ...", "a line of its log"]
    assert asked.options.verbose


def test_of_several_the_first_that_is_not_clean_is_a_line_at_once(asked: Asked) -> None:
    asked.found = FOUND
    console = Listening()
    checked(console, **ALL)
    assert any("prod-eu" in line and line.startswith("! 1/4") for line in console.said)


def test_on_github_the_summary_is_added_and_annotations_stand_first(
    asked: Asked, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked.found = FOUND
    summary = tmp_path / "summary.md"
    summary.write_text("what another step said\n")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    lines = list(checked(**ALL, github=True).lines())
    assert lines[0].startswith("::")
    text = summary.read_text()
    assert text.startswith("what another step said\n## Nightly check")
    # GitHub takes a command from any line that begins with one, and breaks the lines of a command where it says so.
    assert not [line for line in lines if line.lstrip().startswith("::error::injected")]
    assert not [line for line in lines if line.lstrip().startswith("::") and "%0A::error" in line]


def test_without_the_flag_nothing_of_github_is_written(
    asked: Asked, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked.found = FOUND
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary.md"))
    assert not [line for line in checked(**ALL).lines() if line.startswith("::")]
    assert not (tmp_path / "summary.md").exists()


def test_away_from_github_the_flag_prints_annotations_only(asked: Asked) -> None:
    asked.found = FOUND
    assert next(iter(checked(**ALL, github=True).lines())).startswith("::")


def test_a_summary_that_cannot_be_written_is_said(
    asked: Asked, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path))
    with pytest.raises(UsageError, match="the step summary cannot be written") as caught:
        checked(**ALL, github=True)
    assert caught.value.where == "GITHUB_STEP_SUMMARY"


def test_a_night_as_a_document_is_its_result_with_its_exit_codes() -> None:
    document = night_commands.NightReport(FOUND, annotations=("::warning::x",)).document()
    assert [one["exit_code"] for one in document["environments"]] == [3]
    assert "::warning" not in json.dumps(document)


@pytest.mark.parametrize(
    ("only", "shards", "document"),
    [
        ([], 0, {"environment": ["broken", "prod-eu", "prod-us", "test-eu"]}),
        (["prod-*"], 0, {"environment": ["prod-eu", "prod-us"]}),
        ([], 3, {"shard": ["1/3", "2/3", "3/3"]}),
        # No job for a shard that is empty.
        ([], 100, {"shard": ["1/4", "2/4", "3/4", "4/4"]}),
        (["test-*"], 10, {"shard": ["1/1"]}),
    ],
)
def test_a_matrix_lists_environments_or_shards(
    asked: Asked, only: list[str], shards: int, document: dict[str, list[str]]
) -> None:
    report = night_commands.environments(Listening(), only=only, shards=shards)
    assert (report.document(), report.exit_code) == (document, 0)
    assert list(report.lines()) == next(iter(document.values()))


def test_the_shards_of_the_matrix_check_every_environment_once(asked: Asked) -> None:
    parts_of_it: list[str] = []
    for shard in night_commands.environments(Listening(), only=[], shards=3).document()["shard"]:
        checked(shard=shard)
        parts_of_it += asked.names
    assert sorted(parts_of_it) == list(FLEET.names)


@pytest.mark.parametrize("shards", [-1, 1001, "x", "1e2"])
def test_a_number_of_shards_that_cannot_be_is_refused(asked: Asked, shards: int | str) -> None:
    with pytest.raises(UsageError) as caught:
        night_commands.environments(Listening(), only=[], shards=shards)
    assert caught.value.where == "--shards"


def test_of_no_environments_there_is_one_shard(asked: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Fleet, "load", lambda _: Fleet(Path(), {}, {}))
    assert night_commands.environments(Listening(), only=[], shards=5).document() == {"shard": ["1/1"]}
    assert night_commands.environments(Listening(), only=[], shards=0).document() == {"environment": []}


def written(directory: Path, result: NightResult) -> str:
    merging.write_result(directory, result)
    return str(directory)


def merged(**flags: Any) -> Any:
    defaults: dict[str, Any] = {"result": [], "out": "", "history": "", "expect": 0, "github": False}
    return night_commands.merge(Listening(), **defaults | flags)


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ({"result": ["one"]}, "no directory was named"),
        ({"out": "out"}, "there is no result to merge"),
        ({"out": "out", "result": ["one"], "expect": -1}, "--expect -1"),
        ({"out": "out", "result": ["one"], "expect": 1001}, "--expect 1001"),
        ({"out": "out", "result": ["one"], "expect": "many"}, "'many' is no number"),
    ],
)
def test_what_cannot_be_merged_is_one_clear_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, flags: dict[str, Any], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError) as caught:
        merged(**flags)
    assert said in caught.value.what


def test_shards_are_joined_with_their_records_and_since_when_something_is_wrong(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary.md"))
    written(tmp_path / "one", parts.night(parts.environment("a", DRIFT.entry("x", "y")), shard="1/2"))
    written(tmp_path / "two", parts.night(parts.environment("b"), shard="2/2"))
    (tmp_path / "two" / "records.json").write_bytes(record("b").model_dump_json().encode())
    report = merged(result=["one", "two", "gone"], out="all", history="history.sqlite", expect=2, github=True)
    joined = merging.read_result(tmp_path / "all")
    assert [one.environment for one in joined.environments] == ["a", "b"]
    assert joined.environments[0].entries[0].since is not None
    assert (len(joined.missing), report.exit_code) == (1, 1)
    assert (tmp_path / "history.sqlite").is_file()
    assert (tmp_path / "summary.md").read_text().startswith("## Nightly check")
    assert next(iter(report.lines())).startswith("::")
    # Records that cannot be read have their environments planned again, and nothing else.
    assert json.loads((tmp_path / "all" / "records.json").read_text())["environments"] == {}


def test_a_history_that_cannot_be_used_costs_no_report(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    written(tmp_path / "one", parts.night(parts.environment("a", DRIFT.entry("x", "y"))))
    (tmp_path / "history.sqlite").write_text("no database")
    with pytest.raises(UsageError) as caught:
        merged(result=["one"], out="all", history="history.sqlite", expect=1)
    assert caught.value.runbook == "nightly-history"
    assert [one.environment for one in merging.read_result(tmp_path / "all").environments] == ["a"]


@pytest.mark.parametrize(
    ("result", "records", "said"),
    [
        ("one", "", "--records: "),
        ("one", "s3://bucket", "--records: "),
        ("", "s3://bucket/prefix", "no result was named"),
    ],
)
def test_what_cannot_be_kept_is_one_clear_error(asked: Asked, result: str, records: str, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        night_commands.keep(Listening(), result=result, records=records)
    assert said in caught.value.what


def test_records_are_kept_for_the_environments_that_there_are(asked: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[Any] = []
    monkeypatch.setattr(record_access, "access", lambda _: "the login")

    def keep(*arguments: Any, **more: Any) -> Kept:
        given.extend((arguments, more))
        return Kept(records=4, new=3, gone=2)

    monkeypatch.setattr(record_store, "keep", keep)
    report = night_commands.keep(Listening(), result="one", records="s3://bucket/prefix")
    (result, location, access), more = given
    assert (result.name, result.is_absolute(), location.address) == ("one", True, "s3://bucket/prefix/records.json")
    assert access == "the login"
    assert more == {"existing": FLEET.names, "state_buckets": (f"states-{'1' * 12}", f"states-{'2' * 12}")}
    assert report.document() == {"records": 4, "new": 3, "gone": 2}
    assert list(report.lines()) == ["s3://bucket/prefix/records.json: 4 records, 3 of them new, 2 gone"]


def test_without_a_webhook_nobody_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(webhook.VARIABLE, raising=False)
    monkeypatch.setattr(webhook, "send", lambda *_: pytest.fail("it was sent"))
    with pytest.raises(UsageError) as caught:
        night_commands.notify(Listening(), result="one", details=False)
    assert (caught.value.where, "it is a secret" in str(caught.value.expected)) == (webhook.VARIABLE, True)


@pytest.mark.parametrize("result", ["", "nowhere"])
def test_without_a_result_nobody_is_told(monkeypatch: pytest.MonkeyPatch, result: str) -> None:
    monkeypatch.setenv(webhook.VARIABLE, "https://hooks.example.com/secret")
    monkeypatch.setattr(webhook, "send", lambda *_: pytest.fail("it was sent"))
    with pytest.raises(CiUserError) as caught:
        night_commands.notify(Listening(), result=result, details=False)
    assert "hooks.example.com" not in str(caught.value)


@pytest.mark.parametrize("details", [False, True])
def test_the_webhook_gets_what_was_asked_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, details: bool) -> None:
    sent: list[Any] = []
    monkeypatch.setenv(webhook.VARIABLE, "https://hooks.example.com/secret")
    monkeypatch.setattr(webhook, "send", lambda *arguments: sent.append(arguments))
    report = night_commands.notify(Listening(), result=written(tmp_path / "one", FOUND), details=details)
    ((url, payload),) = sent
    assert url.reveal() == "https://hooks.example.com/secret"
    assert payload == webhook.payload(FOUND, details=details)
    assert "hooks" not in json.dumps(report.document()) + "".join(report.lines())

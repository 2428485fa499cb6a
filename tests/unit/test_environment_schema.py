from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from ci_user import backends, environment_schema
from ci_user.environment_files import PLACEHOLDER, load, load_all
from ci_user.environment_policies import called
from ci_user.environment_schema import schema, template, write_new
from ci_user.environment_yaml import read
from ci_user.errors import EnvironmentFileError, UsageError

ROOT = Path(__file__).parents[2]
TODAY = date(2026, 11, 24)
KEYS = {"access", "check_access", "key", "region", "account_id", "kms_key", "tags", "known_drift"}
"""What the template shows commented out."""
KNOWN = {
    "resource": "module.ci_user.aws_iam_user.this",
    "attributes": ["tags"],
    "reason": "set by the account's own automation",
    "owner": "platform",
    "expires": "2027-01-31",
}
FILES = sorted((ROOT / "environments").glob("*.yaml"))


def data(path: Path) -> dict[str, Any]:
    value = read(path.read_bytes()).value
    assert isinstance(value, dict)
    return value


def errors(value: dict[str, Any]) -> list[str]:
    return [error.message for error in Draft202012Validator(schema()).iter_errors(value)]


def test_the_committed_schema_is_current() -> None:
    committed = (ROOT / "environments" / "schema.json").read_text(encoding="utf-8")
    assert committed == environment_schema.text(), "run `invoke schema`"


def test_the_schema_is_one() -> None:
    Draft202012Validator.check_schema(schema())


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.stem)
def test_the_projects_own_files_fit_the_schema_and_point_at_it(path: Path) -> None:
    assert not errors(data(path))
    assert path.read_text(encoding="utf-8").startswith("# yaml-language-server: $schema=schema.json\n")


@pytest.mark.parametrize("today", [TODAY, date(2040, 1, 1)])
def test_the_projects_own_files_load_today_and_long_after(today: date) -> None:
    found = load_all(ROOT, today=today)
    assert found.keys() >= {"sandbox", "testing", "production"}
    assert found["sandbox"].sandbox
    assert {f.expires for f in found["sandbox"].accepted_findings} == {"never"}
    assert found["production"].protected


@pytest.mark.parametrize(
    "change",
    [
        {"version": 2},
        {"account_id": 1},
        {"region": "nowhere"},
        {"surprise": 1},
        {"timeout": "soon"},
        {"policies": []},
        {"policies": ["Sample"]},
        {"policies": [{"file": "a.json", "arn": "arn:aws:iam::aws:policy/ReadOnlyAccess"}]},
        {"policies": [{"arn": "ReadOnlyAccess"}]},
        {"policies": [{"directory": "policies", "name": "Mine"}]},
        {"policies": [{}]},
        {"secrets": []},
        {"secrets": [{"backend": "nowhere", "plugin": "unpinned"}]},
        {"secrets": [{"name": "x"}]},
        {"secrets": [{"backend": "aws-secrets-manager", "name": "x", "path": "y"}]},
        {"state": {"bucket": "b-b", "use_lockfile": False}},
        {"access": {"role": {"arn": "x"}}},
        {"rotation": {"grace": "soon"}},
        {"rotation": {"grade": "1d"}},
        {"audit": {"bucket": "yes"}},
        {"known_drift": [{**KNOWN, "attributes": []}]},
        {"known_drift": [{**KNOWN, "attributes": ["tags", "*"]}]},
        {"known_drift": [{**KNOWN, "attributes": ["permissions_boundary"]}]},
        {"known_drift": [{**KNOWN, "expires": "soon"}]},
    ],
)
def test_editors_see_what_the_model_refuses(change: dict[str, Any]) -> None:
    assert errors({**data(ROOT / "environments" / "testing.yaml"), **change})


def test_editors_see_known_drift_as_the_model_does() -> None:
    assert not errors({**data(ROOT / "environments" / "testing.yaml"), "known_drift": [KNOWN]})


def test_every_backend_and_every_key_is_described() -> None:
    whole = schema()
    for name in backends.names():
        settings = whole["$defs"][f"secrets-{name}"]
        assert settings["properties"]["backend"]["const"] == name
        assert not settings["additionalProperties"]
    described = [*whole["properties"].items()]
    for part in whole["$defs"].values():
        described += part["properties"].items()
    assert not [key for key, value in described if not value.get("description")]
    assert whole["properties"]["timeout"]["default"] == "15m"
    assert whole["properties"]["audit"]["default"] == {"file": ".cache/audit.jsonl", "bucket": False}
    assert whole["$defs"]["Rotation"]["properties"]["grace"]["default"] == "1d"
    assert not {"name", "root"} & whole["properties"].keys()


def test_the_template_is_valid_and_explains_every_key(tmp_path: Path) -> None:
    (tmp_path / "environments").mkdir()
    text = template("staging", "shop", "111111111111", "eu-west-1", "states", today=TODAY)
    (tmp_path / "environments" / "staging.yaml").write_text(text)
    one = load("staging", tmp_path, today=TODAY)
    assert one == type(one).model_validate({**one.model_dump(exclude_defaults=True), "root": tmp_path})
    fields = type(one).model_fields
    for name in ("lock", "verification", "rotation", "audit", "timeout"):
        assert getattr(one, name) == fields[name].default, name
    known = set(schema()["properties"]) - {"sandbox", "endpoint_url"}
    written = {line.lstrip("# ").partition(":")[0] for line in text.splitlines()}
    assert known <= written


def test_what_is_commented_out_in_the_template_is_valid_too(tmp_path: Path) -> None:
    text = template("staging", "shop", "111111111111", "eu-west-1", "states", today=TODAY)
    lines = []
    for line in text.splitlines():
        stripped = line.strip()
        key = stripped.removeprefix("# ").split(" ")[0]
        example = stripped.startswith("# ") and (key.rstrip(":") in KEYS or key == "-" or stripped.startswith("#   "))
        lines.append(line.replace("# ", "", 1) if example else line)
    everything = "\n".join(lines)
    (tmp_path / "environments").mkdir()
    (tmp_path / "environments" / "staging.yaml").write_text(everything)
    one = load("staging", tmp_path, today=TODAY)
    assert one.access is not None
    assert one.access.role is not None
    assert one.check_access is not None
    assert one.state.kms_key is not None
    assert one.tags
    assert one.accepted_findings
    assert one.known_drift
    assert [called(item) for item in one.policies] == [
        "serverless",
        "extra",
        "shop",
        "arn:aws:iam::aws:policy/AWSCloudFormationReadOnlyAccess",
    ]


def test_a_new_file_is_refused_with_its_lines_until_it_is_filled_in(tmp_path: Path) -> None:
    path = write_new("staging", tmp_path, today=TODAY)
    assert path == tmp_path / "environments" / "staging.yaml"
    with pytest.raises(EnvironmentFileError) as caught:
        load("staging", tmp_path, today=TODAY)
    message = str(caught.value)
    assert message.startswith("2 problems")
    assert message.count(PLACEHOLDER) == 2
    assert "account_id" in message
    assert "state.bucket" in message


def test_a_new_file_takes_over_what_the_others_agree_on(tmp_path: Path) -> None:
    (tmp_path / "environments").mkdir()
    text = template("testing", "till", "111111111111", "eu-north-1", "states", today=TODAY)
    (tmp_path / "environments" / "testing.yaml").write_text(text)
    found = data(write_new("staging", tmp_path, today=TODAY))
    assert (found["application"], found["region"]) == ("till", "eu-north-1")


def test_an_existing_file_is_never_overwritten(tmp_path: Path) -> None:
    path = write_new("staging", tmp_path, today=TODAY)
    path.write_text("mine")
    with pytest.raises(UsageError, match="exists and is not overwritten"):
        write_new("staging", tmp_path, today=TODAY)
    assert path.read_text() == "mine"


@pytest.mark.parametrize("name", ["../x", "a/b", "", "Prod", "${x}", "x" * 50])
def test_a_new_file_needs_a_name(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="cannot be the name"):
        write_new(name, tmp_path)
    assert not list(tmp_path.rglob("*.yaml"))


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "environments").write_text("a file")
    with pytest.raises(EnvironmentFileError, match="cannot be written"):
        write_new("staging", tmp_path, today=TODAY)

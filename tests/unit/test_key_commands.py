"""Which environments `rotate --all` works on, and what a broken or ambiguous file does to them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ci_user import commands, key_commands, key_runs
from ci_user.reports.console import Console
from ci_user.reports.model import TextReport

GOOD = """version: 1
application: {application}
account_id: "123456789012"
region: eu-west-1
policies: [sample]
state: {{bucket: shop-state}}
secrets: [{{backend: aws-ssm, name: /ci-user/{application}/key}}]
"""


@pytest.fixture
def rotate_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Write environment files, rotate all of them without AWS, and return exit codes and errors by environment."""
    folder = tmp_path / "environments"
    folder.mkdir()
    monkeypatch.setattr(commands, "ROOT", tmp_path)

    def rotated(loaded: Any, *_: object, **__: object) -> TextReport:
        return TextReport((), {"rotated": loaded.environment.name})

    monkeypatch.setattr(key_runs, "rotate", rotated)

    def run(**files: str) -> dict[str, Any]:
        for name, text in files.items():
            (folder / name.replace("_", ".")).write_text(text)
        report = key_commands.rotate(
            Console(), env="", every=True, force=False, now=False, yes=False, confirm="", lock_timeout="0s"
        )
        return {entry.pop("environment"): entry for entry in report.document()["environments"]}

    return run


def test_a_yml_beside_the_yaml_of_one_environment_is_an_error_of_that_one_alone(rotate_all: Any) -> None:
    found = rotate_all(
        pair_yaml=GOOD.format(application="pair"), pair_yml="anything", other_yaml=GOOD.format(application="other")
    )
    assert found["other"] == {"exit_code": 0, "rotated": "other"}
    assert found["pair"]["exit_code"] == 1
    error = found["pair"]["error"]
    assert error["what"] == "pair has two files, pair.yaml and pair.yml"
    assert error["where"] == "environments/pair.yml"
    assert "nothing was done for this environment" in error["do"]


def test_a_yml_without_a_yaml_is_told_by_its_name(rotate_all: Any) -> None:
    found = rotate_all(lost_yml=GOOD.format(application="lost"), other_yaml=GOOD.format(application="other"))
    assert found["other"]["exit_code"] == 0
    assert found["lost"]["exit_code"] == 1
    assert "expected lost.yaml" in found["lost"]["error"]["what"]

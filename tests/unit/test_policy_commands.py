"""The tasks on plain files: what they read, what they say, what they write."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ci_user import policy_commands
from ci_user.errors import CiUserError, PolicyError, UsageError
from ci_user.reports.console import Console
from tests.project import Project

CONSOLE = Console()


def write(path: Path, *statements: dict[str, Any]) -> str:
    allow = {"Effect": "Allow", "Action": "s3:GetObject", "Resource": "*"}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"Version": "2012-10-17", "Statement": list(statements or [allow])}))
    return str(path)


def test_each_file_is_called_as_it_is_or_by_its_path(tmp_path: Path) -> None:
    one, two, other = (write(tmp_path / name) for name in ("a/x.json", "b/x.json", "y.json"))
    assert [source.name for source in policy_commands.given([one, two, other])] == [one, two, "y"]


Call = Callable[[list[str]], object]
COMMANDS: dict[str, tuple[str, Call]] = {
    "pack": ("--file", lambda files: policy_commands.pack(CONSOLE, files=files, out="")),
    "lint": ("--file", lambda files: policy_commands.lint(CONSOLE, files=files, aws=False)),
    "escalation": ("--file", lambda files: policy_commands.escalation(CONSOLE, files=files, boundary="")),
    "diff": ("--old", lambda files: policy_commands.diff(CONSOLE, old=files[0] if files else "", new="")),
}


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(
    ("kind", "error", "says"),
    [
        ("none", UsageError, "no policy file was named"),
        ("empty", UsageError, "no policy file was named"),
        ("missing", PolicyError, "No such file or directory"),
        ("directory", PolicyError, "Is a directory"),
        ("below a file", PolicyError, "Not a directory"),
        ("pipe", PolicyError, "no regular file"),
        ("device", PolicyError, "no regular file"),
        ("too large", PolicyError, "larger than 1,000,000 bytes"),
        ("no JSON", PolicyError, "no JSON"),
        ("no policy", PolicyError, "Version is None"),
    ],
)
def test_a_file_that_is_none_is_one_clear_message(
    tmp_path: Path, command: str, kind: str, error: type[CiUserError], says: str
) -> None:
    flag, call = COMMANDS[command]
    path = tmp_path / "x.json"
    files = [str(path)]
    if kind == "none":
        files = []
    elif kind == "empty":
        files = [""]
    elif kind == "directory":
        path.mkdir()
    elif kind == "below a file":
        path.touch()
        files = [str(path / "y.json")]
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        files = [os.devnull]
    elif kind == "too large":
        path.write_bytes(b" " * 10_000_000)
    elif kind == "no JSON":
        path.write_text("{")
    elif kind == "no policy":
        path.write_text("{}")
    with pytest.raises(error) as caught:
        call(files)
    assert says in caught.value.what
    assert str(caught.value.where).startswith(flag if error is UsageError else files[0])
    assert caught.value.expected


def test_a_file_that_is_named_twice_is_refused(tmp_path: Path) -> None:
    one = write(tmp_path / "x.json")
    (tmp_path / "y.json").symlink_to(one)
    with pytest.raises(UsageError, match="named twice"):
        policy_commands.pack(CONSOLE, files=[one, str(tmp_path / "y.json")], out="")


def test_packs_are_told_with_their_sizes_and_written(tmp_path: Path) -> None:
    bulky = {"Effect": "Allow", "Action": [f"s3:Get{n}" for n in range(700)], "Resource": "arn:aws:s3:::${prefix}-*"}
    files = [write(tmp_path / "a.json", bulky), write(tmp_path / "b.json")]
    out = tmp_path / "out"
    report = policy_commands.pack(CONSOLE, files=files, out=str(out))
    document = report.document()
    assert report.exit_code == 0
    assert [one["name"] for one in document["packs"]] == ["combined", "combined-2"]
    for one in document["packs"]:
        path = out / f"{one['name']}.json"
        assert json.loads(path.read_text()) == one["document"]
        assert one["size"] == len(path.read_text().rstrip("\n")) <= one["limit"] == 6144
        assert f"{one['name']}: {one['statements']} statement" in "\n".join(report.lines())
        assert f"wrote {path}" in report.lines()
    assert document["parameters"] == ["${prefix}"]
    assert any("${prefix} counted as written" in line for line in report.lines())


@pytest.mark.parametrize(("file", "name"), [("my-policy.json", "my-policy"), ("My Policy.json", "policy")])
def test_one_file_is_called_as_its_managed_policy_would_be(tmp_path: Path, file: str, name: str) -> None:
    document = policy_commands.pack(CONSOLE, files=[write(tmp_path / file)], out="").document()
    assert [one["name"] for one in document["packs"]] == [name]
    assert document["written"] == []


@pytest.mark.parametrize("kind", ["file", "directory that holds something"])
def test_nothing_is_overwritten(tmp_path: Path, kind: str) -> None:
    out = tmp_path / "out"
    there = out if kind == "file" else out / "there"
    there.parent.mkdir(exist_ok=True)
    there.write_text("mine")
    with pytest.raises(UsageError, match="not an empty directory"):
        policy_commands.pack(CONSOLE, files=[write(tmp_path / "a.json")], out=str(out))
    assert there.read_text() == "mine"


# As a user runs them


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    made = Project.copied_to(tmp_path_factory.mktemp("a project") / "copy")
    # Whoever asked AWS would wait for nobody, and fail.
    made.environ["AWS_ENDPOINT_URL"] = "http://127.0.0.1:9"
    write(made.root / "policies" / "extra.json")
    made.write(
        policies=[
            "sample",
            {"file": "policies/extra.json"},
            {"arn": "arn:aws:iam::aws:policy/ReadOnlyAccess"},
        ]
    )
    return made


def test_an_environments_documents_are_shown_from_files_only(project: Project) -> None:
    done = project.invoke("policy.show", "--env", "testing", "--json")
    assert (done.code, done.err) == (0, "")
    shown = done.json()
    assert [one["name"] for one in shown["policies"]] == ["combined"]
    assert shown["policies"][0]["arn"] == "arn:aws:iam::000000000000:policy/shop-testing.policy-combined"
    assert len(shown["policies"][0]["document"]["Statement"]) == 7
    assert shown["attached_arns"] == ["arn:aws:iam::aws:policy/ReadOnlyAccess"]
    assert shown["boundary"]["arn"].endswith("policy/shop-testing.boundary")
    assert shown["role_boundary"]["arn"].endswith("policy/shop-testing.role-boundary")
    assert all(0 < shown[name]["size"] <= 6144 for name in ("boundary", "role_boundary"))
    text = project.invoke("policy.show", "--env", "testing").out
    assert '"s3:GetObject"' in text
    assert "existing policy: arn:aws:iam::aws:policy/ReadOnlyAccess" in text


def test_the_policy_of_who_works_on_an_account_is_printed_as_a_document_and_nothing_else(project: Project) -> None:
    for name in ("deployer", "nightly-check"):
        done = project.invoke("policy.show", "--env", "testing", "--policy", name)
        assert (done.code, done.err) == (0, "")
        document = done.json()
        assert list(document) == ["Version", "Statement"]
        assert "arn:aws:s3:::shop-state/shop/testing/*" in done.out
        assert "${" not in done.out
        shown = project.invoke("policy.show", "--env", "testing", "--policy", name, "--json").json()
        assert shown["document"] == document
        assert shown["size"] <= shown["limit"]
    refused = project.invoke("policy.show", "--env", "testing", "--policy", "sample")
    assert refused.code == 1
    assert "expected: one of: deployer, nightly-check" in refused.err


def test_files_are_packed_without_any_environment(project: Project) -> None:
    files = ("--file", "policies/extra.json", "--file", "terraform/policies/sample.json")
    done = project.invoke("policy.pack", *files, "--json")
    assert (done.code, done.err) == (0, "")
    (one,) = done.json()["packs"]
    assert (one["name"], one["statements"]) == ("combined", 7)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("policy.pack",), "no policy file was named"),
        (("policy.pack", "--file", "nowhere.json"), "No such file or directory"),
        (("--dry", "policy.pack", "--file", "policies/extra.json", "--out", "packs"), "cannot be run dry"),
        (("policy.lint",), "no policy file was named"),
        (("policy.escalation", "--file", "policies"), "Is a directory"),
        (("policy.escalation", "--file", "policies/extra.json", "--boundary", "nowhere"), "No such file"),
        (("policy.diff", "--old", "policies/extra.json"), "no policy file was named"),
        (("policy.show",), "no environment was named"),
        (("policy.show", "--env", "nowhere"), 'there is no environment "nowhere"'),
    ],
)
def test_what_cannot_be_meant_exits_1_with_one_message(project: Project, arguments: tuple[str, ...], says: str) -> None:
    done = project.invoke(*arguments)
    assert (done.code, done.out) == (1, "")
    assert done.err.startswith("error: ")
    assert says in done.err
    assert "Traceback" not in done.err

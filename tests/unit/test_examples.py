"""The workflows that users copy, and the project's own: valid, safe as far as zizmor knows, and calling what exists."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from invoke.exceptions import ParseError
from invoke.parser import Parser

import tasks
from tests import invocations
from tests.programs import write_program

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
GITHUB = sorted([*(ROOT / "examples" / "github").glob("*.yml"), *(ROOT / ".github" / "workflows").glob("*.yml")])
GITLAB = sorted((ROOT / "examples" / "gitlab").glob("*.yml"))
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md")])
NIGHTLY = ROOT / "examples" / "github" / "nightly.yml"


def run(*command: str | Path, **more: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=120, check=False, **more)


def workflow(file: Path) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(file.read_text(encoding="utf-8"))
    return found


def zizmor(*files: Path) -> subprocess.CompletedProcess[str]:
    return run(BIN / "zizmor", "--offline", "--no-config", "--no-progress", "--persona", "pedantic", *files)


@pytest.mark.parametrize(("schema", "files"), [("github-workflows", GITHUB), ("gitlab-ci", GITLAB)])
def test_every_workflow_is_what_its_vendor_reads(schema: str, files: list[Path]) -> None:
    assert files
    done = run(BIN / "check-jsonschema", "--builtin-schema", f"vendor.{schema}", *files)
    assert done.returncode == 0, done.stdout + done.stderr


def test_zizmor_finds_nothing() -> None:
    done = zizmor(*GITHUB)
    assert done.returncode == 0, done.stdout


def test_zizmor_would_find_something(tmp_path: Path) -> None:
    bad = tmp_path / ".github" / "workflows" / "bad.yml"
    bad.parent.mkdir(parents=True)
    text = NIGHTLY.read_text(encoding="utf-8")
    bad.write_text(text.replace('--expect "$EXPECT"', '--expect "${{ needs.list.outputs.count }}"'))
    done = zizmor(bad)
    assert done.returncode != 0
    assert "template-injection" in done.stdout


@pytest.mark.parametrize("file", GITHUB, ids=[file.name for file in GITHUB])
def test_every_action_is_pinned_to_a_commit_and_names_its_version(file: Path) -> None:
    lines = [line for line in file.read_text(encoding="utf-8").splitlines() if re.match(r"\s*(- )?uses:", line)]
    assert lines
    for line in lines:
        assert re.search(r"uses: [\w.-]+/[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$", line), line


def test_an_action_has_the_same_version_everywhere() -> None:
    used = {found for file in GITHUB for found in re.findall(r"uses: ([\w.-]+/[\w./-]+)@(\S+)", file.read_text())}
    assert len(used) == len({action for action, _ in used}), sorted(used)


@pytest.mark.parametrize("file", GITHUB, ids=[file.name for file in GITHUB])
def test_no_right_is_given_to_a_whole_workflow_and_no_job_may_hang(file: Path) -> None:
    document = workflow(file)
    assert document["permissions"] == {}
    for name, job in document["jobs"].items():
        assert job["permissions"]["contents"] == "read", name
        assert job["timeout-minutes"] < 360, name
        logs_in = any("configure-aws-credentials" in step.get("uses", "") for step in job["steps"])
        assert ("id-token" in job["permissions"]) == logs_in, name
        uploads = any("upload-sarif" in step.get("uses", "") for step in job["steps"])
        assert ("security-events" in job["permissions"]) == uploads, name


@pytest.mark.parametrize("file", [*GITHUB, *GITLAB], ids=lambda file: file.name)
def test_every_script_is_one(file: Path) -> None:
    for script in invocations.scripts(file):
        assert "${{" not in script, "an expression in a script is code that somebody else may choose"
        done = run("bash", "-n", "-c", script)
        assert done.returncode == 0, script + done.stderr


def refused(call: list[str], parser: Parser) -> str | None:
    """Return why invoke would not take a call, or None."""
    if call and call[0].startswith("--"):
        return None  # a flag of invoke itself, such as --list
    try:
        parsed = parser.parse_argv(call)
    except ParseError as error:
        return str(error)
    return None if parsed else "it names no task"


@pytest.fixture(scope="module")
def parser() -> Parser:
    return Parser(contexts=tasks.namespace.to_contexts())


@pytest.mark.parametrize("file", [*GITHUB, *GITLAB], ids=lambda file: file.name)
def test_every_command_of_a_workflow_exists_with_its_flags(file: Path, parser: Parser) -> None:
    calls = [call for script in invocations.scripts(file) for call in invocations.in_script(script)]
    assert calls or file.parent.name == "workflows"
    for call in calls:
        assert refused(call, parser) is None, (call, refused(call, parser))


@pytest.mark.parametrize("page", PAGES, ids=[page.name for page in PAGES])
def test_every_command_of_a_page_exists_with_its_flags(page: Path, parser: Parser) -> None:
    for call in invocations.in_page(page):
        assert refused(call, parser) is None, (call, refused(call, parser))


def test_a_flag_that_no_task_has_would_be_found(parser: Parser) -> None:
    (call,) = invocations.in_script('if x; then .venv/bin/invoke plan --env "$NAME" ${ALL:+--al "$ALL"} > out; fi')
    assert call == ["plan", "--env", "1", "--al", "1"]
    assert refused(call, parser) is not None


def step(name: str) -> str:
    (found,) = [one["run"] for one in invocations.steps(workflow(NIGHTLY)) if one.get("name") == name]
    return str(found)


def play(script: str, folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a step as GitHub does: https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-syntax."""
    programs = folder / ".venv" / "bin"
    programs.mkdir(parents=True, exist_ok=True)
    write_program(programs / "invoke", "import json, sys; print(json.dumps(sys.argv[1:]))")
    write_program(programs / "gh", "import os; print(os.environ['VISIBILITY'])")
    environment = {"PATH": f"{programs}{os.pathsep}{os.environ['PATH']}", **variables}
    return run("bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script, cwd=folder, env=environment)


@pytest.mark.parametrize(
    ("visibility", "agreed", "code", "told"),
    [
        ("private", "", 0, ""),
        ("internal", "", 0, ""),
        ("public", "", 1, "::error::"),
        ("public", "yes", 1, "::error::"),
        ("public", "agreed", 0, "::warning::"),
        ("", "", 1, "::error::"),
    ],
)
def test_results_leave_a_public_repository_only_when_that_was_agreed_to(
    tmp_path: Path, visibility: str, agreed: str, code: int, told: str
) -> None:
    script = step("Refuse a public repository")
    done = play(script, tmp_path, VISIBILITY=visibility, AGREED=agreed, GITHUB_REPOSITORY="acme/shop")
    assert done.returncode == code, done.stderr
    assert done.stdout.startswith(told)
    assert bool(done.stdout) == bool(told)


def test_nothing_is_uploaded_before_the_repository_is_known_to_be_private() -> None:
    jobs = workflow(NIGHTLY)["jobs"]
    first = next(iter(jobs["list"]["steps"]))
    assert first["name"] == "Refuse a public repository"
    for name, job in jobs.items():
        needed = job.get("needs", [])
        assert name == "list" or {"list", "report"} & set([needed] if isinstance(needed, str) else needed), name


def test_a_shard_is_checked_with_the_records_when_there_are_any(tmp_path: Path) -> None:
    script = step("Check this shard")
    bare = play(script, tmp_path, SHARD="1/3", RECORDS="", FULL="")
    assert json.loads(bare.stdout) == ["check", "--all", "--shard", "1/3", "--out", "out", "--github"]
    full = play(script, tmp_path, SHARD="1/3", RECORDS="s3://acme records/nightly", FULL="yes")
    assert json.loads(full.stdout) == [
        *(
            "check",
            "--all",
            "--shard",
            "1/3",
            "--full",
            "--records",
            "s3://acme records/nightly",
            "--out",
            "out",
            "--github",
        )
    ]


@pytest.mark.parametrize("shards", [0, 1, 3])
def test_all_results_are_joined_and_a_missing_one_is_missed(tmp_path: Path, shards: int) -> None:
    for number in range(shards):
        (tmp_path / "results" / f"result-{number}").mkdir(parents=True)
    expected = [word for number in range(shards) for word in ("--result", f"results/result-{number}/")]
    done = play(step("Join the shards"), tmp_path, EXPECT="3")
    call = json.loads(done.stdout)
    assert call == [
        "reports.merge",
        *expected,
        "--out",
        "report",
        "--history",
        "history/history.sqlite",
        "--expect",
        "3",
    ]


def test_gitlab_joins_as_many_shards_as_it_checks_and_refuses_a_public_project(tmp_path: Path) -> None:
    document = workflow(GITLAB[0])
    check, report = document["ci-user-check"], document["ci-user-report"]
    assert int(report["variables"]["SHARDS"]) == check["parallel"]
    for number in (1, 2):
        (tmp_path / "results" / str(number)).mkdir(parents=True)
    joined = play("\n".join(report["script"]), tmp_path, SHARDS="3")
    call = json.loads(joined.stdout)
    assert call[:5] == ["reports.merge", "--result", "results/1/", "--result", "results/2/"]
    project = {"CI_NODE_INDEX": "2", "CI_NODE_TOTAL": "3", "CI_USER_CHECK_ROLE": "r"}
    public = play("\n".join(check["script"]), tmp_path, CI_PROJECT_VISIBILITY="public", **project)
    assert public.returncode == 1
    assert "invoke" not in public.stdout
    private = play("\n".join(check["script"]), tmp_path, CI_PROJECT_VISIBILITY="private", **project)
    assert json.loads(private.stdout) == ["check", "--all", "--shard", "2/3", "--out", "results/2"]


def test_no_job_of_gitlab_runs_but_by_its_schedule_on_the_default_branch() -> None:
    for name, job in workflow(GITLAB[0]).items():
        if name.startswith("."):
            continue
        for rule in job["rules"]:
            assert '$CI_PIPELINE_SOURCE == "schedule"' in rule["if"], name
            assert "$CI_COMMIT_BRANCH == $CI_DEFAULT_BRANCH" in rule["if"], name
        for artifacts in [job["artifacts"]] if "artifacts" in job else []:
            assert artifacts["access"] == "developer"
            assert artifacts["expire_in"]

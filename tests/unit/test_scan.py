"""The gate looks at everything, or says that it could not: nothing half done passes."""

from __future__ import annotations

import copy
import json
import logging
import os
import stat
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ci_user import checkov_run
from ci_user.accepted_finding import AcceptedFinding
from ci_user.checks import ALL, Check
from ci_user.checks.login_profile import NoLoginProfile
from ci_user.errors import ScanError, UsageError
from ci_user.redaction import redact
from ci_user.scan import NEVER_ACCEPTABLE, Scanner, ScanResult
from tests.unit.plans import (
    BOUNDARY,
    CONTEXT,
    DATA,
    GROUP,
    READER,
    SAMPLE,
    USER,
    Document,
    allow,
    change,
    document,
    edited,
    planned,
    policy,
    with_resource,
)

OF_THE_SAMPLE = {"CKV_AWS_286", "CKV_AWS_288", "CKV_AWS_289", "CKV_AWS_290", "CKV_AWS_355"}
STAR = policy(allow("*"))


def scan(content: Document, workdir: Path, **options: Any) -> ScanResult:
    return Scanner().scan(redact(content), CONTEXT, workdir, **options)


def found(result: ScanResult, address: str) -> set[str]:
    return {finding.check for finding in result.findings if finding.resource == address}


@pytest.mark.parametrize("name", ["plan_first", "plan_changed", "plan_replaced"])
def test_the_real_plans_fail_what_is_known_and_nothing_of_the_projects_own(name: str, tmp_path: Path) -> None:
    result = scan(document(name), tmp_path)

    assert found(result, SAMPLE) == OF_THE_SAMPLE
    assert found(result, READER) == set()
    assert found(result, USER) == {"CKV_AWS_273"}
    assert not [finding for finding in result.findings if finding.check.startswith("CIUSER")]
    assert result.resources == (15 if name == "plan_changed" else 13)
    assert result.passed > 50
    assert result.checkov_version.startswith("3.")
    assert {"CIUSER_1", "CIUSER_4", "CIUSER_5", "CIUSER_6", "CIUSER_7", "CKV_AWS_273"} <= set(result.checks_run)
    assert all(finding.fix and finding.message and finding.name for finding in result.findings)


def test_the_result_can_be_kept_as_json(tmp_path: Path) -> None:
    from dataclasses import asdict

    result = scan(document("plan_first"), tmp_path)

    assert json.loads(json.dumps(asdict(result)))["passed"] == result.passed


def test_policies_of_one_name_get_each_its_own_verdict_in_any_order(tmp_path: Path) -> None:
    # checkov keeps its analysis by the resource's name, and these are both called `this`.
    content = document("plan_first")
    swapped = copy.deepcopy(content)
    reader, sample = planned(content, READER)["values"]["policy"], planned(content, SAMPLE)["values"]["policy"]
    for address, text in ((READER, sample), (SAMPLE, reader)):
        planned(swapped, address)["values"]["policy"] = change(swapped, address)["after"]["policy"] = text

    for _ in range(2):
        assert found(scan(content, tmp_path), READER) == set()
        assert found(scan(content, tmp_path), SAMPLE) == OF_THE_SAMPLE
        assert found(scan(swapped, tmp_path), READER) == OF_THE_SAMPLE
        assert found(scan(swapped, tmp_path), SAMPLE) == set()


def test_scans_one_after_the_other_are_independent(tmp_path: Path) -> None:
    first = scan(document("plan_first"), tmp_path)
    bad = scan(edited("plan_first", READER, policy=STAR), tmp_path)

    assert "CIUSER_1" in found(bad, READER)
    assert scan(document("plan_first"), tmp_path) == first


def test_scans_at_once_give_the_same_as_one_by_one(tmp_path: Path) -> None:
    contents = [document("plan_first"), edited("plan_first", READER, policy=STAR)] * 2
    alone = [scan(content, tmp_path) for content in contents]

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda content: scan(content, tmp_path), contents)) == alone


def test_a_destroy_plan_needs_to_say_that_it_is_one(tmp_path: Path) -> None:
    result = scan(document("plan_destroyed"), tmp_path, destroying=True)

    assert (result.findings, result.resources) == ((), 0)
    with pytest.raises(ScanError, match="CI user is 0 times"):
        scan(document("plan_destroyed"), tmp_path)


BAD: dict[str, tuple[Callable[[], Document], str, str]] = {
    "administrator": (lambda: edited("plan_first", READER, policy=STAR), READER, "CIUSER_1"),
    "attached by name": (
        lambda: with_resource(
            document("plan_first"),
            "aws_iam_group_policy_attachment",
            group="scan-fixture.ci",
            policy_arn="arn:aws:iam::aws:policy/AdministratorAccess",
        ),
        "aws_iam_group_policy_attachment.added",
        "CIUSER_1",
    ),
    "access key": (
        lambda: with_resource(document("plan_first"), "aws_iam_access_key", user="scan-fixture.ci"),
        "aws_iam_access_key.added",
        "CIUSER_2",
    ),
    "login profile": (
        lambda: with_resource(document("plan_first"), "aws_iam_user_login_profile", user="scan-fixture.ci"),
        "aws_iam_user_login_profile.added",
        "CIUSER_3",
    ),
    "no boundary": (lambda: edited("plan_first", USER, permissions_boundary=None), USER, "CIUSER_4"),
    "loose boundary": (lambda: edited("plan_first", BOUNDARY, policy=STAR), BOUNDARY, "CIUSER_4"),
    "second user": (
        lambda: with_resource(document("plan_first"), "aws_iam_user", name="other", path="/"),
        "aws_iam_user.added",
        "CIUSER_4",
    ),
    "around the group": (
        lambda: with_resource(document("plan_first"), "aws_iam_user_policy", user="u", policy=policy(allow("s3:*"))),
        "aws_iam_user_policy.added",
        "CIUSER_5",
    ),
    "unknown document": (lambda: unknown_document(), READER, "CIUSER_6"),
    "hidden document": (lambda: hidden_document(), READER, "CIUSER_6"),
    "foreign policy": (
        lambda: with_resource(
            document("plan_first"),
            "aws_iam_group_policy_attachment",
            group="scan-fixture.ci",
            policy_arn="arn:aws:iam::aws:policy/ReadOnlyAccess",
        ),
        "aws_iam_group_policy_attachment.added",
        "CIUSER_7",
    ),
}


def unknown_document() -> Document:
    content = document("plan_first")
    del planned(content, READER)["values"]["policy"]
    del change(content, READER)["after"]["policy"]
    change(content, READER)["after_unknown"]["policy"] = True
    return content


def hidden_document() -> Document:
    content = edited("plan_first", READER, policy=STAR)
    planned(content, READER)["sensitive_values"] = change(content, READER)["after_sensitive"] = {"policy": True}
    return content


@pytest.mark.parametrize("name", BAD)
def test_what_must_not_be_is_found_at_its_address(name: str, tmp_path: Path) -> None:
    make, address, check = BAD[name]

    result = scan(make(), tmp_path)

    assert check in found(result, address)
    (finding,) = [one for one in result.findings if (one.check, one.resource) == (check, address)]
    assert finding.fix


def test_every_own_check_has_an_id_of_its_own_that_an_environment_file_can_name() -> None:
    ids = [check.id for check in ALL]

    assert len(set(ids)) == len(ids) == 11
    AcceptedFinding.model_validate(
        {"check": ids, "resource": USER, "reason": "for this test", "owner": "ops", "expires": "2026-01-01"}
    )


def test_every_check_is_asked_about_every_resource_of_its_types(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, str]] = []

    def recorder(check: Check) -> Callable[..., None]:
        return lambda resource, _plan, _context: asked.append((check.id, resource.address))

    content = BAD["login profile"][0]()
    for check in ALL:
        monkeypatch.setattr(type(check), "evaluate", staticmethod(recorder(check)))
    scan(content, tmp_path)

    assert sorted(asked) == sorted(
        (check.id, entry["address"])
        for check in ALL
        for entry in content["resource_changes"]
        if entry["type"] in check.resource_types
    )


def test_what_rule_8_names_can_never_be_accepted() -> None:
    assert {f"CIUSER_{number}" for number in (1, 2, 3, 4, 6, 8, 10)} == NEVER_ACCEPTABLE


def test_a_secret_that_a_data_source_reads_while_planning_is_found(tmp_path: Path) -> None:
    content = document("plan_changed")
    content["prior_state"]["values"]["root_module"]["resources"] = [
        {
            "address": "data.aws_secretsmanager_secret_version.x",
            "mode": "data",
            "type": "aws_secretsmanager_secret_version",
            "name": "x",
            "values": {"secret_string": "s"},
            "sensitive_values": {"secret_string": True},
        }
    ]

    assert found(scan(content, tmp_path), "data.aws_secretsmanager_secret_version.x") == {"CIUSER_2"}


def test_a_policy_that_checkov_cannot_analyse_fails_instead_of_passing_as_unknown(tmp_path: Path) -> None:
    result = scan(edited("plan_first", READER, policy='{"Statement": [["nested"]]}'), tmp_path)

    assert {"CKV_AWS_286", "CKV_AWS_288", "CIUSER_6"} <= found(result, READER)
    assert "could not decide" in next(one.message for one in result.findings if one.check == "CKV_AWS_286")


def test_a_comment_in_a_value_skips_no_check(tmp_path: Path) -> None:
    note = "#checkov:skip=CKV_AWS_273:no\n# checkov:skip=CKV_AWS_355"
    content = edited("plan_first", USER, tags={"note": note, "checkov:skip=CKV_AWS_273": "x"})
    planned(content, SAMPLE)["values"]["description"] = note

    assert scan(content, tmp_path).findings == scan(document("plan_first"), tmp_path).findings


HOSTILE = "\x00\x07\x1b[31m\x7f\x85\x9f\u2028\ufeff\ufffe\ud800 \U0001f600 : - & * ! <<: ${file(x.yml)}"


def test_characters_that_yaml_refuses_do_no_harm(tmp_path: Path) -> None:
    content = edited("plan_first", USER, tags={"note": HOSTILE, "=": "~", "<<": "null", "k": "2001-01-01"})

    assert scan(content, tmp_path).findings == scan(document("plan_first"), tmp_path).findings


def test_a_file_that_checkov_would_include_stops_the_scan(tmp_path: Path) -> None:
    (tmp_path / "x.yml").write_text("[]")
    content = edited("plan_first", USER, tags={"list": ["${file(x.yml)}"]})

    with pytest.raises(ScanError, match="file"):
        scan(content, tmp_path)


@pytest.mark.parametrize(
    "change_it",
    [
        lambda content: content.clear(),
        lambda content: content.pop("planned_values"),
        lambda content: content.pop("terraform_version"),
        lambda content: content.update(format_version="2.0"),
        lambda content: content.update(errored=True),
        lambda content: content.update(complete=False),
        lambda content: content["resource_changes"].pop(),
        lambda content: content.update(resource_changes=[]),
        lambda content: content["planned_values"]["root_module"]["child_modules"].pop(),
        lambda content: planned(content, USER)["values"].update(name="other.ci"),
        lambda content: planned(content, GROUP)["values"].update(name="other.ci"),
        lambda content: planned(content, BOUNDARY)["values"].update(name="other.boundary"),
    ],
)
def test_what_is_not_the_whole_plan_of_this_environment_stops_the_scan(
    change_it: Callable[[Document], object], tmp_path: Path
) -> None:
    content = document("plan_first")
    change_it(content)

    with pytest.raises(ScanError) as stopped:
        scan(content, tmp_path)
    assert stopped.value.do
    assert list(tmp_path.iterdir()) == []


def test_the_plan_lies_there_privately_and_only_while_it_is_scanned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[str, int]] = []
    original = checkov_run.run

    def watched(file: Path, managed: frozenset[str], data: frozenset[str]) -> checkov_run.CheckovReport:
        seen.append((file.suffix, stat.S_IMODE(file.stat().st_mode)))
        return original(file, managed, data)

    monkeypatch.setattr(checkov_run, "run", watched)
    scan(document("plan_first"), tmp_path)

    assert seen == [(".json", 0o600)]
    assert list(tmp_path.iterdir()) == []


def test_a_directory_that_cannot_be_written_stops_the_scan(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(UsageError):
        scan(document("plan_first"), tmp_path / "file")


ADDRESSES = frozenset(
    entry["address"] for entry in document("plan_first")["resource_changes"] if entry["mode"] == "managed"
)


def written(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


WHOLE = (DATA / "plan_first.json").read_text().strip()

BROKEN = {
    "empty": ("a.json", ""),
    "brace": ("a.json", "{"),
    "half": ("a.json", WHOLE[: len(WHOLE) // 2]),
    "last character": ("a.json", WHOLE[:-1]),
    "list": ("a.json", "[]"),
    "no version": ("a.json", '{"planned_values": {}}'),
    "no resources": ("a.json", '{"terraform_version": "1.11.4", "planned_values": {"root_module": {}}}'),
    "no plan": ("a.json", '{"checkov": "no plan"}'),
    "a key misspelt": ("a.json", WHOLE.replace('"planned_values"', '"planned_valves"', 1)),
    "another ending": ("a.plan", WHOLE),
    "another language": ("a.tf", 'resource "aws_iam_user" "u" {}'),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_file_that_gives_an_empty_report_stops_the_scan(case: str, tmp_path: Path) -> None:
    name, text = BROKEN[case]

    with pytest.raises(ScanError):
        checkov_run.run(written(tmp_path / name, text), ADDRESSES, frozenset())


def test_a_missing_file_stops_the_scan(tmp_path: Path) -> None:
    with pytest.raises(ScanError, match="cannot be read"):
        checkov_run.run(tmp_path / "none.json", ADDRESSES, frozenset())


@pytest.mark.parametrize("wrong", [ADDRESSES - {USER}, ADDRESSES | {"aws_iam_user.more"}, frozenset()])
def test_another_number_of_resources_stops_the_scan(wrong: frozenset[str], tmp_path: Path) -> None:
    file = written(tmp_path / "a.json", json.dumps(redact(document("plan_first"))))

    checkov_run.run(file, ADDRESSES, frozenset())
    with pytest.raises(ScanError, match="resources"):
        checkov_run.run(file, wrong, frozenset())
    with pytest.raises(ScanError, match="each resource"):
        checkov_run.run(file, ADDRESSES, frozenset({"data.aws_iam_policy.x"}))


def explode(*_arguments: object, **_options: object) -> None:
    raise ZeroDivisionError


def test_a_check_of_checkov_that_crashes_stops_the_scan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkov_run.load()
    from checkov.terraform.checks.resource.registry import resource_registry

    check = resource_registry.get_check_by_id("CKV_AWS_273")
    monkeypatch.setattr(check, "scan_resource_conf", explode)

    with pytest.raises(ScanError, match=r"CKV_AWS_273 crashed on module\.ci_user\.aws_iam_user\.this"):
        scan(document("plan_first"), tmp_path)


def test_a_check_on_the_graph_that_crashes_stops_the_scan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkov_run.load()
    from checkov.common.checks_infra.registry import get_graph_checks_registry

    check = next(one for one in get_graph_checks_registry("terraform").checks if one.id == "CKV2_AWS_40")
    monkeypatch.setattr(check, "run", explode)

    with pytest.raises(ScanError, match="CKV2_AWS_40"):
        scan(document("plan_first"), tmp_path)


def test_checkov_stopping_half_way_stops_the_scan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkov_run.load()
    from checkov.terraform.plan_runner import Runner

    monkeypatch.setattr(Runner, "check_tf_definition", explode)

    with pytest.raises(ScanError, match="ZeroDivisionError"):
        scan(document("plan_first"), tmp_path)


def test_a_registry_that_was_not_asked_stops_the_scan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkov_run.load()
    from checkov.terraform.plan_runner import Runner

    monkeypatch.setattr(Runner, "check_tf_definition", lambda *_arguments, **_options: None)

    with pytest.raises(ScanError, match="each resource"):
        scan(document("plan_first"), tmp_path)


def test_an_own_check_that_crashes_stops_the_scan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(NoLoginProfile, "evaluate", explode)

    with pytest.raises(ScanError, match="CIUSER_3 crashed"):
        scan(BAD["login profile"][0](), tmp_path)


def test_findings_cannot_steer_the_terminal(tmp_path: Path) -> None:
    content = edited("plan_first", USER, permissions_boundary="\x1b[2J\nforged")

    (finding,) = [one for one in scan(content, tmp_path).findings if one.check == "CIUSER_4"]
    assert "\\x1b[2J\\nforged" in finding.message


def test_scanning_after_preloading_works(tmp_path: Path) -> None:
    scanner = Scanner()
    scanner.preload()

    assert scanner.scan(redact(document("plan_first")), CONTEXT, tmp_path).resources == 13


@pytest.fixture
def root_logger() -> Iterator[logging.Logger]:
    logger = logging.getLogger()
    before = logger.level, list(logger.handlers), list(logger.filters)
    yield logger
    logger.setLevel(before[0])
    logger.handlers, logger.filters = before[1], before[2]


def test_the_root_logger_is_left_alone_and_sees_nothing_of_checkov(
    tmp_path: Path, root_logger: logging.Logger, monkeypatch: pytest.MonkeyPatch
) -> None:
    records: list[logging.LogRecord] = []
    handler = logging.Handler(logging.DEBUG)
    monkeypatch.setattr(handler, "emit", records.append)
    root_logger.addHandler(handler)
    root_logger.setLevel(logging.DEBUG)
    handlers, filters = list(root_logger.handlers), list(root_logger.filters)

    scan(document("plan_first"), tmp_path)

    assert (root_logger.handlers, root_logger.filters, root_logger.level) == (handlers, filters, logging.DEBUG)
    assert [record for record in records if "checkov" in record.pathname] == []


PROGRAM = textwrap.dedent(
    """
    import json, logging, os, socket, sys
    from dataclasses import asdict
    from pathlib import Path

    def refuse(*arguments, **options):
        raise AssertionError("the network was used")

    socket.socket.connect = socket.getaddrinfo = socket.create_connection = refuse
    streams, environ = (sys.stdout, sys.stderr), dict(os.environ)

    from ci_user.redaction import redact
    from ci_user.scan import Scanner
    from tests.unit.plans import CONTEXT, document

    assert not [name for name in sys.modules if name.split(".")[0] in ("checkov", "boto3")], "imported too early"
    scanner = Scanner()
    scanner.preload()
    result = scanner.scan(redact(document("plan_first")), CONTEXT, Path(sys.argv[1]))
    assert (sys.stdout, sys.stderr) == streams
    assert dict(os.environ) == environ
    assert logging.getLogger().handlers == []
    logging.getLogger("checkov.anything").error("not to be seen")
    Path(sys.argv[2]).write_text(json.dumps(asdict(result), sort_keys=True))
    """
)

SETTINGS = {
    "BC_API_KEY": "x",
    "CHECKOV_CHECK_FAIL_LEVEL": "OFF",
    "CHECKOV_GRAPH_FRAMEWORK": "NETWORKX",
    "CHECKOV_MAX_IAC_FILE_SIZE": "nonsense",
    "CHECKOV_SKIP_CHECK": "CKV_AWS_273",
    "CKV_CHECK": "CKV_AWS_1",
    "CKV_FRAMEWORK": "kubernetes",
    "CKV_IGNORED_DIRECTORIES": "/",
    "CKV_IGNORE_HIDDEN_DIRECTORIES": "nonsense",
    "CKV_SKIP_CHECK": "CKV_AWS_273",
    "CKV_SUPPORT_ALL_RESOURCE_TYPE": "true",
    "CREATE_EDGES": "false",
    "EVAL_TF_PLAN_AFTER_UNKNOWN": "true",
    "LOG_LEVEL": "DEBUG",
    "MAX_WILDCARD_ARR_SIZE": "nonsense",
    "PRISMA_API_URL": "https://example.invalid",
    "RAW_TF_IN_GRAPH": "true",
    "RENDER_ASYNC_MAX_WORKERS": "nonsense",
    "REQUEST_MAX_TRIES": "nonsense",
}


def in_a_new_process(directory: Path, settings: dict[str, str]) -> tuple[dict[str, Any], str]:
    directory.mkdir()
    for place in (directory, directory / "home"):
        place.mkdir(exist_ok=True)
        (place / ".checkov.yaml").write_text("skip-check: [CKV_AWS_273]\ncheck: [CKV_AWS_1]\nquiet: true\n")
    out = directory / "result.json"
    work = directory / "work"
    work.mkdir()
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(work), str(out)],
        cwd=directory,
        env={"HOME": str(directory / "home"), "PATH": os.environ["PATH"], "PYTHONPATH": str(root), **settings},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    result: dict[str, Any] = json.loads(out.read_text())
    return result, done.stdout + done.stderr


def test_no_setting_of_checkov_reaches_the_scan_and_nothing_is_printed(tmp_path: Path) -> None:
    clean, quiet = in_a_new_process(tmp_path / "clean", {})
    tainted, still_quiet = in_a_new_process(tmp_path / "tainted", SETTINGS)

    assert tainted == clean
    assert [finding["check"] for finding in clean["findings"] if finding["resource"] == USER] == ["CKV_AWS_273"]
    assert (quiet, still_quiet) == ("", "")


def test_a_role_boundary_from_elsewhere_is_found(tmp_path: Path) -> None:
    context = replace(CONTEXT, role_boundary_document=policy(allow("s3:*")))

    result = Scanner().scan(redact(document("plan_first")), context, tmp_path)

    assert "CIUSER_4" in found(result, "module.ci_user.aws_iam_policy.role_boundary")


def test_documents_of_another_attribute_are_told_apart_too(tmp_path: Path) -> None:
    kind = "aws_ssoadmin_permission_set_inline_policy"
    content = document("plan_first")
    for label, text in (("harmless", policy(allow("s3:ListBucket", "arn:aws:s3:::b"))), ("star", STAR)):
        content = with_resource(content, kind, label, inline_policy=text)

    result = scan(content, tmp_path)

    assert found(result, f"{kind}.harmless") == set()
    assert "CKV_AWS_286" in found(result, f"{kind}.star")

"""An approved plan is applied only while everything that was approved still holds."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ci_user.approval import Subject, code_digest, open_bundle, write_bundle
from ci_user.errors import ApprovalError, UsageError

SUBJECT = Subject(
    environment="production",
    account_id="222222222222",
    backends=["aws-secrets-manager:x"],
    tfvars="t" * 64,
    code="c" * 64,
    accepted="a" * 64,
    state=["lineage", 7],
    terraform="1.11.4",
)


@pytest.fixture
def bundle(tmp_path: Path) -> tuple[Path, str]:
    plan = tmp_path / "made.tfplan"
    plan.write_bytes(b"the plan")
    directory = tmp_path / "bundle"
    return directory, write_bundle(directory, plan, SUBJECT, {"failed": []})


def test_an_unchanged_bundle_opens_as_a_private_copy(bundle: tuple[Path, str], tmp_path: Path) -> None:
    directory, digest = bundle
    opened = open_bundle(directory, digest, SUBJECT, tmp_path)
    assert opened.read_bytes() == b"the plan"
    assert opened.stat().st_mode & 0o777 == 0o600
    assert opened.parent != directory


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"environment": "testing"}, "environment is another"),
        ({"account_id": "111111111111"}, "account is another"),
        ({"backends": ["dotenv:y"]}, "somewhere else"),
        ({"tfvars": "x" * 64}, "environment file or a policy"),
        ({"code": "x" * 64}, "provider lock"),
        ({"accepted": "x" * 64}, "accepted findings"),
        ({"state": ["lineage", 8]}, "state has moved on"),
        ({"state": None}, "state has moved on"),
        ({"terraform": "1.12.0"}, "version of Terraform"),
    ],
)
def test_each_thing_that_was_approved_is_compared(
    bundle: tuple[Path, str], tmp_path: Path, change: dict[str, Any], told: str
) -> None:
    directory, digest = bundle
    with pytest.raises(ApprovalError, match=told):
        open_bundle(directory, digest, replace(SUBJECT, **change), tmp_path)


def test_another_plan_file_is_refused(bundle: tuple[Path, str], tmp_path: Path) -> None:
    directory, digest = bundle
    (directory / "plan.tfplan").write_bytes(b"another plan")
    with pytest.raises(ApprovalError, match="plan file is not the one"):
        open_bundle(directory, digest, SUBJECT, tmp_path)


@pytest.mark.parametrize("digest", ["", "0" * 64, "no digest", "A" * 10_000])
def test_another_digest_is_refused(bundle: tuple[Path, str], tmp_path: Path, digest: str) -> None:
    with pytest.raises(ApprovalError, match="has the digest"):
        open_bundle(bundle[0], digest, SUBJECT, tmp_path)


def test_a_manifest_that_was_edited_no_longer_has_the_digest(bundle: tuple[Path, str], tmp_path: Path) -> None:
    directory, digest = bundle
    manifest = json.loads((directory / "manifest.json").read_text())
    manifest["account_id"] = "111111111111"
    (directory / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ApprovalError, match="has the digest"):
        open_bundle(directory, digest, replace(SUBJECT, account_id="111111111111"), tmp_path)


@pytest.mark.parametrize("missing", ["manifest.json", "plan.tfplan"])
def test_an_incomplete_bundle_is_a_clear_error(bundle: tuple[Path, str], tmp_path: Path, missing: str) -> None:
    directory, digest = bundle
    (directory / missing).unlink()
    with pytest.raises(ApprovalError, match=missing):
        open_bundle(directory, digest, SUBJECT, tmp_path)


def test_a_bundle_never_overwrites_what_is_there(bundle: tuple[Path, str], tmp_path: Path) -> None:
    directory, _ = bundle
    before = {path.name: path.read_bytes() for path in directory.iterdir()}
    with pytest.raises(UsageError, match="not an empty directory"):
        write_bundle(directory, tmp_path / "made.tfplan", SUBJECT, {})
    assert {path.name: path.read_bytes() for path in directory.iterdir()} == before


def test_the_code_digest_follows_modules_policies_and_lock_but_not_data_directories(tmp_path: Path) -> None:
    for name in ("main.tf", "policies/sample.json", ".terraform.lock.hcl", ".terraform/providers/x"):
        path = tmp_path / "terraform" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("1")
    before = code_digest(tmp_path)
    (tmp_path / "terraform" / ".terraform" / "providers" / "x").write_text("2")
    assert code_digest(tmp_path) == before
    for name in ("main.tf", "policies/sample.json", ".terraform.lock.hcl"):
        (tmp_path / "terraform" / name).write_text("2")
        assert code_digest(tmp_path) != before
        before = code_digest(tmp_path)

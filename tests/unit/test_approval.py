"""An approved plan is applied only while everything that was approved still holds."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from ci_user.approval import Subject, code_digest, open_bundle, subject, write_bundle
from ci_user.errors import ApprovalError, UsageError

TODAY = date(2026, 11, 24)
UUID = "11111111-1111-1111-1111-111111111111"
SUBJECT = Subject(
    environment="production",
    account_id="222222222222",
    backends=["aws-secrets-manager:x"],
    keys=None,
    file="f" * 64,
    tfvars="t" * 64,
    code="c" * 64,
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
        ({"keys": "an access key is made"}, "happen to the keys"),
        ({"file": "x" * 64}, "environment file has changed"),
        ({"tfvars": "x" * 64}, "a policy or a boundary"),
        ({"code": "x" * 64}, "provider lock"),
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


@pytest.mark.parametrize("digest", ["", "0" * 64, "no digest", "A" * 10_000, "ä"])
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


@pytest.mark.parametrize("content", [b"[]", b"no JSON", b"\xff", b"null"])
def test_a_manifest_that_is_none_is_a_clear_error(bundle: tuple[Path, str], tmp_path: Path, content: bytes) -> None:
    directory, _ = bundle
    (directory / "manifest.json").write_bytes(content)
    with pytest.raises(ApprovalError, match="none that this tool writes"):
        open_bundle(directory, hashlib.sha256(content).hexdigest(), SUBJECT, tmp_path)


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


@pytest.mark.parametrize(
    "change",
    [
        {"endpoint_url": "https://elsewhere.example"},
        {"access": {"role": {"arn": "arn:aws:iam::111111111111:role/another"}}},
        {"state": {"bucket": "another-bucket"}},
        {"state": {"bucket": "shop-state", "kms_key": f"arn:aws:kms:eu-west-1:111111111111:key/{UUID}"}},
        {"secrets": [{"backend": "aws-secrets-manager", "name": "n", "access": {"profile": "another"}}]},
        {"secrets": [{"backend": "aws-secrets-manager", "name": "n", "recovery_days": 30}]},
    ],
)
def test_whatever_the_environment_file_says_is_part_of_what_is_approved(tmp_path: Path, change: dict[str, Any]) -> None:
    from ci_user.environment import Environment

    (tmp_path / "terraform").mkdir()
    base: dict[str, Any] = {
        "version": 1,
        "application": "shop",
        "account_id": "111111111111",
        "region": "eu-west-1",
        "policies": ["sample"],
        "state": {"bucket": "shop-state"},
        "secrets": [{"backend": "aws-secrets-manager", "name": "n"}],
    }

    def about(content: dict[str, Any]) -> Subject:
        values = {**content, "name": "testing", "root": tmp_path}
        environment = Environment.model_validate(values, context={"today": TODAY, "root": tmp_path})
        return subject(environment, tmp_path, keys=None, tfvars="", state=None, terraform="")

    assert about(base) == about(base)
    assert about({**base, **change}) != about(base)

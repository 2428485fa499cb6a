from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml

from ci_user.known_drift import KnownDrift
from ci_user.nightly import record_trust
from ci_user.nightly.codes import Code
from tests import nightly_page

ROOT = Path(__file__).resolve().parents[3]
TEXT = nightly_page.FILE.read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^ *```{language}\n(.*?)^ *```", TEXT, flags=re.DOTALL | re.MULTILINE)


def test_the_page_says_what_the_code_says() -> None:
    assert nightly_page.page(TEXT) == TEXT, "run `python -m tests.nightly_page`"


@pytest.mark.parametrize("code", nightly_page.every_code(), ids=lambda code: code.id)
def test_everything_that_can_be_found_has_a_runbook(code: Code) -> None:
    headings = re.findall(r"^## (.+)$", (ROOT / "docs" / "runbooks.md").read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert code.runbook in headings


def test_each_id_means_one_thing() -> None:
    ids = [code.id for code in nightly_page.every_code()]
    assert len(ids) == len(set(ids)) > 0


def test_the_bucket_policy_of_the_page_is_trusted_from_the_nightly_role_and_from_no_other() -> None:
    (policy,) = [block for block in blocks("json") if "PrincipalArn" in block]
    session = "arn:aws:sts::111111111111:assumed-role/{}/session"
    assert record_trust.judge(policy, nightly_page.LOCATION, session.format("ci-user-nightly")) is None
    assert record_trust.judge(policy, nightly_page.LOCATION, session.format("ci-user-deployer")) is not None
    assert nightly_page.LOCATION.address.removesuffix("/records.json") in TEXT


def test_the_nightly_role_may_write_the_records_and_nothing_else_in_the_bucket() -> None:
    (policy,) = [block for block in blocks("json") if "s3:GetBucketPolicy" in block]
    allowed = {tuple(one["Action"]): one["Resource"] for one in json.loads(policy)["Statement"]}
    bucket, key = nightly_page.LOCATION.bucket, nightly_page.LOCATION.key
    assert allowed[("s3:GetObject", "s3:PutObject")] == f"arn:aws:s3:::{bucket}/{key}"


def test_every_trust_policy_names_who_is_let_in() -> None:
    conditions = [json.loads(block) for block in blocks("json") if ":sub" in block]
    assert len(conditions) == 2
    for found in conditions:
        equals = found["Statement"][0]["Condition"]["StringEquals"] if "Statement" in found else found["StringEquals"]
        assert {key.rpartition(":")[2] for key in equals} == {"aud", "sub"}
        assert not any("*" in value for value in equals.values())


def test_the_known_drift_of_the_page_is_valid() -> None:
    (block,) = [block for block in blocks("yaml") if "known_drift" in block]
    for entry in yaml.safe_load(block)["known_drift"]:
        KnownDrift.model_validate(entry)

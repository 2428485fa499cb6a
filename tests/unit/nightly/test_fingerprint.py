"""Everything that a plan depends on changes the digest, and nothing else does."""

from __future__ import annotations

import dataclasses
import datetime as dt
import os
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from ci_user.environment import Environment
from ci_user.errors import PolicyError
from ci_user.nightly import fingerprint as module
from ci_user.nightly.fingerprint import fingerprint, of_versions
from ci_user.run import Loaded
from ci_user.toolchain import Toolchain
from tests.unit.nightly.identities import ACCOUNT, environment

ROLE = {"role": {"arn": f"arn:aws:iam::{ACCOUNT}:role/nightly"}}
KNOWN = {"reason": "the account tags it", "owner": "platform", "expires": "2027-01-31"}
# One other value for each field of an environment file.
OTHER: dict[str, Any] = {
    "name": "staging",
    "application": "store",
    "partition": {"partition": "aws-cn", "region": "cn-north-1"},
    "account_id": "222222222222",
    "region": "eu-central-1",
    "sandbox": True,
    "protected": True,
    "endpoint_url": "https://aws.example.com",
    "access": ROLE,
    "check_access": ROLE,
    "policies": ["serverless"],
    "state": {"bucket": "states", "key": "elsewhere/terraform.tfstate"},
    "secrets": [{"backend": "aws-secrets-manager", "name": "ci/other"}],
    "tags": {"team": "shop"},
    "lock": {"ttl": "5m"},
    "verification": {"successes": 2},
    "rotation": {"grace": "25h"},
    "audit": {"bucket": True},
    "timeout": "16m",
    "accepted_findings": [{"check": "CKV_AWS_1", "resource": "module.a.b", **KNOWN}],
    "known_drift": [{"resource": "module.ci_user.aws_iam_user.this", "attributes": ["tags"], **KNOWN}],
}
PARTS: dict[str, Any] = {"versions": "v", "state": "s", "facts": "f"}
TOOLCHAIN = Toolchain(Path("terraform"), "1.11.4", "PATH", "5.100.0", "mirror", None, dev_overrides=False)


def loaded(root: Path = Path(), *siblings: Environment, **changes: Any) -> Loaded:
    own = environment(**changes)
    return Loaded(root, own, {one.name: one for one in (own, *siblings)})


def digest(of: Loaded, **parts: Any) -> str:
    return fingerprint(of, **PARTS | parts)


def test_there_is_another_value_for_every_field_of_an_environment_file() -> None:
    assert OTHER.keys() == Environment.model_fields.keys() - {"root", "version"}


@pytest.mark.parametrize("name", OTHER)
def test_every_field_of_the_environment_changes_it(name: str) -> None:
    value = OTHER[name]
    changes = value if name == "partition" else {name: value}
    assert digest(loaded(**changes)) != digest(loaded())


@pytest.mark.parametrize(
    "parts",
    [
        {"versions": "w"},
        {"state": "t"},
        {"state": None},
        {"facts": "g"},
        {"inline_policy_names": ("ci-user-revoked",)},
        # What stands in one place is not taken for the same text in another.
        {"state": "f", "facts": "s"},
    ],
)
def test_versions_state_facts_and_a_revocations_deny_change_it(parts: dict[str, Any]) -> None:
    assert digest(loaded(), **parts) != digest(loaded())


SIBLING: dict[str, Any] = {
    "name": "staging",
    "state": {"bucket": "states"},
    "secrets": [{"backend": "aws-secrets-manager", "name": "ci/staging"}],
}


@pytest.mark.parametrize(
    "change",
    [
        {"state": {"bucket": "other-states"}},
        {
            "state": {
                "bucket": "states",
                "kms_key": f"arn:aws:kms:eu-west-1:{ACCOUNT}:key/{'0' * 8}-1111-2222-3333-{'4' * 12}",
            }
        },
        {"secrets": [{"backend": "aws-secrets-manager", "name": "ci/moved"}]},
        {"secrets": [{"backend": "aws-ssm", "name": "/ci/staging"}]},
        {"application": "store"},
    ],
)
def test_what_a_sibling_has_that_is_guarded_changes_it(change: dict[str, Any]) -> None:
    alone, before = loaded(), loaded(Path(), environment(**SIBLING))
    after = loaded(Path(), environment(**SIBLING | change))
    assert len({digest(alone), digest(before), digest(after)}) == 3


def test_what_a_sibling_keeps_to_itself_does_not_change_it() -> None:
    before = digest(loaded(Path(), environment(**SIBLING)))
    assert digest(loaded(Path(), environment(**SIBLING, tags={"a": "b"}, policies=["serverless"]))) == before


def test_neither_the_order_of_siblings_nor_where_the_repository_lies_changes_it(tmp_path: Path) -> None:
    siblings = [environment(**SIBLING | {"name": f"s{n}", "application": f"a{n}"}) for n in range(3)]
    before = digest(loaded(Path(), *siblings))
    for order in ((2, 0, 1), (1, 2, 0), (2, 1, 0)):
        assert digest(loaded(tmp_path, *(siblings[n] for n in order))) == before
    other = loaded(Path(), *siblings)
    every = {name: other.every[name] for name in reversed(list(other.every))}
    assert digest(dataclasses.replace(other, every=every)) == before


@pytest.mark.parametrize("folder", ["", "environments/"])
@pytest.mark.parametrize("kind", ["file", "directory"])
def test_the_bytes_of_its_own_policies_change_it_wherever_they_lie(tmp_path: Path, folder: str, kind: str) -> None:
    own = tmp_path / folder / "own"
    own.mkdir(parents=True)
    policy = own / "extra.json"
    policy.write_text("{}")
    of = loaded(tmp_path, policies=[{"file": "own/extra.json"} if kind == "file" else {"directory": "own"}])
    seen = [digest(of)]
    policy.write_text("{ }")
    seen.append(digest(of))
    policy.rename(own / "later.json")
    seen.append(digest(of))
    assert len(set(seen)) == 3
    (own / "later.json").rename(policy)
    os.utime(policy, (0, 0))
    assert digest(of) == seen[1]
    (own / "README.md").write_text("not a policy")
    assert digest(of) == seen[1]


def test_a_file_that_comes_into_a_directory_of_policies_changes_it(tmp_path: Path) -> None:
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "a.json").write_text("{}")
    of = loaded(tmp_path, policies=[{"directory": "own"}])
    before = digest(of)
    (tmp_path / "own" / "b.json").write_text("{}")
    assert digest(of) != before


def test_a_policy_file_that_leads_out_of_the_repository_is_left_to_the_plan_to_tell(tmp_path: Path) -> None:
    root = tmp_path / "repository"
    root.mkdir()
    of = loaded(root, policies=[{"file": "own.json"}])
    (root / "own.json").symlink_to(tmp_path)
    assert digest(of) == digest(of)
    with pytest.raises(PolicyError, match="cannot be followed"):
        _ = of.choice


@pytest.mark.parametrize(
    "change", [{"version": "1.12.0"}, {"provider_version": "6.0.0"}, {"dev_overrides": True}], ids=str
)
def test_another_terraform_or_provider_changes_it(change: dict[str, Any]) -> None:
    assert of_versions("code", dataclasses.replace(TOOLCHAIN, **change)) != of_versions("code", TOOLCHAIN)


def test_other_code_changes_it_and_where_terraform_lies_does_not() -> None:
    assert of_versions("other", TOOLCHAIN) != of_versions("code", TOOLCHAIN)
    elsewhere = dataclasses.replace(
        TOOLCHAIN, terraform=Path("bin/terraform"), terraform_source="download", cli_config=Path("rc")
    )
    assert of_versions("code", elsewhere) == of_versions("code", TOOLCHAIN)


@pytest.mark.parametrize("package", ["checkov", "cloudsplaining", "policy-sentry", "python-terraform", "botocore"])
def test_another_version_of_a_package_that_judges_changes_it(monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    before = of_versions("code", TOOLCHAIN)
    monkeypatch.setattr(module, "version", lambda name: "0" if name == package else version(name))
    monkeypatch.setattr(module, "judges", module.judges.__wrapped__)
    assert of_versions("code", TOOLCHAIN) != before


def test_another_catalogue_of_actions_changes_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    before = of_versions("code", TOOLCHAIN)
    (tmp_path / "catalogue.bin").write_bytes(b"newer")
    monkeypatch.setattr(module, "_DATA", tmp_path)
    monkeypatch.setattr(module, "judges", module.judges.__wrapped__)
    assert of_versions("code", TOOLCHAIN) != before


def test_the_day_does_not_change_it() -> None:
    first = environment()
    later = Environment.model_validate(
        {**first.model_dump(mode="json"), "version": 1}, context={"today": dt.date(2027, 3, 1), "root": Path()}
    )
    assert digest(Loaded(Path(), later, {later.name: later})) == digest(loaded())

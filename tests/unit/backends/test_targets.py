"""A place that the environment file no longer names is opened again from the line in the journal, or not at all."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from pydantic import ValidationError

from ci_user.backends import names, open_backend, settings_model, settings_of
from ci_user.backends.key_names import DocumentNames
from ci_user.backends.protocol import BackendSettings
from tests.contract.place import Names

NAMES = Names(account_id="111111111111", sandbox=False)
KEY_ARN = "arn:aws:kms:eu-west-1:111111111111:key/11111111-2222-3333-4444-555555555555"


class NoAccess:
    account_id = "111111111111"
    region = "eu-west-1"
    partition = "aws"

    def client(self, service: str, region: str | None = None, *, attempts: int = 4) -> Any:
        raise AssertionError("nothing may be contacted")


PLACES = {"aws": ("eu-west-1", "us-east-1"), "aws-us-gov": ("us-gov-west-1",), "aws-cn": ("cn-north-1",)}
ACCOUNTS = st.from_regex(r"[0-9]{12}", fullmatch=True)
WORDS = st.from_regex(r"[A-Za-z0-9/_+=.@-]{1,40}", fullmatch=True)
PARAMETERS = st.from_regex(r"(/[A-Za-z0-9_.-]{1,9}){1,4}", fullmatch=True)
# ":" and the backends' names are what a target is made of, so they are what may confuse the way back.
PATHS = st.lists(st.sampled_from([*"ab/.: -é", "dotenv:", "aws-ssm:"]), min_size=1, max_size=12).map("".join)


@st.composite
def environments(draw: st.DrawFn) -> Names:
    partition = draw(st.sampled_from(sorted(PLACES)))
    region = draw(st.sampled_from(PLACES[partition]))
    return Names(account_id=draw(ACCOUNTS), region=region, partition=partition, sandbox=draw(st.booleans()))


@st.composite
def places(draw: st.DrawFn) -> tuple[BackendSettings, Names]:
    environment = draw(environments())
    backend = draw(st.sampled_from(("aws-secrets-manager", "aws-ssm", "dotenv")))
    values: dict[str, Any] = {"backend": backend}
    if backend == "dotenv":
        values["path"] = draw(PATHS)
    else:
        values["name"] = draw(WORDS if backend == "aws-secrets-manager" else PARAMETERS)
        values["region"] = draw(st.none() | st.sampled_from(PLACES[environment.partition]))
        values["account_id"] = draw(st.none() | ACCOUNTS)
    try:
        return settings_model(backend).model_validate(values), environment
    except ValidationError:
        assume(False)
        raise


@given(places())
def test_the_way_back_leads_to_the_same_place(place: tuple[BackendSettings, Names]) -> None:
    settings, environment = place
    target = settings.target(environment)
    found = settings_of(target, environment)
    assert found is not None
    assert type(found) is type(settings)
    assert found.target(environment) == target
    assert found.guarded_arns(environment) == settings.guarded_arns(environment)
    assert type(settings).from_target(target, environment) == found


JUNK = st.text(max_size=60) | st.builds(
    ":".join, st.lists(st.sampled_from([*names(), "111111111111", "eu-west-1", "/a", "a", "", "..", " "]), max_size=6)
)


@given(JUNK, environments())
def test_junk_is_never_an_error_and_what_is_opened_is_what_was_said(junk: str, environment: Names) -> None:
    found = settings_of(junk, environment)
    assert found is None or found.target(environment) == junk
    for name in names():
        one = settings_model(name).from_target(junk, environment)
        assert one is None or (one.backend == name and one.target(environment) == junk)


@given(places(), st.data())
def test_a_line_with_something_changed_is_another_place_or_none(
    place: tuple[BackendSettings, Names], data: st.DataObject
) -> None:
    target = place[0].target(place[1])
    at = data.draw(st.integers(0, len(target)))
    changed = target[:at] + data.draw(st.sampled_from([":", "\n", " ", "\x00", "*", "x", "/", "\ud800"])) + target[at:]
    found = settings_of(changed, place[1])
    assert found is None or found.target(place[1]) == changed != target


@pytest.mark.parametrize(
    "target",
    [
        "",
        ":",
        "memory:test",
        "vault:x",
        "aws-secrets-manager",
        "aws-secrets-manager:111111111111:eu-west-1",
        "aws-secrets-manager:111111111111:eu-west-1:",
        "aws-secrets-manager:111111111111::ci/key",
        "aws-secrets-manager::eu-west-1:ci/key",
        "aws-secrets-manager:11111111111:eu-west-1:ci/key",
        "aws-secrets-manager:111111111111:nowhere:ci/key",
        "aws-secrets-manager:111111111111:cn-north-1:ci/key",
        "aws-secrets-manager:111111111111:eu-west-1:ci/key:more",
        "aws-secrets-manager:111111111111:eu-west-1:ci/key\n",
        "aws-secrets-manager:111111111111:eu-west-1:shop-abc123",
        " aws-secrets-manager:111111111111:eu-west-1:ci/key",
        "AWS-SSM:111111111111:eu-west-1:/ci/key",
        "aws-ssm:111111111111:eu-west-1:/ci/key.pending",
        "aws-ssm:111111111111:eu-west-1:ci/key",
        "dotenv",
        "dotenv:",
        "dotenv:/etc/passwd",
        "dotenv:../x.env",
        "dotenv:./x.env",
        "dotenv:a//x.env",
        "dotenv:" + "x/" * 5000,
    ],
)
def test_what_is_malformed_or_foreign_is_not_opened(target: str) -> None:
    assert settings_of(target, NAMES) is None


def test_a_target_of_one_backend_is_nothing_to_another() -> None:
    written = {
        "aws-secrets-manager": "aws-secrets-manager:111111111111:eu-west-1:key",
        "aws-ssm": "aws-ssm:111111111111:eu-west-1:key",
        "dotenv": "dotenv:key",
        "circleci": "circleci:circleci.com/project/gh/shop/app",
        "github": "github:github.com/repository/shop/app",
        "gitlab": "gitlab:gitlab.com/project/shop/app",
    }
    for name in written:
        opened = [other for other in names() if settings_model(other).from_target(written[name], NAMES)]
        assert opened == [name]


def test_a_backend_that_does_not_say_how_cannot_be_opened_again() -> None:
    assert BackendSettings.from_target("memory:test", NAMES) is None


@pytest.mark.parametrize("sandbox", [True, False])
def test_what_the_line_does_not_tell_has_its_default(sandbox: bool) -> None:
    environment = replace(NAMES, sandbox=sandbox)
    given_ = settings_model("aws-secrets-manager").model_validate(
        {
            "backend": "aws-secrets-manager",
            "name": "ci/key",
            "kms_key": KEY_ARN,
            "access": {"profile": "other"},
            "recovery_days": 30,
        }
    )
    found = settings_of(given_.target(environment), environment)
    assert found is not None
    assert found.model_dump() == {
        "backend": "aws-secrets-manager",
        "name": "ci/key",
        "region": "eu-west-1",
        "account_id": "111111111111",
        "kms_key": None,
        "access": None,
        "recovery_days": 7,
        "names": DocumentNames().model_dump(),
    }


def test_a_place_stays_where_it_was_when_the_environment_moved() -> None:
    before = replace(NAMES, region="us-east-1", account_id="222222222222")
    target = settings_model("aws-ssm").model_validate({"backend": "aws-ssm", "name": "/ci/key"}).target(before)
    found = settings_of(target, NAMES)
    assert found is not None
    assert found.target(NAMES) == target == "aws-ssm:222222222222:us-east-1:/ci/key"


def test_it_opens_like_any_other(tmp_path: Path) -> None:
    for target in (
        "aws-secrets-manager:111111111111:eu-west-1:ci-user/shop/testing.stage",
        "aws-ssm:111111111111:eu-west-1:/ci-user/shop",
        "dotenv:.cache/key.env",
    ):
        found = settings_of(target, NAMES)
        assert found is not None
        assert open_backend(found, NoAccess(), NAMES, tmp_path).target == target


@pytest.mark.parametrize(
    ("target", "imported"),
    [
        ("vault:x", []),
        ("ci_user.backends.memory:x", []),
        ("dotenv:x", ["ci_user.backends.dotenv"]),
        ("aws-ssm:junk", ["ci_user.backends.aws_ssm"]),
    ],
)
def test_only_the_backend_that_is_named_is_imported_and_no_sdk(target: str, imported: list[str]) -> None:
    code = (
        "import sys, ci_user.backends as b; from types import SimpleNamespace; b.settings_of(sys.argv[1], SimpleNamespace())\n"
        "modules = [f'ci_user.backends.{n}' for n in ('aws_secrets_manager', 'aws_ssm', 'dotenv', 'memory')]\n"
        "print([m for m in modules if m in sys.modules], any(m.startswith('boto') for m in sys.modules))"
    )
    out = subprocess.run([sys.executable, "-c", code, target], capture_output=True, text=True, timeout=60, check=False)
    assert out.stdout.strip() == f"{imported} False", out.stderr

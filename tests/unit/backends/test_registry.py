from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import ValidationError

from ci_user.backends import UnknownBackendError, names, open_backend, settings_model, settings_of
from ci_user.backends.aws import key_id_of, version_id
from ci_user.backends.protocol import BackendSettings
from ci_user.errors import BackendError
from tests.contract.place import Names, NoAccess

NAMES = Names(sandbox=False)
KEY_ARN = "arn:aws:kms:eu-west-1:111111111111:key/11111111-2222-3333-4444-555555555555"


def settings(backend: str, **more: object) -> BackendSettings:
    return settings_model(backend).model_validate({"backend": backend, **more})


@pytest.mark.parametrize("name", names())
def test_each_model_names_itself_and_describes_every_field(name: str) -> None:
    fields = settings_model(name).model_fields
    assert all(field.description for field in fields.values())
    assert settings_model(name).model_json_schema()["properties"]["backend"]["const"] == name


@pytest.mark.parametrize("name", ["memory", "nowhere", "", "__init__", "protocol"])
def test_an_unknown_name_lists_the_known_ones(name: str) -> None:
    with pytest.raises(UnknownBackendError, match=r"one of: .*aws-secrets-manager, aws-ssm, .*dotenv"):
        settings_model(name)
    with pytest.raises(KeyError):
        settings_model(name)
    with pytest.raises(BackendError):
        open_backend(BackendSettings(backend=name), NoAccess(), NAMES)


def test_opening_contacts_nothing(tmp_path: Path) -> None:
    for one in (
        settings("aws-secrets-manager", name="ci-user/shop/testing"),
        settings("aws-ssm", name="/ci-user/shop/testing"),
        settings("dotenv", path=".env"),
    ):
        backend = open_backend(one, NoAccess(), NAMES, tmp_path)
        assert (backend.name, backend.readable) == (one.backend, one.readable)
        assert backend.target == one.target(NAMES)


def test_a_protected_environment_refuses_the_local_file(tmp_path: Path) -> None:
    with pytest.raises(BackendError, match="refused in a protected environment"):
        open_backend(settings("dotenv", path=".env"), NoAccess(), replace(NAMES, protected=True), tmp_path)


def test_deleting_at_once_is_for_sandboxes(tmp_path: Path) -> None:
    one = settings("aws-secrets-manager", name="x", recovery_days=0)
    open_backend(one, NoAccess(), replace(NAMES, sandbox=True), tmp_path)
    with pytest.raises(BackendError, match="deletes the secret at once"):
        open_backend(one, NoAccess(), NAMES, tmp_path)


def test_targets_and_guarded_arns_follow_region_account_and_partition() -> None:
    environment = replace(NAMES, partition="aws-cn", region="cn-north-1")
    own = settings("aws-secrets-manager", name="ci-user/shop")
    assert own.target(environment) == "aws-secrets-manager:000000000000:cn-north-1:ci-user/shop"
    assert own.guarded_arns(environment) == (
        "arn:aws-cn:secretsmanager:cn-north-1:000000000000:secret:ci-user/shop-??????",
    )
    other = settings("aws-ssm", name="/ci-user/shop", region="eu-central-1", account_id="111111111111", kms_key=KEY_ARN)
    assert other.target(NAMES) == "aws-ssm:111111111111:eu-central-1:/ci-user/shop"
    assert other.guarded_arns(NAMES) == (
        "arn:aws:ssm:eu-central-1:111111111111:parameter/ci-user/shop",
        "arn:aws:ssm:eu-central-1:111111111111:parameter/ci-user/shop.pending",
    )
    assert other.guarded_kms_keys(NAMES) == (KEY_ARN,)
    assert own.guarded_kms_keys(NAMES) == ()
    assert settings("dotenv", path="./a/.env").target(NAMES) == "dotenv:a/.env"


@pytest.mark.parametrize(
    ("backend", "more"),
    [
        ("aws-secrets-manager", {}),
        ("aws-secrets-manager", {"name": ""}),
        ("aws-secrets-manager", {"name": "a b"}),
        ("aws-secrets-manager", {"name": "shop-abc123"}),
        ("aws-secrets-manager", {"name": "x*"}),
        ("aws-secrets-manager", {"name": "${x}"}),
        ("aws-secrets-manager", {"name": "x" * 513}),
        ("aws-secrets-manager", {"name": "x\n"}),
        ("aws-secrets-manager", {"name": "x", "recovery_days": 6}),
        ("aws-secrets-manager", {"name": "x", "recovery_days": 31}),
        ("aws-secrets-manager", {"name": "x", "recovery_days": "7"}),
        ("aws-secrets-manager", {"name": "x", "kms_key": "alias/x"}),
        ("aws-secrets-manager", {"name": "x", "token": "secret"}),
        ("aws-ssm", {"name": "a/b"}),
        ("aws-ssm", {"name": "/a/"}),
        ("aws-ssm", {"name": "/a//b"}),
        ("aws-ssm", {"name": "/AWS/b"}),
        ("aws-ssm", {"name": "ssmx"}),
        ("aws-ssm", {"name": "/x.pending"}),
        ("aws-ssm", {"name": "/a" * 16}),
        ("aws-ssm", {"name": "/x?"}),
        ("aws-ssm", {"name": "/" + "x" * 900}),
        ("dotenv", {}),
        ("dotenv", {"path": "/etc/x"}),
        ("dotenv", {"path": "../x"}),
        ("dotenv", {"path": ""}),
        ("dotenv", {"path": ".env", "region": "eu-west-1"}),
    ],
)
def test_settings_that_aws_would_reject_are_rejected_first(backend: str, more: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        settings(backend, **more)


def test_settings_are_frozen() -> None:
    with pytest.raises(ValidationError):
        settings("dotenv", path=".env").path = "x"  # type: ignore[attr-defined]


def test_a_version_id_fits_and_tells_the_key_id() -> None:
    for key_id in ("AKIAIOSFODNN7EXAMPLE", "A" * 16, "Z" * 31):
        version = version_id(key_id)
        assert 32 <= len(version) <= 64
        assert key_id_of(version) == key_id
        assert key_id_of(version[:-1] + "x") is None
    assert key_id_of(None) is None
    assert key_id_of("8e204145-e5af-439b-ac2a-56d1af34e426") is None
    assert key_id_of("AKIAIOSFODNN7EXAMPLE-" + "0" * 32) is None


def test_asking_for_names_imports_no_backend_and_no_sdk() -> None:
    code = (
        "import sys, ci_user.backends as b; b.builtin(); "
        "print([m for m in sys.modules if m.startswith(('boto', 'ci_user.backends.'))])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert out.stdout.strip() == "['ci_user.backends.entry_points', 'ci_user.backends.protocol']"


def target_of(backend: str, /, **more: object) -> str:
    return settings(backend, **more).target(NAMES)


def test_who_may_read_the_key_is_part_of_the_place() -> None:
    """Else a nightly rotation would widen it, since it refuses new places only."""
    lines = [
        target_of("github", organization="shop", visibility="all"),
        target_of("github", organization="shop", visibility="private"),
        target_of("github", organization="shop", visibility="selected", repositories=["a"]),
        target_of("github", organization="shop", visibility="selected", repositories=["b", "a"]),
        target_of("gitlab", project="shop/app"),
        target_of("gitlab", project="shop/app", protected=True),
        target_of("gitlab", project="shop/app", masked=False),
        target_of("gitlab", project="shop/app", hidden=True),
        target_of("gitlab", url="https://git.example.com", instance=True),
        target_of("gitlab", url="https://git.example.com", instance=True, protected=True),
    ]
    assert len(set(lines)) == len(lines), lines
    for line in lines:
        found = settings_of(line, NAMES)
        assert found is not None, line
        assert found.target(NAMES) == line
    both = ["b", "a"], ["A", "b"]
    assert len({target_of("github", organization="shop", visibility="selected", repositories=one) for one in both}) == 1
    protected = replace(NAMES, protected=True)
    one = settings("gitlab", project="shop/app")
    assert one.target(protected) == target_of("gitlab", project="shop/app", protected=True)

"""Sessions are made of what the environment file names, and of nothing else that lies around on the machine."""

from __future__ import annotations

import datetime as dt
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ci_user.credential_sources import (
    TRANSPORT,
    SessionCredentials,
    client_config,
    isolated_session,
    logged_in,
    refreshing_session,
    refuse_foreign_endpoints,
    session_for,
)
from ci_user.errors import CredentialsError
from ci_user.secret import Secret

ENDPOINT = "http://127.0.0.1:1"


def environment(endpoint_url: str | None = None) -> Any:
    return SimpleNamespace(name="testing", region="eu-west-1", endpoint_url=endpoint_url)


def access(profile: str | None = None, role: Any = None) -> Any:
    return SimpleNamespace(profile=profile, role=role)


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A machine with one profile, ambient credentials and a proxy's certificate."""
    config = tmp_path / "config"
    config.write_text("[profile elsewhere]\nregion = us-east-1\n")
    credentials = tmp_path / "credentials"
    credentials.write_text("[elsewhere]\naws_access_key_id = AKIAFILE\naws_secret_access_key = file-secret\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(credentials))
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAAMBIENT")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "ambient-secret")
    monkeypatch.setenv("AWS_REGION", "us-gov-west-1")
    monkeypatch.setenv("AWS_CA_BUNDLE", "/proxy.pem")
    return tmp_path


@pytest.mark.parametrize(("profile", "key_id"), [(None, "AKIAAMBIENT"), ("elsewhere", "AKIAFILE")])
def test_a_session_is_of_the_profile_that_is_named_or_of_the_surroundings(
    machine: Path, profile: str | None, key_id: str
) -> None:
    found = session_for(access(profile) if profile else None, environment()).get_credentials()
    assert found is not None
    assert found.access_key == key_id


@pytest.mark.parametrize("profile", ["missing", "default", "else where", "../elsewhere"])
def test_a_profile_that_is_not_there_is_a_clear_error(machine: Path, profile: str) -> None:
    with pytest.raises(CredentialsError) as raised:
        session_for(access(profile), environment())
    assert raised.value.runbook == "credentials"
    assert raised.value.where == "environments/testing.yaml: access"


@pytest.mark.parametrize("profile", [None, "elsewhere"])
def test_no_credentials_at_all_is_a_clear_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, profile: str | None
) -> None:
    config = tmp_path / "config"
    config.write_text("[profile elsewhere]\nregion = us-east-1\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(CredentialsError, match="no AWS credentials") as raised:
        logged_in(profile, "here")
    assert raised.value.where == "here"


def test_a_role_is_assumed_only_when_it_is_needed_and_sees_nothing_of_the_machine_but_its_transport(
    machine: Path,
) -> None:
    role = SimpleNamespace(arn="arn:aws:iam::111111111111:role/x", external_id=None, session_name="ci-user")
    # Nothing answers at the endpoint, so asking for the role here would fail.
    session = session_for(access("elsewhere", role), environment(ENDPOINT))
    assert session.get_config_variable("region") is None
    assert session.get_config_variable("ca_bundle") == "/proxy.pem"
    held = session.get_credentials()
    assert held is not None
    assert held.method == "assume-role"


def test_an_isolated_session_sees_no_variable_profile_or_file(machine: Path) -> None:
    session = isolated_session()
    assert session.get_config_variable("region") is None
    assert session.get_config_variable("ca_bundle") is None
    assert session.available_profiles == []
    assert isolated_session(keep=TRANSPORT).get_config_variable("ca_bundle") == "/proxy.pem"


def test_credentials_that_run_out_are_fetched_again_and_none_before_the_first_use() -> None:
    made: list[str] = []

    def source() -> SessionCredentials:
        made.append(f"ASIASANDBOX00000000{len(made)}")
        # Younger than ten minutes counts as about to run out.
        expires = dt.datetime.now(dt.UTC) + dt.timedelta(minutes=5)
        return SessionCredentials(made[-1], Secret("secret"), Secret("token"), expires)

    session = refreshing_session(isolated_session(), source)
    assert made == []
    held = session.get_credentials()
    assert held is not None
    keys = [held.get_frozen_credentials().access_key for _ in range(2)]
    assert keys == made[-2:]
    assert len(set(keys)) == 2


@pytest.mark.parametrize("value", ["http://127.0.0.1:4566", "https://iam.amazonaws.com"])
@pytest.mark.parametrize("named", [None, ENDPOINT])
def test_an_endpoint_is_the_files_or_none(value: str, named: str | None) -> None:
    with pytest.raises(CredentialsError, match="AWS_ENDPOINT_URL_S3") as raised:
        refuse_foreign_endpoints(environment(named), {"AWS_ENDPOINT_URL_S3": value})
    assert raised.value.runbook == "endpoint"
    refuse_foreign_endpoints(environment(value), {"AWS_ENDPOINT_URL_S3": f"{value}/", "AWS_ENDPOINT_URL": ""})


def test_clients_time_out_and_take_no_endpoint_from_the_machine() -> None:
    config: Any = client_config(attempts=1, user_agent_extra="x")
    assert 0 < config.connect_timeout <= 10
    assert 0 < config.read_timeout <= 60
    assert config.retries == {"mode": "standard", "total_max_attempts": 1}
    assert config.ignore_configured_endpoint_urls is True
    assert config.user_agent_extra == "x"

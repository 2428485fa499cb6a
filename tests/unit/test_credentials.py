"""Credentials and endpoints are resolved once; the ambient environment decides nothing that the file does not name."""

from __future__ import annotations

import datetime as dt
import os
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ci_user.credentials import Accesses, AwsAccess, Caller, SessionCredentials, calling, resolve
from ci_user.errors import AwsError, CredentialsError, WrongAccountError
from ci_user.secret import Secret

ENDPOINT = "http://127.0.0.1:1"


def environment(**changes: Any) -> Any:
    values = {
        "name": "testing",
        "sandbox": False,
        "endpoint_url": None,
        "account_id": "111111111111",
        "region": "eu-west-1",
        "partition": "aws",
        "access": None,
        "state": SimpleNamespace(access=None, region=None, account_id=None),
        "places": (),
    }
    return SimpleNamespace(**values | changes)


def access(profile: str | None = None, role: Any = None) -> Any:
    return SimpleNamespace(profile=profile, role=role)


def sandbox() -> Accesses:
    def credentials() -> SessionCredentials:
        expires = dt.datetime.now(dt.UTC) + dt.timedelta(hours=1)
        return SessionCredentials("ASIASANDBOX000000001", Secret("sandbox-secret"), Secret("sandbox-token"), expires)

    return resolve(environment(sandbox=True), os.environ, endpoint_url=ENDPOINT, sandbox_credentials=credentials)


@pytest.fixture
def ambient(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A shell full of AWS settings, each of which would lead somewhere else."""
    config = tmp_path / "config"
    config.write_text("[profile elsewhere]\nregion = us-east-1\nendpoint_url = http://127.0.0.1:9\n")
    credentials = tmp_path / "credentials"
    credentials.write_text("[elsewhere]\naws_access_key_id = AKIAFILE\naws_secret_access_key = file-secret\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(credentials))
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAAMBIENT")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "ambient-secret")
    return tmp_path


@pytest.mark.parametrize(
    "name",
    [
        "AWS_ENDPOINT_URL",
        "AWS_ENDPOINT_URL_IAM",
        "AWS_ENDPOINT_URL_S3",
        "AWS_ENDPOINT_URL_STS",
        "AWS_ENDPOINT_URL_SECRETS_MANAGER",
    ],
)
def test_an_endpoint_that_the_file_does_not_name_is_refused(ambient: Path, name: str) -> None:
    with pytest.raises(CredentialsError, match=name) as raised:
        resolve(environment(), {name: "http://127.0.0.1:4566"})
    assert "unset" in str(raised.value)


def test_an_endpoint_that_the_file_names_is_used(ambient: Path) -> None:
    found = resolve(environment(endpoint_url=ENDPOINT), {"AWS_ENDPOINT_URL": f"{ENDPOINT}/"})
    assert found.target.client("iam").meta.endpoint_url == ENDPOINT


def test_an_endpoint_in_the_users_own_aws_configuration_is_ignored(ambient: Path) -> None:
    found = resolve(environment(access=access("elsewhere")), {})
    assert found.target.client("iam").meta.endpoint_url == "https://iam.amazonaws.com"
    assert found.target.exports()["AWS_ACCESS_KEY_ID"] == "AKIAFILE"


def test_the_sandbox_ignores_every_ambient_setting(ambient: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "does-not-exist")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_REGION", "us-gov-west-1")
    monkeypatch.setenv("AWS_USE_FIPS_ENDPOINT", "true")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    found = sandbox()
    client = found.target.client("iam")
    assert client.meta.endpoint_url == ENDPOINT
    assert client.meta.region_name == "eu-west-1"
    child = found.child_environment(os.environ)
    assert child["AWS_ACCESS_KEY_ID"] == "ASIASANDBOX000000001"
    assert child["AWS_ENDPOINT_URL"] == ENDPOINT
    assert not {"AWS_PROFILE", "HTTP_PROXY", "AWS_USE_FIPS_ENDPOINT"} & set(child)


def test_the_sandbox_that_does_not_run_is_a_clear_error() -> None:
    with pytest.raises(CredentialsError, match="not running"):
        resolve(environment(sandbox=True), {})


@pytest.mark.parametrize(
    "name",
    [
        "TF_CLI_ARGS",
        "TF_CLI_ARGS_apply",
        "TF_REATTACH_PROVIDERS",
        "TF_VAR_prefix",
        "TF_DATA_DIR",
        "TF_WORKSPACE",
        "TF_PLUGIN_CACHE_MAY_BREAK_DEPENDENCY_LOCK_FILE",
        "TF_CLI_CONFIG_FILE",
        "AWS_PROFILE",
        "AWS_SESSION_TOKEN",
        "AWS_ENDPOINT_URL_S3",
        "LD_PRELOAD",
        "GITHUB_TOKEN",
    ],
)
def test_a_child_inherits_only_what_the_list_allows(ambient: Path, name: str) -> None:
    child = resolve(environment(), {}).child_environment({name: "x", "PATH": "/bin"})
    assert name not in child
    assert child["PATH"] == "/bin"
    assert child["AWS_CONFIG_FILE"] == child["AWS_SHARED_CREDENTIALS_FILE"] == os.devnull


def test_a_state_with_an_access_of_its_own_gives_the_child_both_and_mixes_nothing(ambient: Path) -> None:
    state = SimpleNamespace(access=access("elsewhere"), region="eu-central-1", account_id="333333333333")
    found = resolve(environment(state=state), {})
    child = found.child_environment({})
    assert child["AWS_ACCESS_KEY_ID"] == "AKIAAMBIENT"
    assert child["CI_USER_STATE_AWS_ACCESS_KEY_ID"] == "AKIAFILE"
    assert (found.state.region, found.state.account_id) == ("eu-central-1", "333333333333")
    assert found.target.account_id == "111111111111"


def test_a_backends_own_region_and_account_are_used(ambient: Path) -> None:
    found = resolve(environment(), {})
    settings = SimpleNamespace(access=None, region="eu-north-1", account_id="444444444444")
    backend = found.for_backend(settings)
    assert (backend.region, backend.account_id) == ("eu-north-1", "444444444444")
    own = found.for_backend(SimpleNamespace(access=access("elsewhere"), region=None, account_id=None))
    assert own.exports()["AWS_ACCESS_KEY_ID"] == "AKIAFILE"


def test_an_error_from_aws_never_shows_the_requests_parameters(ambient: Path) -> None:
    client = resolve(environment(), {}).target.client("secretsmanager")
    with pytest.raises(AwsError) as raised, calling("storing a secret"):
        client.put_secret_value(SecretId="x", SecretString=["the-secret-value"])
    assert "the-secret-value" not in str(raised.value)
    assert raised.value.__cause__ is None
    assert raised.value.__suppress_context__


def test_clients_time_out_and_a_mint_is_sent_once_with_the_intent_in_its_user_agent(ambient: Path) -> None:
    target = resolve(environment(), {}).target
    usual = target.client("iam").meta.config
    assert usual.connect_timeout <= 10
    assert usual.read_timeout <= 60
    mint = target.client("iam", attempts=1, user_agent="ci-user-intent/abc").meta.config
    assert mint.retries["total_max_attempts"] == 1
    assert "ci-user-intent/abc" in mint.user_agent_extra


def test_a_fenced_access_asks_before_each_request_and_sends_nothing_when_the_lease_is_lost(
    ambient: Path,
) -> None:
    class LostError(Exception):
        pass

    def check(request: Any) -> None:
        assert request.headers["X-Amz-Date"]
        raise LostError

    fenced = resolve(environment(endpoint_url=ENDPOINT), {}).target.fenced_by(check)
    with pytest.raises(LostError):
        fenced.client("iam").delete_user(UserName="x")


OWN, OTHER = "111111111111", "333333333333"
TARGET_LOGIN, OTHER_LOGIN = "AKIAAMBIENT", "AKIAFILE"


@dataclass
class Logins:
    """Answers in STS's place: which account each login belongs to, None for one that AWS refuses."""

    accounts: dict[str, str | None] = field(default_factory=lambda: {TARGET_LOGIN: OWN, OTHER_LOGIN: OTHER})
    asked: list[tuple[str, str]] = field(default_factory=list)

    def caller(self, access: AwsAccess) -> Caller:
        login = access.exports()["AWS_ACCESS_KEY_ID"]
        self.asked.append((login, access.account_id))
        account = self.accounts[login]
        if account is None:
            raise CredentialsError(f"{login} is refused")
        return Caller(f"arn:aws:iam::{account}:user/{login}", account)


@pytest.fixture
def logins(ambient: Path, monkeypatch: pytest.MonkeyPatch) -> Logins:
    found = Logins()
    monkeypatch.setattr(AwsAccess, "caller", lambda self: found.caller(self))
    return found


def place(account_id: str | None = None, profile: str | None = None) -> Any:
    return SimpleNamespace(access=access(profile) if profile else None, region=None, account_id=account_id)


def own_state() -> Any:
    return SimpleNamespace(access=access("elsewhere"), region=None, account_id=OTHER)


def test_every_login_there_is_is_checked_and_the_targets_is_returned(logins: Logins) -> None:
    places = (place(), SimpleNamespace(path="no AWS"), place(OTHER, "elsewhere"))
    caller = resolve(environment(state=own_state(), places=places), {}).verify()
    assert caller == Caller(f"arn:aws:iam::{OWN}:user/{TARGET_LOGIN}", OWN)
    assert logins.asked == [(TARGET_LOGIN, OWN), (OTHER_LOGIN, OTHER), (OTHER_LOGIN, OTHER)]


def test_what_has_no_login_of_its_own_is_not_asked_about_again(logins: Logins) -> None:
    resolve(environment(places=(place(), place(OWN))), {}).verify()
    assert logins.asked == [(TARGET_LOGIN, OWN)]


def test_a_place_in_another_account_without_a_login_for_it_is_refused(logins: Logins) -> None:
    with pytest.raises(WrongAccountError) as raised:
        resolve(environment(places=(place(OTHER),)), {}).verify()
    assert raised.value.expected == f"account {OTHER}"
    assert logins.asked == [(TARGET_LOGIN, OWN), (TARGET_LOGIN, OTHER)]


@pytest.mark.parametrize(
    "broken",
    [{"state": own_state()}, {"places": (place(OTHER, "elsewhere"),)}],
    ids=["the state's", "a backend's"],
)
@pytest.mark.parametrize(
    ("account", "error"), [(None, CredentialsError), ("999999999999", WrongAccountError)], ids=["refused", "foreign"]
)
def test_another_broken_login_stops_a_run_but_not_the_answer_to_a_leak(
    logins: Logins, broken: dict[str, Any], account: str | None, error: type[CredentialsError]
) -> None:
    logins.accounts[OTHER_LOGIN] = account
    found = resolve(environment(**broken), {})
    with pytest.raises(error):
        found.verify()
    logins.asked.clear()
    assert found.verify_target().account_id == OWN
    assert logins.asked == [(TARGET_LOGIN, OWN)]


@pytest.mark.parametrize(("account", "error"), [(None, CredentialsError), (OTHER, WrongAccountError)])
def test_the_targets_own_broken_login_stops_both_before_anything_else_is_asked(
    logins: Logins, account: str | None, error: type[CredentialsError]
) -> None:
    logins.accounts[TARGET_LOGIN] = account
    found = resolve(environment(state=own_state(), places=(place(OTHER, "elsewhere"),)), {})
    for check in (found.verify, found.verify_target):
        logins.asked.clear()
        with pytest.raises(error):
            check()
        assert logins.asked == [(TARGET_LOGIN, OWN)]

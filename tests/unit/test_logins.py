"""Environments with the same access settings share a session, its clients, a role's credentials and a look at the account."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from ci_user.aws_access import AwsAccess
from ci_user.credentials import Accesses, resolve
from ci_user.errors import CredentialsError, WrongAccountError
from ci_user.logins import Logins
from ci_user.secret import Secret
from tests.proxy import Proxy

if TYPE_CHECKING:
    from tests.conftest import EmbeddedAws

ACCOUNT, OTHER = "000000000000", "333333333333"
THREADS = 8


def role(account_id: str = ACCOUNT, external_id: str | None = None) -> Any:
    arn = f"arn:aws:iam::{account_id}:role/nightly"
    return SimpleNamespace(profile=None, role=SimpleNamespace(arn=arn, external_id=external_id, session_name="ci-user"))


def environment(**changes: Any) -> Any:
    values = {
        "name": "testing",
        "sandbox": False,
        "endpoint_url": "http://127.0.0.1:1",
        "account_id": ACCOUNT,
        "region": "eu-west-1",
        "partition": "aws",
        "access": None,
        "state": SimpleNamespace(access=None, region=None, account_id=None),
        "places": (),
    }
    return SimpleNamespace(**values | changes)


def clients(found: Accesses) -> Any:
    return found.target.client("iam")


@pytest.fixture(autouse=True)
def ambient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAAMBIENT")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "ambient-secret")


def test_the_same_settings_share_a_client_and_others_do_not() -> None:
    logins = Logins()
    first = resolve(environment(access=role()), {}, logins=logins)
    same = resolve(environment(name="production", access=role()), {}, logins=logins)
    assert clients(first) is clients(same)
    assert first.target.login == same.target.login
    differing = [
        environment(access=role(external_id="an-id")),
        environment(access=role(OTHER), account_id=OTHER),
        environment(access=role(), endpoint_url="http://127.0.0.1:2"),
        environment(),
    ]
    logged_in = [resolve(one, {}, logins=logins) for one in differing]
    assert len({id(clients(one)) for one in [first, *logged_in]}) == 5
    assert len({one.target.login for one in [first, *logged_in]}) == 5


def test_another_region_has_a_session_of_its_own_and_is_the_same_login() -> None:
    logins = Logins()
    here = resolve(environment(access=role()), {}, logins=logins).target
    there = resolve(environment(access=role(), region="me-south-1"), {}, logins=logins).target
    assert here.client("iam", "eu-west-1") is not there.client("iam", "eu-west-1")
    assert here.login == there.login


def test_state_and_backends_with_the_targets_settings_share_its_clients() -> None:
    logins = Logins()
    state = SimpleNamespace(access=role(), region=None, account_id=None)
    found = resolve(environment(access=role(), state=state), {}, logins=logins)
    backend = SimpleNamespace(access=role(), region=None, account_id=None)
    shared = [
        found.target,
        found.state,
        found.for_backend(backend),
        found.target.at(region="eu-west-1", account_id=OTHER),
    ]
    assert len({id(access.client("s3")) for access in shared}) == 1


def test_without_logins_every_environment_has_clients_of_its_own() -> None:
    assert clients(resolve(environment(), {})) is not clients(resolve(environment(), {}))


def test_a_sandbox_has_its_own_credentials_for_every_way() -> None:
    def credentials() -> Any:
        expires = dt.datetime.now(dt.UTC) + dt.timedelta(hours=1)
        return SimpleNamespace(
            access_key_id="ASIASANDBOX000000001",
            secret_access_key=Secret("secret"),
            session_token=Secret("token"),
            expires=expires,
        )

    found = resolve(
        environment(sandbox=True, access=role()),
        {},
        endpoint_url="http://127.0.0.1:1",
        sandbox_credentials=credentials,
        logins=Logins(),
    )
    assert found.target.exports()["AWS_ACCESS_KEY_ID"] == "ASIASANDBOX000000001"
    assert found.target.loopback


def test_a_missing_profile_is_told_with_the_file_that_names_it() -> None:
    logins, access = Logins(), SimpleNamespace(profile="missing", role=None)
    for name in ("testing", "production"):
        with pytest.raises(CredentialsError) as raised:
            resolve(environment(name=name, access=access), {}, logins=logins)
        assert raised.value.where == f"environments/{name}.yaml: access"


class StoppedError(Exception):
    pass


def test_the_check_is_asked_by_every_client_and_before_a_role_is_assumed() -> None:
    asked: list[object] = []

    def check(request: Any) -> None:
        asked.append(request.body)
        raise StoppedError

    logins = Logins(check=check)
    assumed = resolve(environment(access=role()), {}, logins=logins).target
    with pytest.raises(StoppedError):
        assumed.client("iam").list_users()
    assert "Action=AssumeRole" in str(asked[0])
    plain = resolve(environment(), {}, logins=logins)
    for access in (plain.target, plain.state, plain.target.at(region="eu-north-1", account_id=OTHER)):
        with pytest.raises(StoppedError):
            access.client("sts").get_caller_identity()
    assert len(asked) == 4


def test_a_second_check_is_asked_besides_the_first_and_the_same_one_not_twice() -> None:
    asked: list[str] = []

    def first(_: Any) -> None:
        asked.append("first")

    def second(_: Any) -> None:
        asked.append("second")
        raise StoppedError

    access = resolve(environment(), {}, logins=Logins(check=first)).target
    assert access.fenced_by(first).client("iam") is access.client("iam")
    with pytest.raises(StoppedError):
        access.fenced_by(second).client("iam").list_users()
    assert asked == ["first", "second"]


def test_retries_are_as_asked_for() -> None:
    adaptive = resolve(environment(), {}, logins=Logins(retries="adaptive")).target.client("iam")
    assert adaptive.meta.config.retries["mode"] == "adaptive"
    assert resolve(environment(), {}).target.client("iam").meta.config.retries["mode"] == "standard"


@pytest.fixture
def proxy(aws: EmbeddedAws) -> Iterator[Proxy]:
    with Proxy(aws.endpoint_url).running() as running:
        yield running


def test_threads_assume_a_role_and_look_at_the_account_once(
    aws: EmbeddedAws, proxy: Proxy, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name, value in aws.exports().items():
        if name != "AWS_ENDPOINT_URL":
            monkeypatch.setenv(name, value)
    role_name = f"nightly-{tmp_path.name}"
    trust = (
        '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::000000000000:root"},'
        '"Action":"sts:AssumeRole"}]}'
    )
    aws.client("iam").create_role(RoleName=role_name, AssumeRolePolicyDocument=trust)
    access = role()
    access.role.arn = f"arn:aws:iam::{ACCOUNT}:role/{role_name}"
    logins = Logins()

    def one(number: int) -> str:
        found = resolve(environment(name=f"e{number}", access=access, endpoint_url=proxy.url), {}, logins=logins)
        return found.verify().arn

    with ThreadPoolExecutor(THREADS) as pool:
        arns = set(pool.map(one, range(THREADS)))
    aws.client("iam").delete_role(RoleName=role_name)
    assert len(arns) == 1
    assert Counter(request.action for request in proxy.requests) == {"AssumeRole": 1, "GetCallerIdentity": 1}


def test_a_login_of_another_account_is_asked_about_once_and_refused_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def caller(self: AwsAccess) -> Any:
        asked.append(self.account_id)
        return SimpleNamespace(arn="arn:aws:iam::333333333333:user/x", account_id=OTHER)

    monkeypatch.setattr(AwsAccess, "caller", caller)
    logins = Logins()
    for _ in range(3):
        with pytest.raises(WrongAccountError):
            resolve(environment(), {}, logins=logins).verify()
    assert resolve(environment(account_id=OTHER), {}, logins=logins).verify().account_id == OTHER
    assert asked == [ACCOUNT, OTHER]

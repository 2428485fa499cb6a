"""moto beside the embedded AWS, where it is right and the other is not: the quota of keys, and users that do not exist."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.session import Session
from moto.server import ThreadedMotoServer

from ci_user import rotation
from ci_user.backends import open_backend, settings_model
from ci_user.credentials import AwsAccess, Caller
from ci_user.environment import Verification
from ci_user.environment_parts import Rotation
from ci_user.errors import KeyStateError
from ci_user.iam_user import IamUser
from ci_user.keeper import KeyKeeper
from tests.contract.place import Names
from tests.unit.key_world import Faults, HeldLease, World

ACCOUNT = "123456789012"


@pytest.fixture(scope="module")
def access() -> Iterator[AwsAccess]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        session = Session()
        session.set_credentials("AKIAIOSFODNN7EXAMPLE", "none")
        yield AwsAccess(
            session,
            account_id=ACCOUNT,
            region="eu-west-1",
            partition="aws",
            endpoint_url=f"http://{host}:{port}",
            loopback=True,
        )
    finally:
        server.stop()


@pytest.fixture
def user(access: AwsAccess) -> IamUser:
    name = f"moto-{uuid.uuid4().hex[:8]}.ci"
    access.client("iam").create_user(UserName=name)
    return IamUser(access, name)


def test_a_third_key_is_refused_and_said_to_be_one_too_many(user: IamUser) -> None:
    made = {user.create_key("0" * 32).id, user.create_key("1" * 32).id}
    with pytest.raises(KeyStateError, match="allows no further access key") as raised:
        user.create_key("2" * 32)
    assert raised.value.runbook == "two-keys"
    assert {key.id for key in user.access_keys()} == made


def test_a_user_that_does_not_exist_has_no_keys_and_no_policies(access: AwsAccess) -> None:
    nobody = IamUser(access, "nobody.ci")
    assert nobody.access_keys() == ()
    assert nobody.attached() is None
    assert nobody.describe() is None
    assert nobody.revocation() is None
    nobody.deactivate_key("AKIAIOSFODNN7EXAMPLE")
    nobody.delete_key("AKIAIOSFODNN7EXAMPLE")
    with pytest.raises(KeyStateError, match="has no access key"):
        nobody.activate_key("AKIAIOSFODNN7EXAMPLE")


class Verifying:
    """Knows exactly the keys that are active: moto's own answer names whoever is asked for."""

    account_id = ACCOUNT

    def __init__(self, user: IamUser) -> None:
        self.user, self.key_id = user, ""

    def with_key(self, key_id: str, _: Any) -> Verifying:
        self.key_id = key_id
        return self

    def caller(self) -> Caller:
        assert self.key_id in {key.id for key in self.user.access_keys() if key.active}
        return Caller(f"arn:aws:iam::{ACCOUNT}:user/{self.user.name}", ACCOUNT)


def test_a_whole_rotation_never_needs_a_third_key(access: AwsAccess, user: IamUser) -> None:
    world, secret = World(lag=dt.timedelta(0)), f"ci-user/{user.name}"
    settings = settings_model("aws-secrets-manager").model_validate({"backend": "aws-secrets-manager", "name": secret})

    def reach(goal: rotation.Goal, run: str) -> str | None:
        world.pass_time(60)
        keeper = KeyKeeper(
            user=user,
            access=Verifying(user),  # type: ignore[arg-type]
            backends=[open_backend(settings, access, Names(prefix="moto-testing", account_id=ACCOUNT, sandbox=False))],
            lease=HeldLease(world, Faults(), run),
            verification=Verification(
                successes=1,
                interval=dt.timedelta(milliseconds=1),
                deadline=dt.timedelta(seconds=1),
                lag=dt.timedelta(0),
            ),
            schedule=Rotation(
                grace=dt.timedelta(0), margin=dt.timedelta(0), soak=dt.timedelta(0), expire_after=dt.timedelta(0)
            ),
            user_arn=f"arn:aws:iam::{ACCOUNT}:user/{user.name}",
        )
        return keeper.reach(goal).key_id

    first = reach(rotation.Keep(), "run-1")
    second = reach(rotation.Rotate(force=True), "run-2")
    third = reach(rotation.Rotate(now=True), "run-3")
    assert len({first, second, third}) == 3
    assert [key.id for key in user.access_keys()] == [third]
    assert reach(rotation.Remove(), "run-4") is None
    assert user.access_keys() == ()

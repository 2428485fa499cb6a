"""A run that is killed at any of its requests, at any moment of it, loses no key: the same command once more ends it well.

The requests are those of a recorded run of the same command; each is a kill of a real process.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from tests.faults.killing import PARTS, World, beginning, kills, world

if TYPE_CHECKING:
    from tests.conftest import EmbeddedAws

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def made(aws: EmbeddedAws, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world(aws, tmp_path_factory.mktemp("killed")) as one:
        yield one


REVOKE = {"all_keys": False, "delete_key": [], "yes": True, "confirm": "", "lock_timeout": "0s"}
ROTATE = {"every": False, "yes": True, "confirm": "", "lock_timeout": "0s"}


@pytest.mark.parametrize("part", range(PARTS))
def test_a_deploys_first_key(made: World, part: int) -> None:
    made.fresh()
    assert made.run("deploy").code == 0
    made.assert_one_key("never killed")
    for n, moment in kills(made.requests, made.files, part):
        made.fresh()
        when = made.kill("deploy", n, moment)
        again = made.run("deploy")
        assert again.code == 0, f"{when}: {again.text}"
        made.assert_one_key(when)


@pytest.mark.parametrize("part", range(PARTS))
def test_a_rotation(made: World, part: int) -> None:
    made.fresh()
    flags = {**ROTATE, "force": True, "now": False}
    assert made.run("deploy").code == 0
    assert made.run("rotate", flags).code == 0
    first = made.assert_one_key("never killed")
    begins = beginning(made.requests)
    for n, moment in kills(made.requests, made.files, part):
        when = made.kill("rotate", n, moment, flags)
        made.assert_consumers_can_work(when)
        if n < begins:
            continue
        again = made.run("rotate", flags)
        assert again.code == 0, f"{when}: {again.text}"
        second = made.assert_one_key(when)
        assert second != first, when
        first = second


@pytest.mark.parametrize("part", range(PARTS))
def test_a_revocation(made: World, part: int) -> None:
    made.fresh()
    flags = {**REVOKE, "no_replacement": False}
    assert made.run("deploy").code == 0
    assert made.run("revoke", flags).code == 0
    begins = beginning(made.requests)
    for n, moment in kills(made.requests, made.files, part):
        leaked = made.held()
        assert leaked is not None
        when = made.kill("revoke", n, moment, flags)
        if n < begins:
            assert made.works(leaked), when
            continue
        denied = made.aws.client("iam").list_user_policies(UserName=made.user)["PolicyNames"]
        again = made.run("revoke", flags)
        assert again.code == 0, f"{when}: {again.text}"
        assert not made.works(leaked), when
        active = [key["AccessKeyId"] for key in made.listed() if key["Status"] == "Active"]
        current = made.held()
        assert current is not None, when
        assert active == [current["AWS_ACCESS_KEY_ID"]], when
        assert made.in_file() == current, when
        assert made.works(current), when
        assert denied == made.aws.client("iam").list_user_policies(UserName=made.user)["PolicyNames"], when
        journal = made.journal()
        assert journal.intent is None, when
        assert leaked["AWS_ACCESS_KEY_ID"] in journal.revoked, when


@pytest.mark.parametrize("part", range(PARTS))
def test_a_revocation_without_a_replacement(made: World, part: int) -> None:
    made.fresh()
    flags = {**REVOKE, "no_replacement": True}
    assert made.run("deploy").code == 0
    assert made.run("revoke", flags).code == 0
    made.assert_no_key("never killed")
    # Up to the lease it is the same run as with a replacement.
    own = next(n for n, request in enumerate(made.requests) if request.changing and "lease.json" in request.path)
    for n, moment in kills(made.requests, made.files, part):
        if n < own and not os.environ.get("CI_USER_LONG"):
            continue
        assert made.run("deploy").code == 0
        leaked = made.held()
        assert leaked is not None
        when = made.kill("revoke", n, moment, flags)
        again = made.run("revoke", flags)
        assert again.code == 0, f"{when}: {again.text}"
        assert not made.works(leaked), when
        made.assert_no_key(when)
        rotated = made.run("rotate", {**ROTATE, "force": True, "now": False})
        assert rotated.code == 3, rotated.text
        made.assert_no_key(f"{when}, then rotated")


@pytest.mark.parametrize("part", range(PARTS))
def test_a_removal(made: World, part: int) -> None:
    made.fresh()
    assert made.run("deploy").code == 0
    assert made.run("destroy").code == 0
    made.assert_no_key("never killed")
    begins = beginning(made.requests)
    for n, moment in kills(made.requests, made.files, part):
        if made.held() is None:
            assert made.run("deploy").code == 0
        when = made.kill("destroy", n, moment)
        if n < begins:
            made.assert_consumers_can_work(when)
            continue
        again = made.run("destroy")
        assert again.code == 0, f"{when}: {again.text}"
        made.assert_no_key(when)

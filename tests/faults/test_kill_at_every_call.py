"""A run that is killed at any of its requests, at any moment of it, loses no key: the same command once more ends it well.

The requests are those of a recorded run of the same command; each is a kill of a real process.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from tests.faults.killing import PARTS, Killer, World, kills, world

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
    for n, moment in kills(made.requests, part):
        made.fresh()
        killer = Killer(made.zygote, n, moment)
        made.run("deploy", killer=killer)
        again = made.run("deploy")
        assert again.code == 0, f"{killer}: {again.text}"
        made.assert_one_key(str(killer))


@pytest.mark.parametrize("part", range(PARTS))
def test_a_rotation(made: World, part: int) -> None:
    made.fresh()
    flags = {**ROTATE, "force": True, "now": False}
    assert made.run("deploy").code == 0
    assert made.run("rotate", flags).code == 0
    first = made.assert_one_key("never killed")
    for n, moment in kills(made.requests, part):
        killer = Killer(made.zygote, n, moment)
        made.run("rotate", flags, killer)
        made.assert_consumers_can_work(str(killer))
        again = made.run("rotate", flags)
        assert again.code == 0, f"{killer}: {again.text}"
        second = made.assert_one_key(str(killer))
        assert second != first, str(killer)
        first = second


@pytest.mark.parametrize("part", range(PARTS))
def test_a_revocation(made: World, part: int) -> None:
    made.fresh()
    flags = {**REVOKE, "no_replacement": False}
    assert made.run("deploy").code == 0
    assert made.run("revoke", flags).code == 0
    for n, moment in kills(made.requests, part):
        leaked = made.held()
        assert leaked is not None
        killer = Killer(made.zygote, n, moment)
        made.run("revoke", flags, killer)
        denied = made.aws.client("iam").list_user_policies(UserName=made.user)["PolicyNames"]
        again = made.run("revoke", flags)
        assert again.code == 0, f"{killer}: {again.text}"
        assert not made.works(leaked), str(killer)
        active = [key["AccessKeyId"] for key in made.listed() if key["Status"] == "Active"]
        current = made.held()
        assert current is not None, str(killer)
        assert active == [current["AWS_ACCESS_KEY_ID"]], str(killer)
        assert made.in_file() == current, str(killer)
        assert made.works(current), str(killer)
        assert denied == made.aws.client("iam").list_user_policies(UserName=made.user)["PolicyNames"], str(killer)
        journal = made.journal()
        assert journal.intent is None, str(killer)
        assert leaked["AWS_ACCESS_KEY_ID"] in journal.revoked, str(killer)


@pytest.mark.parametrize("part", range(PARTS))
def test_a_revocation_without_a_replacement(made: World, part: int) -> None:
    made.fresh()
    flags = {**REVOKE, "no_replacement": True}
    assert made.run("deploy").code == 0
    assert made.run("revoke", flags).code == 0
    made.assert_no_key("never killed")
    # Up to the lease it is the same run as with a replacement.
    own = next(n for n, request in enumerate(made.requests) if request.changing and "lease.json" in request.path)
    for n, moment in kills(made.requests, part):
        if n < own and not os.environ.get("CI_USER_LONG"):
            continue
        assert made.run("deploy").code == 0
        leaked = made.held()
        assert leaked is not None
        killer = Killer(made.zygote, n, moment)
        made.run("revoke", flags, killer)
        again = made.run("revoke", flags)
        assert again.code == 0, f"{killer}: {again.text}"
        assert not made.works(leaked), str(killer)
        made.assert_no_key(str(killer))
        rotated = made.run("rotate", {**ROTATE, "force": True, "now": False})
        assert rotated.code == 3, rotated.text
        made.assert_no_key(f"{killer}, then rotated")


@pytest.mark.parametrize("part", range(PARTS))
def test_a_removal(made: World, part: int) -> None:
    made.fresh()
    assert made.run("deploy").code == 0
    assert made.run("destroy").code == 0
    made.assert_no_key("never killed")
    for n, moment in kills(made.requests, part):
        assert made.run("deploy").code == 0
        killer = Killer(made.zygote, n, moment)
        made.run("destroy", killer=killer)
        again = made.run("destroy")
        assert again.code == 0, f"{killer}: {again.text}"
        made.assert_no_key(str(killer))

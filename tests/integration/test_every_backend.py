"""One environment that delivers to every backend there is, from deploy to destroy, as a user types it."""

from __future__ import annotations

import json
import shutil
import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

from ci_user import revocation
from ci_user.backends import builtin
from ci_user.errors import CredentialsError
from ci_user.secret import Secret
from tests.contract import doubles
from tests.contract.place import TOKEN, Place
from tests.project import ROOT, Done, Project
from tests.proxy import Answer, Request

if TYPE_CHECKING:
    from tests.conftest import EmbeddedAws
    from tests.integration.conftest import NewProject

pytestmark = pytest.mark.timeout(600)


class World:
    """A project, a place at each double, and all that was printed."""

    def __init__(self, project: Project, places: dict[str, Place], aws: EmbeddedAws) -> None:
        self.project = project
        self.places = places
        self.aws = aws
        self.printed: list[str] = []

    def run(self, task: str, *flags: str) -> Done:
        for place in self.places.values():
            place.server.calls.clear()
        done = self.project.invoke(task, "--env", "testing", *flags)
        self.printed.append(done.text)
        return done

    @property
    def user(self) -> str:
        return f"{self.project.base['application']}-testing.ci"

    def consumed(self) -> tuple[str, str]:
        """Return the one key that every pipeline reads now."""
        found = {name: place.consumed() for name, place in self.places.items()}
        assert len(set(found.values())) == 1, found
        key_id, secret = next(iter(found.values()))
        assert key_id is not None
        assert secret is not None
        return key_id, secret

    def works(self, key: tuple[str, str]) -> bool:
        try:
            self.aws.access.with_key(key[0], Secret(key[1])).caller()
        except CredentialsError:
            return False
        return True

    def writes(self) -> list[str]:
        return [
            call.operation for place in self.places.values() for call in place.server.calls if not place.reads(call)
        ]


@pytest.fixture(scope="module")
def world(new_project: NewProject, aws: EmbeddedAws) -> Iterator[World]:
    with ExitStack() as stack:
        servers: dict[object, Any] = {}
        project = new_project(f"all{uuid.uuid4().hex[:8]}")
        places: dict[str, Place] = {}
        for name in doubles.names():
            place = doubles.place_of(name, servers, stack, project.root)
            places[name] = place
            project.environ |= own_token(place, f"PLACE_{len(places)}_TOKEN")
        entries = [place.document for place in places.values()]
        project.base["secrets"] = [*entries, {"backend": "dotenv", "path": ".cache/key.env"}]
        project.write()
        yield World(project, places, aws)


def own_token(place: Place, variable: str) -> dict[str, str]:
    """Have a place take its token from a variable of its own, since two places of one vendor may differ in theirs."""
    place.document["token"] = {"variable": variable}
    host = place.server.url.removeprefix("http://").partition("/")[0]
    return place.environ | {variable: place.environ[place.variable], f"{variable}_HOST": host}


def refuse_to_remove_the_user(world: World) -> None:
    """Have Terraform fail while a revocation's deny is on the user: it is there again afterwards."""
    deny = revocation.live(world.aws.access, world.user)
    assert deny is not None
    lifted: list[bool] = []

    def refuse(request: Request) -> Answer | None:
        if request.action != "DeleteUser":
            return None
        # The user cannot go with the deny on it, so by now it was taken off.
        lifted.append(revocation.live(world.aws.access, world.user) is None)
        body = "<ErrorResponse><Error><Type>Sender</Type><Code>AccessDenied</Code><Message>no</Message></Error></ErrorResponse>"
        return Answer(403, body.encode(), headers=(("Content-Type", "text/xml"),))

    world.project.proxy.before = refuse
    failed = world.run("destroy", "--yes")
    world.project.proxy.clear()
    assert failed.code == 1, failed.text
    assert lifted[0]
    assert revocation.live(world.aws.access, world.user) == deny


def test_a_key_reaches_every_backend_and_leaves_it_again(world: World, aws: EmbeddedAws) -> None:
    done = world.run("bootstrap", "--yes")
    assert done.code == 0, done.text
    done = world.run("deploy", "--yes")
    assert done.code == 0, done.text
    first = world.consumed()
    assert world.works(first)

    shutil.copy(ROOT / "requirements.txt", world.project.root)
    done = world.run("doctor")
    assert done.code == 0, done.text
    assert done.out.count("this environment's") >= len(world.places)
    assert world.writes() == []

    done = world.run("rotate", "--force")
    assert done.code == 0, done.text
    second = world.consumed()
    assert second[0] != first[0]
    assert world.works(second)
    assert world.works(first), "the old key stays for its grace"

    done = world.run("redeliver")
    assert done.code == 0, done.text
    assert world.writes() == []

    held = {key["id"]: key for key in json.loads(world.run("status", "--json").out)["keys"]}
    assert len(held[second[0]]["held_by"]) >= len(world.places), held

    done = world.run("revoke", "--yes")
    assert done.code in (0, 3), done.text
    third = world.consumed()
    assert third[0] not in (first[0], second[0])
    assert world.works(third)
    assert not world.works(second)

    refuse_to_remove_the_user(world)

    done = world.run("destroy", "--yes")
    assert done.code == 0, done.text
    assert revocation.live(aws.access, world.user) is None
    assert {place.consumed() for place in world.places.values()} == {(None, None)}
    assert not world.works(third)

    printed = "\n".join(world.printed)
    for secret in (TOKEN, first[1], second[1], third[1]):
        assert secret not in printed
    assert [violation for place in world.places.values() for violation in place.server.violations] == []


def test_every_backend_over_http_has_a_double() -> None:
    """What is added later is in this file's environment, and in the contract, without anybody thinking of it."""
    doubled = {doubles.place(name).backend for name in doubles.names()}
    assert doubled == set(builtin()) - {"aws-secrets-manager", "aws-ssm", "dotenv", "age"}

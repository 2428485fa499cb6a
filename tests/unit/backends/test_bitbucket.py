"""What is Bitbucket's own; what all backends have in common is in the contract."""

from __future__ import annotations

import base64
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from ci_user.backends import settings_model, settings_of
from ci_user.backends.bitbucket import _next_page
from ci_user.backends.protocol import Held
from ci_user.errors import BackendError
from tests.contract.doubles.bitbucket import Bitbucket, DeploymentPlace, RepositoryPlace, WorkspacePlace
from tests.contract.place import TOKEN, Names, new_key
from tests.vendors.server import Call, Reply

UUID = "{0d1e2f3a-4b5c-4d6e-8f70-8192a3b4c5d6}"


@pytest.fixture
def server() -> Iterator[Bitbucket]:
    with Bitbucket() as running:
        yield running


@pytest.fixture
def place(server: Bitbucket, tmp_path: Path) -> RepositoryPlace:
    return RepositoryPlace(tmp_path, server)


def refusal(**settings: Any) -> str:
    with pytest.raises(ValidationError) as caught:
        settings_model("bitbucket").model_validate({"backend": "bitbucket", **settings})
    return str(caught.value)


def test_what_is_no_place_is_refused_with_what_is_expected() -> None:
    assert "either repository or workspace" in refusal()
    assert "either repository or workspace" in refusal(repository="shop/app", workspace="shop")
    assert "belong to a repository" in refusal(workspace="shop", deployment="production")
    # The API takes uuids too; a place that is written so one day would be emptied as another one.
    for wrong in (
        "app",
        "shop/",
        "shop/..",
        "./app",
        "shop/a/b",
        "shop/a b",
        "shop/größe",
        "{shop}/app",
        "{0d1e2f3a-4b5c-4d6e-8f70-8192a3b4c5d6}/app",
    ):
        assert "WORKSPACE/REPOSITORY" in refusal(repository=wrong)
    assert "a workspace's ID" in refusal(workspace="shop/app")
    assert "a deployment environment's name" in refusal(repository="shop/app", deployment="a\nb")


@pytest.mark.parametrize(
    ("place", "line"),
    [
        ({"repository": "shop/app"}, "bitbucket:api.bitbucket.org/repository/shop/app"),
        ({"workspace": "shop"}, "bitbucket:api.bitbucket.org/workspace/shop"),
        (
            {"repository": "a.b_c/app", "deployment": "EU / 1"},
            "bitbucket:api.bitbucket.org/deployment/a.b_c/app/EU %2F 1",
        ),
    ],
)
def test_a_place_is_one_line_and_back(place: dict[str, str], line: str) -> None:
    settings = settings_model("bitbucket").model_validate({"backend": "bitbucket", **place})
    assert settings.target(Names()) == line
    assert settings_of(line, Names()) == settings
    assert settings_of(f"{line}/more/and/more", Names()) is None


def test_slugs_in_other_letters_are_the_same_place(server: Bitbucket, place: RepositoryPlace, tmp_path: Path) -> None:
    key = new_key()
    place.deliver(key)
    other = place.open(repository=place.document["repository"].title())
    assert other.target == place.open().target
    assert other.held() == Held(key.id, None)
    workspace = WorkspacePlace(tmp_path, server)
    assert workspace.open(workspace=workspace.document["workspace"].upper()).target == workspace.open().target


def test_importing_it_imports_no_http() -> None:
    code = "import sys, ci_user.backends.bitbucket; sys.exit('requests' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_key_is_secured_and_the_note_is_not(server: Bitbucket, place: RepositoryPlace) -> None:
    key = new_key()
    place.deliver(key)
    secured = {name: item["secured"] for name, item in server.variables[place.key].items()}
    assert secured == {"AWS_ACCESS_KEY_ID": True, "AWS_SECRET_ACCESS_KEY": True, "CI_USER_AWS_ACCESS_KEY_ID": False}
    assert key.id in server.variables[place.key]["CI_USER_AWS_ACCESS_KEY_ID"]["value"]


def test_a_variable_that_is_not_secured_any_more_was_changed(server: Bitbucket, place: RepositoryPlace) -> None:
    place.deliver(new_key())
    server.put(place.key, "AWS_SECRET_ACCESS_KEY", "foreign", secured=False)
    assert place.open().held() == Held(None, None)
    for refused in (place.open().preflight, lambda: place.deliver(new_key()), place.open().remove):
        with pytest.raises(BackendError, match="changed by somebody else"):
            refused()


def test_a_variable_that_bitbucket_does_not_secure_is_not_delivered(server: Bitbucket, place: RepositoryPlace) -> None:
    server.after = lambda call, reply: (
        Reply(201, {**reply.document, "secured": False}) if call.method == "POST" and call.body["secured"] else None
    )
    with pytest.raises(BackendError, match="does not keep it secured"):
        place.deliver(new_key())
    server.after = lambda _call, _reply: None
    assert place.open().held() == Held(None, None, torn=True)


def test_a_variable_deleted_and_made_anew_is_somebody_elses(server: Bitbucket, place: RepositoryPlace) -> None:
    place.deliver(new_key())
    del server.variables[place.key]["AWS_SECRET_ACCESS_KEY"]
    place.write_foreign()
    assert place.open().held() == Held(None, None)
    for refused in (place.open().preflight, lambda: place.deliver(new_key()), place.open().remove):
        with pytest.raises(BackendError, match="changed by somebody else"):
            refused()
    assert place.consumed()[1] == "foreign"


def test_a_variable_that_appears_between_look_and_write_is_not_overwritten(
    server: Bitbucket, place: RepositoryPlace
) -> None:
    def appear(call: Call) -> None:
        if call.method == "POST" and call.body["key"] == "AWS_SECRET_ACCESS_KEY":
            place.write_foreign()

    server.before = appear
    with pytest.raises(BackendError, match="409") as caught:
        place.deliver(new_key())
    assert "run the same command again" in str(caught.value.do)
    assert place.consumed() == (None, "foreign")


def test_a_variable_of_the_notes_name_that_is_no_note_is_left_alone(server: Bitbucket, place: RepositoryPlace) -> None:
    server.put(place.key, "CI_USER_AWS_ACCESS_KEY_ID", "mine", secured=False)
    for refused in (place.open().preflight, lambda: place.deliver(new_key())):
        with pytest.raises(BackendError, match="not made by this tool"):
            refused()
    assert place.open().remove() is False


def test_a_list_that_lags_behind_is_asked_again(server: Bitbucket, place: RepositoryPlace) -> None:
    stale = [Reply(200, {"page": 1, "size": 0, "pagelen": 100, "values": []})] * 2

    def lag(call: Call) -> Reply | None:
        written = len(server.variables[place.key]) > 2
        return stale.pop() if written and call.method == "GET" and stale else None

    server.before = lag
    key = new_key()
    place.deliver(key)
    assert place.pauses.seconds == [1.0, 2.0]
    assert place.open().held() == Held(key.id, None)


def test_a_variable_that_is_never_listed_is_not_delivered(server: Bitbucket, place: RepositoryPlace) -> None:
    server.after = lambda call, reply: (
        Reply(200, {"size": 0, "values": []}) if call.method == "GET" and call.path[-1] == "variables" else None
    )
    with pytest.raises(BackendError, match="does not list it"):
        place.deliver(new_key())
    assert sum(place.pauses.seconds) < 10


@pytest.mark.parametrize(
    "scopes", ["repository, pipeline:variable", "admin:pipeline:bitbucket,read:pipeline:bitbucket"]
)
def test_a_token_that_may_write_variables_is_told(server: Bitbucket, place: RepositoryPlace, scopes: str) -> None:
    server.scopes = scopes
    assert "may write variables" in " ".join(place.open().preflight())


def test_a_token_that_may_only_read_is_refused_before_a_key_is_made(server: Bitbucket, place: RepositoryPlace) -> None:
    server.scopes = "repository:write, pipeline"
    with pytest.raises(BackendError, match="repository:write, pipeline") as caught:
        place.open().preflight()
    assert "BITBUCKET_TOKEN" in str(caught.value.do)
    assert "pipeline:variable" in str(caught.value.do)


def test_scopes_that_are_not_told_are_no_failure(server: Bitbucket, place: RepositoryPlace) -> None:
    server.scopes = None
    assert "does not tell" in " ".join(place.open().preflight())


def test_an_access_token_goes_alone_and_an_api_token_with_its_user(server: Bitbucket, tmp_path: Path) -> None:
    for cls, kind in ((RepositoryPlace, "Bearer"), (WorkspacePlace, "Basic")):
        cls(tmp_path, server).open().held()
        assert server.calls[-1].headers["authorization"].startswith(f"{kind} ")


def test_a_deployment_environment_on_a_later_page_is_found_where_the_token_is_for(
    server: Bitbucket, tmp_path: Path
) -> None:
    place = DeploymentPlace(tmp_path, server)
    assert "exists" in " ".join(place.open().preflight())
    assert {call.asked("page") for call in server.calls if call.path[-1] == "environments"} == {"", "2"}


def test_a_deployment_environment_is_written_as_bitbucket_lists_it(server: Bitbucket, tmp_path: Path) -> None:
    place = DeploymentPlace(tmp_path, server)
    for wrong, told in (("production", "as Production"), ("live", "but Test, Staging, another 0")):
        for refused in (place.open(deployment=wrong).preflight, place.open(deployment=wrong).remove):
            with pytest.raises(BackendError, match=told):
                refused()
    assert server.changing == []


@pytest.mark.parametrize("sized", [True, False])
def test_a_list_without_pages_has_an_end(server: Bitbucket, tmp_path: Path, sized: bool) -> None:
    place = DeploymentPlace(tmp_path, server)

    def whole(call: Call) -> Reply | None:
        if call.path[-1] != "environments":
            return None
        found = server.environments[call.path[:-1]].items()
        values = [{"type": "deployment_environment", "name": name, "uuid": uuid} for name, uuid in found]
        return Reply(200, {"values": values, **({"size": len(values)} if sized else {})})

    server.before = whole
    assert "exists" in " ".join(place.open().preflight())
    with pytest.raises(BackendError, match="is listed"):
        place.open(deployment="nowhere").preflight()
    assert len(server.calls) < 10


def test_the_end_of_a_list_is_known_with_and_without_a_link() -> None:
    link = "https://elsewhere.example.com/2.0/x?page=7&pagelen=10"
    assert _next_page({"values": [1], "next": link, "size": 1}, 1, 1) == {"page": "7", "pagelen": "10"}
    assert _next_page({"values": [1], "size": 2}, 1, 1) == {"page": 2}
    assert _next_page({"values": [1], "size": 2}, 2, 2) is None
    assert _next_page({"values": [1]}, 3, 300) == {"page": 4}
    assert _next_page({"values": [], "next": link}, 4, 300) is None


def test_a_refusal_that_repeats_the_token_is_not_quoted(server: Bitbucket, tmp_path: Path) -> None:
    place = WorkspacePlace(tmp_path, server)
    for said in (TOKEN, WorkspacePlace.token, base64.b64encode(WorkspacePlace.token.encode()).decode()):
        refused = Reply(401, {"type": "error", "error": {"message": f"bad: {said}"}})
        server.before = lambda _, refused=refused: refused  # type: ignore[misc]
        with pytest.raises(BackendError, match="401") as caught:
            place.open().held()
        assert "bad" not in caught.value.what

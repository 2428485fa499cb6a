"""What is Azure DevOps' own; what all backends have in common is in the contract."""

from __future__ import annotations

import copy
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from ci_user.backends import settings_model, settings_of
from ci_user.backends.protocol import Held
from ci_user.errors import BackendError
from tests.contract.doubles.azure_devops import AzureDevOps, GroupPlace
from tests.contract.place import TOKEN, Names, new_key
from tests.vendors.server import Call, Reply


@pytest.fixture
def server() -> Iterator[AzureDevOps]:
    with AzureDevOps() as running:
        yield running


@pytest.fixture
def place(server: AzureDevOps, tmp_path: Path) -> GroupPlace:
    return GroupPlace(tmp_path, server)


def validated(**changes: Any) -> Any:
    document = {"backend": "azure-devops", "organization": "shop", "project": "web", "group": "aws", **changes}
    return settings_model("azure-devops").model_validate(document)


def test_what_is_no_place_is_refused_with_what_is_expected() -> None:
    wrong = {
        "organization": ["", "-shop", "shop/web", "größe"],
        "project": ["", "_web", ".web", "web.", "a/b", "a%b", "x" * 65, "..", "0d1e2f3a-4b5c-4d6e-8f70-8192a3b4c5d6"],
        "group": ["", "a\nb"],
    }
    for setting, values in wrong.items():
        for value in values:
            with pytest.raises(ValidationError, match=r"name"):
                validated(**{setting: value})


@pytest.mark.parametrize("name", ["SECRET_KEY", "Input_1", "endpoint", "path_a", "SecureFileX"])
def test_names_that_no_pipeline_is_given_are_refused(name: str) -> None:
    with pytest.raises(ValidationError, match="endpoint, input, path, secret, securefile"):
        validated(names={"secret": name})


def test_a_place_is_one_line_and_back() -> None:
    settings = validated(project="größe (1)", group="a/b #1", names={"key_id": "X_ID", "secret": "X_ID_SECRET"})
    line = settings.target(Names())
    assert line == "azure-devops:dev.azure.com/shop/gr%C3%B6%C3%9Fe %281%29/a%2Fb %231#X_ID"
    assert settings_of(line, Names()) == settings
    assert settings_of("azure-devops:dev.azure.com/shop/web", Names()) is None


def test_a_project_in_other_letters_is_the_same_place_and_a_group_is_not(place: GroupPlace) -> None:
    key = new_key()
    place.deliver(key)
    other = place.open(organization="Shop", project=place.project.upper())
    assert other.target == place.open().target
    assert other.held() == Held(key.id, None)
    for refused in (place.open(group="AWS-Production").held, place.open(group="AWS-Production").remove):
        with pytest.raises(BackendError, match="of this name is listed, but aws-production"):
            refused()


def test_importing_it_imports_no_http() -> None:
    code = "import sys, ci_user.backends.azure_devops; sys.exit('requests' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_all_else_in_the_group_stays_as_it_was(server: AzureDevOps, place: GroupPlace) -> None:
    group = server.groups[place.number]
    group["variables"] = {
        "SITE": {"value": "https://example.com"},
        "EMPTY": {"value": ""},
        "PASSWORD": {"value": "kept", "isSecret": True},
        "Locked": {"value": "x", "isReadOnly": True, "isSecret": False},
    }
    group["variableGroupProjectReferences"].append(
        {"name": "shared", "description": "d", "projectReference": {"id": "p2", "name": "other"}}
    )
    before = copy.deepcopy(group)
    for _ in range(2):
        place.deliver(new_key())
    kept = {name: value for name, value in place.variables.items() if name in before["variables"]}
    assert kept == before["variables"]
    place.open().remove()
    moved = {"modifiedOn", "modifiedBy"}
    assert {k: v for k, v in group.items() if k not in moved} == {k: v for k, v in before.items() if k not in moved}


def test_one_request_writes_key_and_note(server: AzureDevOps, place: GroupPlace) -> None:
    key = new_key()
    place.deliver(key)
    assert [call.method for call in server.changing] == ["PUT"]
    secret = {name: variable.get("isSecret", False) for name, variable in place.variables.items()}
    own = {"AWS_ACCESS_KEY_ID": True, "AWS_SECRET_ACCESS_KEY": True, "CI_USER_AWS_ACCESS_KEY_ID": False}
    assert secret == {"SITE": False} | own
    assert key.id in place.variables["CI_USER_AWS_ACCESS_KEY_ID"]["value"]


def test_a_group_with_nothing_else_in_it_is_not_left_empty(place: GroupPlace) -> None:
    place.deliver(new_key())
    del place.variables["SITE"]
    assert place.open().remove() is True
    assert list(place.variables) == ["CI_USER_AWS_ACCESS_KEY_ID"]
    assert place.open().held() == Held(None, None)
    assert place.open().remove() is False
    assert "do not exist yet" in " ".join(place.open().preflight())
    key = new_key()
    place.deliver(key)
    assert place.open().held() == Held(key.id, None)


def test_a_group_that_no_project_is_named_of_is_written_for_this_one(server: AzureDevOps, place: GroupPlace) -> None:
    def nameless(call: Call, reply: Reply) -> Reply | None:
        if call.method != "GET" or call.path[-1] != str(place.number):
            return None
        return replace(reply, document=reply.document | {"variableGroupProjectReferences": None})

    server.after = nameless
    server.before = lambda call: Reply(200, server.groups[place.number]) if call.method == "PUT" else None
    with pytest.raises(BackendError, match="not as it was written"):
        place.deliver(new_key())
    [written] = server.changing
    expected = [{"name": "aws-production", "projectReference": {"name": place.project}}]
    assert written.body["variableGroupProjectReferences"] == expected


def test_a_group_of_a_key_vault_is_refused(server: AzureDevOps, place: GroupPlace) -> None:
    server.new_group("shop", place.project, "vault", kind="AzureKeyVault")
    for refused in (place.open(group="vault").preflight, lambda: place.deliver(new_key(), place.open(group="vault"))):
        with pytest.raises(BackendError, match="linked to a key vault"):
            refused()
    assert server.changing == []


def test_who_may_not_manage_the_group_is_told_before_a_key_is_made(server: AzureDevOps, place: GroupPlace) -> None:
    server.unmanaged.add(place.number)
    with pytest.raises(BackendError, match="may not manage") as caught:
        place.open().preflight()
    assert "administrator" in str(caught.value.do)


def test_the_preflight_tells_who_is_logged_in_and_who_changed_the_group_last(place: GroupPlace) -> None:
    place.write_foreign("SOMETHING")
    told = " ".join(place.open().preflight())
    assert "logged in as CI Robot" in told
    assert "last changed by Norman Paulk at 2026-11-01" in told


def test_a_token_that_may_not_ask_who_it_is_is_no_failure(server: AzureDevOps, place: GroupPlace) -> None:
    limit = (("X-RateLimit-Remaining", "12"),)
    server.before = lambda call: Reply(403, {}, headers=limit) if call.path[-1] == "connectionData" else None
    assert place.open().preflight()[0] == "logged in; 12 of the rate limit is left"


@pytest.mark.parametrize(
    "page",
    [
        Reply(203, body=b"<html>Sign in</html>", headers=(("Content-Type", "text/html"),)),
        Reply(302, headers=(("Location", "https://app.vssps.visualstudio.com/_signin"),)),
    ],
    ids=["203", "302"],
)
def test_a_page_to_sign_in_means_a_bad_token(server: AzureDevOps, place: GroupPlace, page: Reply) -> None:
    server.before = lambda _: page
    for refused in (place.open().preflight, place.open().held, lambda: place.deliver(new_key())):
        with pytest.raises(BackendError, match="page to sign in") as caught:
            refused()
        assert "renew the token in AZURE_DEVOPS_TOKEN" in str(caught.value.do)
        assert "Variable Groups (read, create, & manage)" in str(caught.value.expected)


def test_a_wrong_token_is_answered_as_one(place: GroupPlace) -> None:
    environ = place.environ | {"AZURE_DEVOPS_TOKEN": TOKEN[:-1]}
    with pytest.raises(BackendError, match="401"):
        place.open(environ=environ).held()


def test_a_token_that_no_header_can_carry_is_told_and_not_shown(server: AzureDevOps, place: GroupPlace) -> None:
    place.environ["AZURE_DEVOPS_TOKEN"] = "token\udcff"
    with pytest.raises(BackendError, match="characters that no request can carry") as caught:
        place.open().held()
    assert caught.value.__context__ is None
    assert server.calls == []


def test_a_group_that_is_gone_between_list_and_look_does_not_exist(server: AzureDevOps, place: GroupPlace) -> None:
    server.before = lambda call: Reply(200, body=b"null") if call.path[-1] == str(place.number) else None
    with pytest.raises(BackendError, match="not there any more"):
        place.open().held()


def test_a_variable_that_is_no_secret_any_more_was_changed(server: AzureDevOps, place: GroupPlace) -> None:
    place.deliver(new_key())
    server.put(place.number, "AWS_SECRET_ACCESS_KEY", "foreign", secret=False)
    assert place.open().held() == Held(None, None)
    for refused in (place.open().preflight, lambda: place.deliver(new_key()), place.open().remove):
        with pytest.raises(BackendError, match="changed by somebody else"):
            refused()
    assert place.consumed()[1] == "foreign"


def test_a_variable_that_was_deleted_makes_the_key_no_whole_one(place: GroupPlace) -> None:
    place.deliver(new_key())
    del place.variables["AWS_SECRET_ACCESS_KEY"]
    assert place.open().held() == Held(None, None, torn=True)
    key = new_key()
    place.deliver(key)
    assert place.open().held() == Held(key.id, None)


def test_a_clone_of_a_group_holds_no_key_until_one_is_delivered(server: AzureDevOps, place: GroupPlace) -> None:
    place.deliver(new_key())
    clone = server.new_group("shop", place.project, "clone")
    server.groups[clone]["variables"] = {
        name: {**variable, "value": "" if variable.get("isSecret") else variable["value"]}
        for name, variable in copy.deepcopy(place.variables).items()
    }
    assert place.open(group="clone").held() == Held(None, None)
    key = new_key()
    place.deliver(key, place.open(group="clone"))
    assert place.open(group="clone").held() == Held(key.id, None)
    assert server.groups[clone]["variables"]["AWS_SECRET_ACCESS_KEY"]["value"] == key.secret.reveal()


def test_a_name_in_other_letters_is_the_same_variable(server: AzureDevOps, place: GroupPlace) -> None:
    place.write_foreign("aws_secret_access_key")
    with pytest.raises(BackendError, match="not made by this tool"):
        place.deliver(new_key())
    assert server.changing == []


def test_a_variable_of_the_notes_name_that_is_no_note_is_left_alone(server: AzureDevOps, place: GroupPlace) -> None:
    server.put(place.number, "CI_USER_AWS_ACCESS_KEY_ID", "mine", secret=False)
    for refused in (place.open().preflight, lambda: place.deliver(new_key())):
        with pytest.raises(BackendError, match="not made by this tool"):
            refused()
    assert place.open().remove() is False
    assert server.changing == []


def test_somebody_who_writes_the_group_back_just_after_is_noticed(server: AzureDevOps, place: GroupPlace) -> None:
    before = copy.deepcopy(server.groups[place.number]["variables"])

    def write_back(call: Call, _: Reply) -> None:
        if call.method == "PUT":
            server.groups[place.number]["variables"] = copy.deepcopy(before)

    server.after = write_back
    with pytest.raises(BackendError, match="at the same time"):
        place.deliver(new_key())
    server.after = lambda _call, _reply: None
    assert place.open().held() == Held(None, None)
    key = new_key()
    place.deliver(key)
    before = copy.deepcopy(server.groups[place.number]["variables"])
    server.after = write_back
    with pytest.raises(BackendError, match="at the same time"):
        place.open().remove()


def test_two_environments_write_one_group_in_turn(place: GroupPlace) -> None:
    keys = [new_key(), new_key()]
    backends = [
        place.open(replace(Names(), prefix=f"shop-{name}"), names={"prefix": f"{name}_"}) for name in ("ONE", "TWO")
    ]
    threads = [
        threading.Thread(target=backend.deliver, args=(key,)) for backend, key in zip(backends, keys, strict=True)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert [backend.held() for backend in backends] == [Held(key.id, None) for key in keys]

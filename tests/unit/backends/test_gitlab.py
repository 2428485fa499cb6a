"""What is special about GitLab: scopes, masking, hidden and protected variables, and that no secret is ever read."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from ci_user.backends.gitlab import ABOUT, Settings
from ci_user.backends.protocol import Held
from ci_user.errors import BackendError
from ci_user.secret import AccessKey, Secret
from tests.contract.doubles.gitlab import GitLab, GroupPlace, InstancePlace, ProjectPlace
from tests.contract.place import SECRET, Names, new_key
from tests.vendors.server import Call, Reply

ID, SECRET_NAME, NOTE = "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "CI_USER_AWS_ACCESS_KEY_ID"


@pytest.fixture(scope="module")
def shared() -> Iterator[GitLab]:
    with GitLab() as server:
        yield server


@pytest.fixture
def server(shared: GitLab) -> Iterator[GitLab]:
    shared.calls.clear()
    yield shared
    shared.version, shared.scopes, shared.level, shared.left = "17.5.1-ee", ["api"], 40, None
    shared.before = lambda _: None
    shared.after = lambda _call, _reply: None


@pytest.fixture
def project(server: GitLab, tmp_path: Path) -> ProjectPlace:
    return ProjectPlace(tmp_path, server)


@pytest.fixture
def group(server: GitLab, tmp_path: Path) -> GroupPlace:
    return GroupPlace(tmp_path, server)


def stored(place: ProjectPlace | GroupPlace | InstancePlace, name: str, scope: str | None = None) -> dict[str, Any]:
    return place.server.variables[place.owner][name, scope or place.scope]


def settings(**entry: object) -> Settings:
    return Settings.model_validate({"backend": "gitlab", **entry})


# No secret is read, nothing is listed


@pytest.mark.parametrize("cls", [ProjectPlace, GroupPlace, InstancePlace])
def test_the_secret_is_asked_for_with_head_only_and_nothing_is_listed(
    cls: type[ProjectPlace | GroupPlace | InstancePlace], server: GitLab, tmp_path: Path
) -> None:
    place = cls(tmp_path, server)
    for _ in range(2):
        place.open().preflight()
        place.deliver(new_key())
        place.open().held()
    place.open().remove()
    about = [call for call in server.calls if SECRET_NAME in call.path and call.method not in ("PUT", "DELETE")]
    assert about
    assert {call.method for call in about} == {"HEAD"}
    assert not [call for call in server.calls if call.path[-1] == "variables" and call.method != "POST"]


def test_the_flags_and_the_exact_values_are_what_a_job_gets(project: ProjectPlace) -> None:
    key = AccessKey(new_key().id, Secret('a$HOME/${X}"&+=\\8'))
    project.deliver(key, project.open(names={"region": "AWS_REGION"}))
    assert stored(project, SECRET_NAME)["value"] == key.secret.reveal()
    shown = {
        name: (found["masked"], found["raw"], found["variable_type"], found["protected"])
        for name in (ID, SECRET_NAME, "AWS_REGION", NOTE)
        for found in [stored(project, name)]
    }
    assert shown == {
        ID: (True, True, "env_var", False),
        SECRET_NAME: (True, True, "env_var", False),
        "AWS_REGION": (False, True, "env_var", False),
        NOTE: (False, True, "env_var", False),
    }


def test_variables_of_other_scopes_stay_as_they_are(project: ProjectPlace) -> None:
    project.deliver(new_key())
    project.deliver(new_key())
    assert project.open().remove() is True
    for scope in ("*", "production/*"):
        assert stored(project, SECRET_NAME, scope)["value"] == "of another scope"


def test_every_request_for_one_variable_names_its_scope(project: ProjectPlace) -> None:
    project.deliver(new_key())
    project.deliver(new_key())
    project.open().remove()
    for call in project.server.calls:
        if "variables" in call.path and call.path[-1] != "variables":
            assert call.query == {"filter[environment_scope]": ["production"]}
        elif call.method == "POST":
            assert call.body["environment_scope"] == "production"
        assert call.method != "PUT" or "environment_scope" not in call.body


def test_two_scopes_of_one_project_are_two_places(project: ProjectPlace) -> None:
    old, new = new_key(), new_key()
    project.deliver(old)
    project.deliver(new, project.open(environment_scope="staging"))
    assert project.open().held() == Held(old.id, None)
    assert project.open(environment_scope="staging").held() == Held(new.id, None)
    assert project.open(environment_scope="staging").remove() is True
    assert project.open().held() == Held(old.id, None)


def test_a_group_without_a_licence_for_scopes_gets_no_secret_in_a_wider_one(group: GroupPlace) -> None:
    group.server.unscoped.add(group.owner[1])
    with pytest.raises(BackendError, match=r"for the scope \*, not production") as caught:
        group.deliver(new_key(), group.open(environment_scope="production"))
    assert "Premium" in str(caught.value.do)
    assert group.server.variables[group.owner] == {}
    assert SECRET not in repr([call.body for call in group.server.calls])


def test_an_answer_of_another_scope_is_no_answer(project: ProjectPlace) -> None:
    project.deliver(new_key())
    project.server.after = lambda call, reply: (
        replace(reply, document={**reply.document, "environment_scope": "*"}) if NOTE in call.path else None
    )
    with pytest.raises(BackendError, match="not what GitLab documents"):
        project.open().held()


@pytest.mark.parametrize(
    ("field", "other"), [("masked", False), ("protected", True), ("raw", False), ("value", "x"), ("description", None)]
)
def test_what_gitlab_wrote_otherwise_is_told_without_the_value(project: ProjectPlace, field: str, other: Any) -> None:
    project.server.after = lambda call, reply: (
        replace(reply, document={**reply.document, field: other})
        if call.method == "POST" and call.body["key"] == SECRET_NAME
        else None
    )
    with pytest.raises(BackendError, match=f"{SECRET_NAME} was written, but GitLab tells another {field}") as caught:
        project.deliver(new_key())
    assert SECRET not in repr(vars(caught.value))
    project.server.after = lambda _call, _reply: None
    assert project.open().held() == Held(None, None, torn=True)


# Masked, protected, hidden


def test_a_value_that_cannot_be_masked_is_not_sent(project: ProjectPlace) -> None:
    with pytest.raises(BackendError, match="cannot be masked") as caught:
        project.deliver(AccessKey(new_key().id, Secret("with a space")))
    assert "masked: false" in str(caught.value.do)
    assert (SECRET_NAME, "production") not in project.server.variables[project.owner]
    key = AccessKey(new_key().id, Secret("with a space"))
    project.deliver(key, project.open(masked=False))
    assert project.consumed() == (key.id, "with a space")
    assert stored(project, ID)["masked"] is False


@pytest.mark.parametrize(
    ("environment", "entry", "protected"),
    [
        (Names(protected=True), {}, True),
        (Names(), {}, False),
        (Names(protected=True), {"protected": False}, False),
        (Names(), {"protected": True}, True),
    ],
)
def test_variables_are_protected_as_the_environment_is_unless_the_file_says(
    project: ProjectPlace, environment: Names, entry: dict[str, Any], protected: bool
) -> None:
    project.deliver(new_key(), project.open(environment, **entry))
    assert {stored(project, name)["protected"] for name in (ID, SECRET_NAME, NOTE)} == {protected}


@pytest.mark.parametrize("cls", [ProjectPlace, GroupPlace])
def test_a_hidden_secret_is_made_updated_and_removed(
    cls: type[ProjectPlace | GroupPlace], server: GitLab, tmp_path: Path
) -> None:
    place = cls(tmp_path, server)
    for _ in range(2):
        key = new_key()
        place.deliver(key, place.open(hidden=True))
        assert place.consumed() == (key.id, SECRET)
        assert place.open(hidden=True).held() == Held(key.id, None)
    assert [stored(place, name)["hidden"] for name in (ID, SECRET_NAME, NOTE)] == [False, True, False]
    assert [call for call in server.calls if call.method == "DELETE"] == []
    assert place.open(hidden=True).remove() is True
    assert place.consumed() == (None, None)


def test_a_visible_secret_becomes_hidden_at_the_next_delivery(project: ProjectPlace) -> None:
    project.deliver(new_key())
    key = new_key()
    project.deliver(key, project.open(hidden=True))
    assert stored(project, SECRET_NAME)["hidden"] is True
    assert project.consumed() == (key.id, SECRET)
    assert stored(project, SECRET_NAME, "*")["value"] == "of another scope"


def test_hiding_that_breaks_off_is_finished_by_the_next_run(project: ProjectPlace) -> None:
    project.deliver(new_key())
    project.server.before = lambda call: Reply(drop=True) if call.method == "POST" else None
    with pytest.raises(BackendError, match="no answer"):
        project.deliver(new_key(), project.open(hidden=True))
    project.server.before = lambda _: None
    assert project.open(hidden=True).held() == Held(None, None, torn=True)
    key = new_key()
    project.deliver(key, project.open(hidden=True))
    assert project.open(hidden=True).held() == Held(key.id, None)


def test_a_hidden_secret_stays_hidden_when_the_file_no_longer_asks(project: ProjectPlace) -> None:
    project.deliver(new_key(), project.open(hidden=True))
    key = new_key()
    project.deliver(key)
    assert stored(project, SECRET_NAME)["hidden"] is True
    assert project.consumed() == (key.id, SECRET)


@pytest.mark.parametrize("token", ["glued\ntogether", "größe", "a€b", "nul\0"])
def test_a_token_that_no_header_can_carry_is_told_and_not_shown(project: ProjectPlace, token: str) -> None:
    project.environ["GITLAB_TOKEN"] = token
    project.server.calls.clear()
    with pytest.raises(BackendError, match="characters that no request can carry") as caught:
        project.open().held()
    assert "GITLAB_TOKEN" in caught.value.what
    assert token not in str(caught.value)
    assert project.server.calls == []


@pytest.mark.parametrize("status", [200, 400])
def test_an_answer_of_unreadable_depth_or_size_is_no_traceback(project: ProjectPlace, status: int) -> None:
    deep = b"[" * 100_000 + b"]" * 100_000
    project.server.before = lambda _: Reply(status, body=deep)
    for refused in (project.open().preflight, project.open().held, lambda: project.deliver(new_key())):
        with pytest.raises(BackendError):
            refused()


# What somebody else did


def test_a_changed_key_id_is_somebody_elses(project: ProjectPlace) -> None:
    project.deliver(new_key())
    project.write_foreign(ID)
    assert project.open().held() == Held(None, None)
    for refused in (project.open().preflight, lambda: project.deliver(new_key()), project.open().remove):
        with pytest.raises(BackendError, match="changed by somebody else"):
            refused()


@pytest.mark.parametrize("change", [{"masked": False}, {"protected": True}, {"description": "mine"}])
def test_a_changed_flag_of_the_key_id_is_seen(project: ProjectPlace, change: dict[str, Any]) -> None:
    project.deliver(new_key())
    stored(project, ID).update(change)
    with pytest.raises(BackendError, match="changed by somebody else"):
        project.open().preflight()


def test_a_secret_that_is_gone_is_a_torn_write_and_healed(project: ProjectPlace) -> None:
    key = new_key()
    project.deliver(key)
    del project.server.variables[project.owner][SECRET_NAME, "production"]
    assert project.open().held() == Held(None, None, torn=True)
    project.deliver(key)
    assert project.open().held() == Held(key.id, None)


@pytest.mark.parametrize("value", ["mine", '{"environment": "shop-testing", "key": null, "variables": {"../x": ""}}'])
def test_a_variable_of_the_notes_name_that_is_no_note_is_left_alone(project: ProjectPlace, value: str) -> None:
    project.server.put(project.owner, NOTE, value, "production")
    for refused in (project.open().preflight, lambda: project.deliver(new_key()), project.open().remove):
        with pytest.raises(BackendError, match="not made by this tool"):
            refused()
    assert stored(project, NOTE)["value"] == value


def test_a_variable_that_somebody_makes_meanwhile_is_not_overwritten(project: ProjectPlace) -> None:
    def meanwhile(call: Call) -> None:
        if call.method == "POST" and call.body["key"] == SECRET_NAME:
            project.write_foreign()

    project.server.before = meanwhile
    with pytest.raises(BackendError, match="GitLab answered 400"):
        project.deliver(new_key())
    assert project.consumed()[1] == "foreign"


# Before a key is made


def test_preflight_says_what_it_found(project: ProjectPlace) -> None:
    project.server.left = "1990"
    assert project.open().preflight() == (
        "the token has the scopes api, until 2027-01-02",
        "GitLab 17.5.1-ee",
        f"the project {project.owner[1]} exists, where the token's role is Maintainer",
        "the token may manage its variables",
        "key ids and secrets fit what GitLab can mask",
        "1990 requests are left before GitLab limits them",
        "the variables do not exist yet",
    )


def test_a_token_that_may_only_read_is_refused(project: ProjectPlace) -> None:
    project.server.scopes = ["read_api", "read_repository"]
    with pytest.raises(BackendError, match="read_api, read_repository, which may not write") as caught:
        project.open().preflight()
    assert Settings.scopes in str(caught.value.do)


@pytest.mark.parametrize("scopes", [None, ["granular"], ["api", "read_user"]])
def test_a_token_that_tells_less_may_still_do(project: ProjectPlace, scopes: list[str] | None) -> None:
    project.server.scopes = scopes
    assert project.open().preflight()


def test_a_role_that_may_not_manage_variables_is_refused(project: ProjectPlace) -> None:
    project.server.level = 30
    with pytest.raises(BackendError, match="403") as caught:
        project.open().preflight()
    assert "Maintainer" in str(caught.value.do)


@pytest.mark.parametrize(
    ("version", "fits"), [("17.3.9", False), ("9.5.10", False), ("17.4.0-pre", True), ("19.0", True)]
)
def test_a_gitlab_that_is_too_old_is_refused(project: ProjectPlace, version: str, fits: bool) -> None:
    project.server.version = version
    if fits:
        assert f"GitLab {version}" in project.open().preflight()
        return
    with pytest.raises(BackendError, match=r"17\.4 or later"):
        project.open().preflight()


def test_an_archived_project_is_refused(project: ProjectPlace) -> None:
    project.server.archived.add(project.owner[1])
    with pytest.raises(BackendError, match="archived"):
        project.open().preflight()


def test_another_spelling_of_the_path_is_refused(project: ProjectPlace) -> None:
    project.server.after = lambda call, reply: (
        replace(reply, document={**reply.document, "path_with_namespace": "Shop/App"}) if len(call.path) == 4 else None
    )
    with pytest.raises(BackendError, match="as Shop/App"):
        project.open().preflight()


# Settings


@pytest.mark.parametrize(
    ("entry", "text"),
    [
        ({}, "one of project, group and instance"),
        ({"project": "a/b", "group": "a"}, "one of project, group and instance"),
        ({"project": "a/b", "instance": True, "url": "https://git.example.com"}, "one of project, group and instance"),
        ({"project": "app"}, "GROUP/NAME"),
        ({"project": "shop/../x"}, "GROUP/NAME"),
        ({"project": "shop/app "}, "GROUP/NAME"),
        ({"project": "shop//app"}, "GROUP/NAME"),
        ({"project": "größe/app"}, "GROUP/NAME"),
        ({"group": "-shop"}, "a group's path"),
        ({"group": ".."}, "a group's path"),
        ({"project": "a/b", "environment_scope": "prod@eu"}, "a scope"),
        ({"project": "a/b", "environment_scope": ""}, "a scope"),
        ({"project": "a/b", "environment_scope": " prod"}, "a scope"),
        ({"project": "a/b", "environment_scope": "prod "}, "a scope"),
        ({"project": "a/b", "hidden": True, "masked": False}, "masked: true"),
        ({"instance": True}, "gitlab.com is nobody's own"),
        ({"instance": True, "url": "https://git.example.com", "hidden": True}, "neither environment_scope nor hidden"),
        (
            {"instance": True, "url": "https://git.example.com", "environment_scope": "x"},
            "neither environment_scope nor hidden",
        ),
    ],
)
def test_what_gitlab_would_refuse_is_refused_in_the_file(entry: dict[str, object], text: str) -> None:
    with pytest.raises(ValidationError, match=text):
        settings(**entry)


@pytest.mark.parametrize(
    ("entry", "target"),
    [
        ({"project": "shop/app"}, "gitlab:gitlab.com/project/shop/app"),
        ({"project": "a/b/c.d", "environment_scope": "review/*"}, "gitlab:gitlab.com/project@review%2F%2A/a/b/c.d"),
        ({"group": "shop", "environment_scope": "a b"}, "gitlab:gitlab.com/group@a b/shop"),
        ({"project": "shop/app", "names": {"prefix": "P_"}}, "gitlab:gitlab.com/project/shop/app#P_AWS_ACCESS_KEY_ID"),
        ({"group": "shop", "url": "https://git.example.com/lab"}, "gitlab:git.example.com%2Flab/group/shop"),
        ({"instance": True, "url": "https://git.example.com:8443"}, "gitlab:git.example.com:8443/instance"),
    ],
)
def test_a_place_is_one_line_and_found_again_by_it(entry: dict[str, object], target: str) -> None:
    assert settings(**entry).target(Names()) == target
    again = Settings.from_target(target, Names())
    assert again is not None
    assert again.target(Names()) == target


@pytest.mark.parametrize(
    "line", ["gitlab:gitlab.com", "gitlab:gitlab.com/", "gitlab:gitlab.com/project@/a/b", "gitlab:"]
)
def test_a_line_of_nothing_is_nothing(line: str) -> None:
    assert Settings.from_target(line, Names()) is None


def test_a_gitlab_below_a_path_is_reached(tmp_path: Path) -> None:
    with GitLab(base="/lab") as server:
        place = ProjectPlace(tmp_path, server)
        key = new_key()
        place.open().preflight()
        place.deliver(key)
        assert place.open().held() == Held(key.id, None)
        assert place.open().remove() is True


def test_a_gitlab_with_an_authority_of_its_own_is_trusted_by_its_file_only(tmp_path: Path) -> None:
    from tests.unit.backends.test_http import certificate

    context, ca_file = certificate(tmp_path)
    with GitLab(tls=context) as server:
        place = ProjectPlace(tmp_path, server)
        assert place.open(ca_file=ca_file.name).held() == Held(None, None)
        with pytest.raises(BackendError, match="no answer") as caught:
            place.open().held()
    assert "ca_file" in str(caught.value.do)


# The library


def test_without_the_library_the_error_names_the_extra(project: ProjectPlace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gitlab", None)
    with pytest.raises(BackendError, match="python-gitlab is not installed") as caught:
        project.open().preflight()
    assert "ci-user[gitlab]" in str(caught.value.do)
    assert ABOUT.extra == "gitlab"


def test_importing_the_backend_imports_no_library() -> None:
    code = "import ci_user.backends.gitlab, sys; print({'gitlab', 'requests'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "set()"


def test_the_how_to_fits_a_screen() -> None:
    assert len(ABOUT.how_to.splitlines()) <= 35

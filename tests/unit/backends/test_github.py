"""What is special about GitHub: sealed boxes, scopes with keys of their own, Apps, limits, and how little PyGithub may decide."""

from __future__ import annotations

import base64
import logging
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from nacl.exceptions import CryptoError
from pydantic import ValidationError

from ci_user.backends.github import ABOUT, Settings, app_in
from ci_user.backends.github_refusals import clock
from ci_user.backends.github_requests import sealed
from ci_user.backends.protocol import Held
from ci_user.backends.slots import Note
from ci_user.errors import BackendError
from ci_user.secret import AccessKey, Secret
from tests.contract.doubles.github import (
    AppPlace,
    EnvironmentPlace,
    GitHub,
    OrganizationPlace,
    RepositoryPlace,
    Scope,
)
from tests.contract.place import SECRET, TOKEN, Names, new_key
from tests.vendors.server import Call, Reply

NOTE = "CI_USER_AWS_ACCESS_KEY_ID"
ID, SECRET_NAME = "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"


@pytest.fixture(scope="module")
def shared() -> Iterator[GitHub]:
    with GitHub() as server:
        yield server


@pytest.fixture
def server(shared: GitHub) -> Iterator[GitHub]:
    shared.calls.clear()
    permissions = dict(shared.permissions)
    yield shared
    shared.remaining, shared.limited, shared.oauth_scopes, shared.suspended_at = 4990, True, "admin:org, repo", None
    shared.permissions = permissions
    shared.before = lambda _: None
    shared.after = lambda _call, _reply: None


@pytest.fixture
def place(server: GitHub, tmp_path: Path) -> RepositoryPlace:
    return RepositoryPlace(tmp_path, server)


@pytest.fixture
def app(server: GitHub, tmp_path: Path) -> AppPlace:
    return AppPlace(tmp_path, server)


@pytest.fixture
def organization(server: GitHub, tmp_path: Path) -> OrganizationPlace:
    return OrganizationPlace(tmp_path, server)


def settings(**entry: object) -> Settings:
    return Settings.model_validate({"backend": "github", **entry})


def told(place: RepositoryPlace, **changes: Any) -> str:
    return "\n".join(place.open(**changes).preflight())


def refused(place: RepositoryPlace, **changes: Any) -> str:
    with pytest.raises(BackendError) as caught:
        place.open(**changes).preflight()
    return f"{caught.value.what}\n{caught.value.expected}\n{caught.value.do}"


# Sealed boxes


def test_each_scope_has_a_key_of_its_own_and_only_that_opens_the_exact_value(server: GitHub, tmp_path: Path) -> None:
    value = "größer/+=\n\"'\\ & " + SECRET
    places = [kind(tmp_path, server) for kind in (RepositoryPlace, EnvironmentPlace, OrganizationPlace)]
    for place in places:
        server.calls.clear()
        place.deliver(AccessKey("AKIATEST12345678", Secret(value)))
        assert place.consumed() == ("AKIATEST12345678", value)
        body = next(call.body for call in server.calls if call.path[-1] == SECRET_NAME)
        assert body["key_id"] == place.scope.key_id
        assert place.scope.opened(body["encrypted_value"]) == value
        for other in places:
            if other is not place:
                with pytest.raises(CryptoError):
                    other.scope.opened(body["encrypted_value"])


def test_the_value_is_in_no_request(place: RepositoryPlace) -> None:
    place.deliver(new_key())
    assert SECRET not in repr([(call.raw_path, call.body, call.headers) for call in place.server.calls])


def test_two_boxes_of_one_value_differ() -> None:
    scope = Scope()
    boxes = [sealed(scope.public(), Secret("x")) for _ in range(2)]
    assert boxes[0] != boxes[1]
    assert [scope.opened(str(box)) for box in boxes] == ["x", "x"]


@pytest.mark.parametrize("key", ["", "no base64 %", base64.b64encode(b"short").decode(), "A" * 43 + "="])
def test_what_is_no_public_key_seals_nothing_and_shows_nothing(place: RepositoryPlace, key: str) -> None:
    assert sealed(key, Secret(SECRET)) is None
    place.server.after = lambda call, _: (
        Reply(200, {"key_id": "1", "key": key}) if call.path[-1] == "public-key" else None
    )
    for refused in (place.open().preflight, lambda: place.deliver(new_key())):
        with pytest.raises(BackendError, match="public key") as caught:
            refused()
        assert caught.value.__context__ is None
    assert place.consumed() == (None, None)


def test_a_value_above_48_kb_is_refused_before_it_is_sent(place: RepositoryPlace) -> None:
    with pytest.raises(BackendError, match="too long"):
        place.deliver(AccessKey(new_key().id, Secret("x" * (48 * 1024 + 1))))
    assert not [call for call in place.server.calls if call.method == "PUT"]


# Lists that lag behind


@pytest.mark.parametrize("first", [True, False])
def test_a_list_that_lags_behind_is_asked_again_and_nothing_is_written_twice(
    server: GitHub, place: RepositoryPlace, first: bool
) -> None:
    if not first:
        place.deliver(new_key())
        server.days += 1
    stale, late = Reply(200, server.listed(place.scope)), iter(range(2))
    server.calls.clear()

    def lag(call: Call) -> Reply | None:
        put = any(done.method == "PUT" for done in server.calls)
        return (
            stale
            if put and call.method == "GET" and call.path[-1] == "secrets" and next(late, None) is not None
            else None
        )

    server.before = lag
    key = new_key()
    place.deliver(key)
    assert place.pauses.seconds == [1.0, 2.0]
    assert [call.path[-1] for call in server.calls if call.method == "PUT"] == [SECRET_NAME, ID]
    assert place.open().held() == Held(key.id, None)


def test_a_list_that_never_shows_what_was_written_delivers_nothing(server: GitHub, place: RepositoryPlace) -> None:
    place.deliver(new_key())
    server.days += 1
    stale = Reply(200, server.listed(place.scope))
    server.before = lambda call: stale if call.method == "GET" and call.path[-1] == "secrets" else None
    with pytest.raises(BackendError, match="same time of change"):
        place.deliver(new_key())
    assert sum(place.pauses.seconds) < 20
    server.before = lambda _: None
    assert place.open().held() == Held(None, None, torn=True)


# The entry of the environment file


@pytest.mark.parametrize(
    ("entry", "wanted"),
    [
        ({}, "repository, or organization"),
        ({"repository": "a/b", "organization": "a", "visibility": "all"}, "repository, or organization"),
        ({"repository": "app"}, "OWNER/NAME"),
        ({"repository": "a/b/c"}, "OWNER/NAME"),
        ({"repository": "a/.."}, "OWNER/NAME"),
        ({"repository": "a/b", "environment": ".."}, "environment's name"),
        ({"repository": "a/b", "environment": "x" * 256}, "at most 255"),
        ({"organization": "a", "visibility": "all", "environment": "x"}, "environment with a repository"),
        ({"organization": "a"}, "visibility"),
        ({"repository": "a/b", "visibility": "all"}, "visibility with an organization"),
        ({"organization": "a", "visibility": "selected"}, "at least one"),
        ({"organization": "a", "visibility": "all", "repositories": ["x"]}, "visibility: selected"),
        ({"repository": "a/b", "url": "https://api.github.com"}, "without api."),
        ({"repository": "a/b", "url": "https://github.example.com/api/v3"}, "without a path"),
        ({"repository": "a/b", "names": {"secret": "aws_secret"}}, "upper case"),
        ({"repository": "a/b", "names": {"prefix": "prod_"}}, "upper case"),
        ({"repository": "a/b", "names": {"key_id": "GITHUB_KEY"}}, "do not begin with GITHUB_"),
        ({"repository": "a/b", "names": {"prefix": "GITHUB_"}}, "do not begin with GITHUB_"),
        ({"repository": "a/b", "app": {"id": 0, "installation": 1}}, "App"),
        ({"repository": "a/b", "app": {"id": 1}}, "installation"),
    ],
)
def test_an_entry_that_cannot_be_meant_is_refused_with_what_is_wanted(entry: dict[str, Any], wanted: str) -> None:
    with pytest.raises(ValidationError, match=wanted if wanted not in ("App", "installation") else None):
        settings(**entry)


@pytest.mark.parametrize(
    ("url", "api"),
    [
        ("https://github.com", "https://api.github.com"),
        ("https://GitHub.com/", "https://api.github.com"),
        ("https://octo.ghe.com", "https://api.octo.ghe.com"),
        ("https://github.example.com", "https://github.example.com/api/v3"),
        ("https://github.example.com:8443/", "https://github.example.com:8443/api/v3"),
        ("https://notgithub.com", "https://notgithub.com/api/v3"),
    ],
)
def test_the_token_goes_to_the_host_of_the_api(url: str, api: str) -> None:
    entry = settings(repository="a/b", url=url)
    assert entry.api == api
    assert (entry.need(Names()).url, entry.need(Names()).host) == (api, "api.github.com")


@pytest.mark.parametrize(
    "entry",
    [
        {"repository": "Shop/A.b_c-d"},
        {"repository": "shop/app", "environment": "größe / 100 % #1 ?;&=%2F ../x"},
        {"organization": "Shop-1", "visibility": "private"},
        {"repository": "shop/app", "url": "https://github.example.com:8443"},
        {"repository": "shop/app", "names": {"key_id": "OTHER_ID"}},
    ],
)
def test_a_place_is_found_again_by_its_line(entry: dict[str, Any]) -> None:
    target = settings(**entry).target(Names())
    again = Settings.from_target(target, Names())
    assert again is not None
    assert again.target(Names()) == target
    assert (again.scope()[0], again.url) == (settings(**entry).scope()[0], settings(**entry).url)


def test_names_that_github_takes_for_the_same_are_one_place() -> None:
    upper = settings(repository="Shop/App", environment="Production")
    assert upper.target(Names()) == settings(repository="shop/app", environment="production").target(Names())
    assert upper.scope() == ("repos", "Shop", "App", "environments", "Production")
    assert settings(repository="shop/app").target(Names()) != upper.target(Names())


# Rights


def test_a_classic_token_is_judged_by_its_scopes(place: RepositoryPlace, organization: OrganizationPlace) -> None:
    assert "with the scope repo" in told(place)
    assert "with the scope admin:org" in told(organization)
    place.server.oauth_scopes = "public_repo, workflow"
    assert "has the scopes public_repo, workflow, and not repo" in refused(place)
    place.server.oauth_scopes = "repo, read:org"
    assert "not admin:org" in refused(organization)
    assert Settings.scopes in refused(organization)


def test_a_classic_token_without_any_scope_is_refused(place: RepositoryPlace) -> None:
    place.environ["GITHUB_TOKEN"] = "ghp_x"
    place.server.before = lambda call: Reply(
        200, place.server.sample("private-user", login="octo"), headers=(("X-OAuth-Scopes", ""),)
    )
    assert "has the scopes none" in refused(place)


def test_of_a_fine_grained_token_it_is_said_that_nothing_is_known(place: RepositoryPlace) -> None:
    place.server.oauth_scopes = None
    assert "GitHub does not tell" in told(place)


def test_until_when_a_token_lasts_is_told(place: RepositoryPlace) -> None:
    until = ("GitHub-Authentication-Token-Expiration", "2026-12-24 18:00:00 UTC")
    for scopes in ((), (("X-OAuth-Scopes", "repo"),)):
        user = Reply(200, place.server.sample("private-user", login="octo"), headers=(until, *scopes))
        place.server.before = lambda call, user=user: user if call.path == ("user",) else None  # type: ignore[misc]
        assert "the token expires at 2026-12-24 18:00:00 UTC" in told(place)


def test_a_token_of_an_installation_that_somebody_else_made_needs_no_user(place: RepositoryPlace) -> None:
    def installation(call: Call) -> Reply | None:
        if call.path == ("user",):
            return Reply(403, {"message": "Resource not accessible by integration"})
        assert call.headers["authorization"] == "token ghs_x"
        return place.server.answer(Call(**vars(call) | {"headers": {"authorization": f"token {TOKEN}"}}))

    place.environ["GITHUB_TOKEN"] = "ghs_x"
    place.server.before = installation
    assert "token of an App's installation" in told(place)


@pytest.mark.parametrize(
    ("known", "wanted"),
    [
        ({"permissions": {"admin": False, "push": False, "pull": True}}, "without write access"),
        ({"archived": True}, "is archived"),
    ],
)
def test_a_repository_that_cannot_be_written_is_refused(
    place: RepositoryPlace, known: dict[str, Any], wanted: str
) -> None:
    place.server.repositories["shop", place.name] |= known
    assert wanted in refused(place)
    assert place.server.changing == []


def test_a_refusal_names_the_permission_that_github_would_take(place: RepositoryPlace) -> None:
    header = (("X-Accepted-GitHub-Permissions", "secrets=read"),)
    place.server.before = lambda _: Reply(403, {"message": "Resource not accessible"}, headers=header)
    with pytest.raises(BackendError, match="Resource not accessible, it takes secrets=read"):
        place.open().held()


def test_an_environment_that_does_not_exist_is_told_without_asking_for_more_rights(
    server: GitHub, tmp_path: Path
) -> None:
    place = EnvironmentPlace(tmp_path, server)
    assert f"the environment production of the repository shop/{place.name} has a public key" in told(place)
    assert f"the environment nowhere of the repository shop/{place.name} exists" in refused(
        place, environment="nowhere"
    )
    # Reading the environment itself would take "Actions: read" besides.
    assert not [call for call in server.calls if call.path[-2:-1] == ("environments",)]


def test_a_place_without_room_for_key_or_note_is_refused_before_a_key_is_made(
    place: RepositoryPlace, organization: OrganizationPlace
) -> None:
    for number in range(99):
        place.write_foreign(f"A_{number}")
        organization.write_foreign(f"A_{number}")
    assert f"the repository shop/{place.name} has 99 secrets, and 2 more would be needed" in refused(place)
    assert "at most 100 secrets" in refused(place)
    assert "do not exist yet" in told(organization)
    del place.scope.secrets["A_0"]
    place.scope.variables |= {f"A_{number}": ("x", "2026-11-01T00:00:00Z") for number in range(500)}
    assert "has 500 variables, and 1 more would be needed" in refused(place)
    del place.scope.variables["A_0"]
    place.deliver(new_key())
    assert "are this environment's" in told(place)


@pytest.mark.parametrize("token", ["glued\ntogether", "größe", "a€b", "nul\0"])
def test_a_token_that_no_header_can_carry_is_told_and_not_shown(place: RepositoryPlace, token: str) -> None:
    place.environ["GITHUB_TOKEN"] = token
    place.server.calls.clear()
    with pytest.raises(BackendError, match="characters that no request can carry") as caught:
        place.open().held()
    assert "GITHUB_TOKEN" in caught.value.what
    assert token not in str(caught.value)
    assert place.server.calls == []


@pytest.mark.parametrize("status", [200, 400])
def test_an_answer_of_unreadable_depth_or_size_is_no_traceback(place: RepositoryPlace, status: int) -> None:
    deep = b"[" * 100_000 + b"]" * 100_000
    endless = b'{"resources": {"core": {"remaining": 1e400, "reset": 1}}}'
    place.server.before = lambda _: Reply(status, body=deep)
    for refused in (place.open().preflight, place.open().held, lambda: place.deliver(new_key())):
        with pytest.raises(BackendError):
            refused()
    place.server.before = lambda call: Reply(200, body=endless) if call.path == ("rate_limit",) else None
    with pytest.raises(BackendError, match="not what GitHub documents"):
        place.open().preflight()


# A GitHub App


def test_an_app_is_judged_by_what_it_was_granted(app: AppPlace, server: GitHub, tmp_path: Path) -> None:
    assert "the GitHub App shop-keys is installed and may write secrets, actions_variables" in told(app)
    server.permissions = {"secrets": "read", "environments": "write"}
    assert "has not write on secrets, actions_variables" in refused(app)
    server.new_environment("shop", app.name, "production")
    assert "may write environments" in told(app, environment="production")
    server.suspended_at = "2026-11-01T00:00:00Z"
    assert "is suspended" in refused(app, environment="production")


def test_an_app_of_an_organisation_needs_the_organisations_rights(
    organization: OrganizationPlace, app: AppPlace
) -> None:
    organization.environ, login = app.environ, {"app": app.document["app"]}
    assert "organization_secrets, organization_actions_variables" in refused(organization, **login)
    organization.server.permissions = {"organization_secrets": "write", "organization_actions_variables": "write"}
    assert "may write organization_secrets" in told(organization, **login)


def test_an_apps_login_reaches_the_one_repository_and_is_made_once(app: AppPlace) -> None:
    app.deliver(new_key())
    logins = [call for call in app.server.calls if call.path[-1] == "access_tokens"]
    assert [call.body for call in logins] == [{"repositories": [app.name]}]


def test_an_apps_login_is_renewed_before_it_ends(app: AppPlace, monkeypatch: pytest.MonkeyPatch) -> None:
    backend, now = app.open(), time.monotonic()
    backend.held()
    monkeypatch.setattr(time, "monotonic", lambda: now + 3500)
    backend.held()
    assert len([call for call in app.server.calls if call.path[-1] == "access_tokens"]) == 2


def test_a_repository_that_an_app_does_not_reach_is_told(app: AppPlace) -> None:
    text = refused(app, app={"id": 12345, "installation": 1})
    assert "installation 1" in text
    with pytest.raises(BackendError, match="installation 67890") as caught:
        app.open(repository="shop/nowhere").held()
    assert "which reaches the repository shop/nowhere" in str(caught.value.expected)


def test_a_private_key_is_sent_nowhere_without_its_app(app: AppPlace) -> None:
    del app.document["app"], app.environ["GITHUB_TOKEN_APP"]
    with pytest.raises(BackendError, match="no GitHub App is named") as caught:
        app.open().held()
    assert "PRIVATE" not in f"{caught.value} {vars(caught.value)}"
    assert app.server.calls == []


def test_what_is_no_private_key_logs_no_app_in(app: AppPlace) -> None:
    for wrong in (TOKEN, "-----BEGIN RSA PRIVATE KEY-----\nbm9uZQ==\n-----END RSA PRIVATE KEY-----"):
        app.environ["GITHUB_TOKEN"] = wrong
        with pytest.raises(BackendError, match="not the private key of a GitHub App") as caught:
            app.open().held()
        assert caught.value.__context__ is None
    assert app.server.calls == []


def test_the_private_key_is_in_no_request_and_no_log(app: AppPlace, caplog: pytest.LogCaptureFixture) -> None:
    line = app.environ["GITHUB_TOKEN"].splitlines()[3]
    with caplog.at_level(logging.DEBUG):
        app.deliver(new_key())
    sent = repr([(call.raw_path, call.body, call.headers) for call in app.server.calls])
    assert line not in sent
    assert line not in caplog.text
    assert TOKEN not in caplog.text


@pytest.mark.parametrize(
    ("text", "found"),
    [("12/34", (12, 34)), ("Iv1.ab/34", ("Iv1.ab", 34)), ("12", None), ("", None), ("12/0", None), ("a b/1", None)],
)
def test_the_app_of_a_place_that_left_the_file_is_in_a_variable(text: str, found: tuple[object, int] | None) -> None:
    app = app_in({"GITHUB_TOKEN_APP": text})
    assert (app and (app.id, app.installation)) == found


# Limits


def test_too_few_requests_left_are_refused_with_the_time_of_the_next_ones(place: RepositoryPlace) -> None:
    place.server.remaining = 19
    text = refused(place)
    assert "only 19 requests are left until 07:33 UTC" in text
    assert place.server.changing == []
    place.server.remaining = 20
    assert "20 requests are left" in told(place)
    place.server.limited = False
    assert "not limited" in told(place)


@pytest.mark.parametrize("status", [403, 429])
def test_a_used_up_limit_is_not_told_as_a_missing_right(place: RepositoryPlace, status: int) -> None:
    used_up = (("X-RateLimit-Remaining", "0"), ("X-RateLimit-Reset", "1793000000"))
    place.server.before = lambda _: Reply(status, {"message": "API rate limit exceeded"}, headers=used_up)
    with pytest.raises(BackendError, match=f"answered {status}, because there were too many requests") as caught:
        place.open().held()
    assert "wait until 07:33 UTC" in str(caught.value.do)


def test_a_secondary_limit_that_is_told_in_words_only_is_not_told_as_a_missing_right(place: RepositoryPlace) -> None:
    words = "You have exceeded a secondary rate limit. Please wait a few minutes before you try again."
    place.server.before = lambda call: Reply(403, {"message": words}) if call.method == "PUT" else None
    with pytest.raises(BackendError, match="too many requests") as caught:
        place.deliver(new_key())
    assert "wait some minutes" in str(caught.value.do)


def test_a_403_that_asks_to_wait_is_waited_for_as_nothing_was_done(place: RepositoryPlace) -> None:
    answers = iter(
        [Reply(403, {"message": "You have exceeded a secondary rate limit"}, headers=(("Retry-After", "9"),))]
    )
    place.server.before = lambda call: next(answers, None) if call.method == "POST" else None
    key = new_key()
    place.deliver(key)
    assert 9.0 in place.pauses.seconds
    assert place.open().held() == Held(key.id, None)


@pytest.mark.parametrize("wait", ["9", "3600"])
def test_a_403_that_asks_to_wait_for_ever_is_an_error_in_the_end(place: RepositoryPlace, wait: str) -> None:
    place.server.before = lambda _: Reply(403, {"message": "slow"}, headers=(("Retry-After", wait),))
    with pytest.raises(BackendError, match="too many requests"):
        place.open().held()
    assert sum(place.pauses.seconds) <= 60


@pytest.mark.parametrize("odd", [None, "soon", "9" * 30])
def test_a_time_that_is_none_is_later(odd: object) -> None:
    assert clock(odd) == "later"


# Organisations


def test_who_reads_it_is_said_with_each_write_so_that_an_edited_file_takes_effect(
    organization: OrganizationPlace,
) -> None:
    owner = organization.key[1]
    ids = [organization.server.repositories[owner, name]["id"] for name in ("app", "web")]
    names = (ID, SECRET_NAME, NOTE)
    for _ in range(2):
        organization.deliver(new_key())
        wanted = {"visibility": "selected", "selected_repository_ids": ids}
        assert [organization.scope.shared[name] for name in names] == [wanted] * 3
    fewer = organization.open(repositories=["web"])
    organization.deliver(new_key(), fewer)
    assert organization.scope.shared[SECRET_NAME]["selected_repository_ids"] == ids[1:]
    organization.deliver(new_key(), organization.open(visibility="all", repositories=[]))
    assert [organization.scope.shared[name] for name in names] == [{"visibility": "all"}] * 3


def test_a_selected_repository_that_does_not_exist_is_told_before_a_key_is_made(
    organization: OrganizationPlace,
) -> None:
    text = refused(organization, repositories=["app", "nowhere"])
    assert "the repository nowhere of the organisation" in text
    assert organization.server.changing == []


# The note


def test_a_variable_of_the_notes_name_that_is_no_note_is_somebodys(place: RepositoryPlace) -> None:
    place.scope.variables[NOTE] = ("mine", "2026-11-01T00:00:00Z")
    with pytest.raises(BackendError, match="not made by this tool"):
        place.deliver(new_key())
    assert place.open().remove() is False
    assert place.scope.variables[NOTE][0] == "mine"


def test_the_note_holds_the_key_id_and_times_and_goes_last(place: RepositoryPlace) -> None:
    key = new_key()
    place.deliver(key)
    note = Note.parse(place.scope.variables[NOTE][0])
    assert note is not None
    assert (note.owner, note.key_id) == ("shop-testing", key.id)
    assert note.stamps == {name: place.scope.secrets[name][1] for name in (ID, SECRET_NAME)}
    place.server.calls.clear()
    place.open().remove()
    deleted = [call.path[-1] for call in place.server.calls if call.method == "DELETE"]
    assert deleted == [ID, SECRET_NAME, NOTE] or deleted == [SECRET_NAME, ID, NOTE]


# What PyGithub may not decide


def test_a_redirect_to_the_same_host_is_not_followed(place: RepositoryPlace) -> None:
    where = f"{place.server.url}/repositories/1"
    place.server.before = lambda _: Reply(301, {"message": "Moved"}, headers=(("Location", where),))
    with pytest.raises(BackendError, match="redirect"):
        place.open().held()
    assert len(place.server.calls) == 1


def test_a_202_is_not_asked_for_again_without_end(place: RepositoryPlace) -> None:
    place.server.before = lambda _: Reply(202, {})
    with pytest.raises(BackendError, match="not what GitHub documents"):
        place.open().held()
    assert len(place.server.calls) == 1


def test_a_header_that_is_no_number_is_no_traceback(place: RepositoryPlace) -> None:
    place.server.after = lambda _, reply: Reply(200, reply.document, headers=(("X-RateLimit-Reset", "soon"),))
    with pytest.raises(BackendError, match="not what GitHub documents"):
        place.open().held()


def test_pygithubs_own_connections_stay_as_they_are(place: RepositoryPlace) -> None:
    from github.Requester import HTTPRequestsConnectionClass, HTTPSRequestsConnectionClass, Requester

    place.deliver(new_key())
    own = vars(Requester)
    assert own["_Requester__httpConnectionClass"] is HTTPRequestsConnectionClass
    assert own["_Requester__httpsConnectionClass"] is HTTPSRequestsConnectionClass
    assert own["_Requester__persist"] is True


def test_every_request_says_which_version_it_speaks_and_who_asks(place: RepositoryPlace) -> None:
    place.deliver(new_key())
    for call in place.server.calls:
        assert call.headers["x-github-api-version"] == "2022-11-28"
        assert call.headers["accept"] == "application/vnd.github+json"
        assert call.headers["user-agent"].startswith("ci-user/")


# The package


def test_importing_it_imports_no_library() -> None:
    code = (
        "import sys, ci_user.backends.github\n"
        "print([name for name in ('github', 'nacl', 'requests', 'jwt', 'cryptography') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("package", ["github", "nacl.public"])
def test_a_missing_library_names_the_extra(
    place: RepositoryPlace, monkeypatch: pytest.MonkeyPatch, package: str
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(BackendError, match="pygithub is not installed") as caught:
        place.open().held()
    assert "ci-user[github]" in str(caught.value.do)
    assert ABOUT.extra == "github"

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import ValidationError

from ci_user.backends.protocol import OpenContext
from ci_user.backends.tokens import Token, TokenNeed, TokenSource, find
from ci_user.errors import BackendError
from tests.contract.place import Names, NoAccess

if TYPE_CHECKING:
    from tests.conftest import EmbeddedAws

NEED = TokenNeed(
    vendor="GitLab",
    variable="GITLAB_TOKEN",
    host="gitlab.com",
    scopes="the scope api",
    url="https://gitlab.com",
    target="gitlab:gitlab.com/shop",
)
OWN = replace(NEED, url="https://git.example.com:8443/x")
SECRET = "glpat-s3cr3t"


def context(root: Path, environ: Mapping[str, str] | None = None, access: Any = None) -> OpenContext:
    return OpenContext(access or NoAccess(), Names(), root, environ or {})


def refused(source: TokenSource | None, need: TokenNeed, where: OpenContext) -> BackendError:
    with pytest.raises(BackendError) as caught:
        find(source, need, where)
    assert caught.value.where == need.target
    assert SECRET not in str(caught.value)
    return caught.value


def test_the_usual_variable_is_for_the_vendors_public_host(tmp_path: Path) -> None:
    token = find(None, NEED, context(tmp_path, {"GITLAB_TOKEN": f" {SECRET}\n"}))
    assert (token.secret.reveal(), token.host, token.source) == (SECRET, "gitlab.com", "GITLAB_TOKEN")
    assert SECRET not in repr(token)


def test_the_usual_variable_goes_to_another_host_only_when_it_names_it(tmp_path: Path) -> None:
    environ = {"GITLAB_TOKEN": SECRET}
    error = refused(None, OWN, context(tmp_path, environ))
    assert "is for gitlab.com, and is not sent to git.example.com:8443" in error.what
    environ["GITLAB_TOKEN_HOST"] = "git.example.com"
    assert "is for git.example.com" in refused(None, OWN, context(tmp_path, environ)).what
    environ["GITLAB_TOKEN_HOST"] = "GIT.example.com:8443"
    assert find(None, OWN, context(tmp_path, environ)).secret.reveal() == SECRET


@pytest.mark.parametrize("name", ["AWS_SECRET_ACCESS_KEY", "OTHER_TOKEN"])
def test_no_variable_that_names_no_host_is_ever_sent(tmp_path: Path, name: str) -> None:
    error = refused(TokenSource(variable=name), NEED, context(tmp_path, {name: SECRET}))
    assert f"{name}_HOST does not name the host" in error.what
    environ = {name: SECRET, f"{name}_HOST": "gitlab.com"}
    assert find(TokenSource(variable=name), NEED, context(tmp_path, environ)).source == name


@pytest.mark.parametrize("environ", [{}, {"GITLAB_TOKEN": ""}, {"GITLAB_TOKEN": "  "}])
def test_a_missing_variable_is_named_with_the_scopes(tmp_path: Path, environ: dict[str, str]) -> None:
    error = refused(None, NEED, context(tmp_path, environ))
    assert "GITLAB_TOKEN is not set" in error.what
    assert "the scope api" in str(error.expected)
    assert "GITLAB_TOKEN" in str(error.do)


def test_a_file_holds_host_and_token(tmp_path: Path) -> None:
    file = tmp_path / ".cache" / "token"
    file.parent.mkdir()
    file.write_text(f"gitlab.com {SECRET}\n")
    file.chmod(0o600)
    token = find(TokenSource(file=".cache/token"), NEED, context(tmp_path))
    assert (token.secret.reveal(), token.host) == (SECRET, "gitlab.com")
    file.write_text("gitlab.com -----BEGIN KEY-----\nabc\n-----END KEY-----\n")
    assert find(TokenSource(file=".cache/token"), NEED, context(tmp_path)).secret.reveal().endswith("END KEY-----")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (SECRET, "does not hold HOST TOKEN"),
        ("", "does not hold"),
        (f"evil.example.com {SECRET}", "is for evil.example.com"),
    ],
)
def test_a_file_that_names_no_host_or_another_is_not_sent(tmp_path: Path, content: str, words: str) -> None:
    (tmp_path / "token").write_text(content)
    (tmp_path / "token").chmod(0o600)
    assert words in refused(TokenSource(file="token"), NEED, context(tmp_path)).what


def test_a_file_that_others_may_change_or_that_leads_elsewhere_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(f"gitlab.com {SECRET}")
    file.chmod(0o622)
    assert "can be written by others" in refused(TokenSource(file="token"), NEED, context(tmp_path)).what
    (tmp_path / "link").symlink_to(file)
    assert "cannot be read" in refused(TokenSource(file="link"), NEED, context(tmp_path)).what
    assert "cannot be read" in refused(TokenSource(file="nowhere"), NEED, context(tmp_path)).what
    os.mkfifo(tmp_path / "pipe", 0o600)
    assert "no regular file" in refused(TokenSource(file="pipe"), NEED, context(tmp_path)).what


def test_the_keyring_is_asked_for_the_host_that_it_will_be_sent_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import keyring
    from keyring.backend import KeyringBackend
    from keyring.errors import KeyringLocked

    asked: list[tuple[str, str]] = []

    class Ring(KeyringBackend):
        priority = 1

        def get_password(self, service: str, username: str) -> str | None:
            asked.append((service, username))
            if username == "locked":
                raise KeyringLocked("no")
            if username == "broken":
                raise ConnectionError("no bus")
            return SECRET if service == "ci-user:gitlab.com" else None

        def set_password(self, service: str, username: str, password: str) -> None:
            raise AssertionError("nothing is ever written there")

    before = keyring.get_keyring()
    keyring.set_keyring(Ring())  # type: ignore[no-untyped-call]
    try:
        assert find(TokenSource(keyring="ops"), NEED, context(tmp_path)).secret.reveal() == SECRET
        assert "is not set" in refused(TokenSource(keyring="ops"), OWN, context(tmp_path)).what
        assert "KeyringLocked" in refused(TokenSource(keyring="locked"), NEED, context(tmp_path)).what
        assert "ConnectionError" in refused(TokenSource(keyring="broken"), NEED, context(tmp_path)).what
    finally:
        keyring.set_keyring(before)
    assert asked[:2] == [("ci-user:gitlab.com", "ops"), ("ci-user:git.example.com:8443", "ops")]
    monkeypatch.setitem(__import__("sys").modules, "keyring", None)
    assert "ci-user[keyring]" in refused(TokenSource(keyring="ops"), NEED, context(tmp_path)).what


def test_secrets_manager_holds_host_and_token(tmp_path: Path, aws: EmbeddedAws) -> None:
    name = f"ci-user/tokens/{uuid.uuid4().hex}"
    client = aws.client("secretsmanager")
    client.create_secret(Name=name, SecretString=json.dumps({"host": "gitlab.com", "token": SECRET}))
    where = context(tmp_path, access=aws.access)
    assert find(TokenSource(secret=name), NEED, where).secret.reveal() == SECRET
    assert "is for gitlab.com" in refused(TokenSource(secret=name), OWN, where).what
    for content in ("[]", "{", '{"host": "gitlab.com"}', '{"host": "", "token": "x"}', '{"token": "' + SECRET + '"}'):
        client.put_secret_value(SecretId=name, SecretString=content)
        assert "does not hold" in refused(TokenSource(secret=name), NEED, where).what
    assert "does not exist in account" in refused(TokenSource(secret="nowhere-at-all"), NEED, where).what


def test_a_run_that_reads_no_secret_takes_the_usual_variable_in_place_of_one_in_secrets_manager(tmp_path: Path) -> None:
    # NoAccess: whoever asked AWS for anything would fail.
    looking = replace(context(tmp_path, {"GITLAB_TOKEN": SECRET}), reads_secrets=False)
    token = find(TokenSource(secret="ci-user/tokens/gitlab"), NEED, looking)
    assert (token.secret.reveal(), token.host, token.source) == (SECRET, "gitlab.com", "GITLAB_TOKEN")
    # It is for its own host here too.
    assert "is for gitlab.com" in refused(TokenSource(secret="ci-user/tokens/gitlab"), OWN, looking).what
    without = replace(looking, environ={})
    assert "GITLAB_TOKEN is not set" in refused(TokenSource(secret="ci-user/tokens/gitlab"), NEED, without).what


def test_a_run_that_reads_no_secret_of_aws_takes_tokens_from_everywhere_else(tmp_path: Path) -> None:
    environ = {"OWN": SECRET, "OWN_HOST": "gitlab.com", "GITLAB_TOKEN": "another"}
    looking = replace(context(tmp_path, environ), reads_secrets=False)
    (tmp_path / "token").write_text(f"gitlab.com {SECRET}")
    (tmp_path / "token").chmod(0o600)
    for source in (TokenSource(variable="OWN"), TokenSource(file="token")):
        assert find(source, NEED, looking).secret.reveal() == SECRET


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"variable": "A", "file": "b"},
        {"variable": "lower"},
        {"variable": "A=B"},
        {"file": "/etc/passwd"},
        {"file": "../x"},
        {"keyring": ""},
        {"secret": "a b"},
        {"token": SECRET},
        {"variable": None},
    ],
)
def test_a_source_is_one_of_four_and_never_the_token_itself(given: dict[str, Any]) -> None:
    with pytest.raises(ValidationError) as caught:
        TokenSource.model_validate(given)
    assert SECRET not in str(caught.value)


def test_a_token_goes_over_tls_or_to_loopback_only() -> None:
    from ci_user.secret import Secret

    with pytest.raises(BackendError, match="plain http:// to another machine"):
        Token(Secret(SECRET), "gitlab.com", "X").refuse_other_host("http://gitlab.com", "x")
    Token(Secret(SECRET), "127.0.0.1:99", "X").refuse_other_host("http://127.0.0.1:99/x", "x")


@pytest.mark.parametrize(
    "token",
    [
        SECRET,
        "glpat-Ab3.01.170xyz9ab",
        "hvs.CAESIJabcdefghijklmnop",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.SflKxwRJSMeKKF2QT4",
        "ghp_abcdefghijklmnopqrstuvwxyz0123456789",
        "s.abcdefghijklmnopqrstuvwxyz",
        "mjk2a7x3qwlq6q5gdx4ezvlw2s4vxhbnwz5nd5jqxyzabcdefgha",
        "0123456789abcdef0123456789abcdef01234567:8443",
        "ann@example.com:ATATT3xFfGF0abc",
    ],
)
def test_a_token_in_the_place_of_its_host_is_not_shown(tmp_path: Path, token: str) -> None:
    (tmp_path / "token").write_text(f"{token} gitlab.com\n")
    (tmp_path / "token").chmod(0o600)
    for source, environ in (
        (TokenSource(file="token"), {}),
        (TokenSource(variable="X"), {"X": "gitlab.com", "X_HOST": token}),
    ):
        error = refused(source, NEED, context(tmp_path, environ))
        assert token.partition(":")[0] not in str(error)
        assert "not shown" in error.what


@pytest.mark.parametrize("host", ["git.example.com", "git.example.com:8443", "localhost:80", "127.0.0.1:9", "[::1]:80"])
def test_another_host_is_named(tmp_path: Path, host: str) -> None:
    error = refused(None, NEED, context(tmp_path, {"GITLAB_TOKEN": SECRET, "GITLAB_TOKEN_HOST": host}))
    assert f"is for {host}, and" in error.what


@pytest.mark.parametrize("given", [SECRET, {"variable": SECRET}])
def test_a_token_that_stands_in_the_file_is_not_shown_again(given: Any) -> None:
    with pytest.raises(ValidationError) as caught:
        TokenSource.model_validate(given)
    details = caught.value.errors(include_url=False)
    assert SECRET not in str(details)
    assert SECRET not in str(caught.value)

"""What is Vault's own; what all backends have in common is in the contracts."""

from __future__ import annotations

import itertools
import json
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from ci_user.backends import about, settings_model, settings_of
from ci_user.backends.protocol import Held
from ci_user.errors import BackendError, LeaseLostError
from tests.contract.doubles.vault import ROLE_ID, AppRolePlace, Vault, VaultPlace, least
from tests.contract.place import SECRET, TOKEN, Names, new_key
from tests.vendors.server import Call, Reply

WRITE = "POST /v1/{mount}/data/{path}"
METADATA = "GET /v1/{mount}/metadata/{path}"


@pytest.fixture(scope="module")
def running() -> Iterator[Vault]:
    with Vault() as server:
        yield server


@pytest.fixture
def server(running: Vault) -> Iterator[Vault]:
    yield running
    violations = list(running.violations)
    running.before, running.after = lambda _: None, lambda _call, _reply: None
    running.calls.clear()
    running.violations.clear()
    running.allow(TOKEN)
    assert violations == []


@pytest.fixture
def place(server: Vault, tmp_path: Path) -> VaultPlace:
    return VaultPlace(tmp_path, server)


def settings(**more: Any) -> Any:
    url = {"url": "https://vault.example.com:8200"}
    return settings_model("vault").model_validate({"backend": "vault", **url, "path": "ci/shop", **more})


def refusal(**more: Any) -> str:
    with pytest.raises(ValidationError) as caught:
        settings(**more)
    return str(caught.value)


def preflight_fails(place: VaultPlace, **changes: Any) -> BackendError:
    with pytest.raises(BackendError) as caught:
        place.open(**changes).preflight()
    return caught.value


# The settings


@pytest.mark.parametrize(
    "wrong", ["", "/a", "a/", "a//b", "../a", "a/./b", "a*", "a/+/b", " a", "a/ b", "a\nb", "a\x85b", "x" * 401]
)
def test_paths_that_vault_or_a_policy_would_read_otherwise_are_refused(wrong: str) -> None:
    for key in ("path", "mount"):
        assert "a path without" in refusal(**{key: wrong})


def test_settings_that_do_not_fit_together_are_refused() -> None:
    assert "does not end in .pending" in refusal(path="ci/shop.pending")
    assert "approle, jwt, or neither" in refusal(approle={"role_id": "x"}, jwt={})
    long = {"key_id": "A" * 100, "secret": "B" * 100, "region": "C" * 100, "prefix": "P" * 40}
    assert "at most 400 characters together" in refusal(names=long)
    assert "https://" in refusal(url="http://vault.example.com")
    for namespace in ("team/", "..", "team/../other", "größe"):
        assert "a namespace" in refusal(namespace=namespace)
    assert "a role id" in refusal(approle={"role_id": "a b"})


def test_the_path_is_the_place_and_is_found_again_from_its_line() -> None:
    one = settings(names={"key_id": "OTHER"})
    assert one.target(Names()) == settings().target(Names()) == "vault:vault.example.com:8200/secret/ci%2Fshop"
    odd = settings(namespace="team/ci", mount="kv/größe é", path="a b/100 % #1 ?&=;/日本")
    again = settings_of(odd.target(Names()), Names())
    assert again is not None
    assert (again.target(Names()), getattr(again, "mount"), getattr(again, "namespace")) == (  # noqa: B009
        odd.target(Names()),
        odd.mount,
        odd.namespace,
    )
    for line in ("vault:h/secret", "vault:h/a/b/c/d", "vault:h/secret/a#NAME", "vault:h//a", "vault:h/secret/..%2Fa"):
        assert settings_of(line, Names()) is None


def test_the_how_to_s_policy_is_the_one_that_the_double_enforces() -> None:
    found = dict(re.findall(r'path "([^"]+)" +\{ capabilities = (\[[^]]+\]) \}', about("vault").how_to))
    assert len(found) == 5
    assert {path: set(json.loads(rights)) for path, rights in found.items()} == {path: least(path) for path in found}


def test_the_module_imports_no_library() -> None:
    code = "import sys, ci_user.backends.vault; print({'hvac', 'requests'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_without_the_library_the_extra_is_named(place: VaultPlace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "hvac", None)
    error = preflight_fails(place)
    assert "hvac" in error.what
    assert "ci-user[vault]" in str(error.do)


# Token and login


def test_the_token_is_for_the_address_in_vault_addr(place: VaultPlace) -> None:
    for environ, words in (
        ({"VAULT_ADDR": "https://other.example.com:8200"}, "is for other.example.com:8200"),
        ({"VAULT_ADDR": "http://other.example.com"}, "VAULT_ADDR holds plain http:// to another machine"),
        ({"VAULT_ADDR": "vault"}, "VAULT_ADDR holds no https:// address"),
        ({}, "VAULT_TOKEN_HOST or VAULT_ADDR does not name the host"),
        ({"VAULT_ADDR": place.server.url, "VAULT_TOKEN_HOST": "other.example.com"}, "is for other.example.com"),
    ):
        with pytest.raises(BackendError) as caught:
            place.open(environ={"VAULT_TOKEN": TOKEN, **environ}).held()
        assert words in caught.value.what
    named = {"OTHER": TOKEN, "VAULT_ADDR": place.server.url}
    with pytest.raises(BackendError, match="OTHER_HOST does not name"):
        place.open(environ=named, token={"variable": "OTHER"}).held()
    assert place.server.calls == []


def test_nothing_is_taken_from_hvacs_own_variables_and_files(
    server: Vault, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".vault-token").write_text("stray-token")
    for name, value in (("HOME", str(tmp_path)), ("VAULT_TOKEN", "stray"), ("VAULT_NAMESPACE", "stray")):
        monkeypatch.setenv(name, value)
    AppRolePlace(tmp_path, server).open().preflight()
    assert "x-vault-token" not in server.calls[0].headers
    assert all("stray" not in "".join(call.headers.values()) for call in server.calls)
    assert all("x-vault-namespace" not in call.headers for call in server.calls)


def test_a_jwt_is_exchanged_once_and_again_when_the_token_is_about_to_end(
    place: VaultPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    jwt = {"mount": "gitlab/jwt", "role": "ci"}
    backend = place.open(jwt=jwt, environ={"VAULT_JWT": TOKEN, "VAULT_ADDR": place.server.url})
    place.server.logins.clear()
    backend.preflight()
    key = new_key()
    place.deliver(key, backend)
    assert place.server.logins == [{"mount": "gitlab/jwt", "role": "ci", "jwt": TOKEN}]
    assert not [call for call in place.server.calls[1:] if call.headers["x-vault-token"] == TOKEN]
    import time

    later = time.monotonic() + 0.8 * 900
    monkeypatch.setattr("ci_user.backends.vault_client.time.monotonic", lambda: later)
    assert backend.held() == Held(key.id, None)
    assert len(place.server.logins) == 2


def test_a_refused_login_names_the_source_and_repeats_no_word_of_the_answer(server: Vault, tmp_path: Path) -> None:
    place = AppRolePlace(tmp_path, server)
    environ = {"VAULT_SECRET_ID": "wrong-secret-id", "VAULT_ADDR": server.url}
    server.logins.clear()
    with pytest.raises(BackendError) as caught:
        place.open(environ=environ).preflight()
    assert server.logins == [{"mount": "approle", "role_id": ROLE_ID, "secret_id": "wrong-secret-id"}]
    assert "logging in: Vault answered 400" in caught.value.what
    assert "VAULT_SECRET_ID" in str(caught.value.do)
    assert "wrong-secret-id" not in str(caught.value)


def test_a_login_whose_answer_is_lost_is_not_repeated_since_secret_ids_are_counted(
    server: Vault, tmp_path: Path
) -> None:
    server.logins.clear()
    server.after = lambda _call, _reply: Reply(drop=True)
    with pytest.raises(BackendError, match="no answer"):
        AppRolePlace(tmp_path, server).open().held()
    assert len(server.logins) == 1


@pytest.mark.parametrize(("more", "words"), [({"ttl": 599}, "599 seconds"), ({"num_uses": 49}, "49 requests")])
def test_a_token_that_ends_too_soon_is_refused_beforehand(place: VaultPlace, more: dict[str, Any], words: str) -> None:
    place.server.allow(TOKEN, **more)
    assert f"good for {words} more" in preflight_fails(place).what


def test_a_token_without_an_end_is_fine(place: VaultPlace) -> None:
    place.server.allow(TOKEN, ttl=0)
    assert "without an end" in place.open().preflight()[0]


# What is there


def test_rights_that_are_lacking_are_named(place: VaultPlace) -> None:
    place.server.allow(TOKEN, lambda path: least(path) - ({"update"} if "/destroy/" in path else {"delete"}))
    error = preflight_fails(place)
    path = place.key[2]
    assert f"update on secret/destroy/{path}" in error.what
    assert f"delete on secret/metadata/{path}.pending" in error.what
    assert "MOUNT/destroy/PATH" in str(error.do)
    place.server.allow(TOKEN, lambda _: {"root"})
    place.open().preflight()


def test_a_token_that_may_not_ask_for_its_rights_is_told_so(place: VaultPlace) -> None:
    place.server.before = lambda call: Reply(403, {"errors": ["no"]}) if "capabilities" in call.operation else None
    assert any("does not let the token ask" in words for words in place.open().preflight())


def test_an_engine_of_another_kind_is_refused_and_nothing_written_to_it(place: VaultPlace) -> None:
    place.server.mount("plain", version="1")
    place.server.mount("transit", kind="transit")
    place.server.mount("deep/kv")
    for mount, words in (
        ("plain", "is kv, version 1"),
        ("transit", "is transit"),
        ("deep/kv/ci", "there is none of this name"),
        ("deep", "Vault answered 403"),
    ):
        assert words in preflight_fails(place, mount=mount).what
        with pytest.raises(BackendError, match=words):
            place.open(mount=mount).stage(new_key())
    assert not [call for call in place.server.calls if not place.reads(call)]


def test_the_namespace_goes_with_each_request(place: VaultPlace) -> None:
    changes: dict[str, Any] = {"namespace": "team/ci", "mount": place.server.mount("kv", "team/ci")}
    place.open(**changes).preflight()
    place.deliver(new_key(), place.open(**changes))
    assert {call.headers.get("x-vault-namespace") for call in place.server.calls} == {"team/ci"}


def test_which_key_is_there_is_learnt_without_reading_or_being_able_to_read_a_secret(place: VaultPlace) -> None:
    key, pending = new_key(), new_key()
    place.deliver(key)
    place.open().stage(pending)
    place.server.allow(TOKEN, lambda path: least(path) if "/metadata/" in path else set())
    place.server.calls.clear()
    assert place.open().held() == Held(key.id, pending.id)
    assert {call.operation for call in place.server.calls} == {METADATA}


def test_the_metadata_say_whose_which_and_how_it_is_called_and_no_secret(place: VaultPlace) -> None:
    first, second = new_key(), new_key()
    place.deliver(first)
    place.secret.custom["team"] = "shop"
    place.secret.delete_after = "48h0m0s"
    place.deliver(second, place.open(names={"region": "AWS_REGION"}))
    assert place.secret.custom == {
        "team": "shop",
        "ci-user:environment": "shop-testing",
        "ci-user:key": f"{second.id} 2 AWS_ACCESS_KEY_ID,AWS_SECRET_ACCESS_KEY,AWS_REGION",
        "ci-user:key-before": f"{first.id} 1 AWS_ACCESS_KEY_ID,AWS_SECRET_ACCESS_KEY",
    }
    assert place.secret.delete_after == "48h0m0s"
    assert all(SECRET not in json.dumps(call.body) for call in place.server.calls if "metadata" in call.operation)


def test_old_versions_are_destroyed_although_the_mount_keeps_some(place: VaultPlace) -> None:
    place.key = ("", place.server.mount("keeping", max_versions=10), place.key[2])
    place.document["mount"] = "keeping"
    for _ in range(3):
        place.deliver(new_key())
    assert {number: version.data is None for number, version in place.secret.versions.items()} == {
        1: True,
        2: True,
        3: False,
    }
    assert place.pending not in place.server.secrets


def test_a_version_that_somebody_deleted_is_no_key_and_is_written_anew(place: VaultPlace) -> None:
    key = new_key()
    place.deliver(key)
    place.secret.versions[1].deleted = place.server.now()
    assert place.open().held() == Held(None, None, torn=True)
    assert place.open().read_staged(key.id) is None
    place.open().preflight()
    place.deliver(key)
    assert place.secret.current == 2
    assert place.open().held() == Held(key.id, None)
    place.secret.versions[2].destroyed = True
    assert place.open().held() == Held(None, None, torn=True)
    assert place.open().remove() is True


def test_a_version_that_vault_is_going_to_delete_is_told(place: VaultPlace) -> None:
    key = new_key()
    place.deliver(key)
    place.secret.versions[1].deleted = "2999-01-01T00:00:00.123456789Z"
    assert place.open().held() == Held(key.id, None)
    assert "2999-01-01" in place.open().preflight()[-1]


def dated(date: str) -> Callable[[Call, Reply], Reply]:
    return lambda _, reply: replace(reply, headers=(("Date", date),))


def test_a_deleted_version_is_no_key_although_this_machines_clock_is_slow(place: VaultPlace) -> None:
    place.deliver(new_key())
    deleted = datetime.now(UTC) + timedelta(minutes=1)
    place.secret.versions[1].deleted = deleted.isoformat()
    for seconds, held in ((-2, True), (0, False), (60, False)):
        date = format_datetime(deleted + timedelta(seconds=seconds), usegmt=True)
        place.server.after = dated(date)
        assert (place.open().held().current is not None) is held


# Writes whose outcome is not known


def write_number(number: int, answer: Callable[[Call], Reply | None]) -> Callable[[Call], Reply | None]:
    """Answer in place of the double, or after it, for one write of data only, counted from 0."""
    count = itertools.count()
    return lambda call: answer(call) if call.operation == WRITE and next(count) == number else None


@pytest.mark.parametrize("number", [0, 1])
@pytest.mark.parametrize("reply", [Reply(drop=True), Reply(500, {"errors": ["internal error"]})])
def test_a_write_that_took_effect_without_an_answer_counts(place: VaultPlace, number: int, reply: Reply) -> None:
    place.deliver(new_key())
    key = new_key()
    lost = write_number(number, lambda _: reply)
    place.server.after = lambda call, _: lost(call)
    place.server.calls.clear()
    place.deliver(key)
    assert place.open().held() == Held(key.id, None)
    assert place.secret.current == 2
    assert len([call for call in place.server.calls if call.operation == WRITE]) == 2


@pytest.mark.parametrize("number", [0, 1])
def test_a_write_that_never_arrived_is_repeated_and_takes_effect_once(place: VaultPlace, number: int) -> None:
    place.deliver(new_key())
    key = new_key()
    place.server.before = write_number(number, lambda _: Reply(drop=True))
    place.deliver(key)
    assert place.open().held() == Held(key.id, None)
    assert place.secret.current == 2
    assert place.pauses.seconds


@pytest.mark.parametrize("first", [True, False])
def test_what_somebody_writes_at_the_same_moment_wins_and_is_not_taken_for_the_key(
    place: VaultPlace, first: bool
) -> None:
    old, key = new_key(), new_key()
    if not first:
        place.deliver(old)
    place.open().stage(key)
    quicker = write_number(0, lambda _: place.write_foreign())
    place.server.before = quicker
    with pytest.raises(BackendError, match="changed by somebody else"):
        place.open().promote(key.id)
    place.server.before = lambda _: None
    assert place.consumed()[1] == "foreign"
    assert place.open().held() == Held(None, key.id)
    assert place.open().read_staged(key.id) == key
    with pytest.raises(BackendError, match="not made by this tool" if first else "changed by somebody else"):
        place.open().preflight()


def test_a_pending_copy_stays_while_the_path_holds_something_else_under_its_name(place: VaultPlace) -> None:
    old, key = new_key(), new_key()
    place.deliver(old)
    place.open().stage(key)

    def crash(_: object) -> None:
        if place.server.calls and place.server.calls[-1].operation.startswith("POST /v1/{mount}/metadata"):
            raise LeaseLostError("crash")

    place.check = crash
    place.server.calls.clear()
    with pytest.raises(LeaseLostError):
        place.open().promote(key.id)
    place.check = None
    assert place.open().held() == Held(old.id, key.id)
    place.write_foreign()
    with pytest.raises(BackendError, match="changed by somebody else"):
        place.open().promote(key.id)
    assert place.open().read_staged(key.id) == key


def crash_after(place: VaultPlace, operation: str, act: Callable[[], object]) -> None:
    """Let a run die just after a request of this kind."""

    def crash(_: object) -> None:
        if place.server.calls and place.server.calls[-1].operation == operation:
            raise LeaseLostError("crash")

    place.server.calls.clear()
    place.check = crash
    with pytest.raises(LeaseLostError):
        act()
    place.check = None


def test_a_pending_copy_stays_while_the_path_holds_no_key_at_all_under_its_name(place: VaultPlace) -> None:
    old, key = new_key(), new_key()
    place.deliver(old)
    place.open().stage(key)
    crash_after(place, "POST /v1/{mount}/metadata/{path}", lambda: place.open().promote(key.id))
    place.server.put(place.key, {"replicas": 3})
    with pytest.raises(BackendError, match="changed by somebody else"):
        place.open().promote(key.id)
    assert place.open().read_staged(key.id) == key


def test_a_pending_copy_is_promoted_once_what_others_wrote_is_deleted_as_advised(place: VaultPlace) -> None:
    old, key = new_key(), new_key()
    place.deliver(old)
    place.open().stage(key)
    place.write_foreign()
    with pytest.raises(BackendError, match="changed by somebody else") as caught:
        place.open().promote(key.id)
    assert f"vault kv metadata delete -mount=secret {place.key[2]};" in str(caught.value.do)
    del place.server.secrets[place.key]
    place.open().promote(key.id)
    assert place.open().held() == Held(key.id, None)
    assert place.consumed()[0] == key.id


def test_an_advised_command_is_one_command_whatever_the_path_is_called(place: VaultPlace) -> None:
    path = f"{place.folder}/x; touch y $(id)"
    place.deliver(new_key(), place.open(path=path))
    place.server.put((*place.key[:2], path), {"AWS_SECRET_ACCESS_KEY": "foreign"})
    with pytest.raises(BackendError) as caught:
        place.open(path=path).remove()
    assert f"-mount=secret '{path}'" in str(caught.value.do)


def test_names_that_change_while_a_promotion_is_interrupted_stop_nothing(place: VaultPlace) -> None:
    key, names = new_key(), {"prefix": "PROD_"}
    place.open().stage(key)
    crash_after(place, WRITE, lambda: place.open().promote(key.id))
    assert place.open().held() == Held(key.id, key.id)
    place.open(names=names).promote(key.id)
    assert place.open(names=names).held() == Held(key.id, None)
    assert place.consumed(("PROD_AWS_ACCESS_KEY_ID", "AWS_ACCESS_KEY_ID")) == (key.id, None)


def test_a_crash_before_each_request_loses_no_key_and_a_repetition_finishes(place: VaultPlace) -> None:
    old = new_key()
    place.deliver(old)
    crashed = 0
    for allowed in range(40):
        key, sent = new_key(), itertools.count()
        place.open().stage(key)

        def crash(_: object, limit: int = allowed, sent: Iterator[int] = sent) -> None:
            if next(sent) >= limit:
                raise LeaseLostError("crash")

        place.check = crash
        try:
            place.deliver(key)
            break
        except LeaseLostError:
            crashed += 1
        finally:
            place.check = None
        assert place.consumed()[0] in {old.id, key.id}
        held = place.open().held()
        assert held.current == place.consumed()[0]
        assert place.open().read_staged(key.id) == key
        assert place.open().read_staged(str(held.current)) is not None
        place.open().promote(key.id)
        assert place.open().held() == Held(key.id, None)
        assert [v.data for n, v in place.secret.versions.items() if n < place.secret.current and v.data] == []
        old = key
    assert crashed >= 10


# Nodes


def test_a_page_of_something_in_between_does_not_say_that_nothing_is_there(place: VaultPlace) -> None:
    key = new_key()
    place.deliver(key)
    pages = iter([page for page in (b"default backend - 404", b"", b"[]", b"[" * 100_000) for _ in range(3)])
    place.server.before = lambda _: Reply(404, body=next(pages))
    for _ in range(4):
        for refused in (place.open().held, place.open().remove, lambda: place.open().read_staged(key.id)):
            with pytest.raises(BackendError, match="not what Vault documents"):
                refused()


def test_one_place_does_not_wait_for_another(place: VaultPlace, tmp_path: Path) -> None:
    slow, other = VaultPlace(tmp_path, place.server), new_key()
    reached, delivered = threading.Event(), threading.Event()

    def before(call: Call) -> None:
        if slow.folder in call.parameters.get("path", "") and not reached.is_set():
            reached.set()
            delivered.wait(20)

    place.server.before = before
    thread = threading.Thread(target=slow.open().stage, args=(new_key(),))
    thread.start()
    assert reached.wait(20)
    done = threading.Thread(target=place.open().stage, args=(other,))
    done.start()
    done.join(10)
    free = not done.is_alive()
    delivered.set()
    thread.join(20)
    done.join(20)
    assert free


@pytest.mark.parametrize("status", [307, 473, 472])
def test_a_standby_that_passes_nothing_on_is_told_for_what_it_is(place: VaultPlace, status: int) -> None:
    headers = (("Location", "http://127.0.0.1:1/v1"),) if status == 307 else ()
    place.server.before = lambda _: Reply(status, {}, headers=headers)
    for refused in (place.open().held, place.open().preflight, lambda: place.open().stage(new_key())):
        with pytest.raises(BackendError) as caught:
            refused()
        assert "standby" in str(caught.value.expected)
        assert "active node" in str(caught.value.do)


def test_a_sealed_server_says_so(place: VaultPlace) -> None:
    place.server.before = lambda _: Reply(503, {"errors": ["Vault is sealed"]})
    with pytest.raises(BackendError, match="503: Vault is sealed"):
        place.open().held()


def test_a_node_that_is_behind_is_waited_for(place: VaultPlace) -> None:
    key = new_key()
    behind = iter([Reply(412, {"errors": ["required index state not present"]})] * 2)
    seen: list[str] = []

    def before(call: Call) -> Reply | None:
        index = call.headers.get("x-vault-index", "")
        seen.append(index)
        return next(behind, None) if index else None

    place.server.before = before
    place.server.after = lambda call, reply: (
        Reply(reply.status, reply.document, headers=(("X-Vault-Index", "djE6aW5kZXg="),))
        if call.method == "POST"
        else None
    )
    place.deliver(key)
    assert place.open().held() == Held(key.id, None)
    assert place.pauses.seconds == [0.25, 1.0]
    assert "djE6aW5kZXg=" in seen

from __future__ import annotations

import base64
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyrage  # type: ignore[import-untyped, unused-ignore]
import pytest
from pydantic import ValidationError

from ci_user.backends import Backend, open_backend, settings_model, settings_of
from ci_user.backends.protocol import BackendSettings, Held
from ci_user.errors import BackendError
from tests.contract.place import Names, NoAccess, new_key

ED25519 = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHsKLqeplhpW+uObz5dvMgjz1OxfM/XXUB+VHtZ6isGN"


def identity() -> Any:
    return pyrage.x25519.Identity.generate()


def public(*identities: Any) -> list[str]:
    return [str(one.to_public()) for one in identities]


def settings(recipients: list[str], **more: Any) -> BackendSettings:
    document = {"backend": "age", "path": "keys/testing.age", "recipients": recipients} | more
    return settings_model("age").model_validate(document)


def opened(root: Path, recipients: list[str], environment: Names | None = None, **more: Any) -> Backend:
    return open_backend(settings(recipients, **more), NoAccess(), environment or Names(), root)


def file(root: Path) -> Path:
    return root / "keys" / "testing.age"


def note(root: Path) -> Path:
    return root / "keys" / "testing.age.ci-user.json"


def test_each_recipient_reads_the_exact_values_and_nobody_else(tmp_path: Path) -> None:
    first, second, stranger = identity(), identity(), identity()
    key = new_key()
    names = {"key_id": "KEY_ID", "secret": "KEY_SECRET", "region": "REGION", "prefix": "PROD_"}
    opened(tmp_path, public(first, second), names=names).deliver(key)
    expected = f"PROD_KEY_ID={key.id}\nPROD_KEY_SECRET={key.secret.reveal()}\nPROD_REGION=eu-west-1\n"
    for one in (first, second):
        assert pyrage.decrypt(file(tmp_path).read_bytes(), [one]).decode() == expected
    with pytest.raises(pyrage.DecryptError):
        pyrage.decrypt(file(tmp_path).read_bytes(), [stranger])


def rsa(bits: int) -> str:
    """Return an SSH public key of this size, which nobody has the private one of."""
    number = (1 << bits) - 1
    parts = (b"ssh-rsa", (65537).to_bytes(3), b"\0" + number.to_bytes(bits // 8))
    return "ssh-rsa " + base64.b64encode(b"".join(len(part).to_bytes(4) + part for part in parts)).decode()


def test_as_many_recipients_as_there_may_be_make_no_file_too_long_to_be_known_again(tmp_path: Path) -> None:
    own, key = identity(), new_key()
    recipients = [*public(own), *(f"{rsa(4096)} {number}" for number in range(99))]
    opened(tmp_path, recipients).deliver(key)
    assert file(tmp_path).stat().st_size > 64 * 1024
    assert opened(tmp_path, recipients).held() == Held(key.id, None)
    assert key.secret.reveal().encode() in pyrage.decrypt(file(tmp_path).read_bytes(), [own])


def test_json_holds_the_same(tmp_path: Path) -> None:
    own, key = identity(), new_key()
    opened(tmp_path, public(own), format="json").deliver(key)
    assert json.loads(pyrage.decrypt(file(tmp_path).read_bytes(), [own])) == {
        "AWS_ACCESS_KEY_ID": key.id,
        "AWS_SECRET_ACCESS_KEY": key.secret.reveal(),
    }


def test_the_note_tells_the_key_and_nothing_secret(tmp_path: Path) -> None:
    key = new_key()
    backend = opened(tmp_path, public(identity()))
    backend.deliver(key)
    found = json.loads(note(tmp_path).read_text())
    assert found["environment"] == "shop-testing"
    (content,) = found["contents"]
    assert content["key"] == key.id
    assert content["recipients"] == backend.target.partition("#")[2]
    assert sorted(content) == ["format", "key", "names", "recipients", "sha256"]


def test_which_key_is_there_is_told_without_the_library_and_without_decrypting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own, key = identity(), new_key()
    opened(tmp_path, public(own)).deliver(key)
    monkeypatch.setitem(sys.modules, "pyrage", None)
    assert opened(tmp_path, public(own)).held() == Held(key.id, None)
    assert opened(tmp_path, public(own)).remove() is True


def test_without_the_library_the_error_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    backend = opened(tmp_path, public(identity()))
    monkeypatch.setitem(sys.modules, "pyrage", None)
    for refused in (backend.preflight, lambda: backend.deliver(new_key())):
        with pytest.raises(BackendError, match="pyrage is not installed") as caught:
            refused()
        assert "ci-user[age]" in str(caught.value.do)


def test_importing_it_imports_no_library() -> None:
    code = "import sys, ci_user.backends.age; sys.exit('pyrage' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# Other recipients


def test_other_recipients_get_the_key_anew_and_the_old_ones_do_not_read_it(tmp_path: Path) -> None:
    leaver, stayer, key = identity(), identity(), new_key()
    before = opened(tmp_path, public(leaver, stayer))
    before.deliver(key)
    after = opened(tmp_path, public(stayer))
    assert after.held() == Held(None, None, torn=True)
    after.preflight()
    after.deliver(key)
    assert after.held() == Held(key.id, None)
    with pytest.raises(pyrage.DecryptError):
        pyrage.decrypt(file(tmp_path).read_bytes(), [leaver])
    assert key.id.encode() in pyrage.decrypt(file(tmp_path).read_bytes(), [stayer])


def test_other_recipients_are_another_place_so_that_an_edited_file_cannot_redirect_a_key(tmp_path: Path) -> None:
    first, second = public(identity(), identity())
    assert settings([first]).target(Names()) != settings([first, second]).target(Names())
    assert settings([first, second]).target(Names()) == settings([second, first, first]).target(Names())
    assert settings([ED25519]).target(Names()) == settings([f"{ED25519} me@example.com"]).target(Names())


def test_the_former_place_leaves_the_file_to_the_new_recipients(tmp_path: Path) -> None:
    old, new, key = identity(), identity(), new_key()
    before = opened(tmp_path, public(old))
    before.deliver(key)
    found = settings_of(before.target, Names())
    assert found is not None
    former = open_backend(found, NoAccess(), Names(), tmp_path)
    assert former.held() == Held(key.id, None)
    opened(tmp_path, public(new)).deliver(key)
    assert former.held() == Held(None, None)
    assert former.remove() is False
    assert opened(tmp_path, public(new)).held() == Held(key.id, None)


def test_a_file_for_other_recipients_is_removed_with_the_environment(tmp_path: Path) -> None:
    opened(tmp_path, public(identity())).deliver(new_key())
    other = opened(tmp_path, public(identity()))
    assert other.held().torn
    assert other.remove() is True
    assert other.held() == Held(None, None)
    assert list((tmp_path / "keys").iterdir()) == []


def test_a_place_without_known_recipients_takes_no_key(tmp_path: Path) -> None:
    found = settings_of(settings(public(identity())).target(Names()), Names())
    assert found is not None
    former = open_backend(found, NoAccess(), Names(), tmp_path)
    for refused in (former.preflight, lambda: former.deliver(new_key())):
        with pytest.raises(BackendError, match="recipients are not known"):
            refused()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "more", [{"format": "json"}, {"names": {"secret": "OTHER"}}, {"names": {"region": "AWS_REGION"}}]
)
def test_another_form_is_written_anew(tmp_path: Path, more: dict[str, Any]) -> None:
    own, key = public(identity()), new_key()
    opened(tmp_path, own).deliver(key)
    assert opened(tmp_path, own, **more).held() == Held(None, None, torn=True)
    opened(tmp_path, own, **more).deliver(key)
    assert opened(tmp_path, own, **more).held() == Held(key.id, None)


# What somebody else did


def test_a_file_that_somebody_replaced_is_not_overwritten_or_removed(tmp_path: Path) -> None:
    own = identity()
    opened(tmp_path, public(own)).deliver(new_key())
    foreign = pyrage.encrypt(b"x", [own.to_public()])
    file(tmp_path).write_bytes(foreign)
    backend = opened(tmp_path, public(own))
    for refused in (backend.preflight, backend.remove, lambda: backend.deliver(new_key())):
        with pytest.raises(BackendError, match="changed by somebody else") as caught:
            refused()
        assert "one commit" in str(caught.value.do)
    assert backend.held() == Held(None, None)
    assert file(tmp_path).read_bytes() == foreign


def test_a_file_of_an_older_commit_is_not_taken_for_the_newer_key(tmp_path: Path) -> None:
    own = public(identity())
    opened(tmp_path, own).deliver(new_key())
    older = file(tmp_path).read_bytes()
    opened(tmp_path, own).deliver(new_key())
    file(tmp_path).write_bytes(older)
    assert opened(tmp_path, own).held() == Held(None, None)


def test_a_file_that_was_deleted_by_hand_is_written_anew(tmp_path: Path) -> None:
    own, key = public(identity()), new_key()
    opened(tmp_path, own).deliver(key)
    file(tmp_path).unlink()
    assert opened(tmp_path, own).held() == Held(None, None, torn=True)
    opened(tmp_path, own).deliver(key)
    assert opened(tmp_path, own).held() == Held(key.id, None)


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", "null", "x" * 10**6, '{"environment": "shop-testing", "contents": []}']
)
def test_a_note_that_is_none_is_somebodys(tmp_path: Path, text: str) -> None:
    own = public(identity())
    opened(tmp_path, own).deliver(new_key())
    note(tmp_path).write_text(text)
    with pytest.raises(BackendError, match="was not written by this tool"):
        opened(tmp_path, own).preflight()
    assert opened(tmp_path, own).held() == Held(None, None)


# Settings


@pytest.mark.parametrize(
    "recipients",
    [
        [],
        ["age1short"],
        ["x" * 62],
        [str(pyrage.x25519.Identity.generate())],
        ["ecdsa-sha2-nistp256 " + "A" * 100],
        [f"{ED25519}\n"],
        [f"command=x {ED25519}"],
        "age1",
    ],
)
def test_what_is_no_recipient_is_refused_by_the_file_and_not_repeated(recipients: Any) -> None:
    with pytest.raises(ValidationError) as caught:
        settings(recipients)
    assert "AGE-SECRET-KEY" not in str(caught.value)


def test_a_recipient_with_a_typing_error_is_found_before_a_key_is_made(tmp_path: Path) -> None:
    right = public(identity())[0]
    wrong = right[:-1] + ("q" if right[-1] != "q" else "p")
    for one in (wrong, "ssh-rsa " + "A" * 100):
        with pytest.raises(BackendError, match="is no recipient"):
            opened(tmp_path, [right, one]).preflight()
    assert list(tmp_path.iterdir()) == []


def test_a_protected_environment_may_use_it(tmp_path: Path) -> None:
    own, protected = public(identity()), replace(Names(), protected=True)
    opened(tmp_path, own, protected).deliver(new_key())
    assert opened(tmp_path, own, protected).held().current


@pytest.mark.parametrize(
    "target",
    [
        "age:",
        "age:x",
        "age:x#",
        "age:x#123",
        f"age:/x#{'0' * 32}",
        f"age:../x#{'0' * 32}",
        f"age:./x#{'0' * 32}",
        f"age:#{'0' * 32}",
    ],
)
def test_a_line_that_is_none_opens_nothing(target: str) -> None:
    assert settings_of(target, Names()) is None


def test_a_line_leads_back_to_its_place(tmp_path: Path) -> None:
    for path in ("a#b.age", "größe 100%.age", "age:x"):
        target = settings(public(identity()), path=path).target(Names())
        found = settings_of(target, Names())
        assert found is not None
        assert found.target(Names()) == target

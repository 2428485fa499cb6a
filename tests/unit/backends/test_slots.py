from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from ci_user.backends.key_names import Names
from ci_user.backends.protocol import Held, OpenContext
from ci_user.backends.slots import Look, Note, SlotBackend, note_name
from ci_user.errors import BackendError
from ci_user.secret import Secret
from tests.contract.place import Names as EnvironmentNames
from tests.contract.place import NoAccess, Pauses, new_key


class Memory:
    """A store whose time moves only when a test says so."""

    vendor = "Memory"

    def __init__(self) -> None:
        self.second = 1
        self.variables: dict[str, tuple[str, str]] = {}
        self.note: Note | None = None
        self.done: list[str] = []
        self.deaf: set[str] = set()

    def check(self) -> tuple[str, ...]:
        return ("logged in",)

    def look(self) -> Look:
        return Look({name: stamp for name, (_, stamp) in self.variables.items()}, self.note)

    def write(self, name: str, value: Secret, *, exists: bool) -> None:
        assert exists == (name in self.variables)
        self.done.append(f"write {name}")
        if name not in self.deaf:
            self.variables[name] = (value.reveal(), str(self.second))

    def write_note(self, note: Note, *, before: Note | None) -> None:
        assert before == self.note
        self.done.append(f"note {note.key_id}")
        self.note = note

    def delete(self, name: str) -> None:
        self.done.append(f"delete {name}")
        self.variables.pop(name, None)

    def delete_note(self, note: Note) -> None:
        assert note == self.note
        self.done.append("delete the note")
        self.note = None


def backend(store: Memory, pauses: Pauses | None = None, *, line: str = "", **names: str) -> SlotBackend:
    context = OpenContext(NoAccess(), EnvironmentNames(), Path(), {}, None, pauses or Pauses())
    return SlotBackend("memory", line or f"memory:{id(store)}", Names.model_validate(names), lambda: store, context)


def test_the_secret_is_written_first_between_two_notes() -> None:
    store, key = Memory(), new_key()
    backend(store, region="AWS_REGION").deliver(key)
    assert store.done == [
        "note None",
        "write AWS_SECRET_ACCESS_KEY",
        "write AWS_ACCESS_KEY_ID",
        "write AWS_REGION",
        f"note {key.id}",
    ]


def test_a_write_within_the_same_second_as_the_one_before_is_repeated_until_its_stamp_moves() -> None:
    store, pauses = Memory(), Pauses()
    backend(store).deliver(new_key())

    def pass_time() -> None:
        store.second += 1

    pauses.then = pass_time
    key = new_key()
    backend(store, pauses).deliver(key)
    assert backend(store).held() == Held(key.id, None)
    assert all(seconds > 1 for seconds in pauses.seconds)
    assert store.variables["AWS_ACCESS_KEY_ID"][0] == key.id


def test_a_service_that_answers_and_does_nothing_is_found_out() -> None:
    store = Memory()
    store.deaf = {"AWS_SECRET_ACCESS_KEY"}
    with pytest.raises(BackendError, match="AWS_SECRET_ACCESS_KEY was written, but Memory does not list it"):
        backend(store).deliver(new_key())
    assert backend(store).held() == Held(None, None, torn=True)
    store.second, store.deaf = 3, set()
    backend(store).deliver(new_key())
    store.second, store.deaf = 5, {"AWS_ACCESS_KEY_ID"}
    with pytest.raises(BackendError, match="tells the same time of change"):
        backend(store).deliver(new_key())
    assert backend(store).held().current is None


def test_a_variable_that_somebody_deleted_is_written_anew() -> None:
    store, key = Memory(), new_key()
    backend(store).deliver(key)
    del store.variables["AWS_SECRET_ACCESS_KEY"]
    assert backend(store).held() == Held(None, None, torn=True)
    store.second += 1
    backend(store).deliver(key)
    assert backend(store).held() == Held(key.id, None)


def test_a_place_that_the_file_spells_in_another_way_is_not_emptied_by_its_old_name() -> None:
    store, key = Memory(), new_key()
    old, new = backend(store, line="memory:Shop/App"), backend(store, line="memory:shop/app")
    old.deliver(key)
    assert old.held() == Held(key.id, None)
    # Not delivered yet under the new name, so it still belongs to the old one.
    assert new.held() == Held(None, None)
    assert new.remove() is False
    store.second += 1
    new.deliver(key)
    assert new.held() == Held(key.id, None)
    assert old.held() == Held(None, None)
    assert old.remove() is False
    assert set(store.variables) == {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"}
    assert new.remove() is True
    assert store.variables == {}


def test_a_note_that_does_not_tell_its_line_is_anybodys_of_the_environment() -> None:
    store, key = Memory(), new_key()
    backend(store).deliver(key)
    assert store.note is not None
    store.note = Note(store.note.owner, store.note.key_id, store.note.stamps)
    assert backend(store, line="memory:other").held() == Held(key.id, None)
    assert backend(store, line="memory:other").remove() is True


@given(
    prefix=st.from_regex(r"[A-Za-z0-9_]{0,50}", fullmatch=True),
    key_id=st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,99}", fullmatch=True),
    suffix=st.from_regex(r"[A-Za-z0-9_]{0,50}", fullmatch=True),
)
def test_whatever_names_a_file_may_have_a_note_may_tell(prefix: str, key_id: str, suffix: str) -> None:
    try:
        names = Names(prefix=prefix, key_id=key_id, suffix=suffix)
    except ValidationError:
        return
    note = Note("shop-testing", None, dict.fromkeys(names.all, ""))
    assert Note.parse(note.text()) == note


def test_two_sets_of_names_live_side_by_side_unless_they_share_one() -> None:
    store = Memory()
    store.variables["B_SECRET"] = ("foreign", "0")
    with pytest.raises(BackendError, match="B_SECRET exists already"):
        backend(store, secret="B_SECRET").preflight()
    assert note_name(Names(prefix="B_")) != note_name(Names())


texts = st.text(max_size=20)
variables = st.from_regex(r"[A-BD-Za-bd-z_][A-Za-z0-9_]{0,30}", fullmatch=True)


@given(
    owner=texts,
    key_id=st.none() | st.just("AKIAIOSFODNN7EXAMPLE"),
    stamps=st.dictionaries(variables, texts, max_size=4),
    place=texts,
)
def test_a_note_comes_back_as_it_was_written(
    owner: str, key_id: str | None, stamps: dict[str, str], place: str
) -> None:
    note = Note(owner, key_id, stamps, place)
    found = Note.parse(note.text())
    assert found == note
    assert found.place == place
    assert "\n" not in note.text()


@pytest.mark.parametrize(
    "text",
    [
        None,
        1,
        "",
        "x",
        "[]",
        "{}",
        '{"environment": "a", "key": null}',
        '{"environment": "a", "key": "not an id", "variables": {}}',
        '{"environment": "a", "key": null, "variables": {"a": 1}}',
        '{"environment": 1, "key": null, "variables": {}}',
        '{"environment": "a", "key": null, "variables": {}, "place": 1}',
        '{"environment": "a", "key": null, "variables": {"CI_USER_PROD_AWS_ACCESS_KEY_ID": ""}}',
        '{"environment": "a", "key": null, "variables": {"ci_user_x": ""}}',
        '{"environment": "a", "key": null, "variables": {"../x": ""}}',
        '{"environment": "a", "key": null, "variables": {"": ""}}',
        json.dumps({"environment": "a", "key": None, "variables": {f"N{number}": "" for number in range(21)}}),
        "[" * 100000,
    ],
)
def test_what_is_no_note_of_ours_is_none(text: Any) -> None:
    assert Note.parse(text) is None


@pytest.mark.parametrize(
    "names",
    [
        {"key_id": "1A"},
        {"key_id": "A B"},
        {"key_id": "A-B"},
        {"key_id": ""},
        {"secret": "aws_access_key_id"},
        {"prefix": "1"},
        {"prefix": "CI_USER_"},
        {"key_id": "CI_USER_X"},
        {"region": "AWS_ACCESS_KEY_ID"},
        {"suffix": "é"},
        {"surprise": "x"},
    ],
)
def test_names_that_no_system_takes_are_refused(names: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        Names.model_validate(names)


@given(
    prefix=st.sampled_from(["", "PROD_", "a"]),
    key_id=st.sampled_from(["AWS_ACCESS_KEY_ID", "ID", "x" * 100]),
    suffix=st.sampled_from(["", "_CI", "9"]),
)
def test_names_that_are_opened_again_have_the_same_anchor(prefix: str, key_id: str, suffix: str) -> None:
    names = Names(prefix=prefix, key_id=key_id, suffix=suffix)
    if len(names.all[0]) <= 100:
        assert Names.anchored(names.anchor).anchor == names.anchor
    assert json.dumps(names.all)

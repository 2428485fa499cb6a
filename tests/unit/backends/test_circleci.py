from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ci_user.backends.protocol import Held
from ci_user.errors import BackendError
from tests.contract.doubles.circleci import ContextPlace
from tests.contract.place import Names, new_key
from tests.vendors.server import Reply


@pytest.fixture
def place(tmp_path: Path) -> Iterator[ContextPlace]:
    with ExitStack() as stack:
        yield ContextPlace.at(stack.enter_context(ContextPlace.serve()), tmp_path)


@pytest.mark.parametrize("lost", ["AWS_SECRET_ACCESS_KEY", "AWS_ACCESS_KEY_ID"])
def test_a_write_that_is_answered_and_not_done_is_not_delivered(
    place: ContextPlace, monkeypatch: pytest.MonkeyPatch, lost: str
) -> None:
    place.deliver(new_key())
    put = place.server.put

    def deaf(at: str, name: str, value: str) -> str:
        return place.server.variables[at][name][1] if name == lost else put(at, name, value)

    monkeypatch.setattr(place.server, "put", deaf)
    with pytest.raises(BackendError, match=f"{lost} was written, but CircleCI tells the same time of change"):
        place.deliver(new_key())
    assert place.open().held() == Held(None, None, torn=True)
    monkeypatch.undo()
    key = new_key()
    place.deliver(key)
    assert place.open().held() == Held(key.id, None)


@pytest.mark.parametrize(
    ("variable", "note", "whole"),
    [
        ("00:00:00Z", "00:00:00.150Z", True),
        ("00:00:00.900Z", "00:00:01Z", True),
        ("00:00:00.150Z", "00:00:00.150Z", True),
        ("00:00:00.150Z", "00:00:00Z", False),
        ("02:00:00+02:00", "00:00:00Z", True),
    ],
)
def test_times_are_compared_as_times_however_they_are_written(
    place: ContextPlace, variable: str, note: str, whole: bool
) -> None:
    key = new_key()
    place.deliver(key)
    found = place.server.variables[place.key]
    for name, (value, _) in found.items():
        found[name] = (value, f"2026-11-01T{note if name.startswith('CI_USER_') else variable}")
    assert place.open().held().current == (key.id if whole else None)


@pytest.mark.parametrize("name", ["context", "environment-variable"])
@pytest.mark.parametrize("items", [None, [1], {}, [{}], [{"name": "production", "variable": "X", "updated_at": 1}]])
def test_a_list_of_another_shape_is_an_error_without_a_traceback(place: ContextPlace, name: str, items: Any) -> None:
    place.server.after = lambda call, reply: Reply(200, {"items": items}) if call.path[-1] == name else reply
    with pytest.raises(BackendError):
        place.open().held()


def test_another_environments_note_is_never_taken_for_ours(place: ContextPlace) -> None:
    place.deliver(new_key())
    for prefix in ("shop", "shop-testing-eu", "testing", "SHOP-TESTING-x"):
        other = replace(Names(), prefix=prefix)
        assert place.open(other).held() == Held(None, None)
        assert place.open(other).remove() is False

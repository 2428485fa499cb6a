from __future__ import annotations

import contextlib
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from ci_user import place_check
from ci_user.backends.memory import MemoryBackend
from ci_user.errors import CredentialsError
from ci_user.place_check import examine_places
from ci_user.reports.console import Console


def examined(monkeypatch: pytest.MonkeyPatch, *places: MemoryBackend) -> dict[str, Any]:
    @contextlib.contextmanager
    def opened(*_: Any) -> Iterator[Any]:
        yield SimpleNamespace(caller=SimpleNamespace(arn="arn:aws:iam::1:user/ops"), backends=lambda: places)

    monkeypatch.setattr(place_check, "opened", opened)
    loaded: Any = SimpleNamespace(environment=SimpleNamespace(account_id="111111111111"))
    return {one.name: one for one in examine_places(loaded, Console(), {})}


def test_each_place_is_asked_and_one_that_fails_hides_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    good, bad, foreign = (MemoryBackend(readable=False, target=f"memory:{name}") for name in "abc")
    bad.failing.add("preflight")
    foreign.ours = False
    found = examined(monkeypatch, good, bad, foreign)
    assert list(found) == ["login", "memory:a", "memory:b", "memory:c"]
    assert (found["memory:a"].status, found["memory:a"].notes) == ("ok", ("the memory is ours",))
    assert found["memory:b"].status == found["memory:c"].status == "wrong"
    assert "told to fail" in found["memory:b"].version
    assert found["memory:c"].do
    assert all(place.calls == ["preflight"] for place in (good, bad, foreign))


def test_a_login_that_fails_is_told_and_no_place_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    def opened(*_: Any) -> Any:
        raise CredentialsError("no usable credentials", do="log in again")

    monkeypatch.setattr(place_check, "opened", opened)
    loaded: Any = SimpleNamespace()
    (login,) = examine_places(loaded, Console(), {})
    assert (login.name, login.status, login.version, login.do) == (
        "login",
        "wrong",
        "no usable credentials",
        "log in again",
    )

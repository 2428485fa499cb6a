from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from ci_user import leak
from ci_user.backends.memory import MemoryBackend
from ci_user.backends.protocol import Held


class Broken(MemoryBackend):
    """A backend of another package that fails in a way of its own."""

    def held(self) -> Held:
        raise LookupError("nobody expects this")


class Interrupted(MemoryBackend):
    def held(self) -> Held:
        raise KeyboardInterrupt


def asked(*places: Any) -> set[str]:
    answer: Any = SimpleNamespace(run=SimpleNamespace(backends=lambda: places))
    answer._backends = lambda: leak._Answer._backends(answer)
    return leak._Answer._held_anywhere(answer)


def holding(key_id: str, target: str) -> Any:
    return SimpleNamespace(target=target, held=lambda: Held(key_id, None))


def test_a_backend_that_fails_in_a_way_of_its_own_stops_no_answer_to_a_leak() -> None:
    good = holding("AKIAIOSFODNN7EXAMPLE", "memory:good")
    assert asked(good, Broken(target="memory:broken")) == {"AKIAIOSFODNN7EXAMPLE"}
    assert asked(Broken(target="memory:a"), Broken(target="memory:b")) == set()
    assert asked(Broken(target="memory:alone")) == set()
    with pytest.raises(KeyboardInterrupt):
        asked(good, Interrupted(target="memory:interrupted"))


def test_backends_that_cannot_be_opened_stop_no_answer_to_a_leak() -> None:
    def backends() -> Any:
        raise ArithmeticError("nobody expects this either")

    answer: Any = SimpleNamespace(run=SimpleNamespace(backends=backends))
    assert leak._Answer._backends(answer) == ()

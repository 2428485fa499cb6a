from __future__ import annotations

import pytest

from ci_user.backends.memory import MemoryBackend
from ci_user.backends.protocol import Backend, Held
from ci_user.errors import BackendError
from ci_user.secret import AccessKey, Secret

KEY = AccessKey("AKIAIOSFODNN7EXAMPLE", Secret("x"))


def test_it_is_a_backend_and_records_its_calls() -> None:
    memory = MemoryBackend()
    backend: Backend = memory
    backend.stage(KEY)
    backend.promote(KEY.id)
    assert memory.calls == ["stage", "promote"]
    assert memory.consumed == KEY


def test_one_that_is_not_readable_takes_deliveries_only() -> None:
    memory = MemoryBackend(readable=False)
    memory.deliver(KEY)
    memory.deliver(KEY)
    assert memory.held() == Held(KEY.id, None)
    with pytest.raises(BackendError, match="does not stage"):
        memory.stage(KEY)
    assert memory.remove() is True
    assert memory.remove() is False


def test_it_fails_when_told_to() -> None:
    memory = MemoryBackend()
    memory.failing.add("promote")
    memory.stage(KEY)
    with pytest.raises(BackendError, match="promote was told to fail"):
        memory.promote(KEY.id)
    memory.failing.clear()
    memory.promote(KEY.id)
    assert memory.consumed == KEY

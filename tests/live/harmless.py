"""The part of the contract that does no harm at a real place which holds nothing yet: write, look, write again, remove."""

from __future__ import annotations

from collections.abc import Callable

from ci_user.backends import Backend
from ci_user.backends.protocol import Held
from ci_user.secret import AccessKey, Secret


def made_up(number: int) -> AccessKey:
    """Return a key that AWS never gave to anybody."""
    return AccessKey(f"AKIACIUSERTEST{number:06}", Secret(f"made-up/secret+{number:06}/of+a+test/only00000"))


def deliver(backend: Backend, key: AccessKey) -> None:
    """Write a key as the tool does, to a stage in two steps."""
    if backend.readable:
        backend.stage(key)
        # A key that is what consumers read already is not staged once more.
        assert key.id in {backend.held().pending, backend.held().current}
        assert backend.read_staged(key.id) == key
        backend.promote(key.id)
    else:
        backend.deliver(key)


def harmless(opened: Callable[[], Backend]) -> list[str]:
    """Run it; whatever happens, what was written is removed. Returns what was seen, in words.

    Args:
        opened: Opens the place anew, as another run would.
    """
    seen = list(opened().preflight())
    assert opened().held() == Held(None, None), "the place holds something already: name one that holds nothing"
    try:
        for number in (1, 2, 2):
            deliver(opened(), made_up(number))
            assert opened().held() == Held(made_up(number).id, None)
            opened().preflight()
        seen.append("two made-up keys were written, the second one twice, and seen without reading a secret")
    finally:
        removed = opened().remove()
    assert removed
    assert opened().held() == Held(None, None)
    assert opened().remove() is False
    seen.append("what was written was removed")
    return seen

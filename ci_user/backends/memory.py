"""An in-memory backend: the double for tests, public so that other projects' tests can use it too.

It keeps the protocol's promises as the real ones do; ``tests/contract`` runs the same cases over all of them.
It is in no environment file: ``names()`` does not list it.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from ci_user.backends.protocol import Held
from ci_user.backends.refusals import another_pending, changed_by_others, not_held, not_ours, not_supported
from ci_user.errors import BackendError

if TYPE_CHECKING:
    from ci_user.secret import AccessKey


class MemoryBackend:
    """A backend whose place is this object.

    Args:
        readable: Whether it stages keys (True) or only takes delivery of them (False).
        target: What to call the place.

    Attributes:
        calls: The methods called so far, in order.
        failing: Methods that raise ``BackendError`` when they are called; add to it and remove from it.
        ours: False makes it a place that somebody else made.
    """

    name: str = "memory"

    def __init__(self, *, readable: bool = True, target: str = "memory:test") -> None:
        self.readable = readable
        self.target = target
        self.calls: list[str] = []
        self.failing: set[str] = set()
        self.ours = True
        self._lock = threading.Lock()
        self._current: AccessKey | None = None
        self._pending: AccessKey | None = None
        self._foreign = False

    @property
    def consumed(self) -> AccessKey | None:
        """The key that consumers read, None if there is none or if it is somebody else's value."""
        return None if self._foreign else self._current

    def write_foreign(self) -> None:
        """Change what consumers read behind the backend's back."""
        self._foreign = True

    def preflight(self) -> tuple[str, ...]:
        """Check ownership and content."""
        self._enter("preflight")
        self._check()
        return ("the memory is ours",)

    def held(self) -> Held:
        """Return the key ids held."""
        self._enter("held")
        if not self.ours:
            return Held(None, None)
        current = self.consumed
        return Held(current.id if current else None, self._pending.id if self._pending else None)

    def stage(self, key: AccessKey) -> None:
        """Keep the key as the pending copy."""
        self._enter("stage", readable=True)
        with self._lock:
            self._check()
            if self._current is not None and self._current.id == key.id:
                return
            if self._pending is not None and self._pending.id != key.id:
                raise another_pending(self.target, self._pending.id)
            self._pending = key

    def read_staged(self, key_id: str) -> AccessKey | None:
        """Return the pending or current key if it has this id."""
        self._enter("read_staged", readable=True)
        if not self.ours:
            return None
        return next((key for key in (self._pending, self.consumed) if key and key.id == key_id), None)

    def promote(self, key_id: str) -> None:
        """Make the pending key the current one."""
        self._enter("promote", readable=True)
        with self._lock:
            self._check()
            pending = self._pending if self._pending and self._pending.id == key_id else None
            if pending is not None:
                self._current, self._pending = pending, None
            elif self._current is None or self._current.id != key_id:
                raise not_held(self.target, key_id)

    def discard_staged(self, key_id: str) -> None:
        """Drop the pending copy of this key."""
        self._enter("discard_staged", readable=True)
        with self._lock:
            if self.ours and self._pending and self._pending.id == key_id:
                self._pending = None

    def deliver(self, key: AccessKey) -> None:
        """Make the key the current one."""
        self._enter("deliver", readable=False)
        with self._lock:
            self._check()
            self._current = key

    def remove(self) -> bool:
        """Forget what was written."""
        self._enter("remove")
        with self._lock:
            if not self.ours:
                return False
            self._check()
            found = self._current is not None or self._pending is not None
            self._current = self._pending = None
            return found

    def _enter(self, method: str, *, readable: bool | None = None) -> None:
        self.calls.append(method)
        if readable is not None and readable != self.readable:
            raise not_supported(self.name, method)
        if method in self.failing:
            raise BackendError(f"{method} was told to fail", where=self.target, do="nothing: this is a test")

    def _check(self) -> None:
        if not self.ours:
            raise not_ours(self.target, "the memory")
        if self._foreign:
            raise changed_by_others(self.target, "the memory", "nothing: this is a test")

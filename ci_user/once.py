"""Values that several threads ask for and that are made once."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from ci_user.errors import CiUserError

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class _Slot(Generic[V]):
    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.made: list[V] = []
        self.error: CiUserError | None = None


class OncePerKey(Generic[K, V]):
    """Makes each key's value once; whoever asks for it meanwhile waits, others do not.

    Args:
        keep_failures: Whether a ``CiUserError`` is kept like a value: what cannot be reached is then waited for once, and
            not by each who asks.
    """

    def __init__(self, *, keep_failures: bool = True) -> None:
        self._keep_failures = keep_failures
        self._lock = threading.Lock()
        self._slots: dict[K, _Slot[V]] = {}

    def get(self, key: K, make: Callable[[], V]) -> V:
        """Return the key's value, made by ``make`` when it is the first to be asked for.

        Raises:
            CiUserError: What ``make`` raised, now or when the value was asked for first.
        """
        with self._lock:
            slot = self._slots.setdefault(key, _Slot())
        with slot.lock:
            if slot.error is not None:
                # A traceback would grow with each who asks.
                raise slot.error.with_traceback(None)
            if not slot.made:
                try:
                    slot.made.append(make())
                except CiUserError as error:
                    if self._keep_failures:
                        slot.error = error
                    raise
            return slot.made[0]

"""What several threads ask for is made once; a failure is kept where that is wanted."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier, Event

import pytest

from ci_user.errors import AwsError
from ci_user.once import OncePerKey

THREADS = 8


def test_threads_that_ask_at_once_get_one_value() -> None:
    once: OncePerKey[str, object] = OncePerKey()
    start = Barrier(THREADS)
    made: list[object] = []

    def make() -> object:
        made.append(object())
        return made[-1]

    def ask() -> object:
        start.wait()
        return once.get("key", make)

    with ThreadPoolExecutor(THREADS) as pool:
        found = {id(future.result()) for future in [pool.submit(ask) for _ in range(THREADS)]}
    assert len(found) == len(made) == 1


def test_one_key_does_not_wait_for_another() -> None:
    once: OncePerKey[str, str] = OncePerKey()
    other = Event()

    def slow() -> str:
        assert other.wait(30)
        return "slow"

    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(once.get, "slow", slow)
        assert once.get("quick", lambda: "quick") == "quick"
        other.set()
        assert future.result() == "slow"


@pytest.mark.parametrize(("keep", "calls"), [(True, 1), (False, 3)])
def test_a_failure_is_kept_or_tried_again(keep: bool, calls: int) -> None:
    once: OncePerKey[str, str] = OncePerKey(keep_failures=keep)
    made = []

    def fail() -> str:
        made.append(1)
        raise AwsError("nobody answers")

    for _ in range(3):
        with pytest.raises(AwsError, match="nobody answers"):
            once.get("key", fail)
    assert len(made) == calls


def test_a_mistake_is_never_kept() -> None:
    once: OncePerKey[str, int] = OncePerKey()
    with pytest.raises(ZeroDivisionError):
        once.get("key", lambda: 1 // 0)
    assert once.get("key", lambda: 1) == 1


def test_nothing_is_a_value_too() -> None:
    once: OncePerKey[str, None] = OncePerKey()
    made: list[int] = []
    for _ in range(2):
        assert once.get("key", lambda: made.append(1)) is None
    assert made == [1]

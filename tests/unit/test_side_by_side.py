"""The same work for several places at once: all of them ended, none stopping another, and nothing begun after Ctrl-C."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest

from ci_user.errors import BackendError, KeyStateError
from ci_user.side_by_side import side_by_side

NAMES = [f"place-{n}" for n in range(8)]


def test_as_many_are_under_way_at_once_as_are_allowed() -> None:
    together = threading.Barrier(8)
    answers = side_by_side({name: partial(together.wait, 30) for name in NAMES}, 8)
    assert list(answers.values) == NAMES
    lock, running, most = threading.Lock(), [0], [0]

    def count() -> None:
        with lock:
            running[0] += 1
            most[0] = max(most[0], running[0])
        with lock:
            running[0] -= 1

    side_by_side(dict.fromkeys(NAMES, count), 2)
    assert 1 <= most[0] <= 2


def test_values_and_failures_come_in_the_order_of_the_places_whoever_was_first() -> None:
    later = threading.Event()

    def slow() -> str:
        assert later.wait(30)
        raise BackendError("slow and first in order")

    def quick() -> str:
        later.set()
        raise KeyStateError("quick and second in order")

    answers = side_by_side({"a": slow, "b": quick, "c": lambda: "fine"})
    assert list(answers.failures) == ["a", "b"]
    assert answers.values == {"c": "fine"}
    with pytest.raises(BackendError, match="slow and first"):
        answers.all()


@pytest.mark.parametrize("names", [[], ["a"]])
def test_where_nothing_is_to_be_waited_for_no_thread_is_made(names: list[str]) -> None:
    answers = side_by_side(dict.fromkeys(names, threading.get_ident))
    assert answers.all() == dict.fromkeys(names, threading.get_ident())


def test_one_alone_fails_as_one_of_many_does() -> None:
    def fail() -> None:
        raise BackendError("no")

    assert side_by_side({"a": fail}).failures.keys() == {"a"}


def test_a_mistake_is_kept_until_all_have_ended() -> None:
    def wrong() -> str:
        raise ZeroDivisionError

    answers = side_by_side({"a": wrong, "b": lambda: "fine"})
    assert answers.values == {"b": "fine"}
    with pytest.raises(ZeroDivisionError):
        answers.all()


def test_after_ctrl_c_nothing_begins_and_what_has_begun_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    begun, cancelled, started = threading.Event(), threading.Event(), list[str]()

    class Pool(ThreadPoolExecutor):
        def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
            super().shutdown(wait=False, cancel_futures=cancel_futures)
            cancelled.set()
            super().shutdown(wait=wait)

    def ctrl_c(_: object) -> None:
        assert begun.wait(30)
        raise KeyboardInterrupt

    def work(name: str) -> str:
        started.append(name)
        begun.set()
        assert cancelled.wait(30)
        return name

    monkeypatch.setattr("ci_user.side_by_side.ThreadPoolExecutor", Pool)
    monkeypatch.setattr("ci_user.side_by_side.wait", ctrl_c)
    todo: dict[str, Callable[[], str]] = {name: partial(work, name) for name in NAMES}
    answers = side_by_side(todo, 2)
    assert isinstance(answers.stopped, KeyboardInterrupt)
    assert set(answers.values) == set(started)
    assert 1 <= len(started) <= 2
    with pytest.raises(KeyboardInterrupt):
        answers.all()

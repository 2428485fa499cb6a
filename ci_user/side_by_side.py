"""The same work for several places at once, each by one thread: in the time that the slowest takes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar

from ci_user.errors import CiUserError

DELIVERIES_AT_ONCE: Final = 8
LOOKS_AT_ONCE: Final = 16

_T = TypeVar("_T")


@dataclass(frozen=True)
class Answers(Generic[_T]):
    """How it ended, by place and in the order in which the places were given.

    Args:
        values: What those that succeeded returned.
        failures: Why the others failed.
        stopped: Ctrl-C, or a mistake in this tool; who gets it sees to what has arrived, and raises it. What had not begun by
            then is in neither of the others.
    """

    values: Mapping[str, _T]
    failures: Mapping[str, CiUserError] = field(default_factory=dict)
    stopped: BaseException | None = None

    def all(self) -> dict[str, _T]:
        """Return the values.

        Raises:
            CiUserError: The first failure in the order of the places, whichever came first in time.
        """
        if self.stopped is not None:
            raise self.stopped
        for error in self.failures.values():
            raise error
        return dict(self.values)


def side_by_side(work: Mapping[str, Callable[[], _T]], at_once: int = LOOKS_AT_ONCE) -> Answers[_T]:
    """Do the work of each place, at most so many at once, and return when all of it has ended.

    One that fails stops no other. After Ctrl-C nothing more begins, and what has begun is waited for: the lease must not be given
    back while it is under way. A second Ctrl-C waits for nothing.
    """
    if len(work) < 2:
        return _alone(work)
    pool = ThreadPoolExecutor(max_workers=min(at_once, len(work)), thread_name_prefix="place")
    futures: dict[str, Future[_T]] = {}
    stopped: BaseException | None = None
    try:
        for name, one in work.items():
            futures[name] = pool.submit(one)
        wait(futures.values())
    except KeyboardInterrupt as error:
        stopped = error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
    values: dict[str, _T] = {}
    failures: dict[str, CiUserError] = {}
    for name, future in futures.items():
        if future.cancelled():
            continue
        failure = future.exception()
        if failure is None:
            values[name] = future.result()
        elif isinstance(failure, CiUserError):
            failures[name] = failure
        else:
            stopped = stopped or failure
    return Answers(values, failures, stopped)


def _alone(work: Mapping[str, Callable[[], _T]]) -> Answers[_T]:
    values: dict[str, _T] = {}
    failures: dict[str, CiUserError] = {}
    for name, one in work.items():
        try:
            values[name] = one()
        except CiUserError as error:
            failures[name] = error
        except Exception as error:  # noqa: BLE001 - a mistake is handed on, as from a thread
            return Answers(values, failures, error)
    return Answers(values, failures)

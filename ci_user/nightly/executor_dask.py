"""Runs the nightly check's batches on an existing Dask cluster: names and plain options go out, results come back as text.

What Dask unpickles, as in every use of it: the scheduler and the workers what the client sends; the client what they send,
errors among it. So all three trust each other, and ``cluster`` says who may be one of them.
"""

from __future__ import annotations

import json
import queue
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from ci_user.approval import code_digest
from ci_user.errors import CiUserError, ClusterError, UsageError
from ci_user.nightly.cluster import SHOWN, ClusterAddress
from ci_user.text import plain

Task = Callable[[list[str], dict[str, Any]], str]
"""Checks environments by name and returns the result as text; a function of a module, since it travels by its name."""

RETRIES: Final = 2
"""How often a batch that raised is tried again, perhaps by another worker: a check only reads, so repeating it is safe."""
_POLL: Final = 5.0
_CLOSE: Final = 5.0


@dataclass(frozen=True)
class Waits:
    """How long to wait, in seconds.

    Args:
        connect: For the scheduler.
        workers: For a worker, at the beginning and whenever none is left.
    """

    connect: float = 15.0
    workers: float = 60.0


@dataclass(frozen=True)
class Answer:
    """What became of one batch: the text that the task returned, or why there is none."""

    names: tuple[str, ...]
    text: str = ""
    error: CiUserError | None = None


def run(
    batches: Sequence[Sequence[str]],
    task: Task,
    options: Mapping[str, Any],
    cluster: ClusterAddress,
    on_answer: Callable[[Answer], None],
    waits: Waits = Waits(),
) -> None:
    """Do every batch on the cluster and hand over each answer as it arrives, one at a time, in the calling thread.

    Each batch has exactly one answer, failures too. When a worker dies, the cluster does its batch again elsewhere, until more
    workers than the scheduler's ``allowed-failures`` (3) have died of it. After Ctrl-C what has not begun is cancelled; what a
    worker has begun it ends, since Dask stops no thread, and nobody reads it.

    Args:
        batches: The names of each batch.
        task: The function, by reference: the scheduler and the workers import its module from their own checkout.
        options: JSON values only; nothing else can travel.
        cluster: The scheduler.
        on_answer: Gets each answer; what it raises ends the run as Ctrl-C does.
        waits: How long to wait.

    Raises:
        ClusterError: The scheduler does not answer or wants other certificates, or no worker comes.
        UsageError: The extra is not installed, or a certificate cannot be used.
        TypeError: The task is no function of a module, or an option no JSON value: a fault of the tool.
    """
    _refuse_by_value(task)
    sent = json.loads(json.dumps(dict(options), allow_nan=False))
    names = [[str(name) for name in batch] for batch in batches]
    if not names:
        return
    with _connected(cluster, waits) as client:
        waiting: dict[str, tuple[Any, tuple[str, ...]]] = {}
        done: queue.SimpleQueue[Any] = queue.SimpleQueue()
        futures = client.map(task, names, [sent] * len(names), pure=False, retries=RETRIES)
        for future, batch in zip(futures, names, strict=True):
            waiting[future.key] = future, tuple(batch)
            future.add_done_callback(done.put)
        del futures  # a result stays in its worker's memory for as long as anything refers to its future
        for future in _as_they_end(done, waiting, client, waits):
            answer = _answer(future, waiting[future.key][1], waits)
            if answer is None:
                future.add_done_callback(done.put)
                continue
            del waiting[future.key]
            on_answer(answer)
        for _, left in waiting.values():
            on_answer(Answer(left, error=_no_worker(cluster, waits)))


def refuse_other_code(expected: str, root: Path) -> None:
    """See that this worker would check with the code that the run was started with.

    Args:
        expected: ``code_digest`` of whoever started the run.
        root: This worker's repository.

    Raises:
        ClusterError: It is another, or it was changed since this process first looked: what is imported may be older.
    """
    found = code_digest(root)
    if _first_seen.setdefault(root, found) != found:
        raise ClusterError(
            "this worker's checkout has changed since the worker began",
            where=f"code {found[:12]}, at first {_first_seen[root][:12]}",
            expected="the code that is running",
            do="start the worker again",
        )
    if found != expected:
        raise ClusterError(
            "this worker's checkout is not the one that the check was started from",
            where=f"code {found[:12]}",
            expected=f"code {plain(expected[:12])}",
            do="check out the same commit for the scheduler and each worker, and start them again",
        )


_first_seen: Final[dict[Path, str]] = {}


@contextmanager
def _connected(cluster: ClusterAddress, waits: Waits) -> Iterator[Any]:
    distributed = _distributed()
    security = cluster.security()
    try:
        # Results come through the scheduler: the client connects to no address that the scheduler names.
        client = distributed.Client(
            cluster.contact, security=security, timeout=waits.connect, set_as_default=False, direct_to_workers=False
        )
    except (OSError, RuntimeError, ImportError) as error:
        raise ClusterError(
            f"the scheduler does not answer: {plain(error, SHOWN)}",
            where=cluster.contact,
            expected="a Dask scheduler" + (" that accepts these certificates" if cluster.encrypted else ""),
            do="see that it runs, and that its versions of Python and Dask are these",
        ) from None
    try:
        try:
            client.wait_for_workers(1, timeout=waits.workers)
        except TimeoutError:
            raise _no_worker(cluster, waits) from None
        except OSError as error:
            raise _lost(error) from None
        yield client
    finally:
        # The scheduler drops what only a client that has gone wanted: this cancels what is left.
        with suppress(TimeoutError, OSError):
            client.close(timeout=_CLOSE)


def _distributed() -> Any:
    try:
        import dask
    except ModuleNotFoundError:
        raise UsageError(
            "the package distributed is not installed",
            where="--executor dask",
            expected="the optional extra 'dask'",
            do="pip install 'ci-user[dask]', or in this repository: `make sandbox`",
        ) from None
    # What happened is in the answers; its log would tear the table of progress, unescaped.
    quiet = dict.fromkeys(("distributed", "distributed.client", "distributed.gc", "tornado.application"), "critical")
    with dask.config.set(logging=quiet):
        import distributed
    return distributed


def _refuse_by_value(task: Task) -> None:
    """See that the task travels by its name: a closure would be sent with all that it encloses."""
    module, name = getattr(task, "__module__", ""), getattr(task, "__qualname__", "")
    if module == "__main__" or getattr(sys.modules.get(module), name, None) is not task:
        raise TypeError(f"{task!r} is no function of a module")


def _as_they_end(
    done: queue.SimpleQueue[Any], waiting: Mapping[str, object], client: Any, waits: Waits
) -> Iterator[Any]:
    """Yield each future that has ended, until nothing waits any more or no worker was there for too long."""
    alone_since: float | None = None
    while waiting:
        try:
            future = done.get(timeout=min(_POLL, waits.workers))
        except queue.Empty:
            if _any_worker(client):
                alone_since = None
            elif alone_since is None:
                alone_since = time.monotonic()
            elif time.monotonic() - alone_since >= waits.workers:
                return
            continue
        alone_since = None
        yield future
        del future


def _answer(future: Any, names: tuple[str, ...], waits: Waits) -> Answer | None:
    """Return what became of a batch, or None when its result was lost with a worker and it is done again."""
    if future.status == "error":
        return Answer(names, error=_failure(future.exception(timeout=waits.connect)))
    try:
        text = future.result(timeout=waits.connect)
    except TimeoutError:
        return None
    except Exception as error:  # noqa: BLE001 - whatever happens to a batch is the failure of its names, and of no others
        return Answer(names, error=_failure(error))
    if not isinstance(text, str):
        return Answer(names, error=_failure(TypeError(f"the answer is no text but {type(text).__name__}")))
    return Answer(names, text)


def _any_worker(client: Any) -> bool:
    try:
        return bool(client.nthreads())
    except (OSError, TimeoutError):
        return False


def _failure(error: BaseException) -> CiUserError:
    from distributed import CancelledError, KilledWorker

    if isinstance(error, CiUserError):
        return error.with_traceback(None)
    if isinstance(error, CancelledError):
        return _lost(error)
    if isinstance(error, KilledWorker):
        return ClusterError(
            f"every worker that checked these environments died: {error.allowed_failures + 1}",
            expected="workers with memory enough: a Terraform provider takes some 600 MB",
            do="look at the workers' logs, give them more memory or fewer threads, or check these without --executor",
        )
    return ClusterError(
        f"the worker failed: {type(error).__name__}: {plain(error, SHOWN)}",
        expected="a scheduler and workers that import this checkout",
        do="look at the worker's log",
    )


def _lost(error: BaseException) -> ClusterError:
    return ClusterError(
        f"the scheduler was lost, or gave the work up: {plain(error, SHOWN)}",
        expected="a scheduler that lives as long as the check",
        do="run the check again",
    )


def _no_worker(cluster: ClusterAddress, waits: Waits) -> ClusterError:
    return ClusterError(
        f"no worker was there for {waits.workers:g} s",
        where=cluster.contact,
        expected="at least one worker that is connected to the scheduler",
        do="start workers, or run the check without --executor",
    )

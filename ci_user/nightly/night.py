"""The check of many environments on this machine: side by side within bounds, none stopping another, ended cleanly by Ctrl-C."""

from __future__ import annotations

import datetime as dt
import os
import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final, Protocol

from ci_user import __version__
from ci_user.errors import CiUserError, InterruptedRunError
from ci_user.fleet import Buffered, mistake
from ci_user.nightly.check import Checked, Tools, check, failed, now
from ci_user.nightly.model import EnvironmentResult, NightResult, Part
from ci_user.nightly.records import Record
from ci_user.run import Loaded

if TYPE_CHECKING:
    from ci_user.environment import Environment
    from ci_user.logins import Logins
    from ci_user.nightly.records import RecordBook
    from ci_user.nightly.selection import Fleet
    from ci_user.run import Run
    from ci_user.toolchain import Toolchain

LOOKS_AT_ONCE: Final = 48
"""Environments that are read at once: eight of each of six accounts. Most of that is waiting for answers."""

_WAIT_SECONDS: Final = 0.5


class Progress(Protocol):
    """Where a run shows how far it is; called by several threads."""

    def start(self, name: str) -> None: ...  # noqa: D102
    def stage(self, name: str, word: str) -> None: ...  # noqa: D102
    def done(self, result: EnvironmentResult, log: Sequence[str]) -> None: ...  # noqa: D102


@dataclass(frozen=True)
class NightOptions:
    """What a run is to do.

    Args:
        full: Plan every environment.
        shard: Which part of the fleet it is, such as ``3/10``; for the result.
        verbose: Keep what the tool does step by step in each environment's log.
    """

    full: bool = False
    shard: str | None = None
    verbose: bool = False


class Night(Part):
    """What a run found, and what the next one may rely on."""

    result: NightResult
    records: tuple[Record, ...] = ()


@dataclass
class _Stop:
    """Asks every thread of a run to end."""

    event: threading.Event = field(default_factory=threading.Event)

    def __call__(self) -> None:
        if self.event.is_set():
            raise InterruptedRunError("the check was interrupted")


def run(
    fleet: Fleet,
    names: Sequence[str],
    options: NightOptions,
    progress: Progress,
    *,
    book: RecordBook | None = None,
    environ: Mapping[str, str] | None = None,
) -> Night:
    """Check the environments; one that fails is a result like any other.

    After Ctrl-C nothing more begins, Terraform is told to stop, and what was done by then is returned; the rest is `missing`.

    Args:
        fleet: All environments.
        names: Those to check, in any order.
        options: What to do.
        progress: Told what happens.
        book: The records that are trusted; None has everything planned.
        environ: The ambient variables; the process's own by default.
    """
    began = dt.datetime.now(tz=dt.UTC)
    environ = dict(os.environ if environ is None else environ)
    stop = _Stop()
    work = _Work(fleet, names, environ, options, progress, stop, None if options.full else book)
    checked: dict[str, Checked] = {}
    ordered = fleet.interleaved(names)
    pool = ThreadPoolExecutor(max_workers=max(1, min(LOOKS_AT_ONCE, len(ordered))), thread_name_prefix="check")

    ended: queue.SimpleQueue[Future[None]] = queue.SimpleQueue()

    def one(name: str) -> None:
        if (result := work.one(name)) is not None:
            checked[name] = result

    try:
        for name in ordered:
            pool.submit(one, name).add_done_callback(ended.put)
        for _ in ordered:
            _next(ended).result()
    except KeyboardInterrupt:
        stop.event.set()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
    checked |= work.confirmed(checked)
    records = [record for name in sorted(checked) if (record := checked[name].record) is not None]
    return whole([one.result for one in checked.values()], records, names=names, began=began, shard=options.shard)


def whole(
    results: Iterable[EnvironmentResult],
    records: Iterable[Record],
    *,
    names: Iterable[str],
    began: dt.datetime,
    shard: str | None,
) -> Night:
    """Return a night that ends now: results by name, and what of the names has none as missing."""
    found = {one.environment: one for one in results}
    return Night(
        result=NightResult(
            tool=__version__,
            began=began,
            ended=dt.datetime.now(tz=dt.UTC),
            shard=shard,
            environments=tuple(found[name] for name in sorted(found)),
            missing=tuple(sorted(set(names) - found.keys())),
        ),
        records=tuple(records),
    )


def _next(ended: queue.SimpleQueue[Future[None]]) -> Future[None]:
    """Return what ended next; a Ctrl-C just before the wait would be seen only after it, so it is never a long one."""
    while True:
        with suppress(queue.Empty):
            return ended.get(timeout=_WAIT_SECONDS)


class _Work:
    """One environment after the other, with what they share."""

    def __init__(
        self,
        fleet: Fleet,
        names: Sequence[str],
        environ: Mapping[str, str],
        options: NightOptions,
        progress: Progress,
        stop: Callable[[], None],
        book: RecordBook | None,
    ) -> None:
        from ci_user.approval import code_digest
        from ci_user.logins import Logins
        from ci_user.nightly.account import Readings
        from ci_user.nightly.fingerprint import of_versions
        from ci_user.nightly.planner import at_once
        from ci_user.nightly.read_only import refuse_writes
        from ci_user.nightly.state_objects import StateObjects
        from ci_user.scan import Scanner

        self._fleet = fleet
        self._environ = environ
        self._options = options
        self._progress = progress
        self._logins: Logins = Logins(check=refuse_writes, retries="adaptive")
        self._lock = threading.Lock()
        self._toolchains: dict[tuple[bool, bool], Toolchain] = {}
        code = code_digest(fleet.root)
        wanted = [fleet.environments[name] for name in names if name in fleet.environments]
        self._prefixes, self._keys = {one.prefix for one in wanted}, _state_keys(wanted)
        self._tools = Tools(
            toolchain=self._toolchain,
            readings=Readings(self._prefixes),
            states=StateObjects(self._keys),
            book=book,
            versions=lambda loaded: of_versions(code, self._toolchain(loaded)),
            scanner=Scanner(),
            turns=threading.BoundedSemaphore(at_once()),
            stop=stop,
        )

    def one(self, name: str) -> Checked | None:
        """Return one environment's result, whatever happens; None when the run was interrupted before it had one."""
        began = time.monotonic()
        log = Buffered(verbose=self._options.verbose)
        environment = self._fleet.environments.get(name)
        self._progress.start(name)
        try:
            self._tools.stop()
            checked = self._checked(name, log)
        except InterruptedRunError:
            return None
        except CiUserError as error:
            checked = Checked(failed(environment, name, error, began))
        except Exception as error:  # noqa: BLE001 - a mistake in this tool is the failure of the environment that met it
            checked = Checked(failed(environment, name, mistake(error), began))
        self._progress.done(checked.result, log.kept)
        return checked

    def confirmed(self, checked: Mapping[str, Checked]) -> dict[str, Checked]:
        """Return what was planned with its record only where nothing changed while it was planned.

        What was read before a plan may have become something else by the time of the plan: a record of both would vouch for
        what nobody has planned. So each account is read once more, after all plans. After Ctrl-C nothing is: then what was
        planned has no record.
        """
        from ci_user.nightly.account import Readings
        from ci_user.nightly.state_objects import StateObjects

        found = {
            name: replace(one, record=None)
            for name, one in checked.items()
            if one.record is not None and one.result.way == "planned"
        }
        tools = replace(self._tools, readings=Readings(self._prefixes), states=StateObjects(self._keys))

        def same(name: str) -> bool:
            record = checked[name].record
            try:
                tools.stop()
                with self._opened(name, Buffered(verbose=False)) as run_of_one:
                    return record is not None and now(run_of_one, tools) == record.digest
            except Exception:  # noqa: BLE001 - whatever it is, its result stands, and it is planned again the next night
                return False

        if found:
            with suppress(KeyboardInterrupt), ThreadPoolExecutor(min(LOOKS_AT_ONCE, len(found)), "confirm") as pool:
                for name, unchanged in zip(tuple(found), pool.map(same, tuple(found)), strict=True):
                    if unchanged:
                        found[name] = checked[name]
        return found

    def _checked(self, name: str, log: Buffered) -> Checked:
        with self._opened(name, log) as run_of_one:
            return check(run_of_one, self._tools, lambda word: self._progress.stage(name, word))

    @contextmanager
    def _opened(self, name: str, log: Buffered) -> Iterator[Run]:
        from ci_user.run import opened

        if name in self._fleet.broken:
            raise self._fleet.broken[name]
        environment = self._fleet.environments[name]
        if environment.check_access is not None:
            environment = environment.model_copy(update={"access": environment.check_access})
        loaded = Loaded(self._fleet.root, environment, self._fleet.siblings(name))
        with opened(loaded, log, self._environ, logins=self._logins) as run_of_one:
            yield run_of_one

    def _toolchain(self, loaded: Loaded) -> Toolchain:
        from ci_user.run import find_toolchain

        kind = (loaded.environment.sandbox, loaded.environment.protected)
        with self._lock:
            if kind not in self._toolchains:
                self._toolchains[kind] = find_toolchain(loaded, self._environ)
            return self._toolchains[kind]


def _state_keys(environments: Iterable[Environment]) -> dict[str, set[str]]:
    """Return the state objects that will be asked for, by bucket."""
    keys: dict[str, set[str]] = {}
    for one in environments:
        keys.setdefault(one.state.bucket, set()).add(one.state.key)
    return keys

"""The check of many environments on the workers of a cluster: the same function, with each worker's own checkout and login."""

from __future__ import annotations

import contextlib
import datetime as dt
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from pydantic import ValidationError

from ci_user import __version__
from ci_user.errors import CiUserError, ClusterError
from ci_user.nightly.check import failed
from ci_user.nightly.model import EnvironmentResult, NightResult
from ci_user.nightly.night import Night, NightOptions, Progress, run, whole
from ci_user.text import plain

if TYPE_CHECKING:
    from ci_user.nightly.cluster import ClusterAddress
    from ci_user.nightly.executor_dask import Answer
    from ci_user.nightly.selection import Fleet

NAMES_AT_MOST: Final = 20
"""How many environments one worker gets at once. Those of one account stay together, which is read once for all of them."""


class Silent:
    """Shows nothing: a worker has nobody who looks."""

    def start(self, name: str) -> None:
        """Ignore it."""

    def stage(self, name: str, word: str) -> None:
        """Ignore it."""

    def done(self, result: EnvironmentResult, log: Sequence[str]) -> None:
        """Ignore it."""


def check_batch(names: list[str], options: dict[str, Any]) -> str:
    """Check environments on a worker; return a ``Night`` as JSON. Neither a secret nor a path travels, in either direction.

    Args:
        names: The environments.
        options: ``full``, ``records`` (an address, or an empty text), and the digests that this checkout must have: ``code``
            and ``fleet``, that of the environments.

    Raises:
        ClusterError: This checkout is another one: it would call something clean that nobody asked about.
        CiUserError: Its environments cannot be read.
    """
    from ci_user.commands import ROOT
    from ci_user.logs import quiet_botocore
    from ci_user.nightly.executor_dask import refuse_other_code
    from ci_user.nightly.record_access import book
    from ci_user.nightly.selection import Fleet

    # A worker's levels are set by Dask's configuration, not by this tool's command line.
    quiet_botocore()
    refuse_other_code(str(options["code"]), ROOT)
    fleet = Fleet.load(ROOT)
    if fleet.digest != options["fleet"]:
        raise ClusterError(
            "this worker's environment files, or the policies that they name, are not those that the check was started from",
            where=f"environments {fleet.digest[:12]}",
            expected=f"environments {plain(str(options['fleet'])[:12])}",
            do="check out the same commit for each worker, with nothing changed there or where the check is started",
        )
    full = bool(options["full"])
    trusted = None if full else book(str(options["records"]), fleet)
    return run(fleet, names, NightOptions(full=full), Silent(), book=trusted).model_dump_json()


def run_on_cluster(
    fleet: Fleet,
    names: Sequence[str],
    options: NightOptions,
    progress: Progress,
    *,
    records: str,
    cluster: ClusterAddress,
) -> Night:
    """Check environments on a Dask cluster; what a worker could not do is a result that says so.

    Args:
        fleet: All environments, as this checkout has them.
        names: Those to check.
        options: What to do.
        progress: Told what has ended.
        records: The address of the records; an empty text for none.
        cluster: The scheduler.

    Raises:
        ClusterError: The scheduler does not answer, or no worker comes.
        UsageError: The extra is not installed, or a certificate cannot be used.
    """
    from ci_user.approval import code_digest
    from ci_user.nightly import executor_dask

    began, started = dt.datetime.now(tz=dt.UTC), time.monotonic()
    nights: list[Night] = []

    def take(answer: Answer) -> None:
        night = _night(fleet, answer, started)
        nights.append(night)
        for result in night.result.environments:
            progress.done(result, ())

    sent = {"full": options.full, "records": records, "code": code_digest(fleet.root), "fleet": fleet.digest}
    # After Ctrl-C what came back by then is told; the rest is missing.
    with contextlib.suppress(KeyboardInterrupt):
        executor_dask.run(batches(fleet, names), check_batch, sent, cluster, take)
    return whole(
        [one for night in nights for one in night.result.environments],
        [record for night in nights for record in night.records],
        names=names,
        began=began,
        shard=options.shard,
    )


def batches(fleet: Fleet, names: Sequence[str]) -> list[list[str]]:
    """Return the names in parts of at most ``NAMES_AT_MOST``, those of one account together."""
    found: list[list[str]] = []
    account = None
    for name in fleet.in_order(names):
        own = fleet.account(name)
        if not found or own != account or len(found[-1]) >= NAMES_AT_MOST:
            found.append([])
        found[-1].append(name)
        account = own
    return found


def _night(fleet: Fleet, answer: Answer, started: float) -> Night:
    error = answer.error
    if error is None:
        try:
            night = Night.model_validate_json(answer.text)
        except ValidationError:
            error = CiUserError("a worker's answer is no result of this version", do="see that it runs this version")
        else:
            told = {one.environment for one in night.result.environments}
            if told <= set(answer.names) and {record.environment for record in night.records} <= told:
                return night
            error = CiUserError("a worker answered for environments that it was not asked for")
    now = dt.datetime.now(tz=dt.UTC)
    results = tuple(failed(fleet.environments.get(name), name, error, started) for name in answer.names)
    return Night(result=NightResult(tool=__version__, began=now, ended=now, environments=results))

"""The commands of the nightly check behind the tasks: check, environments, and what becomes of results."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ci_user import commands
from ci_user.errors import UsageError
from ci_user.secret import Secret

if TYPE_CHECKING:
    from ci_user.nightly.model import EnvironmentResult, NightResult
    from ci_user.nightly.night import Night, NightOptions
    from ci_user.nightly.selection import Fleet
    from ci_user.reports.console import Console
    from ci_user.reports.model import Report

_NIGHTS: Final = 60
"""How many nights the report's trend shows."""


@dataclass(frozen=True)
class Lines:
    """What a command says that checks nothing: lines for people, a document for programs."""

    told: Sequence[str]
    said: dict[str, Any] = field(default_factory=dict)

    @property
    def exit_code(self) -> int:
        """Return 0."""
        return 0

    def lines(self) -> Sequence[str]:
        """Return the lines for a person."""
        return self.told

    def document(self) -> dict[str, Any]:
        """Return the document."""
        return self.said


@dataclass(frozen=True)
class NightReport:
    """A night as a report: its exit code is the gravest of its environments'.

    Args:
        result: The night.
        verbose: Whether what is accepted is listed too.
        annotations: Workflow commands for GitHub, which stand before everything else.
    """

    result: NightResult
    verbose: bool = False
    annotations: Sequence[str] = ()

    @property
    def exit_code(self) -> int:
        """Return 1 over 3 over 0."""
        return self.result.exit_code

    def lines(self) -> Sequence[str]:
        """Return the report for a person."""
        from ci_user.nightly.render import console

        return [*self.annotations, *console.lines(self.result, verbose=self.verbose)]

    def document(self) -> dict[str, Any]:
        """Return the report as a JSON object."""
        from ci_user.nightly.render import document

        return document.document(self.result)


class _OneLine:
    """Shows how far a single environment is, in plain lines."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def start(self, name: str) -> None:
        """Say nothing yet: the first stage follows at once."""

    def stage(self, name: str, word: str) -> None:
        """Say what is done now."""
        self._console.line(f"  {name}: {word} ...")

    def done(self, result: EnvironmentResult, log: Sequence[str]) -> None:  # noqa: ARG002 - the report follows
        """Show what was kept meanwhile; the report follows."""
        for line in log:
            self._console.line(line)


def check(
    console: Console,
    *,
    env: str,
    every: bool,
    only: list[str],
    shard: str,
    full: bool,
    records: str,
    out: str,
    github: bool,
    executor: str,
    scheduler: str,
    tls_ca: str,
    tls_cert: str,
    tls_key: str,
) -> Report:
    """`invoke check`."""
    from ci_user.nightly import output
    from ci_user.nightly.cluster import ClusterAddress
    from ci_user.nightly.night import NightOptions
    from ci_user.nightly.record_location import parse_location
    from ci_user.nightly.selection import Fleet, matching, parse_shard, part_of

    part = parse_shard(shard)
    if records:
        parse_location(records)
    _refuse_mixtures(env=env, every=every, only=only, shard=shard)
    cluster = None
    certificates = {"--tls-ca": tls_ca, "--tls-cert": tls_cert, "--tls-key": tls_key}
    given = [flag for flag, file in certificates.items() if file]
    if given and not (executor or scheduler):
        raise UsageError(
            f"{given[0]} without a scheduler",
            where=given[0],
            expected="--executor dask --scheduler ADDRESS with it, or neither: then it runs here",
        )
    if executor or scheduler:
        if executor != "dask" or not scheduler:
            raise UsageError(
                f"--executor {executor or '(none)'} --scheduler {scheduler or '(none)'} is no way to run it",
                where="--executor",
                expected="--executor dask --scheduler ADDRESS, or neither: then it runs here",
            )
        cluster = ClusterAddress(scheduler, *(Path(file) if file else None for file in certificates.values()))
    directory = output.ready(Path(out).absolute()) if out else None
    fleet = Fleet.load(commands.ROOT)
    names = (_one(fleet, env),) if env else part_of(fleet, matching(fleet, only), part)
    options = NightOptions(full=full, shard=str(part) if part else None, verbose=console.verbose)
    night = _night(console, fleet, names, options, "" if full else records, cluster)
    if directory is not None:
        output.write_all(directory, night.result, night.records)
    return NightReport(night.result, console.verbose, _github(night.result, directory) if github else ())


def _refuse_mixtures(*, env: str, every: bool, only: list[str], shard: str) -> None:
    given = [flag for flag, value in (("--all", every), ("--only", only), ("--shard", shard)) if value]
    if env and given:
        raise UsageError(
            f"--env and {given[0]} do not go together",
            where=given[0],
            expected="--env NAME for one environment, or --all with --only and --shard for several",
        )
    if not env and not given:
        # Without a name, what is asked for is one of them: the message lists those that there are.
        commands.named("")


def _one(fleet: Fleet, name: str) -> str:
    from ci_user import environment_files

    if name not in fleet.broken:
        environment_files.check_name(name, fleet.environments)
    return name


def _night(
    console: Console,
    fleet: Fleet,
    names: Sequence[str],
    options: NightOptions,
    records: str,
    cluster: Any,
) -> Night:
    from ci_user.nightly import night
    from ci_user.nightly.render.progress import Progress

    if len(names) == 1 and cluster is None:
        return night.run(fleet, names, options, _OneLine(console), book=_book(console, records, fleet))
    with Progress(names, console, terminal=console.terminal) as progress:
        if cluster is not None:
            from ci_user.nightly.batches import run_on_cluster

            return run_on_cluster(fleet, names, options, progress, records=records, cluster=cluster)
        return night.run(fleet, names, options, progress, book=_book(console, records, fleet))


def _book(console: Console, records: str, fleet: Fleet) -> Any:
    from ci_user.nightly.record_access import book

    found = book(records, fleet)
    if found is not None and found.why_not is not None:
        console.line(f"everything is planned: {found.why_not}")
    return found


def _github(result: NightResult, directory: Path | None) -> Sequence[str]:
    """Write the step summary where GitHub looks for it, and return the annotations."""
    from ci_user.nightly.render.github import summary, workflow_commands

    place = os.environ.get("GITHUB_STEP_SUMMARY")
    if place:
        try:
            with Path(place).open("a", encoding="utf-8") as file:
                file.write(summary(result))
        except OSError as error:
            raise UsageError(
                f"the step summary cannot be written: {error.strerror}",
                where="GITHUB_STEP_SUMMARY",
                do=f"look into {directory or 'the output'} instead",
            ) from None
    return workflow_commands(result)


def environments(console: Console, *, only: list[str], shards: int | str) -> Report:
    """`invoke environments`."""
    from ci_user.nightly.selection import Fleet, matching
    from ci_user.nightly.shards import SHARDS_AT_MOST

    del console
    shards = _number(shards, "--shards")
    if not 0 <= shards <= SHARDS_AT_MOST:
        raise UsageError(f"{shards} shards cannot be", where="--shards", expected=f"1 to {SHARDS_AT_MOST}")
    names = list(matching(Fleet.load(commands.ROOT), only))
    if not shards:
        return Lines(names, {"environment": names})
    # A shard without environments would be a job that starts for nothing.
    count = max(1, min(shards, len(names)))
    parts = [f"{number}/{count}" for number in range(1, count + 1)]
    return Lines(parts, {"shard": parts})


def merge(console: Console, *, result: list[str], out: str, history: str, expect: int | str, github: bool) -> Report:
    """`invoke reports.merge`."""
    from ci_user.nightly import merging, output

    expect = _number(expect, "--expect")
    if not out:
        raise UsageError("no directory was named", where="--out", expected="--out DIR, where the joined results go")
    directory = output.ready(Path(out).absolute())
    places = [Path(place).absolute() for place in result]
    read = merging.read_all(places)
    joined = merging.merge(read.results, expect or None, broken=read.broken)
    nights: Sequence[Any] = ()
    if history:
        from ci_user.nightly import history as past

        file = Path(history).absolute()
        try:
            dated = past.since(file, joined)
            past.append(file, dated)
            nights = past.nights(file, _NIGHTS)
        except UsageError:
            # No verdict depends on the history: the report is there without it, and the run fails all the same.
            output.write_all(directory, joined, output.records_of(places))
            raise
        joined = dated
    output.write_all(directory, joined, output.records_of(places), nights)
    return NightReport(joined, console.verbose, _github(joined, directory) if github else ())


def keep(console: Console, *, result: str, records: str) -> Report:
    """`invoke reports.keep`."""
    from ci_user.nightly import record_access, record_store
    from ci_user.nightly.record_location import parse_location
    from ci_user.nightly.selection import Fleet

    del console
    location = parse_location(records)
    fleet = Fleet.load(commands.ROOT)
    kept = record_store.keep(
        _directory(result),
        location,
        record_access.access(fleet),
        existing=fleet.names,
        state_buckets=record_access.state_buckets(fleet),
    )
    said = {"records": kept.records, "new": kept.new, "gone": kept.gone}
    return Lines([f"{location.address}: {kept.records} records, {kept.new} of them new, {kept.gone} gone"], said)


def notify(console: Console, *, result: str, details: bool) -> Report:
    """`invoke reports.notify`."""
    from ci_user.nightly import merging
    from ci_user.nightly.render import webhook

    del console
    url = os.environ.get(webhook.VARIABLE)
    if not url:
        raise UsageError(
            "there is no webhook to tell",
            where=webhook.VARIABLE,
            expected="the address of an incoming webhook in that variable: it is a secret, so it is in no flag",
        )
    webhook.send(Secret(url), webhook.payload(merging.read_result(_directory(result)), details=details))
    return Lines(["the webhook was told"], {"told": True})


def _number(text: int | str, flag: str) -> int:
    # Invoke itself answers a flag that is no number with a traceback.
    try:
        return int(text or 0)
    except ValueError:
        raise UsageError(
            f"{text!r} is no number", where=flag, expected="how many shards there are, such as 3"
        ) from None


def _directory(text: str) -> Path:
    if not text:
        raise UsageError(
            "no result was named", where="--result", expected="--result DIR, as `invoke check --out DIR` wrote it"
        )
    return Path(text).absolute()

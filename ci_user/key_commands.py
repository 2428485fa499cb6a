"""The commands on keys behind the tasks: rotate, revoke, reactivate, redeliver."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ci_user import commands
from ci_user.commands import duration, named
from ci_user.errors import EnvironmentFileError, UsageError

if TYPE_CHECKING:
    from ci_user.reports.console import Console
    from ci_user.reports.model import Report


def rotate(
    console: Console,
    *,
    env: str,
    every: bool,
    force: bool,
    now: bool,
    yes: bool,
    confirm: str,
    lock_timeout: str,
) -> Report:
    """`invoke rotate`."""
    from ci_user import environment_files, fleet, key_runs
    from ci_user.confirmation import Consent
    from ci_user.run import Loaded, load_environment

    wait = duration("--lock-timeout", lock_timeout)
    if not every:
        return key_runs.rotate(
            load_environment(named(env), commands.ROOT),
            console,
            force=force,
            now=now,
            consent=Consent(yes=yes, name=confirm or None, ask=console.ask),
            lock_timeout=wait,
        )
    if env or now or confirm:
        flag = "--env" if env else "--now" if now else "--confirm"
        raise UsageError(
            f"{flag} and --all do not go together",
            where=flag,
            expected="--env NAME for one environment, --all for every one that is no sandbox",
        )
    environments, broken = environment_files.load_each(commands.ROOT)
    nobody = Consent(yes=False, name=None, ask=None)

    def work(name: str, buffer: Console) -> Report:
        if name in broken and name in environments:
            # Two files: nobody can tell which of them is meant, so neither is worked on. The others are.
            raise _ambiguous(name)
        if name in broken:
            raise broken[name]
        loaded = Loaded(commands.ROOT, environments[name], environments)
        return key_runs.rotate(loaded, buffer, force=force, now=False, consent=nobody, lock_timeout=wait)

    real = [name for name, one in environments.items() if not one.sandbox]
    return fleet.each(sorted({*real, *broken}), work, console)


def _ambiguous(name: str) -> EnvironmentFileError:
    return EnvironmentFileError(
        f"{name} has two files, {name}.yaml and {name}.yml",
        where=f"environments/{name}.yml",
        expected=f"environments/{name}.yaml alone",
        do="delete the one that is not meant, or give it another name; nothing was done for this environment",
        runbook="environment-file",
    )


def revoke(
    console: Console,
    *,
    env: str,
    all_keys: bool,
    delete_key: list[str],
    no_replacement: bool,
    yes: bool,
    confirm: str,
    lock_timeout: str,
) -> Report:
    """`invoke revoke`."""
    from ci_user import leak
    from ci_user.confirmation import Consent
    from ci_user.run import load_alone

    return leak.revoke(
        load_alone(named(env), commands.ROOT),
        console,
        order=leak.Order(all_keys=all_keys, delete_keys=tuple(delete_key), replacement=not no_replacement),
        consent=Consent(yes=yes, name=confirm or None, ask=console.ask),
        lock_timeout=duration("--lock-timeout", lock_timeout),
    )


def reactivate(console: Console, *, env: str, key: str, yes: bool, confirm: str, lock_timeout: str) -> Report:
    """`invoke reactivate`."""
    from ci_user import key_runs
    from ci_user.confirmation import Consent
    from ci_user.run import load_environment

    return key_runs.reactivate(
        load_environment(named(env), commands.ROOT),
        console,
        key_id=key,
        consent=Consent(yes=yes, name=confirm or None, ask=console.ask),
        lock_timeout=duration("--lock-timeout", lock_timeout),
    )


def redeliver(console: Console, *, env: str, to: list[str], yes: bool, confirm: str, lock_timeout: str) -> Report:
    """`invoke redeliver`."""
    from ci_user import key_runs
    from ci_user.confirmation import Consent
    from ci_user.run import load_environment

    return key_runs.redeliver(
        load_environment(named(env), commands.ROOT),
        console,
        to=to,
        consent=Consent(yes=yes, name=confirm or None, ask=console.ask),
        lock_timeout=duration("--lock-timeout", lock_timeout),
    )

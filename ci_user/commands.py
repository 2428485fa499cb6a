"""The commands behind the tasks: each parses what Invoke hands over, calls one function, and gives back an exit code."""

from __future__ import annotations

import contextlib
import json as jsonlib
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from ci_user.errors import CiUserError, InterruptedRunError, UsageError

if TYPE_CHECKING:
    from ci_user.reports.console import Console
    from ci_user.reports.model import Report

ROOT = Path(__file__).resolve().parent.parent


def run(command: Callable[[Console], Report], *, json: bool = False, verbose: bool = False) -> int:
    """Run a command, print its report or its error, and return the exit code of ``errors.py`` or of the report."""
    from ci_user.logs import quiet_botocore
    from ci_user.reports.console import Console, write

    quiet_botocore()
    _end_like_ctrl_c()
    console = Console(json=json, verbose=verbose)
    try:
        report = command(console)
        if json:
            write(sys.stdout, jsonlib.dumps(report.document(), indent=2, sort_keys=True) + "\n")
        else:
            for line in report.lines():
                console.line(line)
    except CiUserError as error:
        return _failed(error, json=json)
    except KeyboardInterrupt:
        return _failed(
            InterruptedRunError(
                "interrupted; the locks of this run were released",
                do="run `invoke status`, then the same command again: it continues from what is there",
                runbook="interrupted",
            ),
            json=json,
        )
    return report.exit_code


def _end_like_ctrl_c() -> None:
    """Let a cancelled CI job and a closed terminal end a run as Ctrl-C does: Terraform stops in order, locks are released."""
    import signal

    for number in (signal.SIGTERM, signal.SIGHUP):
        # A signal that is ignored on purpose, as under nohup, stays ignored.
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, signal.default_int_handler)


def refuse_dry(*, task: str) -> int:
    """Say why Invoke's ``--dry`` is refused for a task that changes something, and return the exit code."""
    return _failed(
        UsageError(
            f"`{task}` cannot be run dry: --dry stops Invoke's own shell commands, not this tool",
            where="--dry",
            do="`invoke plan --env NAME` shows what a deploy would change, and changes nothing",
        ),
        json=False,
    )


def _failed(error: CiUserError, *, json: bool) -> int:
    from ci_user.reports.console import write
    from ci_user.text import plain

    if json:
        document = {
            "error": type(error).__name__,
            "what": error.what,
            "where": error.where,
            "expected": error.expected,
            "do": error.do,
            "runbook": error.runbook,
            **error.details,
        }
        with contextlib.suppress(UsageError):
            write(sys.stdout, jsonlib.dumps(document, indent=2) + "\n")
    text = "\n".join(plain(line) for line in str(error).split("\n"))
    with contextlib.suppress(UsageError):
        write(sys.stderr, f"error: {text}\n")
    return error.exit_code


def named(environment: str) -> str:
    """Return the environment's name as it was given.

    Raises:
        UsageError: None was given; the message lists those that there are.
    """
    if environment:
        return environment
    found = sorted(path.stem for path in (ROOT / "environments").glob("*.yaml"))
    raise UsageError(
        "no environment was named",
        where="--env",
        expected=f"--env NAME, one of: {', '.join(found) or 'none yet'}",
        do="`invoke new --env NAME` writes a new one",
    )


def duration(flag: str, text: str) -> timedelta:
    """Return a flag's duration, such as 30s or 5m.

    Raises:
        UsageError: It is no duration.
    """
    from ci_user.durations import parse_duration

    try:
        return parse_duration(text)
    except ValueError:
        raise UsageError(
            f"{text!r} is no duration", where=flag, expected="a number with s, m or h, such as 90s or 5m"
        ) from None


def deploy(
    console: Console,
    *,
    env: str,
    yes: bool,
    confirm: str,
    plan: str,
    digest: str,
    allow_replace: bool,
    lock_timeout: str,
) -> Report:
    """`invoke deploy`."""
    from ci_user import pipeline
    from ci_user.confirmation import Consent

    name = named(env)
    if bool(plan) != bool(digest):
        raise UsageError(
            "--plan and --digest belong together",
            where="--plan" if plan else "--digest",
            expected="--plan DIR --digest D, the digest as the approver saw it",
            runbook="approval",
        )
    return pipeline.deploy(
        name,
        ROOT,
        console,
        consent=Consent(yes=yes, name=confirm or None, ask=console.ask),
        approved=pipeline.Approved(Path(plan).absolute(), digest) if plan and digest else None,
        allow_replace=allow_replace,
        lock_timeout=duration("--lock-timeout", lock_timeout),
    )


def plan(console: Console, *, env: str, out: str, allow_replace: bool) -> Report:
    """`invoke plan`."""
    from ci_user import pipeline

    directory = Path(out).absolute() if out else None
    return pipeline.plan(named(env), ROOT, console, out=directory, allow_replace=allow_replace)


def destroy(console: Console, *, env: str, yes: bool, confirm: str, lock_timeout: str) -> Report:
    """`invoke destroy`."""
    from ci_user import pipeline
    from ci_user.confirmation import Consent

    return pipeline.destroy(
        named(env),
        ROOT,
        console,
        consent=Consent(yes=yes, name=confirm or None, ask=console.ask),
        lock_timeout=duration("--lock-timeout", lock_timeout),
    )


def status(console: Console, *, env: str) -> Report:
    """`invoke status`."""
    from ci_user.run import load, opened
    from ci_user.status import status as read

    with opened(load(named(env), ROOT), console) as opened_run:
        return read(opened_run)


def unlock(console: Console, *, env: str, yes: bool) -> Report:
    """`invoke unlock`."""
    from ci_user import unlocking
    from ci_user.run import load, opened

    with opened(load(named(env), ROOT), console) as opened_run:
        return unlocking.unlock(opened_run, yes=yes, ask=console.ask)


def bootstrap(console: Console, *, env: str, yes: bool) -> Report:
    """`invoke bootstrap`."""
    from ci_user.reports.model import TextReport
    from ci_user.run import load, opened

    name = named(env)
    with opened(load(name, ROOT), console) as opened_run:
        bucket = opened_run.bucket
        steps = bucket.plan_bootstrap()
        if not steps:
            return TextReport((f"{bucket.name} is as it must be; nothing to do",), {"bucket": bucket.name, "steps": []})
        if not yes:
            lines = (f"{bucket.name} would be changed:", *(f"  {step}" for step in steps))
            advice = f"`invoke bootstrap --env {name} --yes` does it"
            return TextReport((*lines, advice), {"bucket": bucket.name, "steps": list(steps)}, exit_code=2)
        bucket.bootstrap()
        done = tuple(f"  {step}" for step in steps)
        return TextReport((f"{bucket.name}:", *done, "done"), {"bucket": bucket.name, "done": list(steps)})


def new(_: Console, *, env: str) -> Report:
    """`invoke new`."""
    from ci_user.environment_template import write_new
    from ci_user.reports.model import TextReport

    if not env:
        raise UsageError("no name was given", where="--env", expected="--env NAME, such as staging")
    path = write_new(env, ROOT)
    shown = path.relative_to(ROOT)
    return TextReport(
        (
            f"wrote {shown}; set account_id, region and state.bucket in it, then:",
            f"  invoke bootstrap --env {env} --yes",
            f"  invoke deploy --env {env}",
        ),
        {"file": str(shown)},
    )


def schema(_: Console) -> Report:
    """`invoke schema`."""
    from ci_user.environment_schema import text
    from ci_user.files import write_private
    from ci_user.nightly.render import document
    from ci_user.reports.model import TextReport

    written = {"environments/schema.json": text(), document.SCHEMA_FILE: document.schema_text()}
    for name, content in written.items():
        write_private(ROOT / name, content.encode())
        (ROOT / name).chmod(0o644)
    return TextReport(tuple(f"wrote {name}" for name in written), {"files": list(written)})


def doctor(console: Console, *, env: str = "") -> Report:
    """`invoke doctor`, with an environment also its places."""
    import os

    from ci_user.doctor import report

    if not env:
        return report(ROOT, os.environ)
    from ci_user.doctor import DoctorReport, examine
    from ci_user.place_check import examine_places
    from ci_user.run import load_environment

    loaded = load_environment(env, ROOT)
    return DoctorReport((*examine(ROOT, os.environ), *examine_places(loaded, console, os.environ)))


def backends(_: Console, *, backend: str = "") -> Report:
    """`invoke backends`."""
    from ci_user import backends as installed
    from ci_user.backends import overview
    from ci_user.reports.model import TextReport

    found = (overview.overview(backend),) if backend else overview.overviews()
    refused = {} if backend else installed.plugins().refused
    return TextReport(tuple(overview.lines(found, refused)), overview.document(found, refused))


def sandbox(console: Console, *, act: str) -> Report:
    """`invoke sandbox.up`, `sandbox.down`, `sandbox.reset`, `sandbox.env`."""
    from ci_user import sandbox_commands

    return sandbox_commands.run(act, ROOT, console)

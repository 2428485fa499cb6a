"""A process that has imported everything and forks one child for each command: a run of its own, ready at once, to be killed.

It reads one JSON line for each command and answers with two: the child's process id, and how it ended. It has one thread only,
so that forking is safe.
"""

from __future__ import annotations

import datetime as dt
import importlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Ended:
    """How a child ended: its exit code, or the negative number of the signal, and what it printed."""

    code: int
    text: str


class Zygote:
    """The parent's side.

    Args:
        directory: The project that the commands run in.
        environ: The shell they run in.
    """

    def __init__(self, directory: Path, environ: dict[str, str]) -> None:
        self._output = directory / "output"
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.zygote", str(directory), str(self._output)],
            cwd=ROOT,
            env=environ,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.pid = 0
        self.started = threading.Event()

    def run(self, name: str, **flags: Any) -> Ended:
        """Run a command to its end, or to the end of its process. While it runs, ``pid`` is its process."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self.started.clear()
        self._process.stdin.write(json.dumps({"name": name, "flags": flags}) + "\n")
        self._process.stdin.flush()
        self.pid = int(self._process.stdout.readline())
        self.started.set()
        code = int(self._process.stdout.readline())
        return Ended(code, self._output.read_text())

    def kill(self) -> None:
        """Kill the child that runs now, as the kernel does when memory runs out."""
        assert self.started.wait(10)
        os.kill(self.pid, 9)

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(10)


def _commands(directory: Path) -> dict[str, Callable[..., Any]]:
    """Return the commands by name, each taking a console and flags."""
    from ci_user import commands, key_commands, key_work, leak, rotation
    from ci_user.run import load_environment, opened

    commands.ROOT = directory
    # The cut-off's margin is for clocks that are rounded and lists that run behind: here there is one clock.
    leak._ROUNDING = dt.timedelta(0)

    def reach(goal: rotation.Goal, command: str) -> Callable[..., Any]:
        def work(console: Any, *, env: str) -> Any:
            from ci_user.reports.model import TextReport

            with opened(load_environment(env, directory), console) as run:
                key_work.check_deployed(run)
                with run.lease(command, dt.timedelta(0)) as lease:
                    keeper = key_work.holding_keeper(run, lease, command)
                    keeper.preflight()
                    return TextReport(keeper.reach(goal).acts)

        return work

    return {
        "deploy": reach(rotation.Keep(), "deploy"),
        "destroy": reach(rotation.Remove(), "destroy"),
        "rotate": key_commands.rotate,
        "revoke": key_commands.revoke,
        "redeliver": key_commands.redeliver,
        "reactivate": key_commands.reactivate,
    }


def _warm() -> None:
    """Read what every child needs once: modules, and the SDK's descriptions of the services."""
    from ci_user.credential_sources import isolated_session

    for name in ("fleet", "leak", "lease", "environment_files", "state_bucket", "machine", "audit", "reports.keys"):
        importlib.import_module(f"ci_user.{name}")
    for name in ("aws_secrets_manager", "dotenv"):
        importlib.import_module(f"ci_user.backends.{name}")
    session = isolated_session()
    session.set_credentials("AKIAIOSFODNN7EXAMPLE", "none")
    for service in ("iam", "sts", "s3", "secretsmanager", "ssm", "lambda", "cloudformation"):
        client = session.create_client(service, region_name="eu-west-1", endpoint_url="http://127.0.0.1:9")
        for operation in ("list_access_keys", "describe_stacks", "list_functions"):
            if hasattr(client, operation):
                client.can_paginate(operation)


def _child(command: Callable[..., Any], flags: dict[str, Any], output: str) -> int:
    from ci_user import commands

    descriptor = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    return commands.run(lambda console: command(console, **flags), verbose=True)


def _serve(directory: Path, output: str) -> None:
    _warm()
    known = _commands(directory)
    for line in sys.stdin:
        order = json.loads(line)
        pid = os.fork()
        if pid == 0:
            code = 70
            try:
                code = _child(known[order["name"]], order["flags"], output)
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(code)
        sys.stdout.write(f"{pid}\n")
        sys.stdout.flush()
        _, status = os.waitpid(pid, 0)
        sys.stdout.write(f"{os.waitstatus_to_exitcode(status)}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    _serve(Path(sys.argv[1]), sys.argv[2])

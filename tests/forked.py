"""Runs tasks as forks of one process that has imported everything: a process of its own each, without seconds of imports.

It reads one JSON line for each task. It has one thread only, so that forking is safe. Tasks that are to be stopped, or whose
start is what matters, are started by the tests themselves.
"""

from __future__ import annotations

import importlib
import json
import os
import pkgutil
import signal
import subprocess
import sys
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Done:
    """How a command ended, and what it printed."""

    code: int
    out: str
    err: str

    @property
    def text(self) -> str:
        """Both streams."""
        return self.out + self.err

    def json(self) -> Any:
        """Return standard output as the JSON document that `--json` promises."""
        return json.loads(self.out)


class Forks:
    """The parent's side: one forking process for all tests of a worker, started when it is first needed."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None
        self._directory = tempfile.TemporaryDirectory(prefix="forked-")
        self._turn = threading.Lock()

    def invoke(self, root: Path, environ: dict[str, str], arguments: tuple[str, ...], stdin: str | None) -> Done:
        """Run a task to its end, in the project at ``root`` and the shell ``environ``; several may run at once."""
        with tempfile.TemporaryDirectory(dir=self._directory.name) as name:
            directory = Path(name)
            (directory / "stdin").write_text(stdin or "")
            os.mkfifo(directory / "ended")
            self._send({"root": str(root), "environ": environ, "arguments": arguments, "directory": name})
            # The child holds the other end: it says how it ended, and its end closes it in any case.
            code = (directory / "ended").read_text()
            out, err = ((directory / stream).read_text() for stream in ("stdout", "stderr"))
            assert code, f"the process of `{' '.join(arguments)}` was killed: {out}{err}"
            return Done(int(code), out, err)

    def _send(self, order: dict[str, Any]) -> None:
        with self._turn:
            if self._process is None:
                self._process = subprocess.Popen(
                    [sys.executable, "-m", "tests.forked"], cwd=ROOT, stdin=subprocess.PIPE, text=True
                )
            assert self._process.stdin is not None
            self._process.stdin.write(json.dumps(order) + "\n")
            self._process.stdin.flush()

    def close(self) -> None:
        if self._process is not None:
            assert self._process.stdin is not None
            self._process.stdin.close()
            self._process.wait(10)
        self._directory.cleanup()


def _warm() -> None:
    """Read what every child needs once: modules, checkov's checks, and the SDK's descriptions of the services."""
    import ci_user
    from ci_user import checkov_run
    from ci_user.credential_sources import isolated_session

    for module in pkgutil.walk_packages(ci_user.__path__, "ci_user."):
        if module.name.rsplit(".", 1)[-1] != "__main__":
            importlib.import_module(module.name)
    importlib.import_module("invoke.main")
    checkov_run.load()
    session = isolated_session()
    session.set_credentials("AKIAIOSFODNN7EXAMPLE", "none")
    for service in ("iam", "sts", "s3", "secretsmanager", "ssm", "lambda", "cloudformation"):
        session.create_client(service, region_name="eu-west-1", endpoint_url="http://127.0.0.1:9")
    assert threading.active_count() == 1, threading.enumerate()


def _child(order: dict[str, Any]) -> int:
    from invoke.main import program

    from ci_user import commands

    for number, name in enumerate(("stdin", "stdout", "stderr")):
        flags = os.O_WRONLY | os.O_CREAT if number else os.O_RDONLY
        os.dup2(os.open(f"{order['directory']}/{name}", flags, 0o600), number)
    os.environ.clear()
    os.environ.update(order["environ"])
    os.chdir(order["root"])
    sys.path.insert(0, order["root"])
    commands.ROOT = Path(order["root"])
    try:
        program.run(["invoke", *order["arguments"]])
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 1
    return 0


def _serve() -> None:
    _warm()
    # Nobody waits for a child: it tells its end itself.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    for line in sys.stdin:
        if os.fork() != 0:
            continue
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        order = json.loads(line)
        ended = os.open(f"{order['directory']}/ended", os.O_WRONLY)
        code = 70
        try:
            code = _child(order)
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os.write(ended, str(code).encode())
            os._exit(0)


if __name__ == "__main__":
    _serve()

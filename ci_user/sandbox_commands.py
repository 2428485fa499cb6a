"""The tasks ``sandbox.up``, ``.down``, ``.reset`` and ``.env``: which emulator they mean, and what they print."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from ci_user.errors import EnvironmentFileError
from ci_user.reports.model import TextReport
from ci_user.sandbox import Sandbox

if TYPE_CHECKING:
    from ci_user.environment import Environment
    from ci_user.reports.console import Console
    from ci_user.reports.model import Report


def of(root: Path) -> Sandbox:
    """Return the project's sandbox, with the account and region of the environment that is one.

    Raises:
        EnvironmentFileError: No environment file has ``sandbox: true``, or one is broken.
    """
    from ci_user import environment_files

    environments = environment_files.load_all(root).values()
    sandboxes: list[Environment] = [environment for environment in environments if environment.sandbox]
    if not sandboxes:
        raise EnvironmentFileError(
            "no environment is a sandbox",
            where="environments/",
            expected="one file with `sandbox: true`",
            do="restore environments/sandbox.yaml",
            runbook="sandbox",
        )
    return Sandbox(root, account_id=sandboxes[0].account_id, region=sandboxes[0].region)


def run(act: str, root: Path, _: Console) -> Report:
    """Do one of ``up``, ``down``, ``reset`` and ``env``.

    Raises:
        SandboxError: The embedded AWS does not start, answer or stop.
    """
    sandbox = of(root)
    match act:
        case "up":
            up = sandbox.up()
            did = "started" if up.started else "already running"
            return TextReport(
                (*up.notes, f"the embedded AWS is {did}: {up.endpoint_url} (process {up.pid})"),
                {
                    "endpoint_url": up.endpoint_url,
                    "pid": up.pid,
                    "started": up.started,
                    "notes": list(up.notes),
                },
            )
        case "down":
            down = sandbox.down()
            did = "stopped; it keeps what it has" if down.stopped else "was not running"
            return TextReport(
                (*down.notes, f"the embedded AWS {did}"),
                {"stopped": down.stopped, "orderly": down.orderly, "notes": list(down.notes)},
            )
        case "reset":
            again = sandbox.reset()
            did = f"started anew: {again.endpoint_url}" if again else "reset; `invoke sandbox.up` starts it"
            return TextReport(
                (f"the embedded AWS has nothing in it and is {did}",),
                {"endpoint_url": again.endpoint_url if again else None},
            )
        case _:
            exports = sandbox.environment()
            # A session token of another login would make every call fail.
            lines = ["unset AWS_SESSION_TOKEN AWS_PROFILE"]
            lines += [f"export {name}={shlex.quote(value)}" for name, value in exports.items()]
            return TextReport(tuple(lines), exports)

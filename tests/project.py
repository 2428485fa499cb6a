"""A copy of the project in a temporary directory, run as a user runs it: `invoke` in a process of its own."""

from __future__ import annotations

import datetime as dt
import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from tests.proxy import Proxy

ROOT = Path(__file__).resolve().parent.parent

# What an environment of the tests says; `changes` of the tests go on top.
BASE: dict[str, Any] = {
    "version": 1,
    "application": "shop",
    "account_id": "000000000000",
    "region": "eu-west-1",
    "policies": ["sample"],
    "state": {"bucket": "shop-state"},
    "secrets": [{"backend": "aws-secrets-manager", "name": "ci-user/shop/testing"}],
    "verification": {"successes": 2, "interval": "10ms", "deadline": "5s", "lag": "0s"},
}


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


@dataclass
class Project:
    """One copy. ``environ`` is the shell that its commands run in."""

    root: Path
    environ: dict[str, str] = field(default_factory=dict)
    base: dict[str, Any] = field(default_factory=dict)
    _proxy: Proxy | None = None

    @property
    def proxy(self) -> Proxy:
        """The proxy in front of the embedded AWS."""
        assert self._proxy is not None
        return self._proxy

    @proxy.setter
    def proxy(self, proxy: Proxy) -> None:
        self._proxy = proxy

    @classmethod
    def copied_to(cls, root: Path) -> Project:
        root.mkdir(parents=True)
        for name in ("ci_user", "terraform"):
            shutil.copytree(
                ROOT / name, root / name, ignore=shutil.ignore_patterns(".terraform", "__pycache__", "tests")
            )
        shutil.copy(ROOT / "tasks.py", root)
        (root / "environments").mkdir()
        home = root / "home"
        home.mkdir()
        return cls(root, {"PATH": os.environ["PATH"], "HOME": str(home), "LANG": "C.UTF-8"})

    @staticmethod
    def accept(*checks: str, address: str, expires: str | None = None) -> dict[str, Any]:
        """Return an entry of accepted_findings."""
        return {
            "check": list(checks),
            "resource": address,
            "reason": "a test of the project itself",
            "owner": "the tests",
            "expires": expires or (dt.datetime.now(tz=dt.UTC) + dt.timedelta(days=180)).date().isoformat(),
        }

    def write(self, name: str = "testing", **changes: Any) -> Path:
        """Write an environment file; a key set to None is left out."""
        content = {key: value for key, value in {**BASE, **self.base, **changes}.items() if value is not None}
        path = self.root / "environments" / f"{name}.yaml"
        path.write_text(yaml.safe_dump(content, sort_keys=False))
        return path

    def command(self, *arguments: str) -> list[str]:
        """Return the command line of a task."""
        return [sys.executable, "-m", "invoke", *arguments]

    def invoke(self, *arguments: str, stdin: str | None = None, **environ: str) -> Done:
        """Run a task to its end."""
        done = subprocess.run(
            self.command(*arguments),
            cwd=self.root,
            env=self.environ | environ,
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            text=True,
            check=False,
            timeout=200,
        )
        return Done(done.returncode, done.stdout, done.stderr)

"""A copy of the project in a temporary directory, run as a user runs it: `invoke` in a process of its own."""

from __future__ import annotations

import atexit
import datetime as dt
import os
import shutil
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from tests.forked import Done, Forks
from tests.proxy import Proxy

ROOT = Path(__file__).resolve().parent.parent

__all__ = ["ROOT", "Done", "Project"]

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
        """Run a task to its end, in a process of its own."""
        return _FORKS.invoke(self.root, self.environ | environ, arguments, stdin)


_FORKS = Forks()
atexit.register(_FORKS.close)

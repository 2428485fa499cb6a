"""Stand-in programs: Python code that is started like any other executable."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path


def write_program(path: Path, body: str) -> None:
    """Make ``path`` an executable that runs ``body`` in this Python.

    A ``#!`` line cannot name an interpreter whose path has a space in it, so a shell hands over to it.
    """
    script = path.with_name(f"{path.name}.py")
    script.write_text(body)
    path.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} {shlex.quote(str(script))} "$@"\n')
    path.chmod(0o755)

"""Tells a process from a later one that was given the same number."""

from __future__ import annotations

import subprocess
from pathlib import Path

_PROC = Path("/proc")


def identity(pid: int) -> str | None:
    """Return what is true of this process and of no other that ever had its number, or None when it is gone.

    On Linux the boot's id and the start in clock ticks (proc(5), ``stat`` field 22), else ``ps -o lstart``.
    A process that has ended and only waits for its parent counts as gone.
    """
    if pid <= 0:
        return None
    if (_PROC / "self" / "stat").exists():
        return _from_proc(pid)
    return _from_ps(pid)


def _from_proc(pid: int) -> str | None:
    process = _PROC / str(pid)
    try:
        # The name, in parentheses, may itself hold spaces and parentheses.
        fields = (process / "stat").read_bytes().rpartition(b")")[2].split()
        boot = (_PROC / "sys/kernel/random/boot_id").read_text().strip()
        # The first thread can be a zombie while others still hold the process's files and ports open.
        threads = len(list((process / "task").iterdir()))
    except OSError:
        return None
    state, started = fields[0].decode(), fields[19].decode()
    return None if state in {"Z", "X"} and threads <= 1 else f"{boot} {started}"


def _from_ps(pid: int) -> str | None:
    try:
        shown = subprocess.run(
            ["/bin/ps", "-o", "stat=,lstart=", "-p", str(pid)],
            capture_output=True,
            text=True,
            timeout=10,
            check=False,
            env={"LC_ALL": "C", "TZ": "UTC"},
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    state, _, started = shown.stdout.strip().partition(" ")
    return None if not started or state.startswith("Z") else " ".join(started.split())

"""Which machine this is, and whether a process that ran on it is still there."""

from __future__ import annotations

import functools
import getpass
import hashlib
import os
import secrets
import socket
import sys
import uuid
from pathlib import Path
from typing import Final, Protocol

_PROC: Final = Path("/proc")


class Machine(Protocol):
    """Where a run takes place."""

    @property
    def id(self) -> str:
        """Return an opaque id: two processes that see the same one see each other's process ids."""

    @property
    def pid(self) -> int:
        """Return the running process's id."""

    def started(self, pid: int) -> str | None:
        """Return an opaque start time of a process, or None when it cannot be told."""

    def gone(self, pid: int, started: str | None) -> bool:
        """Return whether the process that started then is certainly over."""


class ThisMachine:
    """The machine this process runs on."""

    @property
    def id(self) -> str:
        """Return a hash of what makes this boot of this machine, and this container on it, the only one."""
        return _machine_id()

    @property
    def pid(self) -> int:
        """Return the process id."""
        return os.getpid()

    def started(self, pid: int) -> str | None:
        """Return the start time in clock ticks since boot, on Linux.

        https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html, field 22
        """
        fields = _stat(pid)
        return fields[19] if fields else None

    def gone(self, pid: int, started: str | None) -> bool:
        """Return whether the process is certainly over; a pid that has a new process counts as over."""
        if pid <= 0:
            return False
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        except PermissionError:
            pass  # It is there and belongs to somebody else.
        fields = _stat(pid)
        if fields is None:
            return False
        # The first thread can be a zombie while others still run.
        over = fields[0] in "ZX" and int(fields[17]) <= 1
        return over or (started is not None and fields[19] != started)


def _stat(pid: int) -> list[str] | None:
    """Return the fields of ``/proc/PID/stat`` from the third (the state) on."""
    try:
        text = (_PROC / str(pid) / "stat").read_text()
    except OSError:
        return None
    # The second field, the command's name, may hold spaces and brackets.
    return text.rpartition(")")[2].split()


@functools.cache
def _machine_id() -> str:
    parts = [socket.gethostname()]
    if sys.platform == "linux":
        # Containers share the host's boot id and often a machine id; the PID namespace tells them apart.
        try:
            parts += [(_PROC / "sys/kernel/random/boot_id").read_text().strip()]
            parts += [str((_PROC / "self/ns/pid").readlink())]
        except OSError:
            return secrets.token_hex(16)
        for path in (_PROC / "self/ns/time", Path("/etc/machine-id")):
            try:
                parts.append(str(path.readlink()) if path.is_symlink() else path.read_text().strip())
            except OSError:
                parts.append("")
    else:
        node = uuid.getnode()
        if node >> 40 & 1:
            # getnode found no address and made one up: nobody is recognised then, takeover waits its time.
            return secrets.token_hex(16)
        parts.append(f"{node:x}")
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]


def owner_text() -> str:
    """Return ``user@host``, for people."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # no entry for this uid, as in many containers
        user = f"uid {os.getuid()}"
    return f"{user}@{socket.gethostname()}"

"""Terraform as the nightly check has it: init, plan without a lock, show. There is nothing here that could apply."""

from __future__ import annotations

import os
from collections.abc import Callable, MutableMapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ci_user.errors import TerraformError
from ci_user.files import write_private
from ci_user.redaction import redact

if TYPE_CHECKING:
    from ci_user.run import Run
    from ci_user.terraform_cli import Terraform
    from ci_user.toolchain import Toolchain

_PROVIDER_MEMORY: Final = 600 * 1024 * 1024
"""Bytes that a provider and its Terraform take while they plan, in round numbers and upwards."""
_MEMINFO: Final = Path("/proc/meminfo")
_CGROUP: Final = Path("/sys/fs/cgroup")


class Planner:
    """Makes an environment's plan; its Terraform is private, so that whoever holds a planner can only plan.

    Args:
        run: The environment, opened.
        toolchain: Terraform and its provider.
        twins: Data directories that are initialised already, shared by all environments of a night.
        check: Raises when the night is to end; asked while Terraform runs.
    """

    def __init__(
        self, run: Run, toolchain: Toolchain, twins: MutableMapping[str, Path], check: Callable[[], None]
    ) -> None:
        self._run = run
        self._twins = twins
        self.__terraform: Terraform = run.terraform(toolchain, check)

    def document(self) -> dict[str, Any]:
        """Return the plan as ``terraform show -json`` gives it, without its sensitive values.

        Raises:
            TerraformError: It cannot plan, or took longer than the environment's timeout.
            InterruptedRunError: The night is to end.
        """
        variables = self._run.workdir / "terraform.tfvars.json"
        write_private(variables, self._run.loaded.tfvars.content)
        file = self._run.workdir / "night.tfplan"
        lock = self._run.cache.parent / "init.lock"
        terraform = self.__terraform
        began = terraform.init(lock, self._twins)
        try:
            terraform.plan(variables, file, lock=False)
        except TerraformError as error:
            if not began or "nitializ" not in error.what:
                raise
            # What was taken over from another environment does not do here: initialise it as ever.
            terraform.forget()
            terraform.init(lock)
            terraform.plan(variables, file, lock=False)
        try:
            return redact(terraform.show(file))
        finally:
            file.unlink(missing_ok=True)


def at_once() -> int:
    """Return how many plans are made at once: as many as there are processors, and as the memory that is free carries."""
    processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(processors, _quota() or processors, _free_memory() // _PROVIDER_MEMORY))


def _free_memory() -> int:
    """Return the bytes that are free for new processes; where the system does not say, what four providers take."""
    available = _named(_MEMINFO, "MemAvailable:")
    free = [4 * _PROVIDER_MEMORY if available is None else available * 1024]
    # A container's limit: what it holds of files is given back when it is needed.
    limit, used = (_number(_CGROUP / name) for name in ("memory.max", "memory.current"))
    if limit is not None and used is not None:
        files = _named(_CGROUP / "memory.stat", "inactive_file") or 0
        free.append(max(0, limit - used + files))
    return min(free)


def _quota() -> int:
    """Return how many processors a container may use, rounded up; 0 where nothing says.

    https://docs.kernel.org/admin-guide/cgroup-v2.html
    """
    for words in _words(_CGROUP / "cpu.max"):
        if len(words) == 2 and words[0].isdigit() and words[1].isdigit():
            return -(-int(words[0]) // int(words[1]))
    return 0


def _named(file: Path, name: str) -> int | None:
    """Return the number behind a name at the beginning of a line."""
    return next(
        (int(words[1]) for words in _words(file) if words[0] == name and words[1:2] and words[1].isdigit()), None
    )


def _number(file: Path) -> int | None:
    return next((int(words[0]) for words in _words(file) if words[0].isdigit()), None)


def _words(file: Path) -> list[list[str]]:
    """Return the words of each line of one of the kernel's files; none where there is no such file."""
    try:
        return [words for line in file.read_text().splitlines() if (words := line.split())]
    except (OSError, UnicodeDecodeError):
        return []

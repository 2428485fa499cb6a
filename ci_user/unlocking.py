"""Takes an environment's locks away from a run that is dead: the lease, and Terraform's own lock on the state."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING

from ci_user.errors import ConfirmationError
from ci_user.lease import break_lease, peek
from ci_user.reports.model import TextReport
from ci_user.text import plain

if TYPE_CHECKING:
    from ci_user.run import Run


def unlock(run: Run, *, yes: bool, ask: Callable[[str], str] | None) -> TextReport:
    """Show who holds the environment and, when that is agreed to, remove just those locks.

    Raises:
        ConfirmationError: Nobody agreed; nothing was changed.
        LockHeldError: The holder turned out to be alive.
    """
    environment = run.environment
    lock_key = f"{environment.state.key}.tflock"
    seen = peek(run.bucket, environment.state.lease_key)
    terraform = run.bucket.read(lock_key)
    held = []
    if seen.holder is not None:
        held.append(f"lease: {seen.holder_text}")
    if terraform is not None:
        held.append(f"Terraform's lock: {_terraform_holder(terraform.body)}")
    if not held:
        return TextReport((f"{environment.name}: nobody holds it",), {"held": []})
    for line in held:
        run.console.line(f"  {line}")
    if not yes:
        if ask is None:
            raise ConfirmationError(
                "nothing was unlocked: there is no terminal to ask on",
                expected="--yes, after making certain that the run above is dead",
                runbook="locked",
            )
        if ask("Is that run dead for certain? Type yes to unlock: ").strip() != "yes":
            raise ConfirmationError("nothing was unlocked")
    if seen.holder is not None and seen.nonce is not None:
        break_lease(run.bucket, environment.state.lease_key, seen.nonce)
    if terraform is not None:
        run.bucket.delete(lock_key, terraform.etag)
    return TextReport((f"{environment.name}: unlocked",), {"held": held})


def _terraform_holder(body: bytes) -> str:
    try:
        lock = json.loads(body)
        return plain(f"{lock['Who']}, {lock['Operation']}, since {lock['Created']}")
    except (ValueError, KeyError, TypeError):
        return "holder unknown"

"""Whether a person, or somebody who may speak for one, agreed to a change."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ci_user.errors import ConfirmationError, UsageError

if TYPE_CHECKING:
    from ci_user.environment import Environment


@dataclass(frozen=True)
class Consent:
    """What the command line gave, and how to ask.

    Args:
        yes: ``--yes``.
        name: ``--confirm NAME``.
        ask: Shows a question and returns the answer; None when there is no terminal.
    """

    yes: bool
    name: str | None
    ask: Callable[[str], str] | None

    def check_early(self, environment: Environment, command: str) -> None:
        """Refuse, before anything runs, flags that could never confirm.

        Raises:
            UsageError: ``--confirm`` names another environment.
            ConfirmationError: ``--yes`` alone for a protected environment.
        """
        if self.name is not None and self.name != environment.name:
            raise UsageError(
                f"--confirm names {self.name!r}, but the environment is {environment.name!r}",
                where="--confirm",
                expected=f"--confirm {environment.name}",
                do="check that you meant this environment",
            )
        if environment.protected and self.yes and self.name is None:
            raise ConfirmationError(
                f"{environment.name} is protected: --yes alone does not confirm `{command}`",
                where="--yes",
                expected=f"--confirm {environment.name}, or an approved plan (--plan DIR --digest D)",
                do=f"look at `invoke plan --env {environment.name}` first",
                runbook="confirmation",
            )

    def require(self, environment: Environment, command: str) -> None:
        """Return when the change is agreed to.

        Raises:
            ConfirmationError: Somebody said no, or nobody could be asked. Nothing was changed.
        """
        self.check_early(environment, command)
        if self.name == environment.name or (self.yes and not environment.protected):
            return
        if self.ask is None:
            flags = f"--confirm {environment.name}" if environment.protected else "--yes"
            raise ConfirmationError(
                f"`{command}` was not confirmed, and there is no terminal to ask on; nothing was changed",
                expected=f"{flags}, or an approved plan (--plan DIR --digest D)",
                do=f"look at the plan above, then run it again with {flags}",
                runbook="confirmation",
            )
        if environment.protected:
            answer = self.ask(f"{environment.name} is protected. Type its name to {command}: ")
            agreed = answer.strip() == environment.name
        else:
            answer = self.ask(f"{command.capitalize()} {environment.name}? [y/N] ")
            agreed = answer.strip().lower() in ("y", "yes")
        if not agreed:
            raise ConfirmationError(f"`{command}` was not confirmed; nothing was changed")

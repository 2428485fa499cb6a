"""The states of an access key and what leads from one to the next: the journal's states, and the picture in the docs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, cast

from ci_user import key_actions as acts
from ci_user.journal import KeyState
from ci_user.key_actions import Action

Place = KeyState | Literal["intent", "forgotten"]
"""A state of a key, or what is before and after all of them."""


@dataclass(frozen=True)
class Step:
    """One way from a state to a state.

    Args:
        before: The state it leads out of.
        action: What is done.
        after: The state it leads to.
        when: Under which circumstances, in words.
    """

    before: Place
    action: type[Action]
    after: Place
    when: str


LIFE: Final = (
    Step("intent", acts.Mint, "minted", "CreateAccessKey, once for each intent"),
    Step("minted", acts.Stage, "staged", "kept where another machine can read it back"),
    Step("minted", acts.DeleteOrphan, "deleted", "its secret was lost before it was staged"),
    Step("staged", acts.Verify, "verified", "AWS knows it, several times in a row"),
    Step("staged", acts.DeleteOrphan, "deleted", "the stage lost it, and nobody has it"),
    Step("verified", acts.Settle, "delivered", "promoted and in every place"),
    Step("verified", acts.DeleteOrphan, "deleted", "the stage lost it, and nobody has it"),
    Step("verified", acts.SetAside, "grace", "some may read it, and the stage lost it"),
    Step("delivered", acts.Settle, "grace", "its successor is in every place"),
    Step("grace", acts.Deactivate, "inactive", "grace over, and unused since then"),
    Step("inactive", acts.Reinstate, "grace", "`invoke reactivate`, or somebody by hand"),
    Step("inactive", acts.Delete, "deleted", "soaked: nothing broke"),
    Step("delivered", acts.Retire, "inactive", "`invoke revoke`, from any state before"),
    Step("deleted", acts.Forget, "forgotten", "IAM lists it no more"),
)
"""Every step of the one key's life. ``Settle`` stands twice: it moves the new key and the one before it."""

_AFTER: Final[dict[type[Action], KeyState]] = {}
for _step in LIFE:
    if _step.after != "forgotten":
        _AFTER.setdefault(_step.action, cast("KeyState", _step.after))


def state_after(action: Action) -> KeyState:
    """Return the state that a key is in after an action on it."""
    return _AFTER[type(action)]

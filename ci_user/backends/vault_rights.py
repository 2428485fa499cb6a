"""What Vault tells beforehand of a token: how long it lasts, and whether it may do what a delivery does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from ci_user.errors import BackendError
from ci_user.text import plain

if TYPE_CHECKING:
    from ci_user.backends.vault import Settings
    from ci_user.backends.vault_kv import Kv

_SOON: Final = 600
"""Seconds; a token that is good for less might not last for a deploy."""
_FEW_USES: Final = 50
_METADATA: Final = frozenset({"create", "read", "update", "delete"})
_DATA: Final = frozenset({"read", "update"})
"""The metadata are written first, and with them the path is there: its first data are an update."""
_DESTROY: Final = frozenset({"update"})


def token_in_order(kv: Kv, settings: Settings, target: str) -> str:
    """Return what is known of the token, in words.

    https://developer.hashicorp.com/vault/api-docs/auth/token#lookup-a-token-self

    Raises:
        BackendError: It ends too soon, in time or in requests. One that a login gave may end at any time: the next one follows.
    """
    found = kv.lookup()
    seconds, uses = found.get("ttl"), found.get("num_uses")
    again = settings.approle is not None or settings.jwt is not None
    left = seconds if isinstance(seconds, int) and seconds > 0 else None
    scarce = None
    if left is not None and left < _SOON and not again:
        scarce = f"{left} seconds"
    elif isinstance(uses, int) and 0 < uses < _FEW_USES:
        scarce = f"{uses} requests"
    if scarce is not None:
        raise BackendError(
            f"the token is good for {scarce} more",
            where=target,
            expected=f"at least {_SOON} seconds, and {_FEW_USES} requests or any number of them (num_uses 0)",
            do=f"renew the token, or make another one; it needs {settings.scopes}",
            runbook="backend",
        )
    name = plain(found.get("display_name") or "somebody", 80)
    return f"logged in as {name}, by a token " + (
        "without an end" if left is None else f"that is good for {left} seconds"
    )


def rights_in_order(kv: Kv, settings: Settings, target: str, paths: Sequence[str]) -> str:
    """Return what is known of the token's rights, in words.

    Args:
        kv: The engine.
        settings: The place.
        target: The place, in one line.
        paths: The path of the key, then that of the pending copy.

    Raises:
        BackendError: One is lacking.
    """
    needed = {f"{settings.mount}/destroy/{paths[0]}": _DESTROY}
    for path in paths:
        needed |= {f"{settings.mount}/metadata/{path}": _METADATA, f"{settings.mount}/data/{path}": _DATA}
    found = kv.capabilities(needed)
    if found is None:
        return "Vault does not let the token ask for its rights (sys/capabilities-self)"
    lacking = {path: rights - found[path] for path, rights in needed.items() if "root" not in found[path]}
    words = [f"{', '.join(sorted(rights))} on {path}" for path, rights in lacking.items() if rights]
    if words:
        raise BackendError(
            f"the token lacks {'; '.join(words)}",
            where=target,
            do=f"give it a policy as docs/backends.md shows it: {settings.scopes}",
            runbook="backend",
        )
    return "the token may write the path and its pending copy"

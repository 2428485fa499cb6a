"""The places that an environment's key goes to, judged every night by the ids that they hold. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from ci_user.nightly import codes
from ci_user.rotation import UNFINISHED, delivered_key, in_states
from ci_user.text import plain

if TYPE_CHECKING:
    from ci_user.environment import Environment
    from ci_user.nightly.key_audit import Keys
    from ci_user.nightly.model import Entry


def place_entries(keys: Keys, environment: Environment, trouble: Mapping[str, str]) -> Iterator[Entry]:
    """Yield what is wrong with the places.

    Args:
        keys: The keys, and what each place holds.
        environment: The environment.
        trouble: Why some places could not be asked, by target.
    """
    targets = [settings.target(environment) for settings in environment.places]
    for target in dict.fromkeys((*targets, *trouble)):
        if target in trouble:
            yield codes.PLACE_UNASKED.entry(plain(target, 300), plain(trouble[target], 500))
        elif target not in keys.held:
            yield codes.PLACE_UNASKED.entry(plain(target, 300), "it was not asked")
        elif not keys.busy:
            # While keys move, places follow; what is half done then is nobody's mistake.
            yield from _one(keys, target)
    for target in keys.journal.targets:
        if target not in targets and target not in trouble:
            yield codes.PLACE_FORMER.entry(
                plain(target, 300), "a key was delivered there, and the file names it no more"
            )


def _one(keys: Keys, target: str) -> Iterator[Entry]:
    held, delivered = keys.held[target], delivered_key(keys.seen)
    where = plain(target, 300)
    wanted = delivered.id if delivered else None
    if held.torn:
        yield codes.PLACE.entry(where, "what is there is no whole key: an interrupted write or removal left it")
    elif held.current is None:
        if wanted is not None:
            yield codes.PLACE.entry(
                where, f"it does not hold {wanted}: nothing of this tool's is there, or somebody changed it"
            )
    elif held.current != wanted:
        told = f"it holds {plain(held.current, 200)}, which is {_what(keys, held.current)}"
        yield codes.PLACE.entry(where, f"{told}, and not {wanted}" if wanted else told)
    if held.pending is not None:
        told = f"it has a pending copy of {plain(held.pending, 200)}, which is {_what(keys, held.pending)}"
        unfinished = held.pending in {record.id for record in in_states(keys.journal, *UNFINISHED)}
        # That such a rotation is stuck is told of the key.
        yield codes.PLACE_PENDING.entry(where, told, gravity="notice" if unfinished else None)


def _what(keys: Keys, key_id: str) -> str:
    record, key = keys.journal.keys.get(key_id), keys.listed.get(key_id)
    if key is None:
        return "no key of this user"
    if key_id in keys.seen.revoked:
        return "a revoked key"
    state = record.state if record else "no key that anybody delivered"
    return state if key.active else f"{state} and inactive in IAM"

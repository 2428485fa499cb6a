"""Logic with three values: True, False, and None for what is not known. None never turns into a guess."""

from __future__ import annotations

from collections.abc import Iterable

Maybe = bool | None


def both(values: Iterable[Maybe]) -> Maybe:
    """Return whether all hold: False as soon as one does not, None while one is not known."""
    known: Maybe = True
    for value in values:
        if value is False:
            return False
        if value is None:
            known = None
    return known


def either(values: Iterable[Maybe]) -> Maybe:
    """Return whether one holds: True as soon as one does, None while one is not known."""
    known: Maybe = False
    for value in values:
        if value is True:
            return True
        if value is None:
            known = None
    return known


def negation(value: Maybe) -> Maybe:
    """Return the opposite; what is not known stays so."""
    return None if value is None else not value

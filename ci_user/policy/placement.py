"""Which piece goes into which bin: as few bins as can be found, and as calm as possible when one piece changes.

Few bins come first. Beyond that each piece goes to the bin that it prefers because of what it is called, not of what it
holds (rendezvous hashing), or to the next one that has room. So an edit changes one bin, unless a bin was full to the brim.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

_STEPS: Final = 20_000
"""After so many steps the search for a denser placement gives up: a few hundredths of a second."""


@dataclass(frozen=True)
class Piece:
    """What has to be placed.

    Args:
        key: What it is called: it stays the same while its content is edited. No two are called the same.
        size: In characters, at most a bin's room.
        early: Whether it prefers the first bins, whatever it is called.
    """

    key: str
    size: int
    early: bool = False


Placement = tuple[int, ...]
"""The bin of each piece, from 0, in the order of the pieces; no bin is empty."""


def place(pieces: Sequence[Piece], room: int, most: int) -> Placement | None:
    """Place the pieces into as few bins as can be found; None when they do not fit into ``most``.

    Each piece's bin depends on the pieces, not on their order. Fewer bins are possible only where the search for a denser
    placement gave up, which takes dozens of pieces that hardly fit.

    Args:
        pieces: None of them larger than ``room``.
        room: The size of each bin, in characters.
        most: The greatest number of bins.
    """
    if not pieces:
        return ()
    for count in range(fewest(pieces, room), most + 1):
        for attempt in (_preferred, _early_first, _decreasing, _searched):
            found = attempt(pieces, room, count)
            if found is not None:
                return _numbered(found)
    return None


def fewest(pieces: Sequence[Piece], room: int) -> int:
    """Return a number of bins that no placement can do without; it may take more."""
    total = sum(piece.size for piece in pieces)
    halves = sum(piece.size * 2 > room for piece in pieces)
    return max(-(-total // room), halves, 1)


def _preferred(pieces: Sequence[Piece], room: int, count: int) -> Placement | None:
    """Give each piece the first of its preferred bins that has room; neither turn nor preference follows its size."""
    left = [room] * count
    placed = [0] * len(pieces)
    for index in sorted(range(len(pieces)), key=lambda i: (not pieces[i].early, _weight(pieces[i].key), pieces[i].key)):
        piece = pieces[index]
        weights = range(count) if piece.early else [_weight(piece.key, bin_) for bin_ in range(count)]
        fitting = [bin_ for bin_ in range(count) if left[bin_] >= piece.size]
        if not fitting:
            return None
        placed[index] = min(fitting, key=weights.__getitem__)
        left[placed[index]] -= piece.size
    return tuple(placed)


def _early_first(pieces: Sequence[Piece], room: int, count: int) -> Placement | None:
    """Give early pieces the first bin that has room, and then each other piece, the largest first, the fullest one."""
    return _filled(pieces, sorted(_by_size(pieces), key=lambda i: not pieces[i].early), room, count)


def _decreasing(pieces: Sequence[Piece], room: int, count: int) -> Placement | None:
    """Give each piece, the largest first, the fullest bin that has room."""
    return _filled([Piece(piece.key, piece.size) for piece in pieces], _by_size(pieces), room, count)


def _filled(pieces: Sequence[Piece], order: Sequence[int], room: int, count: int) -> Placement | None:
    left = [room] * count
    placed = [0] * len(pieces)
    for index in order:
        fitting = [bin_ for bin_ in range(count) if left[bin_] >= pieces[index].size]
        if not fitting:
            return None
        placed[index] = fitting[0] if pieces[index].early else min(fitting, key=left.__getitem__)
        left[placed[index]] -= pieces[index].size
    return tuple(placed)


def _searched(pieces: Sequence[Piece], room: int, count: int) -> Placement | None:
    """Try one bin after the other for each piece, the largest first, until all fit or `_STEPS` are used up."""
    order = _by_size(pieces)
    left = [room] * count
    placed = [-1] * len(pieces)
    turn = 0
    for _ in range(_STEPS):
        if turn == len(order):
            return tuple(placed)
        if turn < 0:
            return None
        index = order[turn]
        size, before = pieces[index].size, placed[index]
        if before >= 0:
            left[before] += size
        # Of bins that are equally full one is enough.
        later = range(before + 1, count)
        placed[index] = next((bin_ for bin_ in later if left[bin_] >= size and left[bin_] not in left[:bin_]), -1)
        if placed[index] < 0:
            turn -= 1
        else:
            left[placed[index]] -= size
            turn += 1
    return None


def _by_size(pieces: Sequence[Piece]) -> list[int]:
    return sorted(range(len(pieces)), key=lambda i: (-pieces[i].size, pieces[i].key))


def _weight(key: str, bin_: int = -1) -> bytes:
    return hashlib.blake2b(f"{bin_}\0{key}".encode(errors="surrogatepass"), digest_size=8).digest()


def _numbered(placement: Placement) -> Placement:
    numbers = {bin_: number for number, bin_ in enumerate(sorted(set(placement)))}
    return tuple(numbers[bin_] for bin_ in placement)

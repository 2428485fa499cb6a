"""Pieces in bins: as few as can be, none too full, and each piece where its name puts it."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ci_user.policy.placement import Piece, Placement, fewest, place

ROOM = 100


def lower_bound(pieces: Sequence[Piece], room: int) -> int:
    """Martello and Toth's L2: what no placement can do without, found in another way than by `fewest`."""
    sizes = [piece.size for piece in pieces]
    best = 0
    for small in {0, *(size for size in sizes if size * 2 <= room)}:
        alone = [size for size in sizes if size > room - small]
        large = [size for size in sizes if room < size * 2 and size <= room - small]
        others = [size for size in sizes if small <= size and size * 2 <= room]
        beyond = sum(others) - (len(large) * room - sum(large))
        best = max(best, len(alone) + len(large) + max(0, -(-beyond // room)))
    return best


def loads(pieces: Sequence[Piece], placement: Placement) -> dict[int, int]:
    filled: dict[int, int] = {}
    for piece, bin_ in zip(pieces, placement, strict=True):
        filled[bin_] = filled.get(bin_, 0) + piece.size
    return filled


@st.composite
def some_pieces(draw: st.DrawFn) -> list[Piece]:
    largest = draw(st.sampled_from([10, 40, 60, ROOM]))
    sizes = draw(st.lists(st.tuples(st.integers(1, largest), st.booleans()), max_size=40))
    return [Piece(f"s{number}", size, early) for number, (size, early) in enumerate(sizes)]


@given(some_pieces())
def test_all_are_placed_in_as_few_bins_as_there_can_be_or_one_more(pieces: list[Piece]) -> None:
    found = place(pieces, ROOM, len(pieces))
    assert found is not None
    filled = loads(pieces, found)
    assert all(load <= ROOM for load in filled.values())
    assert sorted(filled) == list(range(len(filled)))
    assert fewest(pieces, ROOM) <= max(len(filled), 1)
    assert len(filled) <= lower_bound(pieces, ROOM) + 1


@given(some_pieces(), st.randoms(use_true_random=False))
def test_the_order_of_the_pieces_does_not_count(pieces: list[Piece], random: object) -> None:
    shuffled = list(pieces)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    one, other = place(pieces, ROOM, 40), place(shuffled, ROOM, 40)
    assert one is not None
    assert other is not None
    assert dict(zip(pieces, one, strict=True)) == dict(zip(shuffled, other, strict=True))


@given(some_pieces(), st.integers(0, 5))
def test_none_only_when_there_are_too_few_bins(pieces: list[Piece], most: int) -> None:
    found = place(pieces, ROOM, most)
    if found is None:
        assert lower_bound(pieces, ROOM) >= most
    else:
        assert max(found, default=-1) < most


@pytest.mark.parametrize(
    ("sizes", "bins"),
    [
        ([], 0),
        ([100], 1),
        ([100, 1], 2),
        ([51, 51, 51], 3),
        ([50, 50, 50, 50], 2),
        # The largest first into the fullest bin takes three.
        ([44, 24, 24, 22, 21, 17, 16, 16, 16], 2),
        ([60, 40, 30, 30, 40], 2),
        ([46, 31, 23, 46, 31, 23, 46, 31, 23, 46, 31, 23], 4),
    ],
)
def test_tight_ones_are_found(sizes: list[int], bins: int) -> None:
    pieces = [Piece(f"s{number}", size) for number, size in enumerate(sizes)]
    found = place(pieces, ROOM, 10)
    assert found is not None
    assert len(set(found)) == bins


def test_early_ones_stay_in_the_first_bin_when_more_bins_are_needed() -> None:
    early = [Piece(f"deny{number}", 10, early=True) for number in range(5)]
    others = [Piece(f"allow{number}", 20) for number in range(20)]
    bins = []
    for count in range(20):
        found = place([*early, *others[:count]], ROOM, 10)
        assert found is not None
        assert set(found[:5]) == {0}
        bins.append(len(set(found)))
    assert bins[0] == 1
    assert bins[-1] == 5


def test_where_there_is_room_only_the_name_counts() -> None:
    pieces = [Piece(f"s{number}", 5) for number in range(24)]
    before = place(pieces, ROOM, 10)
    assert before is not None
    assert len(set(before)) == 2
    for index in range(24):
        for size in (1, 4, 9):
            edited = [*pieces]
            edited[index] = Piece(pieces[index].key, size)
            assert place(edited, ROOM, 10) == before


def test_with_one_bin_more_what_moves_moves_into_the_new_one() -> None:
    pieces = [Piece(f"s{number}", 1) for number in range(200)]
    more = [Piece(f"m{number}", 10) for number in range(20)]
    two, three = place(pieces, 199, 10), place([*pieces, *more], 199, 10)
    assert two is not None
    assert three is not None
    moved = [after for before, after in zip(two, three, strict=False) if before != after]
    assert set(moved) == {2}
    assert len(moved) < 100

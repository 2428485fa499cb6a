"""Patterns: what matches, and that no kind of text is left out of the witnesses."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ci_user.policy.globs import NAME, STAR, TangledPatternsError, glob, matches, meet, witnesses

SMALL = st.text("ab*?", max_size=6)
TEXT = st.text("abc", max_size=6)


def expression(pattern: str) -> re.Pattern[str]:
    parts = {"*": ".*", "?": "."}
    return re.compile("".join(parts.get(c) or re.escape(c) for c in pattern), re.DOTALL)


@given(SMALL, TEXT)
def test_a_pattern_matches_as_a_regular_expression_would(pattern: str, text: str) -> None:
    assert matches(glob(pattern), text) == (expression(pattern).fullmatch(text) is not None)


@given(SMALL, SMALL, TEXT)
def test_two_patterns_that_match_one_text_meet(one: str, other: str, text: str) -> None:
    if matches(glob(one), text) and matches(glob(other), text):
        assert meet(glob(one), glob(other))


@pytest.mark.parametrize(("one", "other"), [("a*", "b*"), ("*a", "*b"), ("a?", "a"), ("ab", "ac"), ("a*b", "c*b")])
def test_patterns_without_a_common_text_do_not_meet(one: str, other: str) -> None:
    assert not meet(glob(one), glob(other))


@given(st.lists(SMALL, max_size=5), TEXT)
def test_each_kind_of_text_has_a_witness(patterns: list[str], text: str) -> None:
    made = [glob(one) for one in patterns]
    kinds = [[matches(one, witness) for one in made] for witness in witnesses(STAR, made)]
    assert [matches(one, text) for one in made] in kinds
    assert len({tuple(kind) for kind in kinds}) == len(kinds)


def test_a_name_in_a_universe_has_no_colon_and_is_not_empty() -> None:
    found = witnesses(f"role/{NAME}", [glob("role/*:x"), glob("role/")])
    assert found
    assert all(":x" not in text and text != "role/" for text in found)


@pytest.mark.parametrize("pattern", ["role/*", "role/a", "*", "role/?x*", "*e/a*"])
def test_a_pattern_is_told_apart_among_names(pattern: str) -> None:
    assert any(matches(glob(pattern), text) for text in witnesses(f"role/{NAME}", [glob(pattern)]))


def test_a_star_in_a_filled_in_value_stays_a_character() -> None:
    assert matches("a*", "a*")
    assert not matches("a*", "ab")


def test_patterns_that_overlap_without_end_are_told_and_not_waited_for() -> None:
    tangled = [glob("*" + "*".join(f"{a}{b}" for b in "abcdefghij") + "*") for a in "abcdefghijklmnop"]
    with pytest.raises(TangledPatternsError, match="overlap"):
        witnesses(STAR, tangled)


@pytest.mark.timeout(20)
@pytest.mark.parametrize("pattern", ["*a" * 3_000 + "b", "a*" * 3_000 + "b", "*" * 6_000 + "b", "?*" * 3_000 + "b"])
def test_a_pathological_pattern_is_matched_in_bounded_steps(pattern: str) -> None:
    assert not matches(glob(pattern), "a" * 5_000)

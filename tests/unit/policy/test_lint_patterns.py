"""Patterns that cover others."""

from __future__ import annotations

from fnmatch import fnmatchcase
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ci_user.policy import lint_patterns
from ci_user.policy.lint_patterns import covering, covers

PATTERNS = st.text("ab*?", max_size=6)
WORDS = ["".join(word) for length in range(5) for word in product("ab", repeat=length)]


@pytest.mark.parametrize(
    ("wide", "narrow", "covered"),
    [
        ("*", "", True),
        ("s3:*", "s3:Get*", True),
        ("s3:Get*", "s3:*", False),
        ("s3:*Object", "s3:Get?bject", False),
        ("s3:*O*", "s3:*Object*", True),
        ("s3:?et", "s3:Get", True),
        ("s3:?et", "s3:?et", True),
        ("a?b", "a*b", False),
        ("a*", "a?*", True),
        ("a", "a", True),
        ("a", "b", False),
        ("x${aws:username}*", "x${aws:username}1", False),
        ("x*", "x${aws:username}", True),
        ("**", "*", True),
    ],
)
def test_which_covers_which(wide: str, narrow: str, covered: bool) -> None:
    assert covers(wide, narrow) is covered


@given(PATTERNS, PATTERNS)
def test_a_pattern_that_covers_matches_whatever_the_other_does(wide: str, narrow: str) -> None:
    if covers(wide, narrow):
        assert all(fnmatchcase(word, wide) for word in WORDS if fnmatchcase(word, narrow))


def test_equal_and_covered_ones_name_what_makes_them_superfluous() -> None:
    assert covering(["s3:Get*", "s3:GetObject", "s3:Put", "s3:Put", "*"]) == {0: 4, 1: 4, 2: 4, 3: 2}
    assert covering(["a*", "a**", "b"]) == {1: 0}
    assert covering([]) == {}


@given(st.lists(PATTERNS, max_size=8))
def test_something_always_remains_that_covers_the_rest(patterns: list[str]) -> None:
    found = covering(patterns)
    for at in found:
        seen = {at}
        while at in found:
            at = found[at]
            assert at not in seen
            seen.add(at)


def test_the_search_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lint_patterns, "COMPARISONS", 10)
    patterns = [f"*{number}" for number in range(10)] + ["x9"]
    assert covering(patterns) == {}
    monkeypatch.undo()
    assert covering(patterns) == {10: 9}

"""Patterns match as IAM's do, in bounded time."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ci_user.checks.documents import matches


@given(st.text("ab*?", max_size=8), st.text("ab", max_size=8))
def test_patterns_match_as_the_regular_expression_that_they_mean(pattern: str, text: str) -> None:
    meant = re.escape(pattern).replace(r"\*", ".*").replace(r"\?", ".")

    assert matches(pattern, text) is (re.fullmatch(meant, text) is not None)


@pytest.mark.parametrize("pattern", ["*a" * 3000 + "b", "a*" * 3000 + "b", "*" * 6000 + "b", "?*" * 3000 + "b"])
def test_a_pathological_pattern_takes_no_time(pattern: str) -> None:
    began = time.monotonic()

    assert not matches(pattern, "a" * 200)
    assert time.monotonic() - began < 2

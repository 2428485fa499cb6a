"""Foreign groups and nested prefixes, judged from what was read."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ci_user import naming
from ci_user.live import FOREIGN_GROUP, USER_ADDRESS, judge_groups, nested_prefixes

ENVIRONMENT: Any = SimpleNamespace(prefix="shop-prod", user_name="shop-prod.ci", group_name="shop-prod.ci")


def test_each_foreign_group_is_told_with_what_it_brings() -> None:
    found = list(judge_groups(ENVIRONMENT, {"people": ["AdministratorAccess", "in\x1bline"], "empty": []}))
    assert {(one.check, one.resource) for one in found} == {(FOREIGN_GROUP, USER_ADDRESS)}
    assert [one.message for one in found] == [
        "it is in the group people, which brings AdministratorAccess, in\\x1bline",
        "it is in the group empty, which brings no policy now",
    ]


@pytest.mark.parametrize(
    ("users", "found"),
    [
        (("shop-prod.ci", "other.ci", "shop-production.ci"), ()),
        (("shop-prod-eu.ci",), ("shop-prod-eu",)),
        (("shop.ci", "shop-prod-eu"), ("shop",)),
    ],
)
def test_prefixes_are_nested_at_a_hyphen_only(users: tuple[str, ...], found: tuple[str, ...]) -> None:
    assert nested_prefixes(ENVIRONMENT, users) == found


@given(st.lists(st.sampled_from(("a", "b", "ab")), min_size=1, max_size=4))
def test_whoever_could_match_the_other_ones_pattern_is_told(parts: list[str]) -> None:
    other = "-".join(parts)
    environment: Any = SimpleNamespace(prefix="a-b")
    reaches = other == "a-b" or other.startswith("a-b-") or "a-b".startswith(f"{other}-")
    # The user of the same prefix is its own.
    expected = (other,) if reaches and other != "a-b" else ()
    assert nested_prefixes(environment, [naming.user_name(other)]) == expected

from __future__ import annotations

import fnmatch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ci_user import naming


def words(longest: int) -> st.SearchStrategy[str]:
    first = st.text("ab1", min_size=1, max_size=3).map(lambda s: f"a{s}")
    more = st.lists(st.text("ab1", min_size=1, max_size=3), max_size=4)
    return st.builds(lambda f, m: "-".join([f, *m])[:longest].rstrip("-"), first, more)


PREFIXES = st.builds(naming.prefix, words(32), words(20))
FEW_PREFIXES = st.lists(st.sampled_from(["a", "b", "ab"]), min_size=2, max_size=4).map("-".join)


@pytest.mark.parametrize("name", ["shop", "s", "shop2", "shop-api", "a-1-b2"])
def test_a_name_is_lower_case_with_single_hyphens(name: str) -> None:
    assert naming.is_name(name, 32)


@pytest.mark.parametrize(
    "name",
    [
        *("", "Shop", "shop-", "-shop", "shop--api", "1shop", "shop.api", "shop_api", "shop/api", "../shop"),
        *("shop\n", " shop", "shöp", "shop\u0661", "${x}", "{{x}}", "%{x}", "shop*", "a" * 33),
    ],
)
def test_what_iam_or_a_path_would_read_otherwise_is_no_name(name: str) -> None:
    assert not naming.is_name(name, 32)


def test_a_prefix_is_not_built_from_what_is_no_name() -> None:
    with pytest.raises(ValueError, match="no application name"):
        naming.prefix("shop*", "prod")
    with pytest.raises(ValueError, match="no environment name"):
        naming.prefix("shop", "../prod")
    with pytest.raises(ValueError, match="no policy name"):
        naming.policy_name("shop-prod", "a/b")


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ("shop-prod", "shop-prod", True),
        ("shop-prod", "shop-prod-eu", True),
        ("shop-prod-eu", "shop-prod", True),
        ("shop-prod", "shop-production", False),
        ("shop-prod", "shop-test", False),
        ("shop-prod-eu", "shop-prod-us", False),
    ],
)
def test_prefixes_nest_at_a_hyphen_only(one: str, other: str, expected: bool) -> None:
    assert naming.nested(one, other) is expected


@given(FEW_PREFIXES, FEW_PREFIXES)
def test_nesting_is_symmetric_and_means_that_a_pattern_reaches_the_other(one: str, other: str) -> None:
    reaches = any(fnmatch.fnmatchcase(f"{a}-x", f"{b}-*") for a, b in [(one, other), (other, one)])
    assert naming.nested(one, other) == naming.nested(other, one) == reaches


@given(st.one_of(FEW_PREFIXES, PREFIXES), st.one_of(FEW_PREFIXES, PREFIXES))
def test_no_pattern_of_a_pipeline_matches_the_tools_own_objects(holder: str, victim: str) -> None:
    for target in {holder, victim}:
        own = [
            naming.user_name(target),
            naming.group_name(target),
            naming.boundary_name(target),
            naming.role_boundary_name(target),
            naming.policy_name(target, "sample"),
        ]
        assert len(set(own)) == 4, "user and group share a name, the rest differ"
        if target == holder or not naming.nested(holder, target):
            assert not fnmatch.filter(own, f"{holder}-*")


@given(PREFIXES)
def test_every_policy_that_this_tool_makes_is_known_by_its_name(prefix: str) -> None:
    own = [naming.boundary_name(prefix), naming.role_boundary_name(prefix), naming.policy_name(prefix, "combined-2")]
    assert all(map(naming.is_own_policy, own))
    assert not any(map(naming.is_own_policy, [prefix, f"{prefix}-policy", f"{prefix}.policy", f"{prefix}.ci"]))


def test_a_nested_prefix_would_be_reached_which_is_why_it_is_refused() -> None:
    assert fnmatch.fnmatchcase(naming.user_name("shop-prod-eu"), "shop-prod-*")
    assert naming.nested("shop-prod-eu", "shop-prod")


def test_the_longest_names_fit_into_iam() -> None:
    prefix = naming.prefix("a" * naming.APPLICATION_LENGTH, "e" * naming.ENVIRONMENT_LENGTH)
    assert len(naming.user_name(prefix)) <= 64
    assert len(naming.policy_name(prefix, "p" * naming.POLICY_LENGTH)) <= 128


def test_an_arn_has_its_partition() -> None:
    assert naming.arn("aws-cn", "iam", "", "111111111111", "user/x") == "arn:aws-cn:iam::111111111111:user/x"

"""Which environments a run is about; and that the shards of a fleet are all of it, each environment once."""

from __future__ import annotations

import itertools
import types
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ci_user.errors import EnvironmentFileError, UsageError
from ci_user.nightly.selection import Fleet, Shard, accounts, matching, parse_shard, part_of
from ci_user.nightly.shards import SHARDS_AT_MOST
from tests.unit.nightly.fleets import fleet, one, same_account
from tests.unit.nightly.identities import environment

NAMES = st.text("abc-", min_size=1, max_size=6)
FLEETS = st.dictionaries(NAMES, st.sampled_from([f"{n:012}" for n in range(1, 8)]), max_size=40)


def of(given_accounts: dict[str, str], broken: frozenset[str] = frozenset()) -> Fleet:
    """Return a fleet as far as it is divided: names and accounts."""
    every: Any = {
        name: types.SimpleNamespace(name=name, account_id=account, sandbox=False)
        for name, account in given_accounts.items()
    }
    return Fleet(Path(), every, {name: EnvironmentFileError("broken") for name in broken})


@given(FLEETS, st.frozensets(NAMES, max_size=5), st.integers(1, 60))
def test_the_shards_of_a_fleet_are_all_of_it_and_no_environment_is_in_two(
    given_accounts: dict[str, str], broken: frozenset[str], count: int
) -> None:
    whole = of(given_accounts, broken)
    parts = [part_of(whole, whole.names, Shard(number, count)) for number in range(1, count + 1)]
    assert Counter(itertools.chain(*parts)) == Counter({*given_accounts, *broken})
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


@given(FLEETS, st.integers(1, 12))
def test_an_account_is_in_more_shards_than_it_has_to_only_where_two_shards_meet(
    given_accounts: dict[str, str], count: int
) -> None:
    whole = of(given_accounts)
    parts = [part_of(whole, whole.names, Shard(number, count)) for number in range(1, count + 1)]
    pairs = {(whole.account(name), number) for number, part in enumerate(parts) for name in part}
    assert len(pairs) <= len(set(given_accounts.values())) + count - 1
    for part in parts:
        # Within a shard an account is read, and then let go of.
        assert len(list(itertools.groupby(part, key=whole.account))) == len({whole.account(name) for name in part})


@given(FLEETS, st.randoms(use_true_random=False))
def test_the_order_in_which_environments_are_named_changes_no_shard(
    given_accounts: dict[str, str], random: Any
) -> None:
    whole = of(given_accounts)
    names = list(whole.names)
    random.shuffle(names)
    assert part_of(whole, names, Shard(1, 3)) == part_of(whole, whole.names, Shard(1, 3))


@given(FLEETS, st.frozensets(NAMES, max_size=5))
def test_accounts_take_turns_and_nobody_is_left_out(given_accounts: dict[str, str], broken: frozenset[str]) -> None:
    whole = of(given_accounts, broken)
    ordered = whole.interleaved(whole.names)
    assert sorted(ordered) == list(whole.names)
    # No more accounts than six are under way at once.
    spans: dict[str, list[int]] = {}
    for at, name in enumerate(ordered):
        spans.setdefault(whole.account(name), []).append(at)
    for at in range(len(ordered)):
        assert sum(min(span) <= at <= max(span) for span in spans.values()) <= 6


def test_of_two_accounts_one_after_the_other_begins() -> None:
    whole = fleet({"a1": "1" * 12, "a2": "1" * 12, "a3": "1" * 12, "b1": "2" * 12, "b2": "2" * 12})
    assert whole.interleaved(whole.names) == ["a1", "b1", "a2", "b2", "a3"]


@pytest.mark.parametrize("text", ["1/1", "3/10", f"{SHARDS_AT_MOST}/{SHARDS_AT_MOST}"])
def test_a_shard_is_read_as_it_is_written(text: str) -> None:
    assert str(parse_shard(text)) == text


def test_no_shard_is_all() -> None:
    assert parse_shard("") is None
    whole = same_account("a", "b")
    assert part_of(whole, whole.names, None) == ("a", "b")


NO_SHARDS = ("0/3", "4/3", "3", "3/", "/3", "1/1001", "-1/3", "1/3 ", "1/03", "a/b", "1/2/3", "\u0661/\u0663", "1/3\n")


@pytest.mark.parametrize("text", NO_SHARDS)
def test_what_is_no_shard_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is no shard") as caught:
        parse_shard(text)
    assert caught.value.where == "--shard"


def test_all_is_every_environment_but_sandboxes_and_also_what_cannot_be_read() -> None:
    assert fleet({"b": "1" * 12}, "a", sandboxes=("s",)).names == ("a", "b")


def test_patterns_name_environments_as_in_a_shell_and_each_once() -> None:
    whole = same_account("prod-eu", "prod-us", "test-eu", sandboxes=("prod-local",))
    assert matching(whole, []) == whole.names
    assert matching(whole, ["prod-*", "*-eu", "prod-eu"]) == ("prod-eu", "prod-us", "test-eu")
    assert matching(whole, ["prod-[!u]*"]) == ("prod-eu",)


@pytest.mark.parametrize("patterns", [["none"], ["prod-*", "none-*"], ["PROD-EU"], [""], ["prod-local"]])
def test_a_pattern_that_matches_nothing_is_an_error_even_beside_one_that_does(patterns: list[str]) -> None:
    with pytest.raises(UsageError, match="matches no environment") as caught:
        matching(same_account("prod-eu", sandboxes=("prod-local",)), patterns)
    assert caught.value.where == "--only"
    assert "prod-eu" in str(caught.value.expected)


def test_of_a_large_fleet_only_some_names_are_in_the_message() -> None:
    with pytest.raises(UsageError) as caught:
        matching(same_account(*(f"e{n:03}" for n in range(50))), ["no"])
    assert "e009 and 40 more" in str(caught.value.expected)


def test_siblings_are_those_with_something_in_its_account_and_itself() -> None:
    state_there = one("far", "2" * 12, state={"bucket": "shared", "account_id": "1" * 12})
    whole = fleet({"own": "1" * 12, "near": "1" * 12, "away": "3" * 12})
    whole = Fleet(Path(), {**whole.environments, "far": state_there}, {})
    assert set(whole.siblings("own")) == {"own", "near", "far"}
    assert set(whole.siblings("far")) == {"far"}
    assert set(whole.siblings("away")) == {"away"}


def test_everything_that_lies_in_another_account_makes_it_one_of_the_environments() -> None:
    key = "arn:aws:kms:eu-west-1:444444444444:key/00000000-1111-2222-3333-444444444444"
    assert accounts(environment(state={"bucket": "states", "account_id": "2" * 12, "kms_key": key})) == {
        "1" * 12,
        "2" * 12,
        "4" * 12,
    }


def test_what_cannot_be_read_has_no_account_and_is_divided_all_the_same() -> None:
    whole = fleet({"a": "1" * 12}, "x")
    assert (whole.account("a"), whole.account("x"), whole.account("unknown")) == ("1" * 12, "", "")


def test_other_environments_or_other_policies_of_theirs_are_another_digest(tmp_path: Path) -> None:
    policy = tmp_path / "environments" / "own.json"
    policy.parent.mkdir()
    policy.write_text("{}")
    policies: dict[str, Any] = {"policies": [{"file": "own.json"}]}

    def digest(*names: str, broken: tuple[str, ...] = (), **changes: Any) -> str:
        return fleet(dict.fromkeys(names, "1" * 12), *broken, root=tmp_path, **policies | changes).digest

    first = digest("a", "b")
    assert digest("b", "a") == first
    others = [digest("a"), digest("a", "b", broken=("c",)), digest("a", "b", tags={"x": "y"})]
    policy.write_text("{ }")
    others.append(digest("a", "b"))
    assert len({first, *others}) == 5

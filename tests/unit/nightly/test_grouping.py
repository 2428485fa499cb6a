"""One cause is told once, with every environment that has it, and nothing is lost."""

from __future__ import annotations

import datetime as dt
from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from ci_user.nightly.grouping import causes
from ci_user.nightly.model import Acceptance, NightResult
from tests.unit.nightly.render.hostile_nights import NIGHT, entry, environment, night, nights


def test_the_same_cause_in_forty_environments_is_one_with_forty_names() -> None:
    every = [
        environment(
            f"e{number:02}",
            entry(
                where=f"arn:aws:iam::{number:012}:policy/shop-e{number:02}.boundary",
                message=f"key AKIA{number:016} of shop-e{number:02} in eu-west-{number % 3}",
                fix=f"run `invoke deploy --env e{number:02}`",
            ),
            account_id=f"{number:012}",
            region=f"eu-west-{number % 3}",
        )
        for number in range(40)
    ]
    (cause,) = causes(night(*every))
    assert cause.environments == tuple(one.environment for one in every)
    assert cause.where == "arn:aws:iam::{account}:policy/{prefix}.boundary"
    assert cause.message == "key {key} of {prefix} in {region}"
    assert cause.fix == "run `invoke deploy --env {environment}`"
    assert cause.entry == every[0].entries[0]


def test_one_environments_cause_is_told_in_its_own_words() -> None:
    found = entry(where="shop-prod-deploy", message="prod: shop-prod-deploy was changed")
    (cause,) = causes(night(environment("prod", found)))
    assert (cause.where, cause.message) == (found.where, found.message)


def test_an_environments_name_is_left_alone_where_it_is_a_word() -> None:
    every = (
        environment("read", entry(message="it may read secrets")),
        environment("write", entry(message="it may write secrets")),
        environment("eu", entry(message="a key was used in eu-west-2")),
        environment("us", entry(message="a key was used in us-west-2")),
        environment("prod", entry(message="the product is sold")),
    )
    assert len(causes(night(*every))) == 5


def test_what_differs_in_more_than_names_are_causes_of_their_own() -> None:
    reason = Acceptance(reason="known", owner="ops", expires="never")
    every = (
        entry(message="a"),
        entry(message="b"),
        entry(message="a", where="here"),
        entry(message="a", title="Another"),
        entry(message="a", gravity="error"),
        entry("CKV_AWS_40", message="a"),
        entry(message="a", accepted=reason),
        entry(message="a", accepted=reason.model_copy(update={"owner": "dev"})),
    )
    assert len(causes(night(environment("prod", *every)))) == len(every)


def test_errors_come_first_then_the_widest_and_the_accepted_after_the_others() -> None:
    wide, narrow, error = entry("B_WIDE"), entry("A_NARROW"), entry("Z_ERROR", gravity="error")
    notice = entry("A_NOTICE", gravity="notice")
    accepted = entry("A_ACCEPTED", accepted=Acceptance(reason="known", owner="ops", expires="never"))
    found = causes(night(environment("a", notice, accepted, narrow, wide), environment("b", wide, accepted, error)))
    assert [cause.entry.id for cause in found] == ["Z_ERROR", "B_WIDE", "A_NARROW", "A_ACCEPTED", "A_NOTICE"]


def test_what_cannot_wait_comes_before_everything_and_who_may_be_in_before_drift() -> None:
    leaked, foreign = entry("CIUSER_LEAKED", area="keys"), entry("CIUSER_FOREIGN_KEY", area="keys")
    drift, error = entry("CIUSER_DRIFT"), entry("A_ERROR", gravity="error")
    found = causes(night(environment("a", drift, error, foreign), environment("b", drift, leaked)))
    assert [cause.entry.id for cause in found] == ["CIUSER_LEAKED", "A_ERROR", "CIUSER_FOREIGN_KEY", "CIUSER_DRIFT"]


def test_a_cause_is_as_old_as_the_oldest_of_its_entries() -> None:
    older = NIGHT - dt.timedelta(days=3)
    every = (environment("a", entry(since=NIGHT)), environment("b", entry(since=older)), environment("c", entry()))
    (cause,) = causes(night(*every))
    assert cause.since == older


@settings(max_examples=40, deadline=None)
@given(nights())
def test_every_entry_of_every_environment_is_in_exactly_one_cause(result: NightResult) -> None:
    wanted = Counter((one.environment, found) for one in result.environments for found in one.entries)
    assert Counter(member for cause in causes(result) for member in cause.members) == wanted
    counting = {found for found in wanted if found[1].counts}
    assert {member for cause in causes(result) if cause.counts for member in cause.members} == counting


@settings(max_examples=40, deadline=None)
@given(nights(), st.randoms(use_true_random=False))
def test_the_order_of_the_environments_does_not_matter(result: NightResult, random: object) -> None:
    shuffled = list(result.environments)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert causes(result.model_copy(update={"environments": tuple(shuffled)})) == causes(result)

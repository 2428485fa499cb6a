"""What a person reads at the end of a night, and that nothing in it steers the terminal or the runner."""

from __future__ import annotations

import datetime as dt
import unicodedata

import pytest
from hypothesis import given, settings

from ci_user.nightly.model import Acceptance, NightResult
from ci_user.nightly.render.console import lines, write
from ci_user.reports.console import Console
from tests.unit.nightly.render.hostile_nights import HOSTILE, NIGHT, entry, environment, hostile, night, nights

ACCEPTED = entry(
    "CKV_AWS_40", message="a policy on the user", accepted=Acceptance(reason="known", owner="ops", expires="never")
)


def harmless(line: str) -> bool:
    """Return whether a line steers neither a terminal nor a GitHub runner."""
    steering = any(unicodedata.category(character) in {"Cc", "Cf", "Cs", "Zl", "Zp"} for character in line)
    return not steering and "##[" not in line and not line.lstrip().startswith("::")


def test_the_last_line_says_it_all() -> None:
    clean = [environment(f"u{n}", way="unchanged") for n in range(35)] + [environment(f"p{n}") for n in range(3)]
    result = night(*clean, environment("a", entry()), environment("b", entry()))
    assert lines(result)[-1] == "38 of 40 clean, 2 with findings; 35 unchanged, 5 planned; 41 s"


def test_a_night_with_everything_counts_everything() -> None:
    result = night(
        environment("a", entry(gravity="error"), way="failed"),
        environment("b", entry(), ACCEPTED),
        environment("c"),
        missing=("d", "e"),
        shard="3/10",
        ended=NIGHT + dt.timedelta(minutes=3, seconds=5),
    )
    assert lines(result)[-1] == (
        "shard 3/10: 1 of 5 clean, 1 with errors, 1 with findings, 2 not checked; "
        "2 planned, 1 failed; 1 accepted; 3 min 5 s"
    )


def test_causes_come_first_with_errors_before_findings_then_what_is_not_clean() -> None:
    result = night(
        environment("dev", entry(message="shop-dev-deploy was changed", fix="run `invoke deploy`", since=NIGHT)),
        environment("prod", entry(message="shop-prod-deploy was changed", fix="run `invoke deploy`")),
        environment(
            "broken",
            entry("CIUSER_PLAN_ERROR", gravity="error", title="Terraform can plan", runbook="terraform-failed"),
        ),
        environment("good"),
        missing=("late",),
    )
    assert lines(result) == [
        "error CIUSER_PLAN_ERROR: fails: Terraform can plan",
        "    in 1:    broken",
        "    see:     docs/runbooks.md#terraform-failed",
        "",
        "finding CIUSER_DRIFT: {prefix}-deploy was changed",
        "    in 2:    dev, prod",
        "    fails:   AWS is as it was left",
        "    do:      run `invoke deploy`",
        "    since:   2031-05-06 03:00 UTC",
        "",
        "environment broken: 1 error (planned, 2.5 s)",
        "environment dev: 1 finding (planned, 2.5 s)",
        "environment prod: 1 finding (planned, 2.5 s)",
        "environment late: not checked",
        "    see:     docs/runbooks.md#nightly-not-checked",
        "",
        "1 of 5 clean, 1 with errors, 2 with findings, 1 not checked; 4 planned; 41 s",
    ]


def test_what_is_accepted_is_counted_and_only_listed_when_asked_for() -> None:
    result = night(environment("prod", ACCEPTED))
    assert lines(result) == ["1 of 1 clean; 1 planned; 1 accepted; 41 s"]
    assert "    why:     known (ops, for good)" in lines(result, verbose=True)


def test_notices_are_counted_and_only_listed_when_asked_for() -> None:
    result = night(environment("prod", entry("CIUSER_BUSY", gravity="notice", message="its journal was just written")))
    assert lines(result) == ["1 notice is listed with --verbose", "1 of 1 clean; 1 planned; 1 notice; 41 s"]
    assert "notice CIUSER_BUSY: its journal was just written" in lines(result, verbose=True)


def test_what_asks_for_the_same_in_the_same_environments_is_one_block() -> None:
    one, other = (entry(where=f"module.{it}", message=f"{it} changed", fix="deploy") for it in "ab")
    told = lines(night(environment("dev", other), environment("prod", one, other)))
    assert told[:6] == [
        "finding CIUSER_DRIFT: b changed",
        "    in 2:    dev, prod",
        "    where:   module.b",
        "    fails:   AWS is as it was left",
        "    do:      deploy",
        "",
    ]
    assert lines(night(environment("prod", one, other)))[:6] == [
        "finding CIUSER_DRIFT: a changed",
        "    in 1:    prod",
        "    where:   module.a",
        "    also:    module.b: b changed",
        "    fails:   AWS is as it was left",
        "    do:      deploy",
    ]


def test_a_merge_of_nothing_names_no_shard() -> None:
    assert lines(night(missing=("shard 1/3",), shard="none"))[-1].startswith("0 of 1 clean")


def test_many_names_are_shortened_unless_everything_is_asked_for() -> None:
    result = night(*(environment(f"e{n:02}", entry()) for n in range(50)))
    assert "e39 and 10 more" in lines(result)[1]
    assert lines(result, verbose=True)[1].endswith("e48, e49")


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_names_have_no_effect(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    for verbose in (False, True):
        assert all(harmless(line) for line in lines(hostile(text), verbose=verbose))
    write(hostile(text), Console(verbose=True))
    printed = capsys.readouterr().out
    assert all(harmless(line) for line in printed.split("\n"))
    assert printed == "\n".join(lines(hostile(text), verbose=True)) + "\n"


@settings(max_examples=40, deadline=None)
@given(nights())
def test_no_night_has_any_effect_and_every_counting_cause_is_told(result: NightResult) -> None:
    told = lines(result)
    assert all(harmless(line) for line in told)
    assert sum(line.startswith(("environment ", "not checked: ")) for line in told) == len(result.missing) + sum(
        one.exit_code != 0 for one in result.environments
    )

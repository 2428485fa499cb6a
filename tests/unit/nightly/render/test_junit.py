"""JUnit XML that parsers take, with one case for each thing that was found, whatever the names are."""

from __future__ import annotations

import re
from collections import Counter
from typing import Final
from xml.etree.ElementTree import Element, fromstring

import pytest
from hypothesis import given, settings

from ci_user.nightly.model import Acceptance, NightResult
from ci_user.nightly.render.junit import text
from ci_user.text import plain
from tests.unit.nightly.render.hostile_nights import HOSTILE, NIGHT, entry, environment, hostile, night, nights

# What Jenkins' xunit plugin lets there be, in its junit-10.xsd, as far as it is used here: for each element, its parents,
# the attributes it must have and those it may have. The whole schema was held against these outputs once, by hand.
GRAMMAR: Final[dict[str, tuple[set[str | None], set[str], set[str]]]] = {
    "testsuites": ({None}, set(), {"name", "time", "tests", "failures", "errors"}),
    "testsuite": ({"testsuites"}, {"name", "tests", "failures", "errors"}, {"skipped", "time", "timestamp"}),
    "properties": ({"testsuite"}, set(), set()),
    "property": ({"properties"}, {"name", "value"}, set()),
    "testcase": ({"testsuite"}, {"name"}, {"classname", "time"}),
    "failure": ({"testcase"}, set(), {"type", "message"}),
    "error": ({"testcase"}, set(), {"type", "message"}),
    "skipped": ({"testcase"}, set(), {"type", "message"}),
    "system-out": ({"testcase"}, set(), set()),
}
NO_XML: Final = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def parsed(result: NightResult) -> Element:
    written = text(result)
    assert NO_XML.search(written) is None
    root = fromstring(written.encode())  # noqa: S314 - our own
    _judge(root, None)
    suites = root.findall("testsuite")
    for suite in suites:
        tags = Counter(child.tag for case in suite.iter("testcase") for child in case)
        assert suite.get("tests") == str(len(suite.findall("testcase")))
        assert (suite.get("failures"), suite.get("errors")) == (str(tags["failure"]), str(tags["error"]))
        assert suite.get("skipped") == str(tags["skipped"])
    for kind in ("tests", "failures", "errors"):
        assert root.get(kind) == str(sum(int(suite.get(kind, "")) for suite in suites))
    return root


def _judge(element: Element, parent: str | None) -> None:
    parents, must, may = GRAMMAR[element.tag]
    assert parent in parents
    assert must <= set(element.keys()) <= must | may
    assert re.fullmatch(r"[0-9]+\.[0-9]{3}", element.get("time", "0.000"))
    for child in element:
        _judge(child, element.tag)


def test_findings_fail_errors_are_errors_and_what_is_accepted_is_skipped_with_its_reason() -> None:
    accepted = Acceptance(reason="known", owner="ops", expires="2031-12-31")
    root = parsed(
        night(
            environment(
                "prod",
                entry(where="module.x", message="was changed", fix="deploy", since=NIGHT, runbook="nightly-drift"),
                entry("CKV_AWS_40", area="scan", accepted=accepted),
                entry("CIUSER_ACCEPTED_SOON", area="scan", gravity="notice", message="in a week"),
            ),
            environment("dev", entry("CIUSER_PLAN_ERROR", gravity="error", message="no plan")),
        )
    )
    (failure,) = root.iter("failure")
    assert (failure.get("type"), failure.get("message")) == ("CIUSER_DRIFT", "was changed")
    assert "do:    deploy\nsee:   docs/runbooks.md#nightly-drift\nsince: 2031-05-06 03:00 UTC" in str(failure.text)
    (error,) = root.iter("error")
    assert error.get("message") == "no plan"
    skipped = root.find("testsuite[@name='prod']/testcase/skipped")
    assert skipped is not None
    assert skipped.get("message") == "accepted: known (ops, until 2031-12-31)"
    assert [case.get("classname") for case in root.iter("testcase") if case.find("system-out") is not None] == [
        "prod.scan"
    ]


def test_areas_without_findings_pass_unless_the_environment_could_not_be_checked() -> None:
    root = parsed(night(environment("good"), environment("bad", entry(gravity="error"), way="failed")))
    good = root.findall("testsuite[@name='good']/testcase")
    assert {case.get("name") for case in good} == {"plan", "scan", "policies", "identity", "keys", "places", "check"}
    assert not any(len(case) for case in good)
    bad = root.findall("testsuite[@name='bad']/testcase")
    assert all(case.find("skipped") is not None or case.find("error") is not None for case in bad)


def test_what_was_not_checked_is_an_error() -> None:
    root = parsed(night(missing=("gone",)))
    assert root.get("errors") == "1"


@pytest.mark.parametrize("hostile_text", HOSTILE)
def test_hostile_names_stay_text(hostile_text: str) -> None:
    root = parsed(hostile(hostile_text))
    assert root.findall("testsuite")[0].get("name") == plain(hostile_text, 200).replace("##[", "# #[")
    # The whole of what there is: nothing became an element.
    assert Counter(element.tag for element in root.iter())["testsuite"] == 4


@settings(max_examples=40, deadline=None)
@given(nights())
def test_every_night_is_well_formed_and_every_counting_entry_is_a_case(result: NightResult) -> None:
    root = parsed(result)
    counting = [found for one in result.environments for found in one.entries if found.counts]
    assert len(list(root.iter("failure"))) == sum(found.gravity == "finding" for found in counting)
    errors = sum(found.gravity == "error" for found in counting)
    assert len(list(root.iter("error"))) == errors + len(result.missing)

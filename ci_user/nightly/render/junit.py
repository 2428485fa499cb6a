"""A night as JUnit XML: a suite for each environment, a case for each thing that was found and for each area without any.

The elements and attributes are those of Jenkins' schema, which GitLab and others read too:
https://github.com/jenkinsci/xunit-plugin/blob/master/src/main/resources/org/jenkinsci/plugins/xunit/types/model/xsd/junit-10.xsd
"""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Iterator
from typing import Final, get_args
from xml.etree.ElementTree import Element, SubElement, tostring

from ci_user.nightly.model import Area, Entry, EnvironmentResult, NightResult
from ci_user.nightly.render.foreign import shown, when, why

_KINDS: Final = {"error": "error", "finding": "failure"}
_UNKNOWN: Final = "not known: the check of this environment did not come to its end"


def text(result: NightResult) -> str:
    """Return a run as JUnit XML (XML 1.0, UTF-8).

    What is accepted is skipped, with the reason. So is an area of an environment that could not be checked, unless something
    was found in it: nobody knows that it is well. Characters that XML 1.0 has no place for, and those that hide something, are
    written out as escapes (https://www.w3.org/TR/xml/#charsets).
    """
    root = Element("testsuites", name="ci-user check")
    whole: Counter[str] = Counter()
    for environment in result.environments:
        whole += _suite(root, environment.environment, _properties(environment), _cases(environment))
    for name in result.missing:
        case = _case(name, "check", "the environment is checked")
        SubElement(
            case, "error", type="missing", message="it was to be checked and was not"
        ).text = "The run was interrupted, or a part of it is not there."
        whole += _suite(root, name, {}, [case])
    for kind in ("tests", "failures", "errors"):
        root.set(kind, str(whole[kind]))
    root.set("time", _time((result.ended - result.began).total_seconds()))
    written: bytes = tostring(root, encoding="utf-8", xml_declaration=True)
    return written.decode("utf-8") + "\n"


def _suite(root: Element, name: str, properties: dict[str, str], cases: list[Element]) -> Counter[str]:
    found = Counter(child.tag for case in cases for child in case)
    counts = Counter(tests=len(cases), failures=found["failure"], errors=found["error"], skipped=found["skipped"])
    suite = SubElement(root, "testsuite", name=shown(name, 200))
    for kind, count in counts.items():
        suite.set(kind, str(count))
    for attribute in ("time", "timestamp"):
        if attribute in properties:
            suite.set(attribute, properties.pop(attribute))
    if properties:
        below = SubElement(suite, "properties")
        for key, value in properties.items():
            SubElement(below, "property", name=key, value=shown(value, 200))
    suite.extend(cases)
    return counts


def _properties(environment: EnvironmentResult) -> dict[str, str]:
    planned = {"planned_at": when(environment.planned_at)} if environment.planned_at else {}
    return {
        "time": _time(environment.seconds),
        "timestamp": f"{environment.checked_at.astimezone(dt.UTC):%Y-%m-%dT%H:%M:%S}",
        "way": environment.way,
        "account": environment.account_id,
        "region": environment.region,
        **planned,
    }


def _cases(environment: EnvironmentResult) -> list[Element]:
    cases = []
    for area in get_args(Area):
        found = [entry for entry in environment.entries if entry.area == area]
        cases += [_entry(environment.environment, entry) for entry in found]
        if not found:
            case = _case(environment.environment, area, area)
            if environment.verdict == "error":
                SubElement(case, "skipped", message=_UNKNOWN)
            cases.append(case)
    return cases


def _entry(environment: str, entry: Entry) -> Element:
    case = _case(environment, entry.area, f"{entry.id} {entry.where}".rstrip())
    body = "\n".join(_lines(entry))
    if entry.accepted is not None:
        SubElement(case, "skipped", type="accepted", message=f"accepted: {shown(why(entry.accepted), 500)}").text = body
    elif entry.gravity in _KINDS:
        message = shown(entry.message or entry.title, 500)
        SubElement(case, _KINDS[entry.gravity], type=entry.id, message=message).text = body
    else:
        SubElement(case, "system-out").text = body
    return case


def _case(environment: str, area: str, name: str) -> Element:
    return Element("testcase", classname=f"{shown(environment, 200)}.{area}", name=shown(name, 300))


def _lines(entry: Entry) -> Iterator[str]:
    told = (
        ("fails: ", entry.title),
        ("where: ", entry.where),
        ("what:  ", entry.message),
        *(("- ", detail) for detail in entry.details),
        ("do:    ", entry.fix),
        ("see:   ", f"docs/runbooks.md#{entry.runbook}" if entry.runbook else ""),
        ("since: ", when(entry.since) if entry.since else ""),
    )
    return (f"{label}{shown(text)}" for label, text in told if text)


def _time(seconds: float) -> str:
    return f"{max(seconds, 0.0):.3f}"

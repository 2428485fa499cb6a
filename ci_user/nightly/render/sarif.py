"""A night as SARIF 2.1.0, for GitHub's code scanning and everything else that reads it.

https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/sarif-v2.1.0-errata01-os-complete.html
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, Final
from urllib.parse import quote

from ci_user.nightly.grouping import urgency
from ci_user.nightly.model import Acceptance, Entry, NightResult
from ci_user.nightly.render.foreign import file_of, shown, why

SCHEMA: Final = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
MOST_RESULTS: Final = 5_000
"""GitHub shows no more of one run, and refuses a file with more than 25,000 in one:
https://docs.github.com/en/code-security/code-scanning/troubleshooting-sarif-uploads/results-exceed-limit"""
_ROOT: Final = "%SRCROOT%"
_LEVELS: Final = {"error": "error", "finding": "warning", "notice": "note"}
_SEVERITIES: Final = {"error": "error", "finding": "warning", "notice": "recommendation"}
_MOST_CHARACTERS: Final = 1_000

_Found = tuple[str, Entry]


def text(result: NightResult, *, most: int = MOST_RESULTS) -> str:
    """Return a run as SARIF: one run, what is accepted as results with a suppression that carries the reason.

    Args:
        result: The run.
        most: How many results there may be; errors come first, and a notification says how many were left out.
    """
    every = sorted(
        ((one.environment, entry) for one in result.environments for entry in one.entries), key=_gravest_first
    )
    found = every[:most]
    rules = _rules(entry for _, entry in found)
    places = {rule["id"]: index for index, rule in enumerate(rules)}
    prints = _fingerprints(every)
    run = {
        "tool": {"driver": {"name": "ci-user check", "version": shown(result.tool, 100) or "unknown", "rules": rules}},
        "automationDetails": {"id": _category(result.shard)},
        "invocations": [_invocation(result, left_out=len(every) - len(found))],
        "originalUriBaseIds": {_ROOT: {"description": {"text": "The root of the repository."}}},
        "columnKind": "unicodeCodePoints",
        "results": [
            _result(environment, entry, places[entry.id], prints[index])
            for index, (environment, entry) in enumerate(found)
        ],
    }
    return json.dumps({"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}, indent=1) + "\n"


def _gravest_first(one: _Found) -> tuple[object, ...]:
    environment, entry = one
    return (
        not entry.counts,
        urgency(entry),
        environment,
        entry.id,
        entry.where,
        entry.message,
    )


def _rules(entries: Iterable[Entry]) -> list[dict[str, Any]]:
    known: dict[str, Entry] = {}
    for entry in entries:
        known.setdefault(entry.id, entry)
    return [_rule(known[name]) for name in sorted(known)]


def _rule(entry: Entry) -> dict[str, Any]:
    title = {"text": _message(entry.title) or entry.id}
    see = f" See docs/runbooks.md#{entry.runbook}." if entry.runbook else ""
    return {
        "id": entry.id,
        "name": entry.id,
        "shortDescription": title,
        "fullDescription": title,
        "help": {"text": _message(f"What should be true: {entry.title}.{see}")},
        "defaultConfiguration": {"level": _LEVELS[entry.gravity]},
        "properties": {"tags": ["ci-user", entry.area], "problem.severity": _SEVERITIES[entry.gravity]},
    }


def _result(environment: str, entry: Entry, rule: int, prints: Mapping[str, str]) -> dict[str, Any]:
    do = f"; to do: {entry.fix}" if entry.fix and entry.accepted is None else ""
    message = f"{environment}: {entry.message or entry.title}{do}"
    since = {"since": entry.since.astimezone(dt.UTC).isoformat()} if entry.since else {}
    return {
        "ruleId": entry.id,
        "ruleIndex": rule,
        "level": _LEVELS[entry.gravity],
        "message": {"text": _message(message)},
        "locations": [_location(environment, entry.where)],
        "partialFingerprints": dict(prints),
        **({"suppressions": [_suppression(entry.accepted)]} if entry.accepted is not None else {}),
        "properties": {"environment": shown(environment, 200), "area": entry.area, **since},
    }


def _location(environment: str, where: str) -> dict[str, Any]:
    # No region: GitHub's upload then takes it for the whole file and keeps our fingerprint, instead of hashing line 1, which
    # would make one finding of all in a file (https://github.com/github/codeql-action/blob/main/src/fingerprints.ts).
    uri = quote(file_of(environment) or "environments", safe="/")
    location: dict[str, Any] = {"physicalLocation": {"artifactLocation": {"uri": uri, "uriBaseId": _ROOT}}}
    if where:
        location["logicalLocations"] = [{"fullyQualifiedName": shown(where, _MOST_CHARACTERS), "kind": "resource"}]
    return location


def _suppression(accepted: Acceptance) -> dict[str, Any]:
    return {
        "kind": "external",
        "status": "accepted",
        "justification": shown(why(accepted), _MOST_CHARACTERS),
        "properties": {"owner": shown(accepted.owner, 200), "expires": shown(accepted.expires, 200)},
    }


def _fingerprints(every: Iterable[_Found]) -> list[dict[str, str]]:
    """Return what makes a finding the same one as last night's: where it is and what should be true, not how it is worded."""
    met: Counter[tuple[str, str, str]] = Counter()
    prints = []
    for environment, entry in every:
        place = (environment, entry.id, entry.where)
        met[place] += 1
        digest = hashlib.sha256(json.dumps([*place, met[place]]).encode()).hexdigest()
        prints.append({"primaryLocationLineHash": f"{digest[:16]}:1", "ciUserFinding/v1": digest})
    return prints


def _invocation(result: NightResult, *, left_out: int) -> dict[str, Any]:
    told = [("error", f"{name} was to be checked and was not.") for name in result.missing[:100]]
    if len(result.missing) > 100:
        told.append(("error", f"{len(result.missing) - 100} more were to be checked and were not."))
    if left_out:
        told.append(("warning", f"{left_out} more results are not in this file; results.json has them all."))
    return {
        "executionSuccessful": result.exit_code != 1,
        "exitCode": result.exit_code,
        "startTimeUtc": _moment(result.began),
        "endTimeUtc": _moment(result.ended),
        "toolExecutionNotifications": [{"level": level, "message": {"text": _message(text)}} for level, text in told],
    }


def _category(shard: str | None) -> str:
    """Return what tells this upload from others of the same commit; GitHub takes all before the last slash."""
    part = re.sub(r"[^A-Za-z0-9]+", "-", shard or "")[:40].strip("-")
    return f"ci-user-check/{f'shard-{part}/' if part else ''}"


def _message(text: str) -> str:
    """Return a plain text message: braces doubled (SARIF 3.11.5), and no embedded link in it (SARIF 3.11.6)."""
    return shown(text, _MOST_CHARACTERS).replace("](", "] (").replace("{", "{{").replace("}", "}}")


def _moment(moment: dt.datetime) -> str:
    return f"{moment.astimezone(dt.UTC):%Y-%m-%dT%H:%M:%SZ}"

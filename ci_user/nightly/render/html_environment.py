"""One environment's page: what was found, what a plan changes, who may do what, the keys, where they are delivered."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from ci_user.nightly.model import Entry, EnvironmentResult
from ci_user.nightly.render.html_diff import changes
from ci_user.nightly.render.html_grants import grants
from ci_user.nightly.render.html_keys import keys
from ci_user.nightly.render.html_parts import (
    ago,
    badge,
    bullets,
    code,
    counted,
    day,
    facts,
    failing,
    found,
    moment,
    open_entries,
    seconds,
    section,
    spoken,
    tag,
)
from ci_user.nightly.render.markup import Child, Markup, element, lines

WAYS: Final = {
    "planned": "a plan was made",
    "unchanged": "nothing has changed since the last clean plan",
    "absent": "nothing is deployed that could be planned against",
    "failed": "it could not be checked",
}
_SIGN: Final = re.compile(r"(?:access |boundary )?([+-]) ")
_AREAS: Final = {
    "plan": "Terraform's plan",
    "scan": "Scan of the plan",
    "policies": "Live policies",
    "identity": "Identity",
    "keys": "Keys",
    "places": "Places",
    "check": "The check itself",
}


@dataclass(frozen=True)
class Place:
    """Where an environment's page is: its anchor, and its neighbours in the order of the fleet table, anchor and name."""

    anchor: str
    before: tuple[str, str] | None = None
    after: tuple[str, str] | None = None


def environment(one: EnvironmentResult, place: Place) -> Markup:
    """Return the page of an environment, a section that the address's hash selects."""
    return element(
        "section",
        _steps(place),
        element(
            "h2", one.environment, " ", badge(one.verdict), " ", _traits(one), id=f"{place.anchor}.name", tabindex=-1
        ),
        _facts(one),
        _found(one, place.anchor),
        _parts(one, place.anchor),
        id=place.anchor,
        class_="environment",
        aria_labelledby=f"{place.anchor}.name",
    )


def _steps(place: Place) -> Markup:
    def step(where: tuple[str, str] | None, word: str) -> Markup | None:
        return element("a", f"{word}: ", where[1], href=f"#{where[0]}") if where else None

    return element(
        "nav",
        element("a", "All environments", href="#fleet", class_="back"),
        step(place.before, "Previous"),
        step(place.after, "Next"),
        aria_label="Environments",
        class_="steps",
    )


def _traits(one: EnvironmentResult) -> Iterator[Child]:
    if one.protected:
        yield tag("protected")
    if one.sandbox:
        yield tag("sandbox")


def _facts(one: EnvironmentResult) -> Markup:
    planned: Child = "never"
    if one.planned_at is not None:
        before = None if one.way == "planned" else f", {ago(one.planned_at, one.checked_at)} before"
        planned = (moment(one.planned_at), before)
    return facts(
        [
            ("Account", code(one.account_id)),
            ("Region", one.region),
            ("Checked", (moment(one.checked_at), f", in {seconds(one.seconds)}")),
            ("How", WAYS[one.way]),
            ("Last plan", planned),
            ("Found", found(one) or "nothing"),
        ]
    )


def _found(one: EnvironmentResult, anchor: str) -> Iterator[Markup]:
    to_do = open_entries(one)
    notices = [entry for entry in one.entries if entry.gravity == "notice" and entry.accepted is None]
    accepted = [entry for entry in one.entries if entry.accepted is not None]
    if to_do or notices:
        entries = (_entry(entry) for entry in (*to_do, *notices))
        yield section(f"{anchor}.findings", "Findings", *entries)
    else:
        yield element("p", "Nothing has to be done here.", class_="calm")
    if accepted:
        yield element(
            "details",
            element("summary", counted(len(accepted), "accepted finding")),
            (_entry(entry) for entry in accepted),
            class_="accepted",
        )


def _entry(entry: Entry) -> Markup:
    rows: list[tuple[str, Child]] = []
    if entry.fix:
        rows.append(("What to do", spoken(entry.fix)))
    if entry.accepted is not None:
        rows.append(("Accepted because", entry.accepted.reason))
        rows.append(("By", entry.accepted.owner))
        rows.append(("Until", entry.accepted.expires))
    if entry.since is not None:
        rows.append(("Since", day(entry.since)))
    if entry.runbook:
        rows.append(("Runbook", code(f"docs/runbooks.md#{entry.runbook}")))
    return element(
        "article",
        element(
            "p",
            badge("plain", "accepted") if entry.accepted else badge(entry.gravity),
            " ",
            element("span", _AREAS[entry.area], " · ", code(entry.id), class_="quiet"),
            class_="kind",
        ),
        # What is accepted is folded away, and no heading.
        failing(entry, entry.message, entry.where, "p" if entry.accepted else "h4"),
        bullets(entry.details, "details") if entry.details else None,
        facts(rows) if rows else None,
        class_=f"entry {'accepted' if entry.accepted else entry.gravity}",
    )


def _parts(one: EnvironmentResult, anchor: str) -> Iterator[Markup]:
    if one.changes:
        yield section(f"{anchor}.plan", "Plan", *changes(one.changes))
    if one.access:
        note = (
            "What a deploy would let the CI user do (+) or no longer do (-), and where AWS is other than the files say."
        )
        yield section(f"{anchor}.access", "Access", _access(one.access), note=note)
    if one.keys:
        yield section(f"{anchor}.keys", "Keys", *keys(one.keys, one.checked_at, anchor))
    if one.grants:
        note = "What the live policies open in each service, on named resources or on any. The boundary narrows it further."
        yield section(f"{anchor}.grants", "Who may do what", *grants(one.grants, anchor), note=note)
    if one.targets:
        yield section(f"{anchor}.targets", "Places that get the key", bullets(code(target) for target in one.targets))
    if one.notes:
        yield section(f"{anchor}.notes", "Notes", bullets(lines(note) for note in one.notes))


def _access(every: Sequence[str]) -> Markup:
    def line(text: str) -> Markup:
        sign = _SIGN.match(text)
        return element("li", text, class_={"+": "ins", "-": "del"}[sign[1]] if sign else None)

    return element("ul", (line(text) for text in every), class_="diff access")

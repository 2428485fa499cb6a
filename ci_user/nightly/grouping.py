"""The same cause in forty environments is one cause with forty names.

Two entries have one cause when they say the same once each environment's own names are taken out: its prefix, its name, its
account, its region, and ids of access keys. Nothing is lost by it: each cause holds the entries that it stands for.
"""

from __future__ import annotations

import datetime as dt
import re
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from ci_user.nightly.codes import AT_ONCE
from ci_user.nightly.model import Acceptance, Entry, EnvironmentResult, NightResult

_ORDER: Final = {"error": 1, "finding": 2, "notice": 3}
_AN_ATTACK: Final = frozenset({"keys", "identity", "policies"})
"""Areas whose findings may mean that somebody is in; what is wrong elsewhere can wait for them."""
_KEY_ID: Final = r"(?<![A-Za-z0-9])A[KS]IA[A-Z0-9]{12,}(?![A-Za-z0-9])"
_ANY_REGION: Final = r"(?<![\w-])[a-z]{2}(?:-[a-z]+){1,3}-[0-9]{1,2}(?![\w-])"

_Said = tuple[str, str, Acceptance | None, str, str, str]


@dataclass(frozen=True)
class Cause:
    """One cause, and where it is.

    Args:
        entry: One of its entries: that of the environment whose name comes first.
        members: Each entry with its environment's name, by that name.
        where: Where it is; in several environments with ``{prefix}``, ``{environment}``, ``{account}``, ``{region}`` and
            ``{key}`` in place of what differs.
        message: What was found, likewise.
        fix: What to do, likewise.
        since: The earliest time since when any of them is so; None where no history says so.
    """

    entry: Entry
    members: tuple[tuple[str, Entry], ...]
    where: str
    message: str
    fix: str
    since: dt.datetime | None

    @property
    def environments(self) -> tuple[str, ...]:
        """Return the names of the environments, each once, in order."""
        return tuple(dict.fromkeys(name for name, _ in self.members))

    @property
    def counts(self) -> bool:
        """Return whether it makes environments other than clean."""
        return self.entry.counts


def causes(result: NightResult) -> tuple[Cause, ...]:
    """Return the causes of everything that was found, the most urgent first, and of those the widest."""
    groups: dict[_Said, list[tuple[str, Entry, Callable[[str], str]]]] = defaultdict(list)
    for environment in result.environments:
        if not environment.entries:
            continue  # most have none, and a pattern takes a third of a millisecond to compile
        general = _general(environment)
        for entry in environment.entries:
            said = (
                entry.id,
                entry.gravity,
                entry.accepted,
                entry.title,
                general(entry.where),
                general(entry.message),
            )
            groups[said].append((environment.environment, entry, general))
    return tuple(sorted((_cause(found) for found in groups.values()), key=_place))


def urgency(entry: Entry) -> tuple[int, bool, bool]:
    """Return how much something presses, the least first.

    What cannot wait comes before everything, then errors, then findings about keys, identities and live policies, then other
    findings, what is accepted, and notices. So a leaked key is the last thing that a list with a limit drops.
    """
    accepted = entry.accepted is not None
    at_once = entry.id in AT_ONCE and entry.counts
    return (0 if at_once else _ORDER[entry.gravity], accepted, entry.area not in _AN_ATTACK)


def _cause(found: Iterable[tuple[str, Entry, Callable[[str], str]]]) -> Cause:
    ordered = sorted(found, key=lambda one: (one[0], one[1].model_dump_json()))
    first, general = ordered[0][1], ordered[0][2]

    def told(texts: set[str], own: str) -> str:
        return own if len(texts) == 1 else general(own)

    return Cause(
        entry=first,
        members=tuple((name, entry) for name, entry, _ in ordered),
        where=told({entry.where for _, entry, _ in ordered}, first.where),
        message=told({entry.message for _, entry, _ in ordered}, first.message),
        fix=told({entry.fix for _, entry, _ in ordered}, first.fix),
        since=min((entry.since for _, entry, _ in ordered if entry.since is not None), default=None),
    )


def _place(cause: Cause) -> tuple[object, ...]:
    entry = cause.entry
    accepted = entry.accepted
    return (
        urgency(entry),
        -len(cause.environments),
        entry.id,
        entry.title,
        cause.where,
        cause.message,
        accepted.model_dump_json() if accepted else "",
        cause.environments,
    )


def _general(environment: EnvironmentResult) -> Callable[[str], str]:
    """Return what puts placeholders for one environment's own names.

    Its bare name is taken out only where it stands as a name, since an environment may be called ``read`` or ``key``: beside a
    hyphen, slash, underscore or quotation mark, before a file's ending, after ``--env`` or ``environment``, and first in a text.
    """
    name = re.escape(environment.environment)
    pairs = (
        ("key", _KEY_ID),
        ("prefix", rf"(?<![A-Za-z0-9]){re.escape(environment.prefix)}(?![A-Za-z0-9])" if environment.prefix else ""),
        ("account", rf"(?<!\d){re.escape(environment.account_id)}(?!\d)" if environment.account_id else ""),
        ("region", _ANY_REGION),
        (
            "environment",
            rf"(?<=[-/_=:'\"`]){name}(?![A-Za-z0-9])|(?<![A-Za-z0-9]){name}(?=[-/_'\"`]|\.[a-z])"
            rf"|(?<=--env ){name}(?![A-Za-z0-9])|(?<=environment ){name}(?![A-Za-z0-9])|^{name}(?=:)"
            if name
            else "",
        ),
    )
    pattern = re.compile("|".join(f"(?P<{kind}>{text})" for kind, text in pairs if text))

    def placed(match: re.Match[str]) -> str:
        # Another region is no name of this environment's, and no part of it is either.
        if match.lastgroup == "region" and match[0] != environment.region:
            return match[0]
        return f"{{{match.lastgroup}}}"

    return lambda text: pattern.sub(placed, text)

"""How many environments are how: the line that says it all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, get_args

from ci_user.nightly.codes import AT_ONCE
from ci_user.nightly.model import NightResult, Way
from ci_user.nightly.render.foreign import counted, span

VERDICTS: Final[Mapping[int, str]] = {0: "clean", 1: "error", 3: "findings"}
"""A run's exit codes as words."""


def told_in_words(result: NightResult) -> str:
    """Return how a run ended, for who reads no further; it names nothing that a channel of many should not know."""
    entries = [entry for one in result.environments for entry in one.entries if entry.counts]
    told = "not everything could be checked" if result.exit_code == 1 else "everything is clean"
    if any(entry.id in AT_ONCE for entry in entries):
        told = "A LEAKED KEY: act at once" + (f"; {told}" if result.exit_code == 1 else "")
    elif any(entry.gravity == "finding" for entry in entries):
        told = f"{told}, and a person has to look" if result.exit_code == 1 else "a person has to look"
    return told


@dataclass(frozen=True)
class Counts:
    """What there is of what.

    Args:
        total: All environments, those that were not checked with them.
        clean: Those that are as they should be.
        findings: Those where a person has to act.
        errors: Those that could not be checked.
        missing: Those that were to be checked and were not.
        ways: How many results were reached in which way, those that occur.
        accepted: Findings that are accepted, in all environments.
        notices: What nobody has to act on, in all environments.
        seconds: From the run's beginning to its end.
    """

    total: int
    clean: int
    findings: int
    errors: int
    missing: int
    ways: Mapping[str, int]
    accepted: int
    notices: int
    seconds: float

    @classmethod
    def of(cls, result: NightResult) -> Counts:
        """Return the counts of a run."""
        verdicts = Counter(one.verdict for one in result.environments)
        ways = Counter(one.way for one in result.environments)
        return cls(
            total=len(result.environments) + len(result.missing),
            clean=verdicts["clean"],
            findings=verdicts["findings"],
            errors=verdicts["error"],
            missing=len(result.missing),
            ways={way: ways[way] for way in ("unchanged", *get_args(Way)) if ways[way]},
            accepted=sum(entry.accepted is not None for one in result.environments for entry in one.entries),
            notices=sum(
                entry.gravity == "notice" and entry.accepted is None
                for one in result.environments
                for entry in one.entries
            ),
            seconds=max((result.ended - result.began).total_seconds(), 0.0),
        )

    def __str__(self) -> str:
        """Return one line, such as "38 of 40 clean, 2 with findings; 35 unchanged, 5 planned; 41 s"."""
        verdicts = (
            (self.errors, "with errors"),
            (self.findings, "with findings"),
            (self.missing, "not checked"),
        )
        parts = [
            ", ".join((f"{self.clean} of {self.total} clean", *(f"{n} {what}" for n, what in verdicts if n))),
            ", ".join(f"{n} {way}" for way, n in self.ways.items()),
            f"{self.accepted} accepted" if self.accepted else "",
            counted(self.notices, "notice") if self.notices else "",
            span(self.seconds),
        ]
        return "; ".join(part for part in parts if part)

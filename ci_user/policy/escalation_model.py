"""What the escalation analysis answers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final, Literal

from ci_user.policy.ways import Way

Verdict = Literal["safe", "escalates", "unknown"]

_LONGEST: Final = 6


@dataclass(frozen=True)
class Path:
    """One way to become more than one is.

    Args:
        ids: What the public catalogues call it; a plain word where none has it.
        title: What the holder does, in plain words, with the actions.
        needs: What must be there in the account, which no document tells; None when nothing.
        statements: Where the statements stand that allow it.
        resource: A resource that it works on.
        depends: What could not be decided; empty for a path that is open.
    """

    ids: tuple[str, ...]
    title: str
    needs: str | None
    statements: tuple[str, ...]
    resource: str
    depends: tuple[str, ...] = ()

    @property
    def open(self) -> bool:
        """Tell whether the documents allow it for certain."""
        return not self.depends

    def document(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {
            "ids": list(self.ids),
            "title": self.title,
            "needs": self.needs,
            "statements": list(self.statements),
            "resource": self.resource,
            "depends": list(self.depends),
        }

    def lines(self) -> tuple[str, ...]:
        """Return it in words."""
        lines = [f"{self.title} [{', '.join(self.ids)}]"]
        if self.needs:
            lines.append(f"  needs:  {self.needs}")
        if self.depends:
            lines.append(f"  depends on: {'; '.join(self.depends)}")
        lines.append(f"  on:     {self.resource}")
        more = f" and {len(self.statements) - _LONGEST} more" if len(self.statements) > _LONGEST else ""
        lines.append(f"  by:     {'; '.join(self.statements[:_LONGEST])}{more}")
        return tuple(lines)


@dataclass(frozen=True)
class Escalation:
    """The answer.

    Args:
        paths: The paths that are open.
        unknown: Those of which it could not be decided.
        assumptions: What is taken for granted of the account, because no document tells it.
    """

    paths: tuple[Path, ...]
    unknown: tuple[Path, ...]
    assumptions: tuple[str, ...]

    @property
    def verdict(self) -> Verdict:
        """Return ``escalates`` when a path is open, ``unknown`` when one may be, else ``safe``."""
        return "escalates" if self.paths else "unknown" if self.unknown else "safe"

    def document(self) -> dict[str, Any]:
        """Return it as JSON values: ``verdict``, ``paths``, ``unknown``, ``assumptions``."""
        return {
            "verdict": self.verdict,
            "paths": [path.document() for path in self.paths],
            "unknown": [path.document() for path in self.unknown],
            "assumptions": list(self.assumptions),
        }

    def lines(self) -> tuple[str, ...]:
        """Return it in words."""
        words = {
            "safe": "safe: no known way to become more than it is",
            "escalates": f"escalates: {len(self.paths)} way{'s' * (len(self.paths) != 1)} to become more than it is",
            "unknown": f"unknown: {len(self.unknown)} way{'s' * (len(self.unknown) != 1)} could not be decided",
        }
        lines = [words[self.verdict]]
        for path in (*self.paths, *self.unknown):
            mark = "!" if path.open else "?"
            first, *rest = path.lines()
            lines += [f"  {mark} {first}", *(f"    {line}" for line in rest)]
        lines += [f"  taken for granted: {assumption}" for assumption in self.assumptions]
        return tuple(lines)


def path(ids: Iterable[str], title: str, way: Way, *, needs: str | None = None, depends: Iterable[str] = ()) -> Path:
    """Return the path that a way makes; it depends on what the way depends on, and on ``depends``."""
    return Path(
        ids=tuple(ids),
        title=title,
        needs=needs,
        statements=tuple(dict.fromkeys(one.where for one in way.allowing)),
        resource=way.resource,
        depends=tuple(dict.fromkeys((*way.depends, *depends))) if not way.certain or depends else (),
    )

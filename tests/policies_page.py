"""The tables of docs/policies.md, so that what the page says is compared with what is."""

from __future__ import annotations

import re
from pathlib import Path

PAGE = Path(__file__).resolve().parent.parent / "docs" / "policies.md"


def table(heading: str) -> list[list[str]]:
    """Return the rows of the first table under a heading, without its head: the text of each cell.

    Args:
        heading: The heading's text.
    """
    text = PAGE.read_text(encoding="utf-8")
    _, found, after = text.partition(f" {heading}\n")
    assert found, f"docs/policies.md has no heading {heading!r}"
    section = re.split(r"^#+ ", after, maxsplit=1, flags=re.MULTILINE)[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    assert len(lines) > 2, f"docs/policies.md has no table under {heading!r}"
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines[2:]]


def quoted(cell: str) -> list[str]:
    """Return what stands in backquotes in a cell."""
    return re.findall(r"`([^`]+)`", cell)

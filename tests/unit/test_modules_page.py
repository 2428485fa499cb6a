"""The page about the modules keeps up with them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ("heading", "module"),
    [
        ("## Root module", "terraform"),
        ("## `modules/ci_policy`", "terraform/modules/ci_policy"),
        ("## `modules/ci_user`", "terraform/modules/ci_user"),
    ],
)
def test_each_variable_and_output_is_on_the_page(heading: str, module: str) -> None:
    page = (ROOT / "docs" / "modules.md").read_text(encoding="utf-8")
    section = page.split(heading)[1].split("\n## ")[0]
    variables, outputs = section.split("| output |")
    for kind, table in (("variable", variables), ("output", outputs)):
        text = (ROOT / module / f"{kind}s.tf").read_text(encoding="utf-8")
        declared = re.findall(rf'^{kind} "(\w+)"', text, re.MULTILINE)
        first_cells = re.findall(r"^\| (`.*?) \|", table, re.MULTILINE)
        assert sorted(re.findall(r"`(\w+)`", " ".join(first_cells))) == sorted(declared)

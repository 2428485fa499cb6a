"""What the documents and the error messages promise each other."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").glob("*.md")])
SOURCES = sorted([ROOT / "tasks.py", *(ROOT / "ci_user").rglob("*.py")])


def anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", page.read_text(), flags=re.MULTILINE)
    return {re.sub(r"[^a-z0-9 -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_runbook_that_an_error_names_exists() -> None:
    text = "\n".join(path.read_text() for path in SOURCES)
    named = set(re.findall(r'runbook="([a-z-]+)"', text)) | set(re.findall(r"runbooks\.md#([a-z-]+)", text))
    assert named
    assert named <= anchors(ROOT / "docs" / "runbooks.md")


@pytest.mark.parametrize("page", PAGES, ids=[page.name for page in PAGES])
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#][^)]*)\)", page.read_text()):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        linked = (page.parent / path).resolve()
        assert linked.exists(), target
        assert not anchor or anchor in anchors(linked), target


def test_every_task_is_in_the_readme() -> None:
    readme = (ROOT / "README.md").read_text()
    tasks = re.findall(r"^def ([a-z]+)\(", (ROOT / "tasks.py").read_text(), flags=re.MULTILINE)
    assert len(tasks) >= 9
    for task in tasks:
        assert f"`invoke {task}" in readme, task


def test_the_readme_opens_with_exactly_two_commands() -> None:
    first = re.search(r"```console\n(.*?)```", (ROOT / "README.md").read_text(), flags=re.DOTALL)
    assert first is not None
    assert first[1].split("\n") == ["make sandbox", "make test", ""]


def test_no_lock_names_a_package_index_and_each_requirement_has_a_hash() -> None:
    for lock in sorted(ROOT.glob("requirements*.txt")):
        text = lock.read_text()
        assert "://" not in text
        assert "--index" not in text
        pinned = re.findall(r"^[a-z0-9._-]+(?:\[[^]]*\])?==\S+(?: ; [^\\]+)? \\$", text, flags=re.MULTILINE)
        names = re.findall(r"^[a-z0-9][^ #]*", text, flags=re.MULTILINE)
        assert len(pinned) == len(names) > 0
        assert len(re.findall(r"--hash=sha256:[0-9a-f]{64}", text)) >= len(pinned)

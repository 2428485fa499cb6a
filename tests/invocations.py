"""The `invoke` command lines in scripts and documents, so that each can be held against the tasks that there are."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

_GIVEN = re.compile(r"\$\{\w+:\+([^{}]*)\}")
"""``${NAME:+--flag "$NAME"}``: what stands there when the variable is set."""
_VARIABLE = re.compile(r"\$(?:\w+|\{\w+\})")
_COLLECTED = re.compile(r"\+=\(([^()]*)\)|set -- \"\$@\" ([^;\n]*)")
"""Flags that a loop collects, for ``"${NAME[@]}"`` or ``"$@"``."""
_SPREAD = re.compile(r'"\$(?:\{\w+\[@\]\}|@)"')


def in_script(text: str) -> Iterator[list[str]]:
    """Yield the words after ``invoke`` of each call in a shell script, with every variable set to 1."""
    collected = " ".join(found[1] or found[2] for found in _COLLECTED.finditer(text))
    text = re.sub(r"\\\n\s*", " ", text)
    for line in text.splitlines():
        if "invoke" not in line or line.lstrip().startswith("#"):
            continue
        line = _SPREAD.sub(collected, line)
        line = _VARIABLE.sub("1", _GIVEN.sub(r"\1", line))
        words = shlex.shlex(line, posix=True, punctuation_chars="();<>|&`")
        words.whitespace_split = True
        call: list[str] | None = None
        for word in words:
            if word == "invoke" or word.endswith("/invoke"):
                call = []
            elif call is not None and set(word) <= set("();<>|&`"):
                yield call
                call = None
            elif call is not None:
                call.append(word)
        if call is not None:
            yield call


def in_page(page: Path) -> Iterator[list[str]]:
    """Yield the calls in a document: in blocks for the console, and in backquotes within a sentence."""
    text = page.read_text(encoding="utf-8")
    for block in re.findall(r"^ *```console\n(.*?)^ *```", text, flags=re.DOTALL | re.MULTILINE):
        yield from in_script(block)
    prose = re.sub(r"^ *```.*?^ *```", "", text, flags=re.DOTALL | re.MULTILINE)
    for code in re.findall(r"`([^`]+)`", prose):
        words = code.split()
        if words[:1] == ["invoke"] and len(words) > 1:
            yield [word for word in words[1:] if word != "..."]


def scripts(file: Path) -> Iterator[str]:
    """Yield the shell scripts of a workflow or of a GitLab pipeline."""
    document = yaml.safe_load(file.read_text(encoding="utf-8"))
    if "jobs" in document:
        yield from (step["run"] for step in steps(document) if "run" in step)
        return
    for job in document.values():
        for name in ("before_script", "script", "after_script"):
            if name in job:
                yield "\n".join(job[name])


def steps(workflow: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the steps of all jobs of a workflow."""
    for job in workflow["jobs"].values():
        yield from job["steps"]

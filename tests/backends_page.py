"""Writes the generated parts of docs/backends.md from the backends themselves: `python -m tests.backends_page` renews them."""

from __future__ import annotations

import re
from pathlib import Path

from ci_user import backends
from ci_user.backends import overview
from ci_user.backends.overview import Setting

FILE = Path(__file__).resolve().parent.parent / "docs" / "backends.md"

_SHARED = ("url", "token.", "ca_file", "names.")
"""Settings that every backend over HTTP has: told once."""


def page(text: str) -> str:
    """Return the page with its generated parts as they must be."""
    for name, content in {"table": table(), "shared": shared(), "backends": sections()}.items():
        begin, end = f"<!-- {name}: generated -->\n", f"<!-- {name}: end -->"
        before, found, rest = text.partition(begin)
        assert found, f"docs/backends.md has no {begin!r}"
        text = f"{before}{begin}\n{content}\n{end}{rest.partition(end)[2]}"
    return text


def table() -> str:
    """Return one row for each backend."""
    rows = [
        "| backend | stage | at once | protected | a pipeline reads | which key is there is known by | tested against |",
        "|---|---|---|---|---|---|---|",
    ]
    for name in backends.builtin():
        about, model = backends.about(name), backends.settings_model(name)
        link = f"[`{name}`](#{_anchor(about.title)})"
        rows.append(
            f"| {link} | {_yes(model.readable)} | {_yes(about.atomic)} | {_yes(model.allowed_in_protected)} | {about.consumers}"
            f" | {about.tells} | {about.tested} |"
        )
    return "\n".join(rows) + "\n"


def shared() -> str:
    """Return the settings that the backends over HTTP have in common, as circleci has them."""
    found = overview.settings(backends.settings_model("circleci"))
    return _settings([setting for setting in found if setting.key.startswith(_SHARED[1:])])


def sections() -> str:
    """Return a section for each backend: how to use it, and what can be set."""
    parts = []
    for name in backends.builtin():
        about, model = backends.about(name), backends.settings_model(name)
        hosted = "url" in model.model_fields
        own = [s for s in overview.settings(model) if not (hosted and s.key.startswith(_SHARED[1:]))]
        extra = (
            f"\nIts library is the optional extra `{about.extra}`; `make sandbox` installs it.\n" if about.extra else ""
        )
        common = "\nAnd what [every backend over HTTP](#tokens-and-names) has.\n" if hosted else ""
        parts.append(f"## {about.title}\n\n{about.how_to.strip()}\n{extra}\n{_settings(own)}{common}")
    return "\n".join(parts)


def _settings(found: list[Setting]) -> str:
    rows = ["| setting | default | meaning |", "|---|---|---|"]
    rows += [f"| `{s.key}` | {_code(s.default)} | {s.meaning} |" for s in found]
    return "\n".join(rows) + "\n"


def _code(default: str) -> str:
    return default if default in ("", "must be given") else f"`{default}`"


def _yes(value: bool) -> str:
    return "yes" if value else "no"


def _anchor(title: str) -> str:
    """Return the anchor that GitHub makes of a heading."""
    return re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")


if __name__ == "__main__":
    FILE.write_text(page(FILE.read_text(encoding="utf-8")), encoding="utf-8")

"""Writes the generated parts of docs/nightly.md from the code: `python -m tests.nightly_page` renews them."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path

from ci_user.nightly import codes
from ci_user.nightly.record_location import bucket_policy, parse_location

FILE = Path(__file__).resolve().parent.parent / "docs" / "nightly.md"
LOCATION = parse_location("s3://acme-ci-user-nightly/records")
ROLE = "arn:aws:iam::111111111111:role/ci-user-nightly"


def page(text: str) -> str:
    """Return the page with its generated parts as they must be."""
    for name, content, indent in (("codes", table(), ""), ("bucket-policy", policy(), "   ")):
        begin, end = f"{indent}<!-- {name}: generated -->\n", f"{indent}<!-- {name}: end -->"
        before, found, rest = text.partition(begin)
        assert found, f"docs/nightly.md has no {begin!r}"
        text = f"{before}{begin}\n{textwrap.indent(content, indent)}\n{end}{rest.partition(end)[2]}"
    return text


def every_code() -> list[codes.Code]:
    """Return all kinds of things that can be found, by their ids."""
    return sorted((one for one in vars(codes).values() if isinstance(one, codes.Code)), key=lambda one: one.id)


def table() -> str:
    """Return one row for each kind of thing that can be found."""
    rows = ["| id | kind | what should be true | runbook |", "|---|---|---|---|"]
    for one in every_code():
        rows.append(f"| `{one.id}` | {one.gravity} | {one.title} | [{one.runbook}](runbooks.md#{one.runbook}) |")
    return "\n".join(rows) + "\n"


def policy() -> str:
    """Return the policy of the records' bucket as a block."""
    return f"```json\n{json.dumps(bucket_policy(LOCATION, ROLE), indent=2)}\n```\n"


if __name__ == "__main__":
    FILE.write_text(page(FILE.read_text(encoding="utf-8")), encoding="utf-8")

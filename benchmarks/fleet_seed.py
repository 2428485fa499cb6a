"""Checks environments with a stand-in for Terraform, which finds each of them as its record says: `fleet.py` runs this.

A process of its own, since a record is of the code that made it: that of the project's copy.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ci_user.nightly import check, night, output
from ci_user.nightly.batches import Silent
from ci_user.nightly.records import Record
from ci_user.nightly.selection import Fleet

if TYPE_CHECKING:
    from ci_user.run import Run


def main(root: Path, plans: Path) -> None:
    """Check the environments of a file, and leave the result as `--out` does.

    Args:
        root: The project.
        plans: A JSON object: by environment, a record of what a plan would find.
    """
    texts: dict[str, str] = json.loads(plans.read_text())

    def plan(run: Run, *_: object) -> check.Judged:
        return check.before(Record.model_validate_json(texts[run.environment.name]))

    setattr(check, "_plan", plan)  # noqa: B010 - its arguments are nobody's business here
    found = night.run(Fleet.load(root), sorted(texts), night.NightOptions(), Silent())
    wrong = [one for one in found.result.environments if one.exit_code != 0 or one.way != "planned"]
    if wrong or len(found.records) != len(texts):
        sys.exit(f"{len(wrong)} of {len(texts)} are not clean: {[one.model_dump_json() for one in wrong[:1]]}")
    output.write_all(output.ready(root / "out"), found.result, found.records)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))

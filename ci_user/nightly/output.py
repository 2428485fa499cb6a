"""The files of a run, side by side in one directory: the same result in each of the forms that somebody reads."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ci_user.errors import UsageError
from ci_user.files import cannot_write, write_private
from ci_user.nightly import merging, records

if TYPE_CHECKING:
    from ci_user.nightly.history import Night
    from ci_user.nightly.model import NightResult
    from ci_user.nightly.records import Record


def ready(directory: Path) -> Path:
    """Make the directory that results go to, before anything is checked for them.

    Raises:
        UsageError: It is no directory, or cannot be written.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise cannot_write(directory, error) from None
    if not os.access(directory, os.W_OK):
        raise UsageError(f"{directory} cannot be written", where="--out", expected="a directory of your own")
    return directory


def write_all(directory: Path, result: NightResult, kept: Iterable[Record], nights: Sequence[Night] = ()) -> None:
    """Write every form of a result, readable by its owner only: ``results.json`` is what the other commands read.

    Raises:
        UsageError: The directory cannot be written.
    """
    from ci_user.nightly.render import html, junit, sarif
    from ci_user.nightly.render.github import summary

    merging.write_result(directory, result)
    write_private(directory / records.FILE, records.Records.of(kept).render())
    for name, text in (
        ("junit.xml", junit.text(result)),
        ("results.sarif", sarif.text(result)),
        ("summary.md", summary(result)),
        ("report.html", html.page(result, nights)),
    ):
        write_private(directory / name, text.encode())


def records_of(places: Iterable[Path]) -> list[Record]:
    """Return the records that several runs wrote; a run whose records cannot be used has its environments planned again."""
    found: list[Record] = []
    for place in places:
        try:
            found += records.load(place / records.FILE).environments.values()
        except UsageError:
            continue
    return found

"""Files are private from the first byte and never half written."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from ci_user.errors import UsageError
from ci_user.files import digest_of_file, digest_of_files, private_directory, write_private


def test_a_written_file_is_readable_by_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "new" / "file"
    write_private(path, b"content")
    assert path.read_bytes() == b"content"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [entry.name for entry in path.parent.iterdir()] == ["file"]


@pytest.mark.parametrize("failing", ["fsync", "replace"])
def test_a_failing_write_keeps_the_old_content_and_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, failing, full)
    with pytest.raises(UsageError, match="No space left on device") as raised:
        write_private(path, b"new")
    assert raised.value.runbook == "disk"
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


def test_a_directory_that_cannot_be_made_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot write"):
        private_directory(tmp_path / "file" / "below")


def test_a_digest_tells_content_names_and_absence_apart(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    one.write_text("a")
    other.write_text("b")
    both = digest_of_files(tmp_path, [one, other])
    assert both == digest_of_files(tmp_path, [one, other])
    other.write_text("c")
    changed = digest_of_files(tmp_path, [one, other])
    other.unlink()
    assert len({both, changed, digest_of_files(tmp_path, [one, other]), digest_of_files(tmp_path, [one])}) == 4
    assert digest_of_file(one) == "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb"

"""The note beside an age file, ``PATH.ci-user.json``: whose the file is, and for each content that it may have whom it is for.

It is written twice: before the file, with the content that is there and the one to come, and after it. So each moment at which a
run may die is told apart by the file's SHA-256, and a content that the note does not name is somebody else's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from pydantic import Field, Strict

from ci_user.backends.refusals import KEY_ID
from ci_user.environment_fields import Model


class Content(Model):
    """What the file may hold.

    Args:
        sha256: Of the encrypted file, in hexadecimal.
        key: The key id.
        recipients: The digest of the recipients.
        names: What the key's parts are called.
        format: How they are written.
    """

    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    key: Annotated[str, Field(pattern=f"^{KEY_ID}$")]
    recipients: str
    names: Annotated[tuple[str, ...], Strict(False)]
    format: str


class Note(Model):
    """The note: the owner, which is the environment's prefix, and the contents, the older one first."""

    environment: str
    contents: Annotated[tuple[Content, ...], Strict(False), Field(min_length=1, max_length=2)]


@dataclass(frozen=True, slots=True)
class Look:
    """What is there: the note and the file's SHA-256, each None when there is none."""

    note: Note | None
    sha256: str | None

    @property
    def content(self) -> Content | None:
        """Which of the note's contents the file has; None when it has none of them, or there is no file."""
        contents = self.note.contents if self.note else ()
        return next((one for one in contents if one.sha256 == self.sha256), None)

    @property
    def changed(self) -> bool:
        """Whether the file holds what the tool did not write."""
        return self.note is not None and self.sha256 is not None and self.content is None

"""A Secret as its metadata tells it: whose it is, which key is in it, and who wrote its data. The data itself is never asked for.

Who wrote a key of the data is in ``managedFields``: a write that changes a value moves it to the writer's entry, whatever tool it
was (https://kubernetes.io/docs/reference/using-api/server-side-apply/#field-management).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

from ci_user.backends.refusals import KEY_ID

MANAGER: Final = "ci-user"
"""The name that the tool writes under."""
OWNER: Final = "ci-user/environment"
KEY: Final = "ci-user/key-id"
NAMES: Final = "ci-user/names"
LABELS: Final = {"app.kubernetes.io/managed-by": MANAGER}
_DATA_KEY: Final = r"[-._A-Za-z0-9]{1,253}"


@dataclass(frozen=True, slots=True)
class SecretLook:
    """What the metadata of a Secret tells.

    Args:
        version: Its ``resourceVersion``, which every write changes.
        uid: Its ``uid``; one that is made anew under the same name has another.
        owner: The environment's prefix in the tool's annotation, None when there is none.
        key_id: The key id in the tool's annotation.
        names: The keys of the data that the tool's annotation names.
        written: The keys of the data whose last writer is the tool.
        keys: All keys of the data.
        tracked: Whether the cluster tells who wrote what.
        ending: Whether it is being deleted, and there only until its finalizers are done.
    """

    version: str
    uid: str
    owner: str | None
    key_id: str | None
    names: tuple[str, ...]
    written: frozenset[str]
    keys: frozenset[str]
    tracked: bool
    ending: bool

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Self | None:
        """Return what an answer tells; None when it is no object's metadata, or holds more than that."""
        found = document.get("metadata")
        if document.get("kind") != "PartialObjectMetadata" or not isinstance(found, dict):
            return None
        version, uid = found.get("resourceVersion"), found.get("uid")
        if not (isinstance(version, str) and version and isinstance(uid, str) and uid):
            return None
        notes = {name: text for name, text in _mapping(found.get("annotations")).items() if isinstance(text, str)}
        names = tuple(notes.get(NAMES, "").split(","))
        key_id = notes.get(KEY, "")
        entries = [entry for entry in found.get("managedFields") or () if isinstance(entry, dict)]
        return cls(
            version,
            uid,
            notes.get(OWNER),
            key_id if re.fullmatch(KEY_ID, key_id) else None,
            names if all(re.fullmatch(_DATA_KEY, name) for name in names) else (),
            frozenset(name for entry in entries if entry.get("manager") == MANAGER for name in _data(entry)),
            frozenset(name for entry in entries for name in _data(entry)),
            bool(entries),
            bool(found.get("deletionTimestamp")),
        )

    @property
    def changed(self) -> tuple[str, ...]:
        """The tool's keys that somebody else has written since."""
        return tuple(name for name in self.names if name in self.keys and name not in self.written)

    def holds(self, names: tuple[str, ...]) -> bool:
        """Return whether a whole key is there under these names, as the tool wrote it."""
        return (
            not self.ending
            and self.key_id is not None
            and set(self.names) == set(names)
            and self.written.issuperset(names)
        )


def notes_of(owner: str | None, key_id: str | None, names: tuple[str, ...]) -> dict[str, str | None]:
    """Return the tool's annotations; without an owner, what takes them off."""
    return {OWNER: owner, KEY: key_id, NAMES: ",".join(names) if owner else None}


def _data(entry: Mapping[str, Any]) -> Iterator[str]:
    # https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/object-meta/ (FieldsV1)
    for field in _mapping(_mapping(entry.get("fieldsV1")).get("f:data")):
        if field.startswith("f:"):
            yield field.removeprefix("f:")


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}

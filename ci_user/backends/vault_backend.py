"""A key in a KV version 2 engine: the document at a path, and a copy at ``PATH.pending`` while it is staged.

Versions count upwards and each write names the one that it follows, so a write is never lost on somebody else's. Beside the
versions a path has custom metadata, which can be read without reading a secret. They are written before the data and name the
version that the data are going to be:

``ci-user:environment``  whose path it is
``ci-user:key``          key id, version, and the names in the document
``ci-user:key-before``   the same for the version before, which is what is there until the data are written
``ci-user:after``        the pending copy only: the version of the path itself when the key was staged

A current version that neither line names was written by somebody else.
https://developer.hashicorp.com/vault/api-docs/secret/kv/kv-v2#create-update-secret
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from ci_user.backends.protocol import OWNER_TAG, EnvironmentNames, Held
from ci_user.backends.refusals import (
    KEY_ID,
    NoAnswerError,
    another_pending,
    changed_by_others,
    check_key_id,
    not_held,
    not_ours,
    not_supported,
)
from ci_user.backends.slots import alone
from ci_user.backends.vault_client import WAITS
from ci_user.backends.vault_kv import Entry, Kv
from ci_user.backends.vault_rights import rights_in_order, token_in_order
from ci_user.errors import BackendError
from ci_user.secret import AccessKey, Secret
from ci_user.text import plain

if TYPE_CHECKING:
    from ci_user.backends.vault import Settings

PENDING: Final = ".pending"
_KEY: Final = "ci-user:key"
_BEFORE: Final = "ci-user:key-before"
_AFTER: Final = "ci-user:after"
_OURS: Final = frozenset({OWNER_TAG, _KEY, _BEFORE, _AFTER})


@dataclass(frozen=True, slots=True)
class _Record:
    """Which key one version is, and how its parts are called in the document."""

    key_id: str
    version: int
    names: tuple[str, ...]

    def text(self) -> str:
        return f"{self.key_id} {self.version} {','.join(self.names)}"

    @classmethod
    def parse(cls, text: str) -> _Record | None:
        match = re.fullmatch(rf"({KEY_ID}) ([1-9][0-9]{{0,8}}) ([A-Za-z0-9_]+(?:,[A-Za-z0-9_]+){{1,2}})", text)
        return cls(match[1], int(match[2]), tuple(match[3].split(","))) if match else None


@dataclass(frozen=True, slots=True)
class _Copy:
    """A path that exists, as its metadata tell it."""

    entry: Entry
    ours: bool
    record: _Record | None
    """Of the current version; None when there is none, or it is somebody else's."""

    @property
    def changed(self) -> bool:
        return self.record is None and self.entry.version > 0

    @property
    def whole(self) -> _Record | None:
        """The record, if its version can be read and is the tool's."""
        return self.record if self.ours and self.entry.readable else None


class VaultBackend:
    """A path of a KV version 2 engine as a readable backend.

    Args:
        name: The backend's name.
        settings: The path.
        kv: Gives the engine; called when it is first needed, so that nothing is contacted and no token looked for before.
        environment: The environment that the key is for.
        pause: Sleeps between two tries.
    """

    readable: bool = True

    def __init__(
        self,
        name: str,
        settings: Settings,
        kv: Callable[[], Kv],
        environment: EnvironmentNames,
        pause: Callable[[float], None],
    ) -> None:
        self.name = name
        self.target: str = settings.target(environment)
        self._settings = settings
        self._main = settings.path
        self._pending = settings.path + PENDING
        self._environment = environment
        self._open = kv
        self._opened: Kv | None = None
        self._pause = pause

    @property
    def _kv(self) -> Kv:
        if self._opened is None:
            self._opened = self._open()
        return self._opened

    def preflight(self) -> tuple[str, ...]:
        """Check the token and its rights, the mount, and whose the path is; changes nothing, reads no secret."""
        token = token_in_order(self._kv, self._settings, self.target)
        self._kv.check_mount()
        rights = rights_in_order(self._kv, self._settings, self.target, (self._main, self._pending))
        main, _ = self._checked()
        whose = "the path is this environment's" if main else "the path does not exist yet"
        found = [token, f"{self._settings.what()} is a KV engine of version 2", rights, whose]
        if main is not None and main.entry.expires:
            found.append(f"Vault deletes the current version at {plain(main.entry.expires)} (delete_version_after)")
        return tuple(found)

    def held(self) -> Held:
        """Return the key ids in the metadata of what is this environment's and was changed by nobody else."""
        main, pending = self._look(self._main), self._look(self._pending)
        current, staged = main.whole if main else None, pending.whole if pending else None
        if current is not None and current.names != self._names:
            current = None
        parts = ((main, current), (pending, staged))
        torn = any(copy.ours and not copy.changed for copy, whole in parts if copy is not None and whole is None)
        return Held(current.key_id if current else None, staged.key_id if staged else None, torn)

    def stage(self, key: AccessKey) -> None:
        """Write the key to ``PATH.pending``."""
        check_key_id(key.id)
        with alone(self.target):
            main, pending = self._checked()
            if self._is_current(main, key.id):
                return
            if pending is not None and pending.whole is not None:
                if pending.whole.key_id == key.id:
                    return
                raise another_pending(self.target, pending.whole.key_id)
            self._put(self._pending, key, pending, {_AFTER: str(main.entry.version if main else 0)})

    def read_staged(self, key_id: str) -> AccessKey | None:
        """Return the key from ``PATH.pending`` or ``PATH``, whichever has this id."""
        for path in (self._pending, self._main):
            copy = self._look(path)
            if copy is not None and copy.whole is not None and copy.whole.key_id == key_id:
                return self._read(path, copy.whole)
        return None

    def promote(self, key_id: str) -> None:
        """Write the pending key to the path, destroy the versions before it, and delete the pending copy."""
        with alone(self.target):
            main, pending = self._checked()
            staged = pending.whole if pending and pending.whole and pending.whole.key_id == key_id else None
            if main is None or not self._is_current(main, key_id):
                if pending is None or staged is None:
                    raise not_held(self.target, key_id)
                version = main.entry.version if main else 0
                # A path that is gone holds nothing of others that could be lost.
                if version and pending.entry.custom.get(_AFTER) != str(version) and not self._has(main, key_id):
                    raise self._changed(self._main)
                key = self._read(self._pending, staged)
                if key is None:
                    raise not_held(self.target, key_id)
                self._put(self._main, key, main, {})
            elif staged is not None and main.whole is not None:
                # Interrupted: before the copy goes, the key itself is looked at. Metadata can name what was never written.
                if self._read(self._main, main.whole) is None:
                    raise self._changed(self._main)
                version = main.entry.version - 1
            else:
                return
            kept = main.entry.kept if main else ()
            self._kv.destroy(self._main, [number for number in kept if number <= version])
            self._kv.delete(self._pending)

    def discard_staged(self, key_id: str) -> None:
        """Delete ``PATH.pending`` if it holds this key."""
        with alone(self.target):
            pending = self._look(self._pending)
            if pending is not None and pending.whole is not None and pending.whole.key_id == key_id:
                self._kv.delete(self._pending)

    def deliver(self, key: AccessKey) -> None:
        """Not for this kind of backend: stage and promote instead."""
        del key
        raise not_supported(self.name, "deliver")

    def remove(self) -> bool:
        """Delete both paths where they are ours, with all versions; there is no way back."""
        with alone(self.target):
            found = {path: copy for path in (self._pending, self._main) if (copy := self._look(path)) and copy.ours}
            for path, copy in found.items():
                if copy.changed:
                    raise self._changed(path)
            for path in found:
                self._kv.delete(path)
        return bool(found)

    @property
    def _names(self) -> tuple[str, ...]:
        return self._settings.names.all

    def _has(self, main: _Copy | None, key_id: str) -> bool:
        """Return whether the path holds the key, under whatever names: a promotion was interrupted, then the names changed."""
        return main is not None and main.whole is not None and main.whole.key_id == key_id

    def _is_current(self, main: _Copy | None, key_id: str) -> bool:
        record = main.whole if main else None
        return record is not None and (record.key_id, record.names) == (key_id, self._names)

    def _look(self, path: str) -> _Copy | None:
        entry = self._kv.entry(path)
        if entry is None:
            return None
        records = [_Record.parse(entry.custom.get(key, "")) for key in (_KEY, _BEFORE)]
        current = [record for record in records if record is not None and record.version == entry.version]
        ours = entry.custom.get(OWNER_TAG) == self._environment.prefix
        return _Copy(entry, ours, current[0] if current else None)

    def _checked(self) -> tuple[_Copy | None, _Copy | None]:
        """Return both copies, which are ours or nothing, and nobody else's change."""
        self._kv.check_mount()
        found = {path: self._look(path) for path in (self._main, self._pending)}
        for path, copy in found.items():
            if copy is not None and not copy.ours:
                raise not_ours(self.target, f"the path {path}")
            if copy is not None and copy.changed:
                raise self._changed(path)
        return found[self._main], found[self._pending]

    def _changed(self, path: str) -> BackendError:
        # For a person to paste: what is in an environment file must not become a command of its own.
        command = shlex.join(["vault", "kv", "metadata", "delete", f"-mount={self._settings.mount}", path])
        return changed_by_others(
            self.target, f"the path {path}", f"if nobody needs what is there: {command}; then run it again"
        )

    def _read(self, path: str, record: _Record) -> AccessKey | None:
        """Return the key in a version, None when it was deleted meanwhile; what is another key was changed by somebody."""
        values = self._kv.read(path, record.version)
        if not values:
            return None
        key = _key(values, record)
        if key is None:
            raise self._changed(path)
        return key

    def _put(self, path: str, key: AccessKey, before: _Copy | None, more: Mapping[str, str]) -> None:
        """Write metadata and data of the next version.

        An answer that is lost leaves open whether the version was written. So the metadata are looked at: when the version is
        there it is compared, when it is not the same write is tried again, which cannot take effect twice.
        """
        version = before.entry.version if before else 0
        others = {name: text for name, text in before.entry.custom.items() if name not in _OURS} if before else {}
        record = _Record(key.id, version + 1, self._names)
        custom = {**others, OWNER_TAG: self._environment.prefix, _KEY: record.text(), **more}
        if before is not None and before.record is not None:
            custom[_BEFORE] = before.record.text()
        delete_after = before.entry.delete_after if before else "0s"
        self._kv.describe(path, custom, delete_after)
        values = self._settings.names.values(key, self._environment.region)
        for wait in (*WAITS, None):
            failure = self._failure(path, values, version)
            if failure is None:
                return
            now = self._kv.entry(path)
            if now is not None and now.version == version + 1 and _key(self._kv.read(path, version + 1), record) == key:
                return
            if now is None or now.version != version:
                if now is not None and now.custom.get(_KEY) == record.text():
                    # Else the metadata would call somebody else's version this key.
                    self._kv.describe(path, before.entry.custom if before else {}, delete_after)
                raise self._changed(path)
            if wait is None or not _may_pass(failure):
                raise failure
            self._pause(wait)

    def _failure(self, path: str, values: tuple[tuple[str, Secret], ...], version: int) -> BackendError | None:
        try:
            self._kv.write(path, values, cas=version)
        except BackendError as error:
            return error
        return None


def _key(values: Mapping[str, Secret], record: _Record) -> AccessKey | None:
    """Return the key in a document, None when it is another one or none."""
    key_id, secret = (values.get(name) for name in record.names[:2])
    if key_id is None or secret is None or key_id != Secret(record.key_id):
        return None
    return AccessKey(record.key_id, secret)


def _may_pass(failure: BackendError) -> bool:
    """Whether the same write may go well a moment later."""
    return isinstance(failure, NoAnswerError) or failure.details.get("status", 0) >= 500

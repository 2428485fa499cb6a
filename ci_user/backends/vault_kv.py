"""The KV version 2 engine of a Vault or OpenBao server: the few calls that are used.

https://developer.hashicorp.com/vault/api-docs/secret/kv/kv-v2
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from ci_user.backends.vault_client import VaultClient
from ci_user.errors import BackendError
from ci_user.secret import Secret
from ci_user.text import plain

if TYPE_CHECKING:
    from ci_user.backends.protocol import OpenContext
    from ci_user.backends.vault import Settings


@dataclass(frozen=True, slots=True)
class Entry:
    """What the metadata of one path tell; no secret is among it.

    Args:
        version: The current version; 0 when nothing was ever written.
        readable: Whether the current version is there, neither deleted nor destroyed.
        expires: When Vault deletes the current version by itself, in its own words; empty for never.
        kept: All versions that are not destroyed.
        custom: The custom metadata.
        delete_after: The path's own ``delete_version_after``.
    """

    version: int
    readable: bool
    expires: str
    kept: tuple[int, ...]
    custom: Mapping[str, str]
    delete_after: str = "0s"


class Kv:
    """One mount of one server; logs in when it is first needed. Every method raises ``BackendError`` when it fails.

    Args:
        settings: Where it is, and how to log in.
        context: Where the token comes from, and how to pause.
    """

    def __init__(self, settings: Settings, context: OpenContext) -> None:
        self._settings = settings
        self._client = VaultClient(settings, context)
        self._remote = self._client.remote
        self._mounted = False

    def lookup(self) -> Mapping[str, Any]:
        """Return what the server tells of the token that is used."""
        return self._client.call("looking up the token", lambda client: client.auth.token.lookup_self()).member

    def check_mount(self) -> None:
        """See, once, that the mount exists and is of version 2: in version 1 the same calls would write plain secrets.

        https://developer.hashicorp.com/vault/api-docs/system/internal-ui-mounts
        """
        if self._mounted:
            return
        mount = self._settings.mount
        doing = f"looking for the mount {mount}"
        url = f"/v1/sys/internal/ui/mounts/{quote(mount)}"
        found = self._client.call(doing, lambda client: client.adapter.get(url), expecting=(403,))
        options = found.member.get("options")
        version = options.get("version") if isinstance(options, dict) else None
        if found.status == 403 or str(found.member.get("path", "")).strip("/") != mount:
            what = f"{doing}: Vault answered 403" if found.status == 403 else f"{doing}: there is none of this name"
            raise self._unfit(what, f"the token in {self._remote.credential} needs {self._settings.scopes}")
        if found.member.get("type") != "kv" or version != "2":
            raise self._unfit(f"the mount {mount} is {plain(found.member.get('type'))}, version {plain(version)}", "")
        self._mounted = True

    def capabilities(self, paths: Iterable[str]) -> Mapping[str, frozenset[str]] | None:
        """Return what the token may do with each path (below ``/v1/``); None when it may not ask.

        https://developer.hashicorp.com/vault/api-docs/system/capabilities-self
        """
        asked = list(paths)
        found = self._client.call(
            "asking for the token's rights",
            lambda client: client.sys.get_capabilities(paths=asked),
            expecting=(403,),
            again=True,
        )
        if found.status == 403:
            return None
        return {path: frozenset(map(str, found.member.get(path) or ())) for path in asked}

    def entry(self, path: str) -> Entry | None:
        """Return what the metadata of a path tell; None when there is nothing."""
        doing = f"reading the metadata of {path}"
        found = self._client.call(
            doing,
            lambda client: client.secrets.kv.v2.read_secret_metadata(path=path, mount_point=self._settings.mount),
            expecting=(404,),
        )
        if found.status == 404:
            if found.errors:  # "no handler for route": there is no such mount
                raise self._remote.refused(doing, 404, found.errors)
            return None
        entry = _entry(found.member, found.at or datetime.now(UTC))
        if entry is None:
            raise self._remote.not_understood(doing)
        return entry

    def describe(self, path: str, custom: Mapping[str, str], delete_after: str = "0s") -> None:
        """Write the custom metadata of a path, all of it; the path need not exist."""
        self._client.call(
            f"writing the metadata of {path}",
            lambda client: client.secrets.kv.v2.update_metadata(
                path=path,
                custom_metadata=dict(custom),
                delete_version_after=delete_after,
                mount_point=self._settings.mount,
            ),
            member="",
            again=True,
        )

    def read(self, path: str, version: int) -> Mapping[str, Secret]:
        """Return the members of one version that are strings; none when it is deleted or destroyed."""
        found = self._client.call(
            f"reading {path}",
            lambda client: client.secrets.kv.v2.read_secret_version(
                path=path, version=version, mount_point=self._settings.mount, raise_on_deleted_version=False
            ),
            expecting=(404,),
            secret=True,
        )
        return _members(found.member.get("data") if found.status == 200 else None)

    def write(self, path: str, values: Iterable[tuple[str, Secret]], cas: int) -> None:
        """Write the version after ``cas``, if ``cas`` is still the current one; else Vault answers 400."""
        named = tuple(values)
        self._client.call(
            f"writing {path}",
            lambda client: client.secrets.kv.v2.create_or_update_secret(
                path=path,
                secret={name: value.reveal() for name, value in named},
                cas=cas,
                mount_point=self._settings.mount,
            ),
            secret=True,
        )

    def destroy(self, path: str, versions: Iterable[int]) -> None:
        """Destroy the data of versions, for good; it happens once or twice all the same."""
        numbers = list(versions)
        if numbers:
            self._client.call(
                f"destroying old versions of {path}",
                lambda client: client.secrets.kv.v2.destroy_secret_versions(
                    path=path, versions=numbers, mount_point=self._settings.mount
                ),
                member="",
                again=True,
            )

    def delete(self, path: str) -> None:
        """Delete a path with all its versions and metadata, for good; one that is gone already is no failure."""
        self._client.call(
            f"deleting {path}",
            lambda client: client.secrets.kv.v2.delete_metadata_and_all_versions(
                path=path, mount_point=self._settings.mount
            ),
            member="",
        )

    def _unfit(self, what: str, more: str) -> BackendError:
        return BackendError(
            what,
            where=self._remote.target,
            expected=f"{self._settings.what()} exists, and is a KV engine of version 2",
            do="correct `mount` in the environment file, or enable it: vault secrets enable -path=MOUNT kv-v2"
            + (f"; {more}" if more else ""),
            runbook="backend",
        )


def _entry(found: Mapping[str, Any], now: datetime) -> Entry | None:
    """Return the entry that the metadata stand for; None when they are of another shape than the documented one.

    Args:
        found: The metadata.
        now: The server's time, in whole seconds: by a clock that is slow a deleted version would still be there.
    """
    version, versions, custom = found.get("current_version"), found.get("versions"), found.get("custom_metadata") or {}
    if not isinstance(version, int) or not isinstance(versions, dict) or not isinstance(custom, dict):
        return None
    if not all(str(number).isdecimal() and isinstance(each, dict) for number, each in versions.items()):
        return None
    current = versions.get(str(version), {})
    expires = str(current.get("deletion_time") or "")
    try:
        deleted = bool(expires) and datetime.fromisoformat(expires) <= now + timedelta(seconds=1)
    except (ValueError, TypeError):
        return None
    return Entry(
        version=version,
        readable=bool(current) and not deleted and current.get("destroyed") is not True,
        expires=expires,
        kept=tuple(sorted(int(number) for number, each in versions.items() if each.get("destroyed") is not True)),
        custom={str(name): str(value) for name, value in custom.items()},
        delete_after=str(found.get("delete_version_after") or "0s"),
    )


def _members(found: object) -> dict[str, Secret]:
    if not isinstance(found, dict):
        return {}
    return {str(name): Secret(value) for name, value in found.items() if isinstance(value, str) and value}

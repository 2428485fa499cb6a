"""Vault's double: KV version 2 engines, tokens and two ways of logging in.

It behaves as https://github.com/hashicorp/vault-plugin-secrets-kv does (path_data.go, path_metadata.go): the existence of a
path's metadata tells an update from a creation, the greater of the mount's and the path's ``max_versions`` counts.
"""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar

from tests.contract.place import TOKEN, Place
from tests.vendors.server import Call, Reply, VendorServer

_START = datetime(2026, 1, 1, tzinfo=UTC)
ROLE_ID = "59d6d1ca-47bb-4e7e-a40b-8be3bc5a0ba8"


@dataclass
class Version:
    data: dict[str, Any] | None
    created: str
    deleted: str = ""
    destroyed: bool = False

    @property
    def gone(self) -> bool:
        return self.destroyed or (bool(self.deleted) and datetime.fromisoformat(self.deleted) <= datetime.now(UTC))


@dataclass
class Secret:
    created: str
    current: int = 0
    versions: dict[int, Version] = field(default_factory=dict)
    custom: dict[str, str] = field(default_factory=dict)
    max_versions: int = 0
    delete_after: str = "0s"


def least(path: str) -> set[str]:
    """The policy of the how-to, for any mount and path."""
    if "/metadata/" in path:
        return {"create", "read", "update", "delete"}
    if "/data/" in path:
        return {"read", "update"}
    return {"update"} if "/destroy/" in path and not path.endswith(".pending") else set()


class Vault(VendorServer):
    """Mounts by namespace and name, secrets by namespace, mount and path."""

    vendor: ClassVar[str] = "vault"

    def __init__(self) -> None:
        super().__init__()
        self.mounts: dict[tuple[str, str], dict[str, Any]] = {}
        self.secrets: dict[tuple[str, str, str], Secret] = {}
        self.tokens: dict[str, dict[str, Any]] = {}
        self.policies: dict[str, Callable[[str], set[str]]] = {}
        self.logins: list[Mapping[str, Any]] = []
        self._ticks = itertools.count(1)
        self.mount("secret")
        self.allow(TOKEN)

    def mount(self, name: str, namespace: str = "", kind: str = "kv", version: str = "2", max_versions: int = 0) -> str:
        self.mounts[namespace, name] = {"type": kind, "version": version, "max_versions": max_versions}
        return name

    def allow(self, token: str, policy: Callable[[str], set[str]] = least, **more: Any) -> str:
        self.tokens[token] = {"ttl": 2764790, "num_uses": 0, "display_name": "token-ci"} | more
        self.policies[token] = policy
        return token

    def now(self) -> str:
        at = _START + timedelta(milliseconds=next(self._ticks))
        return at.isoformat(timespec="milliseconds").replace("+00:00", "123456Z")

    def put(self, key: tuple[str, str, str], data: Mapping[str, Any]) -> Version:
        """Write the next version, as anybody may who has the right."""
        found = self.secrets.setdefault(key, Secret(self.now()))
        found.current += 1
        found.versions[found.current] = Version(dict(data), self.now())
        kept = max(found.max_versions, self.mounts[key[:2]]["max_versions"]) or 10
        for number in [number for number in found.versions if number <= found.current - kept]:
            del found.versions[number]
        return found.versions[found.current]

    def read(self, key: tuple[str, str, str]) -> dict[str, Any] | None:
        """Return the current data."""
        found = self.secrets.get(key)
        version = found.versions.get(found.current) if found else None
        return None if version is None or version.gone else version.data

    def answer(self, call: Call) -> Reply:
        if call.operation == "POST /v1/auth/{mount}/login":
            return self._log_in(call)
        token = call.headers.get("x-vault-token", "")
        if call.headers.get("x-vault-request") != "true" or token not in self.tokens:
            return Reply(403, {"errors": ["permission denied"]})
        namespace = call.headers.get("x-vault-namespace", "")
        match call.operation:
            case "GET /v1/auth/token/lookup-self":
                return self._data({"id": token, "accessor": "8609694a", "policies": ["ci"], **self.tokens[token]})
            case "POST /v1/sys/capabilities-self":
                found = {path: sorted(self.policies[token](path)) or ["deny"] for path in call.body["paths"]}
                return self._data(found)
            case "GET /v1/sys/internal/ui/mounts/{path}":
                return self._mount(namespace, call.parameters["path"])
        mount, path = call.parameters["mount"], call.parameters["path"]
        if (namespace, mount) not in self.mounts:
            return Reply(404, {"errors": [f'no handler for route "{mount}/{path}". route entry not found.']})
        key = (namespace, mount, path)
        action = call.operation.split("/")[3]
        if not {"root", self._right(call, key)} & self.policies[token](f"{mount}/{action}/{path}"):
            return Reply(403, {"errors": ["1 error occurred:\n\t* permission denied\n\n"]})
        if self.mounts[namespace, mount]["version"] != "2":
            return Reply(404, {"errors": []})
        return {"data": self._on_data, "metadata": self._on_metadata, "destroy": self._on_destroy}[action](call, key)

    def _right(self, call: Call, key: tuple[str, str, str]) -> str:
        if call.method == "POST":
            return "update" if key in self.secrets or "destroy" in call.operation else "create"
        return {"GET": "read", "DELETE": "delete"}[call.method]

    def _log_in(self, call: Call) -> Reply:
        self.logins.append(call.body | {"mount": call.parameters["mount"]})
        if TOKEN not in (call.body.get("secret_id"), call.body.get("jwt")):
            return Reply(400, {"errors": [f"invalid role or secret ID: {call.body}"]})
        token = self.allow(f"hvs.{TOKEN}.{next(self._ticks)}", display_name="approle")
        auth = {"client_token": token, "accessor": "x", "policies": ["ci"], "lease_duration": 900, "renewable": True}
        return Reply(200, {"request_id": str(uuid.uuid4()), "auth": auth})

    def _mount(self, namespace: str, asked: str) -> Reply:
        for (of, name), mount in self.mounts.items():
            if of == namespace and f"{asked}/".startswith(f"{name}/"):
                options = {"version": mount["version"]} if mount["type"] == "kv" else None
                return self._data({"path": f"{name}/", "type": mount["type"], "options": options})
        words = (
            f'preflight capability check returned 403, please ensure client\'s policies grant access to path "{asked}/"'
        )
        return Reply(403, {"errors": [words]})

    def _on_data(self, call: Call, key: tuple[str, str, str]) -> Reply:
        found = self.secrets.get(key)
        if call.method == "POST":
            cas = call.body.get("options", {}).get("cas")
            if cas != (found.current if found else 0):
                return Reply(400, {"errors": ["check-and-set parameter did not match the current version"]})
            self.put(key, call.body["data"])
            return self._data(self._version(key, self.secrets[key].current))
        number = int(call.asked("version", "0")) or (found.current if found else 0)
        if found is None or number not in found.versions:
            return Reply(404, {"errors": []})
        version = found.versions[number]
        body = {"data": None if version.gone else version.data, "metadata": self._version(key, number)}
        return self._data(body, 404 if version.gone else 200)

    def _on_metadata(self, call: Call, key: tuple[str, str, str]) -> Reply:
        if call.method == "DELETE":
            self.secrets.pop(key, None)
            return Reply(204)
        if call.method == "POST":
            custom = call.body.get("custom_metadata", {})
            if len(custom) > 64 or any(not 0 < len(v) <= 512 or not 0 < len(k) <= 128 for k, v in custom.items()):
                return Reply(400, {"errors": ["custom_metadata validation failed"]})
            found = self.secrets.setdefault(key, Secret(self.now()))
            found.custom = dict(custom)
            found.delete_after = call.body.get("delete_version_after", found.delete_after)
            return Reply(204)
        if key not in self.secrets:
            return Reply(404, {"errors": []})
        found = self.secrets[key]
        versions = {
            str(number): {"created_time": v.created, "deletion_time": v.deleted, "destroyed": v.destroyed}
            for number, v in found.versions.items()
        }
        return self._data(
            {
                "cas_required": False,
                "created_time": found.created,
                "current_version": found.current,
                "custom_metadata": found.custom or None,
                "delete_version_after": found.delete_after,
                "max_versions": found.max_versions,
                "oldest_version": min(found.versions, default=0),
                "updated_time": found.created,
                "versions": versions,
            }
        )

    def _on_destroy(self, call: Call, key: tuple[str, str, str]) -> Reply:
        for number in call.body["versions"]:
            version = self.secrets[key].versions.get(number)
            if version is not None:
                version.destroyed, version.data = True, None
        return Reply(204)

    def _version(self, key: tuple[str, str, str], number: int) -> dict[str, Any]:
        version = self.secrets[key].versions[number]
        return {
            "created_time": version.created,
            "custom_metadata": self.secrets[key].custom or None,
            "deletion_time": version.deleted,
            "destroyed": version.destroyed,
            "version": number,
        }

    def _data(self, data: Mapping[str, Any], status: int = 200) -> Reply:
        document = {"request_id": str(uuid.uuid4()), "lease_id": "", "renewable": False, "lease_duration": 0}
        return Reply(status, {**document, "data": dict(data), "wrap_info": None, "warnings": None, "auth": None})


class VaultPlace(Place):
    """A path, with a token."""

    backend: ClassVar[str] = "vault"
    variable: ClassVar[str] = "VAULT_TOKEN"
    server: Vault

    def __init__(self, root: Path, server: Vault) -> None:
        super().__init__(root)
        self.server = server
        self.folder = f"ci/{uuid.uuid4().hex[:8]}"
        self.key = ("", "secret", f"{self.folder}/production")
        self.document = {"backend": self.backend, "url": server.url, "path": self.key[2]}
        self.environ = {"VAULT_TOKEN": TOKEN, "VAULT_ADDR": server.url}

    @classmethod
    @contextmanager
    def serve(cls) -> Iterator[Vault]:
        with Vault() as server:
            yield server

    @classmethod
    def at(cls, server: Any, root: Path) -> VaultPlace:
        return cls(root, server)

    def reads(self, call: Call) -> bool:
        return super().reads(call) or call.operation in (
            "POST /v1/sys/capabilities-self",
            "POST /v1/auth/{mount}/login",
        )

    @property
    def secret(self) -> Secret:
        return self.server.secrets[self.key]

    @property
    def pending(self) -> tuple[str, str, str]:
        return (*self.key[:2], f"{self.key[2]}.pending")

    def consumed(
        self, names: tuple[str, ...] = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
    ) -> tuple[str | None, ...]:
        found = self.server.read(self.key) or {}
        return tuple(found.get(name) or self._beside(name) for name in names)

    def write_foreign(self, name: str = "AWS_SECRET_ACCESS_KEY") -> None:
        if name.startswith("AWS_"):
            self.server.put(self.key, (self.server.read(self.key) or {}) | {name: "foreign"})
        else:
            self.server.put(("", "secret", f"{self.folder}/{name}"), {"value": "foreign"})

    def _beside(self, name: str) -> str | None:
        return (self.server.read(("", "secret", f"{self.folder}/{name}")) or {}).get("value")

    def odd(self) -> dict[str, Any]:
        namespace = f"team-{uuid.uuid4().hex[:6]}/größe"
        return {
            "namespace": namespace.replace("größe", "ci"),
            "mount": self.server.mount("kv/größe é", namespace.replace("größe", "ci")),
            "path": "a b/100 % #1 ?&=;/日本/x.pending.x",
        }

    def missing(self) -> dict[str, Any]:
        return {"mount": "nowhere"}

    def crowd(self) -> None:
        for number in range(60):
            self.server.put(("", "secret", f"{self.key[2]}/{number}"), {"x": "y"})


class AppRolePlace(VaultPlace):
    """A path, with an AppRole's secret id."""

    variable: ClassVar[str] = "VAULT_SECRET_ID"

    def __init__(self, root: Path, server: Vault) -> None:
        super().__init__(root, server)
        self.document |= {"approle": {"role_id": ROLE_ID}}
        self.environ |= {"VAULT_SECRET_ID": TOKEN}

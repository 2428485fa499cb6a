"""The double of a cluster: namespaces, Secrets with their managed fields, and rights by namespace.

https://kubernetes.io/docs/reference/kubernetes-api/config-and-storage-resources/secret-v1/
Ownership goes by value, as https://kubernetes.io/docs/reference/using-api/server-side-apply/#field-management says: an update
that changes or adds a field moves it to the writer's entry; what it leaves as it is stays where it was.
"""

from __future__ import annotations

import base64
import binascii
import copy
import itertools
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar

from tests.contract.place import TOKEN, Place
from tests.vendors.server import Call, Reply, VendorServer

METADATA = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
_START = datetime(2026, 11, 1, tzinfo=UTC)
Path_ = tuple[str, ...]


@dataclass
class Stored:
    """One Secret as the cluster keeps it; ``managers`` has the fields of each writer, and when it wrote last."""

    name: str
    annotations: dict[str, str] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)
    data: dict[str, str] = field(default_factory=dict)
    type: str = "Opaque"
    immutable: bool = False
    finalized: bool = True
    ending: str = ""
    uid: str = field(default_factory=lambda: str(uuid.uuid4()))
    version: int = 0
    managers: dict[str, tuple[frozenset[Path_], str]] = field(default_factory=dict)

    def fields(self) -> dict[Path_, object]:
        return {
            **{("f:data", f"f:{key}"): value for key, value in self.data.items()},
            **{("f:metadata", "f:annotations", f"f:{key}"): value for key, value in self.annotations.items()},
            **{("f:metadata", "f:labels", f"f:{key}"): value for key, value in self.labels.items()},
            ("f:type",): self.type,
        }


class Cluster(VendorServer):
    """Namespaces by name with their phase, and Secrets by namespace and name."""

    vendor: ClassVar[str] = "kubernetes"

    def __init__(self, **more: Any) -> None:
        super().__init__(**more)
        self.namespaces: dict[str, str] = {}
        self.secrets: dict[tuple[str, str], Stored] = {}
        self.rights: dict[str, set[str]] = {}
        self.hidden: set[str] = set()
        self.quota: set[str] = set()
        self.blind: set[str] = set()
        self.untracked: set[str] = set()
        self.mutating: set[str] = set()
        self._counter = itertools.count(1000)

    def new_namespace(self, name: str | None = None, phase: str = "Active") -> str:
        name = name or f"ns-{uuid.uuid4().hex[:10]}"
        self.namespaces[name] = phase
        self.rights[name] = {"get", "create", "patch", "delete"}
        return name

    def answer(self, call: Call) -> Reply:
        if call.headers.get("authorization") != f"Bearer {TOKEN}":
            return _status(401, "Unauthorized")
        match call.path:
            case ("version", ""):
                return Reply(200, _version())
            case ("apis", *_):
                return self._review(call.body)
            case ("api", "v1", "namespaces", name):
                return self._namespace(name)
            case ("api", "v1", "namespaces", namespace, "secrets", *name):
                return self._secret(call, namespace, *name)
        raise AssertionError(call.operation)

    def _review(self, body: Any) -> Reply:
        asked = body["spec"]["resourceAttributes"]
        allowed = asked["verb"] in self.rights.get(asked["namespace"], set()) and asked["resource"] == "secrets"
        return Reply(201, {**body, "metadata": {}, "status": {"allowed": allowed}})

    def _namespace(self, name: str) -> Reply:
        if name in self.hidden:
            return _status(403, f'namespaces "{name}" is forbidden')
        if name not in self.namespaces:
            return _status(404, f'namespaces "{name}" not found')
        document = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
        return Reply(200, {**document, "status": {"phase": self.namespaces[name]}})

    def _secret(self, call: Call, namespace: str, name: str = "") -> Reply:
        verb = {"GET": "get", "POST": "create", "PATCH": "patch", "DELETE": "delete"}[call.method]
        if verb not in self.rights.get(namespace, {"get", "create"}):
            return _status(403, f'secrets "{name}" is forbidden')
        if call.headers.get("accept") != METADATA:
            self.violations.append(f"{call.operation}: the answer would have held the data")
        if call.method == "POST":
            return self._create(call, namespace)
        found = self.secrets.get((namespace, name))
        if found is None:
            return _status(404, f'secrets "{name}" not found')
        if call.method == "GET":
            return self._shown(200, found, namespace)
        if call.method == "PATCH":
            return self._patch(call, namespace, found)
        wanted = (call.body or {}).get("preconditions", {})
        if wanted != {"resourceVersion": str(found.version), "uid": found.uid}:
            return _status(409, "the ResourceVersion or UID in the precondition is another")
        if not found.finalized:
            # https://kubernetes.io/docs/concepts/overview/working-with-objects/finalizers/
            found.ending, found.version = "2026-11-02T00:00:00Z", next(self._counter)
            return self._shown(200, found, namespace)
        del self.secrets[namespace, name]
        return Reply(200, {"apiVersion": "v1", "kind": "Status", "metadata": {}, "status": "Success"})

    def _create(self, call: Call, namespace: str) -> Reply:
        if namespace not in self.namespaces:
            return _status(404, f'namespaces "{namespace}" not found')
        metadata, name = call.body["metadata"], call.body["metadata"]["name"]
        if (namespace, name) in self.secrets:
            return _status(409, f'secrets "{name}" already exists')
        made = Stored(name, metadata.get("annotations", {}), metadata.get("labels", {}), call.body.get("data", {}))
        return self._judged(call, namespace, None, made, 201)

    def _patch(self, call: Call, namespace: str, found: Stored) -> Reply:
        if call.headers.get("content-type") != "application/merge-patch+json":
            return _status(415, "the body of the request was in an unknown format")
        metadata = call.body.get("metadata", {})
        if metadata.get("resourceVersion", str(found.version)) != str(found.version):
            return _status(409, "the object has been modified; please apply your changes to the latest version")
        after = copy.deepcopy(found)
        after.data = _merged(found.data, call.body.get("data", {}))
        after.annotations = _merged(found.annotations, metadata.get("annotations", {}))
        after.labels = _merged(found.labels, metadata.get("labels", {}))
        if found.immutable and after.data != found.data:
            return _status(422, "data: Forbidden: field is immutable when `immutable` is set")
        return self._judged(call, namespace, found, after, 200)

    def _judged(self, call: Call, namespace: str, before: Stored | None, after: Stored, status: int) -> Reply:
        dry = call.asked("dryRun")
        if namespace in self.blind and dry:
            return _status(400, 'admission webhook "x.example.com" does not support dry run')
        if namespace in self.quota:
            return _status(403, "exceeded quota: secrets, requested: count/secrets=1")
        if any(not _is_base64(value) for value in after.data.values()):
            return _status(400, "illegal base64 data")
        if namespace in self.mutating:
            after.data = {key: base64.b64encode(b"mutated").decode() for key in after.data}
        self.keep(namespace, before, after, call.asked("fieldManager") or "unknown", dry=bool(dry))
        if namespace in self.mutating and not dry:
            self.keep(namespace, after, _with(after, "AWS_ACCESS_KEY_ID", "again"), "webhook")
            after = self.secrets[namespace, after.name]
        return self._shown(status, after, namespace)

    def keep(self, namespace: str, before: Stored | None, after: Stored, manager: str, *, dry: bool = False) -> None:
        old, new = before.fields() if before else {}, after.fields()
        changed = frozenset(path for path, value in new.items() if path not in old or old[path] != value)
        gone = frozenset(old) - frozenset(new)
        if before is not None and not changed and not gone:
            return
        number = next(self._counter)
        at = (_START + timedelta(milliseconds=1500 * number)).strftime("%Y-%m-%dT%H:%M:%SZ")
        mine = after.managers.get(manager, (frozenset(), at))[0]
        after.managers = {
            other: (left, when)
            for other, (paths, when) in after.managers.items()
            if (left := paths - changed - gone) and other != manager
        }
        after.managers[manager] = ((mine | changed) - gone, at)
        after.version = number
        if not dry:
            self.secrets[namespace, after.name] = after

    def write(self, namespace: str, name: str, data: Mapping[str, str], manager: str = "kubectl-edit") -> None:
        """Have somebody else write keys of the data."""
        before = self.secrets.get((namespace, name))
        after = copy.deepcopy(before) if before else Stored(name)
        after.data |= {key: base64.b64encode(value.encode()).decode() for key, value in data.items()}
        self.keep(namespace, before, after, manager)

    def _shown(self, status: int, found: Stored, namespace: str) -> Reply:
        managed = [] if namespace in self.untracked else [_entry(*item) for item in found.managers.items()]
        metadata = {
            "name": found.name,
            "namespace": namespace,
            "uid": found.uid,
            "resourceVersion": str(found.version),
            "annotations": found.annotations,
            "labels": found.labels,
            "managedFields": managed,
            **({"deletionTimestamp": found.ending, "finalizers": ["example.com/backup"]} if found.ending else {}),
        }
        document = {"apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata", "metadata": metadata}
        return Reply(status, document)


def _with(stored: Stored, key: str, value: str) -> Stored:
    after = copy.deepcopy(stored)
    after.data[key] = base64.b64encode(value.encode()).decode()
    return after


def _merged(old: Mapping[str, str], patch: Mapping[str, str | None]) -> dict[str, str]:
    return {key: value for key, value in {**old, **patch}.items() if value is not None}


def _entry(manager: str, written: tuple[frozenset[Path_], str]) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for path in sorted(written[0]):
        node = fields
        for part in path:
            node = node.setdefault(part, {})
    for group in (fields.get("f:data"), *fields.get("f:metadata", {}).values()):
        if group is not None:
            group["."] = {}
    return {
        "manager": manager,
        "operation": "Update",
        "apiVersion": "v1",
        "time": written[1],
        "fieldsType": "FieldsV1",
        "fieldsV1": fields,
    }


def _is_base64(value: str) -> bool:
    try:
        return bool(base64.b64decode(value, validate=True))
    except binascii.Error:
        return False


def _status(code: int, message: str) -> Reply:
    status = {"apiVersion": "v1", "kind": "Status", "metadata": {}, "status": "Failure", "code": code}
    return Reply(code, {**status, "message": message})


def _version() -> dict[str, str]:
    names = "buildDate compiler gitCommit gitTreeState goVersion platform"
    return {"major": "1", "minor": "37", "gitVersion": "v1.37.0", **dict.fromkeys(names.split(), "x")}


class SecretPlace(Place):
    """A Secret's name in a namespace of its own, with a login that may look at the namespace."""

    backend: ClassVar[str] = "kubernetes"
    variable: ClassVar[str] = "KUBE_TOKEN"
    server: Cluster

    def __init__(self, root: Path, server: Cluster) -> None:
        super().__init__(root)
        self.server = server
        self.namespace, self.name = server.new_namespace(), "aws-testing"
        self.document = {
            "backend": self.backend,
            "url": server.url,
            "namespace": self.namespace,
            "name": self.name,
        }
        self.environ = {"KUBE_TOKEN": TOKEN, "KUBE_TOKEN_HOST": server.url.partition("://")[2]}

    @classmethod
    @contextmanager
    def serve(cls) -> Iterator[Cluster]:
        with Cluster() as server:
            yield server

    @classmethod
    def at(cls, server: Any, root: Path) -> SecretPlace:
        return cls(root, server)

    def reads(self, call: Call) -> bool:
        """A review of rights is a POST, and a dry run keeps nothing."""
        return super().reads(call) or call.path[0] == "apis" or call.asked("dryRun") == "All"

    @property
    def stored(self) -> Stored | None:
        return self.server.secrets.get((self.namespace, self.name))

    def consumed(
        self, names: tuple[str, ...] = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
    ) -> tuple[str | None, ...]:
        data: dict[str, str] = {}
        for name in ("others", self.name):
            found = self.server.secrets.get((self.namespace, name))
            data |= found.data if found else {}
        return tuple(base64.b64decode(data[name]).decode() if name in data else None for name in names)

    def write_foreign(self, name: str = "AWS_SECRET_ACCESS_KEY") -> None:
        """Into the Secret, or where there is none yet, what is no part of a key into another one."""
        own = self.stored is not None or name.startswith("AWS_")
        self.server.write(self.namespace, self.name if own else "others", {name: "foreign"})

    def odd(self) -> dict[str, Any]:
        return {"namespace": self.server.new_namespace(f"0-{uuid.uuid4().hex[:8]}--9"), "name": "0.a-b--c.d"}

    def missing(self) -> dict[str, Any]:
        return {"namespace": "nowhere"}

    def crowd(self) -> None:
        for number in range(300):
            self.server.write(self.namespace, f"other-{number}", {"x": "x"})

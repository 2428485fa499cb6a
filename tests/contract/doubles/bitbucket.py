"""Bitbucket Cloud's double: variables of repositories, deployment environments and workspaces.

https://developer.atlassian.com/cloud/bitbucket/rest/api-group-pipelines/
"""

from __future__ import annotations

import base64
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

from tests.contract.place import TOKEN, Place
from tests.vendors.server import Call, Reply, VendorServer

USER = "ci@example.com"
_MOST = 100


def _uuid() -> str:
    return f"{{{uuid.uuid4()}}}"


class Bitbucket(VendorServer):
    """Places by their path, slugs in lower case; ``variables`` hold key, value, secured and uuid.

    Each repository begins with the deployment environments Test, Staging and Production
    (https://support.atlassian.com/bitbucket-cloud/docs/set-up-and-monitor-deployments/).
    """

    vendor: ClassVar[str] = "bitbucket"
    # Paging is described in words, for all lists at once: https://developer.atlassian.com/cloud/bitbucket/rest/intro/#pagination
    # Nobody sends a type, neither the page's own examples nor Terraform's provider nor Ansible's module.
    undocumented: ClassVar[frozenset[str]] = frozenset({"query:page", "query:pagelen", "lacks:type"})

    def __init__(self) -> None:
        super().__init__(base="/2.0")
        self.environments: dict[tuple[str, ...], dict[str, str]] = {}
        self.variables: dict[tuple[str, ...], dict[str, dict[str, Any]]] = {}
        self.scopes: str | None = "repository, pipeline:variable"

    def new_repository(self, name: str) -> tuple[str, ...]:
        place = ("repositories", *name.lower().split("/"))
        self.environments[place] = {}
        for each in ("Test", "Staging", "Production"):
            self.new_environment(name, each)
        return self._new((*place, "pipelines_config", "variables"))

    def new_environment(self, repository: str, name: str) -> tuple[str, ...]:
        place, found = ("repositories", *repository.lower().split("/")), _uuid()
        self.environments[place].pop(name, None)
        self.environments[place][name] = found
        return self._new((*place, "deployments_config", "environments", found, "variables"))

    def new_workspace(self, name: str) -> tuple[str, ...]:
        return self._new(("workspaces", name.lower(), "pipelines-config", "variables"))

    def _new(self, place: tuple[str, ...]) -> tuple[str, ...]:
        self.variables[place] = {}
        return place

    def put(self, place: tuple[str, ...], key: str, value: str, secured: bool = True) -> dict[str, Any]:
        found = self.variables[place].setdefault(key, {"uuid": _uuid()})
        found |= {"type": "pipeline_variable", "key": key, "value": value, "secured": secured}
        return found

    def answer(self, call: Call) -> Reply:
        basic = base64.b64encode(f"{USER}:{TOKEN}".encode()).decode()
        if call.headers.get("authorization") not in (f"Bearer {TOKEN}", f"Basic {basic}"):
            return Reply(401, _error("Token is invalid, expired, or not supported for this endpoint."))
        reply = self._answer(call)
        told = () if self.scopes is None else (("X-OAuth-Scopes", self.scopes),)
        return Reply(reply.status, reply.document, headers=told)

    def _answer(self, call: Call) -> Reply:
        place = _lower(call.path)
        if len(place) == 3 and place[0] == "repositories":
            known = place in self.environments
            return Reply(200, {"type": "repository", "uuid": _uuid()}) if known else Reply(404, _error("not found"))
        if place[-1] == "environments":
            if place[:-1] not in self.environments:
                return Reply(404, _error("not found"))
            items = self.environments[place[:-1]].items()
            listed = [{"type": "deployment_environment", "name": name, "uuid": found} for name, found in items]
            return self._page(call, listed, linked=True)
        if place[-1] == "variables":
            return self._all(call, place) if place in self.variables else Reply(404, _error("not found"))
        return self._one(call, place)

    def _all(self, call: Call, place: tuple[str, ...]) -> Reply:
        known = self.variables[place]
        if call.method == "GET":
            return self._page(call, [_shown(item) for item in known.values()])
        key = call.body["key"]
        if key in known:
            return Reply(409, _error(f"A variable with the key provided already exists: {key}"))
        return Reply(201, _shown(self.put(place, key, call.body["value"], call.body.get("secured", False))))

    def _one(self, call: Call, path: tuple[str, ...]) -> Reply:
        *place, wanted = path
        known = self.variables.get(tuple(place), {})
        found = [key for key, item in known.items() if item["uuid"] == wanted]
        if not found:
            return Reply(404, _error("No variable with this UUID exists."))
        if call.method == "DELETE":
            del known[found[0]]
            return Reply(204)
        return Reply(200, _shown(self.put(tuple(place), found[0], call.body["value"], call.body.get("secured", False))))

    def _page(self, call: Call, items: list[dict[str, Any]], *, linked: bool = False) -> Reply:
        number, size = int(call.asked("page", "1")), min(int(call.asked("pagelen", "10")), _MOST)
        shown = items[(number - 1) * size : number * size]
        document = {"page": number, "pagelen": size, "size": len(items), "values": shown}
        if linked and number * size < len(items):
            # Another host, as a proxy in between would see it: nobody may follow it there.
            document["next"] = f"https://api.example.com/elsewhere?page={number + 1}&pagelen={size}"
        return Reply(200, document)


def _lower(path: tuple[str, ...]) -> tuple[str, ...]:
    """Return a path with its slugs in lower case: Bitbucket takes Shop/App for shop/app."""
    slugs = 3 if path[0] == "repositories" else 2
    return (*(part.lower() for part in path[:slugs]), *path[slugs:])


def _error(message: str) -> dict[str, Any]:
    return {"type": "error", "error": {"message": message}}


def _shown(item: dict[str, Any]) -> dict[str, Any]:
    """Return a variable as Bitbucket shows it: without its value if it is secured."""
    return {name: value for name, value in item.items() if name != "value" or not item["secured"]}


class _BitbucketPlace(Place):
    """Nobody is told that a variable was edited; its uuid stays."""

    backend: ClassVar[str] = "bitbucket"
    variable: ClassVar[str] = "BITBUCKET_TOKEN"
    sees_foreign: ClassVar[bool] = False
    token: ClassVar[str] = TOKEN
    server: Bitbucket

    def __init__(self, root: Path, server: Bitbucket) -> None:
        super().__init__(root)
        self.server = server
        url = server.url.removesuffix("/2.0")
        self.document = {"backend": self.backend, "url": url}
        self.environ = {"BITBUCKET_TOKEN": self.token, "BITBUCKET_TOKEN_HOST": url.removeprefix("http://")}
        self.unique = uuid.uuid4().hex[:8]
        self.key = self._made()

    def _made(self) -> tuple[str, ...]:
        raise NotImplementedError

    @classmethod
    @contextmanager
    def serve(cls) -> Iterator[Bitbucket]:
        with Bitbucket() as server:
            yield server

    @classmethod
    def at(cls, server: Any, root: Path) -> _BitbucketPlace:
        return cls(root, server)

    def consumed(
        self, names: tuple[str, ...] = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
    ) -> tuple[str | None, ...]:
        found = self.server.variables[self.key]
        return tuple(found[name]["value"] if name in found else None for name in names)

    def write_foreign(self, name: str = "AWS_SECRET_ACCESS_KEY") -> None:
        self.server.put(self.key, name, "foreign")

    def crowd(self) -> None:
        for number in range(2 * _MOST + 1):
            self.server.put(self.key, f"OTHER_{number}", "x")


class RepositoryPlace(_BitbucketPlace):
    """A repository."""

    def _made(self) -> tuple[str, ...]:
        self.document["repository"] = f"shop/app-{self.unique}"
        return self.server.new_repository(self.document["repository"])

    def odd(self) -> dict[str, Any]:
        name = f"A_b-1/_x..y_.{uuid.uuid4().hex[:8]}"
        self.server.new_repository(name)
        return {"repository": name}

    def missing(self) -> dict[str, Any]:
        return {"repository": "shop/nowhere"}


class DeploymentPlace(_BitbucketPlace):
    """A deployment environment of a repository that has many."""

    def _made(self) -> tuple[str, ...]:
        self.document |= {"repository": f"shop/app-{self.unique}", "deployment": "Production"}
        self.server.new_repository(self.document["repository"])
        for number in range(_MOST):
            self.server.new_environment(self.document["repository"], f"another {number}")
        return self.server.new_environment(self.document["repository"], "Production")

    def odd(self) -> dict[str, Any]:
        name = "größe / 100 % #1 ?"
        self.server.new_environment(self.document["repository"], name)
        return {"deployment": name}

    def missing(self) -> dict[str, Any]:
        return {"deployment": "nowhere"}


class WorkspacePlace(_BitbucketPlace):
    """A workspace, reached with an API token."""

    token: ClassVar[str] = f"{USER}:{TOKEN}"

    def _made(self) -> tuple[str, ...]:
        self.document["workspace"] = f"shop-{self.unique}"
        return self.server.new_workspace(self.document["workspace"])

    def odd(self) -> dict[str, Any]:
        name = f"A_b-{uuid.uuid4().hex[:8]}"
        self.server.new_workspace(name)
        return {"workspace": name}

    def missing(self) -> dict[str, Any]:
        return {"workspace": "nowhere"}

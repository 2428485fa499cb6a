"""CircleCI's double: contexts and projects with their variables (https://circleci.com/docs/api/v2/)."""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar

from tests.contract.place import TOKEN, Place
from tests.vendors.server import Call, Reply, VendorServer

_PAGE = 20
_START = datetime(2026, 11, 1, tzinfo=UTC)


class CircleCi(VendorServer):
    """Contexts by id, projects by slug; a name of a context belongs to an organisation."""

    vendor: ClassVar[str] = "circleci"

    def __init__(self) -> None:
        super().__init__(base="/api/v2")
        self.contexts: dict[str, tuple[str, str]] = {}
        self.projects: set[str] = set()
        self.variables: dict[str, dict[str, tuple[str, str]]] = {}
        self._ticks = itertools.count(1)

    def new_context(self, organization: str, name: str) -> str:
        found = str(uuid.uuid4())
        self.contexts[found] = (organization, name)
        self.variables[found] = {}
        return found

    def new_project(self, slug: str) -> str:
        self.projects.add(slug)
        self.variables[slug] = {}
        return slug

    def put(self, place: str, name: str, value: str) -> str:
        at = (_START + timedelta(milliseconds=1500 * next(self._ticks))).isoformat(timespec="milliseconds")
        self.variables[place][name] = (value, at.replace("+00:00", "Z"))
        return self.variables[place][name][1]

    def answer(self, call: Call) -> Reply:
        if call.headers.get("circle-token") != TOKEN:
            return Reply(401, {"message": "Invalid token provided."})
        match call.path:
            case ("me",):
                return Reply(200, {"id": str(uuid.uuid4()), "login": "octo", "name": "Octo"})
            case ("context",):
                owner = call.query["owner-slug"][0]
                items = [
                    {"id": key, "name": name, "created_at": "2026-11-01T00:00:00.000Z"}
                    for key, (organization, name) in self.contexts.items()
                    if organization == owner
                ]
                return self._page(call, items)
            case ("context", place, "environment-variable"):
                if place not in self.contexts:
                    return Reply(404, {"message": "Context not found."})
                return self._page(call, [self._context_variable(place, name) for name in self.variables[place]])
            case ("context", place, "environment-variable", name):
                if place not in self.contexts:
                    return Reply(404, {"message": "Context not found."})
                if call.method == "PUT":
                    self.put(place, name, call.body["value"])
                    return Reply(200, self._context_variable(place, name))
                if self.variables[place].pop(name, None) is None:
                    return Reply(404, {"message": "Environment variable not found."})
                return Reply(200, {"message": "Environment variable deleted."})
            case ("project", *slug):
                return self._project(call, slug)
        raise AssertionError(call.operation)

    def _project(self, call: Call, slug: list[str]) -> Reply:
        place = "/".join(slug[:3])
        if place not in self.projects:
            return Reply(404, {"message": "Project not found."})
        match call.method, slug[3:]:
            case "GET", []:
                vcs, organization, name = slug
                return Reply(
                    200,
                    {
                        "id": str(uuid.uuid4()),
                        "slug": place,
                        "name": name,
                        "organization_name": organization,
                        "organization_slug": f"{vcs}/{organization}",
                        "organization_id": str(uuid.uuid4()),
                        "vcs_info": {"vcs_url": "https://example.com", "provider": "GitHub", "default_branch": "main"},
                    },
                )
            case "GET", ["envvar"]:
                return self._page(call, [self._project_variable(place, name) for name in self.variables[place]])
            case "POST", ["envvar"]:
                self.put(place, call.body["name"], call.body["value"])
                return Reply(201, self._project_variable(place, call.body["name"]))
            case "DELETE", ["envvar", name]:
                if self.variables[place].pop(name, None) is None:
                    return Reply(404, {"message": "Environment variable not found."})
                return Reply(200, {"message": "Environment variable deleted."})
        raise AssertionError(call.operation)

    def _context_variable(self, place: str, name: str) -> dict[str, Any]:
        at = self.variables[place][name][1]
        return {"variable": name, "context_id": place, "created_at": at, "updated_at": at}

    def _project_variable(self, place: str, name: str) -> dict[str, Any]:
        value, at = self.variables[place][name]
        return {"name": name, "value": f"xxxx{value[-4:]}", "created-at": at}

    def _page(self, call: Call, items: list[dict[str, Any]]) -> Reply:
        first = int(call.asked("page-token", "0"))
        more = first + _PAGE < len(items)
        return Reply(
            200, {"items": items[first : first + _PAGE], "next_page_token": str(first + _PAGE) if more else None}
        )


class _CirclePlace(Place):
    backend: ClassVar[str] = "circleci"
    variable: ClassVar[str] = "CIRCLE_TOKEN"
    server: CircleCi

    @classmethod
    @contextmanager
    def serve(cls) -> Iterator[CircleCi]:
        with CircleCi() as server:
            yield server

    def _log_in(self, server: CircleCi) -> None:
        self.server = server
        url = server.url.removesuffix("/api/v2")
        self.document = {"backend": self.backend, "url": url}
        self.environ = {"CIRCLE_TOKEN": TOKEN, "CIRCLE_TOKEN_HOST": url.removeprefix("http://")}

    @property
    def key(self) -> str:
        raise NotImplementedError

    def consumed(
        self, names: tuple[str, ...] = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
    ) -> tuple[str | None, ...]:
        found = self.server.variables[self.key]
        return tuple(found[name][0] if name in found else None for name in names)

    def write_foreign(self, name: str = "AWS_SECRET_ACCESS_KEY") -> None:
        self.server.put(self.key, name, "foreign")

    def crowd(self) -> None:
        for number in range(3 * _PAGE):
            self.server.put(self.key, f"OTHER_{number}", "x")


class ContextPlace(_CirclePlace):
    """A context of an organisation."""

    def __init__(self, root: Path, server: CircleCi) -> None:
        super().__init__(root)
        self._log_in(server)
        self.organization = f"gh/shop-{uuid.uuid4().hex[:8]}"
        for number in range(_PAGE):
            server.new_context(self.organization, f"another {number}")
        self.context_id = server.new_context(self.organization, "production")
        self.document |= {"organization": self.organization, "context": "production"}

    @classmethod
    def at(cls, server: Any, root: Path) -> ContextPlace:
        return cls(root, server)

    @property
    def key(self) -> str:
        return self.context_id

    def odd(self) -> dict[str, Any]:
        name = "größe / 100 % #1 ?"
        self.server.new_context(self.organization, name)
        return {"context": name}

    def missing(self) -> dict[str, Any]:
        return {"context": "nowhere"}


class ProjectPlace(_CirclePlace):
    """A project. Nobody is told that a variable was changed, but by the end of the key id."""

    sees_foreign: ClassVar[bool] = False

    def __init__(self, root: Path, server: CircleCi) -> None:
        super().__init__(root)
        self._log_in(server)
        self.slug = server.new_project(f"gh/shop/app-{uuid.uuid4().hex[:8]}")
        self.document |= {"project": self.slug}

    @classmethod
    def at(cls, server: Any, root: Path) -> ProjectPlace:
        return cls(root, server)

    @property
    def key(self) -> str:
        return self.slug

    def odd(self) -> dict[str, Any]:
        return {"project": self.server.new_project(f"circleci/{uuid.uuid4()}/a.b_c-{uuid.uuid4().hex[:6]}")}

    def missing(self) -> dict[str, Any]:
        return {"project": "gh/shop/nowhere"}

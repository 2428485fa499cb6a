"""GitLab's double: projects, groups and an instance with their variables, as GitLab's own code treats them.

https://gitlab.com/gitlab-org/gitlab/-/blob/master/lib/api/ci/variables.rb (and group_variables.rb, admin/ci/variables.rb),
app/models/concerns/ci/maskable.rb and hidable_variable.rb
"""

from __future__ import annotations

import itertools
import re
import ssl
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

from tests.contract.place import TOKEN, Place
from tests.vendors.description import Description, Match
from tests.vendors.server import Call, Reply, VendorServer

Owner = tuple[str, ...]
"""("projects", PATH), ("groups", PATH) or ("instance",)."""
_EXPANDED = r"[a-zA-Z0-9_+=/@:.~-]{8,}"
_RAW = r"\S{8,}"
_SCOPE = r"[a-zA-Z0-9_/${}. *-]+"
_FLAGS: dict[str, Any] = {
    "variable_type": "env_var",
    "protected": False,
    "masked": False,
    "raw": False,
    "description": None,
}


class _WithHead(Description):
    """HEAD is answered as GET is, without the content (https://www.rfc-editor.org/rfc/rfc9110#name-head)."""

    def match(self, method: str, raw_path: str) -> Match | None:
        return super().match("GET" if method == "HEAD" else method, raw_path)


class GitLab(VendorServer):
    """Variables by owner, then by name and scope. ``unscoped`` are the groups without a licence for scopes."""

    vendor: ClassVar[str] = "gitlab"

    def __init__(self, *, base: str = "", tls: ssl.SSLContext | None = None) -> None:
        super().__init__(base=base, tls=tls)
        found = self.description
        self.description = _WithHead(found.name, found.source, found.version, found.openapi, found.written)
        self.variables: dict[Owner, dict[tuple[str, str], dict[str, Any]]] = {("instance",): {}}
        self.unscoped: set[str] = set()
        self.archived: set[str] = set()
        self.version = "17.5.1-ee"
        self.scopes: list[str] | None = ["api"]
        self.level = 40
        self.left: str | None = None
        self._ids = itertools.count(1)

    def new(self, *owner: str) -> Owner:
        self.variables[owner] = {}
        return owner

    def put(self, owner: Owner, key: str, value: str, scope: str = "*") -> None:
        """Change the value as a person would on the settings page: a description stays."""
        known = self.variables[owner].get((key, scope), {"hidden": False, **_FLAGS})
        self.variables[owner][key, scope] = {**known, "value": value}

    def handle(self, method: str, target: str, headers: Mapping[str, str], raw: bytes) -> Reply:
        if target.startswith("/nowhere/"):
            return Reply(404, body=b"no GitLab here")
        reply = super().handle(method, target, headers, raw)
        if self.left is None:
            return reply
        return replace(reply, headers=(*reply.headers, ("RateLimit-Remaining", self.left)))

    def answer(self, call: Call) -> Reply:
        if call.headers.get("private-token") != TOKEN:
            return Reply(401, {"message": "401 Unauthorized"})
        match call.path[2:]:
            case ("version",):
                return Reply(200, {"version": self.version, "revision": "0123abc"})
            case ("personal_access_tokens", "self"):
                return self._token()
            case ("projects" | "groups" as kind, path):
                owner: Owner = (kind, path)
                if owner not in self.variables:
                    return _missing(kind.removesuffix("s").capitalize())
                return Reply(200, self._project(path) if kind == "projects" else self._group(path))
            case ("projects" | "groups" as kind, path, "variables", *key):
                if (kind, path) not in self.variables:
                    return _missing(kind.removesuffix("s").capitalize())
                return self._variable(call, (kind, path), key)
            case ("admin", "ci", "variables", *key):
                return self._variable(call, ("instance",), key)
        raise AssertionError(call.operation)

    def _token(self) -> Reply:
        if self.scopes is None:
            return Reply(403, {"message": "403 Forbidden"})
        return Reply(
            200,
            {
                "id": 42,
                "name": "ci-user",
                "revoked": False,
                "created_at": "2026-01-02T03:04:05.678Z",
                "scopes": self.scopes,
                "user_id": 7,
                "active": True,
                "expires_at": "2027-01-02",
            },
        )

    def _project(self, path: str) -> dict[str, Any]:
        access = {"project_access": None, "group_access": {"access_level": self.level, "notification_level": 3}}
        return {
            "id": next(self._ids),
            "name": path.rpartition("/")[2],
            "path_with_namespace": path,
            "visibility": "private",
            "archived": path in self.archived,
            "permissions": access,
        }

    def _group(self, path: str) -> dict[str, Any]:
        return {"id": next(self._ids), "name": path, "full_path": path, "visibility": "private"}

    def _variable(self, call: Call, owner: Owner, key: list[str]) -> Reply:
        if self.level < 40:
            return Reply(403, {"message": "403 Forbidden"})
        if not key:
            assert call.method == "POST", "a list shows every value"
            return self._create(owner, dict(call.body))
        wanted = call.asked("filter[environment_scope]")
        found = [at for at in self.variables[owner] if at[0] == key[0] and (not wanted or at[1] == wanted)]
        if not found:
            return _missing({"projects": "Variable", "groups": "GroupVariable"}.get(owner[0], "InstanceVariable"))
        if len(found) > 1:
            return Reply(409, {"message": "There are multiple variables with provided parameters. Please use 'filter'"})
        at = found[0]
        if call.method == "DELETE":
            del self.variables[owner][at]
            return Reply(204)
        if call.method != "PUT":
            return Reply(200, self._shown(owner, at))
        changed = {**self.variables[owner][at], **call.body}
        scope = changed.pop("environment_scope", at[1])
        if changed["hidden"] and not changed["masked"]:
            said = "The visibility setting cannot be changed for masked and hidden variables."
            return Reply(400, {"message": {"base": [said]}})
        return self._refused(changed, scope) or self._keep(owner, (at[0], scope), changed, 200, at)

    def _create(self, owner: Owner, body: dict[str, Any]) -> Reply:
        hidden = body.pop("masked_and_hidden", False)
        key, scope = body.pop("key"), body.pop("environment_scope", "*")
        if owner[-1] in self.unscoped:
            scope = "*"
        if (key, scope) in self.variables[owner]:
            return Reply(400, {"message": {"key": [f"({key}) has already been taken"]}})
        made = {**_FLAGS, "hidden": hidden, **body}
        made["masked"] = made["masked"] or hidden
        return self._refused(made, scope) or self._keep(owner, (key, scope), made, 201)

    def _refused(self, variable: dict[str, Any], scope: str) -> Reply | None:
        fits = re.fullmatch(_RAW if variable["raw"] else _EXPANDED, variable["value"])
        if variable["masked"] and not fits:
            return Reply(400, {"message": {"value": ["is invalid"]}})
        if re.fullmatch(_SCOPE, scope) is None:
            return Reply(400, {"message": {"environment_scope": ["can contain only letters, digits, ..."]}})
        return None

    def _keep(
        self, owner: Owner, at: tuple[str, str], variable: dict[str, Any], status: int, before: Any = None
    ) -> Reply:
        self.variables[owner].pop(before, None)
        self.variables[owner][at] = variable
        return Reply(status, self._shown(owner, at))

    def _shown(self, owner: Owner, at: tuple[str, str]) -> dict[str, Any]:
        variable = self.variables[owner][at]
        shown = {**variable, "key": at[0], "value": None if variable["hidden"] else variable["value"]}
        if owner == ("instance",):
            del shown["hidden"]
            return shown
        return {**shown, "environment_scope": at[1]}


def _missing(what: str) -> Reply:
    return Reply(404, {"message": f"404 {what} Not Found"})


class _GitLabPlace(Place):
    """GitLab tells nobody of a change to the secret's variable alone who doesn't read it."""

    backend: ClassVar[str] = "gitlab"
    variable: ClassVar[str] = "GITLAB_TOKEN"
    sees_foreign: ClassVar[bool] = False
    server: GitLab

    def __init__(self, root: Path, server: GitLab) -> None:
        super().__init__(root)
        self.server = server
        self.scope = "*"
        self.owner: Owner = ("instance",)
        self.document = {"backend": self.backend, "url": server.url}
        self.environ = {
            "GITLAB_TOKEN": TOKEN,
            "GITLAB_TOKEN_HOST": server.url.partition("://")[2].partition("/")[0],
        }

    @classmethod
    @contextmanager
    def serve(cls) -> Iterator[GitLab]:
        with GitLab() as server:
            yield server

    @classmethod
    def at(cls, server: Any, root: Path) -> Place:
        return cls(root, server)

    def consumed(
        self, names: tuple[str, ...] = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
    ) -> tuple[str | None, ...]:
        found = self.server.variables[self.owner]
        return tuple(found[name, self.scope]["value"] if (name, self.scope) in found else None for name in names)

    def write_foreign(self, name: str = "AWS_SECRET_ACCESS_KEY") -> None:
        self.server.put(self.owner, name, "foreign", self.scope)

    def crowd(self) -> None:
        for number in range(250):
            self.server.put(self.owner, f"OTHER_{number}", "x")


class ProjectPlace(_GitLabPlace):
    """A project, for one environment; what others have is in other scopes too."""

    def __init__(self, root: Path, server: GitLab) -> None:
        super().__init__(root, server)
        self.owner = server.new("projects", f"shop/backend/app-{uuid.uuid4().hex[:8]}")
        self.scope = "production"
        self.document |= {"project": self.owner[1], "environment_scope": self.scope}
        for scope in ("*", "production/*"):
            for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "SOMETHING_ELSE"):
                server.put(self.owner, name, "of another scope", scope)

    def odd(self) -> dict[str, Any]:
        owner = self.server.new("projects", f"_Shop.eu/a.b_c-d/x..y_{uuid.uuid4().hex[:8]}")
        return {"project": owner[1], "environment_scope": "review/{a} $B.c_d-*"}

    def missing(self) -> dict[str, Any]:
        return {"project": "shop/nowhere"}


class GroupPlace(_GitLabPlace):
    """A group, for all environments."""

    def __init__(self, root: Path, server: GitLab) -> None:
        super().__init__(root, server)
        self.owner = server.new("groups", f"shop-{uuid.uuid4().hex[:8]}")
        self.document |= {"group": self.owner[1]}

    def odd(self) -> dict[str, Any]:
        owner = self.server.new("groups", f"_Shop.eu/a.b_c-d/x..y_{uuid.uuid4().hex[:8]}")
        return {"group": owner[1], "environment_scope": "*/a b"}

    def missing(self) -> dict[str, Any]:
        return {"group": "nowhere"}


class InstancePlace(_GitLabPlace):
    """The instance. There is one at a double, so it is emptied."""

    def __init__(self, root: Path, server: GitLab) -> None:
        super().__init__(root, server)
        server.new("instance")
        self.document |= {"instance": True}

    def odd(self) -> dict[str, Any]:
        return {"names": {"key_id": "_0dd__Name_", "secret": "s"}}

    def missing(self) -> dict[str, Any]:
        return {"url": f"{self.server.url}/nowhere"}

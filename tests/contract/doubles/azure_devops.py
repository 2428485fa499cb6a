"""Azure DevOps' double: projects with variable groups.

https://learn.microsoft.com/en-us/rest/api/azure/devops/distributedtask/variablegroups?view=azure-devops-rest-7.1
"""

from __future__ import annotations

import base64
import copy
import fnmatch
import itertools
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar

from tests.contract.place import TOKEN, Place
from tests.vendors.server import Call, Reply, VendorServer

_START = datetime(2026, 11, 1, tzinfo=UTC)
_ME = {"id": "8c8c7d32-6b1b-47f4-b2e9-30b477b5ab3d", "displayName": "CI Robot"}
_OTHER = {"id": "d6245f20-2af8-44f4-9451-8107cb2767db", "displayName": "Norman Paulk"}


class AzureDevOps(VendorServer):
    """Groups by number; ``projects`` are by organisation and name, in lower case: Azure DevOps takes Web for web."""

    vendor: ClassVar[str] = "azure-devops"

    def __init__(self) -> None:
        super().__init__()
        self.projects: dict[tuple[str, str], str] = {}
        self.groups: dict[int, dict[str, Any]] = {}
        self.unmanaged: set[int] = set()
        self._numbers = itertools.count(1)
        self._ticks = itertools.count(1)

    def new_project(self, organization: str, name: str) -> None:
        self.projects[organization.lower(), name.lower()] = str(uuid.uuid4())

    def new_group(self, organization: str, project: str, name: str, *, kind: str = "Vsts") -> int:
        number = next(self._numbers)
        here = {"id": self.projects[organization.lower(), project.lower()], "name": project}
        self.groups[number] = {
            "id": number,
            "name": name,
            "type": kind,
            "description": f"about {name}",
            "isShared": False,
            "createdBy": _OTHER,
            "createdOn": _at(0),
            "variableGroupProjectReferences": [{"name": name, "projectReference": here}],
            "variables": {"SITE": {"value": "https://example.com"}},
        }
        self._touch(number, _OTHER)
        return number

    def put(self, number: int, name: str, value: str, *, secret: bool = True, by: dict[str, str] = _OTHER) -> None:
        """Have somebody change one variable."""
        variables = self.groups[number]["variables"]
        known = next((key for key in variables if key.lower() == name.lower()), name)
        variables[known] = {"value": value, "isSecret": True} if secret else {"value": value}
        self._touch(number, by)

    def answer(self, call: Call) -> Reply:
        if call.headers.get("authorization") != f"Basic {base64.b64encode(f':{TOKEN}'.encode()).decode()}":
            if call.headers.get("x-tfs-fedauthredirect") == "Suppress":
                return Reply(401, {"message": "TF400813: The user '' is not authorized to access this resource."})
            return Reply(203, body=b"<html>Sign in</html>", headers=(("Content-Type", "text/html"),))
        organization = call.path[0]
        if call.path[1:] == ("_apis", "connectionData"):
            return Reply(200, {"authenticatedUser": {"id": _ME["id"], "providerDisplayName": _ME["displayName"]}})
        if call.method == "PUT":
            return self._put(int(call.path[-1]), call.body)
        project = self.projects.get((organization.lower(), call.path[1].lower()))
        if project is None:
            return Reply(404, {"message": f"TF200016: The following project does not exist: {call.path[1]}."})
        if call.path[-1] == "variablegroups":
            return self._list(call, project)
        found = self.groups.get(int(call.path[-1]))
        if found is None or not _is_in(found, project):
            return Reply(404, {"message": "VariableGroup does not exist."})
        return Reply(200, _shown(found))

    def _list(self, call: Call, project: str) -> Reply:
        pattern, action = call.asked("groupName", "*").lower(), call.asked("actionFilter", "none")
        first, size = int(call.asked("continuationToken", "0")), min(int(call.asked("$top", "100")), 100)
        found = [
            _shown(group) | {"variableGroupProjectReferences": None}
            for number, group in sorted(self.groups.items(), reverse=True)
            if _is_in(group, project)
            and fnmatch.fnmatchcase(group["name"].lower(), pattern.replace("[", "[[]").replace("?", "[?]"))
            and not (action == "manage" and number in self.unmanaged)
        ]
        more = first + size < len(found)
        headers = (("x-ms-continuationtoken", str(first + size)),) if more else ()
        shown = found[first : first + size]
        return Reply(200, {"count": len(shown), "value": shown}, headers=headers)

    def _put(self, number: int, body: dict[str, Any]) -> Reply:
        group = self.groups.get(number)
        if group is None:
            return Reply(404, {"message": "VariableGroup does not exist."})
        if number in self.unmanaged:
            return Reply(
                403, {"message": "You do not have permissions to perform this operation on the variable group."}
            )
        if not body["variables"] or len({name.lower() for name in body["variables"]}) < len(body["variables"]):
            return Reply(400, {"message": "Value cannot be null. Parameter name: variables"})
        # https://github.com/microsoft/azure-devops-node-api/issues/424
        if not all(reference.get("name") and reference.get("projectReference") for reference in _references(body)):
            return Reply(400, {"message": "Project information name is not valid for variable group."})
        before = {name.lower(): variable for name, variable in group["variables"].items()}
        variables = {}
        for name, sent in body["variables"].items():
            kept = before.get(name.lower(), {})
            keeps = sent.get("isSecret") and sent.get("value") is None and kept.get("isSecret")
            variables[name] = {**sent, "value": kept["value"]} if keeps else dict(sent)
        for reference in _references(body):
            project = reference["projectReference"]
            project.setdefault(
                "id", next((at for (_, name), at in self.projects.items() if name == project["name"].lower()), "")
            )
        group |= {name: copy.deepcopy(value) for name, value in body.items()} | {"variables": variables}
        self._touch(number, _ME)
        return Reply(200, _shown(group))

    def _touch(self, number: int, by: dict[str, str]) -> None:
        self.groups[number] |= {"modifiedBy": by, "modifiedOn": _at(next(self._ticks))}


def _at(tick: int) -> str:
    return (_START + timedelta(milliseconds=1500 * tick)).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _references(body: dict[str, Any]) -> list[dict[str, Any]]:
    return body["variableGroupProjectReferences"] or [{}]


def _is_in(group: dict[str, Any], project: str) -> bool:
    references = group["variableGroupProjectReferences"]
    return any(reference["projectReference"].get("id") == project for reference in references)


def _shown(group: dict[str, Any]) -> dict[str, Any]:
    """Return a group as Azure DevOps shows it: the values of secrets are null."""
    shown = copy.deepcopy(group)
    for variable in shown["variables"].values():
        if variable.get("isSecret"):
            variable["value"] = None
    return shown


class GroupPlace(Place):
    """A variable group. Nobody is told that a secret in it was replaced by another."""

    backend: ClassVar[str] = "azure-devops"
    variable: ClassVar[str] = "AZURE_DEVOPS_TOKEN"
    sees_foreign: ClassVar[bool] = False
    server: AzureDevOps

    def __init__(self, root: Path, server: AzureDevOps) -> None:
        super().__init__(root)
        self.server = server
        self.project = f"web {uuid.uuid4().hex[:8]}"
        server.new_project("shop", self.project)
        self.number = server.new_group("shop", self.project, "aws-production")
        self.document = {
            "backend": self.backend,
            "url": server.url,
            "organization": "shop",
            "project": self.project,
            "group": "aws-production",
        }
        self.environ = {"AZURE_DEVOPS_TOKEN": TOKEN, "AZURE_DEVOPS_TOKEN_HOST": server.url.removeprefix("http://")}

    @classmethod
    @contextmanager
    def serve(cls) -> Iterator[AzureDevOps]:
        with AzureDevOps() as server:
            yield server

    @classmethod
    def at(cls, server: Any, root: Path) -> GroupPlace:
        return cls(root, server)

    @property
    def variables(self) -> dict[str, dict[str, Any]]:
        """What is in the group, secrets too."""
        found: dict[str, dict[str, Any]] = self.server.groups[self.number]["variables"]
        return found

    def consumed(
        self, names: tuple[str, ...] = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
    ) -> tuple[str | None, ...]:
        return tuple(self.variables[name]["value"] if name in self.variables else None for name in names)

    def write_foreign(self, name: str = "AWS_SECRET_ACCESS_KEY") -> None:
        self.server.put(self.number, name, "foreign")

    def odd(self) -> dict[str, Any]:
        project, group = f"größe (a-b) {uuid.uuid4().hex[:8]}", "größe / 100 % #1 * [?] &=+"
        self.server.new_project("shop", project)
        self.server.new_group("shop", project, group.replace("*", "anything"))
        self.server.new_group("shop", project, group)
        return {"project": project, "group": group}

    def missing(self) -> dict[str, Any]:
        return {"group": "nowhere"}

    def crowd(self) -> None:
        for number in range(101):
            self.server.put(self.number, f"OTHER_{number}", "x", secret=number % 2 == 0)

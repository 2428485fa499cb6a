"""Variable groups of Azure DevOps over HTTP: found by name, read, and written as a whole.

https://learn.microsoft.com/en-us/rest/api/azure/devops/distributedtask/variablegroups?view=azure-devops-rest-7.1
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from ci_user.backends.http import Answer, Client, Remote
from ci_user.errors import BackendError
from ci_user.text import plain

NO_SIGN_IN: Final = {"X-TFS-FedAuthRedirect": "Suppress"}
"""Asks for a 401 instead of a page to sign in, as Microsoft's own clients do."""
_VERSION: Final = {"api-version": "7.1"}
_PAGE: Final = 100

Variable = Mapping[str, Any]
"""``value``, a string or None, and ``isSecret``; the value of a secret is None when it is read."""


@dataclass(frozen=True, slots=True)
class Group:
    """A variable group as it was read.

    Args:
        id: Its number.
        document: All that was answered.
        variables: The variables by name.
    """

    id: int
    document: Mapping[str, Any] = field(repr=False)
    variables: Mapping[str, Variable] = field(repr=False)

    @classmethod
    def of(cls, document: Any) -> Group | None:
        """Return the group in an answer; None when it is none."""
        if not isinstance(document, dict) or not isinstance(document.get("name"), str):
            return None
        number, variables = document.get("id"), document.get("variables")
        if not isinstance(number, int) or not isinstance(variables, dict):
            return None
        return cls(number, document, variables) if all(isinstance(v, dict) for v in variables.values()) else None

    @property
    def last_change(self) -> str:
        """When it was last changed and by whom, in words; of which variable, Azure DevOps does not tell."""
        by = self.document.get("modifiedBy")
        name = by.get("displayName") if isinstance(by, dict) else None
        return f"last changed by {plain(name or 'somebody', 100)} at {plain(self.document.get('modifiedOn'), 40)}"

    def find(self, name: str) -> Variable | None:
        """Return a variable; upper and lower case are the same to Azure DevOps."""
        return next((v for known, v in self.variables.items() if known.lower() == name.lower()), None)

    def without(self, names: Iterable[str]) -> dict[str, Variable]:
        """Return the other variables, just as they came."""
        gone = {name.lower() for name in names}
        return {name: variable for name, variable in self.variables.items() if name.lower() not in gone}


class SignInRemote(Remote):
    """A bad token is often answered with a page to sign in: as a 203, or by a redirect to one."""

    def redirected(self, doing: str) -> BackendError:
        """Return the error for a redirect."""
        return self._sign_in(doing, "a redirect, which is not followed")

    def not_understood(self, doing: str) -> BackendError:
        """Return the error for an answer of another shape than documented."""
        return self._sign_in(doing, "something else than it documents")

    def _sign_in(self, doing: str, answer: str) -> BackendError:
        return BackendError(
            f"{doing}: {self.vendor} answered with {answer}, most likely its page to sign in",
            where=self.target,
            expected=f"a token of this organisation that is not expired and has {self.needs}",
            do=f"renew the token in {self.credential}; if it is good, check `url` and `organization` in the environment file",
            runbook="backend",
        )


class Groups:
    """One variable group by its name.

    Args:
        client: Logged in to Azure DevOps.
        organization: The organisation.
        project: The project's name.
        name: The group's name.
    """

    def __init__(self, client: Client, organization: str, project: str, name: str) -> None:
        self._client = client
        self._organization = organization
        self._project = project
        self._name = name
        self._alike = ""
        self._path = (organization, project, "_apis", "distributedtask", "variablegroups")

    def login(self) -> str:
        """Return who the token belongs to, and what is left of the rate limit, where Azure DevOps tells it.

        Not every token may ask, which is no failure. The limit is told only to those who come near it:
        https://learn.microsoft.com/en-us/azure/devops/integrate/concepts/rate-limits#api-client-experience
        """
        path, query = (self._organization, "_apis", "connectionData"), {"api-version": "7.1-preview"}
        answer = self._client.call("GET", path, "logging in", query=query, expecting=(400, 401, 403, 404))
        user = answer.document.get("authenticatedUser") if isinstance(answer.document, dict) else None
        name = user.get("providerDisplayName") if isinstance(user, dict) else None
        left = answer.headers.get("X-RateLimit-Remaining")
        limit = f"; {plain(left, 20)} of the rate limit is left" if left else ""
        return (f"logged in as {plain(name, 100)}" if name else "logged in") + limit

    def see_that_it_may_be_managed(self) -> str:
        """Return that the token's owner may manage the group, in words.

        Raises:
            BackendError: The group is not among those that they may manage.
        """
        remote = self._client.remote
        if self._number("manage") is None:
            raise BackendError(
                f"the token in {remote.credential} may not manage {remote.what}",
                where=remote.target,
                expected=f"a token that has {remote.needs}",
                do="make its owner an administrator of the variable group (Pipelines, Library, Security)",
                runbook="backend",
            )
        return "the token's owner may manage the variable group"

    def read(self) -> Group:
        """Return the group as it is now.

        Raises:
            BackendError: There is none, it cannot be read, or its values are in a key vault.
        """
        remote = self._client.remote
        doing = f"reading {remote.what}"
        number = self._number("none")
        if number is None:
            alike = f", but {plain(self._alike, 256)}" if self._alike else ""
            raise remote.refused(doing, 404, f"no variable group of this name is listed{alike}")
        document = self._client.call("GET", (*self._path, str(number)), doing, query=_VERSION).document
        if document is None:
            raise remote.refused(doing, 404, "it is not there any more")
        group = Group.of(document)
        if group is None:
            raise remote.not_understood(doing)
        if group.document.get("type") != "Vsts":
            raise BackendError(
                f"{remote.what} is linked to a key vault, so its values are not in Azure DevOps",
                where=remote.target,
                expected="a variable group with values of its own",
                do="name another variable group in the environment file",
            )
        return group

    def write(self, group: Group, variables: Mapping[str, Variable]) -> None:
        """Replace all variables of a group at once; all else stays as it was read.

        Args:
            group: The group as it was read.
            variables: All its variables; the value of one may be a ``Secret``, and is None for a secret that stays.
        """
        read = group.document
        body = {
            "name": read["name"],
            "type": read["type"],
            "description": read.get("description"),
            # At least one is required; a group that is shared with other projects has more, and they stay.
            "variableGroupProjectReferences": read.get("variableGroupProjectReferences")
            or [{"name": self._name, "projectReference": {"name": self._project}}],
            "variables": variables,
        }
        if read.get("providerData") is not None:
            body["providerData"] = read["providerData"]
        path = (self._organization, "_apis", "distributedtask", "variablegroups", str(group.id))
        doing = f"writing {self._client.remote.what}"
        self._client.call("PUT", path, doing, query=_VERSION, body=body, secret=True)

    def _number(self, action: str) -> int | None:
        """Return the group's number, if it is among those that ``action`` is allowed on."""
        doing = f"looking for {self._client.remote.what}"
        # The name is a pattern to Azure DevOps, in which * stands for anything: more may be listed.
        query: dict[str, str | int] = {"groupName": self._name, "actionFilter": action, "$top": _PAGE, **_VERSION}
        for answer in self._client.pages(self._path, doing, after=_next_page, query=query):
            found = answer.document.get("value") if isinstance(answer.document, dict) else None
            if not isinstance(found, list) or not all(isinstance(item, dict) for item in found):
                raise self._client.remote.not_understood(doing)
            for item in found:
                name = item.get("name")
                if name == self._name and isinstance(item.get("id"), int):
                    return int(item["id"])
                # Another spelling would be another place in the journal.
                if isinstance(name, str) and name.lower() == self._name.lower():
                    self._alike = name
        return None


def authorization(token: str) -> dict[str, str]:
    """Return the header: a personal access token goes as the password of nobody.

    https://learn.microsoft.com/en-us/azure/devops/organizations/accounts/use-personal-access-tokens-to-authenticate
    """
    return {"Authorization": f"Basic {base64.b64encode(f':{token}'.encode()).decode()}"}


def _next_page(answer: Answer, number: int) -> dict[str, str | int] | None:
    del number
    token = answer.headers.get("x-ms-continuationtoken")
    return {"continuationToken": token} if token else None

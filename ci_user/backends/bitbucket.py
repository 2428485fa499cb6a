"""Bitbucket Cloud: Pipelines variables of a repository, of one of its deployment environments, or of a workspace.

https://developer.atlassian.com/cloud/bitbucket/rest/api-group-pipelines/
A secured variable is never shown again and has no time of change: all that is told of it is its uuid, which stays when
somebody edits it. So an edit is not seen; a variable that was deleted and made anew, or is not secured any more, is.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final, Literal, Self
from urllib.parse import parse_qsl, urlsplit

from pydantic import Field, model_validator

from ci_user.backends.hosted import HostedSettings
from ci_user.backends.http import Answer, Client
from ci_user.backends.protocol import About, BackendSettings, OpenContext
from ci_user.backends.refusals import not_delivered
from ci_user.backends.slots import Look, Note, SlotBackend, note_name
from ci_user.environment_fields import Url, expected, matching
from ci_user.errors import BackendError
from ci_user.text import plain

if TYPE_CHECKING:
    from ci_user.secret import Secret

NAME: Final = "bitbucket"
_PAGE: Final = 100
_SETTLE_SECONDS: Final = (1.0, 2.0, 4.0)
"""Waits for a new variable to be listed: the lists of deployment environments come from a cache."""
_MAY_WRITE: Final = frozenset({"pipeline:variable", "admin:pipeline:bitbucket"})
"""The scope that variables are written with, as access tokens and as API tokens call it."""
_SLUG: Final = r"(?!\.{1,2}(/|\Z))[A-Za-z0-9_.-]{1,62}"
"""https://support.atlassian.com/bitbucket-cloud/docs/what-is-a-slug/

The API takes uuids too. They are refused: the place would have two lines, and be emptied as the one that left the file.
"""

ABOUT: Final = About(
    title="Bitbucket Pipelines",
    consumers="secured variables of a repository, a deployment environment or a workspace",
    tested="a double that checks each request against Bitbucket's own OpenAPI description; never live",
    atomic=False,
    tells="a variable of the tool's own that is not secured, with the key id and the other variables' uuids",
    how_to="""\
```yaml
secrets:
  - backend: bitbucket
    repository: shop/app
    deployment: Production       # as the settings page writes it, upper and lower case too
```

Without `deployment` it is the repository's own variables; `workspace: shop` instead of both is the whole workspace's. Prefer a
deployment environment: only steps that deploy there read it.

Put the token into `BITBUCKET_TOKEN`:

- a [repository access token](https://support.atlassian.com/bitbucket-cloud/docs/create-a-repository-access-token/) (for a
  workspace: a workspace access token, Premium plan) with the scopes Repositories: Read and Pipelines: Edit variables; or
- `EMAIL:TOKEN` with an [API token](https://support.atlassian.com/bitbucket-cloud/docs/api-token-permissions/) of an administrator
  with the scopes `read:repository:bitbucket`, `read:pipeline:bitbucket` and `admin:pipeline:bitbucket`.

```yaml
pipelines:
  branches:
    main:
      - step:
          deployment: production
          script:
            - aws sts get-caller-identity
```

- Bitbucket tells nobody that a secured variable was edited. Only one that was deleted and made anew, or is not secured any more,
  is noticed.
- The tool's note is one more variable, `CI_USER_AWS_ACCESS_KEY_ID`, in clear text; it holds no secret.
- Who may push to the repository can print a secured variable in some disguise; a deployment environment can be
  limited to branches (Premium plan).
""",
)


class Settings(HostedSettings):
    """A repository, one of its deployment environments, or a workspace."""

    vendor: ClassVar[str] = "Bitbucket"
    variable: ClassVar[str] = "BITBUCKET_TOKEN"
    scopes: ClassVar[str] = (
        "the scopes repository and pipeline:variable (an API token: read:repository:bitbucket, read:pipeline:bitbucket"
        " and admin:pipeline:bitbucket)"
    )

    backend: Literal["bitbucket"] = Field(description="Which backend this is.")
    url: Url = Field(default="https://api.bitbucket.org", description="Bitbucket's address.")
    repository: Annotated[str, matching(f"{_SLUG}/{_SLUG}", "WORKSPACE/REPOSITORY, as in its address")] | None = Field(
        default=None, description="The repository: WORKSPACE/REPOSITORY."
    )
    deployment: Annotated[str, matching(r"[^\x00-\x1f\x7f]{1,200}", "a deployment environment's name")] | None = Field(
        default=None, description="The name of a deployment environment of the repository."
    )
    workspace: Annotated[str, matching(_SLUG, "a workspace's ID, as in its address")] | None = Field(
        default=None, description="The workspace, instead of a repository."
    )

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.repository is None) == (self.workspace is None):
            raise expected("either repository or workspace")
        if self.workspace is not None and self.deployment is not None:
            raise expected("no deployment beside workspace: deployment environments belong to a repository")
        return self

    def parts(self) -> tuple[str, ...]:
        """Return the scope, the workspace, and what is below it; slugs in lower case, since Shop/App is shop/app to Bitbucket."""
        if self.workspace is not None:
            return ("workspace", self.workspace.lower())
        place = tuple(str(self.repository).lower().split("/"))
        return ("repository", *place) if self.deployment is None else ("deployment", *place, self.deployment)

    @classmethod
    def of_parts(cls, parts: Sequence[str]) -> dict[str, Any] | None:
        """Return the settings' keys for the parts."""
        match parts:
            case ["workspace", workspace]:
                return {"workspace": workspace}
            case ["repository", workspace, repository]:
                return {"repository": f"{workspace}/{repository}"}
            case ["deployment", workspace, repository, deployment]:
                return {"repository": f"{workspace}/{repository}", "deployment": deployment}
        return None

    def what(self) -> str:
        """Return the place in words."""
        if self.workspace is not None:
            return f"the workspace {self.workspace}"
        where = f"the repository {self.repository}"
        return where if self.deployment is None else f"the deployment environment {self.deployment} of {where}"


def open_with(settings: BackendSettings, context: OpenContext) -> SlotBackend:
    """Return the backend of ``settings``."""
    if not isinstance(settings, Settings):
        raise TypeError(f"{NAME} needs its own settings")
    target = settings.target(context.environment)
    return SlotBackend(NAME, target, settings.names, lambda: _Variables(settings, context), context)


class _Variables:
    """The variables of one place."""

    vendor: str = "Bitbucket"

    def __init__(self, settings: Settings, context: OpenContext) -> None:
        token = settings.login(context)
        self._settings = settings
        self._pause = context.pause
        self._environment: str | None = None
        self._uuids: dict[str, str] = {}
        self._made: set[str] = set()
        self._client = Client(
            f"{settings.url.rstrip('/')}/2.0",
            token=token,
            remote=settings.remote(token, context.environment),
            authorization=_authorization,
            ca_file=settings.trusted(context.root),
            check=context.check,
            pause=context.pause,
        )

    def check(self) -> tuple[str, ...]:
        """Log in, find the place, and see that the token may write variables, where Bitbucket tells its scopes."""
        if self._settings.repository is None:
            path, doing = self._place(), "listing the variables"
        else:
            path, doing = self._repository(), f"looking for the repository {self._settings.repository}"
        answer = self._client.call("GET", path, doing)
        if not isinstance(answer.document, dict):
            raise self._client.remote.not_understood(doing)
        scopes = self._scopes(answer.headers)
        self._place()
        return (scopes, f"{self._settings.what()} exists")

    def look(self) -> Look:
        """Return the variables with their uuids, and the note.

        While the note says "being written" no uuid is told: it stays when a variable is written, which is not to be
        taken for a write that had no effect.
        """
        for wait in (*_SETTLE_SECONDS, None):
            listed = {item["key"]: item for item in self._items(self._place(), "listing the variables", "key")}
            if wait is None or self._made <= listed.keys():
                break
            self._pause(wait)
        self._made.clear()
        self._uuids = {name: item["uuid"] for name, item in listed.items()}
        own = note_name(self._settings.names)
        note = None
        if own in listed:
            # A variable of the note's name that is no note is somebody else's, and so nobody's note.
            note = Note.parse(listed[own].get("value")) or Note("", None, {})
        told = note is None or note.key_id is not None
        stamps = {name: _stamp(item) if told else "" for name, item in listed.items() if name != own}
        return Look(stamps, note)

    def write(self, name: str, value: Secret, *, exists: bool) -> None:
        """Make one variable, or replace it by its uuid."""
        del exists
        self._put(name, value, secured=True)

    def write_note(self, note: Note, *, before: Note | None) -> None:
        """Make or replace the variable that the note is in, with the uuids as they are now."""
        del before
        if note.key_id is not None:
            note = replace(note, stamps={name: self._uuids.get(name, "") for name in note.stamps})
        self._put(note_name(self._settings.names), note.text(), secured=False)

    def delete(self, name: str) -> None:
        """Delete one variable."""
        self._made.discard(name)
        uuid = self._uuids.pop(name, None)
        if uuid is not None:
            doing = f"deleting the variable {name}"
            self._client.call("DELETE", (*self._place(), uuid), doing, expecting=(404,))

    def delete_note(self, note: Note) -> None:
        """Delete the variable that the note is in."""
        del note
        self.delete(note_name(self._settings.names))

    def _put(self, name: str, value: Secret | str, *, secured: bool) -> None:
        doing = f"writing the variable {name}"
        body = {"key": name, "value": value, "secured": secured}
        uuid = self._uuids.get(name)
        if uuid is not None:
            made = self._client.call("PUT", (*self._place(), uuid), doing, body=body, secret=True).document
        else:
            # A 409 says that somebody made it since it was looked for: that is not overwritten.
            made = self._client.call("POST", self._place(), doing, body=body, secret=True).document
            if not _has(made, "uuid"):
                raise self._client.remote.not_understood(doing)
            self._uuids[name] = made["uuid"]
            self._made.add(name)
        if secured and isinstance(made, dict) and made.get("secured") is False:
            raise not_delivered(self._client.remote.target, name, "Bitbucket does not keep it secured")

    def _repository(self) -> tuple[str, ...]:
        return ("repositories", *str(self._settings.repository).split("/"))

    def _place(self) -> tuple[str, ...]:
        """Return the path of the variables. The three scopes spell it differently."""
        if self._settings.workspace is not None:
            return ("workspaces", self._settings.workspace, "pipelines-config", "variables")
        if self._settings.deployment is None:
            return (*self._repository(), "pipelines_config", "variables")
        if self._environment is None:
            self._environment = self._found(self._settings.deployment)
        return (*self._repository(), "deployments_config", "environments", self._environment, "variables")

    def _found(self, deployment: str) -> str:
        """Return the uuid of a deployment environment.

        Pipelines takes `deployment: production` for the environment Production that each repository begins with. Here it has to
        be written as it is listed: another spelling would be another place in the journal.
        """
        doing = f"looking for {self._settings.what()}"
        names: list[str] = []
        for item in self._items((*self._repository(), "environments"), doing, "name"):
            if item["name"] == deployment:
                return str(item["uuid"])
            names.append(item["name"])
        alike = [name for name in names if name.lower() == deployment.lower()]
        listed = ", ".join(plain(name, 60) for name in (alike or names)[:10]) or "none"
        raise self._client.remote.refused(
            doing, 404, f"no deployment environment of this name is listed, but {'' if not alike else 'as '}{listed}"
        )

    def _items(self, path: Sequence[str], doing: str, naming: str) -> Iterator[dict[str, Any]]:
        """Yield the items of every page, each with a uuid and ``naming``."""
        seen: set[str] = set()
        news = False

        def after(answer: Answer, number: int) -> Mapping[str, str | int] | None:
            # A list that knows no pages gives the first one again and again.
            return _next_page(answer.document, number, len(seen)) if news else None

        for answer in self._client.pages(path, doing, after=after, query={"pagelen": _PAGE}):
            values = answer.document.get("values") if isinstance(answer.document, dict) else None
            if not isinstance(values, list) or not all(_has(item, "uuid", naming) for item in values):
                raise self._client.remote.not_understood(doing)
            new = [item for item in values if item["uuid"] not in seen]
            seen.update(item["uuid"] for item in new)
            news = bool(new)
            yield from new

    def _scopes(self, headers: Mapping[str, str]) -> str:
        """Return what the answer tells of the token's scopes, in words.

        https://support.atlassian.com/bitbucket-cloud/kb/how-to-fetch-the-scope-of-a-token-via-command-line/

        Raises:
            BackendError: It tells them, and variables cannot be written with them.
        """
        told = headers.get("X-OAuth-Scopes")
        if not told:
            return "logged in; Bitbucket does not tell the token's scopes here"
        scopes = {scope.strip() for scope in told.split(",")}
        if scopes & _MAY_WRITE:
            return "logged in with a token that may write variables"
        remote = self._client.remote
        raise BackendError(
            f"the token in {remote.credential} may not write variables: its scopes are {plain(told, 200)}",
            where=remote.target,
            expected=f"a token that has {remote.needs}",
            do=f"make a token that has {remote.needs}, and put it into {remote.credential}",
            runbook="backend",
        )


def _authorization(token: str) -> dict[str, str]:
    """Return the header: an access token goes alone, an API token with its user.

    https://developer.atlassian.com/cloud/bitbucket/rest/intro/#authentication
    """
    if ":" in token:
        return {"Authorization": f"Basic {base64.b64encode(token.encode()).decode()}"}
    return {"Authorization": f"Bearer {token}"}


def _next_page(document: Any, number: int, seen: int) -> Mapping[str, str | int] | None:
    """Return the query of the page after page ``number``, None after the last; ``seen`` items have been read.

    The lists of Pipelines have no ``next`` link (https://jira.atlassian.com/browse/BCLOUD-20639), others do. Of a link
    only the query is taken: where it leads is not for the answer to say.
    """
    if not document["values"]:
        return None
    link = document.get("next")
    if isinstance(link, str) and link:
        return dict(parse_qsl(urlsplit(link).query))
    size = document.get("size")
    return None if isinstance(size, int) and seen >= size else {"page": number + 1}


def _stamp(item: Mapping[str, Any]) -> str:
    """Return a variable's uuid, and that somebody has made it readable: they had to give it a value of their own for that."""
    return f"{item['uuid']}, not secured" if item.get("secured") is False else str(item["uuid"])


def _has(item: Any, *members: str) -> bool:
    return isinstance(item, dict) and all(isinstance(item.get(member), str) for member in members)

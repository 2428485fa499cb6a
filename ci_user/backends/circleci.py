"""CircleCI: environment variables of a context or of a project.

https://circleci.com/docs/api/v2/
A variable is never shown again. Its name is, and so the tool's note is a name: CI_USER, the environment, the key id and the
variables' names, joined by two underscores.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final, Literal, Self

from pydantic import Field, model_validator

from ci_user.backends.hosted import HostedSettings
from ci_user.backends.http import Answer, Client
from ci_user.backends.key_names import RESERVED
from ci_user.backends.protocol import About, BackendSettings, OpenContext
from ci_user.backends.refusals import KEY_ID
from ci_user.backends.slots import Look, Note, SlotBackend
from ci_user.environment_fields import Url, expected, matching

if TYPE_CHECKING:
    from ci_user.secret import Secret

NAME: Final = "circleci"
_WRITING: Final = "WRITING"
_SETTLED: Final = "settled"
"""Stands for the stamp that a variable had when the note was written, where that is not known."""
_LISTING: Final = "listing the variables"

ABOUT: Final = About(
    title="CircleCI",
    consumers="environment variables of a context or a project",
    tested="a double that checks each request against a description written from CircleCI's documentation; never live",
    atomic=False,
    tells="a variable whose name has the key id, and (contexts only) times of change",
    how_to="""\
```yaml
secrets:
  - backend: circleci
    organization: gh/shop
    context: production
```

For a project instead of a context: `project: gh/shop/app`. The token is a [personal API
token](https://circleci.com/docs/managing-api-tokens/) of somebody who may edit the context; a project token cannot. Put it into
`CIRCLE_TOKEN`; for a server of your own give `url`, and name its host in `CIRCLE_TOKEN_HOST`.

The pipeline reads it as it reads any variable of a context:

```yaml
workflows:
  release:
    jobs:
      - deploy:
          context: production
```

- A context tells when a variable was changed, a project does not: there, a change by somebody else is seen only when it alters
  the last four characters of the key id.
- The tool's note is one more variable, `CI_USER__ENVIRONMENT__KEYID__...`. Its value says nothing.
""",
)


class Settings(HostedSettings):
    """A context of an organisation, or a project."""

    vendor: ClassVar[str] = "CircleCI"
    variable: ClassVar[str] = "CIRCLE_TOKEN"
    scopes: ClassVar[str] = (
        "the rights of a person who may edit the context's or project's variables (a personal API token)"
    )

    backend: Literal["circleci"] = Field(description="Which backend this is.")
    url: Url = Field(default="https://circleci.com", description="CircleCI's address, or that of a server of your own.")
    organization: (
        Annotated[str, matching(r"(gh|bb|circleci)/[A-Za-z0-9._-]{1,100}", "gh/ORG, bb/ORG or circleci/ID")] | None
    ) = Field(default=None, description="The context's organisation: gh/ORG, bb/ORG or circleci/ID.")
    context: Annotated[str, matching(r"(?!\.{1,2}\Z)[^\x00-\x1f\x7f]{1,200}", "a context's name")] | None = Field(
        default=None, description="The context's name."
    )
    project: (
        Annotated[
            str,
            matching(
                r"(gh|bb|circleci)/(?!\.{1,2}/)[A-Za-z0-9._-]{1,100}/(?!\.{1,2}\Z)[A-Za-z0-9._-]{1,100}",
                "gh/ORG/REPOSITORY, bb/WORKSPACE/REPOSITORY or circleci/ORG-ID/PROJECT-ID",
            ),
        ]
        | None
    ) = Field(default=None, description="The project, instead of organisation and context.")

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.project is None) == (self.context is None) or (self.context is None) != (self.organization is None):
            raise expected("organization and context, or project")
        if any("__" in name.strip("_") or name.startswith("_") or name.endswith("_") for name in self.names.all):
            raise expected("names without two underscores in a row, and without one at either end")
        return self

    def parts(self) -> tuple[str, ...]:
        """Return the slug's parts, and the context's name."""
        if self.project is not None:
            return ("project", *self.project.split("/"))
        return ("context", *str(self.organization).split("/"), str(self.context))

    @classmethod
    def of_parts(cls, parts: Sequence[str]) -> dict[str, Any] | None:
        """Return organisation and context, or the project."""
        if len(parts) != 4:
            return None
        if parts[0] == "project":
            return {"project": "/".join(parts[1:])}
        return {"organization": "/".join(parts[1:3]), "context": parts[3]} if parts[0] == "context" else None

    def what(self) -> str:
        """Return the place in words."""
        return f"the project {self.project}" if self.project else f"the context {self.context} of {self.organization}"


def open_with(settings: BackendSettings, context: OpenContext) -> SlotBackend:
    """Return the backend of ``settings``."""
    if not isinstance(settings, Settings):
        raise TypeError(f"{NAME} needs its own settings")
    place = _Project if settings.project else _Context
    target = settings.target(context.environment)
    return SlotBackend(NAME, target, settings.names, lambda: place(settings, context), context)


class _Variables:
    """The variables of a context or project."""

    vendor: str = "CircleCI"

    def __init__(self, settings: Settings, context: OpenContext) -> None:
        token = settings.login(context)
        self._settings = settings
        self._prefix = context.environment.prefix
        self._notes: list[str] = []
        self._client = Client(
            f"{settings.url.rstrip('/')}/api/v2",
            token=token,
            remote=settings.remote(token, context.environment),
            authorization=lambda value: {"Circle-Token": value},
            ca_file=settings.trusted(context.root),
            check=context.check,
            pause=context.pause,
        )

    def check(self) -> tuple[str, ...]:
        """Log in and find the place; what the token may write, CircleCI does not tell."""
        me = self._client.call("GET", ("me",), "logging in").document
        login = str(me.get("login") or me.get("name")) if isinstance(me, dict) else "somebody"
        self._find()
        return (f"logged in as {login}", f"{self._settings.what()} exists")

    def write(self, name: str, value: Secret, *, exists: bool) -> None:
        """Make or replace one variable, in one request."""
        del exists
        self._put(name, value)

    def write_note(self, note: Note, *, before: Note | None) -> None:
        """Make the variable whose name is the note, then delete the ones before it: a run that died may have left two."""
        del before
        name = self._note_name(note)
        self._put(name, self._prefix)
        for other in self._notes:
            if other != name:
                self.delete(other)
        self._notes = [name]

    def delete_note(self, note: Note) -> None:
        """Delete the variables whose names are the note."""
        del note
        for name in self._notes:
            self.delete(name)

    def delete(self, name: str) -> None:
        """Delete one variable."""
        raise NotImplementedError

    def _find(self) -> None:
        raise NotImplementedError

    def _put(self, name: str, value: Secret | str) -> None:
        raise NotImplementedError

    def _all(
        self, path: Sequence[str], doing: str = _LISTING, query: Mapping[str, str | int] | None = None
    ) -> Iterator[dict[str, Any]]:
        """Yield the items of every page."""
        for answer in self._client.pages(path, doing, after=_next_page, query=query):
            items = answer.document.get("items") if isinstance(answer.document, dict) else None
            if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
                raise self._client.remote.not_understood(doing)
            yield from items

    def _note_name(self, note: Note) -> str:
        return "__".join(("CI_USER", _owner(note.owner), note.key_id or _WRITING, *note.stamps))

    def _note(self, names: Sequence[str]) -> Note | None:
        """Return the note for this place's names among all names; its own comes before another environment's.

        Of two, which a run that was interrupted left, the one that says "being written" counts.
        """
        found = [note for name in names if (note := _parse(name, self._prefix)) is not None]
        anchor = self._settings.names.all[0]
        fitting = [note for note in found if anchor in note.stamps]
        self._notes = [self._note_name(note) for note in fitting if note.owner == self._prefix]
        fitting.sort(key=lambda note: (note.owner != self._prefix, note.key_id is not None))
        return fitting[0] if fitting else None


class _Context(_Variables):
    """A context."""

    _id: str | None = None

    def _find(self) -> None:
        self._place()

    def _place(self) -> tuple[str, ...]:
        if self._id is None:
            doing = f"looking for {self._settings.what()}"
            query = {"owner-slug": str(self._settings.organization)}
            for item in self._all(("context",), doing, query):
                if item.get("name") == self._settings.context:
                    self._id = str(item.get("id") or "")
                    break
            else:
                raise self._client.remote.refused(doing, 404, "no context of this name is listed")
            if not self._id:
                raise self._client.remote.not_understood(doing)
        return ("context", self._id, "environment-variable")

    def look(self) -> Look:
        """Return the variables with the times of their last change, and the note."""
        changed = {str(item.get("variable")): self._time(item.get("updated_at")) for item in self._all(self._place())}
        note = self._note(tuple(changed))
        stamps = {name: at.isoformat() for name, at in changed.items() if not name.startswith(RESERVED)}
        if note is not None and note.key_id is not None:
            # The note has no room for times: what is not younger than it is as it was written.
            written = changed[self._note_name(note)]
            settled = {name: stamps[name] for name in note.stamps if name in stamps and changed[name] <= written}
            note = Note(note.owner, note.key_id, {name: settled.get(name, _SETTLED) for name in note.stamps})
        return Look(stamps, note)

    def _time(self, text: object) -> datetime:
        try:
            found = datetime.fromisoformat(text) if isinstance(text, str) else None
        except ValueError:
            found = None
        if found is None or found.tzinfo is None:
            raise self._client.remote.not_understood(_LISTING)
        return found

    def delete(self, name: str) -> None:
        """Delete one variable."""
        self._client.call("DELETE", (*self._place(), name), f"deleting the variable {name}", expecting=(404,))

    def _put(self, name: str, value: Secret | str) -> None:
        self._client.call(
            "PUT", (*self._place(), name), f"writing the variable {name}", body={"value": value}, secret=True
        )


class _Project(_Variables):
    """A project. Its variables have no time of change; of the value, CircleCI shows the last four characters."""

    def _slug(self) -> tuple[str, ...]:
        return ("project", *str(self._settings.project).split("/"))

    def _find(self) -> None:
        self._client.call("GET", self._slug(), f"looking for {self._settings.what()}")

    def look(self) -> Look:
        """Return the variables, the key id's with what is shown of it, and the note."""
        shown = {str(item.get("name")): str(item.get("value")) for item in self._all((*self._slug(), "envvar"))}
        note = self._note(tuple(shown))
        stamps = {name: "" for name in shown if not name.startswith(RESERVED)}
        anchor = self._settings.names.all[0]
        if note is not None and note.key_id is not None:
            if anchor in stamps:
                stamps[anchor] = _SETTLED if shown[anchor][-4:] == note.key_id[-4:] else "another"
            note = Note(note.owner, note.key_id, {**dict.fromkeys(note.stamps, ""), anchor: _SETTLED})
        return Look(stamps, note)

    def delete(self, name: str) -> None:
        """Delete one variable."""
        self._client.call("DELETE", (*self._slug(), "envvar", name), f"deleting the variable {name}", expecting=(404,))

    def _put(self, name: str, value: Secret | str) -> None:
        body = {"name": name, "value": value}
        # POST replaces an existing variable: https://circleci.com/docs/api/v2/#operation/createEnvVar
        self._client.call("POST", (*self._slug(), "envvar"), f"writing the variable {name}", body=body, secret=True)


def _next_page(answer: Answer, number: int) -> dict[str, str | int] | None:
    del number
    token = answer.document.get("next_page_token") if isinstance(answer.document, dict) else None
    return {"page-token": str(token)} if token else None


def _owner(prefix: str) -> str:
    return prefix.upper().replace("-", "_")


def _parse(name: str, prefix: str) -> Note | None:
    """Return the note that a variable's name is; of another environment only that it is another's is known."""
    match = re.fullmatch(rf"CI_USER__(?P<owner>[A-Z0-9_]+?)__(?P<key>{_WRITING}|{KEY_ID})__(?P<names>.+)", name)
    if match is None:
        return None
    owner = prefix if match["owner"] == _owner(prefix) else match["owner"]
    key_id = None if match["key"] == _WRITING else match["key"]
    return Note(owner, key_id, dict.fromkeys(match["names"].split("__"), ""))

"""The variables of one scope of a GitLab project or group, or of an instance.

https://docs.gitlab.com/api/project_level_variables/, https://docs.gitlab.com/api/group_level_variables/ and
https://docs.gitlab.com/api/instance_level_ci_variables/
GitLab gives a variable's value to whoever asks for the variable, and a list has all values in it. So nothing is listed, and
whether the secret's variable is there is asked with HEAD, whose answer has no content
(https://www.rfc-editor.org/rfc/rfc9110#name-head; GitLab's API has a HEAD for each GET). Just two variables are read: the
note and, where the note is ours, the key id's.

No variable has a time of change. Each write puts a new number into the description; with it the key id's variable tells of a
change by somebody else. What happens to the secret's variable alone, GitLab tells nobody who doesn't read it.
"""

from __future__ import annotations

import hashlib
import json
import re
import secrets
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from ci_user.backends.gitlab_api import Api, Variable
from ci_user.backends.refusals import not_delivered, not_ours
from ci_user.backends.slots import Look, Note, note_name
from ci_user.errors import BackendError
from ci_user.secret import Secret
from ci_user.text import plain

if TYPE_CHECKING:
    from ci_user.backends.gitlab import Settings
    from ci_user.backends.protocol import OpenContext

_OLDEST: Final = (17, 4)
"""The first version that has hidden variables; the rest is older (https://docs.gitlab.com/ci/variables/#hide-a-cicd-variable)."""
_MASKABLE: Final = r"\S{8,}"
"""What GitLab masks where nothing is expanded (https://docs.gitlab.com/ci/variables/#mask-a-cicd-variable)."""
_KEY: Final = r"[A-Za-z0-9_]{1,255}"
_ROLES: Final = {10: "Guest", 15: "Planner", 20: "Reporter", 30: "Developer", 40: "Maintainer", 50: "Owner"}
"""https://docs.gitlab.com/api/access_requests/#valid-access-levels"""


class Variables:
    """See ``slots.Store``.

    Args:
        settings: The place, the scope and the flags.
        context: The environment, and where the token comes from.

    Raises:
        BackendError: There is no token, it is for another host, or python-gitlab is not installed.
    """

    vendor: str = "GitLab"

    def __init__(self, settings: Settings, context: OpenContext) -> None:
        token = settings.login(context)
        self._settings = settings
        self._prefix = context.environment.prefix
        self._protected = context.environment.protected if settings.protected is None else settings.protected
        self._remote = settings.remote(token, context.environment)
        self._api = Api(
            settings.url,
            token=token,
            remote=self._remote,
            ca_file=settings.trusted(context.root),
            check=context.check,
            pause=context.pause,
        )
        self._known: Mapping[str, Any] | None = None
        self._scope = None if settings.instance else settings.environment_scope
        # Without it, a name that is there in several scopes is a 409, and a name in one other scope is that one.
        self._query = _filter(self._scope)

    def check(self) -> tuple[str, ...]:
        """Look at the token's scopes and GitLab's version, find the place, and see that its variables may be managed."""
        found = [self._check_token(), self._check_version()]
        place = self._find()
        if place.get("archived"):
            raise self._wrong(
                f"{self._settings.what()} is archived: nothing in it can be changed",
                "unarchive it, or correct its name in the environment file",
            )
        found.append(f"{self._settings.what()} exists{_role(place)}")
        # Reading a single variable needs the same right as writing one; the role's name would not tell (custom roles).
        self._read_note()
        found.append("the token may manage its variables")
        if self._settings.masked:
            found.append("key ids and secrets fit what GitLab can mask")
        if self._api.left is not None:
            found.append(f"{plain(self._api.left, 20)} requests are left before GitLab limits them")
        return tuple(found)

    def look(self) -> Look:
        """Return which variables are there, the key id's with what tells its state, and the note."""
        # First, so that the 404 of a variable means the variable.
        self._find()
        note = self._read_note()
        ours = note is not None and note.owner == self._prefix
        stamps: dict[str, str] = {}
        for name in dict.fromkeys((*self._settings.names.all, *(note.stamps if note else ()))):
            if ours and name == self._settings.names.all[0]:
                document = self._read(name)
                if document is not None:
                    stamps[name] = _stamp(document)
            elif self._api.exists(self._path(name), f"looking for the variable {name}", self._query):
                stamps[name] = ""
        return Look(stamps, note)

    def write(self, name: str, value: Secret, *, exists: bool) -> None:
        """Make or replace one variable."""
        _, secret, *region = self._settings.names.all
        masked = self._settings.masked and name not in region
        if masked and re.fullmatch(_MASKABLE, value.reveal()) is None:
            raise self._wrong(
                f"the value for {name} cannot be masked: it is shorter than 8 characters, or has spaces",
                "set `masked: false` for this entry of the environment file",
            )
        hidden = self._settings.hidden and name == secret
        self._write(Variable(name, value, self._fields(masked=masked), hidden), exists=exists)

    def write_note(self, note: Note, *, before: Note | None) -> None:
        """Make or replace the note. It comes first, so a GitLab that takes another scope never sees a secret."""
        variable = Variable(note_name(self._settings.names), note.text(), self._fields(masked=False))
        self._write(variable, exists=before is not None)

    def delete(self, name: str) -> None:
        """Delete one variable of this scope."""
        self._api.delete(self._path(name), f"deleting the variable {name}", self._query)

    def delete_note(self, note: Note) -> None:
        """Delete the note."""
        del note
        self.delete(note_name(self._settings.names))

    def _check_token(self) -> str:
        """Return what GitLab tells of the token; some kinds of tokens may not ask."""
        doing = "asking for the token's scopes"
        found = self._api.get("/personal_access_tokens/self", doing, expecting=(400, 403, 404))
        if found is None:
            return "the token's scopes are not told"
        if not isinstance(found.get("scopes"), list):
            raise self._remote.not_understood(doing)
        scopes = [str(scope) for scope in found["scopes"]]
        told = plain(", ".join(scopes), 200) or "(none)"
        # Fine-grained tokens have the scope "granular", and what they may is told nowhere.
        if not {"api", "granular"} & set(scopes):
            raise self._wrong(
                f"the token in {self._remote.credential} has the scopes {told}, which may not write variables",
                f"make a token that has {self._remote.needs}",
            )
        until = found.get("expires_at")
        return f"the token has the scopes {told}" + (f", until {plain(str(until), 20)}" if until else "")

    def _check_version(self) -> str:
        doing = "asking for GitLab's version"
        found = self._api.get("/version", doing, expecting=(403, 404))
        if found is None:
            return "GitLab's version is not told"
        version = found.get("version")
        match = re.match(r"(\d{1,4})\.(\d{1,4})", version) if isinstance(version, str) else None
        if match is None:
            raise self._remote.not_understood(doing)
        if (int(match[1]), int(match[2])) < _OLDEST:
            raise self._wrong(
                f"this GitLab has version {plain(str(version), 40)}; {_OLDEST[0]}.{_OLDEST[1]} or later is needed",
                "update GitLab, or choose another backend",
            )
        return f"GitLab {plain(str(version), 40)}"

    def _find(self) -> Mapping[str, Any]:
        """Return what GitLab tells of the place; it is asked once."""
        if self._known is None:
            doing = f"looking for {self._settings.what()}"
            query = {"with_projects": "false"} if self._settings.group else {}
            known = self._api.get(self._place, doing, query) or {}
            field = (
                "path_with_namespace" if self._settings.project else "full_path" if self._settings.group else "version"
            )
            told = known.get(field)
            if not isinstance(told, str):
                raise self._remote.not_understood(doing)
            path = self._settings.project or self._settings.group
            if path is not None and told != path:
                # Another spelling would be another place in the journal.
                raise self._wrong(
                    f"GitLab writes {self._settings.what()} as {plain(told, 300)}",
                    "write the path so in the environment file",
                )
            self._known = known
        return self._known

    @property
    def _place(self) -> str:
        if self._settings.project is not None:
            return f"/projects/{quote(self._settings.project, safe='')}"
        return f"/groups/{quote(self._settings.group, safe='')}" if self._settings.group else "/version"

    @property
    def _list(self) -> str:
        return "/admin/ci/variables" if self._settings.instance else f"{self._place}/variables"

    def _path(self, name: str) -> str:
        return f"{self._list}/{quote(name, safe='')}"

    def _read_note(self) -> Note | None:
        name = note_name(self._settings.names)
        document = self._read(name)
        if document is None:
            return None
        note = Note.parse(document.get("value"))
        if note is None or not all(re.fullmatch(_KEY, each) for each in note.stamps):
            raise not_ours(self._remote.target, f"the variable {name}")
        return note

    def _read(self, name: str) -> Mapping[str, Any] | None:
        """Return a variable that holds no secret, None when it is not there."""
        doing = f"reading the variable {name}"
        found = self._api.get(self._path(name), doing, self._query, expecting=(404,))
        if found is not None and (found.get("key") != name or found.get("environment_scope") != self._scope):
            raise self._remote.not_understood(doing)
        return found

    def _fields(self, *, masked: bool) -> dict[str, Any]:
        return {
            "environment_scope": self._scope,
            "masked": masked,
            "protected": self._protected,
            "raw": True,
            "variable_type": "env_var",
            "description": f"Kept by ci-user for {self._prefix}: do not change it. Write {secrets.token_hex(8)}.",
        }

    def _write(self, variable: Variable, *, exists: bool) -> None:
        doing = f"writing the variable {variable.key}"
        written = self._api.update(self._path(variable.key), doing, variable, self._query) if exists else None
        if written is not None and written.differs == ("hidden",):
            # The note says "being written" meanwhile, so that a run which ends here is finished by the next one.
            self.delete(variable.key)
            written = None
        if written is None:
            written = self._api.create(self._list, doing, variable)
            if "environment_scope" in written.differs:
                # Without a licence for a group's scopes GitLab takes * and says so in its answer only.
                self._api.delete(self._path(variable.key), f"deleting {variable.key} again", _filter(written.scope))
                raise self._wrong(
                    f"GitLab made {variable.key} for the scope {plain(written.scope, 100)}, not {self._scope};"
                    " it was deleted again",
                    "leave `environment_scope` out, or name a project: a group has scopes in Premium and Ultimate only",
                )
        if written.differs:
            raise not_delivered(self._remote.target, variable.key, f"GitLab tells another {', '.join(written.differs)}")

    def _wrong(self, what: str, do: str) -> BackendError:
        return BackendError(what, where=self._remote.target, do=do, runbook="backend")


def _filter(scope: str | None) -> dict[str, Any]:
    return {} if scope is None else {"filter": {"environment_scope": scope}}


def _stamp(document: Mapping[str, Any]) -> str:
    """Return what changes with anything that can be changed of the key id's variable."""
    fields = ("value", "description", "masked", "protected", "raw", "variable_type", "hidden")
    return hashlib.sha256(json.dumps([document.get(field) for field in fields]).encode()).hexdigest()[:16]


def _role(place: Mapping[str, Any]) -> str:
    """Return the token's role, where GitLab tells it: of projects only, and not when it is from an invited group."""
    permissions = place.get("permissions")
    levels = [
        access["access_level"]
        for access in (permissions.values() if isinstance(permissions, dict) else ())
        if isinstance(access, dict) and isinstance(access.get("access_level"), int)
    ]
    return f", where the token's role is {_ROLES.get(max(levels), max(levels))}" if levels else ""

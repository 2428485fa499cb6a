"""The secrets of one scope of GitHub Actions, and the variable beside them that is the tool's note.

https://docs.github.com/rest/actions/secrets and https://docs.github.com/rest/actions/variables
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Final

from ci_user.backends.github import app_in
from ci_user.backends.github_api import Api, AppLogin, is_private_key
from ci_user.backends.github_preflight import KINDS, Preflight
from ci_user.backends.github_requests import sealed
from ci_user.backends.slots import Look, Note, note_name
from ci_user.errors import BackendError
from ci_user.secret import Secret

if TYPE_CHECKING:
    from ci_user.backends.github import Settings
    from ci_user.backends.http import Answer
    from ci_user.backends.protocol import OpenContext

LARGEST: Final = 48 * 1024
"""Bytes of a secret (https://docs.github.com/actions/reference/security/secrets)."""
MOST_SECRETS: Final = {"orgs": 1000, "repos": 100, "environments": 100}
"""https://docs.github.com/actions/reference/security/secrets#limits-for-secrets"""
MOST_VARIABLES: Final = {"orgs": 1000, "repos": 500, "environments": 100}
"""https://docs.github.com/actions/reference/workflows-and-actions/variables#limits-for-configuration-variables"""
_SETTLE_SECONDS: Final = (1.0, 2.0, 4.0)
"""Waits for a list to show what was written: it may come from a copy that lags behind.

https://github.com/integrations/terraform-provider-github/issues/810: a second after a write the time of change was the old one.
"""
_CLOCKS_DIFFER: Final = timedelta(seconds=5)


class Secrets:
    """The secrets of one scope, and the variable beside them."""

    vendor: str = "GitHub"

    def __init__(self, settings: Settings, context: OpenContext) -> None:
        token = settings.login(context)
        name = (settings.repository or "").partition("/")[2] or None
        # A key of an App without an App would be sent as a token: Api refuses it.
        app = settings.app or (app_in(context.environ) if is_private_key(token.secret) else None)
        login = AppLogin(app.id, app.installation, name) if app else None
        self._app = app
        self._settings = settings
        self._kind = next((kind for kind in KINDS if token.secret.reveal().startswith(kind)), "")
        self._api = Api(
            settings.api,
            token=token,
            remote=settings.remote(token, context.environment),
            app=login,
            ca_file=settings.trusted(context.root),
            check=context.check,
            pause=context.pause,
        )
        self._at = settings.scope()
        self._note = note_name(settings.names)
        self._pause = context.pause
        self._written: dict[str, datetime] = {}
        self._key: tuple[str, str] | None = None
        self._ids: list[int] | None = None

    def check(self) -> tuple[str, ...]:
        """Log in, and find the place, its public key, its variables and enough requests for a delivery."""
        found = Preflight(self._api, self._settings, self._app, self._kind).sentences()
        self._public_key()
        self._shared()
        self._see_room()
        return (*found, f"{self._settings.what()} has a public key to seal with, and its variables can be read")

    def _see_room(self) -> None:
        """See that the secrets and the note fit in: a delivery that ends half-way would be no whole key."""
        kind = self._at[0] if self._settings.environment is None else "environments"
        stamps = self._stamps()
        new = sum(name not in stamps for name in self._settings.names.all)
        self._refuse_full("secrets", len(stamps), new, MOST_SECRETS[kind])
        doing = "looking for the variables"
        found = self._call("GET", ("variables",), doing, query={"per_page": 1}).document
        there = found.get("total_count") if isinstance(found, dict) else None
        if not isinstance(there, int):
            raise self._api.remote.not_understood(doing)
        if there >= MOST_VARIABLES[kind]:
            known = self._call("GET", ("variables", self._note), f"reading the variable {self._note}", expecting=(404,))
            self._refuse_full("variables", there, int(known.status == 404), MOST_VARIABLES[kind])

    def _refuse_full(self, what: str, there: int, new: int, most: int) -> None:
        if new and there + new > most:
            raise BackendError(
                f"{self._settings.what()} has {there} {what}, and {new} more would be needed",
                where=self._api.remote.target,
                expected=f"at most {most} {what}, which is GitHub's limit",
                do=f"delete {what} there that nobody needs, or name another place in the environment file",
                runbook="backend",
            )

    def look(self) -> Look:
        """Return the secrets with the times of their last change, and the note.

        A time from before the write would be taken for another's change later on.
        """
        for wait in (*_SETTLE_SECONDS, None):
            stamps = self._stamps()
            if wait is None or not self._behind(stamps):
                break
            self._pause(wait)
        self._written.clear()
        doing = f"reading the variable {self._note}"
        answer = self._call("GET", ("variables", self._note), doing, expecting=(404,))
        if answer.status == 404:
            return Look(stamps, None)
        value = answer.document.get("value") if isinstance(answer.document, dict) else None
        if not isinstance(value, str):
            raise self._api.remote.not_understood(doing)
        # A variable of this name that is no note is somebody's all the same.
        return Look(stamps, Note.parse(value) or Note("", None, {}))

    def _stamps(self) -> dict[str, str]:
        doing = "listing the secrets"
        stamps: dict[str, str] = {}
        for item in self._api.listed((*self._at, "secrets"), doing, "secrets"):
            name, changed = item.get("name"), item.get("updated_at")
            if not isinstance(name, str) or not isinstance(changed, str):
                raise self._api.remote.not_understood(doing)
            stamps[name] = changed
        return stamps

    def _behind(self, stamps: Mapping[str, str]) -> bool:
        """Tell whether a list is older than what was written last."""
        for name, written in self._written.items():
            changed = _time(stamps.get(name, ""), datetime.fromisoformat)
            if name not in stamps or (changed is not None and changed + _CLOCKS_DIFFER < written):
                return True
        return False

    def write(self, name: str, value: Secret, *, exists: bool) -> None:
        """Make or replace one secret, in one request."""
        del exists
        key_id, key = self._public_key()
        if len(value.reveal().encode()) > LARGEST:
            raise BackendError(
                f"the value for {name} is too long for a secret of GitHub",
                where=self._api.remote.target,
                expected="at most 48 KB",
            )
        box = sealed(key, value)
        if box is None:
            raise self._api.remote.not_understood(f"reading the public key of {self._settings.what()}")
        body = {"encrypted_value": box, "key_id": key_id, **self._shared()}
        answer = self._call("PUT", ("secrets", name), f"writing the secret {name}", body=body, secret=True)
        written = _time(str(answer.headers.get("date", "")), parsedate_to_datetime)
        if written is not None:
            self._written[name] = written

    def write_note(self, note: Note, *, before: Note | None) -> None:
        """Make or replace the variable that is the note."""
        body = {"name": self._note, "value": note.text(), **self._shared()}
        doing = f"writing the variable {self._note}"
        if before is None:
            self._call("POST", ("variables",), doing, body=body)
        else:
            self._call("PATCH", ("variables", self._note), doing, body=body)

    def delete(self, name: str) -> None:
        """Delete one secret."""
        self._written.pop(name, None)
        self._call("DELETE", ("secrets", name), f"deleting the secret {name}", expecting=(404,))

    def delete_note(self, note: Note) -> None:
        """Delete the variable that is the note."""
        del note
        self._call("DELETE", ("variables", self._note), f"deleting the variable {self._note}", expecting=(404,))

    def _call(self, method: str, below: Sequence[str], doing: str, **more: Any) -> Answer:
        return self._api.call(method, (*self._at, *below), doing, **more)

    def _public_key(self) -> tuple[str, str]:
        """Return the scope's public key, id first; every scope has its own. An environment that has one exists."""
        if self._key is None:
            doing = f"reading the public key of {self._settings.what()}"
            found = self._call("GET", ("secrets", "public-key"), doing).document
            key_id = found.get("key_id") if isinstance(found, dict) else None
            key = found.get("key") if isinstance(found, dict) else None
            if not isinstance(key_id, str) or not isinstance(key, str) or sealed(key, Secret("-")) is None:
                raise self._api.remote.not_understood(doing)
            self._key = (key_id, key)
        return self._key

    def _shared(self) -> dict[str, Any]:
        """Return who reads it; each write says it anew, so that an edited file takes effect."""
        if self._settings.visibility is None:
            return {}
        if self._settings.visibility != "selected":
            return {"visibility": self._settings.visibility}
        if self._ids is None:
            self._ids = [self._repository_id(name) for name in self._settings.repositories]
        return {"visibility": "selected", "selected_repository_ids": self._ids}

    def _repository_id(self, name: str) -> int:
        doing = f"looking for the repository {name}"
        remote = replace(self._api.remote, what=f"the repository {name} of {self._settings.what()}")
        answer = self._api.call("GET", ("repos", str(self._settings.organization), name), doing, expecting=(404,))
        if answer.status == 404:
            raise remote.refused(doing, 404)
        found = answer.document.get("id") if isinstance(answer.document, dict) else None
        if not isinstance(found, int):
            raise remote.not_understood(doing)
        return found


def _time(text: str, read: Callable[[str], datetime]) -> datetime | None:
    """Return a time in UTC; None for what is none."""
    try:
        found = read(text)
    except (ValueError, TypeError):
        return None
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)

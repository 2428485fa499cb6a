"""GitHub's REST API: how it is logged in to, asked, read page by page, and how its refusals are told.

A GitHub App logs in by hand, because PyGithub makes that request with connections of its own.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from ci_user.backends import http
from ci_user.backends.github_refusals import limited, said, wait_after, wrong_kind
from ci_user.backends.github_requests import PAGE, WaitingError, guarded
from ci_user.backends.http import Answer, Check, Remote
from ci_user.backends.refusals import extra_missing
from ci_user.errors import BackendError, CiUserError
from ci_user.secret import Secret

if TYPE_CHECKING:
    from pathlib import Path

    import requests
    from github.Auth import Auth
    from github.Requester import Requester

    from ci_user.backends.tokens import Token

_MOST_PAGES: Final = 1000
_TRIES: Final = 3
_RENEW_SECONDS: Final = 50 * 60.0
"""The token of an installation lasts an hour."""

_Sent = tuple[int, Mapping[str, Any], str]


@dataclass(frozen=True, slots=True)
class AppLogin:
    """A GitHub App and where it is installed.

    Args:
        id: Its id or client id.
        installation: The installation's id.
        repository: The one repository, without its owner, that the login is to reach; None for all of the installation.
    """

    id: int | str
    installation: int
    repository: str | None


class Api:
    """The API behind one base address, with one token, or with the private key of a GitHub App.

    Args:
        base: The address that all paths are below.
        token: Sent to this host only; with ``app`` it is the App's private key (PEM), which is not sent at all.
        remote: How refusals are told.
        app: The App to log in as.
        ca_file: Certificates to trust instead of the usual ones.
        check: Told each request just before it is sent.
        pause: Sleeps between two tries.

    Raises:
        BackendError: PyGithub is not installed, or the token is for another host or of the wrong kind.
    """

    def __init__(
        self,
        base: str,
        *,
        token: Token,
        remote: Remote,
        app: AppLogin | None = None,
        ca_file: Path | None = None,
        check: Check | None = None,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        try:
            import github  # noqa: F401
            import nacl.public  # noqa: F401
        except ModuleNotFoundError:
            raise extra_missing(remote.target, "pygithub", "github") from None
        token.refuse_other_host(base, remote.target)
        if app is None and is_private_key(token.secret):
            raise wrong_kind(remote, "is a private key, which is sent nowhere, and no GitHub App is named")
        if app is None:
            http.refuse_unsendable(token, remote.target)
        self._base = base.rstrip("/")
        self._token = token
        self._app = app
        self._pause = pause
        self._open: Callable[[], requests.Session] = lambda: http.session(
            base, ca_file=ca_file, check=check, pause=pause
        )
        self._session: requests.Session | None = None
        self._installed: tuple[Secret, float] | None = None
        self.remote = remote

    def call(
        self,
        method: str,
        path: Sequence[str],
        doing: str,
        *,
        query: Mapping[str, str | int] | None = None,
        body: Mapping[str, Any] | None = None,
        expecting: tuple[int, ...] = (),
        secret: bool = False,
        as_app: bool = False,
    ) -> Answer:
        """Return the answer, whose status is 2xx or one of ``expecting``; its headers' names are in lower case.

        Args:
            method: ``GET`` and so on.
            path: The parts of the path; each is quoted, so that a ``/`` in a name stays in its part.
            doing: What is asked for, as in "writing the secret X", for the error.
            query: The query's parameters.
            body: Sent as JSON; never holds a secret that is not sealed.
            expecting: Further statuses that are no failure here.
            secret: Request or answer hold a secret, so GitHub's words, which may quote it, are left out.
            as_app: Ask as the App itself and not as its installation.

        Raises:
            BackendError: It was refused; ``NoAnswerError`` when nobody knows whether it took effect.
        """
        # The outcome is raised here and not below: no frame of a traceback then holds what was sent or answered.
        outcome = self._outcome(method, path, doing, query, body, expecting, secret, as_app)
        if isinstance(outcome, CiUserError):
            raise outcome
        return outcome

    def listed(self, path: Sequence[str], doing: str, member: str) -> Iterator[dict[str, Any]]:
        """Yield the items of every page of a list.

        Raises:
            BackendError: It was refused, or is no list.
        """
        seen = 0
        for number in range(1, _MOST_PAGES + 1):
            found = self.call("GET", path, doing, query={"per_page": PAGE, "page": number}).document
            items = found.get(member) if isinstance(found, dict) else None
            total = found.get("total_count") if isinstance(found, dict) else None
            if not isinstance(items, list) or not isinstance(total, int):
                raise self.remote.not_understood(doing)
            if not all(isinstance(item, dict) for item in items):
                raise self.remote.not_understood(doing)
            yield from items
            seen += len(items)
            if seen >= total or not items:
                return
        raise self.remote.not_understood(f"{doing}, page {_MOST_PAGES}")

    def _outcome(
        self,
        method: str,
        path: Sequence[str],
        doing: str,
        query: Mapping[str, str | int] | None,
        body: Mapping[str, Any] | None,
        expecting: tuple[int, ...],
        secret: bool,
        as_app: bool,
    ) -> Answer | CiUserError:
        auth = self._auth(as_app=as_app)
        if isinstance(auth, CiUserError):
            return auth
        sent = self._sent(auth, method, path, doing, query, body)
        for _ in range(_TRIES - 1):
            wait = None if isinstance(sent, CiUserError) else wait_after(*sent[:2])
            if wait is None:
                break
            self._pause(wait)
            sent = self._sent(auth, method, path, doing, query, body)
        if isinstance(sent, CiUserError):
            return sent
        status, headers, text = sent
        try:
            document = json.loads(text) if text else None
            understood = True
        except (ValueError, RecursionError):
            document, understood = None, False
        if status >= 400 and status not in expecting:
            words = "" if secret else said(document, headers)
            told = self._token.secret.reveal() in words or auth.token in words
            return limited(self.remote, doing, status, headers, document) or self.remote.refused(
                doing, status, "" if told else words
            )
        return Answer(status, headers, document) if understood else self.remote.not_understood(doing)

    def _sent(
        self,
        auth: Auth,
        method: str,
        path: Sequence[str],
        doing: str,
        query: Mapping[str, str | int] | None,
        body: Mapping[str, Any] | None,
    ) -> _Sent | CiUserError:
        from requests.exceptions import RequestException

        if any(part in ("", ".", "..") for part in path):
            return BackendError(
                "a name that is empty, . or .. cannot be part of an address",
                where=self.remote.target,
                do="correct the names in the environment file",
            )
        url = "".join(f"/{quote(part, safe='')}" for part in path)
        headers = {"Accept": "application/vnd.github+json"}
        try:
            return self._requester(auth).requestJson(method, url, dict(query or {}), headers, body)
        except (http.RedirectError, RequestException, CiUserError) as error:
            return self.remote.failed(doing, error)
        except (WaitingError, ValueError, RecursionError):
            # A ValueError: PyGithub reads numbers from headers.
            return self.remote.not_understood(doing)

    def _requester(self, auth: Auth) -> Requester:
        if self._session is None:
            self._session = self._open()
        return guarded(self._base, auth, self._session)

    def _auth(self, *, as_app: bool) -> Auth | CiUserError:
        from github.Auth import Token as Plain

        if self._app is None:
            return Plain(self._token.secret.reveal())
        if as_app:
            return self._signed(self._app)
        if self._installed is None or time.monotonic() - self._installed[1] > _RENEW_SECONDS:
            found = self._installation_token(self._app)
            if isinstance(found, CiUserError):
                return found
            self._installed = (found, time.monotonic())
        return Plain(self._installed[0].reveal())

    def _installation_token(self, app: AppLogin) -> Secret | CiUserError:
        """Return a token of the installation, for the one repository if there is one.

        https://docs.github.com/rest/apps/apps#create-an-installation-access-token-for-an-app
        """
        doing = f"logging in as installation {app.installation} of the GitHub App {app.id}"
        path = ("app", "installations", str(app.installation), "access_tokens")
        body = {"repositories": [app.repository]} if app.repository else {}
        found = self._outcome("POST", path, doing, None, body, (404, 422), secret=True, as_app=True)
        if isinstance(found, CiUserError):
            return found
        if found.status in (404, 422):
            what = f"installation {app.installation} of the App, which reaches {self.remote.what},"
            return replace(self.remote, what=what).refused(doing, 404)
        token = found.document.get("token") if isinstance(found.document, dict) else None
        return Secret(token) if isinstance(token, str) and token else self.remote.not_understood(doing)

    def _signed(self, app: AppLogin) -> Auth | CiUserError:
        """Return what proves to be the App for five minutes: a text signed with its private key."""
        from cryptography.exceptions import UnsupportedAlgorithm
        from github.Auth import AppAuth, AppAuthToken
        from jwt.exceptions import PyJWTError

        try:
            return AppAuthToken(AppAuth(app.id, self._token.secret.reveal()).create_jwt())
        except (ValueError, TypeError, NotImplementedError, PyJWTError, UnsupportedAlgorithm):
            return wrong_kind(self.remote, "is not the private key of a GitHub App")


def is_private_key(secret: Secret) -> bool:
    """Return whether it is a private key (PEM) and no token."""
    return "PRIVATE KEY-----" in secret.reveal()

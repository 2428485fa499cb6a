"""A cluster's API through the official Python client, which sends through the guarded session instead of its own pool.

The client is given neither token nor certificates; they are added on the way out, below everything that logs or keeps a request.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ci_user.backends.http import USER_AGENT, RedirectError, Remote, session
from ci_user.backends.refusals import extra_missing
from ci_user.errors import BackendError, CiUserError

if TYPE_CHECKING:
    from ci_user.backends.protocol import OpenContext

METADATA: Final = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
"""Asks for an object's metadata alone; a server that cannot do so answers 406.

https://kubernetes.io/docs/reference/using-api/api-concepts/#metadata-only-fetches-or-objects
"""
MERGE: Final = "application/merge-patch+json"


@dataclass(frozen=True)
class Login:
    """How a cluster is logged in to.

    Args:
        source: Where that is from, in words.
        authorization: Returns the header's value; None for a certificate alone.
        ca_file: Certificates (PEM) to trust instead of the usual ones.
        certificate: Files (PEM) of the client's own certificate and its key.
        proxy: The proxy that the kubeconfig names for the cluster.
    """

    source: str
    authorization: Callable[[], str | None] = field(repr=False)
    ca_file: Path | None = None
    certificate: tuple[str, str] | None = None
    proxy: str | None = None


@dataclass(frozen=True)
class Answer:
    """An answer: its status, and its JSON object."""

    status: int
    document: Mapping[str, Any] = field(repr=False)

    @property
    def message(self) -> str:
        """The server's words in a refusal (https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/status/)."""
        found = self.document.get("message")
        return found if isinstance(found, str) else ""


class KubernetesClient:
    """One cluster.

    Args:
        url: The API server's address.
        login: How it is logged in to.
        remote: How refusals are told.
        context: Checks each request, and pauses.

    Attributes:
        core: The client's ``CoreV1Api``.
        secrets: The same, for answers that hold metadata alone.
        authorization: Its ``AuthorizationV1Api``.
        version: Its ``VersionApi``.

    Raises:
        BackendError: The client is not installed, or no header can carry the token.
    """

    def __init__(self, url: str, login: Login, remote: Remote, context: OpenContext) -> None:
        if not _sendable(login):
            raise BackendError(
                f"the token in {login.source} has characters that no request can carry",
                where=remote.target,
                expected="printable ASCII characters on one line",
                do="look at how it was copied: line breaks, quotes, invisible characters",
                runbook="backend",
            )
        self.remote = remote
        self._login = login
        library = library_of(remote.target, "kubernetes.client")
        sender = _Sender(url, login, context)
        self._refusal = library.ApiException
        self.core = library.CoreV1Api(_api_client(library, url, sender))
        self.secrets = library.CoreV1Api(_api_client(library, url, sender, Accept=METADATA))
        self.authorization = library.AuthorizationV1Api(self.core.api_client)
        self.version = library.VersionApi(self.core.api_client)

    def call(
        self, doing: str, send: Callable[[], Any], *, expecting: tuple[int, ...] = (), secret: bool = False
    ) -> Answer:
        """Return the answer, whose status is 2xx or one of ``expecting``.

        Args:
            doing: What is asked for, as in "writing the Secret", for the error.
            send: Calls one of the client's methods with ``_preload_content=False``, which gives the bare answer.
            expecting: Further statuses that are no failure here.
            secret: The request holds a secret, so the server's words, which may quote it, are left out.

        Raises:
            BackendError: It was refused; ``NoAnswerError`` when nobody knows whether it took effect.
        """
        # The outcome is raised here and not below: no frame of a traceback then holds what was sent or answered.
        outcome = self._outcome(doing, send, expecting, secret=secret)
        if isinstance(outcome, CiUserError):
            raise outcome
        return outcome

    def _outcome(
        self, doing: str, send: Callable[[], Any], expecting: tuple[int, ...], *, secret: bool
    ) -> Answer | CiUserError:
        from requests.exceptions import RequestException

        try:
            sent = send()
            status, content = int(sent.status), sent.data
        except self._refusal as error:
            status, content = int(error.status), error.body
        except (RedirectError, RequestException, CiUserError) as error:
            return self.remote.failed(doing, error)
        document = _object(content)
        answer = Answer(status, document or {})
        if status in expecting:
            # A page of a proxy that says 404 does not say that nothing is there.
            unsaid = status == 404 and answer.document.get("kind") != "Status"
            return self.remote.not_understood(doing) if unsaid else answer
        if not 200 <= status < 300:
            said = "" if secret or self._told_in(answer.message) else answer.message
            return self.remote.refused(doing, status, said)
        return self.remote.not_understood(doing) if document is None else answer

    def _told_in(self, said: str) -> bool:
        sent = self._login.authorization()
        return sent is not None and sent.rpartition(" ")[2] in said


def library_of(target: str, module: str) -> Any:
    """Return a module of the official client.

    Raises:
        BackendError: It is not installed.
    """
    try:
        return import_module(module)
    except ModuleNotFoundError:
        raise extra_missing(target, "kubernetes", "kubernetes") from None


def _api_client(library: Any, url: str, sender: _Sender, **headers: str) -> Any:
    made = library.ApiClient(library.Configuration(host=url.rstrip("/")))
    made.user_agent = USER_AGENT
    for name, value in headers.items():
        made.set_default_header(name, value)
    made.rest_client.pool_manager = sender
    return made


class _Sender:
    """Stands where the client has its pool of urllib3, and sends through the guarded session."""

    def __init__(self, url: str, login: Login, context: OpenContext) -> None:
        self._login = login
        self._session = session(url, ca_file=login.ca_file, check=context.check, pause=context.pause)
        self._session.cert = login.certificate
        if login.proxy:
            self._session.proxies = {"http": login.proxy, "https": login.proxy}

    def request(
        self, method: str, url: str, *, headers: Mapping[str, str], body: str | None = None, **more: object
    ) -> Any:
        """Send one request, as ``urllib3.PoolManager.request`` would; time-outs and retries are the session's."""
        from urllib3 import HTTPResponse

        if more.pop("fields", None):
            raise TypeError("a form is nothing that is sent to a cluster here")
        sent = self._login.authorization()
        answer = self._session.request(
            method,
            url,
            headers={**headers, **({"Authorization": sent} if sent else {})},
            data=None if body is None else body.encode(),
            allow_redirects=False,
        )
        return HTTPResponse(
            answer.content, headers=dict(answer.headers), status=answer.status_code, reason=answer.reason
        )

    def clear(self) -> None:
        """Close the connections."""
        self._session.close()


def _sendable(login: Login) -> bool:
    """Return whether a header can carry the token: what is raised otherwise quotes it."""
    sent = login.authorization() or ""
    return sent.isascii() and sent.isprintable()


def _object(content: bytes | str | None) -> dict[str, Any] | None:
    try:
        found = json.loads(content or b"")
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None

"""The one way in which keys and tokens go out over HTTP: to one host, verified, bounded, and repeated only where that is safe.

Backends with a maintained client library give it ``session``; the others use ``Client``. Either way each request passes
``GuardedAdapter``, which

- sends to the one origin only that the session is for, and follows no redirect, wherever it leads;
- speaks plain HTTP to loopback only, verifies TLS (with a CA of the user's own, if there is one), and has timeouts;
- repeats what is safe to repeat: GET, HEAD, PUT and DELETE after a lost connection, 429, 500, 502, 503 and 504; any other
  method only after 429, which says that nothing was done (https://www.rfc-editor.org/rfc/rfc6585#section-4); it waits as
  ``Retry-After`` asks (https://www.rfc-editor.org/rfc/rfc9110#section-10.2.3), up to a minute;
- reads at most 8 MiB of an answer, and for two minutes at most, however slowly it trickles in.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, urlencode, urlsplit

from ci_user import __version__
from ci_user.backends.refusals import NoAnswerError, without_frames
from ci_user.environment_fields import is_loopback
from ci_user.errors import BackendError, CiUserError
from ci_user.secret import Secret
from ci_user.text import plain

if TYPE_CHECKING:
    from pathlib import Path

    import requests
    from requests.exceptions import RequestException

    from ci_user.backends.tokens import Token

USER_AGENT: Final = f"ci-user/{__version__}"
CONNECT_SECONDS: Final = 5.0
READ_SECONDS: Final = 30.0
LONGEST_WAIT: Final = 60.0
"""Seconds; a server that asks for more is not waited for."""
_WHOLE_SECONDS: Final = 120.0
"""For one answer from its request to its end: ``READ_SECONDS`` is for each part of it, and a server can send many."""
_ATTEMPTS: Final = 4
_PART_BYTES: Final = 64 * 1024
_MOST_BYTES: Final = 8 * 1024 * 1024
_MOST_PAGES: Final = 1000
_REPEATABLE: Final = frozenset({"GET", "HEAD", "PUT", "DELETE"})
_FOR_A_MOMENT: Final = frozenset({429, 500, 502, 503, 504})

Check = Callable[[Any], None]
"""Told each request just before it is sent; raises when this run must not send it."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Scheme, host and port: where a token may go (https://www.rfc-editor.org/rfc/rfc6454#section-4)."""

    scheme: str
    host: str
    port: int

    @classmethod
    def of(cls, url: str) -> Origin:
        """Return the origin of an address.

        Raises:
            ValueError: It has no host, an impossible port, or another scheme than https; http is for loopback only.
        """
        parts = urlsplit(url)
        host = parts.hostname or ""
        if not host or parts.scheme not in ("https", "http") or parts.username is not None:
            raise ValueError("no https:// address")
        if parts.scheme == "http" and not is_loopback(host):
            raise ValueError("plain http:// to another machine")
        return cls(parts.scheme, host, parts.port or (443 if parts.scheme == "https" else 80))

    @property
    def loopback(self) -> bool:
        """Whether it is this machine."""
        return is_loopback(self.host)

    @property
    def address(self) -> str:
        """``HOST``, or ``HOST:PORT`` where the port is not the scheme's own; a token names its host so."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        usual = 443 if self.scheme == "https" else 80
        return host if self.port == usual else f"{host}:{self.port}"


class RedirectError(Exception):
    """A server answered with a redirect; none is followed."""


def session(
    url: str, *, ca_file: Path | None = None, check: Check | None = None, pause: Callable[[float], None] = time.sleep
) -> requests.Session:
    """Return a session that reaches the origin of ``url`` and nothing else. It ignores .netrc.

    Args:
        url: Any address at the origin.
        ca_file: Certificates (PEM) to trust instead of the usual ones.
        check: Told each request just before it is sent.
        pause: Sleeps between two tries.

    Raises:
        ValueError: The address is plain HTTP to another machine, or no address.
    """
    import requests
    from requests.utils import get_environ_proxies

    origin = Origin.of(url)
    made = requests.Session()
    made.trust_env = False
    made.max_redirects = 0
    made.headers["User-Agent"] = USER_AGENT
    made.adapters.clear()
    made.mount(f"{origin.scheme}://", _adapter(origin, check, pause))
    if not origin.loopback:
        made.proxies.update(get_environ_proxies(url))
    if ca_file is not None:
        made.verify = str(ca_file)
    return made


def _adapter(origin: Origin, check: Check | None, pause: Callable[[float], None]) -> Any:
    """Return the adapter; its class is made here, because importing requests takes a tenth of a second."""
    from requests.adapters import HTTPAdapter
    from requests.exceptions import ConnectionError as LostError
    from requests.exceptions import ContentDecodingError, RequestException, SSLError, Timeout

    class TooLongError(RequestException):
        """An answer of more than 8 MiB."""

    class TooSlowError(RequestException):
        """An answer that did not end in time. It is not asked for again: a server that trickles does so each time."""

    class GuardedAdapter(HTTPAdapter):
        """Sends one session's requests; see this file's first lines."""

        def send(
            self,
            request: requests.PreparedRequest,
            stream: bool = False,  # noqa: ARG002 - the body is always read here
            timeout: Any = None,
            verify: Any = True,
            cert: Any = None,
            proxies: Any = None,
        ) -> requests.Response:
            if Origin.of(str(request.url)) != origin:
                raise RedirectError
            for attempt in range(1, _ATTEMPTS + 1):
                if check is not None:
                    check(request)
                last = attempt == _ATTEMPTS
                until = time.monotonic() + _WHOLE_SECONDS
                try:
                    answer = super().send(
                        request,
                        stream=True,
                        timeout=timeout or (CONNECT_SECONDS, READ_SECONDS),
                        verify=verify,
                        cert=cert,
                        proxies=proxies,
                    )
                    _read(answer, until)
                except (LostError, Timeout, ContentDecodingError):
                    if last or request.method not in _REPEATABLE:
                        raise
                    pause(_backoff(attempt))
                    continue
                except RequestException:
                    raise
                except OSError:
                    # What requests says of certificates that are not there is none of its own errors.
                    raise SSLError("there are no certificates to verify with") from None
                if 300 <= answer.status_code < 400 and answer.status_code != 304:
                    raise RedirectError
                wait = _wait(answer.status_code, answer.headers, str(request.method), attempt)
                if last or wait is None:
                    return answer
                pause(wait)
            raise AssertionError("the last attempt returns or raises")

    def _read(answer: requests.Response, until: float) -> None:
        # Without read1, which urllib3 1 does not have, a part is whole before the clock is looked at.
        read: Callable[..., bytes] = getattr(answer.raw, "read1", answer.raw.read)
        parts: list[bytes] = []
        length = 0
        refusal: RequestException | None = TooLongError()
        try:
            while length <= _MOST_BYTES:
                part = read(_PART_BYTES, decode_content=True)
                if not part:
                    refusal = None
                    break
                if time.monotonic() > until:
                    refusal = TooSlowError()
                    break
                parts.append(part)
                length += len(part)
        except Exception as error:  # urllib3 has many kinds; all mean that the answer did not arrive
            raise LostError("the answer broke off") from error
        finally:
            # What is left of an answer must not be taken for the next one.
            (answer.raw.close if refusal else answer.raw.release_conn)()
        if refusal:
            raise refusal
        answer._content = b"".join(parts)

    return GuardedAdapter(max_retries=0)


def _backoff(attempt: int) -> float:
    return float(0.5 * 2 ** (attempt - 1) * random.uniform(0.75, 1.25))  # noqa: S311 - spreads clients, guards nothing


def _wait(status: int, headers: Mapping[str, str], method: str, attempt: int) -> float | None:
    """Return the seconds until the next try; None when there is to be none."""
    if status not in _FOR_A_MOMENT or (method not in _REPEATABLE and status != 429):
        return None
    asked = retry_after(headers.get("Retry-After"))
    if asked is None:
        return _backoff(attempt)
    return asked if asked <= LONGEST_WAIT else None


def retry_after(text: str | None) -> float | None:
    """Return the seconds that a ``Retry-After`` asks for, given as seconds or as a date; None when it says nothing."""
    if text is None:
        return None
    if text.strip().isdecimal():
        return float(text)
    try:
        return max(parsedate_to_datetime(text).timestamp() - time.time(), 0.0)
    except (ValueError, OverflowError):
        return None


@dataclass(frozen=True)
class Remote:
    """One service as seen from one place: how its refusals are told.

    Args:
        vendor: Its name, for people.
        target: The place.
        credential: Where the token is from, in words.
        needs: The least scopes or rights that the token needs.
        what: What the place is, in words, for "does not exist".
    """

    vendor: str
    target: str
    credential: str
    needs: str
    what: str

    def refused(self, doing: str, status: int, message: str = "") -> BackendError:
        """Return the error for an answer.

        Args:
            doing: What was asked for, as in "writing the secret X".
            status: The HTTP status.
            message: The vendor's own words, made plain here; never pass one that may quote a secret.
        """
        said = f": {plain(message, 300)}" if message else ""
        what = f"{doing}: {self.vendor} answered {status}{said}"
        expected: str | None = None
        match status:
            case 401:
                do = f"renew the token in {self.credential}: it is wrong, expired or revoked. It needs {self.needs}"
            case 403:
                do = f"give the token in {self.credential} what it lacks: it needs {self.needs}"
            case 404:
                expected = f"{self.what} exists, and the token in {self.credential} may see it"
                do = f"check its name in the environment file; the token needs {self.needs}"
            case 409:
                do = "somebody else is changing it: run the same command again"
            case 400 | 422:
                do = f"{self.vendor} did not take the value or its name: check the entry in the environment file"
            case 429:
                do = f"{self.vendor} is limiting requests: wait some minutes, then run the same command again"
            case _ if status >= 500:
                do = f"{self.vendor} has a fault of its own: look at its status page, then run the same command again"
            case _:
                do = f"look up what {status} means for {self.vendor}; the token needs {self.needs}"
        return BackendError(
            what, where=self.target, expected=expected, do=do, runbook="backend", details={"status": status}
        )

    def no_answer(self, doing: str, kind: str) -> NoAnswerError:
        """Return the error for a lost connection or a timeout; ``kind`` is the exception's name."""
        return NoAnswerError(
            f"{doing}: no answer from {self.vendor} ({kind})",
            where=self.target,
            expected="an answer in time, over TLS that this machine trusts",
            do="check the network, the proxy settings and the address (a CA of your own: `ca_file`), then run it again",
            runbook="backend",
        )

    def redirected(self, doing: str) -> BackendError:
        """Return the error for a redirect."""
        return BackendError(
            f"{doing}: {self.vendor} answered with a redirect, which is not followed",
            where=self.target,
            expected="an answer from the address in the environment file",
            do="write the address and names as they are now: it was renamed or moved, or a login page is in between",
            runbook="backend",
        )

    def failed(self, doing: str, error: RedirectError | RequestException | CiUserError) -> CiUserError:
        """Return the error for a request that ended without an answer of the vendor's own.

        Args:
            doing: What was asked for.
            error: What `session` or a client over it raised; a ``CiUserError`` is the check's own: the lease is lost.
        """
        if isinstance(error, CiUserError):
            return without_frames(error)
        if isinstance(error, RedirectError):
            return self.redirected(doing)
        return self.no_answer(doing, type(error).__name__)

    def not_understood(self, doing: str) -> BackendError:
        """Return the error for an answer of another shape than the vendor documents."""
        return BackendError(
            f"{doing}: the answer is not what {self.vendor} documents",
            where=self.target,
            do="check the address: something in between may answer with a page of its own",
            runbook="backend",
        )


@dataclass(frozen=True)
class Answer:
    """An answer: its status, its headers, and its JSON (None when it has no body)."""

    status: int
    headers: Mapping[str, str]
    document: Any


class Client:
    """A JSON API behind one base address, with one token.

    Args:
        base: The address that all paths are below.
        token: Sent to this host only.
        remote: How refusals are told.
        headers: Sent with each request; ``authorization`` makes one of the token.
        authorization: Returns the headers that carry the token.
        ca_file: Certificates to trust instead of the usual ones.
        check: Told each request just before it is sent.
        pause: Sleeps between two tries.

    Raises:
        BackendError: The token is for another host, or the address is no good.
    """

    def __init__(
        self,
        base: str,
        *,
        token: Token,
        remote: Remote,
        authorization: Callable[[str], Mapping[str, str]],
        headers: Mapping[str, str] | None = None,
        ca_file: Path | None = None,
        check: Check | None = None,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        token.refuse_other_host(base, remote.target)
        refuse_unsendable(token, remote.target, authorization)
        self._base = base.rstrip("/")
        self._token = token
        self._authorization = authorization
        self._headers = dict(headers or {})
        self._open: Callable[[], requests.Session] = lambda: session(base, ca_file=ca_file, check=check, pause=pause)
        self._session: requests.Session | None = None
        self.remote = remote

    def call(
        self,
        method: str,
        path: Sequence[str],
        doing: str,
        *,
        query: Mapping[str, str | int] | None = None,
        body: object = None,
        expecting: tuple[int, ...] = (),
        secret: bool = False,
    ) -> Answer:
        """Return the answer, whose status is 2xx or one of ``expecting``.

        Args:
            method: ``GET`` and so on.
            path: The parts of the path; each is quoted, so that a ``/`` in a name stays in its part.
            doing: What is asked for, as in "writing the variable X", for the error.
            query: The query's parameters.
            body: Sent as JSON; a ``Secret`` in it is revealed on the way out only.
            expecting: Further statuses that are no failure here.
            secret: Request or answer hold a secret, so the vendor's words, which may quote it, are left out.

        Raises:
            BackendError: It was refused; ``NoAnswerError`` when nobody knows whether it took effect.
        """
        # The outcome is raised here and not below: no frame of a traceback then holds what was sent or answered.
        outcome = self._outcome(method, path, doing, query, body, expecting, secret)
        if isinstance(outcome, CiUserError):
            raise outcome
        return outcome

    def _outcome(
        self,
        method: str,
        path: Sequence[str],
        doing: str,
        query: Mapping[str, str | int] | None,
        body: object,
        expecting: tuple[int, ...],
        secret: bool,
    ) -> Answer | CiUserError:
        from requests.exceptions import RequestException

        try:
            answer = self._send(method, path, query, body)
        except (RedirectError, RequestException, CiUserError) as error:
            return self.remote.failed(doing, error)
        document = _json(answer.content)
        if not answer.ok and answer.status_code not in expecting:
            said = "" if secret else _message(document)
            return self.remote.refused(doing, answer.status_code, "" if self._told_in(said) else said)
        if document is _NO_JSON and answer.ok:
            return self.remote.not_understood(doing)
        return Answer(answer.status_code, answer.headers, None if document is _NO_JSON else document)

    def _told_in(self, said: str) -> bool:
        """Tell whether the vendor's words repeat the token: whole, without its user, or in base64 as it was sent."""
        token = self._token.secret.reveal()
        sent = (value.split(" ")[-1] for value in self._authorization(token).values())
        return any(part in said for part in (token, token.rpartition(":")[2], *sent))

    def pages(
        self,
        path: Sequence[str],
        doing: str,
        *,
        after: Callable[[Answer, int], Mapping[str, str | int] | None],
        query: Mapping[str, str | int] | None = None,
        expecting: tuple[int, ...] = (),
    ) -> Iterator[Answer]:
        """Yield every page of a list; ``after`` returns what to add to the query for the next one (None: it was the last).

        ``after`` is given the answer and its number, from 1.

        Raises:
            BackendError: It was refused, or the list has no end.
        """
        more: Mapping[str, str | int] | None = {}
        for number in range(1, _MOST_PAGES + 1):
            answer = self.call("GET", path, doing, query={**(query or {}), **(more or {})}, expecting=expecting)
            yield answer
            more = after(answer, number)
            if more is None:
                return
        raise self.remote.not_understood(f"{doing}, page {_MOST_PAGES}")

    def _send(
        self, method: str, path: Sequence[str], query: Mapping[str, str | int] | None, body: object
    ) -> requests.Response:
        if self._session is None:
            self._session = self._open()
        if any(part in ("", ".", "..") for part in path):
            # Such a part would lead to another path than the one that was meant.
            raise BackendError(
                "a name that is empty, . or .. cannot be part of an address",
                where=self.remote.target,
                do="correct the names in the environment file",
            )
        url = "/".join((self._base, *(quote(part, safe="") for part in path)))
        if query:
            url = f"{url}?{urlencode(query)}"
        headers = {"Accept": "application/json", **self._headers, **self._authorization(self._token.secret.reveal())}
        data: bytes | None = None
        if body is not None:
            headers["Content-Type"] = "application/json"
            data = json.dumps(body, default=_revealed).encode()
        answer: requests.Response = self._session.request(
            method, url, headers=headers, data=data, allow_redirects=False
        )
        return answer


_NO_JSON: Final = object()


def refuse_unsendable(
    token: Token, target: str, authorization: Callable[[str], Mapping[str, str]] = lambda token: {"": token}
) -> None:
    """See that a header can carry a token: what requests and http.client raise otherwise quotes it.

    Args:
        token: It.
        target: The place.
        authorization: Returns the headers that carry it; left out, it goes alone.

    Raises:
        BackendError: It has characters that no header can have.
    """
    if not _sendable(token.secret, authorization):
        raise BackendError(
            f"the token in {token.source} has characters that no request can carry",
            where=target,
            expected="printable ASCII characters on one line",
            do="look at how it was copied: line breaks, quotes, invisible characters",
            runbook="backend",
        )


def _sendable(secret: Secret, authorization: Callable[[str], Mapping[str, str]]) -> bool:
    try:
        values = authorization(secret.reveal()).values()
    except UnicodeEncodeError:
        # Bytes of a variable that are no UTF-8, on the way into base64.
        return False
    return all(value.isascii() and value.isprintable() for value in values)


def _revealed(value: object) -> str:
    if isinstance(value, Secret):
        return value.reveal()
    raise TypeError(f"{type(value).__name__} is no JSON")


def _json(content: bytes) -> Any:
    if not content:
        return None
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        return _NO_JSON


def _message(document: Any) -> str:
    """Return the vendor's words in an error's document: ``message``, ``error`` or ``error.message``."""
    if not isinstance(document, dict):
        return ""
    for key in ("message", "error", "errors"):
        found = document.get(key)
        if isinstance(found, dict):
            found = found.get("message", found)
        if found:
            return found if isinstance(found, str) else json.dumps(found)
    return ""

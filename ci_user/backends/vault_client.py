"""A Vault or OpenBao server, through hvac: logging in, sending, and judging what is answered.

hvac's own exceptions quote whole answers and keep what was sent, so it is told to raise none.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from ci_user.backends.http import RedirectError, session
from ci_user.backends.refusals import extra_missing, without_frames
from ci_user.errors import BackendError, CiUserError

if TYPE_CHECKING:
    import requests

    from ci_user.backends.protocol import OpenContext
    from ci_user.backends.vault import Settings

WAITS: Final = (0.25, 1.0, 4.0)
"""Seconds after each try that was not answered, or was answered by a node that has not heard of the last write yet."""
_BEHIND: Final = 412
_STANDBY: Final = frozenset({472, 473})
_INDEX: Final = "X-Vault-Index"
_NO_JSON: Final = object()


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer: its status, one member of its document, the server's words in an error, and its clock."""

    status: int
    member: dict[str, Any] = field(repr=False)
    errors: str = field(default="", repr=False)
    at: datetime | None = None


class VaultClient:
    """One server; logs in when it is first needed.

    Args:
        settings: Where it is, and how to log in.
        context: Where the token comes from, and how to pause.

    Raises:
        BackendError: There is no token, or it is for another host.
    """

    def __init__(self, settings: Settings, context: OpenContext) -> None:
        self._settings = settings
        self._token = settings.login(context)
        self._pause = context.pause
        ca_file = settings.trusted(context.root)
        self._connect: Callable[[], requests.Session] = lambda: session(
            settings.url, ca_file=ca_file, check=context.check, pause=context.pause
        )
        self._opened: Any = None
        self._until = 0.0
        self.remote = settings.remote(self._token, context.environment)

    def call(
        self,
        doing: str,
        send: Callable[[Any], requests.Response],
        *,
        member: str = "data",
        expecting: tuple[int, ...] = (),
        secret: bool = False,
        again: bool = False,
    ) -> Answer:
        """Return the answer with its ``member``; ``again`` says that a POST may be repeated when no answer came."""
        # The outcome is raised here and not below: no frame of a traceback then holds what was sent or answered.
        outcome = self._outcome(doing, lambda: send(self._logged_in()), member, expecting, secret=secret, again=again)
        if isinstance(outcome, CiUserError):
            raise outcome
        return outcome

    def _outcome(
        self,
        doing: str,
        send: Callable[[], requests.Response],
        member: str,
        expecting: tuple[int, ...],
        *,
        secret: bool,
        again: bool = False,
    ) -> Answer | CiUserError:
        from requests.exceptions import ConnectionError as LostError
        from requests.exceptions import RequestException, Timeout

        for wait in (*WAITS, None):
            try:
                answer = send()
            except RedirectError:
                return self._standby(doing, "with a redirect, which is not followed")
            except (RequestException, UnicodeError) as error:
                if wait is None or not again or not isinstance(error, LostError | Timeout):
                    return self.remote.no_answer(doing, type(error).__name__)
            except CiUserError as error:
                return without_frames(error)
            else:
                if answer.status_code != _BEHIND or wait is None:
                    return self._judged(doing, answer, member, expecting, secret=secret)
            self._pause(wait)
        raise AssertionError("the last attempt returns")

    def _judged(
        self, doing: str, answer: requests.Response, member: str, expecting: tuple[int, ...], *, secret: bool
    ) -> Answer | CiUserError:
        status, document = answer.status_code, _json(answer.content)
        if _INDEX in answer.headers:
            # Nodes that have not heard of this write yet answer 412 from now on, instead of what was there before it.
            # https://developer.hashicorp.com/vault/docs/enterprise/consistency
            self._opened.session.headers[_INDEX] = answer.headers[_INDEX]
        if status in _STANDBY:
            return self._standby(doing, str(status))
        errors = "" if secret else self._words(document)
        if not answer.ok and status not in expecting:
            return self.remote.refused(doing, status, errors)
        if not answer.ok and not isinstance(document, dict):
            # A proxy's page that says 404 does not say that nothing is there.
            return self.remote.not_understood(doing)
        found = document.get(member) if isinstance(document, dict) else None
        if answer.ok and not isinstance(found, dict) and (member or document is _NO_JSON):
            return self.remote.not_understood(doing)
        return Answer(status, found if isinstance(found, dict) else {}, errors, _time(answer.headers.get("Date", "")))

    def _words(self, document: object) -> str:
        """Return the server's words in an error, unless they hold a token."""
        errors = document.get("errors") if isinstance(document, dict) else None
        said = " ".join(" ".join(map(str, errors)).split()) if isinstance(errors, list) else ""
        own = str(self._opened.token) if self._opened is not None else ""
        return "" if self._token.secret.reveal() in said or (own and own in said) else said

    def _standby(self, doing: str, how: str) -> BackendError:
        return BackendError(
            f"{doing}: Vault answered {how}",
            where=self.remote.target,
            expected="an answer from the active node, or from a standby that passes requests on",
            do="write the address of the active node, or of the load balancer before the nodes, into `url`",
            runbook="backend",
        )

    def _logged_in(self) -> Any:
        """Return hvac's client, logged in."""
        if self._opened is None:
            self._opened = self._hvac()
        if self._settings.approle is None and self._settings.jwt is None:
            self._opened.token = self._token.secret.reveal()
        elif time.monotonic() >= self._until:
            self._log_in(self._opened)
        return self._opened

    def _hvac(self) -> Any:
        try:
            # It has no types.
            hvac: Any = import_module("hvac")
            adapters: Any = import_module("hvac.adapters")
        except ModuleNotFoundError:
            raise extra_missing(self.remote.target, "hvac", "vault") from None
        made = self._connect()
        # What is not given here hvac takes from VAULT_* variables and ~/.vault-token.
        return hvac.Client(
            url=self._settings.url,
            token="",
            cert=(),
            verify=made.verify,
            timeout=None,  # the session has its own
            namespace=self._settings.namespace,
            session=made,
            allow_redirects=False,
            adapter=adapters.RawAdapter,
            ignore_exceptions=True,
        )

    def _log_in(self, client: Any) -> None:
        """Get a token for the secret id or the JWT; it stays in memory, and is left to expire."""
        client.token = ""
        outcome = self._outcome("logging in", lambda: self._exchange(client), "auth", (400, 401, 403, 404), secret=True)
        if isinstance(outcome, CiUserError):
            raise outcome
        if outcome.status != 200:
            raise BackendError(
                f"logging in: Vault answered {outcome.status}",
                where=self.remote.target,
                do=f"renew what {self._token.source} holds, or correct role and mount in the environment file; the role's"
                f" tokens need {self._settings.scopes}",
                runbook="backend",
                details={"status": outcome.status},
            )
        if not isinstance(outcome.member.get("client_token"), str):
            raise self.remote.not_understood("logging in")
        client.token = outcome.member["client_token"]
        seconds = outcome.member.get("lease_duration")
        # A token without an end tells 0; of the others the last fifth is not used.
        self._until = time.monotonic() + 0.8 * seconds if isinstance(seconds, int) and seconds else float("inf")

    def _exchange(self, client: Any) -> requests.Response:
        approle, jwt = self._settings.approle, self._settings.jwt
        answer: requests.Response
        if approle is not None:
            answer = client.auth.approle.login(
                role_id=approle.role_id,
                secret_id=self._token.secret.reveal(),
                use_token=False,
                mount_point=approle.mount,
            )
        else:
            assert jwt is not None  # noqa: S101 - for mypy: nobody logs in with neither
            answer = client.auth.jwt.jwt_login(
                role=jwt.role, jwt=self._token.secret.reveal(), use_token=False, path=jwt.mount
            )
        return answer


def _time(text: str) -> datetime | None:
    try:
        return parsedate_to_datetime(text).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def _json(content: bytes) -> Any:
    if not content:
        return None
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        return _NO_JSON

"""PyGithub's requests over a guarded session, and its sealed boxes.

PyGithub would follow a 301, wait and repeat as it sees fit, ask again for ever after a 202, and write answers into its debug
log. Here its connections are a session of ``http.session``, its own waits are off, and its log shows no values.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from ci_user.backends import http
from ci_user.logs import QuietFilter

if TYPE_CHECKING:
    import requests
    from github.Auth import Auth
    from github.Requester import Requester

    from ci_user.secret import Secret

PAGE: Final = 100
"""Items per page; the most that GitHub gives (https://docs.github.com/rest/using-the-rest-api/using-pagination-in-the-rest-api)."""
_VERSION: Final = "2022-11-28"
_QUIET: Final = QuietFilter()


class WaitingError(Exception):
    """GitHub answered 202 to a question: PyGithub would ask again without end."""


def sealed(key: str, value: Secret) -> str | None:
    """Return ``value`` in a box that only GitHub can open, in base64; None when ``key`` is no public key.

    https://docs.github.com/rest/guides/encrypting-secrets-for-the-rest-api
    """
    from github.PublicKey import encrypt
    from nacl.exceptions import CryptoError

    try:
        return encrypt(key, value.reveal())
    except (ValueError, TypeError, CryptoError):
        # A CryptoError: a key of 32 bytes that no box can be sealed with. Its frames hold the value.
        return None


def guarded(base: str, auth: Auth, session: requests.Session) -> Requester:
    """Return PyGithub's requester over ``session``; its classes are made here, because importing it takes time."""
    from github.Requester import HTTPRequestsConnectionClass, HTTPSRequestsConnectionClass, Requester, RequestsResponse

    origin = http.Origin.of(base)
    logging.getLogger("github.Requester").addFilter(_QUIET)

    class Connection:
        def __init__(self, host: str, *_: object, **__: object) -> None:
            self.host = host

        def request(self, verb: str, url: str, data: str | None, headers: dict[str, str], *_: object) -> None:
            self._asked = (verb, f"{origin.scheme}://{origin.address}{url}", data, headers)

        def getresponse(self) -> RequestsResponse:
            verb, url, data, headers = self._asked
            answer = session.request(verb, url, data=data, headers=headers, allow_redirects=False)
            if answer.status_code == 202:
                raise WaitingError
            answer.encoding = "utf-8"
            return RequestsResponse(answer)

        def close(self) -> None:
            """Leave the session open: it is shared."""

    class Plain(Connection, HTTPRequestsConnectionClass):
        pass

    class Tls(Connection, HTTPSRequestsConnectionClass):  # type: ignore[misc]
        pass

    class Guarded(Requester):
        pass

    Guarded.injectConnectionClasses(Plain, Tls)
    return Guarded(
        auth=auth,
        base_url=base,
        timeout=0,
        user_agent=http.USER_AGENT,
        per_page=PAGE,
        verify=True,
        retry=None,
        pool_size=None,
        api_version=_VERSION,
    )

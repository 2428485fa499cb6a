"""Requests to GitLab: python-gitlab over the guarded session, and answers that hold a secret compared where they arrive.

https://python-gitlab.readthedocs.io/en/stable/api-levels.html
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from ci_user.backends.http import USER_AGENT, Check, RedirectError, Remote, refuse_unsendable, session
from ci_user.backends.refusals import extra_missing
from ci_user.errors import CiUserError
from ci_user.secret import Secret

if TYPE_CHECKING:
    from pathlib import Path

    import gitlab

    from ci_user.backends.tokens import Token

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Variable:
    """A variable as it is to be.

    Args:
        key: Its name.
        value: A ``Secret`` is revealed on the way out only.
        fields: What else its document has to say; None for a field that it must not have.
        hidden: Whether it is to be hidden. GitLab can make one so, and cannot change one.
    """

    key: str
    value: Secret | str
    fields: Mapping[str, Any]
    hidden: bool = False

    def body(self) -> dict[str, Any]:
        """Return what is sent; it holds the value in the clear."""
        value = self.value.reveal() if isinstance(self.value, Secret) else self.value
        return {"value": value, **{name: field for name, field in self.fields.items() if field is not None}}


@dataclass(frozen=True, slots=True)
class Written:
    """How a written variable differs from what was meant.

    Args:
        differs: The names of the fields that differ.
        scope: The environment scope that GitLab tells; empty where there is none.
    """

    differs: tuple[str, ...]
    scope: str


class Api:
    """GitLab's API with one token. Every method raises ``BackendError`` when it is refused.

    Args:
        url: GitLab's address.
        token: Sent to this address only.
        remote: How refusals are told.
        ca_file: Certificates to trust instead of the usual ones.
        check: Told each request just before it is sent.
        pause: Sleeps between two tries.

    Raises:
        BackendError: python-gitlab is not installed, or no request can carry the token.
    """

    def __init__(
        self,
        url: str,
        *,
        token: Token,
        remote: Remote,
        ca_file: Path | None,
        check: Check | None,
        pause: Callable[[float], None],
    ) -> None:
        refuse_unsendable(token, remote.target)
        self.remote = remote
        self.left: str | None = None
        """How many requests are left before GitLab limits them, as it told last."""
        self._token = token
        made = session(url, ca_file=ca_file, check=check, pause=pause)
        made.hooks["response"].append(self._heard)
        self._gitlab = _library(remote)(
            url,
            private_token=token.secret.reveal(),
            session=made,
            ssl_verify=True if ca_file is None else str(ca_file),
            user_agent=USER_AGENT,
            retry_transient_errors=False,
        )

    def get(
        self,
        path: str,
        doing: str,
        query: Mapping[str, Any] | None = None,
        expecting: tuple[int, ...] = (),
    ) -> Mapping[str, Any] | None:
        """Return a document that holds no secret; None for a status that is expected."""
        found = self._call(doing, lambda: self._gitlab.http_get(path, **_options(query)), expecting=expecting)
        if found is not None and not isinstance(found, dict):
            raise self.remote.not_understood(doing)
        return found

    def exists(self, path: str, doing: str, query: Mapping[str, Any]) -> bool:
        """Tell whether something is there, by HEAD: its content is not sent."""
        found = self._call(doing, lambda: self._gitlab.http_head(path, **_options(query)), expecting=(404,))
        return found is not None

    def create(self, path: str, doing: str, variable: Variable) -> Written:
        """Make a variable with POST."""

        def ask() -> Written:
            body = {"key": variable.key, **variable.body()}
            if variable.hidden:
                body["masked_and_hidden"] = True
            return _judged(self._gitlab.http_post(path, post_data=body, **_options()), variable)

        return self._done(doing, ask, variable)

    def update(self, path: str, doing: str, variable: Variable, query: Mapping[str, Any]) -> Written:
        """Replace a variable with PUT; ``query`` says in which scope, and nothing in the body moves it to another."""

        def ask() -> Written:
            body = variable.body()
            body.pop("environment_scope", None)
            return _judged(self._gitlab.http_put(path, post_data=body, **_options(query)), variable)

        return self._done(doing, ask, variable)

    def delete(self, path: str, doing: str, query: Mapping[str, Any]) -> None:
        """Delete something; what is gone already is no failure."""
        self._call(doing, lambda: self._gitlab.http_delete(path, **_options(query)), expecting=(404,))

    def _heard(self, answer: Any, *_: Any, **__: Any) -> None:
        # https://docs.gitlab.com/administration/settings/user_and_ip_rate_limits/#response-headers
        self.left = answer.headers.get("RateLimit-Remaining", self.left)

    def _done(self, doing: str, ask: Callable[[], Written], variable: Variable) -> Written:
        written = self._call(doing, ask, secret=isinstance(variable.value, Secret))
        if written is None:
            raise self.remote.not_understood(doing)
        return written

    def _call(
        self, doing: str, ask: Callable[[], _T], *, expecting: tuple[int, ...] = (), secret: bool = False
    ) -> _T | None:
        # The outcome is raised here and not below: no frame of a traceback then holds what was sent or answered.
        outcome = self._outcome(doing, ask, expecting, secret)
        if isinstance(outcome, CiUserError):
            raise outcome
        return outcome

    def _outcome(
        self, doing: str, ask: Callable[[], _T], expecting: tuple[int, ...], secret: bool
    ) -> _T | CiUserError | None:
        from gitlab.exceptions import GitlabError
        from requests.exceptions import RequestException

        try:
            return ask()
        except GitlabError as error:
            status = error.response_code
            said = "" if secret else _words(error.error_message)
        except (RedirectError, RequestException, CiUserError) as error:
            return self.remote.failed(doing, error)
        except RecursionError:
            # The library reads an error's JSON, however deep it is.
            return self.remote.not_understood(doing)
        if status is None:
            return self.remote.not_understood(doing)
        if status in expecting:
            return None
        return self.remote.refused(doing, status, "" if self._token.secret.reveal() in said else said)


def _library(remote: Remote) -> type[gitlab.Gitlab]:
    try:
        import gitlab
    except ModuleNotFoundError:
        raise extra_missing(remote.target, "python-gitlab", "gitlab") from None
    return gitlab.Gitlab


def _options(query: Mapping[str, Any] | None = None) -> dict[str, Any]:
    # Waiting is the session's: the library would wait by itself, for as long as it is told to.
    return {**(query or {}), "obey_rate_limit": False}


def _judged(answer: object, variable: Variable) -> Written:
    """Compare an answer, which holds the value, with what was meant; only the outcome goes further.

    Raises:
        gitlab.exceptions.GitlabParsingError: It is no document of a variable.
    """
    from gitlab.exceptions import GitlabParsingError

    if not isinstance(answer, dict):
        raise GitlabParsingError("no variable")
    wanted = {"key": variable.key, **variable.fields}
    differs = [name for name, value in wanted.items() if answer.get(name) != value]
    hidden = answer.get("hidden") is True
    if variable.hidden and not hidden:
        differs.append("hidden")
    # The value of a hidden one is null: https://docs.gitlab.com/ci/variables/#hide-a-cicd-variable
    if answer.get("value") != variable.body()["value"] and not (hidden and answer.get("value") is None):
        differs.append("value")
    return Written(tuple(differs), str(answer.get("environment_scope") or ""))


def _words(message: object) -> str:
    """Return GitLab's words, which are text or a document (https://docs.gitlab.com/api/rest/troubleshooting/)."""
    if isinstance(message, str):
        return message
    return json.dumps(message) if isinstance(message, dict | list) else ""

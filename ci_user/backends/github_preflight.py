"""What is found out about GitHub before a key is made: login, rights, requests left, and whether the place exists.

How much GitHub tells of a token's rights depends on its kind: an installation of an App lists them, a classic token has scopes,
of a fine-grained one nothing is known.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ci_user.backends.github_refusals import clock
from ci_user.errors import BackendError
from ci_user.text import plain

if TYPE_CHECKING:
    from ci_user.backends.github import App, Settings
    from ci_user.backends.github_api import Api

KINDS: Final = ("ghp_", "gho_", "ghs_")
"""What tokens begin with: a classic one, one of an OAuth app, one of an App's installation.

https://github.blog/engineering/behind-githubs-new-authentication-token-formats/
"""
FEWEST: Final = 20
"""Requests that must be left: a delivery takes about fifteen."""


class Preflight:
    """The questions to one scope.

    Args:
        api: GitHub.
        settings: The scope.
        app: The App that is logged in as, if it is one.
        kind: What the token begins with, of ``KINDS``; empty for any other.
    """

    def __init__(self, api: Api, settings: Settings, app: App | None, kind: str) -> None:
        self._api = api
        self._settings = settings
        self._app = app
        self._kind = kind

    def sentences(self) -> tuple[str, ...]:
        """Return what was found to be in order.

        Raises:
            BackendError: Something is not.
        """
        return (self._log_in(), self._room(), self._place())

    def _log_in(self) -> str:
        if self._app is not None:
            return self._installed(self._app)
        doing = "logging in"
        # An installation's token, as another action may have made it, has no user.
        answer = self._api.call("GET", ("user",), doing, expecting=(403,) if self._kind == "ghs_" else ())
        if answer.status == 403:
            return "logged in with the token of an App's installation"
        login = answer.document.get("login") if isinstance(answer.document, dict) else None
        if not isinstance(login, str):
            raise self._api.remote.not_understood(doing)
        until = answer.headers.get("github-authentication-token-expiration")
        ends = f"; the token expires at {plain(str(until), 40)}" if until else ""
        # https://docs.github.com/apps/oauth-apps/building-oauth-apps/scopes-for-oauth-apps
        scopes = answer.headers.get("x-oauth-scopes")
        if not scopes and self._kind not in ("ghp_", "gho_"):
            return f"logged in as {plain(login)}; what a fine-grained token may write, GitHub does not tell{ends}"
        has = {scope.strip() for scope in (scopes or "").split(",")}
        wanted = "repo" if self._settings.organization is None else "admin:org"
        if wanted not in has:
            raise self._lacks(f"has the scopes {plain(scopes or '') or 'none'}, and not {wanted}")
        return f"logged in as {plain(login)} with the scope {wanted}{ends}"

    def _installed(self, app: App) -> str:
        """See that the App may write where it is installed."""
        doing = f"looking for installation {app.installation} of the GitHub App {app.id}"
        found = self._api.call("GET", ("app", "installations", str(app.installation)), doing, as_app=True).document
        has = found.get("permissions") if isinstance(found, dict) else None
        if not isinstance(has, dict):
            raise self._api.remote.not_understood(doing)
        if found.get("suspended_at"):
            raise self._lacks("is suspended")
        wanted = ["secrets", "actions_variables"]
        if self._settings.organization is not None:
            wanted = ["organization_secrets", "organization_actions_variables"]
        elif self._settings.environment is not None:
            wanted = ["environments"]
        lacking = [name for name in wanted if has.get(name) != "write"]
        if lacking:
            raise self._lacks(f"has not write on {', '.join(lacking)}")
        return f"the GitHub App {plain(str(found.get('app_slug')))} is installed and may write {', '.join(wanted)}"

    def _room(self) -> str:
        """See that enough requests are left. A server of one's own may count none: 404."""
        doing = "looking at the limit of requests"
        answer = self._api.call("GET", ("rate_limit",), doing, expecting=(404,))
        if answer.status == 404:
            return "requests are not limited"
        try:
            core = answer.document["resources"]["core"]
            left, reset = int(core["remaining"]), core["reset"]
        except (TypeError, KeyError, ValueError, OverflowError):
            left, reset = None, None
        if left is None:
            raise self._api.remote.not_understood(doing)
        if left < FEWEST:
            raise BackendError(
                f"only {left} requests are left until {clock(reset)}, too few for a delivery",
                where=self._api.remote.target,
                expected=f"at least {FEWEST}",
                do=f"GitHub is limiting requests: wait until {clock(reset)}, then run the same command again",
                runbook="backend",
            )
        return f"{left} requests are left until {clock(reset)}"

    def _place(self) -> str:
        where = self._settings.scope()[: 2 if self._settings.organization else 3]
        doing = f"looking for {self._settings.what()}"
        found = self._api.call("GET", where, doing).document
        if not isinstance(found, dict) or not isinstance(found.get("id"), int):
            raise self._api.remote.not_understood(doing)
        if self._settings.organization:
            return f"{self._settings.what()} exists"
        if found.get("archived") is True:
            raise BackendError(
                "the repository is archived, so nothing can be written to it",
                where=self._api.remote.target,
                do="take it out of the environment file, or unarchive it",
            )
        role = found.get("permissions")
        # https://docs.github.com/actions/how-tos/write-workflows/choose-what-workflows-do/use-secrets. An App has no role.
        if self._app is None and self._kind != "ghs_" and isinstance(role, dict) and role.get("push") is False:
            raise self._lacks("belongs to somebody without write access to the repository")
        return f"the repository {self._settings.repository} exists"

    def _lacks(self, what: str) -> BackendError:
        remote = self._api.remote
        who = "the token" if self._app is None else "the GitHub App of the key"
        return BackendError(
            f"{who} in {remote.credential} {what}",
            where=remote.target,
            expected=remote.needs,
            do=f"give {who} in {remote.credential} what it lacks: it needs {remote.needs}",
            runbook="backend",
        )

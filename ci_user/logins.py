"""Logins that many environments share: one session, one set of clients and one look at the account for each."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING

from ci_user.aws_access import AwsAccess, Caller, Clients
from ci_user.credential_sources import Check, RetryMode, assumed, isolated_session, profile_session, refreshing_session
from ci_user.once import OncePerKey

if TYPE_CHECKING:
    from botocore.session import Session

    from ci_user.credential_sources import SessionCredentials
    from ci_user.environment import Access, Environment


class Logins:
    """What environments with the same access settings share; threads may ask at once.

    A role is assumed once for all environments that name it in the same way, and STS is asked once who a login is.

    Args:
        check: Called with each request of every client that is made here, the ones that assume roles too, before it is sent.
        retries: botocore's mode for the clients. What slows one down in ``adaptive`` slows down all who share the login.
    """

    def __init__(self, *, check: Check | None = None, retries: RetryMode = "standard") -> None:
        self.check = check
        self._retries: RetryMode = retries
        # Why there are no credentials is told with the file that names them, so each environment finds it out itself.
        self._sources: OncePerKey[Hashable, Session] = OncePerKey(keep_failures=False)
        self._clients: OncePerKey[Hashable, Clients] = OncePerKey(keep_failures=False)
        self._callers: OncePerKey[Hashable, Caller] = OncePerKey()

    def open(
        self,
        access: Access | None,
        environment: Environment,
        *,
        region: str,
        account_id: str,
        endpoint_url: str | None,
        sandbox_credentials: Callable[[], SessionCredentials] | None = None,
    ) -> AwsAccess:
        """Return a way into AWS that shares its session and its clients with all of the same login.

        Args:
            access: The settings; None for the ambient login.
            environment: Whose they are.
            region: Where clients look.
            account_id: The account that is meant.
            endpoint_url: In place of AWS's own endpoints.
            sandbox_credentials: Where the credentials come from when the environment is a sandbox.

        Raises:
            CredentialsError: There is no such profile, or there are no credentials.
        """
        login = _login(access, environment, endpoint_url)
        role = None if environment.sandbox or access is None else access.role
        # A regional STS decides where a session is good, and a sandbox of another region has credentials of its own.
        regional = environment.region if role is not None or environment.sandbox else None

        def make() -> Clients:
            if environment.sandbox:
                assert sandbox_credentials is not None  # noqa: S101 - `resolve` refuses a sandbox without
                return self._new(refreshing_session(isolated_session(), sandbox_credentials))
            profile = access.profile if access else None
            source = self._sources.get(profile, lambda: profile_session(access, environment))
            return self._new(source if role is None else assumed(source, role, environment, self.check))

        clients = self._clients.get((login, regional), make)
        return AwsAccess(
            clients.session,
            account_id=account_id,
            region=region,
            partition=environment.partition,
            endpoint_url=endpoint_url,
            loopback=environment.sandbox,
            clients=clients,
            login=login,
        )

    def verify(self, access: AwsAccess) -> Caller:
        """Return the caller, who is in the access's account; STS is asked once for each login, its failure kept too.

        Raises:
            WrongAccountError: The credentials belong to another account.
            CredentialsError: They are missing, expired or refused.
        """
        return self._callers.get((access.login, access.account_id, access.region), access.verify)

    def _new(self, session: Session) -> Clients:
        return Clients(session, self.check, self._retries)


def _login(access: Access | None, environment: Environment, endpoint_url: str | None) -> Hashable:
    """Return what tells one login from another; its region does not: IAM shows a role the same everywhere."""
    if environment.sandbox:
        return ("sandbox", environment.account_id, endpoint_url)
    if access is None:
        return (None, None, endpoint_url)
    role = access.role
    named = None if role is None else (role.arn, role.external_id, role.session_name)
    return (access.profile, named, endpoint_url)

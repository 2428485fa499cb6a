"""Credentials and endpoints, resolved once into explicit values for boto3 and for Terraform.

Nothing after this file looks at the ambient environment: a client is built from the values here, and a child process gets
an environment built from the allow-list here.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

from ci_user.aws_access import AwsAccess, Caller, calling
from ci_user.credential_sources import (
    SessionCredentials,
    isolated_session,
    logged_in,
    refreshing_session,
    refuse_foreign_endpoints,
    session_for,
)
from ci_user.errors import CredentialsError
from ci_user.logins import Logins

if TYPE_CHECKING:
    from ci_user.environment import Access, Environment

__all__ = [
    "STATE_PROFILE",
    "Accesses",
    "AwsAccess",
    "Caller",
    "Logins",
    "SessionCredentials",
    "ambient",
    "calling",
    "resolve",
]

# What a child process may inherit. Everything else, TF_CLI_ARGS and TF_VAR_ above all, stays out.
_INHERITED = (
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "LANG",
    "LC_ALL",
    "LC_CTYPE",
    "TMPDIR",
    "TZ",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "TF_LOG",
    "TF_LOG_CORE",
    "TF_LOG_PROVIDER",
)
_INHERITED_BEYOND_LOOPBACK = (
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "AWS_CA_BUNDLE",
    "AWS_USE_FIPS_ENDPOINT",
)

STATE_PROFILE = "ci-user-state"


class _Open(Protocol):
    """Opens the way that access settings name, None for the surroundings, to an account's resources in a region."""

    def __call__(self, access: Access | None, *, region: str, account_id: str) -> AwsAccess: ...


@dataclass(frozen=True)
class Accesses:
    """The ways into AWS of one environment: the identity itself, the state bucket, and each secrets backend."""

    target: AwsAccess
    state_has_own: bool
    _environment: Environment = field(repr=False)
    _open: _Open = field(repr=False)
    _verify: Callable[[AwsAccess], Caller] = field(repr=False)

    @cached_property
    def state(self) -> AwsAccess:
        """Return the way to the state bucket; resolved when it is asked for, since a leak is answered without it.

        Raises:
            CredentialsError: Its profile is unknown, or has no credentials.
        """
        state = self._environment.state
        region, account_id = state.region or self.target.region, state.account_id or self.target.account_id
        if not self.state_has_own:
            return self.target.at(region=region, account_id=account_id)
        return self._open(state.access, region=region, account_id=account_id)

    def for_backend(self, settings: Any) -> AwsAccess:
        """Return the access that a backend's settings ask for (``access``, ``region``, ``account_id``), else the target's."""
        region = getattr(settings, "region", None) or self.target.region
        account_id = getattr(settings, "account_id", None) or self.target.account_id
        access = getattr(settings, "access", None)
        if access is None:
            return self.target.at(region=region, account_id=account_id)
        return self._open(access, region=region, account_id=account_id)

    def verify(self) -> Caller:
        """Check the account behind every login there is: the target's, the state's, each backend's own; return the target's.

        Raises:
            WrongAccountError: One of them belongs to another account than the file says.
            CredentialsError: One of them is missing, expired or refused.
        """
        caller = self.verify_target()
        self.verify_others()
        return caller

    def verify_others(self) -> None:
        """Check the account behind every login but the target's.

        Raises:
            WrongAccountError: One of them belongs to another account than the file says.
            CredentialsError: One of them is missing, expired or refused.
        """
        if self.state_has_own:
            self._verify(self.state)
        for settings in self._environment.places:
            own = getattr(settings, "access", None) is not None
            foreign = (getattr(settings, "account_id", None) or self.target.account_id) != self.target.account_id
            if own or foreign:
                # A secret's name carries no account: with the target's login it would be written into the target's.
                self._verify(self.for_backend(settings))

    def verify_target(self) -> Caller:
        """Check the account behind the target's login alone: a leak is answered with whatever else is broken.

        Raises:
            WrongAccountError: It is another account than the file says.
            CredentialsError: The login is missing, expired or refused.
        """
        return self._verify(self.target)

    def child_environment(self, environ: Mapping[str, str]) -> dict[str, str]:
        """Return the whole environment for a Terraform process: allow-listed variables, credentials, endpoint, region."""
        names = _INHERITED if self.target.loopback else _INHERITED + _INHERITED_BEYOND_LOOPBACK
        child = {name: environ[name] for name in names if environ.get(name)}
        child |= self.target.exports()
        child |= {
            "AWS_REGION": self.target.region,
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "CHECKPOINT_DISABLE": "1",
            "TF_IN_AUTOMATION": "1",
            "TF_INPUT": "0",
            # Collecting less often takes a quarter off the processor time of a plan, for a tenth more memory.
            "GOGC": "400",
        }
        if self.target.endpoint_url:
            child["AWS_ENDPOINT_URL"] = self.target.endpoint_url
        if self.state_has_own:
            # The backend finds these through a profile whose credential_process prints them: see credential_process.py.
            child |= {f"CI_USER_STATE_{name}": value for name, value in self.state.exports().items()}
        return child


def resolve(
    environment: Environment,
    environ: Mapping[str, str],
    *,
    endpoint_url: str | None = None,
    sandbox_credentials: Callable[[], SessionCredentials] | None = None,
    logins: Logins | None = None,
) -> Accesses:
    """Resolve every way into AWS of an environment. Talks to nobody yet: ``Accesses.verify`` does.

    Args:
        environment: The environment.
        environ: The ambient variables, usually ``os.environ``.
        endpoint_url: The sandbox's endpoint; given exactly when the environment is a sandbox.
        sandbox_credentials: Where the sandbox's credentials come from, called again when they run out.
        logins: Shares logins and clients with other environments; by default this one has its own.

    Raises:
        CredentialsError: No credentials, an unknown profile, or an ``AWS_ENDPOINT_URL*`` that the file does not name.
    """
    if environment.sandbox:
        if endpoint_url is None or sandbox_credentials is None:
            raise CredentialsError("the sandbox is not running", do="run `invoke sandbox.up`", runbook="sandbox")
        endpoint: str | None = endpoint_url
    else:
        refuse_foreign_endpoints(environment, environ)
        endpoint = environment.endpoint_url or None
    opening = (
        _alone(environment, endpoint, sandbox_credentials)
        if logins is None
        else _sharing(logins, environment, endpoint, sandbox_credentials)
    )
    return Accesses(
        target=opening(environment.access, region=environment.region, account_id=environment.account_id),
        state_has_own=environment.state.access is not None and not environment.sandbox,
        _environment=environment,
        _open=opening,
        _verify=AwsAccess.verify if logins is None else logins.verify,
    )


def _alone(
    environment: Environment, endpoint: str | None, sandbox_credentials: Callable[[], SessionCredentials] | None
) -> _Open:
    """Return what opens each way with a session of its own; a sandbox has one for all."""
    sandbox = None
    if environment.sandbox and sandbox_credentials is not None:
        sandbox = refreshing_session(isolated_session(), sandbox_credentials)

    def opened(access: Access | None, *, region: str, account_id: str) -> AwsAccess:
        return AwsAccess(
            session_for(access, environment) if sandbox is None else sandbox,
            account_id=account_id,
            region=region,
            partition=environment.partition,
            endpoint_url=endpoint,
            loopback=environment.sandbox,
        )

    return opened


def _sharing(
    logins: Logins,
    environment: Environment,
    endpoint: str | None,
    sandbox_credentials: Callable[[], SessionCredentials] | None,
) -> _Open:
    def opened(access: Access | None, *, region: str, account_id: str) -> AwsAccess:
        return logins.open(
            access,
            environment,
            region=region,
            account_id=account_id,
            endpoint_url=endpoint,
            sandbox_credentials=sandbox_credentials,
        )

    return opened


def ambient(environ: Mapping[str, str]) -> AwsAccess:
    """Return the way into AWS of whoever runs this, without an environment: for what reads no account.

    Raises:
        CredentialsError: There are no credentials, or an ``AWS_ENDPOINT_URL*`` is set: they may be the sandbox's.
    """
    pointed = sorted(name for name in environ if name.startswith("AWS_ENDPOINT_URL") and environ[name])
    if pointed:
        raise CredentialsError(
            f"{pointed[0]} is set, so these credentials may not be AWS's",
            expected="a login of AWS itself",
            do=f"`unset {pointed[0]}` (`invoke sandbox.env` sets it) and log in",
            runbook="endpoint",
        )
    session = logged_in(None, "AWS_PROFILE")
    region = session.get_config_variable("region") or "us-east-1"
    partition = session.get_partition_for_region(region)
    return AwsAccess(session, account_id="", region=region, partition=partition, endpoint_url=None, loopback=False)

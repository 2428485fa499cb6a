"""Credentials and endpoints, resolved once into explicit values for boto3 and for Terraform.

Nothing after this file looks at the ambient environment: a client is built from the values here, and a child process gets
an environment built from the allow-list here.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from ci_user import __version__
from ci_user.credential_sources import (
    TRANSPORT,
    SessionCredentials,
    client_config,
    isolated_session,
    logged_in,
    reason,
    refreshing_session,
    refuse_foreign_endpoints,
    session_for,
)
from ci_user.errors import AwsError, CredentialsError, WrongAccountError
from ci_user.text import plain

if TYPE_CHECKING:
    from botocore.session import Session

    from ci_user.environment import Access, Environment
    from ci_user.secret import Secret

__all__ = ["STATE_PROFILE", "Accesses", "AwsAccess", "Caller", "SessionCredentials", "ambient", "calling", "resolve"]

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


@dataclass(frozen=True)
class Caller:
    """Who the credentials belong to, as ``sts:GetCallerIdentity`` answers.

    https://docs.aws.amazon.com/STS/latest/APIReference/API_GetCallerIdentity.html
    """

    arn: str
    account_id: str


@contextmanager
def calling(doing: str, *, do: str | None = None) -> Iterator[None]:
    """Turn what botocore raises while ``doing`` into an ``AwsError`` that never shows a request's parameters.

    Raises:
        AwsError: AWS answered with an error, or did not answer.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except ClientError as error:
        details = error.response.get("Error", {})
        raise AwsError(
            f"{doing}: AWS answered {plain(details.get('Code', 'an error'))}: {plain(details.get('Message', ''))}",
            where=f"{error.operation_name}",
            do=do or "look at the message above; `invoke doctor` shows what was found on this machine",
            runbook="aws-refused-a-call",
        ) from None
    except BotoCoreError as error:
        # Parameter validation errors quote values, so only the kind is told.
        raise AwsError(
            f"{doing}: no answer from AWS ({type(error).__name__})",
            do=do or "check the network, the proxy settings and the region, then run the same command again",
            runbook="aws-refused-a-call",
        ) from None


class AwsAccess:
    """One resolved way into AWS: credentials, region, account and endpoint.

    Clients are cached per service and region, have timeouts, and ignore endpoints configured outside the environment file.
    """

    def __init__(
        self,
        session: Session,
        *,
        account_id: str,
        region: str,
        partition: str,
        endpoint_url: str | None,
        loopback: bool,
        check: Callable[[Any], None] | None = None,
    ) -> None:
        self.account_id = account_id
        self.region = region
        self.partition = partition
        self.endpoint_url = endpoint_url
        self.loopback = loopback
        self._session = session
        self._check = check
        self._clients: dict[tuple[str, str, int, str], Any] = {}
        # botocore sessions are not thread-safe while they create clients.
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"AwsAccess(account_id={self.account_id!r}, region={self.region!r})"

    def client(
        self, service: str, region: str | None = None, *, attempts: int = 4, user_agent: str = ""
    ) -> Any:  # a botocore client has no static type of its own
        """Return a client; ``attempts`` counts the first try, so 1 turns the SDK's retries off."""
        from ci_user.logs import quiet_connections

        quiet_connections()
        key = (service, region or self.region, attempts, user_agent)
        with self._lock:
            if key not in self._clients:
                extra = f"ci-user/{__version__} {user_agent}".strip()
                client = self._session.create_client(
                    service,
                    region_name=key[1],
                    endpoint_url=self.endpoint_url,
                    config=client_config(
                        attempts=attempts,
                        user_agent_extra=extra,
                        max_pool_connections=16,
                        proxies={} if self.loopback else None,
                        s3={"addressing_style": "path"} if self.endpoint_url else None,
                    ),
                )
                if self._check is not None:
                    client.meta.events.register("before-send.*", self._before_send)
                self._clients[key] = client
            return self._clients[key]

    def _before_send(self, request: Any, **_: object) -> None:
        # The request is signed by now: a run that was paused between signing and sending is stopped here.
        if self._check is not None:
            self._check(request)

    def fenced_by(self, check: Callable[[Any], None]) -> AwsAccess:
        """Return the same access, whose every signed request first goes to ``check``, which raises when the lease is lost."""
        return AwsAccess(
            self._session,
            account_id=self.account_id,
            region=self.region,
            partition=self.partition,
            endpoint_url=self.endpoint_url,
            loopback=self.loopback,
            check=check,
        )

    def at(self, *, region: str, account_id: str) -> AwsAccess:
        """Return the same credentials aimed at another region, or at another account's resource."""
        return AwsAccess(
            self._session,
            account_id=account_id,
            region=region,
            partition=self.partition,
            endpoint_url=self.endpoint_url,
            loopback=self.loopback,
            check=self._check,
        )

    def with_key(self, access_key_id: str, secret: Secret) -> AwsAccess:
        """Return an access that signs with another long-lived key, to verify it."""
        session = isolated_session(keep=() if self.loopback else TRANSPORT)
        session.set_credentials(access_key_id, secret.reveal())
        return AwsAccess(
            session,
            account_id=self.account_id,
            region=self.region,
            partition=self.partition,
            endpoint_url=self.endpoint_url,
            loopback=self.loopback,
        )

    def caller(self) -> Caller:
        """Ask who these credentials belong to.

        Raises:
            CredentialsError: They are missing, expired or refused.
        """
        from botocore.exceptions import BotoCoreError, ClientError
        from botocore.parsers import ResponseParserError

        try:
            answer = self.client("sts").get_caller_identity()
        except ClientError as error:
            details = error.response.get("Error", {})
            raise CredentialsError(
                f"AWS does not accept the credentials: {plain(details.get('Code', ''))}: {plain(details.get('Message', ''))}",
                do="log in again (`aws sso login`, a new session), or fix the profile or role in the environment file",
                runbook="credentials",
                details={"aws_code": str(details.get("Code", ""))},
            ) from None
        except BotoCoreError as error:
            raise CredentialsError(
                f"the credentials could not be used: {type(error).__name__}: {reason(error)}",
                do="log in again (`aws sso login`, a new session), and check network, proxy and region",
                runbook="credentials",
            ) from None
        except (ResponseParserError, KeyError):
            # botocore trips like this over a web page, such as a network's login, in place of AWS's answer.
            raise CredentialsError(
                "what answered in place of AWS is not AWS",
                where=str(self.client("sts").meta.endpoint_url),
                do="check network, proxy and endpoint_url: something in between answers with a page of its own",
                runbook="credentials",
            ) from None
        return Caller(arn=str(answer["Arn"]), account_id=str(answer["Account"]))

    def verify(self) -> Caller:
        """Return the caller, who is in this access's account.

        Raises:
            WrongAccountError: The credentials belong to another account.
            CredentialsError: They are missing, expired or refused.
        """
        caller = self.caller()
        if caller.account_id != self.account_id:
            raise WrongAccountError(
                f"these credentials belong to account {plain(caller.account_id)} ({plain(caller.arn)})",
                expected=f"account {self.account_id}",
                do="use the profile or role of that account; nothing was changed",
                runbook="wrong-account",
            )
        return caller

    def exports(self) -> dict[str, str]:
        """Return the credentials as the variables that every AWS SDK reads, good for at least ten more minutes.

        botocore refreshes temporary credentials before they get younger than that.

        Raises:
            CredentialsError: There are none, or they cannot be refreshed.
        """
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            held = self._session.get_credentials()
            assert held is not None  # noqa: S101 - a session without credentials is refused when it is made
            frozen = held.get_frozen_credentials()
        except (BotoCoreError, ClientError) as error:
            raise CredentialsError(
                f"the credentials could not be refreshed: {type(error).__name__}: {reason(error)}",
                do="log in again (`aws sso login`, a new session)",
                runbook="credentials",
            ) from None
        values = {
            "AWS_ACCESS_KEY_ID": str(frozen.access_key),
            "AWS_SECRET_ACCESS_KEY": str(frozen.secret_key),
        }
        if frozen.token:
            values["AWS_SESSION_TOKEN"] = frozen.token
        return values


@dataclass(frozen=True)
class Accesses:
    """The ways into AWS of one environment: the identity itself, the state bucket, and each secrets backend."""

    target: AwsAccess
    state_has_own: bool
    _environment: Environment = field(repr=False)
    _base: Callable[[Access | None], Session] = field(repr=False)
    _to: Callable[[Session, str, str], AwsAccess] = field(repr=False)

    @cached_property
    def state(self) -> AwsAccess:
        """Return the way to the state bucket; resolved when it is asked for, since a leak is answered without it.

        Raises:
            CredentialsError: Its profile is unknown, or has no credentials.
        """
        state = self._environment.state
        if not self.state_has_own:
            return self.target.at(
                region=state.region or self.target.region, account_id=state.account_id or self.target.account_id
            )
        return self._to(
            self._base(state.access),
            state.region or self.target.region,
            state.account_id or self.target.account_id,
        )

    def for_backend(self, settings: Any) -> AwsAccess:
        """Return the access that a backend's settings ask for (``access``, ``region``, ``account_id``), else the target's."""
        region = getattr(settings, "region", None) or self.target.region
        account_id = getattr(settings, "account_id", None) or self.target.account_id
        access = getattr(settings, "access", None)
        if access is None:
            return self.target.at(region=region, account_id=account_id)
        return AwsAccess(
            self._base(access),
            account_id=account_id,
            region=region,
            partition=self.target.partition,
            endpoint_url=self.target.endpoint_url,
            loopback=self.target.loopback,
        )

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
            self.state.verify()
        for settings in self._environment.places:
            own = getattr(settings, "access", None) is not None
            foreign = (getattr(settings, "account_id", None) or self.target.account_id) != self.target.account_id
            if own or foreign:
                # A secret's name carries no account: with the target's login it would be written into the target's.
                self.for_backend(settings).verify()

    def verify_target(self) -> Caller:
        """Check the account behind the target's login alone: a leak is answered with whatever else is broken.

        Raises:
            WrongAccountError: It is another account than the file says.
            CredentialsError: The login is missing, expired or refused.
        """
        return self.target.verify()

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
) -> Accesses:
    """Resolve every way into AWS of an environment. Talks to nobody yet: ``Accesses.verify`` does.

    Args:
        environment: The environment.
        environ: The ambient variables, usually ``os.environ``.
        endpoint_url: The sandbox's endpoint; given exactly when the environment is a sandbox.
        sandbox_credentials: Where the sandbox's credentials come from, called again when they run out.

    Raises:
        CredentialsError: No credentials, an unknown profile, or an ``AWS_ENDPOINT_URL*`` that the file does not name.
    """
    if environment.sandbox:
        if endpoint_url is None or sandbox_credentials is None:
            raise CredentialsError("the sandbox is not running", do="run `invoke sandbox.up`", runbook="sandbox")
        endpoint = endpoint_url
        session = refreshing_session(isolated_session(), sandbox_credentials)

        def base(access: Access | None) -> Session:
            del access
            return session

    else:
        refuse_foreign_endpoints(environment, environ)
        endpoint = environment.endpoint_url or ""

        def base(access: Access | None) -> Session:
            return session_for(access, environment)

    loopback = environment.sandbox

    def access_to(session: Session, region: str, account_id: str) -> AwsAccess:
        return AwsAccess(
            session,
            account_id=account_id,
            region=region,
            partition=environment.partition,
            endpoint_url=endpoint or None,
            loopback=loopback,
        )

    target_session = base(environment.access)
    return Accesses(
        target=access_to(target_session, environment.region, environment.account_id),
        state_has_own=environment.state.access is not None and not environment.sandbox,
        _environment=environment,
        _base=base,
        _to=access_to,
    )


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

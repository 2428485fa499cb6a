"""Where credentials come from, as botocore sessions: profiles, roles, the surroundings, the sandbox.

Only what is made here looks at the AWS configuration of the machine; ``credentials.py`` takes it from these sessions.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from ci_user.errors import CredentialsError
from ci_user.text import plain

if TYPE_CHECKING:
    import datetime as dt

    from botocore.config import Config
    from botocore.credentials import RefreshableCredentials
    from botocore.session import Session

    from ci_user.environment import Access, Environment
    from ci_user.environment_parts import Role
    from ci_user.secret import Secret

# How to reach AWS, whoever calls: what remains of the ambient settings for a login that was resolved here.
TRANSPORT = ("ca_bundle", "use_fips_endpoint")
_CONNECT_SECONDS = 5
_READ_SECONDS = 30

Check = Callable[[Any], None]
"""Called with a signed request before it is sent; what it raises stops the request."""
RetryMode = Literal["standard", "adaptive"]


@dataclass(frozen=True)
class SessionCredentials:
    """Temporary credentials made elsewhere (the sandbox's assumed role). ``expires`` is an aware datetime."""

    access_key_id: str
    secret_access_key: Secret
    session_token: Secret
    expires: dt.datetime


def refuse_foreign_endpoints(environment: Environment, environ: Mapping[str, str]) -> None:
    """Refuse an ambient endpoint that the environment's file does not name.

    Raises:
        CredentialsError: An ``AWS_ENDPOINT_URL*`` is set to something else.
    """
    for name in sorted(environ):
        if not name.startswith("AWS_ENDPOINT_URL") or not environ[name]:
            continue
        if environment.endpoint_url is None or environ[name].rstrip("/") != environment.endpoint_url.rstrip("/"):
            raise CredentialsError(
                f"{name} is set to {plain(environ[name])}, which {environment.name}'s file does not name",
                where=f"environments/{environment.name}.yaml: endpoint_url",
                expected="AWS's own endpoints" if environment.endpoint_url is None else environment.endpoint_url,
                do=f"`unset {name}` (`invoke sandbox.env` sets it), or name it in the file if it is meant",
                runbook="endpoint",
            )


def fence(client: Any, check: Check | None) -> None:
    """Have ``check`` asked before each request of a client leaves; None changes nothing."""
    if check is None:
        return
    asked = check

    def before_send(request: Any, **_: object) -> None:
        # The request is signed by now: a run that was paused between signing and sending is stopped here.
        asked(request)

    client.meta.events.register("before-send.*", before_send)


def client_config(*, attempts: int, retries: RetryMode = "standard", **more: Any) -> Config:
    """Return a client's settings: timeouts, retries, and no endpoint but the one that is given; ``attempts`` counts the first."""
    from botocore.config import Config

    settings: dict[str, Any] = {
        "connect_timeout": _CONNECT_SECONDS,
        "read_timeout": _READ_SECONDS,
        "retries": {"mode": retries, "total_max_attempts": attempts},
        "ignore_configured_endpoint_urls": True,
        **more,
    }
    return Config(**settings)


@functools.cache
def service_descriptions() -> Any:
    """Return the SDK's descriptions of the services, read once for all sessions of this process."""
    from botocore.loaders import create_loader

    return create_loader()


def isolated_session(keep: Collection[str] = ()) -> Session:
    """Return a session that sees no variable, profile or file of the machine, but for the settings to ``keep``."""
    import botocore.session
    from botocore.configprovider import BOTOCORE_DEFAUT_SESSION_VARIABLES, ConstantProvider

    session = botocore.session.Session()
    session.register_component("data_loader", service_descriptions())
    store = session.get_component("config_store")
    for name, (_, _, default, _) in BOTOCORE_DEFAUT_SESSION_VARIABLES.items():
        if name in keep:
            continue
        store.set_config_provider(name, ConstantProvider(default))
    for name in ("config_file", "credentials_file"):
        store.set_config_provider(name, ConstantProvider(os.devnull))
    return session


def _session(profile: str | None) -> Session:
    import botocore.session

    session = botocore.session.Session(profile=profile)
    session.register_component("data_loader", service_descriptions())
    session.set_config_variable("ignore_configured_endpoint_urls", True)
    return session


def session_for(access: Access | None, environment: Environment) -> Session:
    """Return a session for a profile, a role, both, or the ambient login when ``access`` is None.

    Raises:
        CredentialsError: There is no such profile, or there are no credentials.
    """
    session = profile_session(access, environment)
    return session if access is None or access.role is None else assumed(session, access.role, environment)


def profile_session(access: Access | None, environment: Environment) -> Session:
    """Return a session of the profile that ``access`` names, or of the ambient login; no role is assumed.

    Raises:
        CredentialsError: There is no such profile, or there are no credentials.
    """
    return logged_in(access.profile if access else None, f"environments/{environment.name}.yaml: access")


def logged_in(profile: str | None, where: str) -> Session:
    """Return a session that has credentials, of ``profile`` or the ambient ones; ``where`` is what an error names.

    Raises:
        CredentialsError: There is no such profile, or there are no credentials.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    session = _session(profile)
    try:
        credentials = session.get_credentials()
    except (BotoCoreError, ClientError) as error:
        raise CredentialsError(
            f"the credentials cannot be read: {reason(error)}",
            where=where,
            expected="a profile of your AWS configuration" if profile else "usable ambient credentials",
            do="`aws configure list-profiles` shows what is there",
            runbook="credentials",
        ) from None
    if credentials is None:
        raise CredentialsError(
            "no AWS credentials were found",
            where=where,
            expected=f"profile {profile!r}" if profile else "AWS_PROFILE, AWS_ACCESS_KEY_ID or a login of your CI",
            do="log in (`aws sso login --profile ...`) or set AWS_PROFILE, then run the same command again",
            runbook="credentials",
        )
    return session


def assumed(source: Session, role: Role, environment: Environment, check: Check | None = None) -> Session:
    """Return a session that assumes a role from ``source``, in the environment's region, when it is first used and again later.

    Args:
        source: A session that has credentials.
        role: The role.
        environment: Where its region and endpoint come from.
        check: Asked before each request for the role's credentials.
    """
    from botocore.credentials import AssumeRoleCredentialFetcher, DeferredRefreshableCredentials

    credentials = source.get_credentials()
    assert credentials is not None  # noqa: S101 - it is logged in

    def client_creator(service: str, **given: Any) -> Any:
        client = source.create_client(
            service,
            region_name=environment.region,
            endpoint_url=environment.endpoint_url,
            aws_access_key_id=given.get("aws_access_key_id"),
            aws_secret_access_key=given.get("aws_secret_access_key"),
            aws_session_token=given.get("aws_session_token"),
            config=client_config(attempts=4),
        )
        fence(client, check)
        return client

    extra = {"RoleSessionName": role.session_name}
    if role.external_id:
        extra["ExternalId"] = role.external_id
    fetcher = AssumeRoleCredentialFetcher(
        client_creator=client_creator, source_credentials=credentials, role_arn=role.arn, extra_args=extra
    )
    refreshing = DeferredRefreshableCredentials(method="assume-role", refresh_using=fetcher.fetch_credentials)
    return _holding(isolated_session(keep=TRANSPORT), refreshing)


def refreshing_session(session: Session, source: Callable[[], SessionCredentials]) -> Session:
    """Return ``session`` with the credentials of ``source``, which is called when they are first needed and when they run out."""
    from botocore.credentials import DeferredRefreshableCredentials

    def refresh() -> dict[str, str]:
        made = source()
        return {
            "access_key": made.access_key_id,
            "secret_key": made.secret_access_key.reveal(),
            "token": made.session_token.reveal(),
            "expiry_time": made.expires.isoformat(),
        }

    return _holding(session, DeferredRefreshableCredentials(method="sandbox", refresh_using=refresh))


def _holding(session: Any, credentials: RefreshableCredentials) -> Session:
    # The only way to hand a session credentials that refresh themselves.
    session._credentials = credentials
    held: Session = session
    return held


def reason(error: Exception) -> str:
    """Return an exception's text on one line; the kinds caught here quote profiles and files, never a secret."""
    return plain(str(error).splitlines()[0] if str(error) else type(error).__name__)

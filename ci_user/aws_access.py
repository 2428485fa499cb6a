"""One resolved way into AWS: credentials, region, account and endpoint, and the clients that are made of them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from ci_user import __version__
from ci_user.credential_sources import TRANSPORT, Check, RetryMode, client_config, fence, isolated_session, reason
from ci_user.errors import AwsError, CredentialsError, WrongAccountError
from ci_user.text import plain

if TYPE_CHECKING:
    from collections.abc import Hashable

    from botocore.session import Session

    from ci_user.secret import Secret

# botocore's sessions are not thread-safe while they make clients, and they share the descriptions of the services. Making one
# talks to nobody and takes milliseconds, so that one lock for all is no queue.
_MAKING: Final = threading.Lock()


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


class Clients:
    """The clients of one session, made once each and shared by every access that differs in region or account only.

    Args:
        session: Where the credentials are.
        check: Called with each signed request before it is sent; what it raises stops the request.
        retries: botocore's mode. In ``adaptive`` a client that is throttled slows down for everybody who shares it.
            https://docs.aws.amazon.com/sdkref/latest/guide/feature-retry-behavior.html
    """

    def __init__(self, session: Session, check: Check | None = None, retries: RetryMode = "standard") -> None:
        self.session = session
        self.check = check
        self.retries: RetryMode = retries
        self._made: dict[tuple[Hashable, ...], Any] = {}

    def get(
        self, service: str, region: str, *, endpoint_url: str | None, loopback: bool, attempts: int, user_agent: str
    ) -> Any:
        """Return the client; see ``AwsAccess.client``."""
        key = (service, region, endpoint_url, loopback, attempts, user_agent)
        client = self._made.get(key)
        if client is not None:
            return client
        from ci_user.logs import quiet_connections

        quiet_connections()
        with _MAKING:
            if key not in self._made:
                made = self.session.create_client(
                    service,
                    region_name=region,
                    endpoint_url=endpoint_url,
                    config=client_config(
                        attempts=attempts,
                        retries=self.retries,
                        user_agent_extra=f"ci-user/{__version__} {user_agent}".strip(),
                        max_pool_connections=16,
                        proxies={} if loopback else None,
                        s3={"addressing_style": "path"} if endpoint_url else None,
                    ),
                )
                fence(made, self.check)
                self._made[key] = made
            return self._made[key]

    def fenced_by(self, check: Check) -> Clients:
        """Return clients whose requests ``check`` is asked about too; these, when it is asked already."""
        first = self.check
        if first == check:
            return self
        if first is None:
            return Clients(self.session, check, self.retries)

        def both(request: Any) -> None:
            first(request)
            check(request)

        return Clients(self.session, both, self.retries)


class AwsAccess:
    """One resolved way into AWS: credentials, region, account and endpoint.

    Clients are made once per service and region, have timeouts, and ignore endpoints configured outside the environment file.

    Args:
        session: Where the credentials are.
        account_id: The account that is meant, 12 digits.
        region: Where clients look, unless they are asked for another region.
        partition: ``aws``, ``aws-us-gov`` or ``aws-cn``.
        endpoint_url: In place of AWS's own endpoints.
        loopback: Whether it is the embedded AWS of a sandbox, which no proxy leads to.
        check: Called with each signed request before it is sent; what it raises stops the request.
        clients: Those of another access with the same session and the same ``check``, to share.
        login: Equal for accesses to which AWS shows the same things; by default the session itself.
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
        check: Check | None = None,
        clients: Clients | None = None,
        login: Hashable = None,
    ) -> None:
        self.account_id = account_id
        self.region = region
        self.partition = partition
        self.endpoint_url = endpoint_url
        self.loopback = loopback
        self.login: Hashable = session if login is None else login
        self._clients = Clients(session, check) if clients is None else clients

    def __repr__(self) -> str:
        return f"AwsAccess(account_id={self.account_id!r}, region={self.region!r})"

    def client(
        self, service: str, region: str | None = None, *, attempts: int = 4, user_agent: str = ""
    ) -> Any:  # a botocore client has no static type of its own
        """Return a client; ``attempts`` counts the first try, so 1 turns the SDK's retries off."""
        return self._clients.get(
            service,
            region or self.region,
            endpoint_url=self.endpoint_url,
            loopback=self.loopback,
            attempts=attempts,
            user_agent=user_agent,
        )

    def fenced_by(self, check: Callable[[Any], None]) -> AwsAccess:
        """Return the same access, whose every signed request first goes to ``check``, which raises when the lease is lost.

        A check that it has already stays, and is asked first.
        """
        return self._with(self._clients.fenced_by(check), self.region, self.account_id)

    def at(self, *, region: str, account_id: str) -> AwsAccess:
        """Return the same credentials aimed at another region, or at another account's resource; clients are shared."""
        return self._with(self._clients, region, account_id)

    def _with(self, clients: Clients, region: str, account_id: str) -> AwsAccess:
        return AwsAccess(
            clients.session,
            account_id=account_id,
            region=region,
            partition=self.partition,
            endpoint_url=self.endpoint_url,
            loopback=self.loopback,
            clients=clients,
            login=self.login,
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
            held = self._clients.session.get_credentials()
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

"""What the settings of backends have in common that are reached over HTTP with a token."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, Self
from urllib.parse import quote, unquote, urlsplit

from pydantic import Field, ValidationError

from ci_user.backends.http import Origin, Remote
from ci_user.backends.key_names import Names
from ci_user.backends.protocol import BackendSettings, EnvironmentNames
from ci_user.backends.tokens import Token, TokenNeed, TokenSource, find
from ci_user.environment_fields import RepositoryPath, Url, inside, is_loopback
from ci_user.errors import BackendError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from ci_user.backends.protocol import OpenContext


class HostedSettings(BackendSettings):
    """Where the service is, what it is logged in to with, and how the key's parts are called."""

    vendor: ClassVar[str]
    """The service's name, for people."""
    variable: ClassVar[str]
    """The environment variable that its token usually stands in."""
    scopes: ClassVar[str]
    """The least scopes or rights that the token needs, in words."""

    url: Url = Field(description="Its address.")
    token: TokenSource | None = Field(
        default=None, description="Where the token comes from, if not from the usual variable."
    )
    ca_file: RepositoryPath | None = Field(
        default=None, description="Certificates (PEM) to trust, if its own authority signed it."
    )
    names: Names = Field(default=Names(), description="What the key's parts are called.")

    @abstractmethod
    def parts(self) -> tuple[str, ...]:
        """Return what names the place at the service."""

    @classmethod
    @abstractmethod
    def of_parts(cls, parts: Sequence[str]) -> dict[str, Any] | None:
        """Return the keys and values that ``parts`` stand for; None when they stand for nothing."""

    def what(self) -> str:
        """Return what the place is, in words."""
        return "/".join(self.parts())

    def target(self, environment: EnvironmentNames) -> str:
        """Return ``BACKEND:HOST/PART/PART``, with ``#NAME`` behind it where the key id has a name of its own."""
        del environment
        place = "/".join(quote(part, safe=" @+=,~") for part in self.parts())
        return f"{self.backend}:{_address(self.url)}/{place}{self.names.anchor}"

    @classmethod
    def from_target(cls, target: str, environment: EnvironmentNames) -> Self | None:
        """Return the settings that the line stands for, None for anything else; the token is the usual one."""
        backend, _, rest = target.partition(":")
        line, mark, anchor = rest.partition("#")
        address, *quoted = line.split("/")
        found = cls.of_parts([unquote(part) for part in quoted])
        if found is None or not address:
            return None
        try:
            names = Names.anchored(mark + anchor)
            settings = cls.model_validate({"backend": backend, "url": _url(address), "names": names, **found})
        except ValidationError:
            return None
        return settings if settings.target(environment) == target else None

    def guarded_arns(self, environment: EnvironmentNames) -> tuple[str, ...]:
        """Return the secret that the token is in, where it is in Secrets Manager: no pipeline may read it."""
        if self.token is None or self.token.secret is None:
            return ()
        place = f"{environment.region}:{environment.account_id}"
        return (f"arn:{environment.partition}:secretsmanager:{place}:secret:{self.token.secret}-??????",)

    def need(self, environment: EnvironmentNames) -> TokenNeed:
        """Return what is asked of the token."""
        usual = type(self).model_fields["url"].default
        return TokenNeed(
            vendor=self.vendor,
            variable=self.variable,
            host=Origin.of(usual).address if isinstance(usual, str) else "",
            scopes=self.scopes,
            url=self.url,
            target=self.target(environment),
        )

    def login(self, context: OpenContext) -> Token:
        """Return the token.

        Raises:
            BackendError: There is none, or it is for another host.
        """
        return find(self.token, self.need(context.environment), context)

    def remote(self, token: Token, environment: EnvironmentNames) -> Remote:
        """Return how the service's refusals are told."""
        return Remote(self.vendor, self.target(environment), token.source, self.scopes, self.what())

    def trusted(self, root: Path) -> Path | None:
        """Return the file of certificates to trust.

        Raises:
            BackendError: It is not there, or leads out of the repository by now.
        """
        if self.ca_file is None:
            return None
        try:
            file = inside(root, self.ca_file)
            with file.open("rb"):
                return file
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            raise BackendError(
                f"the certificates in {self.ca_file} cannot be read ({reason})",
                where=f"{self.backend} at {self.url}",
                expected="a file of certificates (PEM) below the repository's root",
                do="put it there, or correct `ca_file` in the environment file",
                runbook="backend",
            ) from None


def _address(url: str) -> str:
    """Return the address as one part of a place's line: the host, and the path that the service lies below, if any."""
    return Origin.of(url).address + quote(urlsplit(url).path.rstrip("/"), safe="")


def _url(address: str) -> str:
    whole = unquote(address)
    host = whole.partition("/")[0].rpartition(":")[0] or whole.partition("/")[0]
    # Plain HTTP is for loopback only, and only tests and sandboxes have a service there.
    return f"{'http' if is_loopback(host.strip('[]')) else 'https'}://{whole}"

"""Where the token for a secrets backend comes from, and the one host that it may be sent to.

A token never stands in an environment file, and neither does the host that it is for: else whoever edits the file could have
it sent elsewhere. The credential itself names its host.

| source | where the token is | where its host is |
|---|---|---|
| a variable | ``NAME`` | ``NAME_HOST``; unless set, for the usual variable the vendor's public host (Vault: ``VAULT_ADDR``) |
| a file | after the first word | its first word, as in ``gitlab.example.com glpat-...`` |
| the system keyring | the password of ``ci-user:HOST`` and ``NAME`` | in the service's name |
| Secrets Manager | ``token`` of a JSON document | its ``host`` |
"""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Final, Self

from pydantic import AfterValidator, Field, model_validator

from ci_user.backends.http import Origin
from ci_user.environment_fields import Model, RepositoryPath, expected, inside, matching, refusal
from ci_user.errors import BackendError
from ci_user.secret import Secret
from ci_user.text import plain

if TYPE_CHECKING:
    from ci_user.backends.protocol import OpenContext

_MOST_BYTES: Final = 64 * 1024

_UNSEEN: Final = "(not shown)"
"""Stands for the value in a message: whoever writes the token itself into the file must not find it in a log too."""


def _variable(value: str) -> str:
    if re.fullmatch(r"[A-Z_][A-Z0-9_]{0,99}", value) is None:
        raise refusal([((), "the name of an environment variable: A-Z, 0-9 and _", _UNSEEN)])
    return value


VariableName = Annotated[str, AfterValidator(_variable)]


class TokenSource(Model):
    """Where a backend's token comes from: one of these. Left out, it is the backend's usual variable."""

    variable: VariableName | None = Field(
        default=None, description="An environment variable; NAME_HOST names the host it is for."
    )
    file: RepositoryPath | None = Field(
        default=None, description="A file below the repository's root, HOST TOKEN; not in version control."
    )
    keyring: Annotated[str, matching(r"[A-Za-z0-9_.@-]{1,100}", "a user name in the keyring")] | None = Field(
        default=None, description="A user name of the system keyring's service ci-user:HOST."
    )
    secret: Annotated[str, matching(r"[A-Za-z0-9/_+=.@-]{1,512}", "the name of a secret")] | None = Field(
        default=None,
        description='A secret of Secrets Manager in the environment\'s account, {"host": ..., "token": ...}.',
    )

    @model_validator(mode="before")
    @classmethod
    def _no_token(cls, value: object) -> object:
        if isinstance(value, str):
            raise refusal([((), "variable, file, keyring or secret: a token itself never stands in the file", _UNSEEN)])
        return value

    @model_validator(mode="after")
    def _one(self) -> Self:
        if sum(value is not None for value in (self.variable, self.file, self.keyring, self.secret)) != 1:
            raise expected("one of variable, file, keyring and secret")
        return self


@dataclass(frozen=True, slots=True)
class Token:
    """A token and the host that it may be sent to.

    Args:
        secret: The token.
        host: ``HOST`` or ``HOST:PORT``.
        source: Where it is from, in words.
    """

    secret: Secret
    host: str
    source: str

    def refuse_other_host(self, url: str, target: str) -> None:
        """See that an address is the token's.

        Raises:
            BackendError: It is another host, or plain HTTP to another machine.
        """
        try:
            address = Origin.of(url).address
        except ValueError as error:
            raise BackendError(
                f"{plain(url)} is {error}", where=target, expected="https://, or http:// to loopback"
            ) from None
        if address.lower() != self.host.lower():
            raise BackendError(
                f"the token in {self.source} is for {_shown(self.host)}, and is not sent to {plain(address)}",
                where=target,
                expected="a token that names the host in the environment file",
                do="whoever keeps the token changes its host (docs/backends.md, Tokens); if nobody meant to"
                " deliver there, correct the environment file",
                runbook="backend",
            )


def _shown(host: str) -> str:
    """Return a host as a message may have it: who mixes up host and token must not find the token in a log."""
    name = host.rpartition(":")[0] if re.search(r":[0-9]{1,5}\Z", host) else host
    address = re.fullmatch(r"localhost|[0-9]{1,3}(\.[0-9]{1,3}){3}|\[[0-9A-Fa-f:]{2,39}\]", name) is not None
    # No token is made of short labels in lower case with a word of letters last, however many dots are in it.
    domain = len(name) <= 253 and re.fullmatch(r"([a-z0-9-]{1,30}\.)+[a-z]{2,18}", name) is not None
    return plain(host) if address or domain else "another host (not shown: it does not look like one)"


@dataclass(frozen=True)
class TokenNeed:
    """What a backend needs of a token.

    Args:
        vendor: The service's name, for people.
        variable: The usual environment variable.
        host: The vendor's public host, which the usual variable is for when nothing else is said; empty for none.
        scopes: The least scopes or rights that it needs, in words.
        url: The address that it will be sent to.
        target: The place.
        host_variable: An environment variable whose address the usual variable is for when nothing else is said, as
            VAULT_ADDR is for VAULT_TOKEN; empty for none.
    """

    vendor: str
    variable: str
    host: str
    scopes: str
    url: str
    target: str
    host_variable: str = ""

    def missing(self, source: str, why: str = "") -> BackendError:
        """Return the error for a token that is not there."""
        return BackendError(
            f"there is no token for {self.vendor}: {source} {why or 'is not set'}",
            where=self.target,
            expected=f"a token that has {self.scopes}",
            do=f"set {self.variable}, or name another source with `token` in the environment file (docs/backends.md, Tokens)",
            runbook="backend",
        )


def find(source: TokenSource | None, need: TokenNeed, context: OpenContext) -> Token:
    """Return the token from its source, for the host of ``need.url`` only.

    Raises:
        BackendError: There is none, it cannot be read, or it is for another host. The error names variable and scopes.
    """
    left = source is not None and source.secret is not None and not context.reads_secrets
    if source is None or left:
        source = TokenSource(variable=need.variable)
    if left and not context.environ.get(need.variable, "").strip():
        raise need.missing(
            need.variable, "is not set, and the one in Secrets Manager is a secret, which this run does not read"
        )
    if source.variable is not None:
        token = _from_variable(source.variable, need, context.environ)
    elif source.file is not None:
        token = _from_file(source.file, need, context)
    elif source.keyring is not None:
        token = _from_keyring(source.keyring, need)
    else:
        token = _from_secrets_manager(str(source.secret), need, context)
    token.refuse_other_host(need.url, need.target)
    return token


def _from_variable(name: str, need: TokenNeed, environ: Mapping[str, str]) -> Token:
    value = environ.get(name, "").strip()
    if not value:
        raise need.missing(name)
    host = environ.get(f"{name}_HOST", "").strip()
    if not host and name == need.variable:
        host = _address(environ.get(need.host_variable, "").strip(), need) or need.host
    if not host:
        other = f" or {need.host_variable}" if need.host_variable and name == need.variable else ""
        raise need.missing(f"{name}_HOST{other}", "does not name the host that it is for")
    return Token(Secret(value), host, name)


def _address(url: str, need: TokenNeed) -> str:
    """Return the host in an address; empty for no address."""
    try:
        return Origin.of(url).address if url else ""
    except ValueError as error:
        raise need.missing(need.host_variable, f"holds {error}") from None


def _from_file(path: str, need: TokenNeed, context: OpenContext) -> Token:
    try:
        file = inside(context.root, path)
        with os.fdopen(os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK), "rb") as stream:
            found = os.fstat(stream.fileno())
            if not stat.S_ISREG(found.st_mode):
                raise need.missing(path, "is no regular file")
            if found.st_mode & 0o022:
                raise need.missing(path, "can be written by others: chmod 600")
            words = _parted(stream.read(_MOST_BYTES))
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise need.missing(path, f"cannot be read ({reason})") from None
    if words is None:
        raise need.missing(path, "does not hold HOST TOKEN")
    return Token(words[1], words[0], f"the file {path}")


def _parted(content: bytes) -> tuple[str, Secret] | None:
    host, _, rest = content.decode("utf-8", "replace").strip().partition(" ")
    rest = rest.strip()
    return (host, Secret(rest)) if host and rest and "\n" not in host else None


def _from_keyring(user: str, need: TokenNeed) -> Token:
    keyring = _keyring(need)
    host = Origin.of(need.url).address
    service = f"ci-user:{host}"
    words = f"{user} of {service} in the system keyring"
    try:
        found = keyring(service, user)
    except Exception as error:  # noqa: BLE001 - the system's keyrings raise errors of their own besides keyring's
        raise need.missing(words, f"cannot be read ({type(error).__name__})") from None
    if not found:
        raise need.missing(words)
    return Token(Secret(found), host, words)


def _keyring(need: TokenNeed) -> Callable[[str, str], str | None]:
    try:
        import keyring
    except Exception as error:  # noqa: BLE001 - it loads what its configuration names
        if isinstance(error, ModuleNotFoundError) and error.name == "keyring":
            why = "needs the package keyring: pip install 'ci-user[keyring]'"
        else:
            why = f"cannot be used ({type(error).__name__})"
        raise need.missing("the system keyring", why) from None
    return keyring.get_password


def _from_secrets_manager(name: str, need: TokenNeed, context: OpenContext) -> Token:
    from ci_user.backends.aws import Refusal, Service

    words = f"the secret {name}"
    service = Service(context.access, "secretsmanager", context.access.region, need.target)
    try:
        answer = service.call(
            "GetSecretValue",
            lambda client: client.get_secret_value(SecretId=name),
            expecting=("ResourceNotFoundException",),
            secret=True,
        )
    except Refusal:
        raise need.missing(words, f"does not exist in account {context.access.account_id}") from None
    found = _document(answer.get("SecretString"))
    if found is None:
        raise need.missing(words, 'does not hold {"host": "...", "token": "..."}')
    return Token(found[1], found[0], words)


def _document(text: object) -> tuple[str, Secret] | None:
    """Return host and token; never raises, so that no traceback quotes them."""
    try:
        found = json.loads(text) if isinstance(text, str) else None
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, dict):
        return None
    host, token = found.get("host"), found.get("token")
    return (host, Secret(token)) if isinstance(host, str) and isinstance(token, str) and host and token else None

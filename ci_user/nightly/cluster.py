"""Where a Dask cluster's scheduler is, and what proves who we are.

Whoever reaches a Dask scheduler runs code on its workers, which have AWS credentials; a scheduler and its workers run code
on the client in turn, since Dask's messages are pickles. So beyond loopback it is mutual TLS or nothing
(https://distributed.dask.org/en/stable/tls.html). Dask compares no host names: the authority must be the cluster's own.
"""

from __future__ import annotations

import ipaddress
import re
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from ci_user.errors import UsageError
from ci_user.text import plain

SHOWN: Final = 500
"""How much of a foreign message is shown, in characters."""
_ADDRESS: Final = re.compile(
    r"(?P<scheme>tcp|tls)://(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?):(?P<port>[0-9]{1,5})"
)
_LOOPBACK: Final = (ipaddress.ip_address("127.0.0.1"), ipaddress.ip_address("::1"))
_FLAG: Final = "--scheduler"
_WHY: Final = "an open scheduler lets anyone who reaches it run code next to AWS credentials"


@dataclass(frozen=True)
class ClusterAddress:
    """Where the scheduler is, and what proves who we are.

    Args:
        scheduler: ``tls://HOST:PORT`` with all three files, or ``tcp://HOST:PORT`` on 127.0.0.1, ::1 or localhost with none.
        tls_ca: The certificate of the cluster's own authority, PEM.
        tls_cert: The client's certificate, PEM.
        tls_key: Its key without a passphrase, PEM.

    Raises:
        UsageError: It is another address, or a file is missing or one too many.
    """

    scheduler: str
    tls_ca: Path | None = None
    tls_cert: Path | None = None
    tls_key: Path | None = None

    def __post_init__(self) -> None:
        self._parts()
        given = [flag for flag, path in self._files().items() if path is not None]
        if not self.encrypted and given:
            raise UsageError(
                f"{given[0]} is given, and {self.scheduler} is not encrypted",
                where=_FLAG,
                expected="a tls:// address",
                do=f"use tls://, or leave out {', '.join(given)}",
            )
        lacking = [flag for flag, path in self._files().items() if path is None]
        if self.encrypted and lacking:
            raise UsageError(
                f"{self.scheduler} needs {', '.join(lacking)}",
                where=_FLAG,
                expected=f"client certificates on both sides: {_WHY}",
                do="give --tls-ca, --tls-cert and --tls-key",
            )
        for flag, path in self._files().items():
            if path is not None and not path.is_file():
                raise UsageError(f"{plain(path)} is not a file", where=flag, expected="a PEM file")

    @property
    def encrypted(self) -> bool:
        """Return whether it is TLS."""
        return self._parts()[0] == "tls"

    @property
    def contact(self) -> str:
        """Return the address that is connected to: no name is looked up for loopback."""
        scheme, host, port = self._parts()
        return f"{scheme}://{host}:{port}"

    def security(self) -> Any:
        """Return Dask's settings of the connection; Dask's own configuration cannot weaken them.

        Raises:
            UsageError: The certificates cannot be used.
        """
        from distributed.security import Security

        make: Any = Security
        if not self.encrypted:
            return make(require_encryption=False)
        ca, cert, key = (str(path) for path in self._files().values())
        try:
            context = ssl.create_default_context(cafile=ca)
            context.load_cert_chain(cert, key, password=_no_passphrase)
        except OSError as error:
            raise UsageError(
                f"the certificates cannot be used: {plain(error, SHOWN)}",
                where="--tls-ca, --tls-cert, --tls-key",
                expected="PEM files that belong together, the key without a passphrase",
            ) from None
        return make(require_encryption=True, tls_ca_file=ca, tls_client_cert=cert, tls_client_key=key)

    def _files(self) -> dict[str, Path | None]:
        return {"--tls-ca": self.tls_ca, "--tls-cert": self.tls_cert, "--tls-key": self.tls_key}

    def _parts(self) -> tuple[str, str, int]:
        found = _ADDRESS.fullmatch(self.scheduler)
        if found is None or not 1 <= int(found["port"]) <= 65535:
            raise _not_an_address(self.scheduler)
        scheme, host, port = found["scheme"], found["host"], int(found["port"])
        address: ipaddress.IPv4Address | ipaddress.IPv6Address | None
        try:
            address = ipaddress.IPv6Address(host[1:-1]) if host.startswith("[") else ipaddress.IPv4Address(host)
        except ValueError:
            if host.startswith("["):
                raise _not_an_address(self.scheduler) from None
            address = _LOOPBACK[0] if host.lower() == "localhost" and scheme == "tcp" else None
        if scheme == "tcp" and address not in _LOOPBACK:
            raise UsageError(
                f"{self.scheduler} is beyond this machine and not encrypted",
                where=_FLAG,
                expected=f"tls://HOST:PORT with client certificates: {_WHY}",
                do="start the cluster with TLS; tcp:// goes to 127.0.0.1, ::1 or localhost only",
            )
        if address is None:
            return scheme, host, port
        return scheme, f"[{address}]" if address.version == 6 else str(address), port


def _no_passphrase() -> str:
    """Return an empty passphrase, which opens nothing: without this OpenSSL would ask at the terminal."""
    return ""


def _not_an_address(text: str) -> UsageError:
    return UsageError(
        f"{plain(text, SHOWN)!r} is not the address of a scheduler",
        where=_FLAG,
        expected="tls://HOST:PORT, or tcp://127.0.0.1:PORT on this machine",
    )

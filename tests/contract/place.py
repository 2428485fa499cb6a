"""A place that keys are delivered to, as the contract sees it: the tool's side is a backend, the pipeline's a vendor's double.

Each file of ``doubles`` has the double of one vendor and the places at it. A place is fresh: nothing was ever written there.
"""

from __future__ import annotations

import copy
import itertools
import os
import stat
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import pytest

from ci_user.backends import Backend, BackendSettings, settings_model
from ci_user.backends.protocol import OpenContext
from ci_user.secret import AccessKey, Secret
from tests.vendors.server import Call, VendorServer

SECRET = 'wJalr/XUtnFEMI+K7MDENG"bPxRfiCYEXAMPLE&KEY'
TOKEN = "tok-3n/+&=9pXUtnFEMIbPxRfiCYzzEXAMPLE"
NUMBERS = itertools.count(10**7)


def new_key() -> AccessKey:
    return AccessKey(f"AKIATEST{next(NUMBERS)}AAAA", Secret(SECRET))


@dataclass(frozen=True)
class Names:
    """An environment's names."""

    name: str = "testing"
    prefix: str = "shop-testing"
    account_id: str = "000000000000"
    region: str = "eu-west-1"
    partition: str = "aws"
    protected: bool = False
    sandbox: bool = True


def modes_of_what_is_synced(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list that gets the mode of each regular file at the moment it is written through to the disk."""
    modes: list[int] = []
    original = os.fsync

    def look(descriptor: int) -> None:
        found = os.fstat(descriptor)
        if stat.S_ISREG(found.st_mode):
            modes.append(stat.S_IMODE(found.st_mode))
        original(descriptor)

    monkeypatch.setattr(os, "fsync", look)
    return modes


class NoAccess:
    """For backends that need no AWS."""

    account_id = "000000000000"
    region = "eu-west-1"
    partition = "aws"

    def client(self, service: str, region: str | None = None, *, attempts: int = 4) -> Any:
        raise AssertionError("this backend has no business with AWS")


@dataclass
class Pauses:
    """Records the waits instead of waiting; ``then`` runs after each, as time would pass at a vendor."""

    seconds: list[float] = field(default_factory=list)
    then: Callable[[], None] = lambda: None

    def __call__(self, seconds: float) -> None:
        self.seconds.append(seconds)
        self.then()


class Place(ABC):
    """One place at a vendor's double.

    Attributes:
        backend: The backend's name in environment files.
        variable: The environment variable that its token usually stands in.
        sees_foreign: Whether the vendor lets the tool notice that somebody else changed the secret.
        document: The entry of ``secrets``; tests add to it.
        environ: The environment variables, token and host included.
    """

    backend: ClassVar[str]
    variable: ClassVar[str]
    sees_foreign: ClassVar[bool] = True
    server: VendorServer

    def __init__(self, root: Path) -> None:
        self.root = root
        self.pauses = Pauses()
        self.check: Callable[[Any], None] | None = None
        self.document: dict[str, Any] = {}
        self.environ: dict[str, str] = {}

    @classmethod
    @contextmanager
    @abstractmethod
    def serve(cls) -> Iterator[Any]:
        """Run the double; its value is what ``at`` takes. One is shared by the tests of a worker."""
        yield

    @classmethod
    @abstractmethod
    def at(cls, server: Any, root: Path) -> Place:
        """Return a fresh place at the double, under a name of its own."""

    def settings(self, **changes: Any) -> BackendSettings:
        """Return the settings, as an environment file would give them."""
        document = copy.deepcopy(self.document) | changes
        return settings_model(self.backend).model_validate(document, context={"root": self.root})

    def open(
        self, environment: Names = Names(), /, environ: Mapping[str, str] | None = None, **changes: Any
    ) -> Backend:
        """Return the backend, as on a fresh machine."""
        import importlib

        from ci_user import backends

        settings = self.settings(**changes)
        context = OpenContext(
            NoAccess(), environment, self.root, self.environ if environ is None else environ, self.check, self.pauses
        )
        module = importlib.import_module(backends._MODULES[self.backend])
        opened: Backend = module.open_with(settings, context)
        return opened

    def reads(self, call: Call) -> bool:
        """Tell whether a call only reads: a login that is a POST does."""
        return call.method in ("GET", "HEAD")

    @abstractmethod
    def consumed(
        self, names: tuple[str, ...] = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
    ) -> tuple[str | None, ...]:
        """Return what a pipeline reads under these names, None for each that is not there."""

    @abstractmethod
    def write_foreign(self, name: str = "AWS_SECRET_ACCESS_KEY") -> None:
        """Have somebody else write ``foreign`` under a name, new or not, some time later."""

    @abstractmethod
    def odd(self) -> dict[str, Any]:
        """Return changes of the entry that lead to a place with names as odd as the vendor allows: ``/``, spaces, unicode."""

    @abstractmethod
    def missing(self) -> dict[str, Any]:
        """Return changes of the entry that name a place that does not exist."""

    @abstractmethod
    def crowd(self) -> None:
        """Fill the place with so many variables of others that lists of it have several pages."""

    def deliver(self, key: AccessKey, backend: Backend | None = None) -> None:
        """Write a key to where a pipeline reads it."""
        backend = backend or self.open()
        if backend.readable:
            backend.stage(key)
            backend.promote(key.id)
        else:
            backend.deliver(key)

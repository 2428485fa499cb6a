"""What a secrets backend is: its settings, what it holds, and the few things it can do.

Two kinds of backend exist. A *readable* one can be read back from another machine, so it can keep a new key
as a pending copy until it has been verified: ``stage``, ``read_staged``, ``promote``, ``discard_staged``. The
others only take delivery of a key that is safe already: ``deliver``.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, Self

from pydantic import BaseModel, ConfigDict, Field

if TYPE_CHECKING:
    from pathlib import Path

    from ci_user.secret import AccessKey

OWNER_TAG = "ci-user:environment"
"""The tag whose value, the environment's prefix, says that the tool made a secret, and for what."""


class EnvironmentNames(Protocol):
    """The part of an environment that settings and backends use; ``environment.Environment`` has it."""

    @property
    def name(self) -> str:
        """The environment's name."""

    @property
    def prefix(self) -> str:
        """Application and environment, joined by a hyphen; unique in an account."""

    @property
    def account_id(self) -> str:
        """12 digits."""

    @property
    def region(self) -> str:
        """The region the pipeline works in."""

    @property
    def partition(self) -> str:
        """``aws``, ``aws-us-gov`` or ``aws-cn``."""

    @property
    def protected(self) -> bool:
        """Whether the environment is a protected one."""

    @property
    def sandbox(self) -> bool:
        """Whether it lives in the embedded AWS."""


class AwsAccess(Protocol):
    """Credentials for one account, as clients; ``credentials.AwsAccess`` has timeouts and retries set."""

    @property
    def account_id(self) -> str:
        """12 digits."""

    @property
    def region(self) -> str:
        """The clients' region by default."""

    @property
    def partition(self) -> str:
        """``aws``, ``aws-us-gov`` or ``aws-cn``."""

    def client(self, service: str, region: str | None = None, *, attempts: int = 4) -> Any:
        """Return a boto3 client for ``service`` in ``region``, by default the access's own; ``attempts`` counts the first try."""


class BackendSettings(BaseModel):
    """One entry of an environment file's ``secrets``; every backend has a subclass.

    The settings never hold a secret: an environment file is committed.
    """

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", hide_input_in_errors=True)

    backend: str = Field(description="Which backend this is.")

    readable: ClassVar[bool] = False
    """Whether another machine can read a staged key back; where no backend has this, a stage of our own is kept."""
    allowed_in_protected: ClassVar[bool] = True
    """Whether a protected environment may use it."""

    def target(self, environment: EnvironmentNames) -> str:
        """Return where the key goes, in one line without secrets; equal for settings that share a place."""
        raise NotImplementedError

    @classmethod
    def from_target(cls, target: str, environment: EnvironmentNames) -> Self | None:
        """Return settings by which a place can be opened again that the environment file no longer names.

        Args:
            target: What ``target`` wrote into the journal.
            environment: The environment that it was written for.

        Returns:
            Settings whose ``target`` is the same; None for anything else. What the line does not tell has its default.
        """
        del target, environment
        return None

    def guarded_arns(self, environment: EnvironmentNames) -> tuple[str, ...]:
        """Return the ARNs (with wildcards) that hold the key and that the CI user must not touch."""
        raise NotImplementedError

    def guarded_kms_keys(self, environment: EnvironmentNames) -> tuple[str, ...]:
        """Return the ARNs of the KMS keys that encrypt it; none unless the settings name one."""
        del environment
        return ()


@dataclass(frozen=True, slots=True)
class Held:
    """The ids of the keys that a backend holds, learnt without reading a secret.

    ``current`` is what consumers read, ``pending`` a staged copy. Both hold the same id when a promotion was
    interrupted half-way; ``promote`` finishes it. ``torn`` says that something of the tool's is there which is no whole key: what
    an interrupted write or removal left.
    """

    current: str | None
    pending: str | None
    torn: bool = False


class Backend(Protocol):
    """One place a pipeline reads its key from. Every method raises ``BackendError`` when it fails."""

    @property
    def name(self) -> str:
        """The backend's name in environment files."""

    @property
    def target(self) -> str:
        """Where the key goes, in one line without secrets."""

    @property
    def readable(self) -> bool:
        """Whether it can be the stage."""

    def preflight(self) -> tuple[str, ...]:
        """Check, before a key is made and without changing anything, that one can be delivered.

        Returns:
            What was found to be in order, in words: login, rights, the place, limits. `invoke doctor` shows it.

        Raises:
            BackendError: The place cannot be reached, is not ours, or needs a person to judge it.
        """

    def held(self) -> Held:
        """Return the ids of the keys held, without reading a secret; a place not ours holds nothing."""

    def stage(self, key: AccessKey) -> None:
        """Keep ``key`` as the pending copy, next to what consumers read; idempotent. Readable only.

        Raises:
            BackendError: Another key is pending, the place is not ours, or the call failed.
        """

    def read_staged(self, key_id: str) -> AccessKey | None:
        """Return the pending or current key if it has this id, else None. Readable only."""

    def promote(self, key_id: str) -> None:
        """Make the pending key what consumers read: compare-and-swap, idempotent. Readable only.

        Raises:
            BackendError: ``key_id`` is neither pending nor current, or somebody else changed the current one.
        """

    def discard_staged(self, key_id: str) -> None:
        """Drop the pending copy of ``key_id``; nothing happens if it is not pending. Readable only."""

    def deliver(self, key: AccessKey) -> None:
        """Write ``key`` to where consumers read it; idempotent. Backends that are not readable only."""

    def remove(self) -> bool:
        """Remove just what the tool wrote; return False when there is nothing of it."""


@dataclass(frozen=True, slots=True)
class OpenContext:
    """What a backend is opened with.

    Args:
        access: Clients for the account and region that the settings name.
        environment: The environment the key is for.
        root: The repository's root.
        environ: The environment variables that a token may come from.
        check: Told each HTTP request just before it is sent; raises when this run must not send it any more.
        pause: Sleeps between two tries; tests pass one that does not.
        reads_secrets: False for a run that only looks, and reads no secret of AWS either: a token that lies in Secrets Manager
            then comes from the vendor's usual variable, which may hold one that has fewer rights.
    """

    access: AwsAccess
    environment: EnvironmentNames
    root: Path
    environ: Mapping[str, str] = field(default_factory=dict, repr=False)
    check: Callable[[Any], None] | None = None
    pause: Callable[[float], None] = time.sleep
    reads_secrets: bool = True


@dataclass(frozen=True, slots=True)
class About:
    """What the documentation tells of a backend; every backend's module has one, named ``ABOUT``.

    Args:
        title: The section's title.
        consumers: What a pipeline reads, in a few words.
        tested: What it was tested against.
        atomic: Whether readers see the old key or the new one and never half of one.
        tells: How it knows which key is there, in a few words.
        how_to: At most a screen of Markdown: token, scopes, YAML, how the pipeline reads it.
        extra: The optional extra of the package that it needs, if any.
    """

    title: str
    consumers: str
    tested: str
    atomic: bool
    tells: str
    how_to: str
    extra: str | None = None

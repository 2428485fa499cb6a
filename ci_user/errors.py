"""Every error this package raises on purpose.

CiUserError                      1
├── UsageError                   1  a flag, a name or a combination of them cannot be meant
├── EnvironmentFileError         1  an environment file is wrong; carries every problem with its line
├── PolicyError                  1  a policy document is wrong or does not fit into a managed policy
├── ToolchainError               1  Terraform or its provider is missing, too old or not the locked one
├── SandboxError                 1  the embedded AWS does not start, answer or stop
├── CredentialsError             1  no usable credentials, or an endpoint that the file does not name
│   └── WrongAccountError        1  the credentials belong to another account
├── AwsError                     1  AWS refused or failed a call
├── StateBucketError             1  the state bucket is missing, foreign or not as safe as it must be
├── TerraformError               1  Terraform failed
├── PlanError                    1  a plan is incomplete, stale, or does what needs a flag of its own
├── ScanError                    1  the scan could not be trusted, which is never a pass
├── FindingsError                3  the scan found what must not be deployed
├── ApprovalError                1  what was approved is not what would be applied
├── ConfirmationError            1  nobody confirmed
├── LockHeldError                4  somebody else works on this environment
├── LeaseLostError               1  this run no longer holds the environment and has stopped
├── KeyStateError                1  the keys are in a state that only a person can judge
├── BackendError                 1  a secrets backend refused or failed
├── ReadOnlyError                1  a read-only run was about to change something or to read a secret
├── ClusterError                 1  the Dask cluster cannot be reached or used, or lost what it was given
└── InterruptedRunError          1  Ctrl-C
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar


class CiUserError(Exception):
    """The root of the tree.

    Args:
        what: What happened, in one sentence, with the value that was found.
        where: The file, line, flag, resource or address it happened at.
        expected: What would have been right.
        do: What to do now.
        runbook: The anchor in ``docs/runbooks.md`` that says more, without ``#``.
        details: What else ``--json`` shows; JSON values only.
    """

    exit_code: ClassVar[int] = 1

    def __init__(
        self,
        what: str,
        *,
        where: str | None = None,
        expected: str | None = None,
        do: str | None = None,
        runbook: str | None = None,
        details: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(what)
        self.what = what
        self.where = where
        self.expected = expected
        self.do = do
        self.runbook = runbook
        self.details = dict(details or {})

    def __str__(self) -> str:
        lines = [self.what]
        if self.where:
            lines.append(f"  where:    {self.where}")
        if self.expected:
            lines.append(f"  expected: {self.expected}")
        if self.do:
            lines.append(f"  do:       {self.do}")
        if self.runbook:
            lines.append(f"  see:      docs/runbooks.md#{self.runbook}")
        return "\n".join(lines)


class UsageError(CiUserError):
    """A flag, a name or a combination of them cannot be meant."""


class EnvironmentFileError(CiUserError):
    """An environment file is wrong; ``str()`` lists every problem with file, line and key."""


class PolicyError(CiUserError):
    """A policy document is wrong or does not fit into a managed policy."""


class ToolchainError(CiUserError):
    """Terraform or its provider is missing, too old or not the locked one."""


class SandboxError(CiUserError):
    """The embedded AWS does not start, answer or stop."""


class CredentialsError(CiUserError):
    """No usable credentials, or an endpoint that the environment file does not name."""


class WrongAccountError(CredentialsError):
    """The credentials belong to another account than the environment's."""


class AwsError(CiUserError):
    """AWS refused or failed a call."""


class StateBucketError(CiUserError):
    """The state bucket is missing, foreign or not as safe as it must be."""


class TerraformError(CiUserError):
    """Terraform failed; carries its own diagnostics."""


class PlanError(CiUserError):
    """A plan is incomplete, stale, or does what needs a flag of its own."""


class ScanError(CiUserError):
    """The scan could not be trusted, which is never a pass."""


class FindingsError(CiUserError):
    """The scan found what must not be deployed."""

    exit_code: ClassVar[int] = 3


class ApprovalError(CiUserError):
    """What was approved is not what would be applied."""


class ConfirmationError(CiUserError):
    """Nobody confirmed."""


class LockHeldError(CiUserError):
    """Somebody else works on this environment."""

    exit_code: ClassVar[int] = 4


class LeaseLostError(CiUserError):
    """This run no longer holds the environment and has stopped before the next change."""


class KeyStateError(CiUserError):
    """The keys are in a state that only a person can judge."""


class BackendError(CiUserError):
    """A secrets backend refused or failed."""


class ReadOnlyError(CiUserError):
    """A read-only run was about to change something, or to read a secret; nothing was sent."""


class ClusterError(CiUserError):
    """The Dask cluster cannot be reached or used, or lost what it was given."""


class InterruptedRunError(CiUserError):
    """Ctrl-C: the message says where things stand and what to run next."""

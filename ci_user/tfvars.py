"""What Terraform is told: an environment, its policies and its boundaries, rendered as ``terraform.tfvars.json``."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ci_user.environment import Environment


@dataclass(frozen=True)
class Tfvars:
    """The variables of the root module, and their canonical text. Holds no secret."""

    values: Mapping[str, Any]

    @property
    def content(self) -> bytes:
        """Return the file's content: the same for the same environment, byte for byte."""
        return (json.dumps(self.values, indent=2, sort_keys=True) + "\n").encode()

    @property
    def digest(self) -> str:
        """Return the content's SHA-256 (hex)."""
        return hashlib.sha256(self.content).hexdigest()


def render(
    environment: Environment,
    *,
    policies: Mapping[str, str],
    attached_arns: Sequence[str],
    boundary: str,
    role_boundary: str,
    inline_policy_names: Sequence[str] = (),
) -> Tfvars:
    """Return the variables for an environment.

    Args:
        environment: The environment.
        policies: The managed policies to make, packed: canonical JSON by name.
        attached_arns: The existing managed policies to attach.
        boundary: The CI user's permissions boundary, as canonical JSON.
        role_boundary: The boundary for roles that the pipeline makes, as canonical JSON.
        inline_policy_names: Inline policies of the user that stay: the deny of a revocation.
    """
    return Tfvars(
        {
            "account_id": environment.account_id,
            "partition": environment.partition,
            "region": environment.region,
            "prefix": environment.prefix,
            "policies": dict(policies),
            "attached_arns": list(attached_arns),
            "boundary": boundary,
            "role_boundary": role_boundary,
            "inline_policy_names": list(inline_policy_names),
            "tags": dict(environment.tags),
        }
    )

"""What a check is, and what it may know besides the plan."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from ci_user.plan_model import Plan, Resource


@dataclass(frozen=True)
class CheckContext:
    """What the environment says must be true of the plan.

    Args:
        prefix: ``application-environment``.
        account_id: 12 digits.
        partition: ``aws``, ``aws-us-gov`` or ``aws-cn``.
        user_name: The CI user's name.
        group_name: The name of its group of one.
        boundary_arn: The ARN that its permissions boundary must have.
        boundary_document: The JSON that this boundary must hold.
        role_boundary_document: The JSON that the boundary for the pipeline's roles must hold.
        protected: Whether the environment is protected.
        attached_arns: The existing managed policies that the environment lists: nothing else from outside may be attached.
        contents: What these allow, as JSON by ARN.
        guarded: What the CI user must never reach: ARNs, with whose they are.
        neighbours: The other environments of the account: name and prefix.
    """

    prefix: str
    account_id: str
    partition: str
    user_name: str
    group_name: str
    boundary_arn: str
    boundary_document: str
    role_boundary_document: str
    protected: bool
    attached_arns: tuple[str, ...] = ()
    contents: tuple[tuple[str, str], ...] = ()
    guarded: tuple[tuple[str, tuple[str, ...]], ...] = ()
    neighbours: tuple[tuple[str, str], ...] = ()

    @property
    def boundary_name(self) -> str:
        """Return the name of the user's boundary: the last part of its ARN."""
        return self.boundary_arn.rsplit("/", 1)[-1]

    @property
    def role_boundary_name(self) -> str:
        """Return the name of the boundary for the pipeline's roles."""
        return f"{self.prefix}.role-boundary"


class Check(Protocol):
    """One thing to look for.

    ``id`` is what an acceptance names, ``resource_types`` are the types that it looks at (managed, and data sources of
    the same name), ``never_acceptable`` says that nobody may accept a finding of it, ``fix`` what to change.
    """

    id: str
    name: str
    resource_types: frozenset[str]
    never_acceptable: bool
    fix: str

    def evaluate(self, resource: Resource, plan: Plan, context: CheckContext) -> str | None:
        """Return what is wrong with the resource, or None; called for each resource of the types, and no other."""
        ...

"""Drift that a person knows of and leaves as it is for a while, as an environment file says it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Annotated, Final

from pydantic import AfterValidator, Field, Strict, WithJsonSchema

from ci_user.accepted_finding import Expiry, Owner, Reason, ResourceAddress
from ci_user.environment_fields import Model, Problem, expected, matching, refuse

PERMISSIONS: Final = (
    "groups",
    "permissions_boundary",
    "policy",
    "policy_arn",
    "policy_arns",
    "policy_names",
)
"""The attributes that decide what a user may do: whoever changes one outside may have let it do more."""

_MOST: Final = 50
_PATTERN: Final = r"[a-z][a-z0-9_]{0,63}"


def _named(value: tuple[str, ...]) -> tuple[str, ...]:
    if not 1 <= len(value) <= _MOST:
        raise expected(f"1 to {_MOST} names of attributes")
    problems: list[Problem] = []
    for index, name in enumerate(value):
        if name in PERMISSIONS:
            text = "an attribute that does not decide what the user may do: drift of this one is never acceptable"
            problems.append(((index,), text, name))
        elif name in value[:index]:
            problems.append(((index,), "each attribute once", name))
    refuse(problems)
    return value


class KnownDrift(Model):
    """Attributes of one resource that somebody changed outside and that may stay so, until a day."""

    resource: ResourceAddress = Field(description="The resource's address in the plan.")
    attributes: Annotated[
        tuple[Annotated[str, matching(_PATTERN, "an attribute's name such as tags, without wildcards")], ...],
        Strict(False),
        AfterValidator(_named),
        WithJsonSchema(
            {
                "type": "array",
                "minItems": 1,
                "maxItems": _MOST,
                "uniqueItems": True,
                "items": {"type": "string", "pattern": f"^{_PATTERN}$", "not": {"enum": list(PERMISSIONS)}},
            }
        ),
    ] = Field(description="The names of the attributes that drifted; none that decides what the user may do.")
    reason: Reason = Field(description="Why it may stay: who changes it, and why the file does not say so instead.")
    owner: Owner = Field(description="Who answers for it: a team or a person.")
    expires: Expiry = Field(description="The last day it may stay, at most 365 days away; never is for sandboxes.")

    def expired(self, today: date) -> bool:
        """Tell whether the last day is over."""
        return self.expires != "never" and self.expires < today


def misplaced(entries: Sequence[KnownDrift], *, sandbox: bool) -> list[Problem]:
    """Return what is wrong with entries beside each other, or in such an environment."""
    problems: list[Problem] = []
    seen: set[str] = set()
    for index, one in enumerate(entries):
        if one.expires == "never" and not sandbox:
            problems.append(((index, "expires"), "a date at most 365 days away; never is for sandboxes only", "never"))
        if one.resource in seen:
            problems.append(((index, "resource"), "each resource once, with all its attributes", one.resource))
        seen.add(one.resource)
    return problems

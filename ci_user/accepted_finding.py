"""What a person has accepted of the scan's findings, as an environment file says it."""

from __future__ import annotations

import re
from datetime import date, timedelta
from typing import Annotated, Final, Literal

from pydantic import BeforeValidator, Field, Strict, ValidationInfo, WithJsonSchema

from ci_user.environment_fields import Model, expected, matching

LONGEST_ACCEPTANCE: Final = timedelta(days=365)


def _one_or_many(value: object) -> object:
    return (value,) if isinstance(value, str) else value


def _expiry(value: object, info: ValidationInfo) -> object:
    if value == "never":
        return value
    day = _day(value)
    today = (info.context or {}).get("today")
    if today is not None and day - today > LONGEST_ACCEPTANCE:
        raise expected(
            f"a date at most 365 days away (today is {today.isoformat()}, so {_latest(today)} at the latest)"
        )
    return day


def _day(value: object) -> date:
    if type(value) is date:
        return value
    try:
        # Python reads 20270131 and 2027-W01-1 too.
        if isinstance(value, str) and re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", value):
            return date.fromisoformat(value)
    except ValueError:
        pass
    raise expected("a date such as 2027-01-31, at most 365 days away, or never (sandbox only)")


def _latest(today: date) -> str:
    try:
        return (today + LONGEST_ACCEPTANCE).isoformat()
    except OverflowError:
        return date.max.isoformat()


_CheckId = Annotated[str, matching(r"(?=.{3,64}\Z)[A-Z][A-Z0-9]*(_[A-Z0-9]+)+", "a check's id such as CKV_AWS_273")]
_Checks = Annotated[
    tuple[_CheckId, ...],
    BeforeValidator(_one_or_many),
    Strict(False),
    Field(min_length=1),
    WithJsonSchema({"oneOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}, "minItems": 1}]}),
]
_ADDRESS: Final = r'((module|data)\.)?[A-Za-z_][A-Za-z0-9_-]*(\[("[^"\\\n]{1,128}"|[0-9]{1,6})\])?'


ResourceAddress = Annotated[
    str,
    matching(
        rf"(?=.{{3,512}}\Z){_ADDRESS}(\.{_ADDRESS})+",
        'the address of one resource in the plan, such as module.ci_policy["sample"].aws_iam_policy.this',
    ),
]
Reason = Annotated[str, matching(r"(?s)(?=.{10,1000}\Z)\s*(\S.*)", "a reason of 10 to 1000 characters")]
Owner = Annotated[str, matching(r"(?=.{1,128}\Z)\S.*", "who answers for it, 1 to 128 characters")]
Expiry = Annotated[
    date | Literal["never"],
    BeforeValidator(_expiry),
    WithJsonSchema({"type": "string", "pattern": "^([0-9]{4}-[0-9]{2}-[0-9]{2}|never)$"}),
]
"""A last day, at most 365 days after the context's ``today``."""


class AcceptedFinding(Model):
    """A finding that may stay, for a reason that somebody answers for, until a day."""

    check: _Checks = Field(description="The check's id, or a list of them.")
    resource: ResourceAddress = Field(description="The resource's address in the plan.")
    reason: Reason = Field(
        description="Why it may stay: what makes it harmless here, or what it would break to mend it."
    )
    owner: Owner = Field(description="Who answers for it: a team or a person.")
    expires: Expiry = Field(description="The last day it is accepted, at most 365 days away; never is for sandboxes.")

    def expired(self, today: date) -> bool:
        """Tell whether the last day is over."""
        return self.expires != "never" and self.expires < today

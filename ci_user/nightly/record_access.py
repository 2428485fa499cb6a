"""The way to the records: the login of whoever runs the check, which needs no environment's role."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from ci_user.credentials import AwsAccess, ambient
from ci_user.logins import Logins
from ci_user.nightly import record_store
from ci_user.nightly.read_only import refuse_writes
from ci_user.nightly.record_location import parse_location

if TYPE_CHECKING:
    from ci_user.nightly.records import RecordBook
    from ci_user.nightly.selection import Fleet


def book(text: str, fleet: Fleet) -> RecordBook | None:
    """Return the records that ``--records`` names, as far as they can be trusted; None for an empty text.

    Raises:
        UsageError: It is no address of records.
        CredentialsError: There is no login.
    """
    if not text:
        return None
    return record_store.read(parse_location(text), access(fleet).fenced_by(refuse_writes), state_buckets(fleet))


def access(fleet: Fleet) -> AwsAccess:
    """Return the ambient login; at the endpoint that all environments name, where they name one.

    Raises:
        CredentialsError: There is no login.
    """
    real = [one for one in fleet.environments.values() if not one.sandbox]
    endpoints = {one.endpoint_url for one in real}
    if len(endpoints) == 1 and None not in endpoints:
        return Logins().open(None, real[0], region=real[0].region, account_id="", endpoint_url=real[0].endpoint_url)
    return ambient(os.environ)


def state_buckets(fleet: Fleet) -> tuple[str, ...]:
    """Return the state buckets of all environments: records lie apart from them."""
    return tuple(sorted({one.state.bucket for one in fleet.environments.values()}))

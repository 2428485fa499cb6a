"""Whether AWS knows a key: asked with the key itself, since that needs no permission."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from ci_user.errors import CredentialsError, KeyStateError

if TYPE_CHECKING:
    from ci_user.credentials import AwsAccess
    from ci_user.environment import Verification
    from ci_user.secret import AccessKey


# https://docs.aws.amazon.com/STS/latest/APIReference/CommonErrors.html
_REFUSED = ("InvalidClientTokenId", "InvalidAccessKeyId", "UnrecognizedClientException")


def wait_until_it_works(
    key: AccessKey,
    access: AwsAccess,
    verification: Verification,
    *,
    user_arn: str,
    check: Callable[[], None],
    pause: Callable[[float], None],
) -> float:
    """See that a key signs as the right user, several times in a row: new keys take seconds to work everywhere.

    Args:
        key: The key.
        access: The account that it must belong to.
        verification: Successes in a row, interval and deadline.
        user_arn: Who it must turn out to be.
        check: Called before each try; raises when the lease is lost.
        pause: Sleeps for so many seconds.

    Returns:
        How long it took, in seconds.

    Raises:
        KeyStateError: It belongs to somebody else, or does not come to work before the deadline.
    """
    probe = access.with_key(key.id, key.secret)
    started = time.monotonic()
    deadline = started + verification.deadline.total_seconds()
    successes = 0
    last = "AWS did not know it"
    while successes < verification.successes:
        check()
        try:
            caller = probe.caller()
        except CredentialsError as error:
            successes, last = 0, error.what
        else:
            if caller.arn != user_arn or caller.account_id != access.account_id:
                raise KeyStateError(
                    f"the new key {key.id} belongs to {caller.arn}",
                    expected=user_arn,
                    do="do not use it; run `invoke status` and look at CloudTrail",
                    runbook="wrong-account",
                )
            successes += 1
        if successes < verification.successes:
            if time.monotonic() > deadline:
                raise KeyStateError(
                    f"the new key {key.id} did not come to work within {verification.deadline}: {last}",
                    do="run the same command again: it goes on with this key, which is kept in the stage",
                    runbook="key-does-not-work",
                )
            pause(verification.interval.total_seconds())
    return time.monotonic() - started


def wait_until_it_is_refused(
    key: AccessKey, access: AwsAccess, verification: Verification, pause: Callable[[float], None]
) -> bool:
    """Return whether AWS came to refuse a key several times in a row before the deadline.

    A key that was deactivated or deleted works on for seconds.
    """
    probe = access.with_key(key.id, key.secret)
    deadline = time.monotonic() + verification.deadline.total_seconds()
    refusals = 0
    while refusals < verification.successes:
        try:
            probe.caller()
        except CredentialsError as error:
            # A network that is down, throttling or a page in AWS's place says nothing about the key.
            refusals = refusals + 1 if error.details.get("aws_code") in _REFUSED else 0
        else:
            refusals = 0
        if refusals < verification.successes:
            if time.monotonic() > deadline:
                return False
            pause(verification.interval.total_seconds())
    return True

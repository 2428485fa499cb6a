"""What to say when only a person can judge the keys."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Mapping

from ci_user.errors import BackendError, CiUserError, KeyStateError, LeaseLostError
from ci_user.iam_user import LastUse, LiveKey
from ci_user.key_actions import Stop

_ADVICE = {
    "foreign-key": (
        "only keys that this tool made and journalled",
        "find out whose key it is; when nobody needs it, delete it in IAM and run the same command again",
    ),
    "two-keys": ("room for one more key", "run `invoke status`, then `invoke rotate --now`, which says what breaks"),
    "inactive-key": (
        "the delivered key active",
        "if it was deactivated by mistake, `invoke reactivate` makes it active again; if it leaked, `invoke revoke`",
    ),
    "revocation": ("a revocation that ran to its end", "run `invoke revoke` again: it goes on from what is there"),
    "new-target": (
        "only places that a confirmed deploy has delivered to before",
        "look at what changed in the environment file; `invoke deploy` delivers there after it was confirmed",
    ),
    "no-key": ("a delivered key that can be read back somewhere", "`invoke deploy` makes and delivers a new one"),
}


def stopped(
    stop: Stop, user: str, keys: Iterable[LiveKey], now: dt.datetime, last_use: Callable[[str], LastUse]
) -> KeyStateError:
    """Return the error for what only a person can judge, with age and last use of each key.

    Args:
        stop: Why, and which keys.
        user: The user's name.
        keys: What IAM lists.
        now: The time by AWS's clock.
        last_use: Asks IAM for a key's last use.
    """
    known = {key.id: key for key in keys}
    listed = "".join(f"\n    {key_id}: {_told(known.get(key_id), now, last_use)}" for key_id in stop.key_ids)
    expected, do = _ADVICE[stop.runbook]
    return KeyStateError(
        f"the keys of {user} need a person: {stop.why}{listed}", expected=expected, do=do, runbook=stop.runbook
    )


def not_taken(failures: Mapping[str, CiUserError]) -> CiUserError:
    """Return the error for places that did not take a key: the first one's, with all of them named.

    Args:
        failures: Why, by place, in the order of the environment file; at least one.
    """
    first = next(iter(failures.values()))
    # Without the lease nothing else matters.
    lost = next((error for error in failures.values() if isinstance(error, LeaseLostError)), None)
    if lost is not None or len(failures) == 1:
        return lost or first
    listed = "".join(f"\n    {target}: {error.what}" for target, error in failures.items())
    advice = dict.fromkeys(f"{target}: {error.do}" for target, error in failures.items() if error.do)
    error = BackendError(
        f"{len(failures)} places did not take the key:{listed}",
        do="; ".join((*advice, "then run the same command again: what arrived stays")),
        runbook=first.runbook,
        details={"places": {target: error.what for target, error in failures.items()}},
    )
    error.__cause__ = first
    return error


def _told(key: LiveKey | None, now: dt.datetime, last_use: Callable[[str], LastUse]) -> str:
    if key is None:
        return "not listed by IAM"
    used = last_use(key.id)
    last = f"last used {used.at.isoformat()} ({used.service}, {used.region})" if used.at else "never used"
    return f"{'active' if key.active else 'inactive'}, {(now - key.created).days} days old, {last}"

"""The deny that a revocation puts on the CI user: an inline policy, which needs nothing but IAM.

At first it denies everything. When the keys have come to be refused it is narrowed to sessions that were issued before: a session
outlives its key, and GetSessionToken needs no permission that a policy could deny.
https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles_use_revoke-sessions.html
https://docs.aws.amazon.com/STS/latest/APIReference/API_GetSessionToken.html

The policy itself tells which keys were revoked, in its Sid, so that `reactivate` can refuse them when nothing else can be read.
"""

from __future__ import annotations

import datetime as dt
import json
import re
import urllib.parse
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from ci_user.credentials import calling

if TYPE_CHECKING:
    from ci_user.credentials import AwsAccess

POLICY_NAME: Final = "ci-user-revocation"
LASTS: Final = dt.timedelta(hours=36)
"""The longest that a session of a user lives: https://docs.aws.amazon.com/STS/latest/APIReference/API_GetSessionToken.html"""

_KEY_ID: Final = re.compile(r"[A-Z0-9]{16,128}")
# A Sid has letters and digits only, and key ids are upper case: the small letters keep them apart.
_SID_START, _SID_BETWEEN = "revoked", "x"
_TIME: Final = "%Y-%m-%dT%H:%M:%SZ"
# A user's inline policies have 2,048 characters together: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html
_SID_LENGTH: Final = 1_700


@dataclass(frozen=True)
class Revocation:
    """Which keys were revoked, and what is denied.

    Args:
        key_ids: The revoked keys' ids, in the order in which they were revoked; the oldest go when there is no more room.
        cutoff: Sessions issued before this moment are denied everything, by AWS's clock, whole seconds; None while everything is
            denied, however it is signed.

    Raises:
        ValueError: A key id is none, or the time has no zone.
    """

    key_ids: tuple[str, ...]
    cutoff: dt.datetime | None

    def __post_init__(self) -> None:
        ids = tuple(dict.fromkeys(self.key_ids))
        if not all(_KEY_ID.fullmatch(key_id) for key_id in ids):
            raise ValueError("a revoked key's id has 16 to 128 capital letters and digits")
        while len(_sid(ids)) > _SID_LENGTH:
            ids = ids[1:]
        object.__setattr__(self, "key_ids", ids)
        if self.cutoff is not None:
            if self.cutoff.tzinfo is None:
                raise ValueError("a cut-off carries a time zone")
            object.__setattr__(self, "cutoff", self.cutoff.astimezone(dt.UTC).replace(microsecond=0))

    def document(self) -> dict[str, Any]:
        """Return the policy document."""
        statement: dict[str, Any] = {"Sid": _sid(self.key_ids), "Effect": "Deny", "Action": "*", "Resource": "*"}
        if self.cutoff is not None:
            statement["Condition"] = {"DateLessThan": {"aws:TokenIssueTime": self.cutoff.strftime(_TIME)}}
        return {"Version": "2012-10-17", "Statement": [statement]}

    def text(self) -> str:
        """Return the policy document as JSON."""
        return json.dumps(self.document(), separators=(",", ":"))

    def over(self, now: dt.datetime) -> bool:
        """Return whether no session can be alive that it denies."""
        return self.cutoff is not None and now >= self.cutoff + LASTS


def parse(document: object) -> Revocation | None:
    """Return what a policy document says, None unless it is exactly what ``Revocation.document`` writes.

    So a policy that somebody made by hand under this name, and that may allow something, never passes for a deny.

    Args:
        document: The document as the SDK gives it: JSON values, or their text, URL-encoded or not.
    """
    try:
        found = json.loads(urllib.parse.unquote(document)) if isinstance(document, str) else document
        (statement,) = found["Statement"]  # type: ignore[index]
        sid = statement["Sid"]
        condition = statement.get("Condition")
        time = condition["DateLessThan"]["aws:TokenIssueTime"] if condition is not None else None
        cutoff = dt.datetime.strptime(time, _TIME).replace(tzinfo=dt.UTC) if time is not None else None
        ids = tuple(filter(None, sid.removeprefix(_SID_START).split(_SID_BETWEEN)))
        revocation = Revocation(ids, cutoff)
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    return revocation if revocation.document() == found else None


def live(access: AwsAccess, user_name: str) -> Revocation | None:
    """Return the deny that is on a user; None when there is none, or one that this tool did not write.

    Raises:
        AwsError: AWS refused the call.
    """
    iam = access.client("iam")
    with calling(f"reading the inline policy {POLICY_NAME} of {user_name}"):
        try:
            answer = iam.get_user_policy(UserName=user_name, PolicyName=POLICY_NAME)
        except iam.exceptions.NoSuchEntityException:
            return None
    return parse(answer["PolicyDocument"])


def put(access: AwsAccess, user_name: str, revocation: Revocation) -> None:
    """Put a deny on a user, in place of the one that is there.

    Raises:
        AwsError: AWS refused the call.
    """
    with calling(f"denying what {user_name} does"):
        access.client("iam").put_user_policy(
            UserName=user_name, PolicyName=POLICY_NAME, PolicyDocument=revocation.text()
        )


def take_away(access: AwsAccess, user_name: str) -> None:
    """Take the deny off a user; one that is gone already is no error.

    Raises:
        AwsError: AWS refused the call.
    """
    iam = access.client("iam")
    with calling(f"taking the deny off {user_name}"):
        try:
            iam.delete_user_policy(UserName=user_name, PolicyName=POLICY_NAME)
        except iam.exceptions.NoSuchEntityException:
            return


def _sid(key_ids: tuple[str, ...]) -> str:
    return _SID_START + "".join(_SID_BETWEEN + key_id for key_id in key_ids)

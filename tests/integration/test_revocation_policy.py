"""The deny of a revocation on a real user: what it stops in each of its phases, and what goes on."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from botocore.session import Session

from ci_user import revocation
from ci_user.revocation import Revocation
from ci_user.secret import Secret

if TYPE_CHECKING:
    from tests.conftest import EmbeddedAws

DOCUMENT = '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"logs:*","Resource":"*"}]}'
MINUTE = dt.timedelta(minutes=1)


@dataclass(frozen=True)
class Holder:
    """A user that may read log groups, with a key and a session that the key made."""

    aws: EmbeddedAws
    user: str
    key_id: str
    key: Any
    sts: Any
    session: Any

    def deny(self, cutoff: dt.datetime | None) -> None:
        revocation.put(self.aws.access, self.user, Revocation((self.key_id,), cutoff))


@pytest.fixture
def holder(aws: EmbeddedAws) -> Iterator[Holder]:
    iam, user = aws.client("iam"), f"denied{uuid.uuid4().hex[:8]}.ci"
    iam.create_user(UserName=user)
    iam.put_user_policy(UserName=user, PolicyName="allowed", PolicyDocument=DOCUMENT)
    made = iam.create_access_key(UserName=user)["AccessKey"]
    own = aws.access.with_key(made["AccessKeyId"], Secret(made["SecretAccessKey"]))
    sts = own.client("sts")
    yield Holder(aws, user, made["AccessKeyId"], own.client("logs"), sts, session_of(aws, sts))
    iam.delete_access_key(UserName=user, AccessKeyId=made["AccessKeyId"])
    for name in iam.list_user_policies(UserName=user)["PolicyNames"]:
        iam.delete_user_policy(UserName=user, PolicyName=name)
    iam.delete_user(UserName=user)


def session_of(aws: EmbeddedAws, sts: Any) -> Any:
    made = sts.get_session_token(DurationSeconds=900)["Credentials"]
    return Session().create_client(
        "logs",
        region_name=aws.region,
        endpoint_url=aws.endpoint_url,
        aws_access_key_id=made["AccessKeyId"],
        aws_secret_access_key=made["SecretAccessKey"],
        aws_session_token=made["SessionToken"],
    )


def allowed(client: Any) -> bool:
    try:
        client.describe_log_groups()
    except client.exceptions.ClientError as error:
        if "AccessDenied" not in str(error):
            raise
        return False
    return True


def now() -> dt.datetime:
    return dt.datetime.now(tz=dt.UTC)


def test_at_first_neither_the_key_nor_its_session_may_do_anything(holder: Holder) -> None:
    assert allowed(holder.key)
    assert allowed(holder.session)
    holder.deny(None)
    assert not allowed(holder.key)
    assert not allowed(holder.session)
    revocation.take_away(holder.aws.access, holder.user)
    assert allowed(holder.key)
    assert allowed(holder.session)


def test_everything_denied_stops_no_session_from_being_made(holder: Holder, aws: EmbeddedAws) -> None:
    """Why the cut-off is moved behind the deactivation."""
    holder.deny(None)
    later = session_of(aws, holder.sts)
    assert not allowed(later)
    holder.deny(now() - MINUTE)
    assert allowed(later)
    holder.deny(now() + MINUTE)
    assert not allowed(later)


def test_narrowed_it_stops_sessions_of_before_and_neither_later_ones_nor_the_key_itself(holder: Holder) -> None:
    holder.deny(now() + MINUTE)
    assert not allowed(holder.session)
    assert allowed(holder.key)
    holder.deny(now() - MINUTE)
    assert allowed(holder.session)
    assert allowed(holder.key)

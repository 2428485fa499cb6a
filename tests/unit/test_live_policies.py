"""What is attached besides: each document, and whether a deploy takes it off."""

from __future__ import annotations

import json
import uuid
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from ci_user import revocation
from ci_user.errors import PolicyError
from ci_user.iam_user import IamUser
from ci_user.live_policies import live_documents, managed_document
from ci_user.revocation import Revocation

if TYPE_CHECKING:
    from tests.conftest import EmbeddedAws

DOCUMENT = '{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:GetObject", "Resource": "*"}]}'


@pytest.fixture
def world(aws: EmbeddedAws) -> Any:
    """A user in its own group and in a foreign one, with something attached everywhere."""
    name = f"l{uuid.uuid4().hex[:8]}-test"
    iam, start = aws.client("iam"), f"arn:aws:iam::{aws.account_id}:policy/{name}"
    iam.create_user(UserName=f"{name}.ci")
    for group in (f"{name}.ci", f"{name}-people"):
        iam.create_group(GroupName=group)
        iam.add_user_to_group(GroupName=group, UserName=f"{name}.ci")
    for policy in ("own", "byhand", "people"):
        iam.create_policy(PolicyName=f"{name}-{policy}", PolicyDocument=DOCUMENT)
    iam.attach_group_policy(GroupName=f"{name}.ci", PolicyArn=f"{start}-own")
    iam.attach_group_policy(GroupName=f"{name}.ci", PolicyArn=f"{start}-byhand")
    iam.attach_group_policy(GroupName=f"{name}-people", PolicyArn=f"{start}-people")
    iam.attach_user_policy(UserName=f"{name}.ci", PolicyArn=f"{start}-byhand")
    iam.put_user_policy(UserName=f"{name}.ci", PolicyName="u", PolicyDocument=DOCUMENT)
    iam.put_group_policy(GroupName=f"{name}.ci", PolicyName="g", PolicyDocument=DOCUMENT)
    iam.put_group_policy(GroupName=f"{name}-people", PolicyName="p", PolicyDocument=DOCUMENT)
    return SimpleNamespace(name=name, start=start, user=f"{name}.ci", iam=iam)


def test_each_document_is_read_and_what_hangs_on_a_foreign_group_stays(world: Any, aws: EmbeddedAws) -> None:
    environment: Any = SimpleNamespace(user_name=world.user, group_name=world.user)
    live = IamUser(aws.access, world.user).describe()
    assert live is not None
    found = live_documents(aws.access, environment, live, {f"{world.start}-own"})
    assert {(one.name, one.stays) for one in found} == {
        (f"{world.start}-byhand", False),
        ("inline policy u of the user", False),
        (f"inline policy g of group {world.user}", False),
        (f"{world.start}-people", True),
        (f"inline policy p of group {world.name}-people", True),
    }
    assert all(json.loads(one.text) == json.loads(DOCUMENT) for one in found)


@pytest.mark.parametrize("forged", [False, True])
def test_the_deny_of_a_revocation_stays_and_a_policy_that_only_has_its_name_does_not(
    world: Any, aws: EmbeddedAws, forged: bool
) -> None:
    revocation.put(aws.access, world.user, Revocation(("AKIAIOSFODNN7EXAMPLE",), None))
    if forged:
        world.iam.put_user_policy(UserName=world.user, PolicyName=revocation.POLICY_NAME, PolicyDocument=DOCUMENT)
    live = IamUser(aws.access, world.user).describe()
    assert live is not None
    environment: Any = SimpleNamespace(user_name=world.user, group_name=world.user)
    found = {one.name: one.stays for one in live_documents(aws.access, environment, live, ())}
    assert found[f"inline policy {revocation.POLICY_NAME} of the user"] is not forged
    assert found["inline policy u of the user"] is False


def test_an_existing_policy_is_read_in_its_default_version(world: Any, aws: EmbeddedAws) -> None:
    arn = f"{world.start}-own"
    other = DOCUMENT.replace("s3:GetObject", "s3:PutObject")
    world.iam.create_policy_version(PolicyArn=arn, PolicyDocument=other, SetAsDefault=True)
    assert json.loads(managed_document(aws.access, arn)) == json.loads(other)


def test_a_policy_that_does_not_exist_is_one_clear_message(aws: EmbeddedAws) -> None:
    with pytest.raises(PolicyError, match="there is no policy") as caught:
        managed_document(aws.access, f"arn:aws:iam::{aws.account_id}:policy/none-{uuid.uuid4().hex}")
    assert caught.value.do is not None

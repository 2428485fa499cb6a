"""The facts of one environment: from the account's reading, and from AWS where a list is not to be believed."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
import uuid
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from ci_user.errors import AwsError
from ci_user.nightly import facts as facts_module
from ci_user.nightly.account import AccountReading
from ci_user.nightly.facts import read
from ci_user.nightly.facts_model import Facts, LentRole, WayIn
from ci_user.nightly.raw import VOLATILE, canonical, settled
from ci_user.policy import documents
from tests.mutation_steps import OTHER, READ, thing
from tests.proxy import Answer, Proxy
from tests.unit.nightly import identities

if TYPE_CHECKING:
    from tests.conftest import EmbeddedAws

AWS_POLICY = "arn:aws:iam::aws:policy/ReadOnlyAccess"
DENIED = (
    b'<ErrorResponse xmlns="https://iam.amazonaws.com/doc/2010-05-08/"><Error><Code>AccessDenied</Code>'
    b"<Message>not you</Message></Error></ErrorResponse>"
)
NOT_THERE_HERE = {"SSH keys", "service credentials", "signing certificates"}


class World:
    """An environment in the worker's account, seen through a proxy."""

    def __init__(self, aws: EmbeddedAws, proxy: Proxy) -> None:
        self.aws, self.proxy, self.iam = aws, proxy, aws.client("iam")
        self.environment = identities.environment(
            application=f"f{uuid.uuid4().hex[:10]}", account_id=aws.account_id, region=aws.region
        )
        environment = self.environment
        self.policy = environment.policy_arn("sample")
        for arn in (environment.boundary_arn, environment.role_boundary_arn, self.policy):
            self.iam.create_policy(
                PolicyName=arn.rpartition("/")[2], PolicyDocument=READ, Tags=[{"Key": "Team", "Value": "shop"}]
            )
        self.iam.create_user(UserName=environment.user_name, PermissionsBoundary=environment.boundary_arn)
        self.iam.create_group(GroupName=environment.group_name)
        self.iam.add_user_to_group(GroupName=environment.group_name, UserName=environment.user_name)
        self.iam.attach_group_policy(GroupName=environment.group_name, PolicyArn=self.policy)

    def reading(self) -> AccountReading:
        access = self.aws.access.fenced_by(lambda _: None)
        access.endpoint_url = self.proxy.url
        return AccountReading(access, [self.environment.prefix])

    def facts(self, *arns: str) -> Facts:
        return read(self.environment, self.reading(), arns)

    def refuse(self, *actions: str) -> None:
        self.proxy.before = lambda request: (
            Answer(403, DENIED, headers=(("Content-Type", "text/xml"),)) if request.action in actions else None
        )


@pytest.fixture
def world(aws: EmbeddedAws) -> Iterator[World]:
    with Proxy(aws.endpoint_url).running() as proxy:
        yield World(aws, proxy)


def test_everything_that_hangs_on_the_user_is_read(world: World) -> None:
    environment, iam = world.environment, world.iam
    name, people = environment.user_name, f"{environment.application}-people"
    iam.create_group(GroupName=people)
    iam.add_user_to_group(GroupName=people, UserName=name)
    iam.put_group_policy(GroupName=people, PolicyName="p", PolicyDocument=OTHER)
    iam.put_user_policy(UserName=name, PolicyName="u", PolicyDocument=OTHER)
    iam.attach_user_policy(UserName=name, PolicyArn=AWS_POLICY)
    other_user = f"other-{uuid.uuid4().hex}"
    iam.create_user(UserName=other_user)
    iam.add_user_to_group(GroupName=environment.group_name, UserName=other_user)
    keys = [iam.create_access_key(UserName=name)["AccessKey"]["AccessKeyId"] for _ in range(2)]
    iam.update_access_key(UserName=name, AccessKeyId=keys[0], Status="Inactive")
    iam.create_login_profile(UserName=name, Password="a-Long-enough-1-password")
    found = world.facts()
    other = documents.canonical(json.loads(OTHER))
    assert found.user is not None
    assert found.user.boundary_arn == environment.boundary_arn
    assert found.user.groups == tuple(sorted([name, people]))
    assert (found.user.attached, found.user.inline) == ((AWS_POLICY,), ("u",))
    assert found.user_inline == {"u": other}
    assert found.others_in_group == (other_user,)
    assert found.groups[people].inline == {"p": other}
    assert found.groups[environment.group_name].attached == (world.policy,)
    assert set(found.policies) == {
        AWS_POLICY,
        world.policy,
        environment.boundary_arn,
        environment.role_boundary_arn,
    }
    own = found.policies[world.policy]
    assert (own.document, own.default_version, own.tags) == (
        documents.canonical(json.loads(READ)),
        "v1",
        {"Team": "shop"},
    )
    assert found.policies[AWS_POLICY].tags is None
    assert {key.id: key.active for key in found.keys} == {keys[0]: False, keys[1]: True}
    assert set(found.uses) == set(keys)
    assert [(way.things, way.kind) for way in found.ways_in] == [("console password", "console password")]
    assert {one.things for one in found.unread} == NOT_THERE_HERE
    assert environment.user_name not in found.other_ci_users
    assert abs(found.now - dt.datetime.now(dt.UTC)) < dt.timedelta(minutes=1)


def test_roles_functions_and_stacks_are_those_under_the_prefix(world: World) -> None:
    for service in ("iam", "lambda"):
        thing(service)[0](world.aws.client, world.environment)
    found = world.facts()
    name = f"{world.environment.prefix}-things"
    assert [(role.name, role.boundary_arn) for role in found.roles] == [(name, world.environment.role_boundary_arn)]
    assert found.roles[0].trust["Statement"][0]["Principal"] == {"Service": "lambda.amazonaws.com"}
    assert found.lent == (LentRole("function", name, found.lent[0].role_arn),)
    for service in ("iam", "lambda"):
        thing(service)[1](world.aws.client, world.environment, None)


def test_a_role_whose_path_begins_with_the_prefix_is_read_by_that(world: World) -> None:
    prefix, name = world.environment.prefix, f"admin-{uuid.uuid4().hex}"
    trust = '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"sts:AssumeRole","Principal":"*"}]}'
    before = world.facts().digest
    world.iam.create_role(RoleName=name, Path=f"/{prefix}-x/", AssumeRolePolicyDocument=trust)
    found = world.facts()
    world.iam.delete_role(RoleName=name)
    assert [(role.name, role.boundary_arn) for role in found.roles] == [(f"{prefix}-x/{name}", None)]
    assert found.digest != before


def test_an_existing_policy_of_the_file_is_read_where_nobody_has_it(world: World) -> None:
    assert AWS_POLICY not in world.facts().policies
    found = world.facts(AWS_POLICY)
    assert json.loads(found.policies[AWS_POLICY].document)["Version"] == "2012-10-17"


def test_a_boundary_in_the_details_is_believed_and_none_is_asked_about(world: World) -> None:
    name, boundary = world.environment.user_name, world.environment.boundary_arn

    def tell(parsed: Any, **_: Any) -> None:
        for user in parsed["UserDetailList"]:
            if user["UserName"] == name:
                user["PermissionsBoundary"] = {"PermissionsBoundaryArn": boundary}

    # The embedded AWS leaves boundaries out; AWS does not.
    assert world.facts().user is not None
    assert Counter(one.action for one in world.proxy.requests)["GetUser"] == 1
    reading = world.reading()
    reading.access.client("iam").meta.events.register("after-call.iam.GetAccountAuthorizationDetails", tell)
    world.proxy.clear()
    found = read(world.environment, reading)
    assert found.user is not None
    assert found.user.boundary_arn == boundary
    assert Counter(one.action for one in world.proxy.requests) == {
        "GetAccountAuthorizationDetails": 1,
        "GET /2015-03-31/functions/": 1,
        "DescribeStacks": 1,
        "GetPolicy": 3,
        "ListAccessKeys": 1,
        "GetLoginProfile": 1,
        "ListSSHPublicKeys": 1,
        "ListServiceSpecificCredentials": 1,
        "ListSigningCertificates": 1,
        "ListMFADevices": 1,
    }


def test_threads_read_the_account_once_and_agree(world: World) -> None:
    reading = world.reading()
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: read(world.environment, reading), range(8)))
    assert len({one.digest for one in found}) == 1
    assert Counter(one.action for one in world.proxy.requests)["GetAccountAuthorizationDetails"] == 1


def test_a_user_that_is_not_there_has_no_facts_but_what_is_left(world: World) -> None:
    world.iam.remove_user_from_group(GroupName=world.environment.group_name, UserName=world.environment.user_name)
    world.iam.delete_user(UserName=world.environment.user_name)
    found = world.facts()
    assert (found.user, found.keys, found.ways_in) == (None, (), ())
    assert set(found.groups) == {world.environment.group_name}
    assert world.policy in found.policies


def test_a_user_that_the_details_missed_is_no_missing_user(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    reading = world.reading()
    # As if it had been made after the listing.
    monkeypatch.setattr(AccountReading, "details", dataclasses.replace(reading.details, users={}))
    with pytest.raises(AwsError, match="was made while the account was read"):
        read(world.environment, reading)


@pytest.mark.parametrize(
    ("action", "things"),
    [
        ("ListAccessKeys", "access keys"),
        ("GetLoginProfile", "console password"),
        ("ListMFADevices", "MFA devices"),
        ("DescribeStacks", "stacks"),
    ],
)
def test_what_is_refused_and_judged_every_night_is_told_and_leaves_the_digest_as_it_is(
    world: World, action: str, things: str
) -> None:
    before = world.facts()
    world.refuse(action)
    found = world.facts()
    assert {one.things for one in found.unread} == NOT_THERE_HERE | {things}
    assert found.digest == before.digest


@pytest.mark.parametrize("action", ["GetPolicy", "GetPolicyVersion"])
def test_what_is_refused_and_a_plan_would_see_makes_a_digest_that_equals_no_other(world: World, action: str) -> None:
    world.iam.attach_user_policy(UserName=world.environment.user_name, PolicyArn=AWS_POLICY)
    world.refuse(action)
    found = [world.facts() for _ in range(2)]
    assert any(one.things.startswith("the policy ") and one.why == "AccessDenied: not you" for one in found[0].unread)
    assert found[0].digest != found[1].digest


@pytest.mark.parametrize("action", ["GetAccountAuthorizationDetails", "GetUser"])
def test_without_the_user_nothing_can_be_said(world: World, action: str) -> None:
    world.refuse(action)
    with pytest.raises(AwsError, match="AccessDenied"):
        world.facts()


def test_a_version_that_became_the_default_meanwhile_is_read(world: World) -> None:
    reading = world.reading()
    before = reading.details
    world.iam.create_policy_version(PolicyArn=world.policy, PolicyDocument=OTHER, SetAsDefault=True)
    found = read(world.environment, reading)
    assert reading.details is before
    assert found.policies[world.policy].document == documents.canonical(json.loads(OTHER))
    assert found.policies[world.policy].default_version == "v2"


def test_a_way_in_is_told_as_it_is_called(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    looks = (("things", "iam:ListThings", "delete them", lambda _iam, user: iter([("thing", f"of {user}")])),)
    monkeypatch.setattr(facts_module, "LOOKS", looks)
    assert world.facts().ways_in == (WayIn("things", "thing", f"of {world.environment.user_name}", "delete them"),)


def test_the_order_of_lists_and_the_zone_of_times_make_no_difference() -> None:
    utc = dt.datetime(2026, 1, 1, 12, tzinfo=dt.UTC)
    one = {"GroupList": ["a", "b"], "Tags": [{"Key": "x", "Value": "1"}, {"Key": "y", "Value": "2"}], "CreateDate": utc}
    other = {
        "GroupList": ["b", "a"],
        "Tags": [{"Value": "2", "Key": "y"}, {"Value": "1", "Key": "x"}],
        "CreateDate": utc.astimezone(dt.timezone(dt.timedelta(hours=2))),
    }
    assert canonical(settled("user", one)) == canonical(settled("user", other))


def test_the_order_in_a_document_is_the_documents_own() -> None:
    def detail(*actions: str) -> dict[str, Any]:
        return {"AssumeRolePolicyDocument": {"Statement": [{"Action": list(actions)}]}}

    assert canonical(settled("role", detail("a", "b"))) != canonical(settled("role", detail("b", "a")))


def test_what_nobody_thought_of_counts() -> None:
    assert canonical(settled("user", {"NewThing": 1})) != canonical(settled("user", {"NewThing": 2}))
    assert all(reason for fields in VOLATILE.values() for reason in fields.values())

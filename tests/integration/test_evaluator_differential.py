"""The project's evaluator beside the embedded AWS: on generated policies and real requests both decide alike.

Where they differ, AWS's documentation settles it, and the case stands in ``DISAGREEMENTS`` with its source. Any other difference
fails. Each recorded case is asked again here, so that the list cannot outlive what it tells of.
"""

from __future__ import annotations

import datetime as dt
import json
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ci_user.policy.conditions import Context, Values
from ci_user.policy.evaluate import Request, evaluate
from ci_user.policy.statement import Statement, parse

if TYPE_CHECKING:
    from tests.conftest import EmbeddedAws

BUCKET: Final = "BUCKET"
KEYS: Final = ("a", "ab", "b/c")


@dataclass
class World:
    """A user whose policies and boundary are written anew for each example, and what it asks for."""

    name: str
    account: str
    region: str
    admin: Callable[[str], Any]
    ci: Callable[[str], Any]
    secret: str
    bounded: bool = False

    @property
    def user_arn(self) -> str:
        return f"arn:aws:iam::{self.account}:user/{self.name}"

    def give(self, identity: dict[str, Any], boundary: dict[str, Any] | None) -> None:
        iam = self.admin("iam")
        iam.put_user_policy(UserName=self.name, PolicyName="p", PolicyDocument=self.text(identity))
        if boundary is None:
            if self.bounded:
                iam.delete_user_permissions_boundary(UserName=self.name)
            self.bounded = False
            return
        policy = f"{self.name}-{uuid.uuid4().hex[:10]}"
        iam.create_policy(PolicyName=policy, PolicyDocument=self.text(boundary))
        arn = f"arn:aws:iam::{self.account}:policy/{policy}"
        iam.put_user_permissions_boundary(UserName=self.name, PermissionsBoundary=arn)
        self.bounded = True

    def text(self, document: dict[str, Any]) -> str:
        return json.dumps(document).replace(BUCKET, self.name)

    def requests(self) -> Iterator[tuple[Request, Callable[[], Any]]]:
        """Yield what is asked for, as the evaluator sees it, and the real call."""
        s3, secrets = self.ci("s3"), self.ci("secretsmanager")
        for key in KEYS:
            yield (
                Request("s3:GetObject", f"arn:aws:s3:::{self.name}/{key}", self.context()),
                partial(s3.get_object, Bucket=self.name, Key=key),
            )
        yield (
            Request("s3:PutObject", f"arn:aws:s3:::{self.name}/ab", self.context()),
            partial(s3.put_object, Bucket=self.name, Key="ab", Body=b"x"),
        )
        for tags in ({"team": "shop"}, {"team": "sales", "x": "y"}):
            keys: dict[str, Values | None] = {f"aws:requesttag/{key}": (value,) for key, value in tags.items()}
            keys["aws:tagkeys"] = tuple(tags)
            yield (
                Request("secretsmanager:TagResource", self.secret, self.context(keys)),
                partial(
                    secrets.tag_resource, SecretId=self.secret, Tags=[{"Key": k, "Value": v} for k, v in tags.items()]
                ),
            )

    def context(self, more: dict[str, Values | None] | None = None) -> Context:
        known: dict[str, Values | None] = {
            "aws:principalarn": (self.user_arn,),
            "aws:principalaccount": (self.account,),
            "aws:principaltype": ("User",),
            "aws:username": (self.name,),
            "aws:resourceaccount": (self.account,),
            "aws:currenttime": (dt.datetime.now(dt.UTC).isoformat(),),
            "aws:requestedregion": (self.region,),
            "aws:securetransport": ("false",),
            "aws:sourceip": ("127.0.0.1",),
        }
        return Context(known | (more or {}))


@pytest.fixture(scope="module")
def world(aws: EmbeddedAws) -> World:
    import boto3

    name = f"d{uuid.uuid4().hex[:10]}"
    iam, s3 = aws.client("iam"), aws.client("s3")
    iam.create_user(UserName=name)
    pair = iam.create_access_key(UserName=name)["AccessKey"]
    s3.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": aws.region})
    for key in KEYS:
        s3.put_object(Bucket=name, Key=key, Body=b"x")
    secret = aws.client("secretsmanager").create_secret(Name=name, SecretString="x")["ARN"]
    clients: dict[str, Any] = {}

    def ci(service: str) -> Any:
        if service not in clients:
            make: Any = boto3.client
            clients[service] = make(
                service,
                endpoint_url=aws.endpoint_url,
                region_name=aws.region,
                aws_access_key_id=pair["AccessKeyId"],
                aws_secret_access_key=pair["SecretAccessKey"],
            )
        return clients[service]

    return World(name, aws.account_id, aws.region, aws.client, ci, secret)


def answered(call: Callable[[], Any]) -> bool:
    """Return what the embedded AWS decides: done, or AccessDenied. Any other error is one of the test."""
    from botocore.exceptions import ClientError

    try:
        call()
    except ClientError as error:
        if error.response["Error"]["Code"] not in ("AccessDenied", "AccessDeniedException"):
            raise
        return False
    return True


def decided(world: World, identity: dict[str, Any], boundary: dict[str, Any] | None, request: Request) -> bool | None:
    """Return what the project's evaluator decides."""

    def read(document: dict[str, Any]) -> tuple[Statement, ...]:
        return parse(world.text(document), "p")

    return evaluate(read(identity), read(boundary) if boundary else None, request).allowed


ACTIONS = st.sampled_from(
    [
        "s3:GetObject",
        "s3:Get*",
        "S3:getobject",
        "s3:?etObject",
        "s3:PutObject",
        "s3:*",
        "secretsmanager:TagResource",
        "*",
    ]
)
RESOURCES = st.sampled_from(
    [
        "*",
        f"arn:aws:s3:::{BUCKET}/*",
        f"arn:aws:s3:::{BUCKET}/a",
        f"arn:aws:s3:::{BUCKET}/a*",
        f"arn:aws:s3:::{BUCKET}/?",
        f"arn:aws:s3:::{BUCKET}/*/c",
        f"arn:aws:s3:::*{BUCKET[-1:]}*",
        f"arn:aws:secretsmanager:*:*:secret:{BUCKET}-??????",
        "arn:aws:secretsmanager:eu-west-1:*",
    ]
)
STRINGS: Final = [
    form.format(one)
    for one in ("StringEquals", "StringNotEquals", "StringLike", "StringNotLike", "StringEqualsIgnoreCase")
    for form in ("{}", "{}IfExists", "ForAnyValue:{}", "ForAllValues:{}", "ForAnyValue:{}IfExists")
]
TESTS = st.one_of(
    st.tuples(
        st.sampled_from(STRINGS),
        st.sampled_from(["aws:RequestTag/team", "AWS:requesttag/TEAM", "aws:TagKeys", "aws:RequestTag/none"]),
        st.lists(st.sampled_from(["shop", "s*", "SHOP", "team", "t?am", "x"]), min_size=1, max_size=2),
    ).filter(lambda one: one[1] != "aws:TagKeys" or ":" in one[0]),
    st.tuples(
        st.just("Null"),
        st.sampled_from(["aws:RequestTag/team", "aws:TagKeys", "aws:SourceVpc", "aws:PrincipalArn"]),
        st.sampled_from(["true", "false"]),
    ),
    st.tuples(
        st.sampled_from(["IpAddress", "NotIpAddress", "IpAddressIfExists"]),
        st.sampled_from(["aws:SourceIp", "aws:VpcSourceIp"]),
        st.lists(st.sampled_from(["127.0.0.0/8", "127.0.0.1", "203.0.113.0/24", "::1/128"]), min_size=1, max_size=2),
    ),
    st.tuples(
        st.sampled_from(["DateLessThan", "DateGreaterThanEquals", "DateNotEquals"]),
        st.just("aws:CurrentTime"),
        st.sampled_from(["2020-01-01T00:00:00Z", "2090-01-01T00:00:00Z"]),
    ),
    st.tuples(
        st.sampled_from(["ArnEquals", "ArnLike", "ArnNotLike", "ArnNotEquals", "StringLike"]),
        st.just("aws:PrincipalArn"),
        st.sampled_from([f"arn:aws:iam::*:user/{BUCKET}", "arn:aws:iam::*:user/*", "arn:aws:iam::1:user/x"]),
    ),
    st.tuples(
        st.sampled_from(["Bool", "BoolIfExists"]),
        st.sampled_from(["aws:SecureTransport", "aws:ViaAWSService2"]),
        st.sampled_from(["true", "false"]),
    ),
    st.tuples(
        st.sampled_from(["StringEquals", "StringNotEqualsIfExists", "StringLike"]),
        st.sampled_from(["aws:RequestedRegion", "aws:PrincipalType", "aws:ResourceAccount", "aws:username"]),
        st.sampled_from(["eu-west-1", "User", "000000000000", BUCKET, "*"]),
    ),
)


@st.composite
def statements(draw: st.DrawFn) -> dict[str, Any]:
    action = draw(st.sampled_from(["Action"] * 5 + ["NotAction"]))
    resource = draw(st.sampled_from(["Resource"] * 5 + ["NotResource"]))
    entry: dict[str, Any] = {
        "Effect": draw(st.sampled_from(["Allow", "Allow", "Deny"])),
        action: draw(st.lists(ACTIONS, min_size=1, max_size=2)),
        resource: draw(st.lists(RESOURCES, min_size=1, max_size=2)),
    }
    condition: dict[str, Any] = {}
    for operator, key, values in draw(st.lists(TESTS, max_size=2)):
        condition.setdefault(operator, {})[key] = values
    return entry | ({"Condition": condition} if condition else {})


DOCUMENTS = st.lists(statements(), min_size=1, max_size=4).map(
    lambda found: {"Version": "2012-10-17", "Statement": found}
)


@pytest.mark.timeout(300)
@settings(
    max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(identity=DOCUMENTS, boundary=st.one_of(st.none(), DOCUMENTS))
def test_both_decide_alike(world: World, identity: dict[str, Any], boundary: dict[str, Any] | None) -> None:
    world.give(identity, boundary)
    for request, call in world.requests():
        expected = decided(world, identity, boundary, request)
        assert expected is not None, request
        assert answered(call) == expected, (request, identity, boundary)


def everything(condition: dict[str, Any] | None = None, resource: str = "*") -> dict[str, Any]:
    entry: dict[str, Any] = {"Effect": "Allow", "Action": "*", "Resource": resource}
    return {"Version": "2012-10-17", "Statement": [entry | ({"Condition": condition} if condition else {})]}


@pytest.mark.timeout(300)
@pytest.mark.parametrize("effect", ["Allow", "Deny"])
def test_each_form_of_an_operator_decides_alike_on_keys_that_are_there_and_that_are_not(
    world: World, effect: str
) -> None:
    for operator in STRINGS:
        for key in ("aws:RequestTag/team", "aws:TagKeys", "aws:RequestTag/none"):
            if key == "aws:TagKeys" and ":" not in operator:
                continue
            for values in (["shop", "team"], ["s*", "t*"]):
                document = everything({operator: {key: values}})
                document["Statement"][0]["Effect"] = effect
                if effect == "Deny":
                    document["Statement"] += everything()["Statement"]
                world.give(document, None)
                for request, call in [*world.requests()][3:]:
                    expected = decided(world, document, None, request)
                    assert answered(call) == expected, (request, document)


GUIDE = "https://docs.aws.amazon.com/IAM/latest/UserGuide/"
DISAGREEMENTS: Final[dict[str, tuple[dict[str, Any], bool, str]]] = {
    "a policy variable in a resource is filled in": (
        everything(resource="arn:aws:s3:::${aws:username}/*"),
        True,
        f"{GUIDE}reference_policies_variables.html#policy-vars-wheretouse",
    ),
    "a policy variable in a condition is filled in": (
        everything({"StringEquals": {"aws:username": "${aws:username}"}}),
        True,
        f"{GUIDE}reference_policies_variables.html#policy-vars-wheretouse",
    ),
    "each of an ARN's six parts is compared apart, so that a wildcard reaches over no colon": (
        everything({"ArnLike": {"aws:PrincipalArn": "arn:aws:iam*:user/*"}}),
        False,
        f"{GUIDE}reference_policies_elements_condition_operators.html#Conditions_ARN",
    ),
    "several values of Null are joined by or": (
        everything({"Null": {"aws:PrincipalArn": ["true", "false"]}}),
        True,
        f"{GUIDE}reference_policies_condition-logic-multiple-context-keys-or-values.html",
    ),
}
"""Documents on which the two differ for ``s3:GetObject``, what AWS documents, and where."""


@pytest.mark.parametrize("name", DISAGREEMENTS)
def test_where_they_differ_the_evaluator_keeps_to_what_aws_documents(world: World, name: str) -> None:
    document, documented, source = DISAGREEMENTS[name]
    assert source.startswith(GUIDE)
    world.give(document, None)
    request, call = next(world.requests())
    assert decided(world, document, None, request) is documented
    assert answered(call) is not documented

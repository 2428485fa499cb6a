"""Ways to sign in as the CI user besides its keys: each is found, and a look that is refused is a finding too."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from ci_user import revocation
from ci_user.iam_user import IamUser
from ci_user.revocation import Revocation
from ci_user.ways_in import ways_in
from tests.proxy import Answer, Proxy, Request

if TYPE_CHECKING:
    from ci_user.credentials import AwsAccess
    from ci_user.findings import Finding
    from tests.conftest import EmbeddedAws


@dataclass(frozen=True)
class Environment:
    """What ``ways_in`` asks an environment for."""

    name: str
    user_name: str
    group_name: str
    boundary_arn: str


def listing(action: str, inner: str) -> bytes:
    result = f"<{action}Result>{inner}<IsTruncated>false</IsTruncated></{action}Result>"
    return f"<{action}Response>{result}</{action}Response>".encode()


NONE = {
    "ListSSHPublicKeys": "<SSHPublicKeys/>",
    "ListServiceSpecificCredentials": "<ServiceSpecificCredentials/>",
    "ListSigningCertificates": "<Certificates/>",
}
SOME = {
    "ListSSHPublicKeys": "<SSHPublicKeys><member><SSHPublicKeyId>APKASSH</SSHPublicKeyId><UserName>x</UserName>"
    "<Status>Active</Status><UploadDate>2026-11-01T00:00:00Z</UploadDate></member></SSHPublicKeys>",
    "ListServiceSpecificCredentials": "<ServiceSpecificCredentials><member><UserName>x</UserName><Status>Active</Status>"
    "<ServiceUserName>u</ServiceUserName><CreateDate>2026-11-01T00:00:00Z</CreateDate>"
    "<ServiceSpecificCredentialId>ACCASSC</ServiceSpecificCredentialId><ServiceName>codecommit.amazonaws.com</ServiceName>"
    "</member></ServiceSpecificCredentials>",
    "ListSigningCertificates": "<Certificates><member><UserName>x</UserName><CertificateId>CERT1</CertificateId>"
    "<CertificateBody>b</CertificateBody><Status>Active</Status></member></Certificates>",
    "ListMFADevices": "<MFADevices><member><UserName>x</UserName><SerialNumber>arn:aws:iam::1:mfa/\x7fx</SerialNumber>"
    "<EnableDate>2026-11-01T00:00:00Z</EnableDate></member></MFADevices>",
}


REFUSED = Answer(
    403,
    b"<ErrorResponse><Error><Code>AccessDenied</Code><Message>no</Message></Error></ErrorResponse>",
    headers=(("Content-Type", "text/xml"),),
)
MORE = '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:*","Resource":"*"}]}'


class World:
    """A user in order, seen through a proxy that answers what the embedded AWS does not know."""

    def __init__(self, aws: EmbeddedAws, proxy: Proxy) -> None:
        self.aws, self.proxy = aws, proxy
        prefix = f"ways{uuid.uuid4().hex[:8]}-testing"
        boundary = aws.client("iam").create_policy(
            PolicyName=f"{prefix}.boundary",
            PolicyDocument='{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}',
        )["Policy"]["Arn"]
        self.environment = Environment("testing", f"{prefix}.ci", f"{prefix}.ci", boundary)
        iam = aws.client("iam")
        iam.create_user(UserName=self.user, PermissionsBoundary=boundary)
        iam.create_group(GroupName=self.user)
        iam.add_user_to_group(GroupName=self.user, UserName=self.user)
        self.answers = dict(NONE)

        def answer(request: Request) -> Answer | None:
            if request.action in self.answers:
                body = listing(request.action, self.answers[request.action])
                return Answer(200, body, headers=(("Content-Type", "text/xml"),))
            return None

        proxy.before = answer

    @property
    def user(self) -> str:
        return self.environment.user_name

    @property
    def access(self) -> AwsAccess:
        access = self.aws.access.fenced_by(lambda _: None)
        access.endpoint_url = self.proxy.url
        return access

    def look(self) -> tuple[Finding, ...]:
        live = IamUser(self.access, self.user).describe()
        assert live is not None
        return ways_in(self.access, self.environment, live)  # type: ignore[arg-type]


@pytest.fixture
def world(aws: EmbeddedAws) -> Iterator[World]:
    with Proxy(aws.endpoint_url).running() as proxy:
        yield World(aws, proxy)


def told(found: tuple[Finding, ...]) -> list[str]:
    assert {one.check for one in found} <= {"CIUSER_LIVE_5"}
    assert all("live.user[" in one.resource and one.fix for one in found)
    return [one.message for one in found]


def test_a_user_in_order_has_no_other_way_in(world: World) -> None:
    assert world.look() == ()


def test_every_kind_of_credential_is_told_with_its_id(world: World) -> None:
    world.answers |= SOME
    world.aws.client("iam").create_login_profile(UserName=world.user, Password="Abcdef-1234567")
    messages = told(world.look())
    for part in ("console password", "APKASSH", "ACCASSC", "codecommit.amazonaws.com", "CERT1", "mfa/\\x7fx"):
        assert len([message for message in messages if part in message]) == 1, part
    assert len(messages) == 5


def test_each_credential_is_told_with_its_date_where_iam_gives_one(world: World) -> None:
    date = "<UploadDate>2026-11-01T00:00:00Z</UploadDate>"
    world.answers |= SOME
    world.answers["ListSigningCertificates"] = SOME["ListSigningCertificates"].replace("</member>", f"{date}</member>")
    messages = told(world.look())
    assert len(messages) == 4
    assert all("2026-11-01T00:00:00" in message for message in messages)


def test_what_hangs_on_the_user_is_told(world: World) -> None:
    iam, name = world.aws.client("iam"), f"more-{uuid.uuid4().hex[:8]}"
    iam.attach_user_policy(UserName=world.user, PolicyArn="arn:aws:iam::aws:policy/ReadOnlyAccess")
    iam.put_user_policy(UserName=world.user, PolicyName="odd", PolicyDocument=MORE)
    iam.create_group(GroupName=name)
    iam.add_user_to_group(GroupName=name, UserName=world.user)
    iam.put_user_permissions_boundary(UserName=world.user, PermissionsBoundary="arn:aws:iam::aws:policy/ReadOnlyAccess")
    messages = told(world.look())
    assert len(messages) == 4
    for part in ("ReadOnlyAccess is attached", "inline policy odd", name, "its boundary is"):
        assert any(part in message for message in messages), part


def test_the_deny_of_a_revocation_is_no_way_in_but_another_policy_under_its_name_is(world: World) -> None:
    deny = Revocation(("AKIAIOSFODNN7EXAMPLE",), dt.datetime.now(tz=dt.UTC))
    revocation.put(world.aws.access, world.user, deny)
    assert world.look() == ()
    world.aws.client("iam").put_user_policy(
        UserName=world.user,
        PolicyName=revocation.POLICY_NAME,
        PolicyDocument='{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}',
    )
    assert told(world.look()) == ["it has the inline policy ci-user-revocation"]


def test_a_quarantine_of_aws_is_no_way_in(world: World) -> None:
    arn = "arn:aws:iam::aws:policy/AWSCompromisedKeyQuarantineV3"
    world.aws.client("iam").attach_user_policy(UserName=world.user, PolicyArn=arn)
    assert world.look() == ()


def test_a_policy_that_is_only_called_like_a_quarantine_is_told(world: World) -> None:
    iam, name = world.aws.client("iam"), f"AWSCompromisedKeyQuarantineV{uuid.uuid4().hex[:6]}"
    arn = iam.create_policy(PolicyName=name, PolicyDocument=MORE)["Policy"]["Arn"]
    iam.attach_user_policy(UserName=world.user, PolicyArn=arn)
    (message,) = told(world.look())
    assert arn in message
    assert "is not AWS's" in message


def test_a_deny_that_cannot_be_read_is_a_finding_and_the_other_looks_go_on(world: World) -> None:
    revocation.put(world.aws.access, world.user, Revocation(("AKIAIOSFODNN7EXAMPLE",), None))
    world.answers |= SOME
    usual = world.proxy.before

    def answer(request: Request) -> Answer | None:
        return REFUSED if request.action == "GetUserPolicy" else usual(request)

    world.proxy.before = answer
    unknown, *others = world.look()
    assert (unknown.check, unknown.fix) == ("CIUSER_LIVE_3", "let the deployer call iam:GetUserPolicy")
    assert len(told(tuple(others))) == 4


@pytest.mark.parametrize("action", ["GetLoginProfile", *SOME])
def test_a_look_that_is_refused_is_a_finding_and_the_others_go_on(world: World, action: str) -> None:
    world.answers |= SOME
    usual = world.proxy.before

    def answer(request: Request) -> Answer | None:
        if request.action == action:
            return REFUSED
        return usual(request)

    world.proxy.before = answer
    found = world.look()
    unknown: list[Any] = [one for one in found if one.check == "CIUSER_LIVE_3"]
    assert len(unknown) == 1
    assert f"iam:{action}" in unknown[0].fix
    assert len(found) == (5 if action == "GetLoginProfile" else 4)

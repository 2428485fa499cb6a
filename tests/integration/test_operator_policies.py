"""The operators' policies are enough, and nothing in them is too much: real commands, Terraform, and an AWS that evaluates IAM.

What the embedded AWS cannot judge (`operators.UNJUDGED`, keys of KMS) is judged by the project's evaluator, over the same calls.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import pytest

from ci_user import environment_files
from ci_user.policy import operators
from ci_user.policy.conditions import Context
from ci_user.policy.evaluate import Request, evaluate
from ci_user.policy.statement import statements
from tests import proxy
from tests.integration.asked import Asked
from tests.integration.operators import Document, Role, actions, refused, sids, without
from tests.shipped_policies import ROOT
from tests.unknown_calls import UNKNOWN, answer_unknown

if TYPE_CHECKING:
    from tests.conftest import EmbeddedAws
    from tests.integration.conftest import NewProject
    from tests.project import Done, Project

pytestmark = pytest.mark.timeout(900)

DEPLOYER, NIGHTLY = "deployer", "nightly-check"
KMS_KEY: Final = "arn:aws:kms:eu-west-1:000000000000:key/1234abcd-12ab-34cd-56ef-1234567890ab"
WRITTEN: Final = {
    name: json.loads((ROOT / f"terraform/policies/{name}.json").read_text()) for name in (DEPLOYER, NIGHTLY)
}
EACH: Final = [(name, sid) for name, document in WRITTEN.items() for sid in sids(document)]
THROUGH_KMS: Final = {DEPLOYER: "KmsThroughServices", NIGHTLY: "StateKeysThroughS3"}

NOT_MET: Final[Mapping[str, Mapping[str, str]]] = {
    DEPLOYER: {
        "s3:GetBucketLocation": "asked where the answer to HeadBucket lacks the region",
        "s3:GetObjectVersion": "an earlier lease, when an intent has to be confirmed",
        "s3:PutEncryptionConfiguration": "every bucket of the embedded AWS is encrypted, and of AWS too since 2023",
        "secretsmanager:RestoreSecret": "a deploy after a destroy",
        "secretsmanager:UpdateSecret": "another KMS key in the environment file",
    },
    NIGHTLY: {
        "s3:GetBucketLocation": "asked where the answer to HeadBucket lacks the region",
        "s3:GetObjectVersion": "an earlier lease, where the lease is gone",
        "s3:ListBucketVersions": "the same",
    },
}
"""What is allowed for states of the world that are not made here, and which these are."""


class RefusedError(AssertionError):
    """A role was refused something."""


@dataclass
class Work:
    """A life of an environment, from the bucket to its end, done by the two roles.

    Args:
        documents: What the roles have.
        requests: What each of them sent.
        codes: How each command ended.
    """

    project: Project
    aws: EmbeddedAws
    documents: dict[str, Document]
    asked: Asked
    user: str
    requests: dict[str, list[proxy.Request]]
    codes: dict[str, int] = field(default_factory=dict)

    def run(self, who: str, role: Role, task: str, *flags: str) -> Done:
        """Run a command as a role.

        Raises:
            RefusedError: AWS refused it something.
        """
        through, seen, no = self.project.proxy, self.requests[who], list[str]()

        def before(request: proxy.Request) -> proxy.Answer | None:
            seen.append(request)
            return answer_unknown(request)

        def observe(request: proxy.Request, status: int, body: bytes) -> None:
            if refused(status, body):
                no.append(f"{request.action}: {body.decode()}")

        through.clear()
        through.before, through.observe = before, observe
        done = self.project.invoke(task, "--env", "testing", *flags, **role.exports)
        if no:
            raise RefusedError(f"{task} {' '.join(flags)}: {no[0]}\n{done.text}")
        self.codes[" ".join((task, *flags))] = done.code
        return done

    def calls(self, who: str) -> list[Request]:
        """Return what IAM was asked about, each once, with what KMS asks of a key that encrypts the state and the keys."""
        asked = [one for request in self.requests[who] for one in self.asked.of(request)]
        services = [("kms:Decrypt", "s3")]
        if who == DEPLOYER:
            services += [
                ("kms:GenerateDataKey", "s3"),
                ("kms:GenerateDataKey", "secretsmanager"),
                ("kms:Encrypt", "ssm"),
            ]
        for action, service in services:
            via = Context({"kms:viaservice": (f"{service}.eu-west-1.amazonaws.com",)})
            asked.append(Request(action, KMS_KEY, via))
        return list({(one.action, one.resource, repr(one.context)): one for one in asked}.values())


def new_work(new_project: NewProject, aws: EmbeddedAws) -> Work:
    application = f"op{uuid.uuid4().hex[:8]}"
    project = new_project(application)
    extra = aws.client("iam").create_policy(
        PolicyName=f"extra-{application}", PolicyDocument=policy("logs:DescribeLogGroups")
    )
    project.base |= {
        "policies": ["sample", {"arn": extra["Policy"]["Arn"]}],
        "secrets": [
            {"backend": "aws-secrets-manager", "name": f"ci-user/{application}/testing", "recovery_days": 7},
            {"backend": "aws-secrets-manager", "name": f"elsewhere/{application}"},
            {"backend": "aws-ssm", "name": f"/ci-user/{application}/testing"},
            {"backend": "aws-ssm", "name": f"/elsewhere/{application}"},
        ],
        "rotation": {"grace": "0s", "margin": "0s", "soak": "1h", "expire_after": "0s"},
        "audit": {"bucket": True},
    }
    project.write()
    environment = environment_files.load("testing", project.root)
    encrypted = environment.model_copy(update={"state": environment.state.model_copy(update={"kms_key": KMS_KEY})})
    documents = {name: json.loads(operators.document(name, encrypted, [], project.root)) for name in WRITTEN}
    asked = Asked(aws.account_id, aws.region, environment.user_name)
    return Work(project, aws, documents, asked, environment.user_name, {name: [] for name in WRITTEN})


def policy(action: str) -> str:
    statement = {"Effect": "Allow", "Action": action, "Resource": "*"}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def live(work: Work) -> None:
    """Do everything that operators do, and the nightly check in between.

    Raises:
        RefusedError: One of the roles was refused something.
    """
    roles = {name: Role(work.aws, document) for name, document in work.documents.items()}

    def run(task: str, *flags: str) -> Done:
        return work.run(DEPLOYER, roles[DEPLOYER], task, *flags)

    run("bootstrap", "--yes")
    unsafe(work)
    run("bootstrap", "--yes")
    run("deploy", "--yes")
    for task in (("doctor",), ("status",), ("rotate", "--force"), ("rotate",), ("reactivate", "--yes")):
        run(*task)
    run("redeliver", "--to", "aws-ssm")
    with others(work):
        work.run(NIGHTLY, roles[NIGHTLY], "check")
        run("revoke", "--yes")
    run("unlock", "--yes")
    changed_by_hand(work)
    work.project.write(tags={"team": "a"})
    run("deploy", "--yes")
    run("destroy", "--yes")


def unsafe(work: Work) -> None:
    """Take settings off the bucket that the embedded AWS gives to each."""
    s3, bucket = work.aws.client("s3"), work.project.base["state"]["bucket"]
    for setting in ("public_access_block", "bucket_ownership_controls"):
        getattr(s3, f"delete_{setting}")(Bucket=bucket)


@contextmanager
def others(work: Work) -> Iterator[None]:
    """Put the user into somebody's group, and make a role under its prefix, as a pipeline does: both are looked at."""
    iam, group, prefix = work.aws.client("iam"), f"team-{uuid.uuid4().hex[:8]}", work.user.removesuffix(".ci")
    allow = {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
    trust = json.dumps({"Version": "2012-10-17", "Statement": [allow]})
    boundary = f"arn:aws:iam::{work.aws.account_id}:policy/{prefix}.role-boundary"
    iam.create_group(GroupName=group)
    iam.put_group_policy(GroupName=group, PolicyName="p", PolicyDocument=policy("s3:ListAllMyBuckets"))
    iam.add_user_to_group(GroupName=group, UserName=work.user)
    iam.create_role(RoleName=f"{prefix}-f", AssumeRolePolicyDocument=trust, PermissionsBoundary=boundary)
    yield
    iam.delete_role(RoleName=f"{prefix}-f")
    iam.remove_user_from_group(GroupName=group, UserName=work.user)


def changed_by_hand(work: Work) -> None:
    """Change what a deploy puts right."""
    iam, user = work.aws.client("iam"), work.user
    boundary = f"arn:aws:iam::{work.aws.account_id}:policy/{user.removesuffix('.ci')}.boundary"
    iam.put_user_policy(UserName=user, PolicyName="by-hand", PolicyDocument=policy("s3:ListAllMyBuckets"))
    iam.put_group_policy(GroupName=user, PolicyName="by-hand", PolicyDocument=policy("s3:ListAllMyBuckets"))
    for number in range(4):
        iam.create_policy_version(PolicyArn=boundary, PolicyDocument=policy(f"s3:Get{number}"), SetAsDefault=True)
    iam.attach_user_policy(UserName=user, PolicyArn="arn:aws:iam::aws:policy/ReadOnlyAccess")
    iam.delete_user_permissions_boundary(UserName=user)
    iam.tag_user(UserName=user, Tags=[{"Key": "by-hand", "Value": "x"}])
    iam.tag_policy(PolicyArn=boundary, Tags=[{"Key": "by-hand", "Value": "x"}])


@pytest.fixture(scope="module")
def work(new_project: NewProject, aws: EmbeddedAws) -> Work:
    """A whole life, in which neither role was refused anything."""
    made = new_work(new_project, aws)
    live(made)
    return made


def test_with_all_statements_every_command_does_its_work(work: Work) -> None:
    expected = {"deploy --yes": 0, "destroy --yes": 0, "rotate --force": 0, "redeliver --to aws-ssm": 0, "status": 0}
    assert expected.items() <= work.codes.items()
    # The user was in somebody's group, which is told.
    assert work.codes["revoke --yes"] == 3
    assert len(work.requests[DEPLOYER]) > 300
    assert len(work.requests[NIGHTLY]) > 30
    assert work.codes["check"] == 3


@pytest.mark.parametrize("name", WRITTEN)
def test_the_evaluator_allows_every_call_too_with_the_conditions_that_the_embedded_aws_cannot_judge(
    work: Work, name: str
) -> None:
    holds = statements(work.documents[name], name)
    assert [one for one in work.calls(name) if evaluate(holds, None, one).allowed is not True] == []
    asked = {one.action for one in work.calls(name)}
    assert {"iam:GetUser", "s3:GetObject", "secretsmanager:DescribeSecret"} <= asked


@pytest.mark.parametrize("name", WRITTEN)
def test_every_action_of_a_policy_is_asked_for(work: Work, name: str) -> None:
    allowed = {action for statement in work.documents[name]["Statement"] for action in actions(statement)}
    assert allowed - {one.action for one in work.calls(name)} == set(NOT_MET[name])


@pytest.mark.parametrize(("name", "sid"), EACH)
def test_without_one_statement_a_call_is_refused_that_was_needed(work: Work, name: str, sid: str) -> None:
    assert only_by(work, name, sid)


@pytest.mark.parametrize(("name", "sid"), [one for one in EACH if one[1] not in THROUGH_KMS.values()])
def test_the_embedded_aws_refuses_such_a_call_of_a_role_without_the_statement(work: Work, name: str, sid: str) -> None:
    needed = {(one.action, one.resource) for one in only_by(work, name, sid)}
    role = Role(work.aws, without(work.documents[name], sid))
    sent = set()
    for request in work.requests[name]:
        asked = [(one.action, one.resource) for one in work.asked.of(request)]
        # One of each kind: of the same call about the same thing nothing new is learned.
        if request.action in UNKNOWN or not needed.issuperset(asked[:1]) or not asked or asked[0][0] in sent:
            continue
        sent.add(asked[0][0])
        status, body = role.send(request)
        assert refused(status, body), (asked, status, body)
    assert sent


def only_by(work: Work, name: str, sid: str) -> list[Request]:
    """Return the calls that a policy would refuse without one of its statements."""
    left = statements(without(work.documents[name], sid), name)
    return [one for one in work.calls(name) if evaluate(left, None, one).allowed is False]


def test_what_is_refused_is_refused_for_the_missing_statement_and_not_for_how_it_was_sent_again(work: Work) -> None:
    for name, document in work.documents.items():
        role, sent = Role(work.aws, document), set()
        for request in work.requests[name]:
            if not request.changing and request.action not in UNKNOWN and request.action not in sent:
                sent.add(request.action)
                status, body = role.send(request)
                assert not refused(status, body), (request.action, status, body)
        assert len(sent) > 10


@pytest.mark.long
@pytest.mark.parametrize(("name", "sid"), [one for one in EACH if one[1] not in THROUGH_KMS.values()])
def test_without_one_statement_a_real_command_is_refused(
    new_project: NewProject, aws: EmbeddedAws, name: str, sid: str
) -> None:
    work = new_work(new_project, aws)
    work.documents[name] = without(work.documents[name], sid)
    with pytest.raises(RefusedError):
        live(work)

"""A user's own policies on the whole road: files, a directory and an existing policy, deployed, approved, and changed."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.integration.conftest import accepted
from tests.project import Done, Project

if TYPE_CHECKING:
    from tests.conftest import EmbeddedAws
    from tests.integration.conftest import NewProject
    from tests.proxy import Request

pytestmark = pytest.mark.timeout(600)

ENV = ("--env", "testing")


def write(path: Path, action: str, resource: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    statement = {"Effect": "Allow", "Action": action, "Resource": resource}
    path.write_text(json.dumps({"Version": "2012-10-17", "Statement": [statement]}))


@pytest.fixture(scope="module")
def existing(aws: EmbeddedAws) -> str:
    """A managed policy that somebody else made."""
    statement = {"Effect": "Allow", "Action": "sqs:SendMessage", "Resource": "arn:aws:sqs:eu-west-1:000000000000:own-*"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    made = aws.client("iam").create_policy(
        PolicyName=f"owned-elsewhere-{uuid.uuid4().hex[:8]}", PolicyDocument=document
    )
    arn: str = made["Policy"]["Arn"]
    return arn


@pytest.fixture(scope="module")
def project(new_project: NewProject, existing: str) -> Project:
    made = new_project("own")
    write(made.root / "policies" / "extra.json", "s3:GetObject", "arn:${partition}:s3:::${prefix}-*/*")
    write(
        made.root / "environments" / "shop" / "topics.json",
        "sns:Publish",
        "arn:aws:sns:${region}:${account_id}:${prefix}-*",
    )
    write(
        made.root / "environments" / "shop" / "tables.json",
        "dynamodb:GetItem",
        "arn:aws:dynamodb:*:*:table/${prefix}-*",
    )
    made.base["policies"] = [{"file": "policies/extra.json"}, {"directory": "shop"}, {"arn": existing}]
    user, _, boundary = accepted()
    made.base["accepted_findings"] = [user, boundary]
    made.write()
    done = made.invoke("bootstrap", *ENV, "--yes")
    assert done.code == 0, done.text
    return made


@pytest.fixture(scope="module")
def deployed(project: Project) -> Done:
    done = project.invoke("deploy", *ENV, "--yes")
    assert done.code == 0, done.text
    return done


@pytest.fixture
def quiet(project: Project, deployed: Done) -> Iterator[Project]:
    """The deployed project, as it was before and after."""
    extra = project.root / "policies" / "extra.json"
    before = extra.read_text()
    yield project
    project.proxy.clear()
    extra.write_text(before)
    project.write()


def attached(aws: EmbeddedAws) -> set[str]:
    found = aws.client("iam").list_attached_group_policies(GroupName="own-testing.ci")["AttachedPolicies"]
    return {one["PolicyArn"] for one in found}


def statements(aws: EmbeddedAws, arn: str) -> list[dict[str, Any]]:
    iam = aws.client("iam")
    version = iam.get_policy(PolicyArn=arn)["Policy"]["DefaultVersionId"]
    document = iam.get_policy_version(PolicyArn=arn, VersionId=version)["PolicyVersion"]["Document"]
    listed: list[dict[str, Any]] = document["Statement"]
    return listed


COMBINED = "arn:aws:iam::000000000000:policy/own-testing.policy-combined"


def test_the_group_gets_what_was_packed_and_the_existing_policy(
    deployed: Done, aws: EmbeddedAws, existing: str
) -> None:
    assert attached(aws) == {COMBINED, existing}
    assert {one["Action"]: one["Resource"] for one in statements(aws, COMBINED)} == {
        "s3:GetObject": "arn:aws:s3:::own-testing-*/*",
        "sns:Publish": "arn:aws:sns:eu-west-1:000000000000:own-testing-*",
        "dynamodb:GetItem": "arn:aws:dynamodb:*:*:table/own-testing-*",
    }


def test_another_deploy_changes_nothing(quiet: Project) -> None:
    done = quiet.invoke("plan", *ENV)
    assert done.code == 0, done.text


def test_an_approval_binds_the_content_of_own_files(quiet: Project, aws: EmbeddedAws) -> None:
    extra = quiet.root / "policies" / "extra.json"
    before = extra.read_text()
    write(extra, "s3:PutObject", "arn:${partition}:s3:::${prefix}-*/*")
    planned = quiet.invoke("plan", *ENV, "--out", "approved", "--json")
    assert planned.code == 2, planned.text
    bundle = ("--plan", "approved", "--digest", planned.json()["digest"])
    extra.write_text(before)
    refused = quiet.invoke("deploy", *ENV, *bundle)
    assert (refused.code, "a policy or a boundary has changed" in refused.err) == (1, True), refused.text
    write(extra, "s3:PutObject", "arn:${partition}:s3:::${prefix}-*/*")
    done = quiet.invoke("deploy", *ENV, *bundle)
    assert done.code == 0, done.text
    assert "s3:PutObject" in {one["Action"] for one in statements(aws, COMBINED)}


def test_a_file_that_is_edited_while_somebody_looks_at_the_plan_stops_the_deploy(quiet: Project) -> None:
    extra = quiet.root / "policies" / "extra.json"
    write(extra, "s3:DeleteObject", "arn:${partition}:s3:::${prefix}-*/*")

    def edit(_: Request) -> None:
        # The first request comes when the files were read and nothing was planned yet.
        write(extra, "s3:PutBucketPolicy", "arn:${partition}:s3:::${prefix}-*")

    quiet.proxy.before = edit
    done = quiet.invoke("deploy", *ENV, "--yes")
    assert done.code == 1
    assert "the environment, a policy, a module or the plan changed after it was planned" in done.err
    assert not [request for request in quiet.proxy.requests if request.action == "CreatePolicyVersion"]


def test_an_existing_policy_that_is_no_longer_listed_is_detached(
    quiet: Project, aws: EmbeddedAws, existing: str
) -> None:
    quiet.write(policies=quiet.base["policies"][:2])
    done = quiet.invoke("deploy", *ENV, "--yes")
    assert done.code == 0, done.text
    assert attached(aws) == {COMBINED}
    assert aws.client("iam").get_policy(PolicyArn=existing)["Policy"]["AttachmentCount"] == 0
    quiet.write()
    # What is listed again but attached by hand is what was asked for: no drift, nothing to do.
    aws.client("iam").attach_group_policy(GroupName="own-testing.ci", PolicyArn=existing)
    again = quiet.invoke("deploy", *ENV, "--yes")
    assert again.code == 0, again.text
    assert attached(aws) == {COMBINED, existing}

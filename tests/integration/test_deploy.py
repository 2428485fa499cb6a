"""The main job on real parts: real Terraform and provider, real HTTP, an AWS that evaluates IAM policies."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from tests.project import Done, Project
from tests.proxy import Answer, Request

if TYPE_CHECKING:
    from tests.conftest import EmbeddedAws
    from tests.integration.conftest import NewProject

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def project(new_project: NewProject) -> Project:
    """One project for the tests below, which build on each other where they say so."""
    made = new_project("road")
    done = made.invoke("bootstrap", "--env", "testing", "--yes")
    assert done.code == 0, done.text
    return made


@pytest.fixture(scope="module")
def deployed(project: Project) -> Done:
    """The first deploy."""
    done = project.invoke("deploy", "--env", "testing", "--yes", "--json")
    assert done.code == 0, done.text
    return done


@pytest.fixture
def quiet(project: Project) -> Iterator[Project]:
    """The project with nothing recorded and nothing broken, before and after."""
    project.proxy.clear()
    yield project
    project.proxy.clear()
    project.write()


def held(aws: EmbeddedAws, name: str = "ci-user/road/testing") -> dict[str, str]:
    answer = aws.client("secretsmanager").get_secret_value(SecretId=name)
    document: dict[str, str] = json.loads(answer["SecretString"])
    return document


def keys(aws: EmbeddedAws, user: str = "road-testing.ci") -> list[dict[str, Any]]:
    listed: list[dict[str, Any]] = aws.client("iam").list_access_keys(UserName=user)["AccessKeyMetadata"]
    return listed


def test_the_first_deploy_makes_the_identity_and_delivers_a_key_that_works(
    deployed: Done, project: Project, aws: EmbeddedAws
) -> None:
    from ci_user.secret import Secret

    report = deployed.json()
    assert report["key_made"]
    document = held(aws)
    assert document["AWS_ACCESS_KEY_ID"] == report["key_id"]
    caller = aws.access.with_key(document["AWS_ACCESS_KEY_ID"], Secret(document["AWS_SECRET_ACCESS_KEY"])).caller()
    assert caller.arn == "arn:aws:iam::000000000000:user/road-testing.ci"
    dotenv = (project.root / ".cache" / "testing.env").read_text()
    assert document["AWS_SECRET_ACCESS_KEY"] in dotenv
    iam = aws.client("iam")
    user = iam.get_user(UserName="road-testing.ci")["User"]
    assert user["PermissionsBoundary"]["PermissionsBoundaryArn"].endswith("policy/road-testing.boundary")
    attached = iam.list_attached_group_policies(GroupName="road-testing.ci")["AttachedPolicies"]
    assert [policy["PolicyName"] for policy in attached] == ["road-testing.policy-sample"]
    assert not iam.list_attached_user_policies(UserName="road-testing.ci")["AttachedPolicies"]


def test_no_secret_reaches_the_state_or_the_journal(deployed: Done, aws: EmbeddedAws) -> None:
    secret = held(aws)["AWS_SECRET_ACCESS_KEY"]
    s3 = aws.client("s3")
    stored = s3.list_objects_v2(Bucket="road-state")["Contents"]
    assert {entry["Key"] for entry in stored} >= {"road/testing/terraform.tfstate", "road/testing/lease.json"}
    for entry in stored:
        assert secret.encode() not in s3.get_object(Bucket="road-state", Key=entry["Key"])["Body"].read()


def test_every_request_to_s3_says_whose_bucket_is_meant(deployed: Done, project: Project) -> None:
    own = [
        r
        for r in project.proxy.requests
        if r.path.startswith("/road-state") and "ci-user/" in r.headers.get("user-agent", "")
    ]
    making = [r for r in own if r.method == "PUT" and r.path.rstrip("/") == "/road-state" and "?" not in r.path]
    assert len(own) > 10
    assert all(r.headers.get("x-amz-expected-bucket-owner") == "000000000000" for r in own if r not in making)
    assert len(making) <= 1


def test_the_mint_tells_the_intent_in_its_user_agent(deployed: Done, project: Project) -> None:
    mints = [request for request in project.proxy.requests if request.action == "CreateAccessKey"]
    assert len(mints) == 1
    assert "ci-user-intent/" in mints[0].headers["user-agent"]


def test_a_second_deploy_is_quiet_and_leaves_everything_alone(deployed: Done, quiet: Project, aws: EmbeddedAws) -> None:
    before = held(aws)
    done = quiet.invoke("deploy", "--env", "testing", "--yes")
    assert done.code == 0, done.text
    assert "nothing to do" in done.out
    assert "skipped" not in done.out
    assert held(aws) == before
    changed = [r.action for r in quiet.proxy.changing if not r.path.startswith("/road-state/")]
    assert changed == []


def test_a_plan_without_changes_exits_0_and_changes_nothing(deployed: Done, quiet: Project) -> None:
    done = quiet.invoke("plan", "--env", "testing", "--json")
    assert done.code == 0, done.text
    assert done.json()["changes"] == []
    written = [r for r in quiet.proxy.changing if not r.path.split("?")[0].endswith(".tflock")]
    assert written == []


def test_status_tells_ids_and_targets_and_no_secret(deployed: Done, quiet: Project, aws: EmbeddedAws) -> None:
    done = quiet.invoke("status", "--env", "testing", "--json")
    assert done.code == 0, done.text
    report = done.json()
    assert report["keys"][0]["id"] == held(aws)["AWS_ACCESS_KEY_ID"]
    assert len(report["keys"][0]["held_by"]) == 2
    assert held(aws)["AWS_SECRET_ACCESS_KEY"] not in done.text
    assert quiet.proxy.changing == []
    assert not [r for r in quiet.proxy.requests if r.action in ("GetSecretValue", "GetParameter")]


def test_a_foreign_group_is_a_finding_and_exits_3(deployed: Done, quiet: Project, aws: EmbeddedAws) -> None:
    iam = aws.client("iam")
    iam.create_group(GroupName="road-admins")
    iam.attach_group_policy(GroupName="road-admins", PolicyArn="arn:aws:iam::aws:policy/AdministratorAccess")
    iam.add_user_to_group(GroupName="road-admins", UserName="road-testing.ci")
    try:
        done = quiet.invoke("deploy", "--env", "testing", "--yes")
    finally:
        iam.remove_user_from_group(GroupName="road-admins", UserName="road-testing.ci")
    assert done.code == 3, done.text
    assert "road-admins" in done.text
    assert "AdministratorAccess" in done.text


def test_what_was_attached_by_hand_is_told_and_taken_off(deployed: Done, quiet: Project, aws: EmbeddedAws) -> None:
    iam = aws.client("iam")
    iam.attach_user_policy(UserName="road-testing.ci", PolicyArn="arn:aws:iam::aws:policy/ReadOnlyAccess")
    planned = quiet.invoke("plan", "--env", "testing")
    assert planned.code == 2, planned.text
    assert "ReadOnlyAccess" in planned.out
    done = quiet.invoke("deploy", "--env", "testing", "--yes")
    assert done.code == 0, done.text
    assert not iam.list_attached_user_policies(UserName="road-testing.ci")["AttachedPolicies"]


def test_a_quarantine_policy_is_never_detached(deployed: Done, quiet: Project, aws: EmbeddedAws) -> None:
    iam = aws.client("iam")
    policy = iam.create_policy(
        PolicyName="AWSCompromisedKeyQuarantineV3",
        PolicyDocument=json.dumps(
            {"Version": "2012-10-17", "Statement": [{"Effect": "Deny", "Action": "ec2:*", "Resource": "*"}]}
        ),
    )["Policy"]["Arn"]
    iam.attach_user_policy(UserName="road-testing.ci", PolicyArn=policy)
    try:
        done = quiet.invoke("deploy", "--env", "testing", "--yes", "--allow-replace")
        assert done.code == 1, done.text
        assert "AWSCompromisedKeyQuarantineV3" in done.text
        attached = iam.list_attached_user_policies(UserName="road-testing.ci")["AttachedPolicies"]
        assert [entry["PolicyArn"] for entry in attached] == [policy]
    finally:
        iam.detach_user_policy(UserName="road-testing.ci", PolicyArn=policy)
        iam.delete_policy(PolicyArn=policy)


def test_another_name_would_replace_the_user_and_is_refused(deployed: Done, quiet: Project, aws: EmbeddedAws) -> None:
    quiet.write(
        application="roads",
        state={"bucket": "road-state", "key": "road/testing/terraform.tfstate"},
        secrets=[{"backend": "aws-secrets-manager", "name": "ci-user/roads/testing"}],
    )
    done = quiet.invoke("deploy", "--env", "testing", "--yes")
    assert done.code == 1, done.text
    assert "module.ci_user.aws_iam_user.this would be renamed (needs --allow-replace)" in done.err
    assert len(keys(aws)) == 1


def test_two_deploys_at_once_one_does_it_and_the_other_names_the_holder(
    deployed: Done, quiet: Project, aws: EmbeddedAws
) -> None:
    first = threading.Event()

    def hold(request: Request) -> Answer | None:
        # The second starts while the first, which has the lease, asks for its first IAM answer.
        if request.action == "GetUser" and not first.is_set():
            first.set()
            results.append(quiet.invoke("deploy", "--env", "testing", "--yes"))
        return None

    results: list[Done] = []
    quiet.proxy.before = hold
    done = quiet.invoke("deploy", "--env", "testing", "--yes")
    assert done.code == 0, done.text
    assert results[0].code == 4, results[0].text
    assert "deploy" in results[0].err
    assert "invoke unlock" in results[0].err
    assert len(keys(aws)) == 1


def test_ctrl_c_releases_the_locks_and_says_how_to_go_on(deployed: Done, quiet: Project) -> None:
    planning = threading.Event()

    def watch(request: Request) -> Answer | None:
        if "APN/1.0 HashiCorp" in request.headers.get("user-agent", "") and request.action == "GetPolicy":
            planning.set()
        return None

    quiet.proxy.before = watch
    process = subprocess.Popen(
        quiet.command("deploy", "--env", "testing", "--yes"),
        cwd=quiet.root,
        env=quiet.environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert planning.wait(60)
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "interrupted" in err
    assert "invoke status" in err
    assert "Traceback" not in out + err
    quiet.proxy.clear()
    again = quiet.invoke("deploy", "--env", "testing", "--yes")
    assert again.code == 0, again.text


def test_a_run_that_was_killed_is_taken_over_at_once_on_the_same_machine(deployed: Done, quiet: Project) -> None:
    started: list[subprocess.Popen[str]] = []

    def kill(request: Request) -> Answer | None:
        if request.action == "GetUser" and started and started[0].poll() is None:
            started[0].kill()
            return Answer(drop=True)
        return None

    quiet.proxy.before = kill
    started.append(
        subprocess.Popen(
            quiet.command("deploy", "--env", "testing", "--yes"),
            cwd=quiet.root,
            env=quiet.environ,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            text=True,
        )
    )
    assert started[0].wait(60) == -signal.SIGKILL
    quiet.proxy.clear()
    status = quiet.invoke("status", "--env", "testing")
    assert "held by" in status.out
    again = quiet.invoke("deploy", "--env", "testing", "--yes", "--lock-timeout", "60s")
    assert again.code == 0, again.text


def test_what_the_account_lost_is_made_again(deployed: Done, quiet: Project, aws: EmbeddedAws) -> None:
    """The embedded AWS after a crash: the state is there, the identity is not."""
    iam = aws.client("iam")
    user = group = "road-testing.ci"
    policy = "arn:aws:iam::000000000000:policy/road-testing.policy-sample"
    for key in keys(aws):
        iam.delete_access_key(UserName=user, AccessKeyId=key["AccessKeyId"])
    iam.remove_user_from_group(UserName=user, GroupName=group)
    iam.delete_user(UserName=user)
    iam.detach_group_policy(GroupName=group, PolicyArn=policy)
    iam.delete_group(GroupName=group)
    iam.delete_policy(PolicyArn=policy)
    done = quiet.invoke("deploy", "--env", "testing", "--yes")
    assert done.code == 0, done.text
    assert [key["AccessKeyId"] for key in keys(aws)] == [held(aws)["AWS_ACCESS_KEY_ID"]]


def test_an_approved_plan_is_applied_in_a_second_job_and_only_with_its_digest(
    deployed: Done, quiet: Project, aws: EmbeddedAws
) -> None:
    quiet.write(tags={"team": "platform"})
    planned = quiet.invoke("plan", "--env", "testing", "--out", "approved plan", "--json")
    assert planned.code == 2, planned.text
    digest = planned.json()["digest"]
    bundle = ("--plan", "approved plan")
    refused = quiet.invoke("deploy", "--env", "testing", *bundle, "--digest", "0" * 64)
    assert refused.code == 1
    assert "digest" in refused.err
    quiet.write(tags={"team": "somebody else"})
    changed = quiet.invoke("deploy", "--env", "testing", *bundle, "--digest", digest)
    assert changed.code == 1
    assert "environment file" in changed.err
    quiet.write(tags={"team": "platform"})
    done = quiet.invoke("deploy", "--env", "testing", *bundle, "--digest", digest)
    assert done.code == 0, done.text
    tags = aws.client("iam").list_user_tags(UserName="road-testing.ci")["Tags"]
    assert {"Key": "team", "Value": "platform"} in tags
    again = quiet.invoke("deploy", "--env", "testing", *bundle, "--digest", digest)
    assert again.code == 1
    assert "state has moved on" in again.err


def test_destroy_takes_everything_away_and_a_second_one_has_nothing_to_do(
    deployed: Done, quiet: Project, aws: EmbeddedAws
) -> None:
    refused = quiet.invoke("destroy", "--env", "testing")
    assert refused.code == 1
    assert "not confirmed" in refused.err
    assert len(keys(aws)) == 1
    done = quiet.invoke("destroy", "--env", "testing", "--yes")
    assert done.code == 0, done.text
    iam = aws.client("iam")
    with pytest.raises(iam.exceptions.NoSuchEntityException):
        iam.get_user(UserName="road-testing.ci")
    left = iam.list_policies(Scope="Local")["Policies"]
    assert not [policy for policy in left if policy["PolicyName"].startswith("road-testing.")]
    assert not (quiet.root / ".cache" / "testing.env").exists()
    again = quiet.invoke("destroy", "--env", "testing", "--yes")
    assert again.code == 0
    assert "nothing to destroy" in again.out

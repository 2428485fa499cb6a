"""The gate on real parts: what is planned and what lives in the account are judged together, before anything is applied."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

from tests.project import Done, Project

if TYPE_CHECKING:
    from tests.conftest import EmbeddedAws
    from tests.integration.conftest import NewProject

pytestmark = pytest.mark.timeout(300)

USER = "judged-testing.ci"
BOUNDARY = "module.ci_user.aws_iam_policy.boundary"
ACCEPTED = [
    Project.accept("CKV_AWS_273", address="module.ci_user.aws_iam_user.this"),
    Project.accept("CKV_AWS_287", "CKV_AWS_289", "CKV_AWS_290", "CKV_AWS_355", address=BOUNDARY),
]
OWN = Project.accept("CKV_AWS_290", address='module.ci_policy["serverless"].aws_iam_policy.this')


@pytest.fixture(scope="module")
def project(new_project: NewProject) -> Project:
    made = new_project("judged")
    made.base |= {"policies": ["serverless"], "accepted_findings": [*ACCEPTED, OWN]}
    made.write()
    assert made.invoke("bootstrap", "--env", "testing", "--yes").code == 0
    return made


@pytest.fixture(scope="module")
def deployed(project: Project) -> Done:
    done = project.invoke("deploy", "--env", "testing", "--yes")
    assert done.code == 0, done.text
    return done


@pytest.fixture
def quiet(project: Project) -> Iterator[Project]:
    project.proxy.clear()
    yield project
    project.proxy.clear()
    project.write()


def policy(action: str | list[str], effect: str = "Allow") -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": effect, "Action": action, "Resource": "*"}]})


def planned(project: Project) -> tuple[int, dict[str, Any]]:
    done = project.invoke("plan", "--env", "testing", "--json")
    assert "Traceback" not in done.text
    return done.code, done.json()


def failed(document: dict[str, Any]) -> set[tuple[str, str]]:
    return {(one["check"], one["resource"]) for one in document["findings"]["failed"]}


def test_the_hardened_policy_passes_with_one_finding_accepted_for_itself(deployed: Done, quiet: Project) -> None:
    code, document = planned(quiet)
    assert (code, failed(document)) == (0, set())
    accepted = [one["check"] for one in document["findings"]["accepted"] if "ci_policy" in one["resource"]]
    assert accepted == ["CKV_AWS_290"]


def test_a_role_a_function_and_a_trust_that_are_there_already_stop_a_deploy(
    deployed: Done, quiet: Project, aws: EmbeddedAws
) -> None:
    iam = aws.client("iam")
    trust = {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"AWS": "arn:aws:iam::999999999999:root"}}
    document = json.dumps({"Version": "2012-10-17", "Statement": [trust]})
    iam.create_role(RoleName="judged-testing-old", AssumeRolePolicyDocument=document)
    try:
        code, found = planned(quiet)
        assert code == 3
        assert failed(found) == {
            ("CIUSER_LIVE_2", 'live.role["judged-testing-old"]'),
            ("CIUSER_LIVE_4", 'live.role["judged-testing-old"]'),
        }
        accepting = [Project.accept("CIUSER_LIVE_2", "CIUSER_LIVE_4", address='live.role["judged-testing-old"]')]
        quiet.write(accepted_findings=[*ACCEPTED, OWN, *accepting])
        code, found = planned(quiet)
        assert code == 3
        assert failed(found) == {("CIUSER_LIVE_2", 'live.role["judged-testing-old"]')}
    finally:
        iam.delete_role(RoleName="judged-testing-old")
    assert not quiet.proxy.changing


def test_the_policies_of_a_foreign_group_are_judged_with_the_planned_ones(
    deployed: Done, quiet: Project, aws: EmbeddedAws
) -> None:
    iam = aws.client("iam")
    with ExitStack() as undo:
        iam.create_group(GroupName="judged-people")
        undo.callback(iam.delete_group, GroupName="judged-people")
        iam.put_group_policy(
            GroupName="judged-people", PolicyName="p", PolicyDocument=policy(["ssm:SendCommand", "sts:AssumeRole"])
        )
        undo.callback(iam.delete_group_policy, GroupName="judged-people", PolicyName="p")
        iam.add_user_to_group(GroupName="judged-people", UserName=USER)
        undo.callback(iam.remove_user_from_group, GroupName="judged-people", UserName=USER)
        code, found = planned(quiet)
    assert code == 3
    address = "module.ci_user.aws_iam_user.this"
    assert failed(found) == {("CIUSER_LIVE_1", address), ("CIUSER_LIVE_2", address)}
    (path,) = [one["message"] for one in found["findings"]["failed"] if one["check"] == "CIUSER_LIVE_2"]
    # The boundary denies AssumeRole, so only the other one is left.
    assert "ssm:SendCommand" in path
    assert "AssumeRole" not in path


def test_what_was_attached_by_hand_is_weighed_and_the_deploy_that_takes_it_off_is_not_stopped(
    deployed: Done, quiet: Project, aws: EmbeddedAws
) -> None:
    iam = aws.client("iam")
    iam.put_user_policy(UserName=USER, PolicyName="byhand", PolicyDocument=policy("codebuild:StartBuild"))
    done = quiet.invoke("deploy", "--env", "testing", "--yes")
    assert done.code == 0, done.text
    assert "inline policy byhand of the user: with it, it can become more than it is" in done.out
    assert not iam.list_user_policies(UserName=USER)["PolicyNames"]


def test_an_existing_policy_is_judged_by_what_is_in_it_now(deployed: Done, quiet: Project, aws: EmbeddedAws) -> None:
    iam = aws.client("iam")
    arn = iam.create_policy(PolicyName="judged-extra", PolicyDocument=policy("sqs:ListQueues"))["Policy"]["Arn"]
    quiet.write(policies=["serverless", {"arn": arn}])
    code, found = planned(quiet)
    assert (code, failed(found)) == (2, set())
    iam.create_policy_version(PolicyArn=arn, PolicyDocument=policy("codebuild:StartBuild"), SetAsDefault=True)
    code, found = planned(quiet)
    assert code == 3
    assert failed(found) == {("CIUSER_8", "module.ci_user.aws_iam_user.this")}
    iam.create_policy_version(
        PolicyArn=arn,
        PolicyDocument=policy("codebuild:StartBuild").replace(
            '"Resource": "*"', '"Resource": "arn:aws:codebuild:eu-west-1:000000000000:project/app"'
        ),
        SetAsDefault=True,
    )
    code, found = planned(quiet)
    assert code == 3
    assert failed(found) == {("CIUSER_9", "module.ci_user.aws_iam_user.this")}
    assert not quiet.proxy.changing
    missing = arn.replace("judged-extra", "judged-none")
    quiet.write(policies=["serverless", {"arn": missing}])
    done = quiet.invoke("plan", "--env", "testing")
    assert done.code == 1
    assert f"there is no policy {missing}" in done.err


def test_another_environment_of_the_account_is_out_of_reach(deployed: Done, quiet: Project) -> None:
    neighbour = quiet.write(
        "staging",
        secrets=[{"backend": "aws-secrets-manager", "name": "ci-user/judged/staging"}],
        policies=["read-only"],
    )
    (quiet.root / "policies").mkdir(exist_ok=True)
    own = quiet.root / "policies" / "own.json"
    own.write_text(policy("dynamodb:DeleteTable"))
    try:
        quiet.write(policies=[{"file": "policies/own.json"}], accepted_findings=ACCEPTED)
        code, found = planned(quiet)
    finally:
        neighbour.unlink()
        own.unlink()
    assert code == 3
    (reached,) = [one for one in found["findings"]["failed"] if one["check"] == "CIUSER_11"]
    assert "touches the environment staging: dynamodb:{DeleteTable}" in reached["message"]

"""The public catalogues, entry by entry: the least permissions of each open its path, and any one of them denied closes it."""

from __future__ import annotations

import json

import pytest

from ci_user.policy import catalogue
from ci_user.policy.escalation import escalation
from ci_user.policy.holder import Holder
from ci_user.policy.methods import EXISTING, PASSING
from ci_user.policy.statement import Statement, parse

# https://pathfinding.cloud, all 65 entries of 2025-12-17 with the permissions that they call required.
PATHFINDING = {
    "apprunner-001": "iam:PassRole apprunner:CreateService",
    "apprunner-002": "apprunner:UpdateService",
    "bedrock-001": "iam:PassRole bedrock-agentcore:CreateCodeInterpreter bedrock-agentcore:StartCodeInterpreterSession "
    "bedrock-agentcore:InvokeCodeInterpreter",
    "bedrock-002": "bedrock-agentcore:StartCodeInterpreterSession bedrock-agentcore:InvokeCodeInterpreter",
    "cloudformation-001": "iam:PassRole cloudformation:CreateStack",
    "cloudformation-002": "cloudformation:UpdateStack",
    "cloudformation-003": "iam:PassRole cloudformation:CreateStackSet cloudformation:CreateStackInstances",
    "cloudformation-004": "iam:PassRole cloudformation:UpdateStackSet",
    "cloudformation-005": "cloudformation:CreateChangeSet cloudformation:ExecuteChangeSet",
    "codebuild-001": "iam:PassRole codebuild:CreateProject codebuild:StartBuild",
    "codebuild-002": "codebuild:StartBuild",
    "codebuild-003": "codebuild:StartBuildBatch",
    "codebuild-004": "iam:PassRole codebuild:CreateProject codebuild:StartBuildBatch",
    "datapipeline-001": "iam:PassRole datapipeline:CreatePipeline datapipeline:PutPipelineDefinition "
    "datapipeline:ActivatePipeline",
    "ec2-001": "iam:PassRole ec2:RunInstances",
    "ec2-002": "ec2:ModifyInstanceAttribute ec2:StopInstances ec2:StartInstances",
    "ec2-003": "iam:PassRole ec2:RequestSpotInstances",
    "ec2-004": "ec2:CreateLaunchTemplateVersion ec2:ModifyLaunchTemplate",
    "ec2instanceconnect-003": "ec2-instance-connect:SendSSHPublicKey ec2:DescribeInstances",
    "ecs-001": "iam:PassRole ecs:CreateCluster ecs:RegisterTaskDefinition ecs:CreateService",
    "ecs-002": "iam:PassRole ecs:CreateCluster ecs:RegisterTaskDefinition ecs:RunTask",
    "ecs-003": "iam:PassRole ecs:RegisterTaskDefinition ecs:CreateService",
    "ecs-004": "iam:PassRole ecs:RegisterTaskDefinition ecs:RunTask",
    "ecs-005": "iam:PassRole ecs:RegisterTaskDefinition ecs:StartTask",
    "glue-001": "iam:PassRole glue:CreateDevEndpoint",
    "glue-002": "glue:UpdateDevEndpoint",
    "glue-003": "iam:PassRole glue:CreateJob glue:StartJobRun",
    "glue-004": "iam:PassRole glue:CreateJob glue:CreateTrigger",
    "glue-005": "iam:PassRole glue:UpdateJob glue:StartJobRun",
    "glue-006": "iam:PassRole glue:UpdateJob glue:CreateTrigger",
    "iam-001": "iam:CreatePolicyVersion",
    "iam-002": "iam:CreateAccessKey",
    "iam-003": "iam:CreateAccessKey iam:DeleteAccessKey",
    "iam-004": "iam:CreateLoginProfile",
    "iam-005": "iam:PutRolePolicy",
    "iam-006": "iam:UpdateLoginProfile",
    "iam-007": "iam:PutUserPolicy",
    "iam-008": "iam:AttachUserPolicy",
    "iam-009": "iam:AttachRolePolicy",
    "iam-010": "iam:AttachGroupPolicy",
    "iam-011": "iam:PutGroupPolicy",
    "iam-012": "iam:UpdateAssumeRolePolicy",
    "iam-013": "iam:AddUserToGroup",
    "iam-014": "iam:AttachRolePolicy sts:AssumeRole",
    "iam-015": "iam:AttachUserPolicy iam:CreateAccessKey",
    "iam-016": "iam:CreatePolicyVersion sts:AssumeRole",
    "iam-017": "iam:PutRolePolicy sts:AssumeRole",
    "iam-018": "iam:PutUserPolicy iam:CreateAccessKey",
    "iam-019": "iam:AttachRolePolicy iam:UpdateAssumeRolePolicy",
    "iam-020": "iam:CreatePolicyVersion iam:UpdateAssumeRolePolicy",
    "iam-021": "iam:PutRolePolicy iam:UpdateAssumeRolePolicy",
    "lambda-001": "iam:PassRole lambda:CreateFunction lambda:InvokeFunction",
    "lambda-002": "iam:PassRole lambda:CreateFunction lambda:CreateEventSourceMapping",
    "lambda-003": "lambda:UpdateFunctionCode",
    "lambda-004": "lambda:UpdateFunctionCode lambda:InvokeFunction",
    "lambda-005": "lambda:UpdateFunctionCode lambda:AddPermission",
    "lambda-006": "iam:PassRole lambda:CreateFunction lambda:AddPermission",
    "sagemaker-001": "iam:PassRole sagemaker:CreateNotebookInstance",
    "sagemaker-002": "iam:PassRole sagemaker:CreateTrainingJob",
    "sagemaker-003": "iam:PassRole sagemaker:CreateProcessingJob",
    "sagemaker-004": "sagemaker:CreatePresignedNotebookInstanceUrl",
    "sagemaker-005": "sagemaker:CreateNotebookInstanceLifecycleConfig sagemaker:StopNotebookInstance "
    "sagemaker:UpdateNotebookInstance sagemaker:StartNotebookInstance",
    "ssm-001": "ssm:StartSession",
    "ssm-002": "ssm:SendCommand",
    "sts-001": "sts:AssumeRole",
}

# https://rhinosecuritylabs.com/aws/aws-privilege-escalation-methods-mitigation/ (parts 1 and 2), and pairs in neither list.
OTHERS = {
    "creating a new policy version": "iam:CreatePolicyVersion",
    "setting the default policy version to an existing version": "iam:SetDefaultPolicyVersion",
    "an EC2 instance with an existing profile": "iam:PassRole ec2:RunInstances",
    "a new user access key": "iam:CreateAccessKey",
    "a new login profile": "iam:CreateLoginProfile",
    "an existing login profile": "iam:UpdateLoginProfile",
    "a policy attached to a user": "iam:AttachUserPolicy",
    "a policy attached to a group": "iam:AttachGroupPolicy",
    "a policy attached to a role": "iam:AttachRolePolicy",
    "an inline policy of a user": "iam:PutUserPolicy",
    "an inline policy of a group": "iam:PutGroupPolicy",
    "an inline policy of a role": "iam:PutRolePolicy",
    "a user added to a group": "iam:AddUserToGroup",
    "the trust policy of a role": "iam:UpdateAssumeRolePolicy",
    "a role passed to a new function that is invoked": "iam:PassRole lambda:CreateFunction lambda:InvokeFunction",
    "a role passed to a new function with a trigger": "iam:PassRole lambda:CreateFunction lambda:CreateEventSourceMapping",
    "the code of an existing function": "lambda:UpdateFunctionCode",
    "a layer for an existing function": "lambda:UpdateFunctionConfiguration",
    "a role passed to a Glue endpoint": "iam:PassRole glue:CreateDevEndpoint",
    "an existing Glue endpoint": "glue:UpdateDevEndpoint",
    "a role passed to CloudFormation": "iam:PassRole cloudformation:CreateStack",
    "a role passed to Data Pipeline": "iam:PassRole datapipeline:CreatePipeline datapipeline:PutPipelineDefinition "
    "datapipeline:ActivatePipeline",
    "a CodeStar project": "iam:PassRole codestar:CreateProject",
    "a CodeStar team": "codestar:AssociateTeamMember",
    "a role passed to a SageMaker notebook": "iam:PassRole sagemaker:CreateNotebookInstance",
    "an existing SageMaker notebook": "sagemaker:CreatePresignedNotebookInstanceUrl",
    "a new role with an inline policy": "iam:CreateRole iam:PutRolePolicy",
    "a new role with a policy attached": "iam:CreateRole iam:AttachRolePolicy",
    "a new user with an inline policy and a key": "iam:CreateUser iam:PutUserPolicy iam:CreateAccessKey",
    "a new user in a group, with a password": "iam:CreateUser iam:AddUserToGroup iam:CreateLoginProfile",
    "a role passed to a state machine": "iam:PassRole states:CreateStateMachine states:StartExecution",
    "a role passed to a schedule": "iam:PassRole scheduler:CreateSchedule",
    "a role put into an instance profile": "iam:PassRole iam:AddRoleToInstanceProfile",
    "a role passed to API Gateway": "iam:PassRole apigateway:POST",
    "a shell in a running task": "ecs:ExecuteCommand",
    "the trust in a SAML provider": "iam:UpdateSAMLProvider",
    "a permission set of Identity Center": "sso:PutInlinePolicyToPermissionSet",
}


def allowed(actions: str, resource: str = "*") -> list[dict[str, object]]:
    return [{"Effect": "Allow", "Action": action, "Resource": resource} for action in actions.split()]


def policy(pieces: list[dict[str, object]]) -> tuple[Statement, ...]:
    return parse(json.dumps({"Version": "2012-10-17", "Statement": pieces}), "p")


def ids(pieces: list[dict[str, object]]) -> set[str]:
    return {one for path in escalation(Holder(policy(pieces))).paths for one in path.ids}


@pytest.mark.parametrize("name", PATHFINDING)
def test_each_entry_of_pathfinding_cloud_is_found_by_its_name(name: str) -> None:
    assert name in ids(allowed(PATHFINDING[name]))


@pytest.mark.parametrize("name", OTHERS)
def test_what_other_lists_have_and_what_no_list_has_is_found(name: str) -> None:
    assert escalation(Holder(policy(allowed(OTHERS[name])))).verdict == "escalates"


SUPPLEMENTS = {
    "ec2:DescribeInstances",
    "iam:DeleteAccessKey",
    "sts:AssumeRole",
    "iam:CreateAccessKey",
    "iam:UpdateAssumeRolePolicy",
}
"""What an entry names, although its path is open without it: it makes it easier."""


@pytest.mark.parametrize("name", PATHFINDING)
def test_without_any_one_of_its_permissions_an_entry_is_closed(name: str) -> None:
    actions = PATHFINDING[name].split()
    for action in actions:
        if action in SUPPLEMENTS and len(actions) > 1:
            continue
        assert name not in ids([*allowed(PATHFINDING[name]), {"Effect": "Deny", "Action": action, "Resource": "*"}])
        assert name not in ids(allowed(" ".join(one for one in actions if one != action)) or allowed("s3:GetObject"))


@pytest.mark.parametrize("name", PATHFINDING)
def test_an_entry_on_things_that_others_made_is_not_safe(name: str) -> None:
    found = escalation(Holder(policy(allowed(PATHFINDING[name], "arn:aws:*:*:123456789012:*app*"))))
    reachable = [one for one in PATHFINDING[name].split() if one not in SUPPLEMENTS]
    known = [catalogue.action(one) for one in reachable]
    if all(one is not None and one.resource_types for one in known):
        assert found.verdict in ("unknown", "escalates"), "\n".join(found.lines())


def test_every_action_of_the_tables_is_one_that_iam_knows() -> None:
    gone = {"codestar"}
    actions = {action for method in (*PASSING, *EXISTING) for action in method.actions}
    actions |= {maker for method in EXISTING for maker in method.makers}
    unknown = {one for one in actions if catalogue.action(one) is None and one.split(":")[0] not in gone}
    assert not unknown

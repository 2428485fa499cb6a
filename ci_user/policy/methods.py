"""The known ways to become more than one is, as tables: what each takes, and what it finds in an account.

Numbered as in https://pathfinding.cloud (2025-12); ``rhino`` ones are of
https://rhinosecuritylabs.com/aws/aws-privilege-escalation-methods-mitigation/; the others are in neither list.
Those on IAM's own users, groups, roles and policies are in ``escalation.py`` and ``escalation_principals.py``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class PassingMethod:
    """A role is passed to a service, which then works for the holder with the role's rights.

    Args:
        id: Its name in the catalogues.
        services: The service principals that may get the role.
        actions: What it takes besides ``iam:PassRole``; each on any resource.
    """

    id: str
    services: tuple[str, ...]
    actions: tuple[str, ...]


@dataclass(frozen=True)
class ExistingMethod:
    """Something that has a role already is made to work for the holder, without passing the role.

    Args:
        id: Its name in the catalogues.
        thing: What must be there, in words.
        actions: What it takes; the first is on the thing itself.
        makers: The actions that make such a thing: who makes them itself finds there what it could have done anyway.
    """

    id: str
    thing: str
    actions: tuple[str, ...]
    makers: tuple[str, ...]


def _passing(id_: str, services: str, actions: str) -> PassingMethod:
    return PassingMethod(id_, tuple(f"{one}.amazonaws.com" for one in services.split()), tuple(actions.split()))


def _existing(id_: str, thing: str, actions: str, makers: str = "") -> ExistingMethod:
    return ExistingMethod(id_, thing, tuple(actions.split()), tuple(makers.split()))


PASSING: Final = (
    _passing("apprunner-001", "tasks.apprunner build.apprunner", "apprunner:CreateService"),
    _passing(
        "bedrock-001",
        "bedrock-agentcore",
        "bedrock-agentcore:CreateCodeInterpreter bedrock-agentcore:StartCodeInterpreterSession "
        "bedrock-agentcore:InvokeCodeInterpreter",
    ),
    _passing("cloudformation-001", "cloudformation", "cloudformation:CreateStack"),
    _passing(
        "cloudformation-003", "cloudformation", "cloudformation:CreateStackSet cloudformation:CreateStackInstances"
    ),
    _passing("cloudformation-004", "cloudformation", "cloudformation:UpdateStackSet"),
    _passing("cloudformation-005", "cloudformation", "cloudformation:CreateChangeSet cloudformation:ExecuteChangeSet"),
    _passing("update-stack", "cloudformation", "cloudformation:UpdateStack"),
    _passing("codebuild-001", "codebuild", "codebuild:CreateProject codebuild:StartBuild"),
    _passing("codebuild-004", "codebuild", "codebuild:CreateProject codebuild:StartBuildBatch"),
    _passing("update-project", "codebuild", "codebuild:UpdateProject codebuild:StartBuild"),
    _passing(
        "datapipeline-001",
        "datapipeline elasticmapreduce ec2",
        "datapipeline:CreatePipeline datapipeline:PutPipelineDefinition datapipeline:ActivatePipeline",
    ),
    _passing("ec2-001", "ec2", "ec2:RunInstances"),
    _passing("ec2-003", "ec2 spotfleet", "ec2:RequestSpotInstances"),
    _passing("create-fleet", "ec2 spotfleet", "ec2:CreateFleet"),
    _passing("instance-profile", "ec2", "ec2:AssociateIamInstanceProfile"),
    _passing("instance-profile", "ec2", "ec2:ReplaceIamInstanceProfileAssociation"),
    _passing("role-in-profile", "ec2", "iam:AddRoleToInstanceProfile"),
    _passing("auto-scaling", "ec2", "autoscaling:CreateLaunchConfiguration autoscaling:CreateAutoScalingGroup"),
    _passing("ecs-001", "ecs-tasks", "ecs:CreateCluster ecs:RegisterTaskDefinition ecs:CreateService"),
    _passing("ecs-002", "ecs-tasks", "ecs:CreateCluster ecs:RegisterTaskDefinition ecs:RunTask"),
    _passing("ecs-003", "ecs-tasks", "ecs:RegisterTaskDefinition ecs:CreateService"),
    _passing("ecs-004", "ecs-tasks", "ecs:RegisterTaskDefinition ecs:RunTask"),
    _passing("ecs-005", "ecs-tasks", "ecs:RegisterTaskDefinition ecs:StartTask"),
    _passing("ecs-run", "ecs-tasks", "ecs:RunTask"),
    _passing("glue-001", "glue", "glue:CreateDevEndpoint"),
    _passing("glue-003", "glue", "glue:CreateJob glue:StartJobRun"),
    _passing("glue-004", "glue", "glue:CreateJob glue:CreateTrigger"),
    _passing("glue-005", "glue", "glue:UpdateJob glue:StartJobRun"),
    _passing("glue-006", "glue", "glue:UpdateJob glue:CreateTrigger"),
    _passing("glue-session", "glue", "glue:CreateSession glue:RunStatement"),
    _passing("lambda-001", "lambda", "lambda:CreateFunction lambda:InvokeFunction"),
    _passing("lambda-002", "lambda", "lambda:CreateFunction lambda:CreateEventSourceMapping"),
    _passing("lambda-006", "lambda", "lambda:CreateFunction lambda:AddPermission"),
    _passing("function-url", "lambda", "lambda:CreateFunction lambda:CreateFunctionUrlConfig"),
    _passing("function-role", "lambda", "lambda:UpdateFunctionConfiguration lambda:UpdateFunctionCode"),
    _passing("sagemaker-001", "sagemaker", "sagemaker:CreateNotebookInstance"),
    _passing("sagemaker-002", "sagemaker", "sagemaker:CreateTrainingJob"),
    _passing("sagemaker-003", "sagemaker", "sagemaker:CreateProcessingJob"),
    _passing("state-machine", "states", "states:CreateStateMachine states:StartExecution"),
    _passing("state-machine", "states", "states:UpdateStateMachine states:StartExecution"),
    _passing("rule-target", "events ecs-tasks", "events:PutRule events:PutTargets"),
    _passing("schedule", "scheduler", "scheduler:CreateSchedule"),
    _passing("batch", "ecs-tasks batch", "batch:RegisterJobDefinition batch:SubmitJob"),
    _passing("job-flow", "elasticmapreduce ec2", "elasticmapreduce:RunJobFlow"),
    _passing("emr-serverless", "emr-serverless", "emr-serverless:StartJobRun"),
    _passing("automation", "ssm", "ssm:StartAutomationExecution"),
    _passing("code-pipeline", "codepipeline", "codepipeline:CreatePipeline"),
    _passing("code-pipeline", "codepipeline", "codepipeline:UpdatePipeline"),
    _passing("identity-pool", "cognito-identity", "cognito-identity:SetIdentityPoolRoles"),
    _passing("pod-identity", "pods.eks", "eks:CreatePodIdentityAssociation"),
    _passing("apigateway", "apigateway", "apigateway:POST"),
    _passing("apigateway", "apigateway", "apigateway:PUT"),
    _passing("appsync", "appsync", "appsync:CreateDataSource"),
    _passing("amplify", "amplify", "amplify:CreateApp"),
    _passing("anywhere", "rolesanywhere", "rolesanywhere:CreateProfile"),
    _passing("role-alias", "iot credentials.iot", "iot:CreateRoleAlias"),
    _passing("fault-injection", "fis", "fis:CreateExperimentTemplate fis:StartExperiment"),
    _passing("airflow", "airflow airflow-env", "airflow:CreateEnvironment"),
    _passing("image-builder", "ec2 imagebuilder", "imagebuilder:CreateInfrastructureConfiguration"),
    _passing("rhino: codestar", "codestar", "codestar:CreateProject"),
)

EXISTING: Final = (
    _existing("apprunner-002", "an App Runner service", "apprunner:UpdateService", "apprunner:CreateService"),
    _existing(
        "bedrock-002",
        "a code interpreter",
        "bedrock-agentcore:StartCodeInterpreterSession bedrock-agentcore:InvokeCodeInterpreter",
        "bedrock-agentcore:CreateCodeInterpreter",
    ),
    _existing(
        "cloudformation-002",
        "a stack with a service role",
        "cloudformation:UpdateStack",
        "cloudformation:CreateStack",
    ),
    _existing(
        "cloudformation-005",
        "a stack with a service role",
        "cloudformation:CreateChangeSet cloudformation:ExecuteChangeSet",
        "cloudformation:CreateStack",
    ),
    _existing("stack-set", "a stack set", "cloudformation:UpdateStackSet", "cloudformation:CreateStackSet"),
    _existing("codebuild-002", "a build project", "codebuild:StartBuild", "codebuild:CreateProject"),
    _existing("codebuild-003", "a build project", "codebuild:StartBuildBatch", "codebuild:CreateProject"),
    _existing("codebuild", "a build project", "codebuild:UpdateProject", "codebuild:CreateProject"),
    _existing("datapipeline", "a data pipeline", "datapipeline:PutPipelineDefinition", "datapipeline:CreatePipeline"),
    _existing(
        "ec2-002",
        "an instance with a profile",
        "ec2:ModifyInstanceAttribute ec2:StopInstances ec2:StartInstances",
        "ec2:RunInstances",
    ),
    _existing(
        "ec2-004",
        "a launch template that an Auto Scaling group uses",
        "ec2:CreateLaunchTemplateVersion ec2:ModifyLaunchTemplate",
        "ec2:CreateLaunchTemplate",
    ),
    _existing(
        "ec2instanceconnect-003",
        "an instance with a profile",
        "ec2-instance-connect:SendSSHPublicKey",
        "ec2:RunInstances",
    ),
    _existing(
        "serial-console", "an instance", "ec2-instance-connect:SendSerialConsoleSSHPublicKey", "ec2:RunInstances"
    ),
    _existing("ecs-execute", "a task with a role", "ecs:ExecuteCommand", "ecs:RunTask"),
    _existing("glue-002", "a development endpoint", "glue:UpdateDevEndpoint", "glue:CreateDevEndpoint"),
    _existing("glue-session", "an interactive session", "glue:RunStatement", "glue:CreateSession"),
    _existing("lambda-003", "a function", "lambda:UpdateFunctionCode", "lambda:CreateFunction"),
    _existing("lambda-004", "a function", "lambda:UpdateFunctionCode lambda:InvokeFunction", "lambda:CreateFunction"),
    _existing("lambda-005", "a function", "lambda:UpdateFunctionCode lambda:AddPermission", "lambda:CreateFunction"),
    _existing("rhino: layer", "a function", "lambda:UpdateFunctionConfiguration", "lambda:CreateFunction"),
    _existing(
        "sagemaker-004",
        "a notebook instance",
        "sagemaker:CreatePresignedNotebookInstanceUrl",
        "sagemaker:CreateNotebookInstance",
    ),
    _existing(
        "sagemaker-005",
        "a notebook instance",
        "sagemaker:UpdateNotebookInstance sagemaker:CreateNotebookInstanceLifecycleConfig "
        "sagemaker:StopNotebookInstance sagemaker:StartNotebookInstance",
        "sagemaker:CreateNotebookInstance",
    ),
    _existing("presigned-domain", "a SageMaker domain", "sagemaker:CreatePresignedDomainUrl", "sagemaker:CreateDomain"),
    _existing("ssm-001", "a managed instance with a profile", "ssm:StartSession", "ec2:RunInstances"),
    _existing("ssm-002", "a managed instance with a profile", "ssm:SendCommand", "ec2:RunInstances"),
    _existing("ssm-association", "a managed instance with a profile", "ssm:CreateAssociation", "ec2:RunInstances"),
    _existing("state-machine", "a state machine", "states:UpdateStateMachine", "states:CreateStateMachine"),
    _existing("batch", "a job definition", "batch:SubmitJob", "batch:RegisterJobDefinition"),
    _existing("job-flow", "a cluster", "elasticmapreduce:AddJobFlowSteps", "elasticmapreduce:RunJobFlow"),
    _existing("airflow", "an Airflow environment", "airflow:CreateCliToken", "airflow:CreateEnvironment"),
    _existing("airflow", "an Airflow environment", "airflow:CreateWebLoginToken", "airflow:CreateEnvironment"),
    _existing("cloud9", "a Cloud9 environment", "cloud9:CreateEnvironmentMembership", "cloud9:CreateEnvironmentEC2"),
    _existing("rhino: codestar", "a CodeStar project", "codestar:AssociateTeamMember", "codestar:CreateProject"),
    _existing("saml", "a SAML provider that roles trust", "iam:UpdateSAMLProvider", "iam:CreateSAMLProvider"),
    _existing(
        "oidc",
        "an OIDC provider that roles trust",
        "iam:UpdateOpenIDConnectProviderThumbprint",
        "iam:CreateOpenIDConnectProvider",
    ),
    _existing(
        "oidc",
        "an OIDC provider that roles trust",
        "iam:AddClientIDToOpenIDConnectProvider",
        "iam:CreateOpenIDConnectProvider",
    ),
    _existing("anywhere", "a trust anchor that roles trust", "rolesanywhere:UpdateTrustAnchor", ""),
    _existing("identity-center", "IAM Identity Center", "sso:CreateAccountAssignment", ""),
    _existing("identity-center", "IAM Identity Center", "sso:PutInlinePolicyToPermissionSet", ""),
    _existing("identity-center", "IAM Identity Center", "sso:AttachManagedPolicyToPermissionSet", ""),
    _existing("identity-center", "IAM Identity Center", "sso:AttachCustomerManagedPolicyReferenceToPermissionSet", ""),
    _existing("identity-center", "IAM Identity Center", "identitystore:CreateGroupMembership", ""),
    _existing("kubernetes", "a cluster whose pods have roles", "eks:AssociateAccessPolicy eks:CreateAccessEntry", ""),
)

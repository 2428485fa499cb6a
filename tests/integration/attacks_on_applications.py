"""Attacks on what pipelines deploy: another environment's, the CI keys' own, and in other regions."""

from __future__ import annotations

import dataclasses
from typing import Any, Final

from tests.integration.attacks import BUCKETS, IDENTITIES, ROLES, Attack, Call, Make, identity, of_other
from tests.integration.serverless_world import Client, World
from tests.integration.things import Thing, Things, package, template


def _secret(world: World, client: Client, thing: Thing) -> Any:
    return client("secretsmanager", thing.region).get_secret_value(SecretId=thing.name)


def _code(world: World, client: Client, thing: Thing) -> Any:
    return client("lambda", thing.region).update_function_code(FunctionName=thing.name, ZipFile=package())


def _invoked(world: World, client: Client, thing: Thing) -> Any:
    return client("lambda", thing.region).invoke(FunctionName=thing.name, InvocationType="DryRun")


def _logs(world: World, client: Client, thing: Thing) -> Any:
    return client("logs", thing.region).create_log_group(logGroupName=thing.name)


def _stack(world: World, client: Client, thing: Thing) -> Any:
    return client("cloudformation", thing.region).create_stack(
        StackName=thing.name, TemplateBody=template(f"/aws/lambda/{thing.name}")
    )


def _updated(world: World, client: Client, thing: Thing) -> Any:
    return client("cloudformation", thing.region).update_stack(
        StackName=thing.name, TemplateBody=template(f"/aws/lambda/{thing.name}-b")
    )


def _cluster(world: World, client: Client, thing: Thing) -> Any:
    return client("rds", thing.region).create_db_cluster(
        DBClusterIdentifier=thing.name, Engine="aurora-mysql", MasterUsername="root", MasterUserPassword="a-Secret1"
    )


def _api(world: World, client: Client, thing: Thing) -> Any:
    return client("apigatewayv2", thing.region).create_api(Name=thing.name, ProtocolType="HTTP")


def _route(world: World, client: Client, thing: Thing) -> Any:
    return client("apigatewayv2", thing.region).create_route(ApiId=thing.name, RouteKey="GET /")


SECRETS: Final[dict[str, Attack]] = {
    "a secret, to read": of_other("secretsmanager:GetSecretValue", Things.secret, _secret),
    "a secret gone": of_other(
        "secretsmanager:DeleteSecret",
        Things.secret,
        lambda w, c, t: c("secretsmanager").delete_secret(SecretId=t.name, ForceDeleteWithoutRecovery=True),
    ),
    "a secret's tags": of_other(
        "secretsmanager:TagResource",
        Things.secret,
        lambda w, c, t: c("secretsmanager").tag_resource(SecretId=t.name, Tags=[{"Key": "a", "Value": "b"}]),
    ),
    "a new secret": of_other(
        "secretsmanager:CreateSecret",
        Things.name,
        lambda w, c, t: c("secretsmanager").create_secret(Name=t.name, SecretString="{}"),
    ),
    "the CI keys, to read": Attack(
        "secretsmanager:GetSecretValue", Things.key_secret, _secret, Things.secret, stopped=True
    ),
    "the CI keys gone": Attack(
        "secretsmanager:DeleteSecret",
        Things.key_secret,
        lambda w, c, t: c("secretsmanager").delete_secret(SecretId=t.name, ForceDeleteWithoutRecovery=True),
        Things.secret,
        stopped=True,
    ),
    "the CI keys' parameter, to read": identity(
        "ssm:GetParameter",
        Things.key_parameter,
        lambda w, c, t: c("ssm").get_parameter(Name=t.name, WithDecryption=True),
    ),
    "the CI keys' KMS key": identity(
        "kms:Encrypt", Things.name, lambda w, c, t: c("kms").encrypt(KeyId=w.kms_key, Plaintext=b"x")
    ),
}

APPLICATIONS: Final[dict[str, Attack]] = {
    "a function's code": of_other("lambda:UpdateFunctionCode", Things.function, _code, stopped=True),
    "a function's settings": of_other(
        "lambda:UpdateFunctionConfiguration",
        Things.function,
        lambda w, c, t: c("lambda").update_function_configuration(FunctionName=t.name, Timeout=9),
        stopped=True,
    ),
    "a function's code and variables, to read": of_other(
        "lambda:GetFunction", Things.function, lambda w, c, t: c("lambda").get_function(FunctionName=t.name)
    ),
    "a function gone": of_other(
        "lambda:DeleteFunction", Things.function, lambda w, c, t: c("lambda").delete_function(FunctionName=t.name)
    ),
    "a function that runs": of_other("lambda:InvokeFunction", Things.function, _invoked),
    "a log group": of_other("logs:CreateLogGroup", Things.group_name, _logs),
    "a log group gone": of_other(
        "logs:DeleteLogGroup", Things.log_group, lambda w, c, t: c("logs").delete_log_group(logGroupName=t.name)
    ),
    "a stack": of_other("cloudformation:CreateStack", Things.name, _stack),
    "another template for a stack": of_other("cloudformation:UpdateStack", Things.stack, _updated, stopped=True),
    "a stack gone": of_other(
        "cloudformation:DeleteStack",
        Things.stack,
        lambda w, c, t: c("cloudformation").delete_stack(StackName=t.name),
        stopped=True,
    ),
    "a stack's outputs": of_other(
        "cloudformation:DescribeStacks",
        Things.stack,
        lambda w, c, t: c("cloudformation").describe_stacks(StackName=t.name),
    ),
    "a cluster": of_other("rds:CreateDBCluster", Things.name, _cluster),
    "a cluster's password": of_other(
        "rds:ModifyDBCluster",
        Things.cluster,
        lambda w, c, t: c("rds").modify_db_cluster(
            DBClusterIdentifier=t.name, MasterUserPassword="an-Other1", ApplyImmediately=True
        ),
    ),
    "a copy of a cluster": of_other(
        "rds:CreateDBClusterSnapshot",
        Things.cluster,
        lambda w, c, t: c("rds").create_db_cluster_snapshot(
            DBClusterSnapshotIdentifier=f"{t.name}-copy", DBClusterIdentifier=t.name
        ),
    ),
    "a cluster gone": of_other(
        "rds:DeleteDBCluster",
        Things.cluster,
        lambda w, c, t: c("rds").delete_db_cluster(DBClusterIdentifier=t.name, SkipFinalSnapshot=True),
    ),
}


def _elsewhere(action: str, make: Make, call: Call, unjudged: str = "") -> Attack:
    return Attack(action, lambda things: make(things.elsewhere), call, make, unjudged=unjudged)


REGIONS: Final[dict[str, Attack]] = {
    "a secret, to read": _elsewhere("secretsmanager:GetSecretValue", Things.secret, _secret),
    "a function's code": _elsewhere("lambda:UpdateFunctionCode", Things.function, _code),
    "a log group": _elsewhere("logs:CreateLogGroup", Things.group_name, _logs),
    "a stack": _elsewhere("cloudformation:CreateStack", Things.name, _stack),
    "a cluster": _elsewhere("rds:CreateDBCluster", Things.name, _cluster),
    "an API": _elsewhere("apigateway:POST", Things.name, _api, "the owner tag of API Gateway"),
    "an API's route": _elsewhere("apigateway:POST", Things.api, _route),
}


def _marked(world: World, client: Client, thing: Thing) -> Any:
    """Give a secret the owner tag; the ARN field holds the owner's name."""
    tags = [{"Key": "ci-owner", "Value": thing.arn}]
    return client("secretsmanager").tag_resource(SecretId=thing.name, Tags=tags)


def _handed_over(things: Things) -> Thing:
    return dataclasses.replace(things.secret(), arn=things.other)


def _kept(things: Things) -> Thing:
    return dataclasses.replace(things.secret(), arn=things.prefix)


OWNERS: Final[dict[str, Attack]] = {
    "its own with another owner's tag": Attack("secretsmanager:TagResource", _handed_over, _marked, _kept),
    "its own without the owner tag": Attack(
        "iam:UntagRole",
        lambda things: dataclasses.replace(things.role(), arn="ci-owner"),
        lambda w, c, t: c("iam").untag_role(RoleName=t.name, TagKeys=[t.arn]),
        lambda things: dataclasses.replace(things.role(), arn="another"),
    ),
}

ATTACKS: Final[dict[str, Attack]] = {
    **{f"identities: {title}": attack for title, attack in IDENTITIES.items()},
    **{f"another environment's: {title}": attack for title, attack in ROLES.items()},
    **BUCKETS,
    **{f"secrets: {title}": attack for title, attack in SECRETS.items()},
    **{f"another environment's: {title}": attack for title, attack in APPLICATIONS.items()},
    **{f"in another region: {title}": attack for title, attack in REGIONS.items()},
    **{f"owner tag: {title}": attack for title, attack in OWNERS.items()},
}

"""What lives under an environment's prefix already, and would lend the CI user more than it has: roles, functions, stacks.

A policy cannot tell: whoever may update a stack uses the role that it has, whoever may change a function's code works with the
function's role, and a role that was made before the boundary was there has none. So each of these is a finding.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

from ci_user.credentials import calling
from ci_user.errors import AwsError
from ci_user.findings import Finding
from ci_user.text import plain

if TYPE_CHECKING:
    from ci_user.credentials import AwsAccess
    from ci_user.environment import Environment

LIVE_ESCALATION: Final = "CIUSER_LIVE_2"
"""Nobody may accept it: the CI user would become more than it is."""
LIVE_UNKNOWN: Final = "CIUSER_LIVE_3"
"""Something could not be looked at; not acceptable in a protected environment."""
FOREIGN_TRUST: Final = "CIUSER_LIVE_4"
"""A role under the prefix lets somebody in who is no service of the list below."""

TRUSTED_SERVICES: Final = frozenset(
    f"{name}.amazonaws.com"
    for name in (
        *("apigateway", "appsync", "cloudfront", "codebuild", "cognito-idp", "delivery.logs", "dynamodb", "ecs-tasks"),
        *("edgelambda", "events", "firehose", "lambda", "logger.cloudfront", "monitoring.rds", "pipes", "rds", "s3"),
        *("scheduler", "secretsmanager", "sns", "sqs", "states", "vpc-flow-logs"),
    )
)
"""The service principals that roles of a pipeline may trust; who else is trusted could use the role's rights."""

_REGION: Final = re.compile(r"\.[a-z]{2}(-[a-z]+)+-[0-9]+(?=\.)")


def prefix_findings(access: AwsAccess, environment: Environment) -> tuple[Finding, ...]:
    """Return a finding for each role, function and stack under the prefix that lends more than the CI user may have.

    Functions and stacks are looked for in the environment's region.
    """
    looks = (
        ("roles", "iam:ListRoles and iam:GetRole", _roles),
        ("functions", "lambda:ListFunctions", _functions),
        ("stacks", "cloudformation:DescribeStacks", _stacks),
    )
    found: list[Finding] = []
    for things, needed, look in looks:
        try:
            found += look(access, environment)
        except AwsError as error:
            found.append(
                Finding(
                    check=LIVE_UNKNOWN,
                    name=f"What {things} live under the prefix is known",
                    resource=f"live.{things}",
                    message=error.what,
                    fix=f"let the deployer call {needed}",
                )
            )
    return tuple(found)


def _roles(access: AwsAccess, environment: Environment) -> Iterator[Finding]:
    iam = access.client("iam")
    with calling("listing the account's roles"):
        pages = iam.get_paginator("list_roles").paginate()
        names = [role["RoleName"] for page in pages for role in page["Roles"]]
        # ListRoles leaves the boundary out: https://docs.aws.amazon.com/IAM/latest/APIReference/API_ListRoles.html
        roles = [iam.get_role(RoleName=name)["Role"] for name in names if name.startswith(f"{environment.prefix}-")]
    for role in roles:
        boundary = role.get("PermissionsBoundary", {}).get("PermissionsBoundaryArn")
        if boundary != environment.role_boundary_arn:
            yield Finding(
                check=LIVE_ESCALATION,
                name="Every role under the prefix has the role boundary",
                resource=_address("role", role["RoleName"]),
                message=f"its boundary is {plain(boundary or 'none')}, so the CI user can pass it on with all that it may",
                fix=f"give it the boundary {environment.role_boundary_arn}, or another name",
            )
        trusted = sorted(_others(role["AssumeRolePolicyDocument"]))
        if trusted:
            yield Finding(
                check=FOREIGN_TRUST,
                name="Roles under the prefix trust services only",
                resource=_address("role", role["RoleName"]),
                message=f"it lets in {', '.join(plain(one) for one in trusted[:5])}",
                fix="let it trust the service that uses it and nobody else, or accept this with a reason",
            )


def _functions(access: AwsAccess, environment: Environment) -> Iterator[Finding]:
    with calling("listing the account's functions"):
        pages = access.client("lambda").get_paginator("list_functions").paginate()
        functions = [one for page in pages for one in page["Functions"]]
    own = environment.arn("iam", f"role/{environment.prefix}-")
    for function in functions:
        if function["FunctionName"].startswith(f"{environment.prefix}-") and not function["Role"].startswith(own):
            yield Finding(
                check=LIVE_ESCALATION,
                name="Every function under the prefix has a role under the prefix",
                resource=_address("function", function["FunctionName"]),
                message=f"its role is {plain(function['Role'])}, and who changes its code works with that role",
                fix=f"give it a role called {environment.prefix}-..., with the role boundary, or another name",
            )


def _stacks(access: AwsAccess, environment: Environment) -> Iterator[Finding]:
    with calling("listing the account's stacks"):
        pages = access.client("cloudformation").get_paginator("describe_stacks").paginate()
        stacks = [one for page in pages for one in page["Stacks"]]
    for stack in stacks:
        if stack["StackName"].startswith(f"{environment.prefix}-") and stack.get("RoleARN"):
            yield Finding(
                check=LIVE_ESCALATION,
                name="No stack under the prefix has a service role",
                resource=_address("stack", stack["StackName"]),
                message=f"it works with {plain(stack['RoleARN'])}, and so does whoever updates it",
                fix="update it without a service role, or give it another name",
            )


def _address(kind: str, name: str) -> str:
    """Return what an acceptance calls a live thing, in the form of a plan's addresses."""
    return f'live.{kind}["{plain(name)}"]'


def _others(trust: Mapping[str, Any] | str) -> set[str]:
    """Return whom a trust policy lets in besides the listed services; a document that cannot be read lets in anybody."""
    try:
        document = json.loads(trust) if isinstance(trust, str) else trust
        statements = document["Statement"]
        found: set[str] = set()
        for statement in [statements] if isinstance(statements, dict) else statements:
            if statement["Effect"] == "Allow":
                found |= _principals(statement)
    except (ValueError, KeyError, TypeError, AttributeError):
        return {"whoever its trust policy means, which cannot be read"}
    return found


def _principals(statement: Mapping[str, Any]) -> set[str]:
    principal = statement.get("Principal")
    if not isinstance(principal, dict):
        return {"anybody"}
    found = set()
    for kind, value in principal.items():
        for one in [value] if isinstance(value, str) else value:
            # states.eu-west-1.amazonaws.com and lambda.amazonaws.com.cn are the same services.
            if kind != "Service" or _REGION.sub("", one).removesuffix(".cn") not in TRUSTED_SERVICES:
                found.add(one)
    return found

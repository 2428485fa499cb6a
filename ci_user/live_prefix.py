"""What lives under an environment's prefix already, and would lend the CI user more than it has: roles, functions, stacks.

A policy cannot tell: whoever may update a stack uses the role that it has, whoever may change a function's code works with the
function's role, and a role that was made before the boundary was there has none. So each of these is a finding.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

from ci_user import naming
from ci_user.credentials import calling
from ci_user.errors import AwsError
from ci_user.findings import Finding
from ci_user.nightly.facts_model import LentRole, RoleFact, Unread
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
    found: list[Finding] = []
    for things, needed, look in _LOOKS:
        try:
            found += look(access, environment)
        except AwsError as error:
            found.append(not_known(Unread(things, needed, error.what)))
    return tuple(found)


def judge_roles(environment: Environment, roles: Iterable[RoleFact]) -> Iterator[Finding]:
    """Yield what is wrong with the roles under the prefix: another boundary, or somebody whom they trust."""
    for role in roles:
        if role.boundary_arn != environment.role_boundary_arn:
            boundary = plain(role.boundary_arn or "none")
            yield Finding(
                check=LIVE_ESCALATION,
                name="Every role under the prefix has the role boundary",
                resource=_address("role", role.name),
                message=f"its boundary is {boundary}, so the CI user can pass it on with all that it may",
                fix=f"give it the boundary {environment.role_boundary_arn}, or another name",
            )
        trusted = sorted(_others(role.trust))
        if trusted:
            yield Finding(
                check=FOREIGN_TRUST,
                name="Roles under the prefix trust services only",
                resource=_address("role", role.name),
                message=f"it lets in {', '.join(plain(one) for one in trusted[:5])}",
                fix="let it trust the service that uses it and nobody else, or accept this with a reason",
            )


def judge_lent(environment: Environment, lent: Iterable[LentRole]) -> Iterator[Finding]:
    """Yield the functions under the prefix with a role from elsewhere, and the stacks with any role."""
    own = environment.arn("iam", f"role/{environment.prefix}-")
    for one in lent:
        arn = one.role_arn or ""
        if one.kind == "function" and not arn.startswith(own):
            yield Finding(
                check=LIVE_ESCALATION,
                name="Every function under the prefix has a role under the prefix",
                resource=_address("function", one.name),
                message=f"its role is {plain(arn)}, and who changes its code works with that role",
                fix=f"give it a role called {environment.prefix}-..., with the role boundary, or another name",
            )
        elif one.kind == "stack" and arn:
            yield Finding(
                check=LIVE_ESCALATION,
                name="No stack under the prefix has a service role",
                resource=_address("stack", one.name),
                message=f"it works with {plain(arn)}, and so does whoever updates it",
                fix="update it without a service role, or give it another name",
            )


def not_known(unread: Unread) -> Finding:
    """Return the finding that things under the prefix could not be looked at."""
    return Finding(
        check=LIVE_UNKNOWN,
        name=f"What {unread.things} live under the prefix is known",
        resource=f"live.{unread.things}",
        message=unread.why,
        fix=f"let the deployer call {unread.needed}",
    )


def _roles(access: AwsAccess, environment: Environment) -> Iterator[Finding]:
    iam = access.client("iam")
    with calling("listing the account's roles"):
        pages = iam.get_paginator("list_roles").paginate()
        every = [(_called(role, environment), role["RoleName"]) for page in pages for role in page["Roles"]]
        # ListRoles leaves the boundary out: https://docs.aws.amazon.com/IAM/latest/APIReference/API_ListRoles.html
        roles = [(called, iam.get_role(RoleName=name)["Role"]) for called, name in every if called is not None]
    facts = [
        RoleFact(
            name=called,
            boundary_arn=role.get("PermissionsBoundary", {}).get("PermissionsBoundaryArn"),
            trust=role["AssumeRolePolicyDocument"],
        )
        for called, role in roles
    ]
    return judge_roles(environment, facts)


def _called(role: Mapping[str, Any], environment: Environment) -> str | None:
    return naming.role_under(f"{environment.prefix}-", role["RoleName"], role.get("Path", "/"))


def _functions(access: AwsAccess, environment: Environment) -> Iterator[Finding]:
    with calling("listing the account's functions"):
        pages = access.client("lambda").get_paginator("list_functions").paginate()
        functions = [
            LentRole("function", one["FunctionName"], one["Role"]) for page in pages for one in page["Functions"]
        ]
    return judge_lent(environment, _under(environment, functions))


def _stacks(access: AwsAccess, environment: Environment) -> Iterator[Finding]:
    with calling("listing the account's stacks"):
        pages = access.client("cloudformation").get_paginator("describe_stacks").paginate()
        stacks = [LentRole("stack", one["StackName"], one.get("RoleARN")) for page in pages for one in page["Stacks"]]
    return judge_lent(environment, _under(environment, stacks))


def _under(environment: Environment, lent: Iterable[LentRole]) -> Iterator[LentRole]:
    return (one for one in lent if lies_under(f"{environment.prefix}-", one.kind, one.name))


def lies_under(starts: str | tuple[str, ...], kind: str, name: str) -> bool:
    """Tell whether a function or a stack lies under a prefix, or under one of several.

    The pipeline may update ``stack/shop-prod/*`` too, the stack that is called like the prefix itself.
    """
    return (f"{name}-" if kind == "stack" else name).startswith(starts)


_Look = Callable[["AwsAccess", "Environment"], Iterator[Finding]]

_LOOKS: Final[tuple[tuple[str, str, _Look], ...]] = (
    ("roles", "iam:ListRoles and iam:GetRole", _roles),
    ("functions", "lambda:ListFunctions", _functions),
    ("stacks", "cloudformation:DescribeStacks", _stacks),
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

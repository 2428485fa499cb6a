"""The steps that ``mutations`` are made of: each changes something in AWS, and returns what is needed to put it back."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Final, Protocol

from tests.integration.things import package, template, trust

Clients = Callable[[str], Any]
"""Returns an administrator's client for a service, ``iam``."""


class Names(Protocol):
    """What the changes need to know of an environment; an ``Environment`` has it."""

    @property
    def prefix(self) -> str: ...
    @property
    def user_name(self) -> str: ...
    @property
    def group_name(self) -> str: ...
    @property
    def boundary_arn(self) -> str: ...
    @property
    def role_boundary_arn(self) -> str: ...


Apply = Callable[[Clients, Names], Any]
Undo = Callable[[Clients, Names, Any], None]
Steps = tuple[Apply, Undo]

READ: Final = '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:GetObject","Resource":"*"}]}'
OTHER: Final = '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:ListBucket","Resource":"*"}]}'


def own_policy(iam: Any, names: Names) -> str:
    """Return the ARN of a policy that Terraform made and attached."""
    attached = iam.list_attached_group_policies(GroupName=names.group_name)["AttachedPolicies"]
    return str(next(one["PolicyArn"] for one in attached if one["PolicyName"].startswith(f"{names.prefix}.policy-")))


def call(
    apply: str, undo: str, of: Callable[[Names], dict[str, Any]], more: dict[str, Any], less: dict[str, Any]
) -> Steps:
    """Return steps of one IAM call each: ``apply`` with ``more`` and ``undo`` with ``less``, both about what ``of`` names."""

    def applied(clients: Clients, names: Names) -> None:
        getattr(clients("iam"), apply)(**of(names), **more)

    def undone(clients: Clients, names: Names, _: Any) -> None:
        getattr(clients("iam"), undo)(**of(names), **less)

    return applied, undone


def tags_of_policy() -> Steps:
    """Change the tags of a policy."""

    def applied(clients: Clients, names: Names) -> str:
        arn = own_policy(clients("iam"), names)
        clients("iam").tag_policy(PolicyArn=arn, Tags=[{"Key": "Changed", "Value": "by hand"}])
        return arn

    def undone(clients: Clients, _: Names, arn: str) -> None:
        clients("iam").untag_policy(PolicyArn=arn, TagKeys=["Changed"])

    return applied, undone


def boundary(arn: Callable[[Names], str] | None) -> Steps:
    """Give the user another boundary, or none."""

    def applied(clients: Clients, names: Names) -> None:
        if arn is None:
            clients("iam").delete_user_permissions_boundary(UserName=names.user_name)
        else:
            clients("iam").put_user_permissions_boundary(UserName=names.user_name, PermissionsBoundary=arn(names))

    def undone(clients: Clients, names: Names, _: Any) -> None:
        clients("iam").put_user_permissions_boundary(UserName=names.user_name, PermissionsBoundary=names.boundary_arn)

    return applied, undone


def document(arn: Callable[[Any, Names], str]) -> Steps:
    """Make another document the default version of a policy."""

    def applied(clients: Clients, names: Names) -> tuple[str, str]:
        iam = clients("iam")
        of = arn(iam, names)
        before = _document(iam, of)
        _put_document(iam, of, OTHER)
        return of, before

    def undone(clients: Clients, _: Names, before: tuple[str, str]) -> None:
        _put_document(clients("iam"), *before)

    return applied, undone


def version() -> Steps:
    """Add a version to a policy that is not its default."""

    def applied(clients: Clients, names: Names) -> str:
        arn = own_policy(clients("iam"), names)
        clients("iam").create_policy_version(PolicyArn=arn, PolicyDocument=OTHER, SetAsDefault=False)
        return arn

    def undone(clients: Clients, _: Names, arn: str) -> None:
        _drop_versions(clients("iam"), arn)

    return applied, undone


def foreign_policy(operation: str, of: Callable[[Names], dict[str, str]]) -> Steps:
    """Attach a policy of the account's own: ``operation`` is ``group_policy`` or ``user_policy``."""

    def applied(clients: Clients, names: Names) -> str:
        iam = clients("iam")
        arn = str(iam.create_policy(PolicyName=_foreign(names), PolicyDocument=READ)["Policy"]["Arn"])
        getattr(iam, f"attach_{operation}")(**of(names), PolicyArn=arn)
        return arn

    def undone(clients: Clients, names: Names, arn: str) -> None:
        getattr(clients("iam"), f"detach_{operation}")(**of(names), PolicyArn=arn)
        clients("iam").delete_policy(PolicyArn=arn)

    return applied, undone


def detached() -> Steps:
    """Detach a policy from the group."""

    def applied(clients: Clients, names: Names) -> str:
        arn = own_policy(clients("iam"), names)
        clients("iam").detach_group_policy(GroupName=names.group_name, PolicyArn=arn)
        return arn

    def undone(clients: Clients, names: Names, arn: str) -> None:
        clients("iam").attach_group_policy(GroupName=names.group_name, PolicyArn=arn)

    return applied, undone


def used_elsewhere() -> Steps:
    """Attach a policy that Terraform made to somebody else."""

    def applied(clients: Clients, names: Names) -> str:
        iam, arn = clients("iam"), own_policy(clients("iam"), names)
        iam.create_user(UserName=_foreign(names))
        iam.attach_user_policy(UserName=_foreign(names), PolicyArn=arn)
        return arn

    def undone(clients: Clients, names: Names, arn: str) -> None:
        clients("iam").detach_user_policy(UserName=_foreign(names), PolicyArn=arn)
        clients("iam").delete_user(UserName=_foreign(names))

    return applied, undone


def foreign_group() -> Steps:
    """Put the user into another group."""

    def applied(clients: Clients, names: Names) -> None:
        iam, group = clients("iam"), _foreign(names)
        iam.create_group(GroupName=group)
        iam.put_group_policy(GroupName=group, PolicyName="more", PolicyDocument=READ)
        iam.add_user_to_group(UserName=names.user_name, GroupName=group)

    def undone(clients: Clients, names: Names, _: Any) -> None:
        iam, group = clients("iam"), _foreign(names)
        iam.remove_user_from_group(UserName=names.user_name, GroupName=group)
        iam.delete_group_policy(GroupName=group, PolicyName="more")
        iam.delete_group(GroupName=group)

    return applied, undone


def thing(service: str) -> Steps:
    """Make a role, a function or a stack under the prefix: ``service`` is ``iam``, ``lambda`` or ``cloudformation``."""

    def applied(clients: Clients, names: Names) -> None:
        name = f"{names.prefix}-things"
        role = ""
        if service != "iam":
            trusted = trust("Service", f"{service}.amazonaws.com")
            role = clients("iam").create_role(RoleName=_foreign(names), AssumeRolePolicyDocument=trusted)["Role"]["Arn"]
        made: dict[str, Any] = {
            "iam": {
                "RoleName": name,
                "AssumeRolePolicyDocument": trust("Service", "lambda.amazonaws.com"),
                "PermissionsBoundary": names.role_boundary_arn,
            },
            "lambda": {
                "FunctionName": name,
                "Runtime": "python3.11",
                "Handler": "index.handler",
                "Role": role,
                "Code": {"ZipFile": package()},
            },
            "cloudformation": {
                "StackName": name,
                "TemplateBody": template(f"/aws/lambda/{name}"),
                "RoleARN": role,
            },
        }
        getattr(clients(service), f"create_{_THINGS[service][0]}")(**made[service])

    def undone(clients: Clients, names: Names, _: Any) -> None:
        kind, field = _THINGS[service]
        getattr(clients(service), f"delete_{kind}")(**{field: f"{names.prefix}-things"})
        if service != "iam":
            clients("iam").delete_role(RoleName=_foreign(names))

    return applied, undone


_THINGS: Final = {
    "iam": ("role", "RoleName"),
    "lambda": ("function", "FunctionName"),
    "cloudformation": ("stack", "StackName"),
}


def again(remove: Apply, make: Callable[..., None], **changed: Any) -> Steps:
    """Remove something and make it again with other settings; undoing makes it as it was."""

    def applied(clients: Clients, names: Names) -> Any:
        before = remove(clients, names)
        make(clients, names, before, **changed)
        return before

    def undone(clients: Clients, names: Names, before: Any) -> None:
        remove(clients, names)
        make(clients, names, before)

    return applied, undone


def remove_user(clients: Clients, names: Names) -> Any:
    """Delete the user with its keys; return its tags."""
    iam, name = clients("iam"), names.user_name
    tags = iam.get_user(UserName=name)["User"].get("Tags", [])
    for key in iam.list_access_keys(UserName=name)["AccessKeyMetadata"]:
        iam.delete_access_key(UserName=name, AccessKeyId=key["AccessKeyId"])
    iam.remove_user_from_group(UserName=name, GroupName=names.group_name)
    iam.delete_user(UserName=name)
    return tags


def make_user(clients: Clients, names: Names, tags: Any, *, path: str = "/") -> None:
    iam, name = clients("iam"), names.user_name
    iam.create_user(UserName=name, Path=path, PermissionsBoundary=names.boundary_arn, Tags=tags)
    iam.add_user_to_group(UserName=name, GroupName=names.group_name)


def remove_group(clients: Clients, names: Names) -> Any:
    """Delete the group; return what was attached."""
    iam, name = clients("iam"), names.group_name
    attached = [one["PolicyArn"] for one in iam.list_attached_group_policies(GroupName=name)["AttachedPolicies"]]
    for arn in attached:
        iam.detach_group_policy(GroupName=name, PolicyArn=arn)
    iam.remove_user_from_group(UserName=names.user_name, GroupName=name)
    iam.delete_group(GroupName=name)
    return attached


def make_group(clients: Clients, names: Names, attached: Any, *, path: str = "/") -> None:
    iam, name = clients("iam"), names.group_name
    iam.create_group(GroupName=name, Path=path)
    for arn in attached:
        iam.attach_group_policy(GroupName=name, PolicyArn=arn)
    iam.add_user_to_group(UserName=names.user_name, GroupName=name)


def remove_policy(clients: Clients, names: Names) -> Any:
    """Delete a policy that Terraform made; return it and its document."""
    iam = clients("iam")
    arn = own_policy(iam, names)
    policy, before = iam.get_policy(PolicyArn=arn)["Policy"], _document(iam, arn)
    iam.detach_group_policy(GroupName=names.group_name, PolicyArn=arn)
    _drop_versions(iam, arn)
    iam.delete_policy(PolicyArn=arn)
    return policy, before


def make_policy(
    clients: Clients, names: Names, before: Any, *, path: str = "/", description: str | None = None
) -> None:
    policy, text = before
    made = clients("iam").create_policy(
        PolicyName=policy["PolicyName"],
        Path=path,
        PolicyDocument=text,
        Description=description or policy.get("Description", ""),
        Tags=policy.get("Tags", []),
    )
    clients("iam").attach_group_policy(GroupName=names.group_name, PolicyArn=made["Policy"]["Arn"])


def _document(iam: Any, arn: str) -> str:
    default = iam.get_policy(PolicyArn=arn)["Policy"]["DefaultVersionId"]
    return json.dumps(iam.get_policy_version(PolicyArn=arn, VersionId=default)["PolicyVersion"]["Document"])


def _put_document(iam: Any, arn: str, text: str) -> None:
    """Make a document the default, and the only version there is."""
    iam.create_policy_version(PolicyArn=arn, PolicyDocument=text, SetAsDefault=True)
    _drop_versions(iam, arn)


def _drop_versions(iam: Any, arn: str) -> None:
    for one in iam.list_policy_versions(PolicyArn=arn)["Versions"]:
        if not one["IsDefaultVersion"]:
            iam.delete_policy_version(PolicyArn=arn, VersionId=one["VersionId"])


def _foreign(names: Names) -> str:
    """Return a name outside the environment's prefix."""
    return f"{names.prefix.replace('-', '')}-foreign"

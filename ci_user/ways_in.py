"""What lets somebody in as the CI user, or lends it more, besides access keys. Reads only."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from ci_user.credentials import calling
from ci_user.errors import AwsError
from ci_user.findings import Finding
from ci_user.live_prefix import LIVE_UNKNOWN
from ci_user.nightly.facts_model import Unread, WayIn
from ci_user.revocation import POLICY_NAME
from ci_user.revocation import live as live_revocation
from ci_user.text import plain

if TYPE_CHECKING:
    from ci_user.credentials import AwsAccess
    from ci_user.environment import Environment
    from ci_user.iam_user import LiveUser

WAY_IN: Final = "CIUSER_LIVE_5"
"""A way to sign in as the CI user, or more rights, that no deploy of this tool made."""

Look = Callable[[Any, str], Iterator[tuple[str, str]]]


def ways_in(access: AwsAccess, environment: Environment, live: LiveUser) -> tuple[Finding, ...]:
    """Return a finding for each way in besides access keys, and for each right that hangs on the user itself.

    A look that AWS refuses is a finding of its own. What AWS itself attached because a key leaked is no way in; who calls this
    tells it by ``LiveUser.quarantined_by``.

    Args:
        access: The way into the account.
        environment: The environment.
        live: What is true of its user.
    """
    user, iam = environment.user_name, access.client("iam")
    deny: bool | Unread = False
    if POLICY_NAME in live.inline:
        try:
            deny = live_revocation(access, user) is not None
        except AwsError as error:
            deny = Unread("inline policies", "iam:GetUserPolicy", error.what)
    found = [*judge_hanging(environment, live, deny=deny)]
    for things, needed, fix, look in LOOKS:
        try:
            with calling(f"looking for {things} of {user}"):
                ways = [WayIn(things, kind, told, fix) for kind, told in look(iam, user)]
            found += judge_ways(environment, ways)
        except AwsError as error:
            found.append(not_known(environment, Unread(things, needed, error.what)))
    return tuple(found)


def judge_ways(environment: Environment, ways: Iterable[WayIn]) -> Iterator[Finding]:
    """Yield a finding for each way in."""
    for way in ways:
        yield _finding(
            environment, f"The CI user has no {way.things}", f"it has a {way.kind}: {plain(way.told)}", way.fix
        )


def judge_members(environment: Environment, others: Iterable[str]) -> Iterator[Finding]:
    """Yield a finding for each user that is in the CI user's group besides it: its policies are safe within its boundary only."""
    for other in others:
        yield _finding(
            environment,
            "Nobody else is in the CI user's group",
            f"{plain(other)} is in the group {environment.group_name}, so it has these policies without this user's boundary",
            "take it out of that group, and find out who put it there (CloudTrail: AddUserToGroup)",
        )


def not_known(environment: Environment, unread: Unread) -> Finding:
    """Return the finding that one kind of way in could not be looked for."""
    return Finding(
        check=LIVE_UNKNOWN,
        name=f"What {unread.things} the CI user has is known",
        resource=_address(environment),
        message=unread.why,
        fix=f"let the deployer call {unread.needed}",
    )


def judge_hanging(
    environment: Environment, live: LiveUser, *, deny: bool | Unread, groups: bool = True
) -> Iterator[Finding]:
    """Yield what hangs on the user that no deploy of this tool put there.

    Args:
        environment: The environment.
        live: What is true of its user.
        deny: Whether the inline policy that is called like a revocation's deny is one, or why that is not known.
        groups: Tell foreign groups too; who judges them with what they bring leaves them out here.
    """
    if live.boundary_arn != environment.boundary_arn:
        yield _finding(
            environment,
            "The CI user has its boundary",
            f"its boundary is {plain(live.boundary_arn)}" if live.boundary_arn else "it has no boundary",
            f"`invoke deploy --env {environment.name}` puts {environment.boundary_arn} back",
        )
    for group in live.groups if groups else ():
        if group != environment.group_name:
            yield _finding(
                environment,
                "The CI user is in its own group only",
                f"it is in the group {plain(group)}",
                "take it out of that group",
            )
    for arn in live.attached:
        if arn not in live.quarantined_by:
            yield _finding(
                environment,
                "No policy is attached to the CI user itself",
                f"{plain(arn)} is attached to it",
                f"`invoke deploy --env {environment.name}` detaches it",
            )
        elif not of_aws(arn):
            # Anybody may call a policy so, and a deploy tells them by name: it detaches neither.
            yield _finding(
                environment,
                "No policy is attached to the CI user itself",
                f"{plain(arn)} is attached to it, which is called like AWS's quarantine and is not AWS's",
                "look at what it allows, and detach it by hand",
            )
    for name in live.inline:
        if name == POLICY_NAME and isinstance(deny, Unread):
            yield replace(not_known(environment, deny), name="What the CI user's inline policies say is known")
        elif name != POLICY_NAME or not deny:
            yield _finding(
                environment,
                "The CI user has no inline policy",
                f"it has the inline policy {plain(name)}",
                f"`invoke deploy --env {environment.name}` removes it",
            )


def _finding(environment: Environment, name: str, message: str, fix: str) -> Finding:
    return Finding(check=WAY_IN, name=name, resource=_address(environment), message=message, fix=fix)


def _address(environment: Environment) -> str:
    return f'live.user["{environment.user_name}"]'


def of_aws(arn: str) -> bool:
    """Return whether a managed policy is AWS's own: its ARN has ``aws`` where others have their account."""
    return arn.split(":")[4:5] == ["aws"]


def _login_profile(iam: Any, user: str) -> Iterator[tuple[str, str]]:
    try:
        profile = iam.get_login_profile(UserName=user)["LoginProfile"]
    except iam.exceptions.NoSuchEntityException:
        return
    yield "console password", f"made {profile['CreateDate'].isoformat()}"


def _ssh_keys(iam: Any, user: str) -> Iterator[tuple[str, str]]:
    for page in iam.get_paginator("list_ssh_public_keys").paginate(UserName=user):
        for one in page["SSHPublicKeys"]:
            yield "SSH key", f"{one['SSHPublicKeyId']}, {one['Status']}, uploaded {one['UploadDate'].isoformat()}"


def _service_credentials(iam: Any, user: str) -> Iterator[tuple[str, str]]:
    for one in iam.list_service_specific_credentials(UserName=user).get("ServiceSpecificCredentials", []):
        what = f"{one['ServiceSpecificCredentialId']} for {one['ServiceName']}"
        yield "service-specific credential", f"{what}, {one['Status']}, made {one['CreateDate'].isoformat()}"


def _certificates(iam: Any, user: str) -> Iterator[tuple[str, str]]:
    for page in iam.get_paginator("list_signing_certificates").paginate(UserName=user):
        for one in page["Certificates"]:
            # IAM may leave this date out.
            uploaded = f", uploaded {one['UploadDate'].isoformat()}" if "UploadDate" in one else ""
            yield "signing certificate", f"{one['CertificateId']}, {one['Status']}{uploaded}"


def _mfa_devices(iam: Any, user: str) -> Iterator[tuple[str, str]]:
    for page in iam.get_paginator("list_mfa_devices").paginate(UserName=user):
        for one in page["MFADevices"]:
            yield "MFA device", f"{one['SerialNumber']}, enabled {one['EnableDate'].isoformat()}"


LOOKS: Final[tuple[tuple[str, str, str, Look], ...]] = (
    ("console password", "iam:GetLoginProfile", "delete its login profile", _login_profile),
    ("SSH keys", "iam:ListSSHPublicKeys", "delete them", _ssh_keys),
    ("service credentials", "iam:ListServiceSpecificCredentials", "delete them", _service_credentials),
    ("signing certificates", "iam:ListSigningCertificates", "delete them", _certificates),
    ("MFA devices", "iam:ListMFADevices", "deactivate and delete them", _mfa_devices),
)
"""What is looked for: the things, the right that it takes, what to do with one, and how to look (it yields kind and words)."""

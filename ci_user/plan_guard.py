"""What a plan must not do, or only with a flag of its own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from ci_user.errors import PlanError
from ci_user.plan_model import Change, Plan
from ci_user.policy.documents import GROUP_POLICIES
from ci_user.text import plain

QUARANTINE: Final = "awscompromisedkeyquarantine"
"""AWS attaches a policy whose name begins so, in some case, to a user whose key leaked:
https://docs.aws.amazon.com/aws-managed-policy/latest/reference/AWSCompromisedKeyQuarantineV3.html"""

_IDENTITIES: Final = {"aws_iam_user": "user", "aws_iam_group": "group"}
# Everything that the modules make; a test compares it with them.
_TYPES: Final = frozenset(
    {
        "aws_iam_group",
        "aws_iam_group_policies_exclusive",
        "aws_iam_group_policy_attachment",
        "aws_iam_group_policy_attachments_exclusive",
        "aws_iam_policy",
        "aws_iam_user",
        "aws_iam_user_group_membership",
        "aws_iam_user_policies_exclusive",
        "aws_iam_user_policy_attachments_exclusive",
    }
)
_ATTACHMENT_ATTRIBUTES: Final = ("policy_arns", "policy_arn", "managed_policy_arns")


def refusals(plan: Plan, *, allow_replace: bool, destroying: bool) -> tuple[str, ...]:
    """Return why this plan may not be applied, one plain sentence each; nothing when it may.

    Args:
        plan: The plan.
        allow_replace: Accept that the user or the group is deleted, replaced, renamed or forgotten.
        destroying: It is a destroy plan, so that they are deleted is what is asked for.
    """
    found = []
    if plan.errored:
        found.append("Terraform stopped half way while planning")
    if not plan.complete:
        found.append("the plan is not complete: another round would follow, which nobody has seen")
    if not allow_replace and not destroying:
        found += [
            f"{plain(change.address)} would be {word} (needs --allow-replace)"
            for change in plan.changes
            if change.mode == "managed" and change.type in _IDENTITIES and (word := _loss(change))
        ]
    if (attached := len(_attached(plan))) > GROUP_POLICIES:
        found.append(
            f"the group would carry {attached} policies for a moment, since the new ones come before the old ones go, and IAM "
            f"attaches {GROUP_POLICIES}: take some out of the environment file first, in a deploy of its own"
        )
    found += [
        f"{plain(arn)} would be detached by {plain(change.address)}: AWS put it there because a key leaked, "
        "and it stays until a person has dealt with that"
        for change in (*plan.changes, *_behind_drift(plan))
        for arn in _detached_quarantine(change)
    ]
    return tuple(dict.fromkeys(found))


def refuse_foreign(document: Mapping[str, Any], variables: Mapping[str, Any]) -> None:
    """See that a plan comes from this project's modules and these variables: a plan file carries a configuration of its own.

    Args:
        document: The redacted output of ``terraform show -json``.
        variables: What the environment's variables must be.

    Raises:
        PlanError: Other variables, another provider, another type of resource, or a provisioner.
    """
    strange = []
    given = {name: entry.get("value") for name, entry in (document.get("variables") or {}).items()}
    if given != dict(variables):
        differing = sorted(n for n in {*given, *variables} if given.get(n) != variables.get(n))
        strange.append(f"other variables: {', '.join(plain(name) for name in differing)}")
    for address, kind, provider, provisioners in _configured(document.get("configuration") or {}):
        if kind not in _TYPES or provider.split(":")[-1] != "aws":
            strange.append(f"{plain(address)} is none of the modules' resources")
        if provisioners:
            strange.append(f"{plain(address)} would run a program")
    if strange:
        raise PlanError(
            "this plan was not made from this project's modules and this environment:\n"
            + "\n".join(f"    {line}" for line in strange),
            expected="a plan that `invoke plan` or `invoke deploy` made here",
            do="plan again; when the plan came from another job, find out who changed it",
            runbook="approval",
        )


def _configured(configuration: Mapping[str, Any]) -> Iterator[tuple[str, str, str, object]]:
    modules = [configuration.get("root_module") or {}]
    while modules:
        module = modules.pop()
        for resource in module.get("resources") or ():
            yield (
                str(resource.get("address")),
                str(resource.get("type")),
                str(resource.get("provider_config_key")),
                resource.get("provisioners"),
            )
        modules += [call.get("module") or {} for call in (module.get("module_calls") or {}).values()]


def _attached(plan: Plan) -> set[str]:
    """Return what is attached to the group before the plan is applied or after it, by ARN: in between it is all of that."""
    return {
        str(values["policy_arn"])
        for change in plan.changes
        if change.mode == "managed" and change.type == "aws_iam_group_policy_attachment"
        for values in (change.before, change.after)
        if values is not None and values.get("policy_arn")
    }


def _loss(change: Change) -> str | None:
    words = {"delete": "deleted", "replace": "replaced", "forget": "forgotten by Terraform"}
    if change.kind in words:
        return words[change.kind]
    if change.kind == "update" and change.before is not None and change.after is not None:
        renamed = any(change.before.get(part) != change.after.get(part) for part in ("name", "path"))
        return "renamed" if renamed else None
    return None


def _behind_drift(plan: Plan) -> Iterator[Change]:
    # What was attached by hand shows as drift first: before is the old state there, after is what AWS has now.
    by_address = {change.address: change for change in plan.changes}
    for drift in plan.drift:
        change = by_address.get(drift.address)
        yield Change(
            address=drift.address,
            mode=drift.mode,
            type=drift.type,
            name=drift.name,
            module=drift.module,
            actions=change.actions if change else ("delete",),
            kind=change.kind if change else "delete",
            before=drift.after,
            after=change.after if change else None,
            after_unknown=change.after_unknown if change else {},
            replace_paths=(),
            recorded_only=False,
        )


def _detached_quarantine(change: Change) -> list[str]:
    if change.mode != "managed" or not change.type.startswith("aws_iam_"):
        return []
    before, after = _quarantines(change.before), _quarantines(change.after)
    return sorted(arn for arn in before if arn not in after)


def _quarantines(values: Mapping[str, Any] | None) -> set[str]:
    arns: set[str] = set()
    for attribute in _ATTACHMENT_ATTRIBUTES:
        value = (values or {}).get(attribute)
        candidates = value if isinstance(value, list) else [value]
        arns |= {
            arn
            for arn in candidates
            if isinstance(arn, str) and arn.rsplit("/", 1)[-1].casefold().startswith(QUARANTINE)
        }
    return arns

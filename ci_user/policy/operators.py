"""The policies of whoever runs this tool: ``deployer`` for people and jobs that change, ``nightly-check`` for the job that looks.

They are for a role, not for a CI user, and for one account: its environments share the name patterns of `naming`.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from ci_user.environment_policies import ExistingPolicy
from ci_user.errors import PolicyError, UsageError
from ci_user.policy import documents
from ci_user.policy.guard import beyond_own_folder

if TYPE_CHECKING:
    from ci_user.environment import Environment


def document(name: str, environment: Environment, every: Iterable[Environment], root: Path) -> str:
    """Return a policy of `documents.OPERATORS` for the account of an environment, as canonical JSON.

    It serves all environments of that account whose state lies in the same account as this one's.

    Args:
        name: ``deployer`` or ``nightly-check``.
        environment: An environment of the account.
        every: All environments; the one itself among them does no harm.
        root: The repository.

    Raises:
        UsageError: There is no such policy.
        PolicyError: Its file is wrong, or it is larger than a managed policy may be.
    """
    if name not in documents.OPERATORS:
        raise UsageError(
            f"there is no operators' policy {name!r}",
            where="--policy",
            expected=f"one of: {', '.join(documents.OPERATORS)}",
            do="leave --policy out to see what the CI user gets",
        )
    path = documents.directory(root) / f"{name}.json"
    served = [environment, *(one for one in every if one.name != environment.name and _beside(one, environment))]
    values = {
        **documents.parameters(environment),
        "state_account_id": environment.state.account_id,
        **_lists(environment, served),
    }
    text = documents.canonical(documents.render(documents.read(path), values))
    if documents.size(text) > documents.MANAGED_POLICY_SIZE:
        raise PolicyError(
            f"the policy {name} has {documents.size(text):,} characters that are not white space for the "
            f"{len(served)} environments of account {environment.account_id}",
            where=str(path),
            expected=f"at most {documents.MANAGED_POLICY_SIZE:,}: IAM's limit for one managed policy",
            do="let their secrets and parameters begin with ci-user/, and their state keys with a folder that they share: "
            "one ARN with a wildcard, written by hand, then serves them all",
        )
    return text


def _beside(one: Environment, environment: Environment) -> bool:
    return all(
        getattr(one, name) == getattr(environment, name) for name in ("partition", "account_id", "sandbox")
    ) and (one.state.account_id == environment.state.account_id)


def _lists(environment: Environment, served: Iterable[Environment]) -> dict[str, list[str]]:
    buckets, objects, state_keys, keys, attached, places = (set[str]() for _ in range(6))
    for one in served:
        bucket = one.arn("s3", one.state.bucket, account="")
        buckets.add(bucket)
        objects.add(f"{bucket}/{one.state.folder}/*")
        state_keys |= {one.state.kms_key} if one.state.kms_key else set()
        attached |= {item.arn for item in one.policies if isinstance(item, ExistingPolicy)}
        for settings in one.places:
            places |= set(settings.guarded_arns(one))
            keys |= set(settings.guarded_kms_keys(one))
            token = getattr(getattr(settings, "token", None), "secret", None)
            places |= {one.arn("secretsmanager", f"secret:{token}-??????", region=one.region)} if token else set()
    beyond = beyond_own_folder(sorted(places), environment)
    # A secret that is not there yet has no six characters behind its name.
    beyond = sorted({*beyond, *(arn.removesuffix("-??????") for arn in beyond)})
    return {
        "state_buckets": sorted(buckets),
        "state_objects": sorted(objects),
        "state_kms_arns": sorted(state_keys),
        "kms_arns": sorted(keys | state_keys),
        "secret_arns": [arn for arn in beyond if arn.split(":")[2] == "secretsmanager"],
        "parameter_arns": [arn for arn in beyond if arn.split(":")[2] == "ssm"],
        "attached_arns": sorted(attached),
    }

"""What environments have to do with each other: what one guards for others, and where they collide."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ci_user.environment import Environment


@dataclass(frozen=True, slots=True)
class Guarded:
    """What the CI user must never touch, whatever its policies say; ARNs, sorted, each once.

    `secret_names` may end in ``*``, for what Secrets Manager adds. Leases lie in `state_buckets`.
    """

    state_buckets: tuple[str, ...] = ()
    secret_names: tuple[str, ...] = ()
    parameter_arns: tuple[str, ...] = ()
    kms_keys: tuple[str, ...] = ()


def guarded(environment: Environment, siblings: Iterable[Environment]) -> Guarded:
    """Return what `environment`'s boundary must guard: its own things, and the siblings' in the same account.

    Args:
        environment: The environment whose CI user is bounded.
        siblings: Any other environments; `environment` itself among them does no harm.
    """
    buckets: set[str] = set()
    others: set[str] = set()
    for one in (environment, *siblings):
        if one.partition != environment.partition:
            continue
        own = one.account_id == environment.account_id
        if own or one.state.account_id == environment.account_id:
            buckets.add(one.arn("s3", one.state.bucket, account=""))
        arns = {arn for settings in one.places for arn in settings.guarded_arns(one)}
        arns |= {one.state.kms_key} if one.state.kms_key else set()
        arns |= {key for settings in one.places for key in settings.guarded_kms_keys(one)}
        others |= {arn for arn in arns if own or arn.split(":")[4] == environment.account_id}

    def of(service: str) -> tuple[str, ...]:
        return tuple(sorted(arn for arn in others if arn.split(":")[2] == service))

    return Guarded(
        state_buckets=tuple(sorted(buckets)),
        secret_names=of("secretsmanager"),
        parameter_arns=of("ssm"),
        kms_keys=of("kms"),
    )


def neighbours(environment: Environment, every: Iterable[Environment]) -> tuple[tuple[str, str], ...]:
    """Return name and prefix of the other environments in its account, whose things its CI user must not reach."""
    account = (environment.partition, environment.account_id)
    others = (one for one in every if one.name != environment.name)
    return tuple(sorted((one.name, one.prefix) for one in others if (one.partition, one.account_id) == account))


def collisions(environments: Iterable[Environment]) -> list[str]:
    """Return a sentence, naming both files, for each pair of environments that cannot live side by side.

    Prefixes in one account that are equal or nested at a hyphen, state folders of one bucket that are equal
    or inside each other (the lease lies in that folder), and deliveries to one place.
    """
    every = sorted(environments, key=lambda one: one.name)
    problems = [
        f"{_file(one)}: the prefix {one.prefix} and the prefix {other.prefix} of {_file(other)} are equal or "
        f"nested at a hyphen in account {one.account_id}, so that one's rights would reach the other's; "
        "expected another application or name"
        for one, other in _nested([((e.account_id,), e.prefix, e) for e in every], "-")
    ]
    problems += [
        f"{_file(one)}: state.key {one.state.key} in bucket {one.state.bucket} shares its folder with "
        f"{other.state.key} of {_file(other)}; expected a folder of its own, for the state and the lease"
        for one, other in _nested([((e.partition, e.state.bucket), e.state.folder, e) for e in every], "/")
    ]
    owners: dict[str, Environment] = {}
    for one in every:
        # The kept stage comes first and is in no file, so it has no index there.
        for index, settings in enumerate(one.places, len(one.secrets) - len(one.places)):
            target = settings.target(one)
            if target in owners:
                other = _file(owners[target])
                where = f"secrets[{index}]" if index >= 0 else "the stage that is kept for it"
                text = f"{other} delivers to {target} already; expected another place"
                problems.append(f"{_file(one)}: {where}: {text}")
            owners.setdefault(target, one)
    return problems


_Scope = tuple[str, ...]


def _nested(items: list[tuple[_Scope, str, Environment]], separator: str) -> Iterator[tuple[Environment, Environment]]:
    """Yield each pair whose texts are equal, or one the other up to a separator, in the same scope."""
    owners: dict[tuple[_Scope, str], list[Environment]] = {}
    for scope, text, one in items:
        owners.setdefault((scope, text), []).append(one)
    for scope, text, one in items:
        parts = text.split(separator)
        for length in range(1, len(parts) + 1):
            for other in owners.get((scope, separator.join(parts[:length])), ()):
                if length < len(parts) or other.name < one.name:
                    yield one, other


def _file(environment: Environment) -> str:
    return f"environments/{environment.name}.yaml"

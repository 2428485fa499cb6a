"""Which environments a run is about: all, some by pattern, or one shard of them; and the fleet that they are chosen from."""

from __future__ import annotations

import fnmatch
import hashlib
import itertools
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Final

from ci_user.errors import EnvironmentFileError, UsageError
from ci_user.nightly.shards import SHARDS_AT_MOST

if TYPE_CHECKING:
    from pathlib import Path

    from ci_user.environment import Environment

_ACCOUNTS_AT_ONCE: Final = 6
_SHARD: Final = re.compile(r"([1-9][0-9]{0,3})/([1-9][0-9]{0,3})")


@dataclass(frozen=True)
class Shard:
    """One part of a run that several jobs share: ``number`` of ``count``, from 1."""

    number: int
    count: int

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"


@dataclass(frozen=True)
class Fleet:
    """All environments of a repository, and the files that cannot be read.

    Args:
        root: The repository.
        environments: By name.
        broken: Why the others cannot be read, by name.
    """

    root: Path
    environments: Mapping[str, Environment]
    broken: Mapping[str, EnvironmentFileError]

    @classmethod
    def load(cls, root: Path) -> Fleet:
        """Read all environment files.

        Raises:
            EnvironmentFileError: The folder cannot be read, or two environments collide.
        """
        from ci_user import environment_files

        environments, broken = environment_files.load_each(root)
        return cls(root, environments, broken)

    @property
    def names(self) -> tuple[str, ...]:
        """Return whatever a run over all is about: every environment that is no sandbox, those that cannot be read too."""
        real = (name for name, one in self.environments.items() if not one.sandbox)
        return tuple(sorted({*real, *self.broken}))

    @cached_property
    def digest(self) -> str:
        """Return the SHA-256 (hex) of all environments as they were read, and of the policy files that they name."""
        from ci_user.nightly.fingerprint import own_policies

        parts = (
            [
                (name, one.model_dump_json(warnings=False), own_policies(one, self.root))
                for name, one in sorted(self.environments.items())
            ],
            [(name, str(error)) for name, error in sorted(self.broken.items())],
        )
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    def siblings(self, name: str) -> Mapping[str, Environment]:
        """Return the environments that matter to one: those with something in its account, and itself."""
        account = self.environments[name].account_id
        return {one.name: one for one in self._by_account.get(account, ())}

    @cached_property
    def _by_account(self) -> Mapping[str, Sequence[Environment]]:
        found: dict[str, list[Environment]] = {}
        for one in self.environments.values():
            for account in accounts(one):
                found.setdefault(account, []).append(one)
        return found

    def in_order(self, names: Iterable[str]) -> list[str]:
        """Return names so that those of one account follow each other: it is read once, and then let go of."""
        return sorted(names, key=lambda name: (self.account(name), name))

    def interleaved(self, names: Iterable[str]) -> list[str]:
        """Return names so that a few accounts take turns: of each only so many environments are read at once."""
        ordered = itertools.groupby(self.in_order(names), key=self.account)
        accounts = [list(same) for _, same in ordered]
        groups = (accounts[start : start + _ACCOUNTS_AT_ONCE] for start in range(0, len(accounts), _ACCOUNTS_AT_ONCE))
        turns = (turn for group in groups for turn in itertools.zip_longest(*group))
        return [name for turn in turns for name in turn if name is not None]

    def account(self, name: str) -> str:
        """Return an environment's account; an empty text where its file cannot be read."""
        one = self.environments.get(name)
        return one.account_id if one is not None and name not in self.broken else ""


def accounts(environment: Environment) -> frozenset[str]:
    """Return every account that something of an environment lies in: its own, its state's, its keys' and their KMS keys'."""
    arns = [arn for settings in environment.places for arn in settings.guarded_arns(environment)]
    arns += [key for settings in environment.places for key in settings.guarded_kms_keys(environment)]
    arns += [environment.state.kms_key] if environment.state.kms_key else []
    own = (environment.account_id, environment.state.account_id or environment.account_id)
    return frozenset({*own, *(arn.split(":")[4] for arn in arns)})


def parse_shard(text: str) -> Shard | None:
    """Return the shard that ``--shard 3/10`` means; None for an empty text.

    Raises:
        UsageError: It is no shard.
    """
    if not text:
        return None
    found = _SHARD.fullmatch(text)
    if found is None or int(found[1]) > int(found[2]) or int(found[2]) > SHARDS_AT_MOST:
        raise UsageError(
            f"{text!r} is no shard",
            where="--shard",
            expected=f"NUMBER/COUNT, such as 3/10 for the third of ten; at most {SHARDS_AT_MOST}",
        )
    return Shard(int(found[1]), int(found[2]))


def matching(fleet: Fleet, patterns: Sequence[str]) -> tuple[str, ...]:
    """Return the names of the environments that one of the patterns matches, as a shell would; without patterns all.

    Raises:
        UsageError: A pattern matches none: it would look as if all were well.
    """
    if not patterns:
        return fleet.names
    found: set[str] = set()
    for pattern in patterns:
        matched = fnmatch.filter(fleet.names, pattern)
        if not matched:
            raise UsageError(
                f"{pattern!r} matches no environment",
                where="--only",
                expected=f"a name or a pattern such as 'prod-*'; there are: {_listed(fleet.names)}",
                do="sandboxes are checked by name: `invoke check --env NAME`",
            )
        found.update(matched)
    return tuple(sorted(found))


def part_of(fleet: Fleet, names: Iterable[str], shard: Shard | None) -> tuple[str, ...]:
    """Return a shard's names; environments of one account go into as few shards as possible, since an account is read once."""
    ordered = fleet.in_order(names)
    if shard is None:
        return tuple(ordered)
    first, last = (len(ordered) * number // shard.count for number in (shard.number - 1, shard.number))
    return tuple(ordered[first:last])


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(names[:10]) or "none yet"
    return f"{shown} and {len(names) - 10} more" if len(names) > 10 else shown

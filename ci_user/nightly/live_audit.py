"""What is judged every night of one environment's identity, whatever Terraform says: user, ways in, keys and places. Pure.

What a deploy judges too comes as findings, which ``accepted_findings`` may name; the rest, which nobody can accept, as entries.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Final

from ci_user import revocation
from ci_user.live import judge_groups, nested_prefixes
from ci_user.live_prefix import judge_lent, judge_roles
from ci_user.live_prefix import not_known as prefix_not_known
from ci_user.nightly import codes
from ci_user.nightly.facts_model import Facts, Unread
from ci_user.nightly.key_audit import Keys, key_entries
from ci_user.nightly.key_timeline import timeline
from ci_user.nightly.model import Entry, Key
from ci_user.nightly.place_audit import place_entries
from ci_user.text import plain
from ci_user.ways_in import LOOKS, judge_hanging, judge_members, judge_ways, of_aws

if TYPE_CHECKING:
    from ci_user.backends.protocol import Held
    from ci_user.environment import Environment
    from ci_user.findings import Finding
    from ci_user.lease_state import LeaseState

_UNDER_THE_PREFIX: Final = frozenset({"roles", "functions", "stacks"})
_UNKNOWN_TO_THE_SANDBOX: Final = frozenset({"functions", "stacks", *(things for things, *_ in LOOKS)})
_KEYS: Final = "access keys"


@dataclass(frozen=True)
class Audit:
    """What was found.

    Args:
        entries: What nobody can accept in an environment file.
        keys: The keys, each with its life.
        findings: What is judged as a deploy judges it, ids ``CIUSER_LIVE_*``; to be weighed against what is accepted.
    """

    entries: tuple[Entry, ...]
    keys: tuple[Key, ...]
    findings: tuple[Finding, ...] = ()


def audit(
    facts: Facts,
    environment: Environment,
    lease: LeaseState | None,
    held: Mapping[str, Held],
    trouble: Mapping[str, str],
    now: datetime,
) -> Audit:
    """Judge what is true now.

    Args:
        facts: What was read of the identity.
        environment: The environment.
        lease: What lease and journal say; None when there is no bucket that could hold them.
        held: What each place holds, by target.
        trouble: Why others could not be asked, by target.
        now: AWS's clock.
    """
    keys = Keys.of(facts, environment, lease, held, now)
    entries = [*_unread(facts, environment), *_nested(facts, environment)]
    if facts.user is None:
        entries += _not_deployed(environment, keys)
    else:
        entries += _leaked(facts, environment)
        if not any(one.things == _KEYS for one in facts.unread):
            # Without the list every key would seem to be gone.
            entries += (*key_entries(keys), *place_entries(keys, environment, trouble))
    return Audit(tuple(entries), timeline(keys), tuple(_findings(facts, environment)))


def _findings(facts: Facts, environment: Environment) -> Iterator[Finding]:
    user = facts.user
    if user is not None:
        foreign = [group for group in user.groups if group != environment.group_name]
        yield from judge_groups(environment, {group: _brought(facts, group) for group in foreign})
        yield from judge_hanging(environment, user, deny=_deny(facts), groups=False)
    yield from judge_ways(environment, facts.ways_in)
    yield from judge_members(environment, facts.others_in_group)
    yield from judge_roles(environment, facts.roles)
    yield from judge_lent(environment, facts.lent)
    for one in facts.unread:
        if one.things in _UNDER_THE_PREFIX and not _excused(one, environment):
            yield prefix_not_known(one)


def _brought(facts: Facts, group: str) -> list[str]:
    found = facts.groups.get(group)
    return [*(arn.rsplit("/", 1)[-1] for arn in found.attached), *found.inline] if found else []


def _deny(facts: Facts) -> bool | Unread:
    document = facts.user_inline.get(revocation.POLICY_NAME)
    if document is None:
        # Nothing that hangs on the user is taken for harmless unseen.
        return Unread("inline policies", "iam:GetUserPolicy", "it was not read")
    return revocation.parse(document) is not None


def _unread(facts: Facts, environment: Environment) -> Iterator[Entry]:
    """Yield what AWS refused to show, but for what `_findings` tells; the embedded AWS does not know every call."""
    for one in facts.unread:
        if _excused(one, environment):
            yield codes.UNREAD.entry(
                plain(one.things, 100), plain(one.why, 500), fix="nothing: the sandbox cannot tell", gravity="notice"
            )
        elif one.things not in _UNDER_THE_PREFIX:
            yield codes.UNREAD.entry(
                plain(one.things, 100), plain(one.why, 500), fix=f"let the nightly check call {one.needed}"
            )


def _excused(unread: Unread, environment: Environment) -> bool:
    return environment.sandbox and unread.things in _UNKNOWN_TO_THE_SANDBOX


def _nested(facts: Facts, environment: Environment) -> Iterator[Entry]:
    for prefix in nested_prefixes(environment, facts.other_ci_users):
        told = f"the prefix {environment.prefix} is nested with {plain(prefix)}, whose user lives in the account"
        yield codes.NESTED.entry(f"environments/{environment.name}.yaml: application", told)


def _not_deployed(environment: Environment, keys: Keys) -> Iterator[Entry]:
    details = [f"the journal has {key_id}, {record.state}" for key_id, record in keys.journal.keys.items()]
    details += [
        f"{plain(target, 300)} holds {one.current}" for target, one in keys.held.items() if one.current is not None
    ]
    yield codes.NOT_DEPLOYED.entry(environment.user_name, "there is no such user", details=details)


def _leaked(facts: Facts, environment: Environment) -> Iterator[Entry]:
    """Yield what AWS attached because it found a key in public.

    https://docs.aws.amazon.com/aws-managed-policy/latest/reference/AWSCompromisedKeyQuarantineV3.html
    """
    assert facts.user is not None  # noqa: S101 - for mypy: asked of users only
    for arn in facts.user.quarantined_by:
        if of_aws(arn):
            told = (
                f"A KEY OF {environment.user_name} HAS LEAKED: AWS found it in public and attached {plain(arn)};"
                " whoever has it may be working with it now"
            )
            yield codes.LEAKED.entry(environment.user_name, told, details=[f"active: {one}" for one in _active(facts)])


def _active(facts: Facts) -> Iterator[str]:
    return (key.id for key in facts.keys if key.active)

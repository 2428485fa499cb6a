"""What may a holder touch outside its own prefix: states, leases, CI keys, other environments?

Every action that its policies allow is asked about, one by one, on a resource that belongs to somebody else.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from ci_user.policy import catalogue, globs
from ci_user.policy.catalogue import Action
from ci_user.policy.holder import STRANGER, Holder
from ci_user.policy.statement import Statement
from ci_user.policy.ways import Ask, Way, best, named, way

_READS: Final = ("Read", "List")
# Reading that gives away what somebody keeps, and not only that it is there.
_DATA: Final = tuple(
    globs.glob(one)
    for one in (
        *("s3:getobject*", "secretsmanager:*getsecretvalue", "ssm:getparameter*", "kms:decrypt", "kms:reencrypt*"),
        *("dynamodb:*getitem", "dynamodb:query", "dynamodb:scan", "dynamodb:getrecords", "sqs:receivemessage"),
        *(
            "lambda:getfunction",
            "logs:getlogevents",
            "logs:filterlogevents",
            "logs:startquery",
            "ecr:getauthorizationtoken",
        ),
        *("codecommit:gitpull", "rds-data:*", "athena:getqueryresults", "kinesis:getrecords"),
    )
)
# What AWS calls by itself: a prefix never shows there.
_IDS: Final = {
    "cloudfront:distribution": f"E{STRANGER}",
    "cloudfront:origin-access-identity": f"E{STRANGER}",
    "cognito-idp:userpool": f"eu-west-1_{STRANGER}",
}


@dataclass(frozen=True)
class Belonging:
    """Something that is not the holder's.

    Args:
        owner: Whose it is, in words: ``Terraform's state``, ``the environment production``.
        arns: What it is, as ARNs; they may end in wildcards. Empty when a prefix tells.
        prefix: How the names of everything of it begin; empty when ARNs tell.
    """

    owner: str
    arns: tuple[str, ...] = ()
    prefix: str = ""


@dataclass(frozen=True)
class Touch:
    """One action that reaches something of somebody else's.

    Args:
        owner: Whose.
        action: ``s3:GetObject``.
        resource: One resource that it reaches.
        statements: Where the statements stand that allow it.
        depends: What it depends on; empty when it is certain.
        harmful: It writes, or reads what somebody keeps; else it only tells that something is there.
    """

    owner: str
    action: str
    resource: str
    statements: tuple[str, ...]
    depends: tuple[str, ...]
    harmful: bool

    def document(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {
            "owner": self.owner,
            "action": self.action,
            "resource": self.resource,
            "statements": list(self.statements),
            "depends": list(self.depends),
            "harmful": self.harmful,
        }


def reach(holder: Holder, belongings: Iterable[Belonging]) -> tuple[Touch, ...]:
    """Return every action that reaches one of the belongings, certainly or depending on something unknown."""
    allowed = tuple(_allowed(holder))
    found: list[Touch] = []
    for belonging in belongings:
        for action in allowed:
            if belonging.arns:
                ways = (way(holder, [Ask(action.full)], text) for text in _by_arn(action, belonging.arns))
                way_there = best(ways)
            else:
                way_there = best(_by_name(holder, action, belonging.prefix))
            if way_there is not None:
                found.append(
                    Touch(
                        owner=belonging.owner,
                        action=action.full,
                        resource=way_there.resource.replace(STRANGER, "*"),
                        statements=tuple(dict.fromkeys(one.where for one in way_there.allowing)),
                        depends=() if way_there.certain else way_there.depends,
                        harmful=_harmful(action),
                    )
                )
    return tuple(found)


def summary(touches: Sequence[Touch]) -> tuple[str, ...]:
    """Return the touches in words: one line for each owner, service and kind, with the first few actions."""
    groups: dict[tuple[str, str, bool, bool], list[Touch]] = {}
    for touch in touches:
        key = (touch.owner, touch.action.split(":")[0], touch.harmful, not touch.depends)
        groups.setdefault(key, []).append(touch)
    lines = []
    for (owner, service, harmful, certain), group in groups.items():
        names = [touch.action.split(":")[1] for touch in group]
        listed = f"{', '.join(names[:4])}{f' and {len(names) - 4} more' if len(names) > 4 else ''}"
        what = "touches" if harmful else "sees"
        depends = "" if certain else f", depending on {', '.join(group[0].depends)}"
        where = "; ".join(dict.fromkeys(text for touch in group for text in touch.statements))
        lines.append(f"{what} {owner}: {service}:{{{listed}}} on {group[0].resource}{depends} (by {where})")
    return tuple(lines)


def _allowed(holder: Holder) -> Iterator[Action]:
    """Yield the actions that the policies, and the boundary, allow on anything at all."""
    found: dict[str, Action] = {}
    for statement in holder.identity:
        if statement.allows:
            found |= {action.full: action for action in _named(statement)}
    yield from (action for action in found.values() if holder.allows(action.full))


def _named(statement: Statement) -> Iterator[Action]:
    if statement.actions is not None:
        for pattern in statement.actions:
            yield from catalogue.expand(pattern)
        return
    excluded = [globs.glob(one) for one in statement.not_actions or ()]
    for action in catalogue.expand("*"):
        if not any(globs.matches(one, action.full.lower()) for one in excluded):
            yield action


def _by_arn(action: Action, arns: Sequence[str]) -> Iterator[str]:
    """Yield those of the ARNs that an action can work on, their wildcards filled in."""
    patterns = [
        globs.glob(pattern)
        for kind in action.resource_types
        for pattern in catalogue.arn_patterns(action.service, kind)
        # A recovery point of AWS Backup may have any ARN at all.
        if pattern.split(":")[2] != "*"
    ]
    for arn in arns:
        text = arn.replace("?", "x").replace("*", STRANGER)
        if any(globs.matches(one, text) and text.count("/") >= one.count("/") for one in patterns):
            yield text


def _by_name(holder: Holder, action: Action, prefix: str) -> Iterator[Way | None]:
    """Yield the ways to reach things whose names begin so; those of which a call needs several must all be reached."""
    needed = action.required_resource_types
    kinds = [(one,) for one in needed] if len(needed) > 1 else [needed or action.resource_types]
    ways = []
    for one in kinds:
        name = _IDS.get(f"{action.service}:{one[0]}", f"{prefix}-{STRANGER}") if one else ""
        texts = [text for text in named(holder, action.full, name, one) if STRANGER in text]
        ways.append(best(way(holder, [Ask(action.full)], text) for text in texts))
    if all(one is not None for one in ways):
        yield from sorted((one for one in ways if one is not None), key=lambda one: one.certain)[:1]


def _harmful(action: Action) -> bool:
    full = action.full.lower()
    return action.access_level not in _READS or any(globs.matches(one, full) for one in _DATA)

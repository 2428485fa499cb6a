"""Somebody with policies, and what can be known of the requests that it makes."""

from __future__ import annotations

import datetime as dt
import functools
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from ci_user.policy import catalogue
from ci_user.policy.conditions import ABSENT, Context, Values
from ci_user.policy.evaluate import speaks_of
from ci_user.policy.statement import Statement

STRANGER: Final = "n0b0dy5th1ng"
"""The name of something that no policy has in mind: who may touch it may touch whatever there is."""

_ACCOUNT: Final = re.compile(r"(?:^|:)([0-9]{12})(?::|$)")
_PARTITION: Final = re.compile(r"arn:(aws[a-z-]*):")
_NO_ACCOUNT: Final = "999999999999"

# What a caller puts into a request as it likes; https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-keys.html
_FREE: Final = frozenset({"aws:useragent", "aws:referer", "aws:requestedregion"})
_FLAGS: Final = frozenset({"aws:securetransport", "aws:viaawsservice"})
_CHAIN: Final = frozenset({"aws:calledvia", "aws:calledviafirst", "aws:calledvialast"})
_CLOCK: Final = frozenset({"aws:currenttime", "aws:epochtime"})
_REQUEST_TAGS: Final = "aws:requesttag/"


@dataclass(frozen=True)
class Holder:
    """Who is judged: what its policies and its boundary say, and what is known of it besides.

    Args:
        identity: The statements of all of its policies.
        boundary: Those of its permissions boundary; None when it has none.
        arn: Its own ARN, when that is known.
        long_term_keys: It signs with an IAM user's access keys, so that no request of its carries an MFA device.
        policy_arns: The managed policies that are attached to it; empty when that is not known.
        boundary_arn: Its boundary's ARN, when that is known.
        groups: The names of its groups; None when that is not known.
        contents: The statements of further policies, by ARN: of boundaries that it may give to roles, above all.
        supposed_account: The account to suppose while its own ARN is not known.
    """

    identity: tuple[Statement, ...]
    boundary: tuple[Statement, ...] | None = None
    arn: str | None = None
    long_term_keys: bool = False
    policy_arns: tuple[str, ...] = ()
    boundary_arn: str | None = None
    groups: tuple[str, ...] | None = None
    contents: Mapping[str, tuple[Statement, ...]] = field(default_factory=dict)
    supposed_account: str | None = None

    @property
    def every(self) -> tuple[Statement, ...]:
        """Return the statements of policies and boundary."""
        return self.identity if self.boundary is None else (*self.identity, *self.boundary)

    @functools.cached_property
    def account(self) -> str:
        """Return its account: its own ARN's, the supposed one, or the one that most ARNs of its policies name."""
        if self.arn is not None:
            return _named(_ACCOUNT, [self.arn]) or _NO_ACCOUNT
        return self.supposed_account or _named(_ACCOUNT, _texts(self.every)) or _NO_ACCOUNT

    @property
    def possible_accounts(self) -> tuple[str, ...]:
        """Return every account that may be its own: one when that is known, else all that its policies name, sorted."""
        if self.arn is not None or self.supposed_account is not None:
            return (self.account,)
        named = {account for text in _texts(self.every) for account in _ACCOUNT.findall(text)}
        return tuple(sorted(named)) or (_NO_ACCOUNT,)

    @functools.cached_property
    def partition(self) -> str:
        """Return its partition, likewise."""
        return _named(_PARTITION, [self.arn] if self.arn else _texts(self.every)) or "aws"

    @property
    def name(self) -> str:
        """Return the user's name; a made-up one when it is not known."""
        return self.arn.rsplit("/", 1)[-1] if self.arn else "h0lder"

    @property
    def user_arn(self) -> str:
        """Return its ARN; a made-up one when it is not known."""
        return self.arn or f"arn:{self.partition}:iam::{self.account}:user/{self.name}"

    @functools.cached_property
    def known(self) -> Mapping[str, Values | None]:
        """Return the condition keys whose values follow from who it is."""
        return {
            "aws:username": (self.name,),
            "aws:principalaccount": (self.account,),
            "aws:resourceaccount": (self.account,),
            "aws:principalarn": (self.arn,) if self.arn else None,
            "aws:principaltype": ("User",) if self.arn else None,
            "aws:principalisawsservice": ("false",),
        }

    def candidates(self, action: str, key: str, told: Sequence[str]) -> tuple[Values | None, ...]:
        """Return what a request of its may carry for a key; None for a value that nothing here tells.

        Args:
            action: ``iam:CreateRole``.
            key: A condition key in lower case, none of `known`.
            told: Texts that tell apart what the policies say about the key.
        """
        service = key.split(":", 1)[0]
        if key in _FREE:
            return tuple((text,) for text in told)
        if key in _FLAGS:
            return (("true",), ("false",))
        if key in _CHAIN:
            return (ABSENT, *((text,) for text in told))
        if key in _CLOCK:
            return tuple((moment,) for moment in _from_now_on(told))
        if key in ("aws:multifactorauthpresent", "aws:multifactorauthage", "aws:tokenissuetime"):
            if not self.long_term_keys:
                return (None,)
            # Signed with a key, or with a session that the key got without a device.
            session: dict[str, Values] = {
                "aws:multifactorauthpresent": ("false",),
                "aws:tokenissuetime": (dt.datetime.now(dt.UTC).isoformat(),),
            }
            return (ABSENT, session[key]) if key in session else (ABSENT,)
        if not catalogue.knows_key(action, key):
            plain = key in ("aws:tagkeys",) or key.startswith(_REQUEST_TAGS) or service != "aws"
            return tuple(dict.fromkeys((*([ABSENT] if plain else []), self.unlisted(key, None))))
        if key == "aws:tagkeys":
            return _sets(told)
        if key.startswith(_REQUEST_TAGS):
            return (ABSENT, *((text,) for text in told))
        if service == "aws" or "resourcetag" in key or "buckettag" in key:
            return (None,)
        return (ABSENT, *((text,) for text in told))

    @staticmethod
    def unlisted(key: str, value: Values | None) -> Values | None:
        """Return what a request carries for a key that AWS's reference does not list for its action.

        A service's own key is left out then. Tags are sent in more cases than the reference lists, so nothing is known of
        them, but that a request can be made without any. Of other global keys the reference lists none: ``value`` stands.
        """
        if not key.startswith("aws:"):
            return ABSENT
        if "resourcetag" in key or "principaltag" in key:
            return None
        return None if "tag" in key and value != ABSENT else value

    def context(self, values: Mapping[str, Values | None]) -> Context:
        """Return a context with what is known and ``values``; of all other keys nothing is known."""
        return Context({**self.known, **values}, rest=None)

    def about(self, action: str) -> tuple[tuple[Statement, ...], tuple[Statement, ...] | None]:
        """Return the statements of policies and of boundary that speak of an action."""
        found = self._about.get(action)
        if found is None:
            own, bounds = self._spoken
            found = own.of(action), None if bounds is None else bounds.of(action)
            self._about[action] = found
        return found

    def deciding(self, action: str, resource: str) -> tuple[list[Statement], list[Statement] | None]:
        """Return those of `about` that can speak of a resource: where many statements name many things, that is a few."""
        found = self._indexes.get(action)
        if found is None:
            own, bounds = self.about(action)
            found = _Index(own), None if bounds is None else _Index(bounds)
            self._indexes[action] = found
        own_index, bounds_index = found
        return own_index.at(resource), None if bounds_index is None else bounds_index.at(resource)

    def allows(self, action: str) -> bool:
        """Tell whether any statement allows an action on anything, and the boundary leaves room for it."""
        own, bounds = self.about(action)
        return any(one.allows for one in own) and (bounds is None or any(one.allows for one in bounds))

    def speaking(self, actions: Sequence[str]) -> tuple[Statement, ...]:
        """Return the statements of policies and of boundary that speak of any of the actions."""
        found = (one for action in actions for part in self.about(action) for one in part or ())
        return tuple(dict.fromkeys(found))

    @functools.cached_property
    def _about(self) -> dict[str, tuple[tuple[Statement, ...], tuple[Statement, ...] | None]]:
        return {}

    @functools.cached_property
    def _spoken(self) -> tuple[_Spoken, _Spoken | None]:
        return _Spoken(self.identity), None if self.boundary is None else _Spoken(self.boundary)

    @functools.cached_property
    def _indexes(self) -> dict[str, tuple[_Index, _Index | None]]:
        return {}


class _Spoken:
    """Statements by the actions that they name in full; those with wildcards or ``NotAction`` are asked each time."""

    def __init__(self, statements: Sequence[Statement]) -> None:
        self._statements = statements
        self._asked: list[int] = []
        self._named: dict[str, list[int]] = {}
        for number, one in enumerate(statements):
            if one.actions is None or any("*" in action or "?" in action for action in one.actions):
                self._asked.append(number)
            else:
                for action in one.actions:
                    self._named.setdefault(action, []).append(number)

    def of(self, action: str) -> tuple[Statement, ...]:
        """Return the statements that speak of an action, in their order."""
        asked = [number for number in self._asked if speaks_of(self._statements[number], action)]
        return tuple(self._statements[number] for number in sorted({*asked, *self._named.get(action.lower(), ())}))


class _Index:
    """Statements by how the resources that they name begin, up to the first wildcard."""

    def __init__(self, statements: Sequence[Statement]) -> None:
        self._statements = statements
        self._always: set[int] = set()
        self._starts: dict[int, dict[str, set[int]]] = {}
        for number, one in enumerate(statements):
            if one.resources is None:
                self._always.add(number)
            for start, fixed, _ in one.resource_patterns:
                # A policy variable may stand for anything.
                where = start if fixed is not None else ""
                self._starts.setdefault(len(where), {}).setdefault(where, set()).add(number)

    def at(self, resource: str) -> list[Statement]:
        """Return the statements that can match a resource, in their order."""
        found = set(self._always)
        for length, starts in self._starts.items():
            found |= starts.get(resource[:length], set())
        return [self._statements[number] for number in sorted(found)]


def _texts(statements: Iterable[Statement]) -> Iterable[str]:
    for one in statements:
        yield from one.resources or one.not_resources or ()
        for test in one.tests:
            yield from test.values


def _named(pattern: re.Pattern[str], texts: Iterable[str]) -> str | None:
    found = Counter(match for text in texts for match in pattern.findall(text))
    return max(found, key=lambda one: (found[one], one), default=None)


def _sets(told: Sequence[str]) -> tuple[Values, ...]:
    pairs = [(one, other) for i, one in enumerate(told) for other in told[i + 1 :]]
    return tuple(dict.fromkeys((ABSENT, *((text,) for text in told), *pairs, tuple(told))))


def _from_now_on(told: Sequence[str]) -> Iterable[str]:
    """Return now, and each later moment at which a policy's answer may change: a holder can wait."""
    from ci_user.policy.conditions import moment

    now = dt.datetime.now(dt.UTC).timestamp()
    later = {found + step for text in told if (found := moment(text)) is not None for step in (-1, 0, 1)}
    return [f"{when:.0f}" for when in sorted({now, *(when for when in later if when > now)})]

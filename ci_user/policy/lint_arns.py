"""Lint of ARNs: their shape, and whether any resource can have them.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_resource.html
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from ci_user.policy import catalogue
from ci_user.policy.lint_finding import Defect, Subject, listed, nearest, quoted

PARTITIONS: Final = ("aws", "aws-cn", "aws-us-gov", "aws-eusc", "aws-iso", "aws-iso-b", "aws-iso-e", "aws-iso-f")
"""https://docs.aws.amazon.com/IAM/latest/UserGuide/reference-arns.html"""

# Accounts that AWS writes as words: arn:aws:iam::aws:policy/..., arn:aws:iam::cloudfront:user/...
_NAMED_ACCOUNTS: Final = ("aws", "cloudfront", "aws-marketplace")
_REGION: Final = re.compile(r"[a-z]{2,4}(-[a-z]+)+-\d")
_ALIKE: Final = 0.4
_VARIABLE: Final = re.compile(r"\$\{[^}]*\}")


def arn_defects(subject: Subject) -> Iterator[Defect]:
    """Find what is wrong with each item of a statement's Resource or NotResource."""
    element = subject.resource_element
    wanted: tuple[str, ...] = ()
    for text in subject.actions if subject.statement.actions is not None else ():
        action = catalogue.action(text)
        if action is not None:
            wanted += tuple(
                arn for kind in action.resource_types for arn in catalogue.arn_patterns(action.service, kind)
            )
    for at, text in enumerate(subject.resources):
        yield from _defects(text, (element, at), wanted)


def _defects(text: str, path: tuple[str, int], wanted: tuple[str, ...]) -> Iterator[Defect]:
    if not text.strip("*"):
        return
    parts = text.split(":", 5)
    if parts[0] != "arn" or len(parts) < 3:
        message = f"{quoted(text)} is no ARN, which IAM refuses: it wants arn:PARTITION:SERVICE:REGION:ACCOUNT:RESOURCE"
        yield Defect("bad-arn", "error", message, "write the ARN, or `*` for every resource", path)
        return
    if len(parts) < 6 and not text.endswith("*"):
        message = f"{quoted(text)} has {len(parts)} parts, but an ARN has six: it matches nothing"
        fix = "write arn:PARTITION:SERVICE:REGION:ACCOUNT:RESOURCE; what does not apply stays empty"
        yield Defect("bad-arn", "error", message, fix, path)
        return
    found = [*_segments(text, parts, path)]
    yield from found
    if found:
        return
    if len(parts) < 6:
        message = f"{quoted(text)} has {len(parts)} parts of six: the last `*` stands for the others, all that the service has"
        fix = f"write all parts: {quoted(text + ':*' * (6 - len(parts)))}"
        yield Defect("short-arn", "warning", message, fix, path)
    else:
        yield from _unmatched(text, parts, path, wanted)


def _segments(text: str, parts: list[str], path: tuple[str, int]) -> Iterator[Defect]:
    partition, service = parts[1], parts[2]
    if not _wild(partition) and partition not in PARTITIONS:
        fix = f"one of {', '.join(PARTITIONS)}"
        yield Defect("bad-partition", "error", f"{quoted(text)} names the partition {quoted(partition)}", fix, path)
    if re.search(r"[*?]", service) or not service:
        yield Defect(
            "arn-service-wildcard",
            "error",
            f"{quoted(text)} has no service, or a wildcard in it, which IAM refuses",
            "name the service, one ARN for each; `*` alone stands for every resource",
            path,
        )
    elif "${" not in service and not catalogue.vendors(service) and service not in catalogue.services():
        meant = nearest(service, catalogue.services())
        fix = f"did you mean {quoted(meant)}?" if meant else "correct the service"
        message = f"{quoted(text)} names the service {quoted(service)}, which is not in AWS's reference"
        yield Defect("unknown-service", "error", message, fix, path)
    if len(parts) > 3 and parts[3] and not _wild(parts[3]) and not _REGION.fullmatch(parts[3]):
        message = f"{quoted(text)} names the region {quoted(parts[3])}, which looks like none"
        yield Defect("bad-region", "error", message, "write a region such as eu-west-1, or `*`", path)
    if len(parts) > 4 and not _is_account(parts[4]):
        message = f"{quoted(text)} names the account {quoted(parts[4])}; an account has twelve digits"
        yield Defect("bad-account", "error", message, "write the account's number, or `*`", path)


def _is_account(text: str) -> bool:
    if not text or text in _NAMED_ACCOUNTS or "${" in text:
        return True
    plain = text.replace("*", "")
    return re.fullmatch(r"[0-9?]*", plain) is not None and (len(plain) == 12 or ("*" in text and len(plain) < 12))


def _wild(text: str) -> bool:
    return "*" in text or "?" in text or "${" in text


def _unmatched(text: str, parts: list[str], path: tuple[str, int], wanted: tuple[str, ...]) -> Iterator[Defect]:
    service = parts[2]
    types = types_of(service)
    if not types:
        return
    if not parts[5] or not meets(text, types):
        own = service if service in catalogue.services() else catalogue.vendors(service)[0]
        yield Defect(
            "arn-matches-nothing",
            "error",
            f"{quoted(text)} is the ARN of no resource that {service} has",
            f"the nearest is {quoted(closest(text, types))}; see {catalogue.page(own)}",
            path,
        )
        return
    starts = sorted({_start(arn) for arn in types if meets(text, (arn,))})
    refused = service == "iam"
    # Who writes `*:name` or `*/name` means every kind, which only IAM's own ARNs may not say.
    kindless = re.match(r"[*?]+(?![*?:/])" if not refused else r"[*?]+(?![*?])", parts[5])
    if kindless and parts[5].strip("*") and all(starts):
        kinds = [start for start in starts if start in {_start(arn) for arn in wanted}] or starts
        yield Defect(
            "arn-without-type",
            "error" if refused else "warning",
            f"{quoted(text)} does not begin the resource with its kind, as {service}'s ARNs do ({listed(starts, 4)}): "
            + (
                "IAM refuses that"
                if refused
                else "it is about every kind, as far as its wildcard reaches beyond the kind"
            ),
            f"write the kind: {quoted(':'.join([*parts[:5], kinds[0] + parts[5]]))}",
            path,
        )


def _start(arn: str) -> str:
    return arn.split(":", 5)[5].split("*", 1)[0]


def closest(text: str, arns: tuple[str, ...]) -> str:
    """Return the pattern of the catalogue that somebody who wrote an ARN most likely meant."""
    import difflib

    parts = text.split(":", 5)

    def likeness(arn: str) -> tuple[float, int, int]:
        other = arn.split(":", 5)
        alike = sum(bool(one) == bool(two) for one, two in zip(parts[3:5], other[3:5], strict=True))
        ratio = difflib.SequenceMatcher(None, parts[5][:200], other[5], autojunk=False).ratio()
        return (ratio if ratio > _ALIKE else 0, alike, -len(arn))

    fitting = [arn for arn in arns if meets(":".join([*arn.replace("*", "x").split(":", 5)[:5], parts[5]]), (arn,))]
    return max(fitting or arns, key=likeness)


@functools.lru_cache(maxsize=512)
def types_of(vendor: str) -> tuple[str, ...]:
    """Return the ARN patterns of every resource type whose ARNs name this service."""
    return tuple(
        sorted(
            {
                arn
                for service in catalogue.vendors(vendor)
                for kind in catalogue.resource_types(service)
                for arn in catalogue.arn_patterns(service, kind)
                if arn.split(":", 5)[2] == vendor
            }
        )
    )


def meets(text: str, arns: tuple[str, ...]) -> bool:
    """Tell whether a resource of a policy can match an ARN of one of these patterns of the catalogue.

    A wildcard of the policy counts as reaching beyond colons, which AWS grants to the last one of a part:
    https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_resource.html

    Args:
        text: The resource, as it stands in a policy; policy variables count as any text.
        arns: Patterns as `catalogue.arn_patterns` returns them.
    """
    own = _vendor(text)
    for arn in arns:
        vendor = _vendor(arn)
        # Recovery points of AWS Backup have the ARNs of many services, in more shapes than the reference has.
        if vendor is None or ((own is None or own == vendor) and _meet(text, arn)):
            return True
    return False


@functools.lru_cache(maxsize=16_384)
def _vendor(arn: str) -> str | None:
    parts = arn.split(":", 3)
    return None if len(parts) < 4 or _wild(parts[2]) else parts[2]


@functools.lru_cache(maxsize=65_536)
def _meet(text: str, arn: str) -> bool:
    pattern = _Pattern.of(arn)
    state = pattern.after_stars(1)
    for token in _tokens(text):
        if token == _ANY:
            # Every place from here on can be reached, since each takes some character.
            state = pattern.all & -(state & -state)
        elif token == _ONE:
            state = pattern.after_stars(((state & ~pattern.stars) << 1) | (state & pattern.stars))
        else:
            state = pattern.after_stars(pattern.step(state, token))
        if not state:
            return False
    return bool(state & pattern.end)


_ANY: Final = "\0"
_ONE: Final = "\1"


def _tokens(text: str) -> Iterator[str]:
    at = 0
    for variable in _VARIABLE.finditer(text):
        yield from text[at : variable.start()].replace("*", _ANY).replace("?", _ONE)
        yield variable[0][2] if variable[0] in ("${*}", "${?}", "${$}") else _ANY
        at = variable.end()
    yield from text[at:].replace("*", _ANY).replace("?", _ONE)


@dataclass(frozen=True)
class _Pattern:
    """An ARN of the catalogue as an automaton: one bit for each place, and one for its end."""

    literals: dict[str, int]
    one: int
    stars: int
    barred: dict[str, int]
    end: int
    all: int

    @classmethod
    @functools.lru_cache(maxsize=4_096)
    def of(cls, arn: str) -> _Pattern:
        literals: dict[str, int] = {}
        barred: dict[str, int] = {}
        one = stars = 0
        bit = 1
        parts = arn.split(":", 5)
        places = [(character, number) for number, part in enumerate(parts[:5]) for character in f"{part}:"]
        for character, number in [*places, *((character, 5) for character in parts[5])]:
            if character != "*":
                literals[character] = literals.get(character, 0) | bit
            else:
                if number < 5:
                    # A region or an account that a type's ARN has is never empty, and has no colon.
                    one |= bit
                    bit <<= 1
                    barred[":"] = barred.get(":", 0) | bit
                stars |= bit
            bit <<= 1
        if _has_children(arn):
            barred["/"] = bit >> 1
        return cls(literals, one, stars, barred, bit, (bit << 1) - 1)

    def after_stars(self, state: int) -> int:
        """Return the places that are reached besides when stars take nothing."""
        while True:
            wider = state | ((state & self.stars) << 1)
            if wider == state:
                return state
            state = wider

    def step(self, state: int, character: str) -> int:
        """Return the places after one character."""
        single = self.literals.get(character, 0) | (0 if character == ":" else self.one)
        return ((state & single) << 1) | (state & self.stars & ~self.barred.get(character, 0))


@functools.lru_cache(maxsize=4_096)
def _has_children(arn: str) -> bool:
    """Tell whether other types have this type's ARN, a slash and more: then its own last part has no slash.

    A bucket's ARN is ``arn:*:s3:::*`` and an object's ``arn:*:s3:::*/*``: a bucket's name holds no slash.
    """
    return arn.endswith("*") and any(one.startswith(f"{arn}/") for one in types_of(arn.split(":", 5)[2]))

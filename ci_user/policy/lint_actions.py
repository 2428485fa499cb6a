"""Lint of actions: those that do not exist, match nothing, or stand twice.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_action.html
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from ci_user.policy import catalogue
from ci_user.policy.lint_finding import Defect, Subject, listed, nearest, quoted
from ci_user.policy.lint_patterns import covering, covers

_SHAPE: Final = re.compile(r"[A-Za-z0-9*?-]+:[A-Za-z0-9*?_-]+")

# Operations that people take for actions, and what IAM asks for instead.
# https://docs.aws.amazon.com/AmazonS3/latest/userguide/using-with-s3-policy-actions.html
# https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/cf-api-permissions-ref.html
_OPERATIONS: Final[Mapping[str, str]] = {
    "cloudfront:createdistributionwithtags": "cloudfront:CreateDistribution and cloudfront:TagResource",
    "lambda:invoke": "lambda:InvokeFunction",
    "s3:completemultipartupload": "s3:PutObject",
    "s3:copyobject": "s3:GetObject on the source and s3:PutObject on the target",
    "s3:createmultipartupload": "s3:PutObject",
    "s3:deletebucketencryption": "s3:PutEncryptionConfiguration",
    "s3:deletebucketlifecycle": "s3:PutLifecycleConfiguration",
    "s3:deleteobjects": "s3:DeleteObject",
    "s3:getbucketencryption": "s3:GetEncryptionConfiguration",
    "s3:getbucketlifecycleconfiguration": "s3:GetLifecycleConfiguration",
    "s3:getpublicaccessblock": "s3:GetBucketPublicAccessBlock",
    "s3:headbucket": "s3:ListBucket",
    "s3:headobject": "s3:GetObject",
    "s3:listbuckets": "s3:ListAllMyBuckets",
    "s3:listmultipartuploads": "s3:ListBucketMultipartUploads",
    "s3:listobjects": "s3:ListBucket",
    "s3:listobjectsv2": "s3:ListBucket",
    "s3:listobjectversions": "s3:ListBucketVersions",
    "s3:listparts": "s3:ListMultipartUploadParts",
    "s3:putbucketencryption": "s3:PutEncryptionConfiguration",
    "s3:putbucketlifecycleconfiguration": "s3:PutLifecycleConfiguration",
    "s3:putpublicaccessblock": "s3:PutBucketPublicAccessBlock",
    "s3:uploadpart": "s3:PutObject",
}


def action_defects(subject: Subject) -> Iterator[Defect]:
    """Find what is wrong with a statement's actions, each by itself and beside each other."""
    element = subject.action_element
    for at, text in enumerate(subject.actions):
        yield from _named(text, (element, at), allows=subject.statement.allows)
    yield from _twice(subject.actions, element)
    if element == "NotAction" and subject.statement.allows:
        yield Defect(
            "not-action-allowed",
            "warning",
            "Allow with NotAction allows every other action there is, and each that AWS adds to any service later",
            "list what is needed in Action; NotAction serves in Deny",
            (element,),
        )


def _named(text: str, path: tuple[str, int], *, allows: bool) -> Iterator[Defect]:
    if text == "*":
        return
    if "${" in text:
        message = f"{quoted(text)}: policy variables do not work in actions"
        yield Defect("variable-in-action", "error", message, "write the action out", path)
        return
    if not _SHAPE.fullmatch(text):
        message = f"{quoted(text)} is no action: IAM wants a service, a colon and a name, such as `s3:GetObject`"
        yield Defect("bad-action", "error", message, "correct it, or write `*` for every action", path)
        return
    service, name = text.split(":")
    if re.search(r"[*?]", service):
        yield Defect(
            "service-wildcard",
            "error",
            f"{quoted(text)} has a wildcard in the service, which IAM refuses",
            "name the service, one action for each; `*` alone stands for every action",
            path,
        )
    elif service.lower() not in catalogue.services():
        yield Defect(
            "unknown-service",
            "error",
            f"there is no service {quoted(service)} in {_as_of()}",
            _write(service, nearest(service, catalogue.services()), f":{name}"),
            path,
        )
    elif not catalogue.expand(text):
        yield _unknown(text, service, name, path, allows=allows)


def _unknown(text: str, service: str, name: str, path: tuple[str, int], *, allows: bool) -> Defect:
    effect = "allows" if allows else "denies"
    if re.search(r"[*?]", name):
        message = f"{quoted(text)} matches no action of {service} ({_as_of()}), so it {effect} nothing"
        return Defect("action-matches-nothing", "error", message, f"see {catalogue.page(service)}", path)
    message = f"{quoted(text)} is no action of {service} ({_as_of()}), so it {effect} nothing"
    known = _OPERATIONS.get(text.lower())
    if known:
        fix = f"it is an operation, for which IAM asks for {known}: use that"
        return Defect("unknown-action", "error", message, fix, path)
    meant = nearest(name, [one.name for one in catalogue.actions(service)])
    fix = _write(name, meant, "", f"{service}:") if meant else f"see {catalogue.page(service)}"
    return Defect("unknown-action", "error", message, fix, path)


def _write(found: str, meant: str | None, end: str, start: str = "") -> str:
    if meant is None:
        return f"correct {quoted(found)}; `make catalogue` renews the reference"
    return f"did you mean {quoted(f'{start}{meant}{end}')}?"


def _as_of() -> str:
    return f"AWS's reference of {catalogue.dated().date}"


def _twice(actions: Sequence[str], element: str) -> Iterator[Defect]:
    lowered = [text.lower() for text in actions]
    for at, wider in covering(lowered).items():
        if lowered[at] == lowered[wider]:
            message = f"{quoted(actions[at])} stands twice in {element}"
            yield Defect("duplicate-action", "note", message, "take one out", (element, at))
        else:
            message = f"{quoted(actions[at])} is covered by {quoted(actions[wider])}"
            yield Defect("covered-action", "note", message, f"take {quoted(actions[at])} out", (element, at))


def repeated_actions(subjects: Sequence[Subject]) -> Iterator[tuple[int, Defect]]:
    """Find actions that another statement allows or denies already, on the same resources or more.

    Returns:
        The number of the statement in which an action is superfluous, and the finding.
    """
    for one in subjects:
        for other in subjects:
            if one is other or not _says_as_much(other, one):
                continue
            mutual = other.number > one.number and _says_as_much(one, other)
            repeated = [text for text in one.actions if _says(other, text.lower(), more=mutual)]
            if repeated:
                path = (one.action_element, one.actions.index(repeated[0]))
                message = f"{listed(repeated)}: statement {other.number} says the same, on these resources or more"
                yield one.number, Defect("repeated-action", "note", message, "keep them in one of the two", path)


def _says(subject: Subject, action: str, *, more: bool) -> bool:
    """Tell whether a statement names an action; with `more`, whether a pattern of it names others too."""
    wider = [text.lower() for text in subject.actions if covers(text.lower(), action)]
    return any(not covers(action, text) for text in wider) if more else bool(wider)


def _says_as_much(wide: Subject, narrow: Subject) -> bool:
    """Tell whether what `wide` says of an action includes what `narrow` says of it."""
    one, other = wide.statement, narrow.statement
    if one.allows != other.allows or one.actions is None or other.actions is None:
        return False
    if one.resources is None or other.resources is None or not set(one.tests) <= set(other.tests):
        return False
    return all(any(covers(wider, text) for wider in one.resources) for text in other.resources)


def idle_tagging(subjects: Sequence[Subject]) -> Iterator[tuple[int, Defect]]:
    """Find actions that tag resources with which no other allowed action can do anything.

    Returns:
        The number of the statement, and the finding.
    """
    allowing = [one for one in subjects if one.statement.allows]
    if any(one.statement.actions is None for one in allowing):
        return
    worked_on: set[tuple[str, str]] = set()
    for one in allowing:
        for text in one.actions:
            for found in catalogue.expand(text):
                if found.access_level != "Tagging":
                    worked_on |= {(found.service, kind) for kind in found.resource_types}
    for one in allowing:
        idle: dict[str, list[str]] = {}
        for text in one.actions:
            action = catalogue.action(text)
            if action is None or action.access_level != "Tagging" or not action.resource_types:
                continue
            if not any((action.service, kind) in worked_on for kind in action.resource_types):
                idle.setdefault(listed(action.resource_types), []).append(text)
        for kinds, texts in idle.items():
            yield (
                one.number,
                Defect(
                    "idle-tagging",
                    "note",
                    f"{listed(texts)}: no other allowed action works on what they tag ({kinds})",
                    "take them out, or allow what makes these resources",
                    (one.action_element, one.actions.index(texts[0])),
                ),
            )

"""Lint of actions and resources together: what can never match, what is wider than it need be, what stands twice.

https://docs.aws.amazon.com/service-authorization/latest/reference/reference_policies_actions-resources-contextkeys.html
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from typing import Final

from ci_user.policy import catalogue, globs
from ci_user.policy.catalogue import Action
from ci_user.policy.lint_arns import arn_defects, closest, meets
from ci_user.policy.lint_finding import Defect, Subject, listed, quoted
from ci_user.policy.lint_patterns import covering

# Actions that read what is stored, by service; on `*` they read everybody's.
_DATA: Final = (
    *("dynamodb:BatchGetItem", "dynamodb:GetItem", "dynamodb:Query", "dynamodb:Scan", "kms:Decrypt"),
    *("s3:GetObject", "s3:GetObjectVersion", "secretsmanager:BatchGetSecretValue", "secretsmanager:GetSecretValue"),
    *("sqs:ReceiveMessage", "ssm:GetParameter", "ssm:GetParameters", "ssm:GetParametersByPath"),
)

# A statement about more actions than that has some use for each of its resources.
_EXPANDED: Final = 1_000


def resource_defects(subject: Subject) -> Iterator[Defect]:
    """Find ARNs that are wrong, resources that stand twice, actions that cannot match, and what a wide resource opens."""
    element = subject.resource_element
    wrong = list(arn_defects(subject))
    yield from wrong
    yield from _twice(subject.resources, element)
    statement = subject.statement
    if element == "NotResource" and statement.allows:
        yield Defect(
            "not-resource-allowed",
            "warning",
            "Allow with NotResource allows the actions on every other resource there is, of other applications too",
            "list what is needed in Resource; NotResource serves in Deny",
            (element,),
        )
    if statement.actions is None or statement.resources is None:
        return
    if not any(one.severity == "error" for one in wrong):
        yield from _mismatches(subject)
        yield from _unused(subject)
    if statement.allows and any(not text.strip("*") for text in statement.resources):
        yield from _on_everything(subject)


def _twice(resources: Sequence[str], element: str) -> Iterator[Defect]:
    for at, wider in covering(resources).items():
        text = resources[at]
        if text == resources[wider]:
            yield Defect("duplicate-resource", "note", f"{quoted(text)} stands twice", "take one out", (element, at))
        else:
            message = f"{quoted(text)} is covered by {quoted(resources[wider])}"
            yield Defect("covered-resource", "note", message, f"take {quoted(text)} out", (element, at))


def _mismatches(subject: Subject) -> Iterator[Defect]:
    effect = "allows" if subject.statement.allows else "denies"
    for at, text in enumerate(subject.actions):
        found = catalogue.expand(text)
        if not found or any(_fits(one, subject.resources) for one in found):
            continue
        path = ("Action", at)
        if all(not one.resource_types for one in found):
            yield Defect(
                "needs-every-resource",
                "error",
                f"{quoted(text)} knows no resources, so the statement {effect} it nowhere: its resource is always `*`",
                'move it to a statement with `"Resource": "*"`',
                path,
            )
        else:
            one = next(one for one in found if one.resource_types)
            yield Defect(
                "action-resource-mismatch",
                "error",
                f"{quoted(text)} works on {listed(one.resource_types)}, of which the statement names none, so it {effect} it "
                "nowhere",
                f"name a resource such as {_example(one, subject.resources)}, or move the action",
                path,
            )


def _fits(action: Action, resources: Sequence[str]) -> bool:
    """Tell whether one of the resources can be one that the action works on."""
    if not action.resource_types:
        return any(globs.matches(globs.glob(text), "*") for text in resources)
    return any(meets(text, _arns(action)) for text in resources)


def _arns(action: Action) -> tuple[str, ...]:
    return tuple(arn for kind in action.resource_types for arn in catalogue.arn_patterns(action.service, kind))


def _example(action: Action, resources: Sequence[str]) -> str:
    kinds = action.required_resource_types or action.resource_types
    arns = tuple(arn for kind in kinds for arn in catalogue.arn_patterns(action.service, kind))
    written = next((text for text in resources if text.count(":") >= 5), None)
    found = min(arns, key=len) if written is None else closest(written, arns)
    return quoted(found.replace("arn:*:", "arn:aws:"))


def _unused(subject: Subject) -> Iterator[Defect]:
    expanded = [catalogue.expand(text) for text in subject.actions]
    if len(subject.resources) < 2 or not all(expanded) or sum(map(len, expanded)) > _EXPANDED:
        return
    arns = tuple(dict.fromkeys(arn for every in expanded for one in every for arn in _arns(one)))
    for at, text in enumerate(subject.resources):
        if text.startswith("arn:") and not meets(text, arns) and any(meets(other, arns) for other in subject.resources):
            message = f"no action of the statement works on {quoted(text)}"
            fix = "take it out, or add the action that was meant"
            yield Defect("unused-resource", "warning", message, fix, ("Resource", at))


def missing_resources(subjects: Sequence[Subject]) -> Iterator[tuple[int, Defect]]:
    """Find allowed actions that need several kinds of resource, where only some are named anywhere in the document.

    Returns:
        The number of the statement, and the finding.
    """
    allowing = [one for one in subjects if one.statement.allows]
    if any(one.statement.actions is None or one.statement.resources is None for one in allowing):
        return
    told: set[str] = set()
    for one in allowing:
        for at, text in enumerate(one.actions):
            action = catalogue.action(text)
            if action is None or len(action.required_resource_types) < 2 or action.full in told:
                continue
            told.add(action.full)
            names = action.full.lower()
            resources = [
                resource
                for other in allowing
                if any(globs.matches(globs.glob(pattern.lower()), names) for pattern in other.actions)
                for resource in other.resources
            ]
            kinds = [
                kind
                for kind in action.required_resource_types
                if not any(meets(text, catalogue.arn_patterns(action.service, kind)) for text in resources)
            ]
            if kinds and len(kinds) < len(action.required_resource_types):
                examples = [
                    catalogue.arn_patterns(action.service, kind)[0].replace("arn:*:", "arn:aws:") for kind in kinds
                ]
                wanted = f"AWS's reference wants {listed(kinds)} named for {quoted(text)} too, which no statement does"
                message = f"{wanted}: a call that involves one is denied"
                fix = f"add {listed(examples)}, narrowed to what is meant"
                yield one.number, Defect("missing-resource", "warning", message, fix, ("Action", at))


def _on_everything(subject: Subject) -> Iterator[Defect]:
    exact = [(text, found) for text in subject.actions if (found := catalogue.action(text)) is not None]
    narrow = [text for text, found in exact if found.resource_types]
    powerful = [text for text in subject.actions if _gives_rights(text)]
    if powerful and not subject.statement.tests:
        yield Defect(
            "permissions-on-everything",
            "warning",
            f"{listed(powerful)} on `*`: who may give rights to every identity can give itself all of them",
            "limit them to your own roles and by `iam:PermissionsBoundary`; `invoke policy.escalation` shows the ways",
            ("Action", subject.actions.index(powerful[0])),
        )
    reading = [text for text in subject.actions if _reads_data(text)]
    if reading and not subject.statement.tests:
        yield Defect(
            "data-on-everything",
            "warning",
            f"{listed(reading)} on `*`: that reads what every application of the account stores, Terraform's state and other "
            "environments' keys among it",
            "limit them to your own buckets, secrets and tables",
            ("Action", subject.actions.index(reading[0])),
        )
    if narrow:
        first = next(found for text, found in exact if text == narrow[0])
        yield Defect(
            "every-resource",
            "note",
            f"{len(narrow)} of {len(subject.actions)} actions on `*` could be limited to resources: {listed(narrow)}",
            f"name the resources, such as {_example(first, ())} for {quoted(narrow[0])}; leave on `*` what knows none",
            ("Resource",),
        )


@functools.lru_cache(maxsize=4_096)
def _gives_rights(text: str) -> bool:
    found = catalogue.expand(text)
    return any(one.service == "iam" and one.access_level == "Permissions management" for one in found)


def _reads_data(text: str) -> bool:
    return any(globs.matches(globs.glob(text.lower()), one.lower()) for one in _DATA)

"""What the embedded AWS (ministack 1.5.33) cannot judge, and a document without it. docs/policies.md has the same table."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, Final

Document = dict[str, Any]

UNJUDGED: Final[Mapping[str, str]] = {
    "`iam:PermissionsBoundary`": "never filled in: every write to a role that asks for the role boundary is denied",
    "`iam:PassedToService`": "PassRole is not enforced",
    "`iam:AWSServiceName`": "creating a service-linked role is asked about on `*`, not on the role",
    "`lambda:Principal`": "never filled in: with the boundary every AddPermission is denied",
    "`cloudformation:RoleArn`": "never filled in",
    "the rights that a stack acts with": "a stack makes roles whatever its caller may do, and drops their boundary",
    "the owner tag of CloudFront": "neither tags of requests nor of distributions are filled in; a distribution with tags "
    "is asked about as an action of its own, and tagging on `*`",
    "the owner tag of Cognito": "neither tags of requests nor of pools are filled in; tagging is asked about on `*`",
    "the owner tag of API Gateway": "neither tags of requests nor of APIs are filled in",
    "names of CloudFront's functions": "asked about on `*`",
    "origin access identities": "they are not there",
    "the name in CreateFunction": "asked about on `*`",
    "tags of clusters and snapshots, snapshots by name": "asked about on `*`",
}
"""What cannot be judged, and what is done instead of judging it."""

_NEVER_FILLED_IN: Final = frozenset({"iam:PermissionsBoundary", "lambda:Principal"})
_OWNER: Final = frozenset({"aws:RequestTag/ci-owner", "aws:ResourceTag/ci-owner"})
_ASKED_ON_EVERYTHING: Final = (
    *("cloudfront:DeleteFunction", "cloudfront:DescribeFunction", "cloudfront:PublishFunction"),
    *("cloudfront:UpdateFunction", "lambda:CreateFunction", "rds:AddTagsToResource", "rds:DescribeDBClusterSnapshots"),
    "rds:RemoveTagsFromResource",
)


def judgeable(document: Mapping[str, Any]) -> Document:
    """Return a document without the conditions that the embedded AWS never sees met.

    It allows all that the document allows, and more; so what is denied under it, the document denies too, by a part that
    the embedded AWS judges. An Allow loses these tests of its condition, a Deny that has one of the keys that are never
    filled in is left out, and the actions that are asked about on ``*`` are allowed there.
    """
    statements = []
    for entry in copy.deepcopy(document["Statement"]):
        keys = {key for test in entry.get("Condition", {}).values() for key in test}
        if entry["Effect"] == "Deny":
            statements += [] if keys & _NEVER_FILLED_IN else [entry]
            continue
        for test in entry.get("Condition", {}).values():
            for key in keys & (_NEVER_FILLED_IN | _OWNER):
                test.pop(key, None)
        statements.append(entry)
    asked = {"Effect": "Allow", "Action": list(_ASKED_ON_EVERYTHING), "Resource": "*"}
    return {**document, "Statement": [*statements, asked]}

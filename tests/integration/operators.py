"""A role with one of the operators' policies in the embedded AWS, and what it may send."""

from __future__ import annotations

import copy
import http.client
import json
import urllib.parse
import uuid
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

from botocore.auth import S3SigV4Auth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from tests import proxy
from tests.integration.asked import operation

if TYPE_CHECKING:
    from tests.conftest import EmbeddedAws

Document = Mapping[str, Any]

UNJUDGED: Final = frozenset({"iam:PermissionsBoundary", "iam:PolicyARN"})
"""Condition keys that the embedded AWS (ministack 1.5.33) never fills in: what asks for them is judged by the evaluator alone."""

ELSEWHERE: Final = frozenset(
    {
        *("iam:CreatePolicy", "iam:GetAccessKeyLastUsed"),
        *("iam:AddUserToGroup", "iam:RemoveUserFromGroup", "iam:AttachGroupPolicy", "iam:DetachGroupPolicy"),
    }
)
"""Actions that it asks about ``*``, or the user or policy where AWS asks about the group."""

_KEPT: Final = frozenset({"content-type", "x-amz-target", "if-match", "if-none-match", "range"})
_TRUST: Final = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"}],
}


def judgeable(document: Document) -> Document:
    """Return a document as the embedded AWS can judge it: without the tests of `UNJUDGED`, and with `ELSEWHERE` on everything."""
    statements = []
    for entry in copy.deepcopy(document["Statement"]):
        tests = {
            operator: {key: value for key, value in test.items() if key not in UNJUDGED}
            for operator, test in entry.pop("Condition", {}).items()
        }
        tests = {operator: test for operator, test in tests.items() if test}
        statements.append({**entry, "Condition": tests} if tests else entry)
        asked = sorted(ELSEWHERE.intersection(actions(entry)))
        statements += [{"Effect": "Allow", "Action": asked, "Resource": "*"}] if asked else []
    return {**document, "Statement": statements}


def actions(statement: Mapping[str, Any]) -> list[str]:
    """Return the actions of a statement."""
    action = statement["Action"]
    return [action] if isinstance(action, str) else action


def without(document: Document, sid: str) -> Document:
    """Return a document without one statement."""
    return {**document, "Statement": [one for one in document["Statement"] if one["Sid"] != sid]}


class Role:
    """A role and a session of it; ``change`` exchanges what it may do."""

    def __init__(self, aws: EmbeddedAws, document: Document) -> None:
        self._aws = aws
        self._name = f"operator-{uuid.uuid4().hex[:8]}"
        iam = aws.client("iam")
        arn = iam.create_role(RoleName=self._name, AssumeRolePolicyDocument=json.dumps(_TRUST))["Role"]["Arn"]
        self.change(document)
        self._session = aws.client("sts").assume_role(RoleArn=arn, RoleSessionName="tests")["Credentials"]

    def change(self, document: Document) -> None:
        """Give the role another policy instead."""
        self._aws.client("iam").put_role_policy(
            RoleName=self._name, PolicyName="operators", PolicyDocument=json.dumps(judgeable(document))
        )

    @property
    def exports(self) -> dict[str, str]:
        """Return the variables that make a process this role."""
        return {
            "AWS_ACCESS_KEY_ID": self._session["AccessKeyId"],
            "AWS_SECRET_ACCESS_KEY": self._session["SecretAccessKey"],
            "AWS_SESSION_TOKEN": self._session["SessionToken"],
        }

    def send(self, recorded: proxy.Request) -> tuple[int, bytes]:
        """Send a recorded request once more, as this role; return status and body of the answer."""
        service = operation(recorded).partition(":")[0]
        headers = {name: value for name, value in recorded.headers.items() if name in _KEPT}
        request = AWSRequest(recorded.method, self._aws.endpoint_url + recorded.path, headers, recorded.body)
        key = Credentials(*self.exports.values())
        (S3SigV4Auth if service == "s3" else SigV4Auth)(key, service, self._aws.region).add_auth(request)
        connection = http.client.HTTPConnection(urllib.parse.urlsplit(self._aws.endpoint_url).netloc, timeout=30)
        try:
            connection.request(recorded.method, recorded.path, recorded.body, dict(request.headers.items()))
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()


def refused(status: int, body: bytes) -> bool:
    """Tell whether an answer says that the caller may not."""
    return status in (400, 403) and (
        b"AccessDenied" in body or b"not authorized" in body or (status == 403 and not body)
    )


def sids(document: Document) -> Iterator[str]:
    """Yield the names of a document's statements."""
    for statement in document["Statement"]:
        yield statement["Sid"]

"""AWS's validation of a policy, against a stand-in on loopback: the embedded AWS has no such API."""

from __future__ import annotations

import json
import threading
import urllib.parse
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from ci_user.credentials import AwsAccess
from ci_user.errors import AwsError
from ci_user.policy import access_analyzer

DOCUMENT = {
    "Version": "2012-10-17",
    "Statement": [
        {"Sid": "One", "Effect": "Allow", "Action": "s3:ListAllMyBuckets", "Resource": "*"},
        {"Sid": "Two", "Effect": "Allow", "Action": ["iam:GetRole", "iam:PassRole"], "Resource": "*"},
    ],
}
Answer = tuple[int, str, bytes]


class Analyzer:
    """Answers each request with what ``answer`` makes of its query and body, and remembers both."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, dict[str, list[str]], dict[str, Any]]] = []
        self.answer: Callable[[dict[str, list[str]]], Answer] = lambda _: findings()
        analyzer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                split = urllib.parse.urlsplit(self.path)
                query = urllib.parse.parse_qs(split.query)
                analyzer.requests.append((split.path, query, json.loads(body)))
                status, kind, content = analyzer.answer(query)
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(content)))
                if kind:
                    self.send_header("x-amzn-ErrorType", kind)
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: Any) -> None:
                return

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)


def findings(*found: dict[str, Any], token: str | None = None) -> Answer:
    return 200, "", json.dumps({"findings": found, **({"nextToken": token} if token else {})}).encode()


def finding(code: str, kind: str, *path: dict[str, Any], **more: Any) -> dict[str, Any]:
    location = {"path": list(path), "span": {name: {"line": 1, "column": 0, "offset": 0} for name in ("start", "end")}}
    return {
        "findingType": kind,
        "issueCode": code,
        "findingDetails": f"Details of {code}.",
        "learnMoreLink": f"https://docs.aws.amazon.com/{code}",
        "locations": [location],
        **more,
    }


@pytest.fixture
def analyzer() -> Iterator[Analyzer]:
    made = Analyzer()
    thread = threading.Thread(target=made.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    yield made
    made.server.shutdown()
    made.server.server_close()
    thread.join()


def access_to(port: int) -> AwsAccess:
    from botocore.session import Session

    session = Session()
    session.set_credentials("AKIAIOSFODNN7EXAMPLE", "x")
    return AwsAccess(
        session,
        account_id="000000000000",
        region="eu-west-1",
        partition="aws",
        endpoint_url=f"http://127.0.0.1:{port}",
        loopback=True,
    )


@pytest.fixture
def access(analyzer: Analyzer) -> AwsAccess:
    return access_to(analyzer.server.server_address[1])


def test_the_policy_is_sent_as_an_identity_policy(analyzer: Analyzer, access: AwsAccess) -> None:
    assert access_analyzer.validate(DOCUMENT, access) == ()
    ((path, _, body),) = analyzer.requests
    assert path == "/policy/validation"
    assert json.loads(body["policyDocument"]) == DOCUMENT
    assert body["policyType"] == "IDENTITY_POLICY"


def test_each_finding_has_an_id_a_severity_a_place_and_a_fix(
    analyzer: Analyzer, access: AwsAccess, tmp_path: Path
) -> None:
    path = tmp_path / "mine.json"
    path.write_text(json.dumps(DOCUMENT, indent=1))
    action = ({"value": "Statement"}, {"index": 1}, {"value": "Action"}, {"index": 1})
    analyzer.answer = lambda _: findings(
        finding("PASS_ROLE_WITH_STAR_IN_RESOURCE", "SECURITY_WARNING", *action),
        finding("INVALID_ACTION", "ERROR", {"value": "Statement"}, {"index": 0}, {"value": "Action"}),
        finding("EMPTY_OBJECT_CONDITION", "SUGGESTION", {"value": "Version"}),
        finding(
            "X", "WARNING", {"value": "Statement"}, {"index": 1}, {"value": "Resource"}, {"substring": {"start": 0}}
        ),
    )
    found = access_analyzer.validate(DOCUMENT, access, "mine.json", path)
    assert [(one.id, one.severity, str(one.where)) for one in found] == [
        ("aws-pass-role-with-star-in-resource", "warning", "mine.json:15, statement 2 (Two)"),
        ("aws-invalid-action", "error", "mine.json:7, statement 1 (One)"),
        ("aws-empty-object-condition", "note", "mine.json:2"),
        ("aws-x", "warning", "mine.json:17, statement 2 (Two)"),
    ]
    assert found[0].message == "Details of PASS_ROLE_WITH_STAR_IN_RESOURCE."
    assert found[0].fix == "see https://docs.aws.amazon.com/PASS_ROLE_WITH_STAR_IN_RESOURCE"


def test_a_single_statement_and_a_place_that_is_not_there(analyzer: Analyzer, access: AwsAccess) -> None:
    document = {**DOCUMENT, "Statement": DOCUMENT["Statement"][0]}
    analyzer.answer = lambda _: findings(
        finding("A", "ERROR", {"value": "Statement"}, {"value": "Action"}),
        finding("B", "ERROR", {"value": "Statement"}, {"index": 7}),
        {"findingType": "ERROR", "issueCode": "C", "findingDetails": "x", "learnMoreLink": "y", "locations": []},
    )
    places = [str(one.where) for one in access_analyzer.validate(document, access)]
    assert places == ["policy, statement 1 (One)", "policy", "policy"]


def test_every_page_is_read(analyzer: Analyzer, access: AwsAccess) -> None:
    pages = {"": ("A", "1"), "1": ("B", "2"), "2": ("C", None)}

    def answer(query: dict[str, list[str]]) -> Answer:
        code, token = pages[query.get("nextToken", [""])[0]]
        return findings(finding(code, "ERROR"), token=token)

    analyzer.answer = answer
    assert [one.id for one in access_analyzer.validate(DOCUMENT, access)] == ["aws-a", "aws-b", "aws-c"]
    assert len(analyzer.requests) == 3


def test_a_kind_that_nobody_knows_yet_counts_as_an_error(analyzer: Analyzer, access: AwsAccess) -> None:
    analyzer.answer = lambda _: findings(finding("A", "CATASTROPHE"), {"findingDetails": "\x1b[31m"})
    found = access_analyzer.validate(DOCUMENT, access)
    assert [(one.id, one.severity) for one in found] == [("aws-a", "error"), ("aws-unknown", "error")]
    assert found[1].message.isprintable()


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ((403, "AccessDeniedException", b'{"message": "no\\u001b"}'), "AWS answered AccessDeniedException: no\\x1b"),
        ((400, "ValidationException", b'{"message": "bad"}'), "AWS answered ValidationException: bad"),
        ((404, "", b"<html>"), "AWS answered 404"),
        ((200, "", b"<html>hello"), "is not AWS"),
        ((200, "", b"{}"), "is not AWS"),
        ((200, "", b'{"findings": 3}'), "is not AWS"),
        ((200, "", b'{"findings": [3]}'), "is not AWS"),
        ((200, "", b"[]"), "is not AWS"),
    ],
)
def test_what_aws_refuses_is_an_error(analyzer: Analyzer, access: AwsAccess, answer: Answer, words: str) -> None:
    analyzer.answer = lambda _: answer
    with pytest.raises(AwsError) as error:
        access_analyzer.validate(DOCUMENT, access)
    assert words in str(error.value)
    assert "--aws" in str(error.value)


def test_pages_without_end_are_an_error(analyzer: Analyzer, access: AwsAccess) -> None:
    analyzer.answer = lambda _: findings(token="again")
    with pytest.raises(AwsError, match="PaginationError"):
        access_analyzer.validate(DOCUMENT, access)

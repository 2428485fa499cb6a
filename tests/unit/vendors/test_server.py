"""A double of a vendor refuses, and remembers, whatever the vendor's description doesn't allow."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from tests.vendors.server import Call, Reply, VendorServer

REPOSITORY = "/repos/acme/shop"
SECRET = f"{REPOSITORY}/actions/secrets/AWS_KEY"
SEALED = {"encrypted_value": "c2VjcmV0", "key_id": "1"}


class Double(VendorServer):
    vendor = "github"
    reply = Reply(204)

    def answer(self, call: Call) -> Reply:
        return self.reply


@pytest.fixture
def double() -> Iterator[Double]:
    server = Double()
    yield server
    server.close()


def ask(double: Double, method: str, path: str, **more: Any) -> requests.Response:
    return requests.request(method, double.url + path, timeout=5, **more)


def test_a_request_as_described_is_answered_and_recorded(double: Double) -> None:
    answer = ask(double, "PUT", SECRET, json=SEALED, headers={"Authorization": "Bearer t"})
    (call,) = double.calls
    assert answer.status_code == 204
    assert call.operation == "PUT /repos/{owner}/{repo}/actions/secrets/{secret_name}"
    assert call.parameters == {"owner": "acme", "repo": "shop", "secret_name": "AWS_KEY"}
    assert call.body == SEALED
    assert call.headers["authorization"] == "Bearer t"
    assert not double.violations


def test_a_quoted_slash_belongs_to_its_part(double: Double) -> None:
    ask(double, "PUT", f"{REPOSITORY}/environments/a%2Fb%20%C3%A9/secrets/K", json=SEALED)
    (call,) = double.calls
    assert call.parameters["environment_name"] == "a/b é"
    assert call.path == ("repos", "acme", "shop", "environments", "a/b é", "secrets", "K")
    assert "%2F" in call.raw_path


def test_a_literal_part_wins_over_a_parameter(double: Double) -> None:
    double.reply = Reply(200, {"key_id": "1", "key": "k"})
    ask(double, "GET", f"{REPOSITORY}/actions/secrets/public-key")
    assert double.calls[0].operation.endswith("/public-key")


@pytest.mark.parametrize(
    ("method", "path", "more", "text"),
    [
        ("GET", "/nowhere", {}, "no such path"),
        ("PATCH", SECRET, {"json": SEALED}, "no such method"),
        ("PUT", SECRET, {}, "lacks its body"),
        ("PUT", SECRET, {"json": {"key_id": "1"}}, "lacks encrypted_value"),
        ("PUT", SECRET, {"json": {**SEALED, "key_id": 1}}, "key_id: does not fit type"),
        ("PUT", SECRET, {"json": {**SEALED, "encrypted_value": "§"}}, "encrypted_value: does not fit pattern"),
        ("PUT", SECRET, {"json": {**SEALED, "visibility": "all"}}, "visibility is not declared"),
        ("PUT", SECRET, {"data": json.dumps(SEALED), "headers": {"Content-Type": "text/plain"}}, "is text/plain"),
        ("PUT", SECRET, {"data": b"{", "headers": {"Content-Type": "application/json"}}, "is not JSON"),
        ("DELETE", SECRET, {"json": {}}, "none is declared"),
        ("GET", f"{REPOSITORY}/actions/secrets", {"params": {"page_size": 3}}, "page_size is not declared"),
        ("GET", f"{REPOSITORY}/actions/secrets", {"params": {"per_page": "many"}}, "per_page: the whole: does not fit"),
        ("GET", f"{REPOSITORY}/actions/secrets", {"params": {"page": ["1", "2"]}}, "page is there more than once"),
        ("GET", "/app/installations/x", {}, "installation_id: the whole: does not fit"),
    ],
)
def test_what_is_not_described_is_refused(
    double: Double, method: str, path: str, more: dict[str, Any], text: str
) -> None:
    answer = ask(double, method, path, **more)
    assert answer.status_code == 400
    assert text in "\n".join(double.violations)
    assert not double.calls


def test_a_violation_repeats_neither_headers_nor_values(double: Double) -> None:
    ask(double, "PUT", SECRET, json={"encrypted_value": "§hush", "key_id": 7}, headers={"Authorization": "Bearer hush"})
    ask(double, "GET", f"{REPOSITORY}/actions/secrets?per_page=hush&other=hush")
    assert len(double.violations) == 3
    assert "hush" not in "\n".join(double.violations)


@pytest.mark.parametrize(
    ("reply", "text"),
    [
        (Reply(200, {}), "200 is no declared answer"),
        (Reply(201), "lacks its document"),
        (Reply(201, []), "does not fit type"),
        (Reply(204, {}), "without a document"),
        (Reply(201, {}, headers=(("Content-Type", "text/html"),)), "not declared as text/html"),
    ],
)
def test_a_double_that_answers_unlike_the_vendor_is_a_violation(double: Double, reply: Reply, text: str) -> None:
    double.reply = reply
    ask(double, "PUT", SECRET, json=SEALED)
    (violation,) = double.violations
    assert "(the double)" in violation
    assert text in violation


@pytest.mark.parametrize("reply", [Reply(418, {"odd": 1}), Reply(200, body=b"{")])
def test_undeclared_errors_and_raw_bodies_are_not_judged(double: Double, reply: Reply) -> None:
    double.reply = reply
    assert ask(double, "PUT", SECRET, json=SEALED).status_code == reply.status
    assert not double.violations


def test_a_fault_before_keeps_the_double_out_of_it(double: Double) -> None:
    double.reply = Reply(599)
    double.before = lambda call: Reply(503, {"message": "later"}, (("Retry-After", "1"),))
    answer = ask(double, "PUT", SECRET, json=SEALED)
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
    assert len(double.changing) == 1


def test_an_answer_can_be_lost_after_it_took_effect(double: Double) -> None:
    double.after = lambda call, reply: Reply(drop=True)
    with pytest.raises(requests.ConnectionError):
        ask(double, "PUT", SECRET, json=SEALED)
    assert len(double.calls) == 1


def test_an_answer_can_be_cut(double: Double) -> None:
    double.before = lambda call: Reply(200, {"long": "x" * 100}, cut=5)
    with pytest.raises((requests.ConnectionError, requests.exceptions.ChunkedEncodingError)):
        ask(double, "PUT", SECRET, json=SEALED)


@pytest.mark.parametrize("reply", [Reply(200, {}, delay=600), Reply(200, {}, trickle=600)])
def test_a_slow_answer_ends_with_the_server(double: Double, reply: Reply) -> None:
    double.before = lambda call: reply
    with pytest.raises((requests.Timeout, requests.ConnectionError)):
        requests.put(double.url + SECRET, json=SEALED, timeout=0.1)
    start = time.monotonic()
    double.close()
    assert time.monotonic() - start < 1


def test_connections_are_kept_and_then_cut_off(double: Double) -> None:
    with requests.Session() as session:
        for _ in range(3):
            session.put(double.url + SECRET, json=SEALED, timeout=5)
        double.close()
        with pytest.raises(requests.ConnectionError):
            session.put(double.url + SECRET, json=SEALED, timeout=5)


def test_a_base_stands_before_every_path() -> None:
    with Double(base="/api/v3") as server:
        assert server.url.endswith("/api/v3")
        assert ask(server, "PUT", SECRET, json=SEALED).status_code == 204


def test_leaving_with_a_violation_fails() -> None:
    with pytest.raises(AssertionError, match="no such path"), Double() as server:
        ask(server, "GET", "/nowhere")


def test_a_failure_of_the_test_itself_comes_first() -> None:
    def run() -> None:
        with Double() as server:
            ask(server, "GET", "/nowhere")
            raise KeyError

    with pytest.raises(KeyError) as caught:
        run()
    assert "no such path" in caught.value.__notes__[0]


def test_a_double_that_raises_is_named_without_its_values(double: Double) -> None:
    def fail(call: Call) -> Reply:
        raise ValueError("hush")

    double.before = fail
    with pytest.raises(requests.ConnectionError):
        ask(double, "PUT", SECRET, json=SEALED)
    (violation,) = double.violations
    assert "ValueError in fail" in violation
    assert "hush" not in violation

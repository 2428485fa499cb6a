"""A webhook is told little, mentions nobody, and its address is told to nobody else."""

from __future__ import annotations

import logging
import re
import threading
import traceback
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from hypothesis import given, settings

from ci_user.errors import CiUserError, UsageError
from ci_user.logs import quiet_botocore
from ci_user.nightly.model import NightResult
from ci_user.nightly.render.webhook import payload, send
from ci_user.secret import Secret
from tests.unit.nightly.render.hostile_nights import HOSTILE, entry, environment, hostile, night, nights

PATH = "/services/T0PATH/B0PATH/s3cretp4th"


@dataclass
class Hook:
    address: str = ""
    answers: list[tuple[int, dict[str, str]]] = field(default_factory=lambda: [(200, {})])
    bodies: list[bytes] = field(default_factory=list)
    waits: list[float] = field(default_factory=list)

    def send(self) -> None:
        send(Secret(self.address), {"text": "hello"}, pause=self.waits.append)


@pytest.fixture
def hook() -> Iterator[Hook]:
    hook = Hook()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            hook.bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
            status, headers = hook.answers.pop(0) if len(hook.answers) > 1 else hook.answers[0]
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(self.path)))
            self.end_headers()
            self.wfile.write(self.path.encode())

        def log_message(self, *_: Any) -> None:
            return

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        hook.address = f"http://127.0.0.1:{server.server_port}{PATH}"
        yield hook
        server.shutdown()
        thread.join()


def test_counts_and_the_verdict_are_all_that_is_told() -> None:
    result = night(environment("prod", entry(message="was changed")), environment("dev"), missing=("late",))
    assert payload(result) == {
        "text": "Nightly check: not everything could be checked, and a person has to look. "
        "1 of 3 clean, 1 with findings, 1 not checked; 2 planned; 41 s."
    }


def test_a_leaked_key_is_told_without_details_too() -> None:
    leaked = environment("prod", entry("CIUSER_LEAKED", area="keys", message="AKIA of prod"))
    assert payload(night(leaked))["text"].startswith("Nightly check: A LEAKED KEY: act at once. 0 of 1 clean")
    assert "prod" not in payload(night(leaked))["text"]


def test_details_are_told_on_request() -> None:
    every = [environment(f"e{n:02}", entry(message=f"shop-e{n:02} was changed")) for n in range(12)]
    text = payload(night(*every), details=True)["text"]
    assert text.split("\n")[1] == (
        f"- finding CIUSER_DRIFT in {', '.join(f'`e{n:02}`' for n in range(10))} and 2 more: `{{prefix}} was changed`"
    )


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_names_are_not_told_and_with_details_mention_and_link_nothing(text: str) -> None:
    assert payload(hostile(text)) == payload(hostile("x"))
    _judge(payload(hostile(text), details=True)["text"])


@settings(max_examples=40, deadline=None)
@given(nights())
def test_no_night_mentions_or_links_anything(result: NightResult) -> None:
    _judge(payload(result, details=True)["text"])
    assert len(payload(result)["text"]) < 300


def _judge(text: str) -> None:
    assert not set("<>@\r\x1b") & set(text)
    assert not re.search(r"&(?!(?:amp|lt|gt);)", text)
    for line in text.split("\n"):
        # Whatever is foreign is code, in which neither Slack nor Mattermost sees links, mentions or formats.
        assert line.count("`") % 2 == 0
        assert not set("[]()*_~:/") & set(
            re.sub(r"`[^`]*`|^Nightly check: |CIUSER_DRIFT|CKV_AWS_40|: (?=`)", "", line)
        ) - set(":")


def test_it_is_sent_once_as_json(hook: Hook) -> None:
    hook.send()
    assert hook.bodies == [b'{"text": "hello"}']


@pytest.mark.parametrize("status", [429, 503])
def test_it_is_sent_once_more_when_the_receiver_asks_for_it_and_not_a_third_time(hook: Hook, status: int) -> None:
    hook.answers = [(status, {"Retry-After": "7"}), (200, {})]
    hook.send()
    assert (len(hook.bodies), hook.waits) == (2, [7.0])

    hook.answers, hook.waits, hook.bodies = [(status, {"Retry-After": "7"})], [], []
    with pytest.raises(CiUserError, match=f"it answered {status}"):
        hook.send()
    assert (len(hook.bodies), hook.waits) == (2, [7.0])


@pytest.mark.parametrize(
    ("status", "headers"),
    [(503, {}), (503, {"Retry-After": "3600"}), (500, {}), (404, {}), (302, {"Location": "/elsewhere"}), (204, {})],
)
def test_it_is_not_sent_again_otherwise(hook: Hook, status: int, headers: dict[str, str]) -> None:
    hook.answers = [(status, headers)]
    if status == 204:
        hook.send()
    else:
        with pytest.raises(CiUserError, match="CI_USER_WEBHOOK_URL"):
            hook.send()
    assert (len(hook.bodies), hook.waits) == (1, [])


@pytest.mark.parametrize(
    "address",
    [
        "http://hooks.example/s3cretp4th",
        "ftp://hooks.example/s3cretp4th",
        "https://user@hooks.example/s3cretp4th",
        "https:///s3cretp4th",
        "s3cretp4th",
        "https://[s3cretp4th",
        "https://hooks.example:99999/s3cretp4th",
    ],
)
def test_an_address_that_is_none_or_in_the_clear_is_refused_and_not_shown(address: str) -> None:
    with pytest.raises(UsageError) as caught:
        send(Secret(address), {"text": "hello"})
    _nothing_of_it(caught.value, "s3cretp4th", "hooks.example")


def test_the_address_is_in_no_error_and_no_log(hook: Hook, caplog: pytest.LogCaptureFixture) -> None:
    quiet_botocore()
    caplog.set_level(logging.DEBUG)
    for answer in ((404, {}), (302, {"Location": PATH}), (200, {"Content-Encoding": "gzip"})):
        hook.answers = [answer]
        with pytest.raises(CiUserError) as caught:
            hook.send()
        _nothing_of_it(caught.value, PATH, "s3cretp4th")
    # Nobody listens on port 1.
    with pytest.raises(CiUserError, match="no answer") as caught:
        send(Secret(f"http://127.0.0.1:1{PATH}"), {"text": "hello"})
    _nothing_of_it(caught.value, "s3cretp4th")
    shown = caplog.text + "".join(str(record.__dict__) for record in caplog.records)
    assert "s3cretp4th" not in shown


def _nothing_of_it(error: CiUserError, *secrets: str) -> None:
    assert error.__cause__ is None
    assert error.__context__ is None
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__) if "ci_user" in frame.f_code.co_filename]
    assert frames
    shown = str(error) + str(error.details) + "".join(str(frame.f_locals) for frame in frames)
    assert not [secret for secret in secrets if secret in shown]

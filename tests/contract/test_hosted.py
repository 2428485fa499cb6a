"""The same cases for every backend over HTTP, against doubles that judge each request by the vendor's own description."""

from __future__ import annotations

import io
import itertools
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest

from ci_user.backends import Backend, open_backend, settings_of
from ci_user.backends import http as backends_http
from ci_user.backends.protocol import Held
from ci_user.errors import BackendError, LeaseLostError
from tests.contract.place import SECRET, TOKEN, Names, NoAccess, Place, new_key
from tests.contract.showing import leaks, shown
from tests.live.harmless import harmless
from tests.vendors.server import Call, Reply


def values(key: Any) -> tuple[str, str]:
    return key.id, key.secret.reveal()


def writes(place: Place) -> Callable[[Call], bool]:
    """Tell the calls that write, as this place's double knows them."""
    return lambda call: not place.reads(call)


# What is there


def test_nothing_there_holds_nothing_and_can_be_written(place: Place) -> None:
    backend = place.open()
    sentences = backend.preflight()
    assert sentences
    assert all(isinstance(sentence, str) and sentence for sentence in sentences)
    assert backend.held() == Held(None, None)
    assert backend.remove() is False
    assert [call for call in place.server.calls if writes(place)(call)] == []


def test_a_delivered_key_is_what_a_pipeline_reads(place: Place) -> None:
    key = new_key()
    place.deliver(key)
    assert place.consumed() == values(key)
    assert place.open().held() == Held(key.id, None)
    assert place.open().preflight()


def test_a_second_key_replaces_the_first_and_a_repetition_changes_nothing(place: Place) -> None:
    old, new = new_key(), new_key()
    place.deliver(old)
    for _ in range(2):
        place.deliver(new)
        assert place.consumed() == values(new)
        assert place.open().held() == Held(new.id, None)


def test_two_at_once_deliver_the_same_key(place: Place) -> None:
    place.deliver(new_key())
    key, failures, start = new_key(), [], threading.Barrier(2)
    backends = [place.open(), place.open()]

    def run(backend: Backend) -> None:
        try:
            start.wait(20)
            place.deliver(key, backend)
        except BaseException as error:  # noqa: BLE001 - handed to the test's own thread
            failures.append(error)

    threads = [threading.Thread(target=run, args=(backend,)) for backend in backends]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failures == []
    assert place.consumed() == values(key)
    assert place.open().held() == Held(key.id, None)


def test_the_names_are_the_files(place: Place) -> None:
    key = new_key()
    names = {"key_id": "KEY_ID", "secret": "KEY_SECRET", "region": "REGION", "prefix": "PROD_", "suffix": "_CI"}
    backend = place.open(names=names)
    place.deliver(key, backend)
    assert place.consumed(("PROD_KEY_ID_CI", "PROD_KEY_SECRET_CI", "PROD_REGION_CI")) == (*values(key), "eu-west-1")
    assert place.consumed() == (None, None)
    assert place.open(names=names).held() == Held(key.id, None)
    assert place.open().held().current is None
    again = settings_of(backend.target, Names())
    assert again is not None
    assert again.target(Names()) == backend.target


def test_names_that_were_changed_in_the_file_are_written_anew_and_the_old_ones_go(place: Place) -> None:
    key = new_key()
    place.deliver(key)
    named = {"secret": "OTHER_SECRET", "region": "AWS_REGION"}
    assert place.open(names=named).held().current is None
    place.deliver(key, place.open(names=named))
    assert place.open(names=named).held() == Held(key.id, None)
    assert place.consumed(("AWS_ACCESS_KEY_ID", "OTHER_SECRET", "AWS_REGION")) == (*values(key), "eu-west-1")
    assert place.consumed(("AWS_SECRET_ACCESS_KEY",)) == (None,)


def test_odd_names_lead_to_their_own_place(place: Place) -> None:
    key, changes = new_key(), place.odd()
    backend = place.open(**changes)
    backend.preflight()
    place.deliver(key, backend)
    assert place.open(**changes).held() == Held(key.id, None)
    assert place.open().held().current is None
    again = settings_of(backend.target, Names())
    assert again is not None
    assert again.target(Names()) == backend.target
    assert place.open(**changes).remove() is True


def test_a_place_with_many_pages_of_others_variables_is_read_to_the_end(place: Place) -> None:
    place.crowd()
    key = new_key()
    place.open().preflight()
    place.deliver(key)
    assert place.consumed() == values(key)
    assert place.open().held() == Held(key.id, None)


def test_the_part_that_can_be_run_against_a_real_account_passes(place: Place) -> None:
    assert len(harmless(place.open)) >= 3


# What is somebody else's


def test_what_somebody_else_made_is_left_alone(place: Place) -> None:
    for name in ("AWS_SECRET_ACCESS_KEY", "AWS_ACCESS_KEY_ID"):
        place.write_foreign(name)
    for refused in (place.open().preflight, lambda: place.deliver(new_key())):
        with pytest.raises(BackendError, match="not made by this tool"):
            refused()
    assert place.open().held() == Held(None, None)
    assert place.open().remove() is False
    assert place.consumed() == ("foreign", "foreign")


def test_a_place_of_another_environment_is_left_alone(place: Place) -> None:
    key, other = new_key(), replace(Names(), prefix="shop-production")
    place.deliver(key)
    for refused in (place.open(other).preflight, lambda: place.deliver(new_key(), place.open(other))):
        with pytest.raises(BackendError, match="not made by this tool"):
            refused()
    assert place.open(other).held() == Held(None, None)
    assert place.open(other).remove() is False
    assert place.consumed() == values(key)


def test_what_somebody_changed_is_not_overwritten_or_removed(place: Place) -> None:
    if not place.sees_foreign:
        pytest.skip("this vendor tells nobody that a variable was changed; docs/backends.md says so")
    place.deliver(new_key())
    place.write_foreign()
    for refused in (place.open().preflight, lambda: place.deliver(new_key()), place.open().remove):
        with pytest.raises(BackendError, match="changed by somebody else"):
            refused()
    assert place.open().held().current is None
    assert place.consumed()[1] == "foreign"


def test_removal_takes_just_what_was_written(place: Place) -> None:
    place.write_foreign("SOMETHING_ELSE")
    place.deliver(new_key())
    assert place.open().remove() is True
    assert place.consumed() == (None, None)
    assert place.open().held() == Held(None, None)
    assert place.open().remove() is False
    assert place.consumed(("SOMETHING_ELSE",)) == ("foreign",)
    key = new_key()
    place.deliver(key)
    assert place.consumed() == values(key)


def test_a_place_that_only_its_line_is_left_of_is_emptied(place: Place) -> None:
    place.deliver(new_key())
    settings = settings_of(place.open().target, Names())
    assert settings is not None
    again = open_backend(settings, NoAccess(), Names(), place.root, environ=place.environ)
    assert again.target == place.open().target
    assert again.remove() is True
    assert place.consumed() == (None, None)
    assert again.remove() is False


# What fails


def test_a_missing_place_is_told_before_a_key_is_made(place: Place) -> None:
    for refused in (
        place.open(**place.missing()).preflight,
        lambda: place.deliver(new_key(), place.open(**place.missing())),
    ):
        with pytest.raises(BackendError) as caught:
            refused()
        assert "exist" in f"{caught.value.what} {caught.value.expected} {caught.value.do}"
    assert not [call for call in place.server.calls if writes(place)(call)]


def test_without_a_token_the_error_names_variable_and_scopes_and_nothing_is_sent(place: Place) -> None:
    place.server.calls.clear()
    environ = {name: value for name, value in place.environ.items() if TOKEN not in value}
    with pytest.raises(BackendError) as caught:
        place.open(environ=environ).preflight()
    text = f"{caught.value.what} {caught.value.expected} {caught.value.do}"
    assert place.variable in text
    assert getattr(place.settings(), "scopes") in text  # noqa: B009
    assert place.server.calls == []


def test_a_token_for_another_host_is_not_sent(place: Place) -> None:
    place.server.calls.clear()
    environ = place.environ | {f"{place.variable}_HOST": "elsewhere.example.com"}
    for refused in (place.open(environ=environ).preflight, place.open(environ=environ).held):
        with pytest.raises(BackendError, match=r"elsewhere\.example\.com"):
            refused()
    assert place.server.calls == []


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_token_tells_where_it_is_from_and_what_it_needs(place: Place, status: int) -> None:
    place.server.before = lambda call: Reply(status, {"message": echo(call)})
    for refused in (place.open().preflight, place.open().held, lambda: place.deliver(new_key())):
        with pytest.raises(BackendError) as caught:
            refused()
        assert place.variable in str(caught.value.do)
        assert getattr(place.settings(), "scopes") in str(caught.value.do)  # noqa: B009
        assert caught.value.where == place.open().target
        assert leaks(shown(caught.value)) == []
    place.server.before = lambda _: None
    assert place.consumed() == (None, None)


@pytest.mark.parametrize("status", [400, 404, 409, 422, 500])
def test_a_refused_write_loses_nothing_tells_no_secret_and_the_next_run_heals_it(place: Place, status: int) -> None:
    old, new = new_key(), new_key()
    place.deliver(old)
    place.server.before = lambda call: (
        Reply(status, {"message": echo(call), "errors": [echo(call)]}) if writes(place)(call) else None
    )
    with pytest.raises(BackendError) as caught:
        place.deliver(new)
    assert caught.value.where == place.open().target
    assert leaks(shown(caught.value)) == []
    place.server.before = lambda _: None
    assert place.consumed() == values(old)
    place.deliver(new)
    assert place.consumed() == values(new)
    assert place.open().held() == Held(new.id, None)


def test_a_write_torn_anywhere_never_counts_as_delivered_and_is_healed(place: Place) -> None:
    torn = 0
    for lost_answer in (False, True):
        for allowed in range(20):
            old, new = new_key(), new_key()
            place.deliver(old)
            count = itertools.count()

            def broken(call: Call, limit: int = allowed, count: Iterator[int] = count) -> Reply | None:
                return Reply(drop=True) if writes(place)(call) and next(count) >= limit else None

            def lost(call: Call, _: Reply, broken: Callable[[Call], Reply | None] = broken) -> Reply | None:
                return broken(call)

            if lost_answer:
                place.server.after = lost
            else:
                place.server.before = broken
            try:
                place.deliver(new)
                finished = True
            except BackendError:
                finished = False
            place.server.before = lambda _: None
            place.server.after = lambda _call, _reply: None
            held = place.open().held()
            if held == Held(new.id, None):
                assert place.consumed() == values(new)
            if held.current == old.id:
                assert place.consumed()[0] == old.id
            torn += (broke := next(count) > allowed)
            assert finished or broke
            if not broke:
                break
            place.open().preflight()
            place.deliver(new)
            assert place.consumed() == values(new)
            assert place.open().held() == Held(new.id, None)
        assert place.open().remove() is True
    assert torn >= 2


def test_a_torn_write_can_be_removed(place: Place) -> None:
    count = itertools.count()
    place.server.before = lambda call: Reply(drop=True) if writes(place)(call) and next(count) >= 2 else None
    with suppress(BackendError):
        place.deliver(new_key())
    place.server.before = lambda _: None
    if place.open().held() != Held(None, None):
        assert place.open().remove() is True
    assert place.consumed() == (None, None)
    assert place.open().held() == Held(None, None)


def test_a_limited_rate_is_waited_for_as_long_as_asked(place: Place) -> None:
    key = new_key()
    refusals = iter([Reply(429, {"message": "slow down"}, headers=(("Retry-After", "7"),))])
    place.server.before = lambda call: next(refusals, None) if writes(place)(call) else None
    place.deliver(key)
    assert 7.0 in place.pauses.seconds
    assert place.consumed() == values(key)


def test_a_limit_of_an_hour_is_not_waited_for(place: Place) -> None:
    place.server.before = lambda _: Reply(429, {"message": "slow down"}, headers=(("Retry-After", "3600"),))
    with pytest.raises(BackendError, match="429") as caught:
        place.open().held()
    assert "limiting requests" in str(caught.value.do)
    assert sum(place.pauses.seconds) < 3600


def test_a_fault_of_a_moment_is_waited_out_when_reading(place: Place) -> None:
    key = new_key()
    place.deliver(key)
    faults = iter([Reply(503, {"message": "later"}), Reply(drop=True), Reply(500, {"message": "oops"})])
    place.server.before = lambda call: next(faults, None) if call.method == "GET" else None
    assert place.open().held() == Held(key.id, None)
    assert next(faults, None) is None
    assert place.pauses.seconds


def test_a_slow_server_is_given_up(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backends_http, "READ_SECONDS", 0.05)
    place.server.before = lambda _: Reply(200, {}, delay=5)
    with pytest.raises(BackendError, match="no answer"):
        place.open().held()


def test_a_connection_cut_in_the_middle_of_an_answer_is_no_answer(place: Place) -> None:
    place.server.after = lambda _, reply: replace(reply, cut=3)
    with pytest.raises(BackendError):
        place.open().held()


@pytest.mark.parametrize("body", [b"<html>log in</html>", b"", b"[]", b'"text"', b"null"])
def test_an_answer_that_is_not_the_vendors_is_an_error_without_a_traceback(place: Place, body: bytes) -> None:
    place.server.before = lambda _: Reply(200, body=body, headers=(("Content-Type", "application/json"),))
    with pytest.raises(BackendError):
        place.open().preflight()


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_is_not_followed(place: Place, status: int) -> None:
    from tests.vendors.plain import Listener

    place.deliver(new_key())
    with Listener() as elsewhere:
        location = (("Location", f"{elsewhere.url}/api"),)
        place.server.before = lambda _: Reply(status, {}, headers=location)
        for refused in (place.open().held, lambda: place.deliver(new_key())):
            with pytest.raises(BackendError):
                refused()
        assert elsewhere.connections == 0


def test_plain_http_to_another_machine_is_refused_by_the_file(place: Place) -> None:
    with pytest.raises(ValueError, match="https"):
        place.settings(url="http://ci.example.com")


def test_a_lost_lease_stops_it_before_the_request(place: Place) -> None:
    def lost(_: object) -> None:
        raise LeaseLostError("lost")

    place.server.calls.clear()
    place.check = lost
    with pytest.raises(LeaseLostError) as caught:
        place.deliver(new_key())
    assert place.server.calls == []
    assert leaks(shown(caught.value)) == []


# What must not be told


def echo(call: Call) -> str:
    """Return what a careless vendor might say of a request: all of it."""
    return f"bad value {call.body!r} in {dict(call.headers)!r}"


def test_nothing_shows_the_secret_or_the_token(
    place: Place, debug_log: io.StringIO, capfd: pytest.CaptureFixture[str]
) -> None:
    key = new_key()
    backend = place.open()
    place.deliver(key, backend)
    found = [repr(backend), repr(vars(backend)), repr(place.settings()), backend.target, repr(backend.held())]
    answers: tuple[Callable[[Call], Reply], ...] = (
        lambda call: Reply(422, {"message": echo(call), "error": echo(call), "errors": [echo(call)]}),
        lambda call: Reply(500, {"message": echo(call)}),
        lambda _: Reply(drop=True),
        lambda call: Reply(200, body=echo(call).encode()),
    )
    for answer in answers:
        for skipped in range(3):
            count = itertools.count()

            def failing(
                call: Call,
                answer: Callable[[Call], Reply] = answer,
                count: Iterator[int] = count,
                skipped: int = skipped,
            ) -> Reply | None:
                return answer(call) if writes(place)(call) and next(count) >= skipped else None

            place.server.before = failing
            with suppress(BackendError):
                place.deliver(new_key(), backend)
                continue
            with pytest.raises(BackendError) as caught:
                place.deliver(new_key(), backend)
            found.append(shown(caught.value))
    place.server.before = lambda _: None
    captured = capfd.readouterr()
    assert leaks("\n".join([*found, debug_log.getvalue(), captured.out, captured.err])) == []


def test_no_request_carries_a_secret_in_its_address_or_its_headers(place: Place) -> None:
    place.server.calls.clear()
    place.deliver(new_key())
    for call in place.server.calls:
        assert leaks(call.raw_path + json.dumps({k: list(v) for k, v in call.query.items()})) == []
        assert SECRET not in "".join(call.headers.values())

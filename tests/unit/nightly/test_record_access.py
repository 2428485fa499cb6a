"""The way to the records is the login of whoever runs the check, and only reads go over it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from ci_user.errors import CredentialsError, UsageError
from ci_user.logins import Logins
from ci_user.nightly import record_access, record_store
from ci_user.nightly.read_only import refuse_writes
from ci_user.nightly.record_access import access, book, state_buckets
from ci_user.nightly.record_location import Location
from ci_user.nightly.records import RecordBook
from ci_user.nightly.selection import Fleet
from tests.unit.nightly.fleets import fleet, one

TWO = fleet({"a": "1" * 12, "b": "2" * 12})


class Login:
    def __init__(self) -> None:
        self.fence: Any = None

    def fenced_by(self, check: Any) -> Login:
        self.fence = check
        return self


def test_without_an_address_nobody_logs_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record_access, "ambient", lambda _: pytest.fail("a login was looked for"))
    assert book("", TWO) is None


def test_an_address_that_is_none_is_refused_before_anybody_logs_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record_access, "ambient", lambda _: pytest.fail("a login was looked for"))
    with pytest.raises(UsageError):
        book("s3://bucket", TWO)


def test_records_are_read_with_a_login_that_can_only_read(monkeypatch: pytest.MonkeyPatch) -> None:
    login, wanted, seen = Login(), RecordBook(), list[Any]()

    def read(location: Location, access: Login, buckets: Iterable[str]) -> RecordBook:
        seen.extend((location, access, access.fence, tuple(buckets)))
        return wanted

    monkeypatch.setattr(record_access, "ambient", lambda _: login)
    monkeypatch.setattr(record_store, "read", read)
    assert book("s3://bucket/prefix", TWO) is wanted
    assert seen == [Location("bucket", "prefix"), login, refuse_writes, (f"states-{'1' * 12}", f"states-{'2' * 12}")]


ELSEWHERE = "http://127.0.0.1:4566"


@pytest.mark.parametrize(
    ("endpoints", "at"),
    [
        ((None, None), None),
        ((ELSEWHERE, None), None),
        ((ELSEWHERE, "http://127.0.0.1:4567"), None),
        ((ELSEWHERE, ELSEWHERE), ELSEWHERE),
    ],
)
def test_the_login_is_at_the_endpoint_that_all_environments_name(
    monkeypatch: pytest.MonkeyPatch, endpoints: tuple[str | None, ...], at: str | None
) -> None:
    opened: list[Any] = []

    def open_one(_: Logins, *given: Any, **more: Any) -> str:
        opened.append((given, more))
        return "at an endpoint"

    monkeypatch.setattr(record_access, "ambient", lambda _: "ambient")
    monkeypatch.setattr(Logins, "open", open_one)
    every = {f"e{at}": one(f"e{at}", endpoint_url=url) for at, url in enumerate(endpoints)}
    # A sandbox has its own AWS, and says nothing about the others'.
    whole = Fleet(Path(), {**every, "sandbox": one("sandbox", sandbox=True)}, {})
    found: Any = access(whole)
    assert found == ("ambient" if at is None else "at an endpoint")
    for (login, *_), more in opened:
        assert (login, more["endpoint_url"], more["region"]) == (None, at, "eu-west-1")


def test_without_a_login_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(_: object) -> None:
        raise CredentialsError("no login")

    monkeypatch.setattr(record_access, "ambient", none)
    with pytest.raises(CredentialsError):
        book("s3://bucket/prefix", Fleet(Path(), {}, {}))


def test_the_state_buckets_are_those_of_all_environments_each_once() -> None:
    assert state_buckets(fleet({"a": "1" * 12, "b": "1" * 12}, sandboxes=("s",))) == (f"states-{'1' * 12}",)

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic_core import PydanticCustomError

from ci_user.durations import format_duration, parse_duration


@pytest.mark.parametrize(
    ("text", "span"),
    [
        ("100ms", timedelta(milliseconds=100)),
        ("90s", timedelta(seconds=90)),
        ("2m", timedelta(minutes=2)),
        ("24h", timedelta(days=1)),
        ("7d", timedelta(days=7)),
        ("0s", timedelta()),
    ],
)
def test_a_number_and_a_unit_are_a_time_span(text: str, span: timedelta) -> None:
    assert parse_duration(text) == span


@pytest.mark.parametrize(
    "text", ["", "5", "s", "-5s", "1.5h", "5 s", "5S", "1h30m", "5s\n", "\u0665s", 5, None, "9" * 10 + "s"]
)
def test_anything_else_is_refused(text: object) -> None:
    with pytest.raises(PydanticCustomError, match="a time span such as"):
        parse_duration(text)


@given(st.integers(0, 10**12))
def test_what_is_written_is_read_back(milliseconds: int) -> None:
    span = timedelta(milliseconds=milliseconds)
    written = format_duration(span)
    if len(written.rstrip("dhms")) <= 9:
        assert parse_duration(written) == span


@given(st.integers(0, 10**6), st.sampled_from(["ms", "s", "m", "h", "d"]))
def test_what_is_read_is_written_in_a_form_that_means_the_same(count: int, unit: str) -> None:
    span = parse_duration(f"{count}{unit}")
    assert parse_duration(format_duration(span)) == span


def test_less_than_a_millisecond_cannot_be_written() -> None:
    with pytest.raises(ValueError, match="not whole milliseconds"):
        format_duration(timedelta(microseconds=1))

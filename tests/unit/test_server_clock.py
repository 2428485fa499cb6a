"""Bounds of the server's clock, whatever a request's time was spent on."""

from __future__ import annotations

import datetime as dt
import time

from hypothesis import given
from hypothesis import strategies as st

from ci_user.server_clock import ServerTime, boot_clock

EPOCH = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
seconds = st.floats(0, 1e4)


@given(boot=st.floats(0, 1e6), there=seconds, back=seconds, since=seconds)
def test_the_true_time_lies_between_the_bounds(boot: float, there: float, back: float, since: float) -> None:
    handled = EPOCH + dt.timedelta(seconds=there)
    answer = ServerTime(handled.replace(microsecond=0), sent=boot, received=boot + there + back)
    truth = handled + dt.timedelta(seconds=back + since)
    at = boot + there + back + since
    slack = dt.timedelta(microseconds=10)
    assert answer.earliest(at) - slack <= truth <= answer.latest(at) + slack


def test_the_boot_clock_is_not_the_wall_clock() -> None:
    before = boot_clock()
    assert before <= boot_clock() < time.time() / 2

"""What the contracts share."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator

import pytest

from ci_user.logs import quiet_botocore


@pytest.fixture
def debug_log() -> Iterator[io.StringIO]:
    """Everything that is logged, down to DEBUG, as a command's process would have it."""
    stream = io.StringIO()
    handler, root = logging.StreamHandler(stream), logging.getLogger()
    before = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    quiet_botocore()
    yield stream
    root.removeHandler(handler)
    root.setLevel(before)

"""What the contracts share."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from ci_user.logs import quiet_botocore
from tests.contract import doubles
from tests.contract.place import Place


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


@pytest.fixture(scope="session")
def servers() -> Iterator[tuple[dict[object, Any], ExitStack]]:
    """The doubles that run so far: one of each for all tests of a worker."""
    with ExitStack() as stack:
        yield {}, stack


@pytest.fixture(params=doubles.names())
def place(
    request: pytest.FixtureRequest, servers: tuple[dict[object, Any], ExitStack], tmp_path: Path
) -> Iterator[Place]:
    """A place of each vendor, empty; its double must not have been asked what the vendor does not offer."""
    found = doubles.place_of(request.param, *servers, tmp_path)
    yield found
    violations = list(found.server.violations)
    found.server.before = lambda _: None
    found.server.after = lambda _call, _reply: None
    found.server.calls.clear()
    found.server.violations.clear()
    assert violations == []

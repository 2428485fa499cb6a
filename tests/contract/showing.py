"""Finds a secret in whatever was shown: logs, output, and all that an exception carries."""

from __future__ import annotations

import base64
import json
import traceback
from collections.abc import Iterator
from urllib.parse import quote

from tests.contract.place import SECRET, TOKEN


def forms(secret: str) -> set[str]:
    """Return every way in which a secret might be written."""
    data = secret.encode()
    encoded = {base64.b64encode(b"x" * shift + data)[4:-4].decode() for shift in range(3)}
    quoted = json.dumps(secret)[1:-1]
    return {secret, quote(secret), quote(secret, safe=""), quoted, json.dumps(quoted)[1:-1], *encoded}


def leaks(text: str) -> list[str]:
    """Return the forms of the tests' secret and token that stand in a text."""
    return sorted(form for secret in (SECRET, TOKEN) for form in forms(secret) if form in text)


def shown(error: BaseException, *, frames_of_tests: bool = False) -> str:
    """Return all that an exception and those behind it show, the locals of every frame included.

    Args:
        error: The exception.
        frames_of_tests: Whether the frames of tests and doubles count too, some of which know the secret.
    """
    parts: list[str] = []
    for one in _behind(error):
        report = traceback.TracebackException.from_exception(one, capture_locals=True)
        kept = [frame for frame in report.stack if frames_of_tests or "/tests/" not in frame.filename]
        report.stack = traceback.StackSummary.from_list(kept)
        parts += [*report.format(chain=False), repr(one), str(one), repr(vars(one))]
    return "\n".join(parts)


def _behind(error: BaseException) -> Iterator[BaseException]:
    """Yield an exception and what is behind it, a suppressed context too."""
    seen: list[BaseException] = [error]
    for one in seen:
        yield one
        seen += [other for other in (one.__context__, one.__cause__) if other is not None and other not in seen]

"""What GitHub's refusals mean, and how they are told."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from ci_user.backends.http import LONGEST_WAIT, Remote, retry_after
from ci_user.errors import BackendError


def limited(remote: Remote, doing: str, status: int, headers: Mapping[str, Any], document: Any) -> BackendError | None:
    """Return the error for a used up limit, which GitHub tells with a 403 or a 429; a secondary one maybe in words only.

    https://docs.github.com/rest/using-the-rest-api/rate-limits-for-the-rest-api#exceeding-the-rate-limit
    """
    used_up = headers.get("x-ratelimit-remaining") == "0"
    message = str(document.get("message", "")) if isinstance(document, dict) else ""
    if status not in (403, 429) or not (used_up or "retry-after" in headers or "rate limit" in message.lower()):
        return None
    until = f"until {clock(headers.get('x-ratelimit-reset'))}" if used_up else "some minutes"
    return BackendError(
        f"{doing}: {remote.vendor} answered {status}, because there were too many requests",
        where=remote.target,
        do=f"{remote.vendor} is limiting requests: wait {until}, then run the same command again",
        runbook="backend",
        details={"status": status},
    )


def clock(seconds: object) -> str:
    """Return a time of GitHub's, in seconds since 1970 (UTC), as hours and minutes."""
    text = str(seconds)
    # More digits than a time has would be a year that datetime does not know.
    return f"{datetime.fromtimestamp(int(text), UTC):%H:%M} UTC" if re.fullmatch(r"[0-9]{1,11}", text) else "later"


def wait_after(status: int, headers: Mapping[str, Any]) -> float | None:
    """Return the seconds to wait after a 403 that asks for it: nothing was done then; the session knows only 429."""
    asked = retry_after(headers.get("retry-after")) if status == 403 else None
    return asked if asked is not None and asked <= LONGEST_WAIT else None


def said(document: Any, headers: Mapping[str, Any]) -> str:
    """Return GitHub's words, and the permissions that it would have taken."""
    message = document.get("message") if isinstance(document, dict) else None
    errors = document.get("errors") if isinstance(document, dict) else None
    taken = str(headers.get("x-accepted-github-permissions", ""))
    parts = [message if isinstance(message, str) else "", json.dumps(errors) if errors else ""]
    if re.fullmatch(r"[a-z_=;, ]{1,200}", taken):
        parts.append(f"it takes {taken}")
    return ", ".join(part for part in parts if part)


def wrong_kind(remote: Remote, what: str) -> BackendError:
    """Return the error for a token where a private key is needed, or the other way round."""
    return BackendError(
        f"what is in {remote.credential} {what}",
        where=remote.target,
        expected="a token; or the private key (PEM, RSA) of a GitHub App, and its ids with `app` in the environment file",
        do=f"correct one of the two: the login needs {remote.needs}",
        runbook="backend",
    )

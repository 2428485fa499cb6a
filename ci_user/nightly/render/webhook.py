"""A night told to Slack, or to any webhook that takes ``{"text": ...}``, as Mattermost's does.

The address is a secret: who knows it may post. It comes from the variable ``CI_USER_WEBHOOK_URL`` only, and is in no message,
log or exception. https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from ci_user.backends.http import LONGEST_WAIT, RedirectError, retry_after, session
from ci_user.errors import CiUserError, UsageError
from ci_user.nightly.grouping import Cause, causes
from ci_user.nightly.model import NightResult
from ci_user.nightly.render.counts import Counts, told_in_words
from ci_user.secret import Secret
from ci_user.text import plain

VARIABLE: Final = "CI_USER_WEBHOOK_URL"
_MOST_CAUSES: Final = 10
_MOST_NAMES: Final = 10
_MOST_CHARACTERS: Final = 200


def payload(result: NightResult, *, details: bool = False) -> dict[str, Any]:
    """Return what is sent.

    Args:
        result: The run.
        details: Whether causes and names of environments are told, and not only how many there are. Who reads the channel
            then knows what is wrong in which account.
    """
    lines = [f"Nightly check: {told_in_words(result)}. {Counts.of(result)}."]
    if details:
        told = [cause for cause in causes(result) if cause.entry.counts]
        lines += [_line(cause) for cause in told[:_MOST_CAUSES]]
        if len(told) > _MOST_CAUSES:
            lines.append(f"and {len(told) - _MOST_CAUSES} more causes")
        if result.missing:
            lines.append(f"not checked: {_names(result.missing)}")
    return {"text": "\n".join(lines)}


def send(url: Secret, content: Mapping[str, Any], *, pause: Callable[[float], None] = time.sleep) -> None:
    """Send it: over HTTPS with TLS verified, within time-outs, to that one host, following no redirect.

    It is sent once more when the receiver answers 429 or 503 and asks for it with ``Retry-After``; a message that may have
    arrived is never sent twice.

    Args:
        url: The address; plain HTTP is for loopback only.
        content: What `payload` returned.
        pause: Sleeps before it is sent once more.

    Raises:
        UsageError: The address is none, or is plain HTTP to another machine.
        CiUserError: It was not taken.
    """
    once = _Once(pause)
    status, asked = _post(url, content, once)
    if status == 503 and asked is not None and asked <= LONGEST_WAIT and not once.used:
        once(asked)
        status, _ = _post(url, content, once)
    if not 200 <= status < 300:
        raise _refused(
            f"it answered {status}", "make a new webhook if it is gone" if status in (403, 404, 410) else None
        )


class _AgainError(Exception):
    """The receiver asks for a second pause."""


class _Once:
    """Pauses once; the session, which would do so thrice after 429, is stopped at the second time."""

    def __init__(self, pause: Callable[[float], None]) -> None:
        self._pause = pause
        self.used = False

    def __call__(self, seconds: float) -> None:
        if self.used:
            raise _AgainError
        self.used = True
        self._pause(seconds)


def _post(url: Secret, content: Mapping[str, Any], once: _Once) -> tuple[int, float | None]:
    """Return the status and the seconds that a ``Retry-After`` asks for.

    Errors are raised outside of the ``except`` blocks, so that none carries one of the library's, whose text has the address.
    """
    from requests.exceptions import RequestException

    try:
        with session(url.reveal(), pause=once) as sent:
            answer = sent.post(url.reveal(), json=dict(content))
            return answer.status_code, retry_after(answer.headers.get("Retry-After"))
    except _AgainError:
        return 429, None
    except RedirectError:
        problem: CiUserError = _refused("it answered with a redirect, which is not followed", None)
    except RequestException as error:
        problem = _refused(f"no answer ({type(error).__name__})", "check the network and the proxy settings")
    except ValueError:
        problem = UsageError(
            "this is no address that a message may be sent to",
            where=VARIABLE,
            expected="https://HOST/...; plain http:// is for this machine only",
            do="put the webhook's address into the variable, as the service showed it",
        )
    raise problem


def _refused(what: str, do: str | None) -> CiUserError:
    return CiUserError(
        f"the webhook did not take the message: {what}",
        where=VARIABLE,
        expected="an answer from 200 to 299",
        do=f"{do or 'look at the webhook where it was made'}; the check itself is not touched by this",
    )


def _line(cause: Cause) -> str:
    entry = cause.entry
    return f"- {entry.gravity} {entry.id} in {_names(cause.environments)}: {_code(cause.message or entry.title)}"


def _names(names: tuple[str, ...]) -> str:
    more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
    return ", ".join(_code(name) for name in names[:_MOST_NAMES]) + more


def _code(text: str) -> str:
    """Return foreign text as code, without a mention or a link.

    Slack takes ``&``, ``<`` and ``>`` for its own (https://docs.slack.dev/messaging/formatting-message-text); Mattermost and
    others take ``@here`` anywhere.
    """
    safe = plain(text, _MOST_CHARACTERS).replace("`", "'").replace("@", "(at)")
    return f"`{safe.replace('&', '&amp;').replace('<', '&lt;').replace('>', '&gt;')}`"

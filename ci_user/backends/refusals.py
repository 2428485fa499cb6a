"""What every backend refuses, in the same words."""

from __future__ import annotations

import re
from typing import Final

from ci_user.backends.protocol import OWNER_TAG
from ci_user.errors import BackendError, CiUserError
from ci_user.text import plain

KEY_ID: Final = r"[A-Z0-9]{16,31}"
"""AWS says 16 to 128 word characters; ids in use have 20, and the version id of a secret has room for 31.

https://docs.aws.amazon.com/IAM/latest/APIReference/API_AccessKey.html
"""


class NoAnswerError(BackendError):
    """A service did not answer, so that nobody knows whether the call took effect."""


def check_key_id(key_id: str) -> None:
    """Refuse what is no access key id.

    Raises:
        BackendError: It is not 16 to 31 capital letters and digits.
    """
    if re.fullmatch(KEY_ID, key_id) is None:
        raise BackendError(
            f"{plain(key_id[:40])!r} is not an access key id",
            expected="16 to 31 capital letters and digits",
        )


def not_ours(target: str, what: str) -> BackendError:
    """Return the error for a target that the tool did not create for this environment."""
    return BackendError(
        f"{what} exists already and was not made by this tool for this environment",
        where=target,
        expected=f"nothing there, or the tag {OWNER_TAG} with this environment's prefix",
        do="choose another `name` in the environment file, or delete what is there if nobody needs it",
    )


def changed_by_others(target: str, what: str, do: str) -> BackendError:
    """Return the error for a target of ours whose content somebody else has changed."""
    return BackendError(
        f"{what} was changed by somebody else; nothing was overwritten",
        where=target,
        expected="what this tool wrote last",
        do=do,
    )


def another_pending(target: str, pending: str) -> BackendError:
    """Return the error for a second key while one is pending: overwriting it could lose its secret."""
    return BackendError(
        f"key {pending} is pending already",
        where=target,
        expected="no pending key, or the same one",
        do="run `invoke deploy` for the environment, which promotes or discards it first",
    )


def not_held(target: str, key_id: str) -> BackendError:
    """Return the error for a promotion of a key that is not there."""
    return BackendError(
        f"key {plain(key_id)} is neither pending nor current",
        where=target,
        expected="a key that was staged before",
        do="run `invoke status` for the environment to see which keys exist",
    )


def not_supported(backend: str, operation: str) -> BackendError:
    """Return the error for an operation of the other kind of backend."""
    return BackendError(
        f"the {backend} backend does not {operation}",
        expected="stage and promote on readable backends, deliver on the others",
        do="report this as a fault of the tool: no environment file can cause it",
    )


def extra_missing(target: str, package: str, extra: str) -> BackendError:
    """Return the error for a library that is not installed."""
    return BackendError(
        f"the package {package} is not installed",
        where=target,
        expected=f"the optional extra {extra!r}",
        do=f"pip install 'ci-user[{extra}]', or in this repository: `make sandbox`",
    )


def not_delivered(target: str, what: str, why: str) -> BackendError:
    """Return the error for a write that was answered as done and is not there."""
    return BackendError(
        f"{what} was written, but {why}",
        where=target,
        expected="what was written, as the service tells it afterwards",
        do="run the same command again; if it stays so, look at the place itself",
        runbook="backend",
    )


def without_frames(error: CiUserError) -> CiUserError:
    """Return an error that a check raised while a request was on its way, without the frames that hold the request."""
    error.__context__ = None
    return error.with_traceback(None)

"""Keeps secrets out of the debug logs of the AWS SDK and of vendors' libraries, which print request and response bodies.

Found by calling CreateAccessKey, AssumeRole, PutSecretValue, GetSecretValue, PutParameter and GetParameter
with everything at DEBUG: ``botocore.endpoint`` (requests) and ``botocore.parsers`` (responses) print the
secrets, ``botocore.endpoint`` and ``botocore.auth`` the session token. The others handle the same objects,
so all are filtered. PyGithub prints answers and sealed boxes, the Kubernetes client printed bodies before its version 37.
A filter on a logger does not reach the loggers below it, so each one has its own.
"""

from __future__ import annotations

import logging
from typing import Final

_BOTOCORE: Final = (
    "args auth awsrequest client compat compress configprovider credentials discovery endpoint "
    "endpoint_provider handlers history hooks httpchecksum httpsession loaders monitoring paginate parsers "
    "regions response retries.adaptive retries.special retries.standard retryhandler session tokens utils "
    "waiter"
)
_BOTO3: Final = (
    "dynamodb.table resources.action resources.base resources.collection resources.factory resources.model s3.transfer"
)
_S3TRANSFER: Final = "crt download futures manager processpool tasks utils"
_GITHUB: Final = "Requester GithubRetry"
_KUBERNETES: Final = "client client.rest"
_URLLIB3: Final = "connection connectionpool contrib.pyopenssl http2.connection poolmanager response util.retry"

LOGGERS: Final = tuple(
    name
    for package, modules in (
        ("botocore", _BOTOCORE),
        ("boto3", _BOTO3),
        ("s3transfer", _S3TRANSFER),
        ("urllib3", _URLLIB3),
        ("github", _GITHUB),
        ("kubernetes", _KUBERNETES),
    )
    for name in (package, *(f"{package}.{module}" for module in modules.split()))
)
"""Every logger of the SDK and of what it sends with, and those of vendors' libraries that print bodies;
a test compares it with the installed packages."""

_HIDDEN: Final = "(hidden)"


class QuietFilter(logging.Filter):
    """Lets debug records through as their constant text; whatever was put into it is hidden.

    Numbers and the name of the operation stay. A record that has no arguments may have been put together
    already, so it is dropped. Records from INFO upwards are left alone.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether the record is to be logged, after taking out what it must not show."""
        if record.levelno >= logging.INFO:
            return True
        if not isinstance(record.msg, str) or not isinstance(record.args, tuple) or not record.args:
            return False
        record.args = tuple(_shown(arg) for arg in record.args)
        record.exc_info = record.exc_text = record.stack_info = None
        return True


def _shown(arg: object) -> object:
    if arg is None or isinstance(arg, bool | int | float):
        return arg
    # An OperationModel is known by its name here, since importing the SDK takes too long.
    if type(arg).__name__ == "OperationModel":
        return str(getattr(arg, "name", _HIDDEN))
    return _HIDDEN


_FILTER: Final = QuietFilter()


def quiet_botocore() -> None:
    """Put the filter on the SDK's loggers, for the rest of the process; calling it again changes nothing.

    It holds whatever is done to levels and handlers later, since a logger's filters come before both.
    """
    for name in LOGGERS:
        # The same filter is added to a logger only once.
        logging.getLogger(name).addFilter(_FILTER)


def quiet_connections() -> None:
    """Make the SDK's connections ignore ``http.client.HTTPConnection.debuglevel``, which prints bodies.

    It imports botocore, so it is called when the first client is made.
    """
    from botocore.awsrequest import AWSHTTPConnection, AWSHTTPSConnection

    for connection in (AWSHTTPConnection, AWSHTTPSConnection):
        setattr(connection, "debuglevel", property(_zero, _ignore))  # noqa: B010 - not the type it had


def _zero(_: object) -> int:
    return 0


def _ignore(_: object, __: int) -> None:
    return None

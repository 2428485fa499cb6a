"""What the two AWS backends share: settings, the document, and calls whose errors carry no secret."""

from __future__ import annotations

import hashlib
import json
import re
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeVar

from pydantic import Field, ValidationError

from ci_user.backends.key_names import DocumentNames
from ci_user.backends.protocol import OWNER_TAG, BackendSettings, EnvironmentNames
from ci_user.backends.refusals import KEY_ID, NoAnswerError, without_frames
from ci_user.environment_fields import AccountId, KmsKeyArn, Region
from ci_user.environment_parts import Access
from ci_user.errors import BackendError, CiUserError
from ci_user.partitions import misfits
from ci_user.secret import AccessKey, Secret
from ci_user.text import plain

if TYPE_CHECKING:
    from collections.abc import Callable

    from ci_user.backends.protocol import AwsAccess

T = TypeVar("T")


class AwsBackendSettings(BackendSettings):
    """The settings that both AWS backends have."""

    readable: ClassVar[bool] = True

    region: Region | None = Field(default=None, description="Region of the secret, if it is not the environment's.")
    account_id: AccountId | None = Field(
        default=None, description="Account of the secret, if it is not the environment's."
    )
    access: Access | None = Field(
        default=None, description="Profile or role for the secret, if it is not the environment's."
    )
    kms_key: KmsKeyArn | None = Field(
        default=None, description="ARN of the KMS key that encrypts it; AWS's own key if not given."
    )
    names: DocumentNames = Field(
        default=DocumentNames(),
        description="What the key's parts are called in the document; a change waits for the next key.",
    )

    @classmethod
    def from_target(cls, target: str, environment: EnvironmentNames) -> Self | None:
        """Return the settings that ``BACKEND:ACCOUNT:REGION:NAME`` stands for, None for anything else.

        A region of another partition is something else: the environment's login says nothing there.
        """
        backend, _, rest = target.partition(":")
        account, _, rest = rest.partition(":")
        region, _, name = rest.partition(":")
        try:
            found = cls.model_validate({"backend": backend, "account_id": account, "region": region, "name": name})
        except ValidationError:
            return None
        fits = not misfits(found, environment.partition)
        return found if fits and found.target(environment) == target else None

    def place(self, environment: EnvironmentNames) -> tuple[str, str]:
        """Return the account and the region of the secret."""
        return self.account_id or environment.account_id, self.region or environment.region

    def guarded_kms_keys(self, environment: EnvironmentNames) -> tuple[str, ...]:
        """Return the KMS key, if one is named."""
        del environment
        return (self.kms_key,) if self.kms_key else ()


class Refusal(Exception):  # noqa: N818 - an answer that the caller asked for, not a failure
    """AWS's answer when it is one of the error codes that the caller expects."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


def document(key: AccessKey, region: str, names: DocumentNames) -> str:
    """Return the JSON document that consumers read. It holds the secret: pass it on, bind it to no name."""
    return json.dumps({name: value.reveal() for name, value in names.values(key, region)})


def parse_document(text: object) -> AccessKey | None:
    """Return the key in a document, None if it is not ours; never raises, so no traceback quotes it.

    It is known by its place, not by its name: the names may have been others when it was written.
    """
    try:
        found = json.loads(text) if isinstance(text, str) else None
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, dict) or len(found) < 2:
        return None
    key_id, secret = list(found.values())[:2]
    if not isinstance(key_id, str) or not isinstance(secret, str) or not secret:
        return None
    return AccessKey(key_id, Secret(secret)) if re.fullmatch(KEY_ID, key_id) else None


def version_id(key_id: str) -> str:
    """Return the version id (53 characters for a 20-character key id) that tells the key id.

    https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_PutSecretValue.html : a request token
    of 32 to 64 characters becomes the version's id.
    """
    return f"{key_id}-{hashlib.sha256(key_id.encode()).hexdigest()[:32]}"


def key_id_of(version: str | None) -> str | None:
    """Return the key id in a version id that ``version_id`` made, None for any other."""
    match = re.fullmatch(rf"({KEY_ID})-[0-9a-f]{{32}}", version or "")
    return match[1] if match and version_id(match[1]) == version else None


def owner_tags(environment: EnvironmentNames) -> list[dict[str, str]]:
    """Return the tags that mark a secret as the tool's and the environment's."""
    return [{"Key": OWNER_TAG, "Value": environment.prefix}]


def is_ours(tags: object, environment: EnvironmentNames) -> bool:
    """Return whether AWS's list of tags has the owner's tag with this environment's prefix."""
    return isinstance(tags, list) and owner_tags(environment)[0] in tags


class Service:
    """Calls to one AWS service for one target, whose failures become ``BackendError``.

    The failure is raised outside the ``except`` block: then it has no context, and the frames of botocore,
    whose locals hold the request, are in no traceback.
    """

    def __init__(self, access: AwsAccess, name: str, region: str, target: str) -> None:
        self._access = access
        self._name = name
        self._region = region
        self._target = target

    def call(
        self,
        operation: str,
        send: Callable[[Any], T],
        *,
        expecting: tuple[str, ...] = (),
        permissions: tuple[str, ...] = (),
        secret: bool = False,
        once: bool = False,
    ) -> T:
        """Return what ``send`` returns when it is given the client.

        Args:
            operation: The operation's name, which is also its IAM action.
            send: Makes the one call.
            expecting: Error codes that are raised as ``Refusal``.
            permissions: Further IAM actions that the call takes.
            secret: Request or answer hold a secret, so AWS's words, which may quote it, are left out.
            once: Repeating it is not safe, so the SDK must not.

        Raises:
            Refusal: AWS answered with one of the codes in ``expecting``.
            BackendError: AWS refused or failed; ``NoAnswerError`` when it did not answer.
        """
        from botocore.exceptions import BotoCoreError, ClientError

        failure: Exception
        try:
            attempts = {"attempts": 1} if once else {}
            return send(self._access.client(self._name, self._region, **attempts))
        except ClientError as error:
            code = str(error.response.get("Error", {}).get("Code", "an error without a code"))
            if code in expecting:
                failure = Refusal(code)
            else:
                message = "" if secret else str(error.response["Error"].get("Message", ""))
                failure = self._refused(operation, code, message, permissions)
        except BotoCoreError as error:
            # The text of a validation error quotes the request, so only the kind is told.
            failure = NoAnswerError(
                f"{operation}: no answer from AWS ({type(error).__name__})",
                where=self._target,
                expected="an answer in time",
                do="check the network, the proxy settings, the region and the endpoint, then run it again",
                runbook="backend",
            )
        except CiUserError as error:
            # Raised by the access itself: lease lost, credentials run out.
            failure = without_frames(error)
        raise failure

    def _refused(self, operation: str, code: str, message: str, permissions: tuple[str, ...]) -> BackendError:
        needed = ", ".join(f"{self._name}:{action}" for action in (operation, *permissions))
        denied = code in {"AccessDenied", "AccessDeniedException", "UnauthorizedOperation"}
        throttled = code in {
            "ThrottlingException",
            "Throttling",
            "TooManyUpdates",
            "TooManyRequestsException",
        }
        if denied:
            do = f"allow {needed} on it (and, with a KMS key of your own, kms:Decrypt and kms:GenerateDataKey)"
        elif throttled:
            do = "AWS is limiting requests: wait a minute, then run the same command again"
        else:
            do = f"look up {plain(code)} for {operation}; the call takes {needed}"
        return BackendError(
            f"{operation}: AWS answered {plain(code)}" + (f": {plain(message)}" if message else ""),
            where=self._target,
            do=do,
            runbook="backend",
        )

"""What a state bucket must be set to, and how each setting is read and made so."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from ci_user.errors import StateBucketError
from ci_user.text import plain

if TYPE_CHECKING:
    from botocore.exceptions import ClientError

Request = Callable[..., Any]

TLS_SID: Final = "CiUserTlsOnly"
_BLOCKS: Final = ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets")
_DENIED: Final = frozenset({"AccessDenied", "AccessDeniedException", "403"})
_LOOPBACK: Final = ["127.0.0.0/8", "::1/128"]


class UnreadableSettingError(StateBucketError):
    """A setting may not be read with these credentials."""


def code_of(error: ClientError) -> str:
    """Return the error code of an answer."""
    return str(error.response.get("Error", {}).get("Code", ""))


@dataclass(frozen=True)
class Setting:
    """One setting.

    Args:
        step: What making it so is called.
        defect: Reads it; returns what is wrong with it, or None.
        apply: Makes it so.
    """

    step: str
    defect: Callable[[], str | None]
    apply: Callable[[], object]


class BucketSettings:
    """The settings of one bucket, in the order in which they are made.

    Args:
        request: Calls an S3 operation on the bucket.
        arn: The bucket's ARN.
        kms_key: The key that must encrypt it by default, or None for any default encryption.
        plain_http: Tells whether the bucket is reached over plain HTTP, as the embedded AWS on this machine is.
    """

    def __init__(self, request: Request, *, arn: str, kms_key: str | None, plain_http: Callable[[], bool]) -> None:
        self._request = request
        self._arn = arn
        self._kms_key = kms_key
        self._plain_http = plain_http

    def __iter__(self) -> Iterator[Setting]:
        encryption = f"with {self._kms_key}" if self._kms_key else "with S3's own key"
        yield Setting("block public access", self._public_access, self._block_public_access)
        yield Setting("switch access control lists off", self._ownership, self._own)
        yield Setting("switch versioning on", self._versioning, self._version)
        yield Setting(f"encrypt {encryption} by default", self._encryption, self._encrypt)
        yield Setting("refuse plain HTTP in the bucket policy", self._policy, self._refuse_plain_http)

    def _read(self, what: str, operation: str, absent: str = "") -> Any:
        """Return an answer, {} when the setting is absent.

        Raises:
            UnreadableSettingError: These credentials may not read it, so nobody knows what a change would undo.
        """
        from botocore.exceptions import ClientError

        try:
            return self._request(operation)
        except ClientError as error:
            code = code_of(error)
            if code == absent:
                return {}
            if code in _DENIED:
                raise UnreadableSettingError(
                    f"{what}: cannot be read ({plain(code)})",
                    where=self._arn,
                    do="grant the rights that docs/production.md lists, then run the same command again",
                    runbook="bucket",
                ) from None
            raise

    def _public_access(self) -> str | None:
        answer = self._read("public access", "get_public_access_block", "NoSuchPublicAccessBlockConfiguration")
        blocks = answer.get("PublicAccessBlockConfiguration", {})
        missing = [name for name in _BLOCKS if blocks.get(name) is not True]
        return f"public access: {', '.join(missing)} not set" if missing else None

    def _block_public_access(self) -> None:
        self._request("put_public_access_block", PublicAccessBlockConfiguration=dict.fromkeys(_BLOCKS, True))

    def _ownership(self) -> str | None:
        answer = self._read("object ownership", "get_bucket_ownership_controls", "OwnershipControlsNotFoundError")
        rules = answer.get("OwnershipControls", {}).get("Rules", [])
        found = [rule.get("ObjectOwnership") for rule in rules]
        good = found == ["BucketOwnerEnforced"]
        return None if good else "object ownership: access control lists are in force"

    def _own(self) -> None:
        rules = [{"ObjectOwnership": "BucketOwnerEnforced"}]
        self._request("put_bucket_ownership_controls", OwnershipControls={"Rules": rules})

    def _versioning(self) -> str | None:
        answer = self._read("versioning", "get_bucket_versioning")
        status = answer.get("Status", "never switched on")
        return None if status == "Enabled" else f"versioning: {plain(status)}"

    def _version(self) -> None:
        self._request("put_bucket_versioning", VersioningConfiguration={"Status": "Enabled"})

    def _encryption(self) -> str | None:
        answer = self._read("encryption", "get_bucket_encryption", "ServerSideEncryptionConfigurationNotFoundError")
        rules = answer.get("ServerSideEncryptionConfiguration", {}).get("Rules", [])
        defaults = [rule.get("ApplyServerSideEncryptionByDefault") or {} for rule in rules]
        if not any(default.get("SSEAlgorithm") for default in defaults):
            return "encryption: none by default"
        if self._kms_key is None:
            return None
        if any(self._is_our_key(default) for default in defaults):
            return None
        return f"encryption: not with {self._kms_key}"

    def _is_our_key(self, default: Mapping[str, Any]) -> bool:
        key = str(default.get("KMSMasterKeyID", ""))
        is_kms = str(default.get("SSEAlgorithm", "")).startswith("aws:kms")
        return is_kms and self._kms_key is not None and key in (self._kms_key, self._kms_key.split("/")[-1])

    def _encrypt(self) -> None:
        rule: dict[str, Any] = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}
        if self._kms_key is not None:
            default = {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": self._kms_key}
            rule = {"ApplyServerSideEncryptionByDefault": default, "BucketKeyEnabled": True}
        self._request("put_bucket_encryption", ServerSideEncryptionConfiguration={"Rules": [rule]})

    def _policy(self) -> str | None:
        answer = self._read("policy", "get_bucket_policy", "NoSuchBucketPolicy")
        good = any(self._refuses_plain_http(statement) for statement in _statements(answer.get("Policy")))
        return None if good else "policy: plain HTTP is not refused"

    def _refuse_plain_http(self) -> None:
        answer = self._read("policy", "get_bucket_policy", "NoSuchBucketPolicy")
        document = json.loads(answer["Policy"]) if answer.get("Policy") else {}
        others = [entry for entry in _statements(answer.get("Policy")) if entry.get("Sid") != TLS_SID]
        merged = {"Version": "2012-10-17", **document, "Statement": [*others, self._tls_only()]}
        self._request("put_bucket_policy", Policy=json.dumps(merged))

    def _tls_only(self) -> dict[str, Any]:
        condition: dict[str, Any] = {"Bool": {"aws:SecureTransport": "false"}}
        if self._plain_http():
            # The embedded AWS speaks plain HTTP on loopback and obeys the policy: without this it would lock us out.
            condition["NotIpAddress"] = {"aws:SourceIp": _LOOPBACK}
        return {
            "Sid": TLS_SID,
            "Effect": "Deny",
            "Principal": "*",
            "Action": "s3:*",
            "Resource": [self._arn, f"{self._arn}/*"],
            "Condition": condition,
        }

    def _refuses_plain_http(self, statement: Mapping[str, Any]) -> bool:
        """Return whether it denies everyone everything over plain HTTP, whatever its name."""
        condition = statement.get("Condition")
        if self._plain_http() and isinstance(condition, dict):
            exemption = condition.get("NotIpAddress")
            if exemption == {"aws:SourceIp": _LOOPBACK}:
                condition = {name: value for name, value in condition.items() if name != "NotIpAddress"}
        return (
            statement.get("Effect") == "Deny"
            and statement.get("Principal") in ("*", {"AWS": "*"}, {"AWS": ["*"]})
            and bool({"s3:*", "*"} & set(_listed(statement.get("Action"))))
            and {self._arn, f"{self._arn}/*"} <= set(_listed(statement.get("Resource")))
            and isinstance(condition, dict)
            and list(condition) == ["Bool"]
            and _listed(condition["Bool"].get("aws:SecureTransport")) in (["false"], [False])
            and len(condition["Bool"]) == 1
        )


def _statements(policy: str | None) -> list[dict[str, Any]]:
    statements = json.loads(policy).get("Statement", []) if policy else []
    return [statements] if isinstance(statements, dict) else list(statements)


def _listed(value: object) -> list[Any]:
    return value if isinstance(value, list) else [value]

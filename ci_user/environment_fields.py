"""The field types of environment files, for the environment's model and for the settings of every backend.

A value that does not fit raises `expected(...)`; the files' reader turns that into "found ...; expected ...".
"""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Final, Literal
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    ValidationInfo,
    WithJsonSchema,
)
from pydantic_core import InitErrorDetails, PydanticCustomError, ValidationError

from ci_user import naming

Partition = Literal["aws", "aws-us-gov", "aws-cn"]

ACCOUNT_PATTERN: Final = r"[0-9]{12}"
REGION_PATTERN: Final = (
    r"(us-gov|[a-z]{2})-(central|north|south|east|west|northeast|northwest|southeast|southwest)-[1-9][0-9]?"
)

_PATH_OF_ROLE = r"role/([!-.0-~]{1,510}/)?[A-Za-z0-9_+=,.@-]{1,64}"


def expected(text: str) -> PydanticCustomError:
    """Return the error to raise for a value that does not fit; `text` completes "expected ..."."""
    # Braces would be taken for a template's parameters.
    return PydanticCustomError("expected", "{expected}", {"expected": text})


Problem = tuple[tuple[str | int, ...], str, Any]
"""A place below the validator's own, the text that completes "expected ...", and the value found."""


def refusal(problems: list[Problem]) -> ValidationError:
    """Return one error for many places."""
    return ValidationError.from_exception_data(
        "environment",
        [InitErrorDetails(type=expected(text), loc=place, input=value) for place, text, value in problems],
    )


def refuse(problems: list[Problem]) -> None:
    """Raise one error for many places.

    Raises:
        pydantic.ValidationError: when there are problems.
    """
    if problems:
        raise refusal(problems)


class Model(BaseModel):
    """The base of all parts of an environment: strict, frozen, no unknown keys."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", hide_input_in_errors=True)


def matching(pattern: str, text: str) -> AfterValidator:
    """Return the validator of a string that all of `pattern` must match; `text` completes "expected"."""
    compiled = re.compile(pattern)

    def check(value: str) -> str:
        if compiled.fullmatch(value) is None:
            raise expected(text)
        return value

    return AfterValidator(check)


def pattern_schema(pattern: str) -> WithJsonSchema:
    """Return the JSON Schema of a string that all of `pattern` must match."""
    return WithJsonSchema({"type": "string", "pattern": f"^{pattern}$"})


def _account(value: object) -> object:
    if isinstance(value, int) and not isinstance(value, bool):
        raise expected("12 digits in quotes: without quotes YAML reads a number and drops leading zeros")
    return value


AccountId = Annotated[
    str, matching(ACCOUNT_PATTERN, "12 digits in quotes"), BeforeValidator(_account), pattern_schema(ACCOUNT_PATTERN)
]
Region = Annotated[
    str,
    matching(REGION_PATTERN, "a region such as eu-west-1, us-gov-west-1 or cn-north-1"),
    pattern_schema(REGION_PATTERN),
]
ApplicationName = Annotated[
    str,
    matching(
        rf"(?=.{{1,{naming.APPLICATION_LENGTH}}}\Z){naming.NAME_PATTERN}",
        f"lower case letters, digits and hyphens, at most {naming.APPLICATION_LENGTH} characters",
    ),
    WithJsonSchema({"type": "string", "pattern": f"^{naming.NAME_PATTERN}$", "maxLength": naming.APPLICATION_LENGTH}),
]
EnvironmentName = Annotated[
    str,
    matching(
        rf"(?=.{{1,{naming.ENVIRONMENT_LENGTH}}}\Z){naming.NAME_PATTERN}",
        f"lower case letters, digits and hyphens, at most {naming.ENVIRONMENT_LENGTH} characters",
    ),
]
PolicyName = Annotated[
    str,
    matching(
        rf"(?=.{{1,{naming.POLICY_LENGTH}}}\Z){naming.NAME_PATTERN}",
        "the name of a policy in terraform/policies",
    ),
    WithJsonSchema({"type": "string", "pattern": f"^{naming.NAME_PATTERN}$", "maxLength": naming.POLICY_LENGTH}),
]


def _arn_pattern(service: str, region: str, resource: str) -> str:
    return rf"arn:(aws|aws-us-gov|aws-cn):{service}:{region}:{ACCOUNT_PATTERN}:{resource}"


ROLE_PATTERN: Final = _arn_pattern("iam", "", _PATH_OF_ROLE)
KMS_PATTERN: Final = _arn_pattern(
    "kms", REGION_PATTERN, r"key/(mrk-[0-9a-f]{32}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12})"
)

RoleArn = Annotated[
    str,
    matching(ROLE_PATTERN, "the ARN of a role, such as arn:aws:iam::111111111111:role/ci-user-deployer"),
    pattern_schema(ROLE_PATTERN),
]
KmsKeyArn = Annotated[
    str,
    matching(
        KMS_PATTERN,
        "the ARN of a KMS key, arn:aws:kms:REGION:ACCOUNT:key/ID, not of an alias: policies match keys only",
    ),
    pattern_schema(KMS_PATTERN),
]


def _bucket(value: str) -> str:
    # https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html
    legal = (
        re.fullmatch(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", value) is not None
        and ".." not in value
        and re.fullmatch(r"[0-9]+(\.[0-9]+){3}", value) is None
        and not value.startswith(("xn--", "sthree-", "amzn-s3-demo-"))
        and not value.endswith(("-s3alias", "--ol-s3", ".mrap", "--x-s3", "--table-s3"))
    )
    if not legal:
        raise expected("a bucket name: 3 to 63 lower case letters, digits, hyphens and dots, as S3's naming rules say")
    return value


BucketName = Annotated[str, AfterValidator(_bucket), pattern_schema(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")]


def _object_key(value: str) -> str:
    parts = value.split("/")
    if (
        re.fullmatch(r"[A-Za-z0-9_./-]{3,900}", value) is None
        or len(parts) < 2
        or any(part in {"", ".", ".."} for part in parts)
        or parts[-1].endswith((".tflock", ".pending"))
        or parts[-1] == "lease.json"
    ):
        raise expected("the state object's key, FOLDER/NAME.tfstate, in a folder of its own: the lease lies next to it")
    return value


ObjectKey = Annotated[str, AfterValidator(_object_key), pattern_schema(r"[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)+")]


def _url(value: str) -> str:
    text = "an https:// address without user, query and fragment; http:// for loopback only"
    try:
        parts = urlsplit(value)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise expected(text) from None
    plain = re.fullmatch(r"https?://[A-Za-z0-9.:\[\]-]+(/[A-Za-z0-9._~/-]*)?", value) is not None
    if not plain or not host or port == 0 or (parts.scheme == "http" and not is_loopback(host)):
        raise expected(text)
    return value


def is_loopback(host: str) -> bool:
    """Return whether a host is this machine: ``localhost`` or an address of loopback."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


Url = Annotated[str, AfterValidator(_url), WithJsonSchema({"type": "string", "pattern": "^https?://"})]


def inside(root: Path, text: str) -> Path:
    """Return the absolute path of `text`, relative to `root`, which it must not leave.

    Raises:
        ValueError: when `text` is absolute or not printable, has ``..`` or a backslash in it, or leads out
            of `root` through a symlink.
    """
    path = PurePosixPath(text)
    if not text.isprintable():
        raise ValueError("a path of printable characters")
    if not text or path.is_absolute() or ".." in path.parts or "\\" in text or text.startswith("~") or not path.parts:
        raise ValueError("a path inside the repository, relative to its root, without ..")
    top = root.resolve()
    try:
        target = (top / path).resolve()
    except (OSError, RuntimeError):
        raise ValueError("a path inside the repository that can be followed") from None
    if not target.is_relative_to(top):
        raise ValueError("a path inside the repository: a symlink leads out of it")
    return root.absolute() / path


def _repository_path(value: str, info: ValidationInfo) -> str:
    root = (info.context or {}).get("root", Path())
    try:
        inside(root, value)
    except ValueError as error:
        raise expected(str(error)) from None
    return value


RepositoryPath = Annotated[str, AfterValidator(_repository_path), WithJsonSchema({"type": "string", "minLength": 1})]
"""A path relative to the repository's root, which validation's context names; `inside` makes it absolute."""

"""What a read-only run may send: everything else is refused just before it would leave.

An allow-list, and nothing on it is there to return a secret. Only ListFunctions and DescribeStacks may bring along what people
put into variables and outputs; names and roles are all that is kept of their answers. Terraform sends its own requests, which
this does not see: what it may do is in its credentials' policy, and the tests' proxy watches both.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import parse_qs, unquote, urlsplit

from ci_user.errors import ReadOnlyError
from ci_user.text import plain

OPERATIONS: Final[Mapping[str, str]] = {
    # https://docs.aws.amazon.com/STS/latest/APIReference/API_GetCallerIdentity.html: no permission is needed.
    "sts:GetCallerIdentity": "",
    "sts:AssumeRole": "sts:AssumeRole",
    "sts:AssumeRoleWithWebIdentity": "",
    "sts:AssumeRoleWithSAML": "",
    **{
        f"iam:{name}": f"iam:{name}"
        for name in (
            *("GetAccountAuthorizationDetails", "GetUser", "GetPolicy", "GetPolicyVersion", "GetRole"),
            *("ListAccessKeys", "GetAccessKeyLastUsed", "GetLoginProfile", "ListSSHPublicKeys"),
            *("ListServiceSpecificCredentials", "ListSigningCertificates", "ListMFADevices"),
        )
    },
    "lambda:ListFunctions": "lambda:ListFunctions",
    "cloudformation:DescribeStacks": "cloudformation:DescribeStacks",
    "secretsmanager:DescribeSecret": "secretsmanager:DescribeSecret",
    "ssm:DescribeParameters": "ssm:DescribeParameters",
    "ssm:ListTagsForResource": "ssm:ListTagsForResource",
    # https://docs.aws.amazon.com/AmazonS3/latest/userguide/using-with-s3-policy-actions.html
    "s3:HeadBucket": "s3:ListBucket",
    "s3:ListObjectsV2": "s3:ListBucket",
    "s3:ListObjectVersions": "s3:ListBucketVersions",
    "s3:GetObject": "s3:GetObject",
    "s3:GetObjectVersion": "s3:GetObjectVersion",
    "s3:GetBucketLocation": "s3:GetBucketLocation",
    "s3:GetBucketPolicy": "s3:GetBucketPolicy",
}
"""What is asked of AWS, with the IAM action that it takes; empty where it takes none. GetObject is called
``s3:GetObjectVersion`` here when it asks for a version."""

_SCOPE: Final = re.compile(r"Credential=[^/,\s]+/[0-9]{8}/[^/,\s]+/([a-z0-9-]+)/aws4_request")
_TARGETS: Final = {"secretsmanager": "secretsmanager.", "ssm": "AmazonSSM."}
"""What ``X-Amz-Target`` begins with, for the services that go by it; others ignore it."""
_PRESIGNED: Final = frozenset({"x-amz-algorithm", "x-amz-credential", "x-amz-signature", "awsaccesskeyid"})
_OVERRIDES: Final = frozenset({"x-http-method", "x-http-method-override", "x-method-override"})
_UNSIGNED: Final = frozenset({"AssumeRoleWithWebIdentity", "AssumeRoleWithSAML"})
_FUNCTIONS: Final = re.compile(r"/2015-03-31/functions/?")

_BUCKET_QUERIES: Final = {
    "list-type": "ListObjectsV2",
    "versions": "ListObjectVersions",
    "location": "GetBucketLocation",
    "versioning": "GetBucketVersioning",
    "encryption": "GetBucketEncryption",
    "policy": "GetBucketPolicy",
    "ownershipControls": "GetBucketOwnershipControls",
    "publicAccessBlock": "GetPublicAccessBlock",
}
# What only narrows a list, or tells the SDK's own name of the operation.
_NARROWING: Final = frozenset(
    {
        *("prefix", "delimiter", "max-keys", "encoding-type", "start-after", "continuation-token", "fetch-owner"),
        *("key-marker", "version-id-marker", "x-id"),
    }
)

_KUBERNETES_SECRETS: Final = re.compile(r"/api/+v1/+(watch/+)?(namespaces/+[^/]+/+)?secrets(/|$)")
_METADATA_ONLY: Final = "as=PartialObjectMetadata"
# The list has every value; of single variables only the key id's and the note are asked for.
_GITLAB_LIST: Final = re.compile(r"/api/+v4/+(projects/+[^/]+|groups/+[^/]+|admin/+ci)/+variables(\.[a-z]+)?/*$")
_GITHUB_LOGIN: Final = re.compile(r"/app/installations/[0-9]+/access_tokens$")
_VAULT_LOGIN: Final = re.compile(r"/v1/auth/.+/login$")
_VAULT_READS: Final = re.compile(r"sys/internal/ui/mounts/.+|auth/token/lookup-self")
_VAULT_HEADERS: Final = frozenset({"x-vault-request", "x-vault-token"})


def refuse_writes(request: Any) -> None:
    """See that a request may leave a read-only run.

    Args:
        request: What is about to be sent: botocore's ``AWSPreparedRequest``, or ``requests.PreparedRequest``.

    Raises:
        ReadOnlyError: It is not on the list. The error has neither body nor query nor headers.
    """
    headers = {_text(name).lower(): _text(value) for name, value in dict(request.headers or {}).items()}
    if _OVERRIDES & headers.keys():
        raise _refusal("send one method under another's name", secret=False)
    called = operation(request.method, request.url, headers, request.body) if _is_aws(request, headers) else None
    if called is not None:
        if called in OPERATIONS:
            return
        raise _refusal(f"call {called}", secret=called == "secretsmanager:GetSecretValue")
    method, url = _text(request.method).upper(), urlsplit(_text(request.url))
    if _may_leave(method, url.path, headers):
        return
    raise _refusal(f"send {method} {url.hostname}{url.path}", secret=False)


def operation(method: str, url: str, headers: Mapping[str, str], body: object) -> str:
    """Return what a request asks AWS to do, ``iam:GetUser``; a request that is not understood is told as it is.

    Args:
        method: ``GET`` and so on.
        url: The whole address.
        headers: With names in lower case.
        body: The body, if any.
    """
    parts = urlsplit(_text(url))
    # What AWS itself goes by is the scope of the signature.
    scope = _SCOPE.search(headers.get("authorization", ""))
    service = scope[1] if scope else ""
    target, verb = headers.get("x-amz-target", ""), method.upper()
    told = f"{service or 'unsigned'}:{verb} {parts.path}"
    # What says twice what it asks for, or in a place where the SDK does not say it, is not understood.
    alone = verb == "POST" and parts.path in ("", "/") and not parts.query
    if target or service in _TARGETS:
        start = _TARGETS.get(service)
        known = start is not None and alone and target.startswith(start)
        return f"{service}:{target.removeprefix(start or '')}" if known else told
    if service == "s3":
        return f"s3:{_s3(verb, parts.hostname or '', parts.path, parts.query)}"
    if service == "lambda":
        return "lambda:ListFunctions" if verb == "GET" and _FUNCTIONS.fullmatch(parts.path) else told
    actions = parse_qs(_text(body), keep_blank_values=True).get("Action", []) if isinstance(body, bytes | str) else []
    if alone and len(actions) == 1:
        name = actions[0]
        return f"{service or ('sts' if name in _UNSIGNED else 'unsigned')}:{name}"
    return told


def _is_aws(request: Any, headers: Mapping[str, str]) -> bool:
    """Tell whether it is for AWS: made by its SDK, or signed in one of the ways that AWS takes, in a header or in the query.

    https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-authentication-methods.html
    """
    query = {unquote(part.partition("=")[0]).lower() for part in urlsplit(_text(request.url)).query.split("&")}
    return (
        type(request).__module__.startswith("botocore.")
        or headers.get("authorization", "").lower().startswith(("aws ", "aws3", "aws4"))
        or bool(_PRESIGNED & query)
    )


def _s3(method: str, host: str, path: str, query: str) -> str:
    """Return an operation by method, address and query; what is not on the list keeps its method and query names."""
    names = {part.partition("=")[0] for part in query.split("&") if part}
    # bucket.s3.REGION.amazonaws.com, or s3.REGION.amazonaws.com/bucket.
    in_host = ".s3." in host or ".s3-" in host
    key = [part for part in path.split("/") if part][0 if in_host else 1 :]
    told = f"{method} {'object' if key else 'bucket'} {','.join(sorted(names))}".strip()
    if method == "HEAD":
        return ("HeadObject" if key else "HeadBucket") if names <= {"versionId"} else told
    if method != "GET":
        return told
    if key:
        return told if names - {"versionId", "x-id"} else "GetObjectVersion" if "versionId" in names else "GetObject"
    asked = [name for name in _BUCKET_QUERIES if name in names]
    return _BUCKET_QUERIES[asked[0]] if len(asked) == 1 and names <= {*asked, *_NARROWING} else told


def _may_leave(method: str, path: str, headers: Mapping[str, str]) -> bool:
    """Tell whether a request to a vendor only reads and returns no secret, or is a login."""
    vault = bool(_VAULT_HEADERS & set(headers)) or path.startswith("/v1/")
    if method == "POST":
        return bool(_VAULT_LOGIN.search(path) if vault else _GITHUB_LOGIN.search(path))
    if method not in ("GET", "HEAD"):
        return False
    if vault:
        return _vault_metadata(path)
    if method == "HEAD":
        return True
    return all(harmless(path, headers) for harmless in _HARMLESS)


def _vault_metadata(path: str) -> bool:
    """Tell whether a path leads to what Vault tells about a secret, and not to the secret.

    ``MOUNT/metadata/PATH`` and ``MOUNT/data/PATH``, where both may have slashes: what could be taken both ways is refused.
    https://developer.hashicorp.com/vault/api-docs/secret/kv/kv-v2
    """
    below = unquote(path).partition("/v1/")[2]
    parts = below.split("/")
    if {"", ".", ".."} & set(parts):
        return False
    if _VAULT_READS.fullmatch(below):
        return True
    # A mount has at least one part.
    del parts[0]
    kinds = [number for number, part in enumerate(parts) if part in ("data", "metadata")]
    if not kinds:
        return False
    first = kinds[0]
    return parts[first] == "metadata" and len(parts) > first + 1 and parts[first + 1] != "data"


def _no_kubernetes_data(path: str, headers: Mapping[str, str]) -> bool:
    accepted = headers.get("accept", "").split(",")
    return not _KUBERNETES_SECRETS.search(unquote(path)) or all(_METADATA_ONLY in one for one in accepted)


def _no_gitlab_list(path: str, headers: Mapping[str, str]) -> bool:
    del headers
    return not _GITLAB_LIST.search(path)


_HARMLESS: Final[tuple[Callable[[str, Mapping[str, str]], bool], ...]] = (_no_kubernetes_data, _no_gitlab_list)


def _refusal(tried: str, *, secret: bool) -> ReadOnlyError:
    do = (
        "a read-only run reads no secret, a token in Secrets Manager neither: give this job the token in a variable"
        if secret
        else "report this as a mistake in the tool; nothing was sent"
    )
    return ReadOnlyError(f"a mistake in this tool: a read-only run tried to {plain(tried, 200)}", do=do)


def _text(value: object) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else "" if value is None else str(value)

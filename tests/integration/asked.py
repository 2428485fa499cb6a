"""What IAM is asked about when a recorded request arrives: actions, resources and condition keys, as AWS documents them."""

from __future__ import annotations

import json
import urllib.parse
from collections.abc import Iterator, Mapping
from typing import Any, Final

from ci_user.nightly import read_only
from ci_user.policy import catalogue
from ci_user.policy.conditions import Context
from ci_user.policy.evaluate import Request
from tests import proxy

# https://docs.aws.amazon.com/AmazonS3/latest/userguide/using-with-s3-policy-actions.html
_S3: Final[Mapping[str, str]] = {
    "HeadBucket": "ListBucket",
    "ListObjectsV2": "ListBucket",
    "ListObjectVersions": "ListBucketVersions",
    "HeadObject": "GetObject",
    "GetBucketEncryption": "GetEncryptionConfiguration",
    "GetPublicAccessBlock": "GetBucketPublicAccessBlock",
    "PUT bucket": "CreateBucket",
    "PUT bucket encryption": "PutEncryptionConfiguration",
    "PUT bucket ownershipControls": "PutBucketOwnershipControls",
    "PUT bucket policy": "PutBucketPolicy",
    "PUT bucket publicAccessBlock": "PutBucketPublicAccessBlock",
    "PUT bucket versioning": "PutBucketVersioning",
    "PUT object": "PutObject",
    "PUT object x-id": "PutObject",
    "DELETE object": "DeleteObject",
    "DELETE object x-id": "DeleteObject",
}
_IAM_NAMES: Final = {"user": "UserName", "group": "GroupName", "role": "RoleName"}
_IAM_KEYS: Final = {"iam:permissionsboundary": "PermissionsBoundary", "iam:policyarn": "PolicyArn"}


class Asked:
    """The account that requests arrive in.

    Args:
        account_id: The account.
        region: The region.
        user: The CI user: GetAccessKeyLastUsed names a key, and IAM is asked about its user.
    """

    def __init__(self, account_id: str, region: str, user: str) -> None:
        self._account, self._region, self._user = account_id, region, user

    def of(self, request: proxy.Request) -> tuple[Request, ...]:
        """Return what IAM is asked about; nothing for a call that needs no permission."""
        called = operation(request)
        service, _, name = called.partition(":")
        if service == "sts":
            assert name == "GetCallerIdentity", called
            return ()
        return tuple(getattr(self, f"_{service}")(name, request))

    def _iam(self, name: str, request: proxy.Request) -> Iterator[Request]:
        given = {key: values[0] for key, values in urllib.parse.parse_qs(request.body.decode()).items()}
        known = catalogue.action(f"iam:{name}")
        assert known is not None, name
        keys = {key: given[field] for key, field in _IAM_KEYS.items() if field in given}
        resource = "*"
        for kind in known.resource_types:
            if kind == "policy":
                resource = given.get("PolicyArn") or self._arn("iam", f"policy/{given['PolicyName']}", region="")
            else:
                called = given.get(_IAM_NAMES[kind], self._user)
                resource = self._arn("iam", f"{kind}/{called}", region="")
        yield _request(f"iam:{name}", resource, keys)
        if any(field.startswith("Tags.") for field in given) and name.startswith("Create"):
            # https://docs.aws.amazon.com/IAM/latest/UserGuide/access_iam-tags.html
            yield _request(f"iam:Tag{name.removeprefix('Create')}", resource, {})

    def _s3(self, name: str, request: proxy.Request) -> Iterator[Request]:
        action = f"s3:{_S3.get(name, name)}"
        assert catalogue.action(action) is not None, action
        path = urllib.parse.unquote(urllib.parse.urlsplit(request.path).path).strip("/")
        yield _request(action, f"arn:aws:s3:::{path}", {"aws:resourceaccount": self._account})

    def _secretsmanager(self, name: str, request: proxy.Request) -> Iterator[Request]:
        given = json.loads(request.body)
        resource = self._arn("secretsmanager", f"secret:{given.get('SecretId') or given['Name']}-AbCdEf")
        yield _request(f"secretsmanager:{name}", resource, {})
        if name == "CreateSecret" and given.get("Tags"):
            yield _request("secretsmanager:TagResource", resource, {})

    def _ssm(self, name: str, request: proxy.Request) -> Iterator[Request]:
        given = json.loads(request.body)
        called = given.get("Name") or given.get("ResourceId")
        resource = self._arn("ssm", f"parameter/{called.removeprefix('/')}") if called else "*"
        yield _request(f"ssm:{name}", resource, {})
        if name == "PutParameter" and given.get("Tags"):
            yield _request("ssm:AddTagsToResource", resource, {})

    def _lambda(self, name: str, _: proxy.Request) -> Iterator[Request]:
        yield _request(f"lambda:{name}", "*", {})

    def _cloudformation(self, name: str, request: proxy.Request) -> Iterator[Request]:
        assert b"StackName" not in request.body
        yield _request(f"cloudformation:{name}", "*", {})
        # All stacks at once: https://docs.aws.amazon.com/service-authorization/latest/reference/list_awscloudformation.html
        yield _request("cloudformation:ListStacks", "*", {})

    def _arn(self, service: str, resource: str, region: str | None = None) -> str:
        return f"arn:aws:{service}:{self._region if region is None else region}:{self._account}:{resource}"


def operation(request: proxy.Request) -> str:
    """Return what a recorded request asks AWS to do, ``iam:GetUser``."""
    return read_only.operation(request.method, f"http://127.0.0.1{request.path}", request.headers, request.body)


def _request(action: str, resource: str, keys: Mapping[str, Any]) -> Request:
    return Request(action, resource, Context({key: (value,) for key, value in keys.items()}))

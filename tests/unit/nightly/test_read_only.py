"""A read-only run sends what is on its list: each request is judged as botocore and requests really build it."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import pytest
import requests
from botocore.awsrequest import AWSPreparedRequest, AWSResponse, HeadersDict
from botocore.session import Session

from ci_user.errors import ReadOnlyError
from ci_user.nightly.read_only import OPERATIONS, operation, refuse_writes

ENDPOINT = "http://127.0.0.1:9"
SCOPE = "AWS4-HMAC-SHA256 Credential=AKIA/20261124/eu-west-1/{}/aws4_request, SignedHeaders=host, Signature=0"


@pytest.fixture(scope="module")
def session() -> Session:
    made = Session()
    made.set_credentials("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMIK7MDENGbPxRfiCYEXAMPLEKEY")
    return made


class Raw(io.BytesIO):
    def stream(self, **_: object) -> Any:
        yield self.read()


def sent(
    session: Session, service: str, call: Callable[[Any], Any], endpoint: str | None = ENDPOINT
) -> AWSPreparedRequest:
    """Return the request that a call would send."""
    client = session.create_client(service, region_name="eu-west-1", endpoint_url=endpoint)
    found: list[AWSPreparedRequest] = []

    def catch(request: AWSPreparedRequest, **_: object) -> Any:
        found.append(request)
        headers: Any = HeadersDict({})
        return AWSResponse(request.url, 403, headers, Raw(b""))

    client.meta.events.register("before-send.*", catch)
    with pytest.raises(Exception):  # noqa: B017 - whatever botocore makes of a 403
        call(client)
    return found[0]


READS: list[tuple[str, str, Callable[[Any], Any]]] = [
    ("sts", "GetCallerIdentity", lambda c: c.get_caller_identity()),
    (
        "sts",
        "AssumeRole",
        lambda c: c.assume_role(RoleArn="arn:aws:iam::000000000000:role/night", RoleSessionName="xx"),
    ),
    ("iam", "GetUser", lambda c: c.get_user(UserName="u")),
    ("iam", "GetAccountAuthorizationDetails", lambda c: c.get_account_authorization_details()),
    ("iam", "GetAccessKeyLastUsed", lambda c: c.get_access_key_last_used(AccessKeyId="AKIAIOSFODNN7EXAMPLE")),
    ("lambda", "ListFunctions", lambda c: c.list_functions()),
    ("cloudformation", "DescribeStacks", lambda c: c.describe_stacks()),
    ("secretsmanager", "DescribeSecret", lambda c: c.describe_secret(SecretId="x")),
    ("ssm", "DescribeParameters", lambda c: c.describe_parameters()),
    ("ssm", "ListTagsForResource", lambda c: c.list_tags_for_resource(ResourceType="Parameter", ResourceId="/x")),
    ("s3", "HeadBucket", lambda c: c.head_bucket(Bucket="state-bucket", ExpectedBucketOwner="000000000000")),
    ("s3", "GetObject", lambda c: c.get_object(Bucket="state-bucket", Key="a/b", ExpectedBucketOwner="000000000000")),
    ("s3", "GetObjectVersion", lambda c: c.get_object(Bucket="state-bucket", Key="a/b", VersionId="1")),
    ("s3", "ListObjectsV2", lambda c: c.list_objects_v2(Bucket="state-bucket", Prefix="a/", ContinuationToken="t")),
    ("s3", "ListObjectVersions", lambda c: c.list_object_versions(Bucket="state-bucket", Prefix="a", KeyMarker="a")),
    ("s3", "GetBucketLocation", lambda c: c.get_bucket_location(Bucket="state-bucket")),
    ("s3", "GetBucketPolicy", lambda c: c.get_bucket_policy(Bucket="state-bucket")),
]

WRITES: list[tuple[str, Callable[[Any], Any]]] = [
    ("iam", lambda c: c.create_access_key(UserName="u")),
    ("iam", lambda c: c.put_user_policy(UserName="u", PolicyName="p", PolicyDocument="{}")),
    ("iam", lambda c: c.tag_user(UserName="u", Tags=[{"Key": "Action", "Value": "GetUser"}])),
    ("sts", lambda c: c.get_session_token()),
    ("lambda", lambda c: c.get_function(FunctionName="f")),
    ("lambda", lambda c: c.get_function_configuration(FunctionName="f")),
    ("lambda", lambda c: c.invoke(FunctionName="f")),
    ("cloudformation", lambda c: c.get_template(StackName="s")),
    ("cloudformation", lambda c: c.create_stack(StackName="s", TemplateBody="{}")),
    ("secretsmanager", lambda c: c.get_secret_value(SecretId="x")),
    ("secretsmanager", lambda c: c.batch_get_secret_value(SecretIdList=["x"])),
    ("secretsmanager", lambda c: c.put_secret_value(SecretId="x", SecretString="hush")),
    ("ssm", lambda c: c.get_parameter(Name="/x", WithDecryption=True)),
    ("ssm", lambda c: c.get_parameters(Names=["/x"])),
    ("ssm", lambda c: c.get_parameters_by_path(Path="/x")),
    ("ssm", lambda c: c.get_parameter_history(Name="/x")),
    ("kms", lambda c: c.decrypt(CiphertextBlob=b"x")),
    ("s3", lambda c: c.put_object(Bucket="state-bucket", Key="lease", Body=b"hush", IfMatch="e")),
    ("s3", lambda c: c.delete_object(Bucket="state-bucket", Key="lease")),
    ("s3", lambda c: c.create_bucket(Bucket="state-bucket")),
    ("s3", lambda c: c.put_bucket_policy(Bucket="state-bucket", Policy="{}")),
    ("s3", lambda c: c.list_buckets()),
    ("s3", lambda c: c.get_bucket_versioning(Bucket="state-bucket")),
    ("s3", lambda c: c.head_object(Bucket="state-bucket", Key="a/b")),
    ("iam", lambda c: c.list_users()),
    ("s3", lambda c: c.get_object_acl(Bucket="state-bucket", Key="a")),
]


@pytest.mark.parametrize("endpoint", [ENDPOINT, None])
@pytest.mark.parametrize(("service", "name", "call"), READS, ids=[f"{one[0]} {one[1]}" for one in READS])
def test_what_is_read_may_leave(
    session: Session, service: str, name: str, call: Callable[[Any], Any], endpoint: str | None
) -> None:
    request = sent(session, service, call, endpoint)
    headers = {key.lower(): value for key, value in request.headers.items()}
    headers = {key: value.decode() if isinstance(value, bytes) else value for key, value in headers.items()}
    assert operation(request.method, request.url, headers, request.body) == f"{service}:{name}"
    refuse_writes(request)


@pytest.mark.parametrize("endpoint", [ENDPOINT, None])
@pytest.mark.parametrize(("service", "call"), WRITES)
def test_what_writes_or_returns_a_secret_never_leaves(
    session: Session, service: str, call: Callable[[Any], Any], endpoint: str | None
) -> None:
    with pytest.raises(ReadOnlyError, match="a read-only run tried to") as caught:
        refuse_writes(sent(session, service, call, endpoint))
    assert "hush" not in f"{caught.value}{caught.value.details}"


def test_every_operation_of_the_services_is_judged_by_its_name(session: Session) -> None:
    for service, form in (("iam", "query"), ("sts", "query"), ("ssm", "json"), ("secretsmanager", "json")):
        model = session.get_service_model(service)
        for name in model.operation_names:
            body = f"Action={name}&Version=2010-05-08" if form == "query" else "{}"
            headers: Any = HeadersDict({"Authorization": SCOPE.format(service)})
            if form == "json":
                headers["X-Amz-Target"] = f"{model.metadata['targetPrefix']}.{name}"
            request = AWSPreparedRequest("POST", f"{ENDPOINT}/", headers, body.encode(), stream_output=False)
            if f"{service}:{name}" in OPERATIONS:
                refuse_writes(request)
            else:
                with pytest.raises(ReadOnlyError):
                    refuse_writes(request)
            # The same name signed for another service is another operation.
            request.headers["Authorization"] = SCOPE.format("ec2")
            with pytest.raises(ReadOnlyError):
                refuse_writes(request)


def test_nothing_on_the_list_writes_or_gives_a_secret() -> None:
    for name in OPERATIONS:
        verb = name.partition(":")[2]
        assert verb.startswith(("Get", "List", "Describe", "Head", "Assume"))
        assert not verb.startswith(("GetSecretValue", "GetParameter", "GetSessionToken", "GetFederationToken"))


@pytest.mark.parametrize(
    ("service", "method", "path", "body", "more"),
    [
        ("iam", "POST", "/", b"Action=GetUser&Action=CreateAccessKey", {}),
        ("iam", "POST", "/", b"Action=&Action=GetUser", {}),
        ("iam", "POST", "/?Action=CreateAccessKey", b"Action=GetUser", {}),
        ("iam", "GET", "/?Action=GetUser", b"", {}),
        ("iam", "POST", "/", b"Action=CreateAccessKey", {"X-Amz-Target": "iam.GetUser"}),
        ("iam", "POST", "/", io.BytesIO(b"Action=GetUser"), {}),
        ("ssm", "POST", "/", b"{}", {"X-Amz-Target": "secretsmanager.DescribeParameters"}),
        ("ssm", "POST", "/?Action=GetParameter", b"{}", {"X-Amz-Target": "AmazonSSM.DescribeParameters"}),
        ("ssm", "POST", "/", b"Action=DescribeParameters", {}),
        ("s3", "PUT", "/states/key", b"x", {"X-Amz-Target": "s3.GetObject"}),
        ("s3", "GET", "/states/key", b"", {"X-HTTP-Method-Override": "DELETE"}),
        ("s3", "POST", "/states?list-type=2", b"", {}),
        ("lambda", "PUT", "/2015-03-31/functions/f/code", b"{}", {"x-amz-target": "lambda.ListFunctions"}),
    ],
)
def test_a_request_that_could_be_taken_in_two_ways_never_leaves(
    service: str, method: str, path: str, body: Any, more: dict[str, str]
) -> None:
    headers: Any = HeadersDict({"Authorization": SCOPE.format(service), **more})
    with pytest.raises(ReadOnlyError):
        refuse_writes(AWSPreparedRequest(method, f"{ENDPOINT}{path}", headers, body, False))


@pytest.mark.parametrize(
    ("query", "authorization"),
    [
        ("X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Signature=0", ""),
        ("x%2Damz-signature=0", ""),
        ("AWSAccessKeyId=AKIAIOSFODNN7EXAMPLE&Signature=0", ""),
        ("Version=2010-05-08", "AWS AKIAIOSFODNN7EXAMPLE:0"),
        ("Version=2010-05-08", "AWS4-ECDSA-P256-SHA256 Credential=AKIA/20261124/iam/aws4_request, Signature=0"),
    ],
)
def test_what_is_signed_for_aws_in_another_way_is_no_look_at_a_vendor(query: str, authorization: str) -> None:
    headers = {"Authorization": authorization} if authorization else {}
    with pytest.raises(ReadOnlyError):
        refuse_writes(http("GET", f"https://iam.amazonaws.com/?Action=CreateAccessKey&{query}", **headers))


def http(method: str, url: str, **headers: str) -> requests.PreparedRequest:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return requests.Request(method, url, headers=named, data="hush").prepare()


VAULT = {"X_Vault_Request": "true"}
METADATA = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"


@pytest.mark.parametrize(
    "request_",
    [
        http("GET", "https://api.github.com/repos/a/b/actions/secrets/AWS_ACCESS_KEY_ID"),
        http("POST", "https://github.example/api/v3/app/installations/7/access_tokens"),
        http("GET", "https://gitlab.example/api/v4/projects/a%2Fvariables/variables/AWS_ACCESS_KEY_ID"),
        http("HEAD", "https://gitlab.example/api/v4/projects/7/variables/AWS_SECRET_ACCESS_KEY"),
        http("GET", "https://vault.example/v1/secret/metadata/ci/key", **VAULT),
        http("GET", "https://vault.example/v1/team/kv/metadata/ci/data/key", **VAULT),
        http("GET", "https://vault.example/below/v1/sys/internal/ui/mounts/team/kv", **VAULT),
        http("POST", "https://vault.example/v1/auth/approle/login", **VAULT),
        http("POST", "https://vault.example/v1/auth/team/jwt/login", **VAULT),
        http("GET", "https://cluster.example/api/v1/namespaces/ci/secrets/aws", Accept=METADATA),
        http("GET", "https://api.bitbucket.org/2.0/repositories/a/b/pipelines_config/variables"),
    ],
    ids=lambda one: f"{one.method} {one.path_url}",
)
def test_a_look_at_a_vendor_may_leave(request_: requests.PreparedRequest) -> None:
    refuse_writes(request_)


@pytest.mark.parametrize(
    "request_",
    [
        http("PUT", "https://api.github.com/repos/a/b/actions/secrets/AWS_ACCESS_KEY_ID?t=hush"),
        http("DELETE", "https://api.github.com/repos/a/b/actions/secrets/AWS_ACCESS_KEY_ID"),
        http("PATCH", "https://cluster.example/api/v1/namespaces/ci/secrets/aws", Accept=METADATA),
        http("POST", "https://circleci.com/api/v2/project/gh/a/b/envvar"),
        http("POST", "https://circleci.com/api/v2/v1/auth/x/login"),
        http("GET", "https://gitlab.example/api/v4/projects/a%2Fb/variables?per_page=100"),
        http("GET", "https://gitlab.example/api/v4/admin/ci/variables"),
        http("GET", "https://vault.example/v1/secret/data/ci/key", **VAULT),
        http("GET", "https://vault.example/v1/secret/data/ci/key"),
        http("HEAD", "https://vault.example/v1/secret/data/ci/key", **VAULT),
        http("GET", "https://vault.example/v1/metadata/data/ci/key", **VAULT),
        http("GET", "https://vault.example/v1/metadata/kv/data/ci/key", **VAULT),
        http("GET", "https://vault.example/v1/kv/metadata/data/key", **VAULT),
        http("GET", "https://vault.example/v1/secret/%64ata/ci/metadata/key", **VAULT),
        http("GET", "https://vault.example/v1/aws/creds/role", **VAULT),
        http("POST", "https://vault.example/v1/sys/capabilities-self", **VAULT),
        http("GET", "https://cluster.example/api/v1/namespaces/ci/secrets/aws", Accept="application/json"),
        http("GET", "https://cluster.example/api/v1/namespaces/ci/secrets/aws", Accept=f"{METADATA},application/json"),
        http("GET", "https://cluster.example/api/v1/namespaces/ci/secrets"),
        http("GET", "https://cluster.example/api/v1/namespaces/ci//secrets/aws"),
        http("GET", "https://cluster.example/api/v1/watch/namespaces/ci/secrets/aws"),
        http("GET", "https://gitlab.example/api/v4/projects/7/variables.json"),
        http("GET", "https://gitlab.example/api/v4/projects/7//variables//"),
        http("GET", "https://gitlab.example/api/v4/projects/7", X_HTTP_Method_Override="DELETE"),
        http("GET", "https://vault.example/v1/secret/data/v1/auth/token/lookup-self", **VAULT),
        http("GET", "https://vault.example/v1/secret/metadata//data/key", **VAULT),
        http("OPTIONS", "https://vendor.example/"),
    ],
    ids=lambda one: f"{one.method} {one.path_url} {one.headers.get('Accept', '')}",
)
def test_a_write_to_a_vendor_or_a_secret_of_one_never_leaves(request_: requests.PreparedRequest) -> None:
    with pytest.raises(ReadOnlyError) as caught:
        refuse_writes(request_)
    assert "hush" not in str(caught.value)


def test_who_keeps_a_token_in_secrets_manager_is_told_what_to_do(session: Session) -> None:
    with pytest.raises(ReadOnlyError) as caught:
        refuse_writes(sent(session, "secretsmanager", lambda c: c.get_secret_value(SecretId="x")))
    assert "variable" in (caught.value.do or "")

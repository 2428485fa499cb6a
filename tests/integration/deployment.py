"""A deployment of the kind that the recipe's sample serves, call by call: made, changed, used and taken down."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from tests.integration.serverless_world import Client, World
from tests.integration.things import EVERYTHING, package, template, trust

_BOUNDARY: Final = "`iam:PermissionsBoundary`"
_EDGE: Final = "the owner tag of CloudFront"
_EDGE_FUNCTION: Final = "names of CloudFront's functions"
_POOL: Final = "the owner tag of Cognito"
_API: Final = "the owner tag of API Gateway"
_DATABASE: Final = "tags of clusters and snapshots, snapshots by name"

# What IAM is asked about, where that is not called as the operation is.
_ACTIONS: Final[Mapping[str, str]] = {
    "cloudfront:CreateDistributionWithTags": "cloudfront:CreateDistribution",
    "lambda:Invoke": "lambda:InvokeFunction",
    "s3:ListObjectsV2": "s3:ListBucket",
    "s3:PutBucketEncryption": "s3:PutEncryptionConfiguration",
}


@dataclass(frozen=True)
class Step:
    """One call of a deployment.

    Args:
        service: The service, as the SDK calls it.
        method: The client's method.
        arguments: Its arguments; ``<x>`` stands for what an earlier step kept as ``x``.
        unjudged: The key of `judged.UNJUDGED` that tells why the embedded AWS refuses it wrongly; empty when it does not.
        kept: What later steps need: a name, and where in the answer it is.
    """

    service: str
    method: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    unjudged: str = ""
    kept: Mapping[str, str] = field(default_factory=dict)

    def action(self, client: Client) -> str:
        """Return what IAM is asked about."""
        operation = client(self.service).meta.method_to_api_mapping[self.method]
        if self.service == "apigatewayv2":
            model = client(self.service).meta.service_model.operation_model(operation)
            return f"apigateway:{model.http['method']}"
        return _ACTIONS.get(f"{self.service}:{operation}", f"{self.service}:{operation}")

    def run(self, client: Client, made: dict[str, Any]) -> None:
        """Make the call; what it keeps goes into `made`."""
        answer = getattr(client(self.service), self.method)(**_filled(self.arguments, made))
        for name, place in self.kept.items():
            value = answer
            for key in place.split("."):
                value = value[key]
            made[name] = json.loads(value.read()) if hasattr(value, "read") else value


def _filled(value: Any, made: Mapping[str, Any]) -> Any:
    if isinstance(value, Mapping):
        return {key: _filled(item, made) for key, item in value.items()}
    if isinstance(value, str) and value.startswith("<") and value.endswith(">"):
        return made[value[1:-1]]
    return value


def steps(world: World, name: str) -> Iterator[Step]:
    """Yield the steps in their order; `name` begins the name of everything."""
    role, function, bucket = (
        {"RoleName": f"{name}-functions"},
        {"FunctionName": f"{name}-runMigrations"},
        f"{name}-site",
    )
    for part in (_storage, _stack, _role, _function, _secret, _pool, _cluster, _edge, _api):
        yield from part(world, name)
    yield Step("lambda", "delete_function", function)
    yield Step("logs", "delete_log_group", {"logGroupName": f"/aws/lambda/{name}-runMigrations"})
    yield Step("iam", "delete_role_policy", {**role, "PolicyName": "logs"}, _BOUNDARY)
    yield Step("iam", "delete_role", role)
    for key in ("index.html", "code.zip"):
        yield Step("s3", "delete_object", {"Bucket": bucket, "Key": key})
    yield Step("s3", "delete_bucket_policy", {"Bucket": bucket})
    yield Step("s3", "delete_bucket", {"Bucket": bucket})


def _storage(world: World, name: str) -> Iterator[Step]:
    of = {"Bucket": f"{name}-site"}
    encryption = {"Rules": [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}]}
    reading = {"Effect": "Allow", "Principal": {"Service": "cloudfront.amazonaws.com"}, "Action": "s3:GetObject"}
    policy = {"Version": "2012-10-17", "Statement": [{**reading, "Resource": f"arn:aws:s3:::{name}-site/*"}]}
    where = {"LocationConstraint": world.aws.region}
    yield Step("s3", "create_bucket", {**of, "CreateBucketConfiguration": where})
    yield Step("s3", "put_bucket_encryption", {**of, "ServerSideEncryptionConfiguration": encryption})
    yield Step("s3", "put_bucket_policy", {**of, "Policy": json.dumps(policy)})
    yield Step("s3", "get_bucket_policy", of)
    yield Step("s3", "get_bucket_policy_status", of)
    yield Step("s3", "put_bucket_tagging", {**of, "Tagging": {"TagSet": [{"Key": "ci-owner", "Value": world.prefix}]}})
    yield Step("s3", "put_object", {**of, "Key": "index.html", "Body": b"<p>"})
    yield Step("s3", "put_object", {**of, "Key": "code.zip", "Body": package()})
    yield Step("s3", "get_object", {**of, "Key": "index.html"})
    yield Step("s3", "list_objects_v2", of)


def _stack(_: World, name: str) -> Iterator[Step]:
    of = {"StackName": name}
    first, second = (template(f"/aws/lambda/{name}-{kind}") for kind in ("blue", "green"))
    yield Step("cloudformation", "validate_template", {"TemplateBody": first})
    yield Step("cloudformation", "create_stack", {**of, "TemplateBody": first})
    for method in ("describe_stacks", "describe_stack_events", "describe_stack_resources", "list_stack_resources"):
        yield Step("cloudformation", method, of)
    yield Step("cloudformation", "describe_stack_resource", {**of, "LogicalResourceId": "Logs"})
    yield Step("cloudformation", "list_exports")
    yield Step("cloudformation", "update_stack", {**of, "TemplateBody": second})
    yield Step("cloudformation", "delete_stack", of)


def _role(world: World, name: str) -> Iterator[Step]:
    of = {"RoleName": f"{name}-functions"}
    made = {
        "AssumeRolePolicyDocument": trust("Service", "lambda.amazonaws.com"),
        "PermissionsBoundary": world.policy_arn("role-boundary"),
    }
    policy = {"PolicyName": "logs", "PolicyDocument": json.dumps(EVERYTHING)}
    yield Step("iam", "create_role", {**of, **made}, _BOUNDARY)
    yield Step("iam", "put_role_policy", {**of, **policy}, _BOUNDARY)
    yield Step("iam", "get_role", of)
    yield Step("iam", "get_role_policy", {**of, "PolicyName": "logs"})
    yield Step("iam", "tag_role", {**of, "Tags": [{"Key": "team", "Value": "platform"}]})
    yield Step("iam", "list_role_tags", of)
    yield Step("iam", "untag_role", {**of, "TagKeys": ["team"]})


def _function(world: World, name: str) -> Iterator[Step]:
    of, group = {"FunctionName": f"{name}-runMigrations"}, f"/aws/lambda/{name}-runMigrations"
    arn = f"arn:aws:lambda:{world.aws.region}:{world.aws.account_id}:function:{name}-runMigrations"
    code = {"S3Bucket": f"{name}-site", "S3Key": "code.zip"}
    made = {"Runtime": "python3.11", "Handler": "index.handler", "Role": world.role_arn(f"{name}-functions")}
    permission = {"StatementId": "api", "Action": "lambda:InvokeFunction", "Principal": "apigateway.amazonaws.com"}
    yield Step("logs", "create_log_group", {"logGroupName": group})
    yield Step("logs", "describe_log_groups", {"logGroupNamePrefix": group})
    yield Step("lambda", "create_function", {**of, **made, "Code": code}, "the name in CreateFunction")
    for method in ("get_function", "get_function_configuration", "publish_version", "list_versions_by_function"):
        yield Step("lambda", method, of)
    yield Step("lambda", "tag_resource", {"Resource": arn, "Tags": {"ci-owner": world.prefix}})
    yield Step("lambda", "update_function_code", {**of, **code})
    yield Step("lambda", "update_function_configuration", {**of, "Timeout": 9})
    yield Step("lambda", "add_permission", {**of, **permission}, "`lambda:Principal`")
    yield Step("lambda", "remove_permission", {**of, "StatementId": "api"})
    yield Step("lambda", "invoke", of, kept={"answer": "Payload"})


def _secret(world: World, name: str) -> Iterator[Step]:
    of, tags = {"SecretId": f"{name}-database"}, [{"Key": "ci-owner", "Value": world.prefix}]
    yield Step("secretsmanager", "get_random_password")
    yield Step("secretsmanager", "create_secret", {"Name": f"{name}-database", "SecretString": "{}", "Tags": tags})
    yield Step("secretsmanager", "tag_resource", {**of, "Tags": tags})
    yield Step("secretsmanager", "get_secret_value", of)
    yield Step("secretsmanager", "delete_secret", {**of, "ForceDeleteWithoutRecovery": True})


def _pool(world: World, name: str) -> Iterator[Step]:
    cognito, of, client = "cognito-idp", {"UserPoolId": "<pool>"}, {"UserPoolId": "<pool>", "ClientId": "<client>"}
    made = {"PoolName": name, "UserPoolTags": {"ci-owner": world.prefix}}
    yield Step(cognito, "create_user_pool", made, _POOL, {"pool": "UserPool.Id"})
    yield Step(cognito, "describe_user_pool", of, _POOL)
    yield Step(cognito, "update_user_pool", of, _POOL)
    yield Step(
        cognito, "create_user_pool_client", {**of, "ClientName": "web"}, _POOL, {"client": "UserPoolClient.ClientId"}
    )
    yield Step(cognito, "describe_user_pool_client", client, _POOL)
    yield Step(cognito, "update_user_pool_client", client, _POOL)
    yield Step(cognito, "list_user_pool_clients", of, _POOL)
    yield Step(cognito, "create_user_pool_domain", {**of, "Domain": name}, _POOL)
    yield Step(cognito, "describe_user_pool_domain", {"Domain": name})
    yield Step(cognito, "list_user_pools", {"MaxResults": 1})
    yield Step(cognito, "delete_user_pool_domain", {**of, "Domain": name}, _POOL)
    yield Step(cognito, "delete_user_pool_client", client, _POOL)
    yield Step(cognito, "delete_user_pool", of, _POOL)


def _cluster(world: World, name: str) -> Iterator[Step]:
    of, snapshot = {"DBClusterIdentifier": f"{name}-db"}, {"DBClusterSnapshotIdentifier": f"{name}-copy"}
    arn = {"ResourceName": f"arn:aws:rds:{world.aws.region}:{world.aws.account_id}:cluster:{name}-db"}
    made = {"Engine": "aurora-mysql", "MasterUsername": "root", "MasterUserPassword": "a-Secret1"}
    yield Step("rds", "create_db_cluster", {**of, **made})
    yield Step("rds", "describe_db_clusters", of)
    yield Step("rds", "modify_db_cluster", {**of, "BackupRetentionPeriod": 2})
    yield Step("rds", "add_tags_to_resource", {**arn, "Tags": [{"Key": "team", "Value": "platform"}]}, _DATABASE)
    yield Step("rds", "remove_tags_from_resource", {**arn, "TagKeys": ["team"]}, _DATABASE)
    yield Step("rds", "create_db_cluster_snapshot", {**of, **snapshot})
    yield Step("rds", "describe_db_cluster_snapshots", snapshot, _DATABASE)
    yield Step("rds", "delete_db_cluster", {**of, "SkipFinalSnapshot": True})


def _edge(_: World, name: str) -> Iterator[Step]:
    origin = {
        "Id": "site",
        "DomainName": f"{name}-site.s3.amazonaws.com",
        "S3OriginConfig": {"OriginAccessIdentity": ""},
    }
    behavior = {"TargetOriginId": "site", "ViewerProtocolPolicy": "https-only", "CachePolicyId": "a"}
    config = {
        "CallerReference": name,
        "Comment": "",
        "Enabled": False,
        "Origins": {"Quantity": 1, "Items": [origin]},
        "DefaultCacheBehavior": behavior,
    }
    of, purge = {"Id": "<distribution>"}, {"CallerReference": name, "Paths": {"Quantity": 1, "Items": ["/*"]}}
    made, function = {"distribution": "Distribution.Id", "etag": "ETag"}, {"Name": f"{name}-router"}
    code = {
        "FunctionConfig": {"Comment": "", "Runtime": "cloudfront-js-2.0"},
        "FunctionCode": b"function handler(e) {}",
    }
    yield Step("cloudfront", "create_distribution", {"DistributionConfig": config}, _EDGE, made)
    yield Step("cloudfront", "get_distribution", of, _EDGE)
    yield Step("cloudfront", "get_distribution_config", of, _EDGE)
    yield Step("cloudfront", "list_distributions")
    yield Step(
        "cloudfront",
        "create_invalidation",
        {"DistributionId": "<distribution>", "InvalidationBatch": purge},
        _EDGE,
        {"invalidation": "Invalidation.Id"},
    )
    yield Step("cloudfront", "get_invalidation", {"DistributionId": "<distribution>", "Id": "<invalidation>"}, _EDGE)
    yield Step("cloudfront", "list_invalidations", {"DistributionId": "<distribution>"}, _EDGE)
    changed = {"DistributionConfig": {**config, "Comment": "changed"}, "IfMatch": "<etag>"}
    yield Step("cloudfront", "update_distribution", {**of, **changed}, _EDGE, {"etag": "ETag"})
    yield Step("cloudfront", "delete_distribution", {**of, "IfMatch": "<etag>"}, _EDGE)
    yield Step("cloudfront", "create_function", {**function, **code}, kept={"etag": "ETag"})
    yield Step("cloudfront", "update_function", {**function, **code, "IfMatch": "<etag>"}, _EDGE_FUNCTION)
    stage = {"Stage": "DEVELOPMENT"}
    yield Step("cloudfront", "describe_function", {**function, **stage}, _EDGE_FUNCTION, {"etag": "ETag"})
    yield Step("cloudfront", "publish_function", {**function, "IfMatch": "<etag>"}, _EDGE_FUNCTION)
    yield Step("cloudfront", "list_functions")
    yield Step("cloudfront", "delete_function", {**function, "IfMatch": "<etag>"}, _EDGE_FUNCTION)


def _api(world: World, name: str) -> Iterator[Step]:
    of, tags = {"ApiId": "<api>"}, {"Tags": {"ci-owner": world.prefix}}
    domain = {"DomainName": f"{name}.example"}
    yield Step("apigatewayv2", "create_api", {"Name": name, "ProtocolType": "HTTP", **tags}, _API, {"api": "ApiId"})
    yield Step("apigatewayv2", "get_api", of)
    yield Step("apigatewayv2", "update_api", {**of, "Description": "changed"}, _API)
    yield Step("apigatewayv2", "create_route", {**of, "RouteKey": "GET /"}, kept={"route": "RouteId"})
    yield Step("apigatewayv2", "update_route", {**of, "RouteId": "<route>", "RouteKey": "GET /a"})
    yield Step("apigatewayv2", "create_stage", {**of, "StageName": "$default", **tags})
    yield Step("apigatewayv2", "delete_route", {**of, "RouteId": "<route>"})
    yield Step("apigatewayv2", "delete_api", of, _API)
    yield Step("apigatewayv2", "create_domain_name", {**domain, **tags}, _API)
    yield Step("apigatewayv2", "get_domain_name", domain)
    yield Step("apigatewayv2", "delete_domain_name", domain, _API)

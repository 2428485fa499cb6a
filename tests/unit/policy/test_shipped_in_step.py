"""The shipped policies in step with each other, with the recipe's sample and with docs/policies.md."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping
from pathlib import Path

from ci_user.policy import catalogue, documents
from tests.policies_page import quoted, table
from tests.shipped_policies import (
    ACCOUNT,
    API_TAGS,
    ASKED,
    BLOCKS,
    DISTRIBUTION,
    OTHER,
    OWNER,
    POOL,
    PREFIX,
    REGION,
    ROOT,
    as_list,
    boundaries,
    decided,
    entries,
    rendered,
    sample_actions,
    shipped,
    speaks,
)


def requests() -> Iterator[tuple[str, str, dict[str, str]]]:
    """Yield requests for each action of the sample: about one's own, another's and everything, with what decides it."""
    for action in sorted(sample_actions()):
        service = action.partition(":")[0]
        known = catalogue.action(action)
        resources = {one.format(p=prefix) for one in RESOURCES[service] for prefix in (PREFIX, OTHER)}
        if known is not None and not known.resource_types:
            resources = {one for one in resources if one.endswith("/*")}
        for resource, keys in itertools.product(sorted(resources | {"*"}), KEYS.get(service, [{}])):
            yield action, resource, keys


HERE = f"{REGION}:{ACCOUNT}"
RESOURCES = {
    "apigateway": [f"arn:aws:apigateway:{REGION}::{path}" for path in ("/apis", "/apis/a1", "/apis/a1/routes/b")]
    + [API_TAGS, f"arn:aws:apigateway:{REGION}::/domainnames/a.example", f"arn:aws:apigateway:{REGION}::/restapis"],
    "cloudformation": [
        f"arn:aws:cloudformation:{HERE}:stack/{{p}}-api/1",
        f"arn:aws:cloudformation:{HERE}:stack/{{p}}/1",
    ],
    "cloudfront": [
        DISTRIBUTION,
        DISTRIBUTION.replace("E1A2B3C4D5E6F7", "*"),
        f"arn:aws:cloudfront::{ACCOUNT}:function/{{p}}-router",
        f"arn:aws:cloudfront::{ACCOUNT}:origin-access-identity/E1",
    ],
    "cognito-idp": [POOL],
    "iam": [
        f"arn:aws:iam::{ACCOUNT}:role/{{p}}-api",
        f"arn:aws:iam::{ACCOUNT}:role/aws-service-role/rds.amazonaws.com/AWSServiceRoleForRDS",
        f"arn:aws:iam::{ACCOUNT}:policy/{{p}}-api",
    ],
    "lambda": [f"arn:aws:lambda:{HERE}:function:{{p}}-{name}" for name in ("api", "runMigrations")],
    "logs": [f"arn:aws:logs:{HERE}:log-group:{start}{{p}}-api" for start in ("", "/aws/lambda/")],
    "rds": [f"arn:aws:rds:{HERE}:{kind}:{{p}}-db" for kind in ("cluster", "cluster-snapshot", "cluster-pg", "subgrp")],
    "s3": ["arn:aws:s3:::{p}-site", "arn:aws:s3:::{p}-site/key", "arn:aws:s3:::ci-user-state/key"],
    "secretsmanager": [f"arn:aws:secretsmanager:{HERE}:secret:{{p}}-database-AbCdEf"],
}
_TAGS: list[dict[str, str]] = [
    {},
    {OWNER: PREFIX},
    {OWNER: OTHER},
    {ASKED: PREFIX, "aws:TagKeys": "ci-owner"},
    {ASKED: OTHER, "aws:TagKeys": "ci-owner"},
    {OWNER: PREFIX, ASKED: OTHER, "aws:TagKeys": "ci-owner"},
    {OWNER: PREFIX, "aws:TagKeys": "team"},
    {OWNER: PREFIX, ASKED: PREFIX, "aws:TagKeys": "ci-owner"},
]
KEYS: dict[str, list[dict[str, str]]] = {
    "apigateway": _TAGS,
    "cloudfront": _TAGS,
    "cognito-idp": _TAGS,
    "iam": [
        *({"iam:PermissionsBoundary": f"arn:aws:iam::{ACCOUNT}:policy/{p}.role-boundary"} for p in (PREFIX, OTHER)),
        *({"iam:PassedToService": f"{service}.amazonaws.com"} for service in ("lambda", "cognito-idp", "ec2")),
        *({"iam:AWSServiceName": f"{service}.amazonaws.com"} for service in ("rds", "ops.apigateway", "ec2")),
        {},
    ],
    "s3": [{"aws:ResourceAccount": ACCOUNT}, {"aws:ResourceAccount": "999999999999"}],
    "secretsmanager": [{}, {ASKED: OTHER, "aws:TagKeys": "ci-owner"}],
}


def test_the_blocks_together_allow_of_the_sample_what_serverless_allows() -> None:
    together = tuple(one for name in BLOCKS for one in shipped(name))
    different = []
    answers = set()
    for action, resource, keys in requests():
        one, other = decided(shipped("serverless"), action, resource, keys), decided(together, action, resource, keys)
        answers.add(one)
        if one is not other:
            different.append((action, resource, keys, one, other))
    assert different == []
    assert answers == {True, False}


def test_read_only_reads_only_and_neither_secrets_nor_data() -> None:
    found = {one for entry in shipped("read-only") for text in entry.actions or () for one in catalogue.expand(text)}
    assert {one.access_level for one in found} <= {"List", "Read"}
    for action in (
        *("s3:GetObject", "secretsmanager:GetSecretValue", "lambda:GetFunction", "lambda:GetFunctionConfiguration"),
        *(
            "logs:GetLogEvents",
            "cognito-idp:DescribeUserPoolClient",
            "cloudformation:GetTemplate",
            "cognito-idp:ListUsers",
        ),
    ):
        assert not speaks("read-only", action), action


def test_the_page_describes_every_shipped_policy() -> None:
    assert sorted(quoted(row[0])[0] for row in table("Choosing")) == list(documents.names(ROOT))


def test_the_page_tells_what_serverless_leaves_out_of_the_sample() -> None:
    rows = table("What serverless leaves out of the sample")
    left_out = {action for action in sample_actions() if not speaks("serverless", action)}
    assert {quoted(row[0])[0] for row in rows} == left_out
    assert len(sample_actions()) == 109
    assert all(row[1] for row in rows)


def test_the_page_tells_what_serverless_has_besides() -> None:
    known = {action.lower() for action in sample_actions()}
    besides = {
        pattern
        for entry in entries("serverless")
        if entry["Effect"] == "Allow"
        for pattern in as_list(entry["Action"])
        if any(one.full.lower() not in known for one in catalogue.expand(pattern))
    }
    assert {quoted(row[0])[0] for row in table("What serverless has besides")} == besides


def test_the_page_tells_every_finding_of_checkov(tmp_path: Path) -> None:
    texts = {**{name: documents.canonical(rendered(name)) for name in documents.names(ROOT)}, **boundaries()}
    expected = {(quoted(row[0])[0], quoted(row[1])[0]) for row in table("Accepted findings")}
    assert findings(texts, tmp_path / "plan.json") == expected


def findings(texts: Mapping[str, str], file: Path) -> set[tuple[str, str]]:
    """Return name and check of all that checkov finds in policies that a plan makes."""
    from ci_user import checkov_run

    addresses = {f'aws_iam_policy.this["{name}"]': name for name in texts}
    resources, changes = [], []
    for address, name in addresses.items():
        entry = {"address": address, "mode": "managed", "type": "aws_iam_policy", "name": "this", "index": name}
        values = {"policy": texts[name]}
        resources.append({**entry, "values": values})
        change = {"actions": ["create"], "before": None, "after": values, "after_unknown": {}}
        changes.append({**entry, "change": change})
    plan = {
        "format_version": "1.2",
        "terraform_version": "1.11.4",
        "planned_values": {"root_module": {"resources": resources}},
        "resource_changes": changes,
        "configuration": {},
    }
    file.write_text(json.dumps(plan), encoding="utf-8")
    report = checkov_run.run(file, frozenset(addresses), frozenset())
    return {(addresses[finding.resource], finding.check) for finding in report.findings}

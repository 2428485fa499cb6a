"""The shipped policies, rendered for one environment, and what they decide."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final

from ci_user.policy import documents, guard
from ci_user.policy.conditions import Context
from ci_user.policy.evaluate import Request, evaluate, speaks_of
from ci_user.policy.statement import Statement, parse, statements

ROOT: Final = Path(__file__).resolve().parent.parent
BLOCKS: Final = ("database", "lambda-api", "read-only", "stack", "static-site", "user-pool")
HARDENED: Final = ("serverless", *BLOCKS)
ACCOUNT, REGION, PREFIX, OTHER = "123456789012", "eu-west-1", "shop-prod", "shop-test"

DISTRIBUTION: Final = f"arn:aws:cloudfront::{ACCOUNT}:distribution/E1A2B3C4D5E6F7"
POOL: Final = f"arn:aws:cognito-idp:{REGION}:{ACCOUNT}:userpool/{REGION}_AbCdEf123"
API: Final = f"arn:aws:apigateway:{REGION}::/apis/a1b2c3d4e5"
API_TAGS: Final = f"arn:aws:apigateway:{REGION}::/tags/arn%3Aaws%3Aapigateway%3A{REGION}%3A%3A%2Fapis%2Fa1b2c3d4e5"
OWNER: Final = "aws:ResourceTag/ci-owner"
ASKED: Final = "aws:RequestTag/ci-owner"

Keys = Mapping[str, str | tuple[str, ...]]


def environment(prefix: str = PREFIX, partition: str = "aws", region: str = REGION) -> SimpleNamespace:
    """Return an environment whose name is what follows the prefix's last hyphen."""
    application, _, name = prefix.rpartition("-")
    return SimpleNamespace(
        name=name, application=application, account_id=ACCOUNT, partition=partition, region=region, prefix=prefix
    )


def rendered(name: str, place: SimpleNamespace | None = None) -> dict[str, Any]:
    """Return a shipped policy, rendered."""
    return documents.render(documents.read_policy(name, ROOT), documents.parameters(place or environment()))


def entries(name: str) -> list[dict[str, Any]]:
    """Return its statements as they stand in the document."""
    found: list[dict[str, Any]] = rendered(name)["Statement"]
    return found


@functools.cache
def shipped(name: str) -> tuple[Statement, ...]:
    """Return its statements as the evaluator reads them."""
    return statements(rendered(name), name)


@functools.cache
def boundaries() -> Mapping[str, str]:
    """Return the CI user's boundary and the role boundary."""
    guarded = SimpleNamespace(
        state_buckets=("arn:aws:s3:::ci-user-state",), secret_names=(), parameter_arns=(), kms_keys=()
    )
    place = environment()
    return {"boundary": guard.boundary(place, guarded), "role-boundary": guard.role_boundary(place, guarded)}


@functools.cache
def boundary() -> tuple[Statement, ...]:
    """Return the statements of the CI user's boundary."""
    return parse(boundaries()["boundary"], "boundary")


def allowed(name: str, action: str, resource: str, keys: Keys | None = None) -> bool | None:
    """Decide a request under one shipped policy and no boundary; keys that are not given are absent."""
    return decided(shipped(name), action, resource, keys)


def decided(policy: tuple[Statement, ...], action: str, resource: str, keys: Keys | None = None) -> bool | None:
    """Decide a request under statements and no boundary."""
    values = {key.lower(): (value,) if isinstance(value, str) else value for key, value in (keys or {}).items()}
    return evaluate(policy, None, Request(action, resource, Context(values))).allowed


def speaks(name: str, action: str) -> bool:
    """Tell whether a shipped policy allows an action on anything."""
    return any(one.allows and speaks_of(one, action) for one in shipped(name))


def as_list(value: str | list[str]) -> list[str]:
    """Return an element of a policy as a list."""
    return [value] if isinstance(value, str) else value


def sample_actions() -> set[str]:
    """Return the actions of the recipe's sample; none has a wildcard."""
    return {action for entry in entries("sample") for action in as_list(entry["Action"])}

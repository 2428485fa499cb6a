"""The hardened policy, proven by real calls: what it must serve works, what it must not allow is refused.

The embedded AWS judges, with authorization on. An attack counts as judged when the identical call of an administrator works,
when it is refused to the CI user also as far as the embedded AWS can judge the documents (`judged.py`), and when the same
call about the user's own works there.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.integration.attacks import Attack
from tests.integration.attacks_on_applications import ATTACKS
from tests.integration.deployment import steps
from tests.integration.judged import UNJUDGED
from tests.integration.serverless_world import World, build, client_of
from tests.integration.things import EVERYTHING, Aws, Thing, trust
from tests.policies_page import table
from tests.shipped_policies import sample_actions, speaks

DENIED = frozenset({"AccessDenied", "AccessDeniedException"})


@pytest.fixture(scope="module")
def world(aws: Aws) -> World:
    return build(aws)


def refused(call: Callable[..., Any], *arguments: Any) -> bool:
    """Make a call and tell whether it was denied; any other error is one of the test."""
    from botocore.exceptions import ClientError

    try:
        call(*arguments)
    except ClientError as error:
        if error.response["Error"]["Code"] not in DENIED:
            raise
        return True
    return False


def attempt(world: World, attack: Attack, user: str, make: Callable[..., Thing] | None = None) -> bool:
    """Tell whether a call is denied to a user, about something new."""
    thing = (make or attack.aim)(world.things)
    return refused(attack.call, world, world.users[user], thing)


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_is_refused(world: World, name: str) -> None:
    attack = ATTACKS[name]
    assert attempt(world, attack, "serverless"), "allowed"
    assert attempt(world, attack, "judged"), "refused by a part that the embedded AWS cannot judge"
    assert attempt(world, attack, "sample") is not attack.sample
    assert attempt(world, attack, "bounded everything") is attack.stopped
    assert attempt(world, attack, "bounded sample") is (attack.stopped or not attack.sample)
    assert not attempt(world, attack, "admin")
    if attack.own is not None:
        assert not attempt(world, attack, "judged", attack.own), "its own is refused too"
        assert attempt(world, attack, "serverless", attack.own) is bool(attack.unjudged)


def test_the_bare_sample_makes_an_administrator_in_two_calls(world: World) -> None:
    """Whoever a role's trust names may assume it; the embedded AWS wants a policy for that, so an administrator does it here.

    That the boundary prevents it rests on `iam:PermissionsBoundary`: tests/unit/policy/test_guard.py judges that.
    https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic_policy-eval-basics.html
    """
    sample, name = world.users["sample"]("iam"), world.things.name().name
    anybody = trust("AWS", f"arn:aws:iam::{world.aws.account_id}:root")
    sample.create_role(RoleName=name, AssumeRolePolicyDocument=anybody)
    sample.put_role_policy(RoleName=name, PolicyName="all", PolicyDocument=json.dumps(EVERYTHING))
    session = world.aws.client("sts").assume_role(RoleArn=world.role_arn(name), RoleSessionName="test")["Credentials"]
    made = client_of(world.aws, session)("iam").create_user(UserName=name)
    assert made["User"]["UserName"] == name
    assert refused(lambda: sample.create_user(UserName=f"{name}-2"))


def test_a_deployment_works(world: World) -> None:
    made: dict[str, Any] = {}
    for step in steps(world, f"{world.prefix}-app"):
        assert not refused(step.run, world.users["judged"], made), step
    assert made["answer"] == {"migrated": True}


def test_a_deployment_works_with_the_documents_as_they_are(world: World) -> None:
    """What the embedded AWS refuses wrongly is refused still, so that the table of `judged.py` stays true."""
    made: dict[str, Any] = {}
    for step in steps(world, f"{world.prefix}-web"):
        wrongly = refused(step.run, world.users["serverless"], made)
        assert wrongly is bool(step.unjudged), step
        if wrongly:
            step.run(world.users["admin"], made)
    assert made["answer"] == {"migrated": True}


NOT_CALLED = {
    "apigateway:PUT": "imports an API; asked about as the other verbs are",
    "cloudfront:CreateCloudFrontOriginAccessIdentity": "origin access identities",
    "cloudfront:DeleteCloudFrontOriginAccessIdentity": "origin access identities",
    "cloudfront:GetCloudFrontOriginAccessIdentity": "origin access identities",
    "cloudfront:GetCloudFrontOriginAccessIdentityConfig": "origin access identities",
    "cloudfront:ListCloudFrontOriginAccessIdentities": "origin access identities",
    "cloudfront:ListTagsForResource": "the owner tag of CloudFront",
    "cloudfront:TagResource": "the owner tag of CloudFront",
    "cloudfront:UntagResource": "the owner tag of CloudFront",
    "cloudfront:UpdateCloudFrontOriginAccessIdentity": "origin access identities",
    "cognito-idp:UpdateUserPoolDomain": "the owner tag of Cognito",
    "iam:CreateServiceLinkedRole": "`iam:AWSServiceName`",
    "iam:PassRole": "`iam:PassedToService`",
}
"""Actions of the sample that the deployment does not call, and why: mostly keys of `judged.UNJUDGED`."""


def test_the_deployment_calls_what_the_sample_serves(world: World) -> None:
    called = {step.action(world.users["admin"]) for step in steps(world, "x")}
    served = {action for action in sample_actions() if speaks("serverless", action)}
    assert served - called == set(NOT_CALLED)


def test_the_page_lists_what_cannot_be_judged() -> None:
    assert [tuple(row) for row in table("What the embedded AWS cannot judge")] == list(UNJUDGED.items())
    named = {attack.unjudged for attack in ATTACKS.values()} | set(NOT_CALLED.values())
    assert named - {"", NOT_CALLED["apigateway:PUT"]} <= set(UNJUDGED)


def test_the_page_counts_the_attacks() -> None:
    rows = table("How it is proven")
    groups = {title: [a for name, a in ATTACKS.items() if name.startswith(f"{title}:")] for title, *_ in rows}
    assert sum(len(attacks) for attacks in groups.values()) == len(ATTACKS) >= 30
    for title, number, by_sample, by_boundary in rows:
        attacks = groups[title]
        found = (len(attacks), sum(one.sample for one in attacks), sum(one.stopped for one in attacks))
        assert found == (int(number), int(by_sample), int(by_boundary)), title

"""CIUSER_3: nobody gets a console password."""

from __future__ import annotations

from ci_user.checks.login_profile import NoLoginProfile
from ci_user.scan import NEVER_ACCEPTABLE
from tests.unit.plans import CONTEXT, document, plan_of, resource

CHECK = NoLoginProfile()


def test_a_login_profile_fails_whoever_it_is_for() -> None:
    one = resource("aws_iam_user_login_profile", user="somebody-else")

    assert CHECK.evaluate(one, plan_of(one), CONTEXT) is not None
    assert CHECK.id in NEVER_ACCEPTABLE


def test_the_modules_have_none() -> None:
    assert not [entry for entry in document("plan_first")["resource_changes"] if entry["type"] in CHECK.resource_types]

"""Where no backend can be read back, a stage is kept, which no CI user can reach."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ci_user.environment import Environment
from ci_user.environment_siblings import collisions, guarded
from ci_user.policy import guard
from ci_user.policy.conditions import Context
from ci_user.policy.evaluate import Request, evaluate
from ci_user.policy.statement import parse

FILE = {"backend": "dotenv", "path": ".cache/key.env"}
SECRET = {"backend": "aws-secrets-manager", "name": "shop/key"}
PARAMETER = {"backend": "aws-ssm", "name": "/shop/key"}
STAGE = "aws-secrets-manager:111111111111:eu-west-1:ci-user/shop/testing.stage"
ARN = "arn:aws:secretsmanager:eu-west-1:111111111111:secret"
USES = ("GetSecretValue", "DescribeSecret", "PutSecretValue")
BOUNDARIES = pytest.mark.parametrize("make", [guard.boundary, guard.role_boundary])


def environment(*secrets: dict[str, str], **changes: Any) -> Environment:
    values: dict[str, Any] = {
        "name": "testing",
        "version": 1,
        "application": "shop",
        "account_id": "111111111111",
        "region": "eu-west-1",
        "policies": ["serverless"],
        "state": {"bucket": "states"},
        "secrets": list(secrets),
    }
    return Environment.model_validate({**values, **changes}, context={"root": Path()})


def targets(one: Environment) -> list[str]:
    return [settings.target(one) for settings in one.places]


def allowed(boundary: str, action: str, resource: str) -> bool | None:
    """Decide a request of somebody who may do everything, so that only the boundary limits it."""
    everything = parse('{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"*","Resource":"*"}}', "all")
    context = Context({"aws:resourceaccount": ("111111111111",)})
    return evaluate(everything, parse(boundary, "boundary"), Request(action, resource, context)).allowed


@pytest.mark.parametrize("sandbox", [True, False])
def test_a_file_alone_is_enough_and_a_stage_comes_before_it(sandbox: bool) -> None:
    one = environment(FILE, sandbox=sandbox)
    assert targets(one) == [STAGE, "dotenv:.cache/key.env"]
    assert one.kept_stage == one.places[0]
    assert one.kept_stage.readable
    assert one.places[1:] == one.secrets


@pytest.mark.parametrize(
    "secrets", [[SECRET], [PARAMETER], [FILE, SECRET], [FILE, PARAMETER], [SECRET, PARAMETER, FILE]]
)
def test_a_backend_that_can_be_read_back_is_the_stage_itself(secrets: list[dict[str, str]]) -> None:
    one = environment(*secrets)
    assert one.kept_stage is None
    assert one.places == one.secrets


def test_the_stage_is_in_no_file() -> None:
    one = environment(FILE)
    assert one.model_dump()["secrets"] == (FILE,)
    assert Environment.model_validate({**one.model_dump(), "name": one.name}).places == one.places


@pytest.mark.parametrize(("sandbox", "days"), [(True, 0), (False, 7)])
def test_a_stage_of_a_sandbox_goes_at_once_and_others_can_be_restored(sandbox: bool, days: int) -> None:
    assert getattr(environment(FILE, sandbox=sandbox).kept_stage, "recovery_days", None) == days


def test_the_stage_follows_region_account_and_partition() -> None:
    one = environment(FILE, partition="aws-cn", region="cn-north-1", account_id="2" * 12)
    assert targets(one)[0] == "aws-secrets-manager:222222222222:cn-north-1:ci-user/shop/testing.stage"


@pytest.mark.parametrize(("application", "name"), [("a" * 32, "e" * 20), ("a", "b"), ("x-ab12cd", "y-ab12cd")])
def test_every_name_that_an_environment_may_have_makes_the_name_of_a_secret(application: str, name: str) -> None:
    assert targets(environment(FILE, application=application, name=name))[0].endswith(
        f":ci-user/{application}/{name}.stage"
    )


# A role's boundary lets nobody delete or tag secrets, so there the denial of the stage has no twin to tell it apart by.
@pytest.mark.parametrize(
    ("make", "action"),
    [
        *((guard.boundary, action) for action in (*USES, "DeleteSecret", "TagResource")),
        *((guard.role_boundary, action) for action in USES),
    ],
)
def test_neither_the_ci_user_nor_a_role_it_makes_reaches_the_stage(make: Any, action: str) -> None:
    one = environment(FILE)
    boundary = make(one, guarded(one, [one]))
    assert allowed(boundary, f"secretsmanager:{action}", f"{ARN}:ci-user/shop/testing.stage-AbCdEf") is False
    assert allowed(boundary, f"secretsmanager:{action}", f"{ARN}:shop-testing-db-AbCdEf") is True


@BOUNDARIES
def test_a_sibling_does_not_reach_it_either_and_its_boundary_stays_as_it_was(make: Any) -> None:
    one, sibling = environment(FILE), environment(SECRET, name="staging")
    boundary = make(sibling, guarded(sibling, [one]))
    stage = f"{ARN}:ci-user/shop/testing.stage-AbCdEf"
    assert allowed(boundary, "secretsmanager:GetSecretValue", stage) is False
    assert boundary == make(sibling, guarded(sibling, []))


def test_the_stage_is_among_what_is_guarded() -> None:
    one, other_account = environment(FILE), environment(SECRET, name="far", account_id="2" * 12)
    expected = (f"{ARN}:ci-user/shop/testing.stage-??????",)
    assert guarded(one, []).secret_names == expected
    assert guarded(environment(PARAMETER, name="staging"), [one]).secret_names == expected
    assert not set(expected) & set(guarded(other_account, [one]).secret_names)


def test_nobody_delivers_to_the_stage_of_another_environment() -> None:
    kept = environment(FILE)
    taker = environment(PARAMETER, {**SECRET, "name": "ci-user/shop/testing.stage"}, name="uat")
    (problem,) = collisions([kept, taker])
    assert problem.startswith(f"environments/uat.yaml: secrets[1]: environments/testing.yaml delivers to {STAGE}")


def test_a_stage_that_another_environment_took_first_is_told_without_an_index() -> None:
    taker = environment({**SECRET, "name": "ci-user/shop/testing.stage"}, name="alpha")
    (problem,) = collisions([environment(FILE), taker])
    assert problem.startswith("environments/testing.yaml: the stage that is kept for it: environments/alpha.yaml")


def test_beside_a_kept_stage_the_index_is_still_the_files() -> None:
    taker = environment({**FILE, "path": "other.env"}, FILE)
    (problem,) = collisions([environment(FILE, name="alpha"), taker])
    assert problem.startswith("environments/testing.yaml: secrets[1]: environments/alpha.yaml delivers to ")


def test_stages_of_different_environments_are_different_places() -> None:
    every = [environment({**FILE, "path": f"{name}.env"}, name=name) for name in ("alpha", "beta", "gamma")]
    assert not collisions(every)
    assert len({targets(one)[0] for one in every}) == 3


@pytest.mark.parametrize(("backend", "loaded"), [(PARAMETER, False), (FILE, True)])
def test_the_stages_backend_is_imported_only_where_one_is_kept(backend: dict[str, str], loaded: bool) -> None:
    code = (
        "import sys; sys.path[:0] = sys.argv[1:]\n"
        "from test_environment_stage import environment\n"
        "for name in [m for m in sys.modules if m.startswith('ci_user.backends.aws_secrets')]: del sys.modules[name]\n"
        f"environment({backend!r}).places\n"
        "print('ci_user.backends.aws_secrets_manager' in sys.modules)"
    )
    command = [sys.executable, "-c", code, str(Path(__file__).parent)]
    out = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert out.stdout.strip() == str(loaded)

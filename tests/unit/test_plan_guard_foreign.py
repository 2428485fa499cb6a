"""A plan file carries a configuration of its own: only one of this project's modules and variables is applied."""

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import Any

import pytest

from ci_user.errors import PlanError
from ci_user.plan_guard import refuse_foreign

ROOT = Path(__file__).resolve().parents[2]
VARIABLES = {"prefix": "shop-testing", "tags": {"team": "a"}}


def resource(kind: str = "aws_iam_user", provider: str = "aws", **more: Any) -> dict[str, Any]:
    return {"address": f"{kind}.this", "type": kind, "provider_config_key": provider, **more}


def document(*resources: dict[str, Any]) -> dict[str, Any]:
    nested = {"module_calls": {"ci_user": {"module": {"resources": list(resources)}}}}
    variables = {name: {"value": copy.deepcopy(value)} for name, value in VARIABLES.items()}
    return {"variables": variables, "configuration": {"root_module": nested}}


def test_a_plan_of_the_modules_passes() -> None:
    refuse_foreign(document(resource(), resource(provider="module.ci_user:aws")), VARIABLES)


@pytest.mark.parametrize(
    "strange",
    [
        resource("terraform_data", provider="terraform"),
        resource("null_resource", provider="null"),
        resource("aws_iam_role"),
        resource("aws_iam_access_key"),
        resource(provider="evil"),
        resource(provisioners=[{"type": "local-exec"}]),
    ],
)
def test_what_the_modules_do_not_hold_is_refused(strange: dict[str, Any]) -> None:
    with pytest.raises(PlanError, match="not made from this project's modules"):
        refuse_foreign(document(resource(), strange), VARIABLES)


@pytest.mark.parametrize(
    "change", [{"prefix": {"value": "other"}}, {"more": {"value": 1}}, {"tags": {"value": {"team": "b"}}}]
)
def test_other_variables_are_refused(change: dict[str, Any]) -> None:
    changed = document(resource())
    changed["variables"] |= change
    with pytest.raises(PlanError, match="other variables"):
        refuse_foreign(changed, VARIABLES)


def test_every_type_that_the_modules_make_is_known() -> None:
    made: set[str] = set()
    for path in (ROOT / "terraform").rglob("*.tf"):
        made |= set(re.findall(r'^resource "([a-z_]+)"', path.read_text(), flags=re.MULTILINE))
    assert made
    for kind in made:
        refuse_foreign(document(resource(kind)), VARIABLES)

"""What Terraform is told: the same for the same environment, and another digest for whatever is another."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from ci_user.tfvars import Tfvars, render
from tests.unit.test_environment import environment

ROOT = Path(__file__).resolve().parents[2]


def rendered(**changes: Any) -> Tfvars:
    values: dict[str, Any] = {"policies": {"a": "{}"}, "attached_arns": ("arn",), "boundary": "b", "role_boundary": "r"}
    return render(environment(), **{**values, **changes})


def test_each_variable_of_the_root_module_is_set_and_no_other() -> None:
    text = (ROOT / "terraform" / "variables.tf").read_text(encoding="utf-8")
    assert set(rendered().values) == set(re.findall(r'^variable "(\w+)"', text, re.MULTILINE))


def test_what_terraform_reads_is_what_it_shows_in_a_plan() -> None:
    assert json.loads(rendered().content) == rendered().values


def test_the_digest_binds_content_names_and_existing_policies() -> None:
    digests = {
        rendered(**change).digest
        for change in (
            {},
            {"policies": {"a": "{ }"}},
            {"policies": {"b": "{}"}},
            {"attached_arns": ()},
            {"attached_arns": ("another",)},
            {"boundary": "c"},
            {"role_boundary": "c"},
            {"inline_policy_names": ("ci-user-revocation",)},
        )
    }
    assert len(digests) == 8
    assert rendered().digest == rendered().digest

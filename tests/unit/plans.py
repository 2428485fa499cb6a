"""Plans for tests: real ones that Terraform made (tests/unit/data), edited ones, and small ones built from values."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ci_user.checks import CheckContext
from ci_user.plan import Change, Plan, Resource

DATA = Path(__file__).parent / "data"
USER = "module.ci_user.aws_iam_user.this"
GROUP = "module.ci_user.aws_iam_group.this"
BOUNDARY = "module.ci_user.aws_iam_policy.boundary"
ROLE_BOUNDARY = "module.ci_user.aws_iam_policy.role_boundary"
READER = 'module.ci_policy["reader"].aws_iam_policy.this'
SAMPLE = 'module.ci_policy["sample"].aws_iam_policy.this'

Document = dict[str, Any]


def document(name: str) -> Document:
    """Return a plan's JSON as `terraform show -json` printed it."""
    content: Document = json.loads((DATA / f"{name}.json").read_text())
    return content


def planned(content: Document, address: str) -> Document:
    """Return a resource of the planned values, to read or edit."""
    return next(entry for entry in _everything(content["planned_values"]["root_module"]) if entry["address"] == address)


def change(content: Document, address: str) -> Document:
    """Return what happens to a resource, to read or edit."""
    found: Document = next(entry["change"] for entry in content["resource_changes"] if entry["address"] == address)
    return found


def edited(name: str, address: str, /, **attributes: Any) -> Document:
    """Return a real plan in which one resource will have other attributes."""
    content = document(name)
    planned(content, address)["values"].update(attributes)
    change(content, address)["after"].update(attributes)
    return content


def with_resource(content: Document, kind: str, label: str = "added", /, **attributes: Any) -> Document:
    """Return a real plan in which one more resource of the root module is made."""
    content = copy.deepcopy(content)
    entry = {"address": f"{kind}.{label}", "mode": "managed", "type": kind, "name": label}
    content["planned_values"]["root_module"].setdefault("resources", []).append(
        {**entry, "schema_version": 0, "values": attributes, "sensitive_values": {}}
    )
    content["resource_changes"].append(
        {
            **entry,
            "change": {
                "actions": ["create"],
                "before": None,
                "after": attributes,
                "after_unknown": {},
                "before_sensitive": False,
                "after_sensitive": {},
            },
        }
    )
    return content


def _everything(module: Document) -> Iterator[Document]:
    yield from module.get("resources", [])
    for child in module.get("child_modules", []):
        yield from _everything(child)


_FIRST = document("plan_first")

CONTEXT = CheckContext(
    prefix="scan-fixture",
    account_id="000000000000",
    partition="aws",
    user_name="scan-fixture.ci",
    group_name="scan-fixture.ci",
    boundary_arn="arn:aws:iam::000000000000:policy/scan-fixture.boundary",
    boundary_document=planned(_FIRST, BOUNDARY)["values"]["policy"],
    role_boundary_document=planned(_FIRST, ROLE_BOUNDARY)["values"]["policy"],
    protected=False,
)


def policy(*statements: Document, **more: Any) -> str:
    """Return a policy document."""
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements), **more})


def allow(action: object, resource: object = "*", **more: Any) -> Document:
    """Return a statement that allows."""
    return {"Effect": "Allow", "Action": action, "Resource": resource, **more}


def resource(kind: str, label: str = "this", mode: str = "managed", /, **values: Any) -> Resource:
    """Return a resource of the root module."""
    address = f"{'data.' if mode == 'data' else ''}{kind}.{label}"
    return Resource(address=address, mode=mode, type=kind, name=label, module=None, values=values)


def plan_of(*resources: Resource, unknown: dict[str, dict[str, Any]] | None = None) -> Plan:
    """Return a plan that makes these resources; `unknown` gives ``after_unknown`` by address."""
    return Plan(
        terraform_version="1.11.4",
        complete=True,
        errored=False,
        applyable=True,
        resources=resources,
        data=(),
        changes=tuple(
            Change(
                address=one.address,
                mode=one.mode,
                type=one.type,
                name=one.name,
                module=None,
                actions=("create",),
                kind="create",
                before=None,
                after=one.values,
                after_unknown=(unknown or {}).get(one.address, {}),
                replace_paths=(),
                recorded_only=False,
            )
            for one in resources
        ),
        drift=(),
        outputs=(),
    )

"""What was changed outside is told; what AWS counts by itself is not."""

from __future__ import annotations

from typing import Any

import pytest

from ci_user.plan import parse
from ci_user.plan_words import drifted


def plan(before: dict[str, Any] | None, after: dict[str, Any] | None) -> Any:
    drift = {
        "address": "module.ci_user.aws_iam_user.this",
        "mode": "managed",
        "type": "aws_iam_user",
        "name": "this",
        "change": {"actions": ["update"], "before": before, "after": after, "after_unknown": {}},
    }
    return parse(
        {
            "format_version": "1.2",
            "terraform_version": "1.11.4",
            "complete": True,
            "errored": False,
            "applyable": True,
            "planned_values": {"root_module": {}},
            "resource_drift": [drift],
        }
    )


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ({"attachment_count": 0}, {"attachment_count": 1}, False),
        ({"name": "a", "arn": "1"}, {"name": "a", "arn": "2"}, False),
        ({"permissions_boundary": "b"}, {"permissions_boundary": ""}, True),
        ({"attachment_count": 0, "policy": "{}"}, {"attachment_count": 1, "policy": "{1}"}, True),
        ({"name": "a"}, None, True),
    ],
)
def test_only_what_somebody_changed_is_told(before: dict[str, Any], after: dict[str, Any] | None, told: bool) -> None:
    assert bool(drifted(plan(before, after))) == told

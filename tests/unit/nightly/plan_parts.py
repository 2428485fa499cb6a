"""Small plans for the nightly check: one resource as it was left, as it is and as it is wanted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

from ci_user.known_drift import KnownDrift
from ci_user.plan import Change, OutputChange, Plan

TODAY = date(2026, 11, 24)
USER = "module.ci_user.aws_iam_user.this"

Values = Mapping[str, Any]


def change(
    before: Values | None,
    after: Values | None,
    kind: str | None = None,
    /,
    address: str = USER,
    *,
    unknown: Values | None = None,
    forced: Sequence[str] = (),
    recorded_only: bool = False,
    mode: str = "managed",
) -> Change:
    """Return what happens, or happened, to a resource; what kind it is follows from the values unless it is said."""
    kind = kind or ("create" if before is None else "delete" if after is None else "update")
    parts = address.split(".")
    return Change(
        address=address,
        mode=mode,
        type=parts[-2],
        name=parts[-1],
        module=None,
        actions=(kind,),
        kind=kind,
        before=before,
        after=after,
        after_unknown=unknown or {},
        replace_paths=tuple((name,) for name in forced),
        recorded_only=recorded_only,
    )


def plan(
    changes: Sequence[Change] = (),
    drift: Sequence[Change] = (),
    outputs: Sequence[str] = (),
    *,
    errored: bool = False,
    complete: bool = True,
) -> Plan:
    """Return a plan."""
    return Plan(
        terraform_version="1.11.4",
        complete=complete,
        errored=errored,
        applyable=True,
        resources=(),
        data=(),
        changes=tuple(changes),
        drift=tuple(drift),
        outputs=tuple(OutputChange(name=name, actions=("update",), kind="update") for name in outputs),
    )


def known(*attributes: str, address: str = USER, expires: str = "2027-01-31") -> KnownDrift:
    """Return an entry of ``known_drift``."""
    values = {
        "resource": address,
        "attributes": list(attributes),
        "reason": "set by the account's own automation",
        "owner": "platform",
        "expires": expires,
    }
    return KnownDrift.model_validate(values, context={"today": TODAY})

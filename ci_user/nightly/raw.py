"""What AWS answers of a principal or a policy, as canonical JSON: what the digest of an environment's facts is made of.

Everything that AWS tells is kept, so that an attribute nobody thought of counts too. Only what is listed here is left out.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Mapping
from typing import Any, Final, Literal

Kind = Literal["user", "group", "role", "own policy", "policy"]

_BY_DEPLOYMENTS: Final = (
    "deployments of the pipeline change it; the role boundary bounds what it brings, and nothing judges it"
)
VOLATILE: Final[Mapping[Kind, Mapping[str, str]]] = {
    "user": {"PasswordLastUsed": "each login at the console changes it"},
    "group": {},
    "role": {
        "RoleLastUsed": "each use changes it",
        "RolePolicyList": _BY_DEPLOYMENTS,
        "AttachedManagedPolicies": _BY_DEPLOYMENTS,
        "InstanceProfileList": _BY_DEPLOYMENTS,
        "Tags": _BY_DEPLOYMENTS,
    },
    "own policy": {
        "PermissionsBoundaryUsageCount": "each role that the pipeline makes changes it, and Terraform does not read it"
    },
    "policy": {
        "PermissionsBoundaryUsageCount": "other principals of the account change it",
        "AttachmentCount": "other principals of the account change it, and Terraform reads it of the environment's own only",
    },
}
"""Fields that are no part of the digest, and why. An own policy is one that Terraform makes for the environment."""

UNREAD_TAGS: Final = "ci-user:"
"""Tags that begin so mirror the journal: a rotation changes them, Terraform ignores them and no decision reads them."""

_TAGGED: Final[frozenset[Kind]] = frozenset({"user", "own policy"})


def settled(kind: Kind, answer: Mapping[str, Any]) -> dict[str, Any]:
    """Return what AWS answered without what changes by itself, and with its lists in an order of their own.

    Args:
        kind: What it is of.
        answer: An item of ``GetAccountAuthorizationDetails``, or what ``GetPolicy`` and the like answer.
    """
    kept: dict[str, Any] = {}
    for name, value in answer.items():
        if name in VOLATILE[kind]:
            continue
        if name == "PolicyVersionList":
            value = [_version(one) for one in value]
        elif name == "Tags" and kind in _TAGGED:
            value = [one for one in value if not one["Key"].startswith(UNREAD_TAGS)]
        # AWS gives sets as lists, in whatever order. The order inside a document is the document's own.
        kept[name] = sorted(value, key=canonical) if isinstance(value, list) else value
    return kept


def _version(version: Mapping[str, Any]) -> dict[str, Any]:
    """Return a version of a policy: the document of the default one only, since nobody has the rights of another."""
    return {name: value for name, value in version.items() if name != "Document" or version.get("IsDefaultVersion")}


def canonical(value: Any) -> str:
    """Return JSON that is the same for the same value: keys sorted, times in UTC."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=_time)


def _time(value: object) -> str:
    if isinstance(value, dt.datetime):
        return value.astimezone(dt.UTC).isoformat()
    raise TypeError(f"no JSON: {type(value).__name__}")

"""The project's own checks, over typed values of the plan; ``ALL`` holds every one."""

from __future__ import annotations

from typing import Final

from ci_user.checks.access_key import NoSecretInThePlan
from ci_user.checks.administrator import NoAdministrator
from ci_user.checks.boundary import BoundaryPresent
from ci_user.checks.escalation import EscalationDecided, NoEscalation
from ci_user.checks.known import KnownAtPlanTime
from ci_user.checks.login_profile import NoLoginProfile
from ci_user.checks.own_policies import OwnPoliciesOnly
from ci_user.checks.protocol import Check, CheckContext
from ci_user.checks.reach import NothingGuarded, OnlyOwnEnvironment
from ci_user.checks.through_group import ThroughGroupOnly

ALL: Final[tuple[Check, ...]] = (
    NoAdministrator(),
    NoSecretInThePlan(),
    NoLoginProfile(),
    BoundaryPresent(),
    ThroughGroupOnly(),
    KnownAtPlanTime(),
    OwnPoliciesOnly(),
    NoEscalation(),
    EscalationDecided(),
    NothingGuarded(),
    OnlyOwnEnvironment(),
)

__all__ = ["ALL", "Check", "CheckContext"]

"""User and ways in, every night: each thing that no plan shows is told, and what could not be seen is not clean."""

from __future__ import annotations

import pytest

from ci_user import revocation
from ci_user.backends.protocol import Held
from ci_user.nightly.facts_model import GroupFact, LentRole, RoleFact, Unread, WayIn
from ci_user.revocation import Revocation
from tests.unit.nightly.identities import (
    DAY,
    ENVIRONMENT,
    IN_ORDER,
    KEY,
    NOW,
    STAGE,
    environment,
    facts,
    judged,
    key,
    user,
)

QUARANTINE = "arn:aws:iam::aws:policy/AWSCompromisedKeyQuarantineV3"


def test_an_identity_in_order_has_nothing_to_tell() -> None:
    found = judged()
    assert (found.entries, found.findings) == ((), ())
    assert [(one.id, one.state, len(one.held_by)) for one in found.keys] == [(KEY, "delivered", 2)]


def test_no_user_is_not_deployed_and_tells_what_is_left() -> None:
    found = judged(facts(user=None, keys=(), uses={}))
    (entry,) = found.entries
    assert entry.id == "CIUSER_NOT_DEPLOYED"
    assert any("the journal has" in one for one in entry.details)
    assert any(f"holds {KEY}" in one for one in entry.details)


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"boundary_arn": None}, "it has no boundary"),
        ({"boundary_arn": "arn:aws:iam::aws:policy/AdministratorAccess"}, "AdministratorAccess"),
        ({"attached": ("arn:aws:iam::aws:policy/ReadOnlyAccess",)}, "ReadOnlyAccess is attached to it"),
        ({"attached": ("arn:aws:iam::111111111111:policy/AWSCompromisedKeyQuarantineV3",)}, "is not AWS's"),
        ({"inline": ("extra\x1b",)}, "the inline policy extra\\x1b"),
    ],
)
def test_what_hangs_on_the_user_is_a_way_in(changes: dict[str, object], part: str) -> None:
    found = judged(facts(user=user(**changes)))
    (finding,) = found.findings
    assert finding.check == "CIUSER_LIVE_5"
    assert part in finding.message
    assert found.entries == ()


def test_somebody_else_in_the_group_is_told() -> None:
    (finding,) = judged(facts(others_in_group=("mallory\x1b",))).findings
    assert finding.check == "CIUSER_LIVE_5"
    assert finding.message.startswith("mallory\\x1b is in the group shop-testing.ci")


def test_a_foreign_group_is_told_once_with_what_it_brings() -> None:
    groups = {"people": GroupFact("people", ("arn:aws:iam::aws:policy/AdministratorAccess",), {"more": "{}"})}
    found = judged(facts(user=user(groups=(ENVIRONMENT.group_name, "people")), groups=groups))
    (finding,) = found.findings
    assert finding.check == "CIUSER_LIVE_1"
    assert "which brings AdministratorAccess, more" in finding.message


def test_each_way_in_is_told() -> None:
    ways = (
        WayIn("console password", "console password", "made 2026", "delete its login profile"),
        WayIn("MFA devices", "MFA device", "arn:\u202e", "deactivate and delete them"),
    )
    found = judged(facts(ways_in=ways))
    assert [one.check for one in found.findings] == ["CIUSER_LIVE_5"] * 2
    assert found.findings[1].message == "it has a MFA device: arn:\\u202e"


def test_what_lives_under_the_prefix_lends_rights() -> None:
    roles = (
        RoleFact(f"{ENVIRONMENT.prefix}-a", None, {"Statement": []}),
        RoleFact(
            f"{ENVIRONMENT.prefix}-b",
            ENVIRONMENT.role_boundary_arn,
            {"Statement": {"Effect": "Allow", "Principal": "*"}},
        ),
    )
    lent = (LentRole("function", f"{ENVIRONMENT.prefix}-f", "arn:aws:iam::111111111111:role/admin"),)
    found = judged(facts(roles=roles, lent=(*lent, LentRole("stack", f"{ENVIRONMENT.prefix}-s", "arn:role"))))
    assert [one.check[-1] for one in found.findings] == ["2", "4", "2", "2"]


def test_what_could_not_be_read_is_never_clean() -> None:
    unread = (Unread("roles", "iam:ListRoles", "denied"), Unread("MFA devices", "iam:ListMFADevices", "denied"))
    found = judged(facts(unread=unread))
    assert [(one.check, one.resource) for one in found.findings] == [("CIUSER_LIVE_3", "live.roles")]
    (entry,) = found.entries
    assert (entry.id, entry.gravity, entry.where) == ("CIUSER_UNREAD", "error", "MFA devices")
    assert "iam:ListMFADevices" in entry.fix


def test_the_sandbox_does_not_know_every_call() -> None:
    unread = (Unread("stacks", "cloudformation:DescribeStacks", "unknown"), Unread("SSH keys", "iam:List", "unknown"))
    sandbox = environment(name="sandbox", sandbox=True, account_id="000000000000")
    found = judged(facts(user=None, unread=unread), of=sandbox)
    assert found.findings == ()
    assert {one.gravity for one in found.entries if one.id == "CIUSER_UNREAD"} == {"notice"}


def test_keys_that_were_not_listed_are_not_taken_to_be_gone() -> None:
    unread = (Unread("access keys", "iam:ListAccessKeys", "denied"),)
    sandbox = environment(name="sandbox", sandbox=True, account_id="000000000000")
    for of in (ENVIRONMENT, sandbox):
        found = judged(facts(keys=(), uses={}, unread=unread), of=of)
        assert [(one.id, one.gravity) for one in found.entries] == [("CIUSER_UNREAD", "error")]


def test_a_deny_that_was_not_read_is_not_taken_for_one() -> None:
    found = judged(facts(user=user(inline=(revocation.POLICY_NAME,))))
    assert [one.check for one in found.findings] == ["CIUSER_LIVE_3"]
    made_up = {revocation.POLICY_NAME: '{"Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}'}
    found = judged(facts(user=user(inline=(revocation.POLICY_NAME,)), user_inline=made_up))
    assert [one.check for one in found.findings] == ["CIUSER_LIVE_5"]


def test_a_leak_that_aws_found_is_told_in_the_gravest_words() -> None:
    found = judged(facts(user=user(attached=(QUARANTINE,))))
    (entry,) = found.entries
    assert (entry.id, entry.runbook, entry.details) == ("CIUSER_LEAKED", "quarantine", (f"active: {KEY}",))
    assert "HAS LEAKED" in entry.message
    assert "invoke revoke" in entry.fix
    assert found.findings == ()


def test_a_revocation_is_told_until_it_is_over() -> None:
    def with_deny(deny: Revocation, *, active: bool) -> list[tuple[str, str]]:
        inline = {revocation.POLICY_NAME: deny.text()}
        seen = facts(user=user(inline=(revocation.POLICY_NAME,)), user_inline=inline, keys=(key(active=active),))
        found = judged(seen)
        assert found.findings == ()
        assert found.keys[0].state.endswith(", revoked")
        return [(one.id, one.gravity) for one in found.entries if one.area == "keys"]

    assert ("CIUSER_REVOCATION", "finding") in with_deny(Revocation((KEY,), None), active=True)
    assert with_deny(Revocation((KEY,), NOW - DAY), active=False) == [("CIUSER_DENIED", "notice")]
    assert with_deny(Revocation((KEY,), NOW - 3 * DAY), active=False) == [("CIUSER_DENIED", "notice")]
    assert ("CIUSER_REVOKED_ACTIVE", "finding") in with_deny(Revocation((KEY,), NOW - DAY), active=True)


def test_nested_prefixes_are_told() -> None:
    found = judged(facts(other_ci_users=("shop-testing-eu.ci", "shop-testing2.ci")))
    (entry,) = found.entries
    assert entry.id == "CIUSER_NESTED"
    assert "shop-testing-eu," in entry.message


def test_a_place_that_could_not_be_asked_is_an_error() -> None:
    found = judged(trouble={STAGE: "no\nanswer"}, held={})
    assert [(one.id, one.gravity, one.where == STAGE) for one in found.entries] == [
        ("CIUSER_PLACE_UNASKED", "error", True),
        ("CIUSER_PLACE_UNASKED", "error", False),
    ]
    assert found.entries[0].message == "no\\nanswer"


def test_no_bucket_is_an_error_and_leaves_every_key_without_an_owner() -> None:
    found = judged(content=None)
    assert [one.id for one in found.entries[:2]] == ["CIUSER_NO_JOURNAL", "CIUSER_FOREIGN_KEY"]
    assert found.entries[0].gravity == "error"
    assert IN_ORDER.keys
    assert judged(content=None, held={STAGE: Held(None, None)}).entries

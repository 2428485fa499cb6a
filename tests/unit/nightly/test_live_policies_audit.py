"""Live policies against the files: nothing to tell while they are the same, and everything that AWS has beyond them."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from ci_user import naming
from ci_user.judging import context_of
from ci_user.nightly.facts_model import Facts, GroupFact, PolicyFact
from ci_user.nightly.live_policies_audit import PoliciesJudged, judge
from ci_user.revocation import POLICY_NAME, Revocation
from ci_user.run import Loaded, load
from tests.unit.nightly.identities import KEY, NOW, facts

ROOT = Path(__file__).resolve().parents[3]
FOREIGN = "arn:aws:iam::aws:policy/Foreign"


def policy(*statements: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def allow(*actions: str, on: str = "*") -> dict[str, Any]:
    return {"Effect": "Allow", "Action": list(actions), "Resource": on}


@pytest.fixture(scope="module")
def loaded() -> Loaded:
    return load("testing", ROOT)


def as_deployed(loaded: Loaded) -> Facts:
    environment = loaded.environment
    found = facts()
    assert found.user is not None
    own = {environment.policy_arn(name): text for name, text in loaded.choice.packs.items()}
    # AWS gives documents back in an order of its own.
    shuffled = {arn: json.dumps(json.loads(text), indent=2, sort_keys=True) for arn, text in own.items()}
    documents = {
        **shuffled,
        environment.boundary_arn: loaded.boundary,
        environment.role_boundary_arn: loaded.role_boundary,
    }
    return dataclasses.replace(
        found,
        user=dataclasses.replace(
            found.user,
            arn=environment.user_arn,
            boundary_arn=environment.boundary_arn,
            groups=(environment.group_name,),
        ),
        groups={environment.group_name: GroupFact(environment.group_name, tuple(own), {})},
        policies={arn: PolicyFact(arn, arn.rsplit("/", 1)[-1], text, "v1") for arn, text in documents.items()},
    )


def with_group(seen: Facts, *documents: str, **inline: str) -> Facts:
    assert seen.user is not None
    arns = tuple(f"{FOREIGN}{number}" for number, _ in enumerate(documents))
    more = {arn: PolicyFact(arn, arn, text, "v1") for arn, text in zip(arns, documents, strict=True)}
    return dataclasses.replace(
        seen,
        user=dataclasses.replace(seen.user, groups=(*seen.user.groups, "people")),
        groups={**seen.groups, "people": GroupFact("people", arns, inline)},
        policies={**seen.policies, **more},
    )


def judged(seen: Facts, loaded: Loaded) -> PoliciesJudged:
    return judge(seen, loaded, context_of(loaded, ()))


def test_what_is_as_the_files_say_is_silent_and_tells_who_may_do_what(loaded: Loaded) -> None:
    found = judged(as_deployed(loaded), loaded)
    assert (found.findings, found.entries, found.access) == ((), (), ())
    names = {naming.policy_name(loaded.environment.prefix, name) for name in loaded.choice.packs}
    assert {one.policy for one in found.grants} == names
    assert {one.holder for one in found.grants} == {loaded.environment.group_name}
    assert any("write" in one.levels for one in found.grants)
    # The boundary leaves no room for it.
    assert not any(one.service == "iam" and "permissions" in one.levels and one.everywhere for one in found.grants)


def test_no_user_has_no_policies(loaded: Loaded) -> None:
    assert judged(dataclasses.replace(as_deployed(loaded), user=None), loaded) == PoliciesJudged()


def test_more_than_the_files_say_is_told_in_words(loaded: Loaded) -> None:
    found = judged(with_group(as_deployed(loaded), policy(allow("sqs:PurgeQueue", on="arn:aws:sqs:*:*:n"))), loaded)
    assert any("more than the files say: sqs:PurgeQueue" in line for line in found.access)
    assert [(one.service, one.levels, one.everywhere) for one in found.grants if one.holder == "people"] == [
        ("sqs", ("write",), False)
    ]
    assert found.findings == ()


def test_less_than_the_files_say_is_told_too(loaded: Loaded) -> None:
    seen = as_deployed(loaded)
    group = loaded.environment.group_name
    bare = dataclasses.replace(seen, groups={group: GroupFact(group, (), {})})
    found = judged(bare, loaded)
    assert found.grants == ()
    assert found.access
    assert any(line.startswith("less than the files say: ") for line in found.access)
    # Its denials went with them.
    assert all("no longer denied" in line for line in found.access if not line.startswith("less"))


def test_a_user_without_its_boundary_becomes_more(loaded: Loaded) -> None:
    seen = with_group(as_deployed(loaded), policy(allow("iam:*")))
    bounded = judged(seen, loaded)
    assert "CIUSER_LIVE_2" not in {one.check for one in bounded.findings}
    assert seen.user is not None
    free = judged(dataclasses.replace(seen, user=dataclasses.replace(seen.user, boundary_arn=None)), loaded)
    assert "CIUSER_LIVE_2" in {one.check for one in free.findings}
    assert any("it has none" in line for line in free.access)


def test_who_may_do_everything_is_told_so_and_nothing_else(loaded: Loaded) -> None:
    seen = with_group(as_deployed(loaded), policy(allow("*")))
    assert seen.user is not None
    free = judged(dataclasses.replace(seen, user=dataclasses.replace(seen.user, boundary_arn=None)), loaded)
    (finding,) = free.findings
    assert finding.check == "CIUSER_LIVE_2"
    assert finding.message.startswith("it may do everything already")
    assert ";" not in finding.message


def test_an_older_boundary_of_this_tool_is_no_lint(loaded: Loaded) -> None:
    seen = as_deployed(loaded)
    assert seen.user is not None
    arn = seen.user.boundary_arn
    assert arn is not None
    document = json.loads(seen.policies[arn].document)
    document["Statement"].append({"Effect": "Deny", "Action": "s3:DeleteBucket", "Resource": "arn:aws:s3:::older"})
    older = dataclasses.replace(seen.policies[arn], document=json.dumps(document))
    found = judged(dataclasses.replace(seen, policies={**seen.policies, arn: older}), loaded)
    assert not [one for one in found.entries if one.id == "CIUSER_LINT"]


def test_every_service_is_one_grant(loaded: Loaded) -> None:
    found = judged(with_group(as_deployed(loaded), policy(allow("*"))), loaded)
    assert [(one.service, len(one.levels), one.everywhere) for one in found.grants if one.holder == "people"] == [
        ("*", 5, True)
    ]


def test_another_boundary_of_the_same_name_is_seen(loaded: Loaded) -> None:
    seen = with_group(as_deployed(loaded), policy(allow("iam:*", "s3:*")))
    arn = loaded.environment.boundary_arn
    swapped = {**seen.policies, arn: PolicyFact(arn, "b", policy(allow("*")), "v2")}
    found = judged(dataclasses.replace(seen, policies=swapped), loaded)
    assert "CIUSER_LIVE_2" in {one.check for one in found.findings}
    assert any(line.startswith("the boundary: more than the files say") for line in found.access)


def test_what_belongs_to_others_and_is_reached_is_told(loaded: Loaded) -> None:
    seen = as_deployed(loaded)
    arn = loaded.environment.boundary_arn
    state = f"arn:aws:s3:::{loaded.environment.state.bucket}/*"
    wide = {**seen.policies, arn: PolicyFact(arn, "b", policy(allow("s3:*")), "v2")}
    found = judged(
        with_group(dataclasses.replace(seen, policies=wide), policy(allow("s3:GetObject", on=state))), loaded
    )
    (entry,) = [one for one in found.entries if one.id == "CIUSER_LIVE_REACH"]
    assert "Terraform's state" in entry.message
    assert any("s3:{GetObject" in line for line in entry.details)


def test_lint_tells_errors_as_findings_and_warnings_as_good_to_know(loaded: Loaded) -> None:
    wrong = policy({**allow("s3:GetObjekt", on="arn:aws:s3:::x/*")})
    found = judged(with_group(as_deployed(loaded), **{"in\x1bline": wrong}), loaded)
    (entry,) = [one for one in found.entries if one.id == "CIUSER_LINT"]
    assert entry.where == "inline policy in\\x1bline of group people"
    assert any("GetObjekt" in line or "getobjekt" in line for line in entry.details)


@pytest.mark.parametrize("text", ["no json", "[]", '{"Version":"2012-10-17","Statement":[{"Effect":"Maybe"}]}'])
def test_a_document_that_cannot_be_read_is_an_error(loaded: Loaded, text: str) -> None:
    found = judged(with_group(as_deployed(loaded), text), loaded)
    assert "error" in {one.gravity for one in found.entries}
    assert found.grants == ()


def test_a_document_that_was_not_read_is_an_error(loaded: Loaded) -> None:
    seen = as_deployed(loaded)
    without = {arn: one for arn, one in seen.policies.items() if arn != loaded.environment.boundary_arn}
    found = judged(dataclasses.replace(seen, policies=without), loaded)
    assert [(one.id, one.gravity) for one in found.entries] == [("CIUSER_UNREADABLE_POLICY", "error")]
    assert seen.user is not None
    lost = dataclasses.replace(seen, user=dataclasses.replace(seen.user, groups=("people",)))
    assert "the group people" in judged(lost, loaded).entries[0].message


def test_the_deny_of_a_revocation_is_no_policy(loaded: Loaded) -> None:
    seen = as_deployed(loaded)
    assert seen.user is not None
    inline = {POLICY_NAME: Revocation((KEY,), NOW).text()}
    user = dataclasses.replace(seen.user, inline=(POLICY_NAME,))
    found = judged(dataclasses.replace(seen, user=user, user_inline=inline), loaded)
    assert (found.findings, found.entries, found.access) == ((), (), ())

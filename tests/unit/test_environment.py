from __future__ import annotations

import pickle
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from ci_user.environment import Environment
from ci_user.environment_siblings import collisions, guarded

TODAY = date(2026, 11, 24)
KEY = "arn:aws:kms:eu-west-1:111111111111:key/00000000-0000-0000-0000-00000000000"


def environment(**changes: Any) -> Environment:
    values: dict[str, Any] = {
        "name": "testing",
        "version": 1,
        "application": "shop",
        "account_id": "111111111111",
        "region": "eu-west-1",
        "policies": ["sample"],
        "state": {"bucket": "states"},
        "secrets": [{"backend": "aws-secrets-manager", "name": "ci/key"}],
    }
    return Environment.model_validate({**values, **changes}, context={"today": TODAY, "root": Path()})


def refusals(**changes: Any) -> dict[str, str]:
    with pytest.raises(ValidationError) as caught:
        environment(**changes)
    return {".".join(map(str, e["loc"])): e["msg"] for e in caught.value.errors()}


def finding(**changes: Any) -> dict[str, Any]:
    return {
        "check": "CKV_AWS_273",
        "resource": "module.ci_user.aws_iam_user.this",
        "reason": "no OIDC in this CI system",
        "owner": "platform",
        "expires": "2027-01-31",
        **changes,
    }


def test_defaults_are_filled_in_from_the_rest() -> None:
    one = environment()
    assert one.state.key == "shop/testing/terraform.tfstate"
    assert one.state.lease_key == "shop/testing/lease.json"
    assert (one.state.region, one.state.account_id) == ("eu-west-1", "111111111111")
    assert (one.lock.ttl, one.timeout) == (timedelta(minutes=2), timedelta(minutes=15))
    assert (one.verification.successes, one.verification.interval) == (5, timedelta(seconds=1))
    assert not one.protected
    assert not one.sandbox


def test_what_is_given_for_the_state_stays() -> None:
    one = environment(state={"bucket": "b-b", "key": "x/y.tfstate", "region": "eu-north-1", "account_id": "3" * 12})
    assert (one.state.key, one.state.region, one.state.account_id) == ("x/y.tfstate", "eu-north-1", "3" * 12)
    assert one.state.lease_key == "x/lease.json"


def test_names_and_arns_carry_prefix_and_partition() -> None:
    one = environment(partition="aws-cn", region="cn-north-1")
    assert one.prefix == "shop-testing"
    assert one.user_arn == "arn:aws-cn:iam::111111111111:user/shop-testing.ci"
    assert one.group_arn == "arn:aws-cn:iam::111111111111:group/shop-testing.ci"
    assert one.boundary_arn == "arn:aws-cn:iam::111111111111:policy/shop-testing.boundary"
    assert one.role_boundary_arn == "arn:aws-cn:iam::111111111111:policy/shop-testing.role-boundary"
    assert one.policy_arn("sample") == "arn:aws-cn:iam::111111111111:policy/shop-testing.policy-sample"
    assert one.arn("s3", "bucket/key", account="") == "arn:aws-cn:s3:::bucket/key"


def test_it_is_frozen() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        environment().account_id = "222222222222"  # type: ignore[misc]


def test_it_survives_the_way_to_another_process() -> None:
    one = environment(accepted_findings=[finding()], access={"profile": "p"})
    assert pickle.loads(pickle.dumps(one)) == one  # noqa: S301


@pytest.mark.parametrize(
    ("partition", "region"),
    [
        ("aws", "eu-west-1"),
        ("aws", "ap-southeast-4"),
        ("aws-us-gov", "us-gov-west-1"),
        ("aws-cn", "cn-northwest-1"),
    ],
)
def test_a_region_fits_its_partition(partition: str, region: str) -> None:
    assert environment(partition=partition, region=region).region == region


@pytest.mark.parametrize(
    ("partition", "region"),
    [("aws", "cn-north-1"), ("aws", "us-gov-west-1"), ("aws-cn", "eu-west-1"), ("aws-us-gov", "us-east-1")],
)
def test_a_region_of_another_partition_is_refused(partition: str, region: str) -> None:
    assert "partition" in refusals(partition=partition, region=region)["region"]


@pytest.mark.parametrize(
    "region", ["eu-wset-1", "eu-west-0", "EU-west-1", "eu-west", "eu-west-1a", "", "us-iso-east-1"]
)
def test_what_is_no_region_is_refused(region: str) -> None:
    assert "a region such as" in refusals(region=region)["region"]


@pytest.mark.parametrize(
    ("changes", "place"),
    [
        ({"access": {"role": {"arn": "arn:aws-cn:iam::111111111111:role/x"}}}, "access.role.arn"),
        ({"access": {"role": {"arn": "arn:aws:iam::222222222222:role/x"}}}, "access.role.arn"),
        ({"access": {"role": {"arn": "arn:aws:iam::111111111111:user/x"}}}, "access.role.arn"),
        ({"access": {"profile": "a\nb"}}, "access.profile"),
        (
            {"state": {"bucket": "b-b", "kms_key": "arn:aws:kms:eu-west-1:111111111111:alias/x"}},
            "state.kms_key",
        ),
        (
            {"state": {"bucket": "b-b", "kms_key": KEY.replace("eu-west-1", "eu-west-2") + "1"}},
            "state.kms_key",
        ),
        ({"state": {"bucket": "b-b", "region": "cn-north-1"}}, "state.region"),
        ({"state": {"bucket": "Bucket"}}, "state.bucket"),
        ({"state": {"bucket": "a..b"}}, "state.bucket"),
        ({"state": {"bucket": "10.0.0.1"}}, "state.bucket"),
        ({"state": {"bucket": "x-s3alias"}}, "state.bucket"),
        ({"state": {"bucket": "b-b", "key": "terraform.tfstate"}}, "state.key"),
        ({"state": {"bucket": "b-b", "key": "/a/b"}}, "state.key"),
        ({"state": {"bucket": "b-b", "key": "a/../b"}}, "state.key"),
        ({"state": {"bucket": "b-b", "key": "a/lease.json"}}, "state.key"),
        ({"state": {"bucket": "b-b", "use_lockfile": False}}, "state.use_lockfile"),
        ({"endpoint_url": "http://aws.example.com"}, "endpoint_url"),
        ({"endpoint_url": "https://user@aws.example.com"}, "endpoint_url"),
        ({"endpoint_url": "https://aws.example.com?x=1"}, "endpoint_url"),
        ({"endpoint_url": "ftp://127.0.0.1"}, "endpoint_url"),
        ({"endpoint_url": "http://127.0.0.1:99999"}, "endpoint_url"),
        ({"endpoint_url": "https://aws.example.com", "sandbox": True}, "endpoint_url"),
        ({"sandbox": True, "protected": True}, "protected"),
        ({"policies": []}, "policies"),
        ({"policies": [f"p{i}" for i in range(51)]}, "policies"),
        ({"policies": [{"arn": f"arn:aws:iam::111111111111:policy/p{i}"} for i in range(11)]}, "policies.10.arn"),
        ({"policies": [{"arn": "arn:aws:iam::222222222222:policy/p"}]}, "policies.0.arn"),
        ({"policies": ["a", {"arn": "arn:aws-cn:iam::aws:policy/ReadOnlyAccess"}]}, "policies.1.arn"),
        ({"policies": [{"arn": "arn:aws:iam::111111111111:policy/shop-other.policy-sample"}]}, "policies.0.arn"),
        ({"policies": [{"arn": "arn:aws:iam::111111111111:policy/shop-testing.boundary"}]}, "policies.0.arn"),
        ({"policies": [{"arn": "arn:aws:iam::aws:policy/AdministratorAccess"}]}, "policies.0.arn"),
        ({"policies": [{"arn": "arn:aws:iam::aws:policy/AdministratorAccess-Amplify"}]}, "policies.0.arn"),
        ({"policies": [{"arn": "arn:aws:iam::aws:policy/job-function/PowerUserAccess"}]}, "policies.0.arn"),
        ({"policies": [{"arn": "arn:aws:iam::111111111111:policy/mine/IAMFULLACCESS"}]}, "policies.0.arn"),
        ({"policies": [{"arn": "arn:aws:iam::111111111111:role/p"}]}, "policies.0.arn"),
        ({"policies": [{"arn": "arn:aws:iam::111111111111:policy/p*"}]}, "policies.0.arn"),
        ({"policies": [{"file": "../a.json"}]}, "policies.0.file"),
        ({"policies": [{"file": "/a.json"}]}, "policies.0.file"),
        ({"policies": [{"file": "a.yaml"}]}, "policies.0.file"),
        ({"policies": [{"file": "policies/.json"}]}, "policies.0.file"),
        ({"policies": [{"file": "A.json"}]}, "policies.0"),
        ({"policies": [{"file": "a.json", "name": "A"}]}, "policies.0.name"),
        ({"policies": [{"file": "a.json", "directory": "a"}]}, "policies.0"),
        ({"policies": [{"file": "a.json", "names": "a"}]}, "policies.0.names"),
        ({"policies": [{"name": "a"}]}, "policies.0"),
        ({"policies": [{"directory": "."}]}, "policies.0.directory"),
        ({"policies": ["a", {"file": "a.json"}]}, "policies.1"),
        ({"policies": [{"file": "x/a.json"}, {"file": "y/a.json"}]}, "policies.1"),
        ({"policies": ["a", "b", "a"]}, "policies.2"),
        ({"policies": ["../a"]}, "policies.0"),
        ({"secrets": []}, "secrets"),
        ({"secrets": [{"backend": "nowhere"}]}, "secrets.0.backend"),
        ({"secrets": [{"name": "x"}]}, "secrets.0.backend"),
        ({"secrets": ["aws-ssm"]}, "secrets.0"),
        ({"lock": {"ttl": "20s"}}, "lock.ttl"),
        ({"lock": {"ttl": "16m"}}, "lock.ttl"),
        ({"timeout": "7h"}, "timeout"),
        ({"verification": {"successes": 0}}, "verification.successes"),
        ({"verification": {"successes": True}}, "verification.successes"),
        ({"verification": {"successes": 20, "interval": "5s", "deadline": "60s"}}, "verification.deadline"),
        ({"rotation": {"rotate_after": "30m"}}, "rotation.rotate_after"),
        ({"rotation": {"rotate_after": "8d", "soak": "7d 1h"}}, "rotation.soak"),
        ({"rotation": {"rotate": "8d"}}, "rotation.rotate"),
        ({"audit": {"file": "../audit.jsonl"}}, "audit.file"),
        ({"audit": {"bucket": "yes"}}, "audit.bucket"),
        ({"version": 0}, "version"),
        ({"protected": "yes"}, "protected"),
        ({"application": "a" * 33}, "application"),
        ({"application": "shop", "name": "a" * 21}, "name"),
    ],
)
def test_what_does_not_fit_is_refused_at_its_place(changes: dict[str, Any], place: str) -> None:
    assert place in refusals(**changes)


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:4566", "http://localhost:1/x", "http://[::1]:80", "https://aws.example.com"]
)
def test_an_endpoint_is_https_or_on_this_machine(url: str) -> None:
    assert environment(endpoint_url=url).endpoint_url == url


def test_two_entries_do_not_take_one_file_from_each_other() -> None:
    first = {"backend": "age", "path": "a/key.age", "recipients": ["age1" + "q" * 58]}
    for second in ({"backend": "dotenv", "path": "./a/key.age"}, {**first, "recipients": ["age1" + "p" * 58]}):
        found = refusals(secrets=[{"backend": "aws-ssm", "name": "/a"}, first, second])
        assert "secrets.2.path" in found, found


def test_a_protected_environment_refuses_a_local_file() -> None:
    items = [{"backend": "aws-secrets-manager", "name": "a"}, {"backend": "dotenv", "path": "x.env"}]
    assert refusals(secrets=items, protected=True).keys() == {"secrets.1.backend"}
    assert len(environment(secrets=items).secrets) == 2


@pytest.mark.parametrize("path", ["/etc/x.env", "a\nb.env", "../x.env", "a/../../x.env", "~/x.env"])
def test_a_path_out_of_the_repository_is_refused(path: str) -> None:
    items = [{"backend": "aws-secrets-manager", "name": "a"}, {"backend": "dotenv", "path": path}]
    assert any(place.startswith("secrets.1") for place in refusals(secrets=items))


def test_a_symlink_out_of_the_repository_is_not_followed(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (root / "out").symlink_to(tmp_path)
    (root / "in").mkdir()
    one = environment(root=root)
    assert one.path("in/x.env") == root / "in" / "x.env"
    with pytest.raises(ValueError, match="a symlink leads out"):
        one.path("out/x.env")


@pytest.mark.parametrize(
    ("tags", "wanted"),
    [
        ({"aws:x": "y"}, "AWS's own"),
        ({"AWS:x": "y"}, "AWS's own"),
        ({"ci-user:x": "y"}, "the tool's own"),
        ({"": "y"}, "1 to 128"),
        ({"k" * 129: "y"}, "1 to 128"),
        ({"k": "v" * 257}, "at most 256"),
        ({"k": '{"json": 1}'}, "at most 256"),
        ({"k<": "v"}, "1 to 128"),
        ({"k": "v", "K": "v"}, "upper and lower case"),
        ({f"k{i}": "v" for i in range(41)}, "at most 40"),
    ],
)
def test_tags_follow_iams_rules(tags: dict[str, str], wanted: str) -> None:
    assert any(wanted in text for text in refusals(tags=tags).values())


def test_tags_may_be_in_any_language() -> None:
    tags = {"Küche 1": "日本 a_.:/=+-@", "empty": ""}
    assert environment(tags=tags).tags == tags


def test_an_accepted_finding_names_one_or_more_checks() -> None:
    one = environment(accepted_findings=[finding(), finding(check=["CKV_AWS_1", "CKV_AWS_2"])])
    assert [f.check for f in one.accepted_findings] == [("CKV_AWS_273",), ("CKV_AWS_1", "CKV_AWS_2")]


@pytest.mark.parametrize("expires", ["2027-11-24", "2026-11-24", "2020-01-01", date(2027, 1, 31)])
def test_a_day_up_to_365_days_away_or_long_past_loads(expires: object) -> None:
    assert environment(accepted_findings=[finding(expires=expires)]).accepted_findings


@pytest.mark.parametrize(
    "expires",
    [
        "2027-11-25",
        "9999-12-31",
        "never",
        "2027-02-30",
        "20270131",
        "2027-1-1",
        "soon",
        "",
        20270131,
        None,
        "2027-W01-1",
    ],
)
def test_a_later_day_or_none_is_refused(expires: object) -> None:
    assert refusals(accepted_findings=[finding(expires=expires)]).keys() == {"accepted_findings.0.expires"}


def test_a_sandbox_may_accept_for_ever() -> None:
    (one,) = environment(sandbox=True, accepted_findings=[finding(expires="never")]).accepted_findings
    assert not one.expired(date.max)


def test_a_finding_expires_after_its_last_day() -> None:
    (one,) = environment(accepted_findings=[finding(expires="2026-11-24")]).accepted_findings
    assert not one.expired(TODAY)
    assert one.expired(TODAY + timedelta(days=1))


@pytest.mark.parametrize(
    ("changes", "place"),
    [
        ({"reason": "short"}, "reason"),
        ({"reason": " " * 20}, "reason"),
        ({"owner": ""}, "owner"),
        ({"check": []}, "check"),
        ({"check": "ckv_aws_1"}, "check.0"),
        ({"check": "*"}, "check.0"),
        ({"resource": "*"}, "resource"),
        ({"resource": 'module.a["x\ny"].aws_iam_policy.this'}, "resource"),
        ({"resource": "module.x"}, None),
        ({"resource": 'module.a["x y"].aws_iam_policy.this[0]'}, None),
        ({"resource": "aws_iam_user.this or more"}, "resource"),
    ],
)
def test_an_acceptance_says_exactly_what_and_why(changes: dict[str, Any], place: str | None) -> None:
    if place is None:
        assert environment(accepted_findings=[finding(**changes)])
    else:
        assert refusals(accepted_findings=[finding(**changes)]).keys() == {f"accepted_findings.0.{place}"}


def test_a_finding_is_accepted_once() -> None:
    assert "accepted_findings.1.check" in refusals(accepted_findings=[finding(), finding(check=["CKV_AWS_273"])])


def test_problems_of_different_parts_come_together() -> None:
    found = refusals(
        region="cn-north-1",
        state={"bucket": "b-b", "kms_key": KEY.replace("aws", "aws-cn") + "1"},
        tags={"aws:x": "y"},
        accepted_findings=[finding(expires="never"), finding(check="X")],
    )
    assert {"region", "state.kms_key", "tags.aws:x", "accepted_findings.1.check.0"} <= found.keys()


def test_the_boundary_guards_the_environments_own_things_and_its_neighbours() -> None:
    mine = environment(
        state={"bucket": "mine", "kms_key": KEY + "1"},
        secrets=[{"backend": "aws-secrets-manager", "name": "s1"}, {"backend": "aws-ssm", "name": "/p1"}],
    )
    neighbour = environment(
        name="staging",
        state={"bucket": "next", "kms_key": KEY + "2"},
        secrets=[{"backend": "aws-secrets-manager", "name": "s2", "kms_key": KEY + "3"}],
    )
    elsewhere = environment(name="prod", account_id="2" * 12, state={"bucket": "far"})
    shared = environment(name="dev", account_id="3" * 12, state={"bucket": "shared", "account_id": "1" * 12})
    found = guarded(mine, [shared, neighbour, elsewhere, mine])
    assert found.state_buckets == ("arn:aws:s3:::mine", "arn:aws:s3:::next", "arn:aws:s3:::shared")
    assert [arn.split(":secret:")[1][:2] for arn in found.secret_names] == ["s1", "s2"]
    assert found.parameter_arns
    assert all(arn.startswith("arn:aws:ssm:eu-west-1:111111111111:parameter/p1") for arn in found.parameter_arns)
    assert found.kms_keys == (KEY + "1", KEY + "2", KEY + "3")
    assert found == guarded(mine, [neighbour, shared])


def other(name: str, application: str = "shop", **changes: Any) -> Environment:
    secrets = [{"backend": "aws-secrets-manager", "name": f"{application}/{name}"}]
    return environment(**{"name": name, "application": application, "secrets": secrets, **changes})


@pytest.mark.parametrize(
    ("one", "two", "text"),
    [
        (other("prod-eu"), other("eu", "shop-prod"), "the prefix shop-prod-eu"),
        (other("prod"), other("prod-eu"), "nested at a hyphen in account 111111111111"),
        (other("a"), other("b", state={"bucket": "states", "key": "shop/a/x"}), "shares its folder"),
        (other("a"), other("b", state={"bucket": "states", "key": "shop/a/b/x"}), "shares its folder"),
        (
            other("a"),
            other("b", secrets=[{"backend": "aws-secrets-manager", "name": "shop/a"}]),
            "delivers to",
        ),
    ],
)
def test_two_files_that_would_share_something_are_an_error_that_names_both(
    one: Environment, two: Environment, text: str
) -> None:
    for pair in ([one, two], [two, one]):
        (problem,) = collisions(pair)
        assert text in problem
        assert f"environments/{one.name}.yaml" in problem
        assert f"environments/{two.name}.yaml" in problem


def test_one_file_that_delivers_twice_to_one_place_is_an_error() -> None:
    item = {"backend": "aws-secrets-manager", "name": "a"}
    (problem,) = collisions([environment(secrets=[item, item])])
    assert "environments/testing.yaml: secrets[1]" in problem


def test_the_same_prefix_in_two_accounts_is_no_collision() -> None:
    assert not collisions([other("prod"), other("prod-eu", account_id="2" * 12), other("production")])


@pytest.mark.parametrize("field", ["access", "check_access"])
def test_a_role_of_another_account_or_partition_is_refused_for_deploys_and_checks(field: str) -> None:
    own, other = (f"arn:aws:iam::{account}:role/ci" for account in (environment().account_id, "999999999999"))
    assert getattr(environment(**{field: {"role": {"arn": own}}}), field).role.arn == own
    assert list(refusals(**{field: {"role": {"arn": other}}})) == [f"{field}.role.arn"]
    assert list(refusals(**{field: {"role": {"arn": own.replace(":aws:", ":aws-cn:")}}})) == [f"{field}.role.arn"]


def test_a_check_gets_in_as_a_deploy_does_unless_the_file_says_otherwise() -> None:
    assert environment(access={"profile": "deployer"}).check_access is None
    both = environment(access={"profile": "deployer"}, check_access={"profile": "reader"})
    assert both.access is not None
    assert both.check_access is not None
    assert (both.access.profile, both.check_access.profile) == ("deployer", "reader")
    # An empty one is the ambient login, whatever a deploy uses.
    ambient = environment(access={"profile": "deployer"}, check_access={}).check_access
    assert ambient is not None
    assert (ambient.profile, ambient.role) == (None, None)

"""Every change in AWS that a plan or an audit could see changes the digest of the facts: what is unchanged needs no plan."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from ci_user.nightly.account import AccountReading
from ci_user.nightly.facts import read
from tests.mutations import MUTATIONS, NO_COUNTERPART, Mutation
from tests.unit.nightly import identities

if TYPE_CHECKING:
    from ci_user.nightly.facts_model import Facts
    from ci_user.toolchain import Toolchain
    from tests.conftest import EmbeddedAws

DOCUMENT = '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:PutObject","Resource":"*"}]}'
TAGS = [{"Key": "Team", "Value": "shop"}]


@pytest.fixture(scope="module")
def attributes(root: Path, toolchain: Toolchain, tmp_path_factory: pytest.TempPathFactory) -> frozenset[str]:
    """Every attribute of every resource type in terraform/, as the locked provider's schema has them."""
    types = {
        found
        for path in (root / "terraform").rglob("*.tf")
        for found in re.findall(r'^resource "(\w+)"', path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    }
    assert len(types) == 9
    directory = tmp_path_factory.mktemp("schema")
    # The same provider without the backend, which wants its settings.
    versions = (root / "terraform" / "versions.tf").read_text(encoding="utf-8")
    (directory / "versions.tf").write_text(versions.replace('backend "s3" {}', ""), encoding="utf-8")
    shutil.copy(root / "terraform" / ".terraform.lock.hcl", directory)
    environment = {"PATH": "/usr/bin:/bin", "CHECKPOINT_DISABLE": "1", "HOME": str(directory)}
    if toolchain.cli_config:
        environment["TF_CLI_CONFIG_FILE"] = str(toolchain.cli_config)

    def terraform(*arguments: str) -> str:
        command = [str(toolchain.terraform), f"-chdir={directory}", *arguments]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=120).stdout

    terraform("init", "-lockfile=readonly", "-input=false")
    (provider,) = json.loads(terraform("providers", "schema", "-json"))["provider_schemas"].values()
    return frozenset(f"{kind}.{name}" for kind in types for name in _names(provider["resource_schemas"][kind]["block"]))


def _names(block: Mapping[str, Any]) -> set[str]:
    """Return a block's attributes, and those of the blocks in it."""
    nested = {f"{name}.{inner}" for name, one in block.get("block_types", {}).items() for inner in _names(one["block"])}
    return {*block.get("attributes", {}), *nested}


def test_every_attribute_can_be_changed_by_a_mutation_or_has_no_counterpart_in_aws(
    attributes: frozenset[str],
) -> None:
    covered = {attribute for mutation in MUTATIONS for attribute in mutation.covers}
    assert attributes - covered - NO_COUNTERPART.keys() == set(), "neither changed nor explained"
    assert (covered | NO_COUNTERPART.keys()) - attributes == set(), "no attribute any more"
    assert covered & NO_COUNTERPART.keys() == set(), "changed, so it has a counterpart"
    assert all(NO_COUNTERPART.values())


class World:
    """An environment as Terraform makes it, in the worker's account."""

    def __init__(self, aws: EmbeddedAws) -> None:
        self.aws = aws
        self.environment = identities.environment(
            application=f"s{uuid.uuid4().hex[:10]}", account_id=aws.account_id, region=aws.region
        )
        self.iam = aws.client("iam")
        self._deploy()

    def _deploy(self) -> None:
        environment, iam = self.environment, self.iam
        for arn in (environment.boundary_arn, environment.role_boundary_arn, environment.policy_arn("sample")):
            iam.create_policy(
                PolicyName=arn.rpartition("/")[2], PolicyDocument=DOCUMENT, Description="Managed.", Tags=TAGS
            )
        name, group = environment.user_name, environment.group_name
        iam.create_user(UserName=name, PermissionsBoundary=environment.boundary_arn, Tags=TAGS)
        iam.create_group(GroupName=group)
        iam.attach_group_policy(GroupName=group, PolicyArn=environment.policy_arn("sample"))
        iam.add_user_to_group(UserName=name, GroupName=group)

    def facts(self) -> Facts:
        return read(self.environment, AccountReading(self.aws.access, [self.environment.prefix]))


@pytest.fixture(scope="module")
def world(aws: EmbeddedAws) -> World:
    return World(aws)


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_each_change_changes_the_digest(world: World, mutation: Mutation) -> None:
    before = world.facts()
    undo = mutation.apply(world.aws.client, world.environment)
    try:
        assert world.facts().digest != before.digest
    finally:
        mutation.undo(world.aws.client, world.environment, undo)
    after = world.facts()
    assert after.policies.keys() == before.policies.keys()
    assert (after.groups, after.roles, after.lent) == (before.groups, before.roles, before.lent)


def test_two_looks_at_the_same_things_give_the_same_digest(world: World) -> None:
    assert world.facts().digest == world.facts().digest


def test_what_changes_by_itself_or_is_judged_every_night_leaves_the_digest_as_it_is(world: World) -> None:
    name, before = world.environment.user_name, world.facts()
    key = world.iam.create_access_key(UserName=name)["AccessKey"]["AccessKeyId"]
    world.iam.tag_user(UserName=name, Tags=[{"Key": "ci-user:rotated", "Value": "today"}])
    world.iam.create_login_profile(UserName=name, Password="a-Long-enough-1-password")
    after = world.facts()
    world.iam.delete_login_profile(UserName=name)
    world.iam.untag_user(UserName=name, TagKeys=["ci-user:rotated"])
    world.iam.delete_access_key(UserName=name, AccessKeyId=key)
    assert after.digest == before.digest
    assert [one.id for one in after.keys] == [key]
    assert [one.kind for one in after.ways_in] == ["console password"]

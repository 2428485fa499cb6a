"""A fleet in the embedded AWS: one environment is deployed, and the others are made as that deployment left it.

Terraform would take hours for a thousand. What it left, the state too, is made again for each of them with its own names,
documents and ids, so that a plan of any of them finds nothing to do.
"""

from __future__ import annotations

import datetime as dt
import json
import os
import secrets
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import yaml

from ci_user.nightly.records import FILE
from tests.conftest import EmbeddedAws
from tests.project import ROOT, Project

if TYPE_CHECKING:
    from ci_user.credentials import AwsAccess
    from ci_user.environment import Environment
    from ci_user.nightly.selection import Fleet
    from ci_user.run import Loaded

ROLE: Final = "ci-nightly"
_MODEL: Final = "model"
_AT_ONCE: Final = 4
_ALLOWS: Final = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}


@dataclass(frozen=True)
class Place:
    """Where an environment is: its name, its account, and whether a role is assumed there."""

    name: str
    account_id: str
    with_role: bool = False


@dataclass
class World:
    """A project and the embedded AWS that its environments are in.

    Args:
        aws: The embedded AWS; its administrator is who runs the checks.
        project: The project.
        endpoint_url: What the environments' files name.
    """

    aws: EmbeddedAws
    project: Project
    endpoint_url: str
    _state: dict[str, Any] = field(default_factory=dict)
    _record: str = ""

    @classmethod
    def made(cls, aws: EmbeddedAws, root: Path, endpoint_url: str) -> World:
        """Copy the project, and give it its tools: Terraform, and the provider from this machine's mirror."""
        from ci_user.toolchain import find

        toolchain = find(ROOT, os.environ, allow_system_mirror=True)
        project = Project.copied_to(root)
        project.environ |= aws.exports() | {"AWS_ENDPOINT_URL": endpoint_url, "CHECKPOINT_DISABLE": "1"}
        project.environ["PATH"] = f"{toolchain.terraform.parent}{os.pathsep}{project.environ['PATH']}"
        if toolchain.cli_config is not None:
            project.environ["TF_CLI_CONFIG_FILE"] = str(toolchain.cli_config)
        return cls(aws, project, endpoint_url)

    def deploy_model(self) -> None:
        """Deploy and check one environment; keep the state that Terraform wrote, and the record. Its file goes."""
        place = Place(_MODEL, self.aws.account_id)
        self.bucket(place.account_id, self.aws.access)
        file = self.write(place)
        done = self.project.invoke("deploy", "--env", _MODEL, "--yes")
        if done.code != 0:
            sys.exit(done.text)
        stored = self.aws.client("s3").get_object(
            Bucket=_bucket(place.account_id), Key=f"shop/{_MODEL}/terraform.tfstate"
        )
        self._state = json.loads(stored["Body"].read())
        out = self.project.root / "out"
        done = self.project.invoke("check", "--env", _MODEL, "--full", "--out", str(out))
        if done.code != 0:
            sys.exit(done.text)
        self._record = json.dumps(json.loads((out / FILE).read_text())["environments"][_MODEL])
        file.unlink()

    def record_of(self, environment: Environment) -> str:
        """Return what a plan of an environment would find, as a record in JSON: what that of the model found."""
        return self._renamed(self._record, environment)

    def _renamed(self, text: str, environment: Environment) -> str:
        """Return what was written of the model as it would be of another environment."""
        for was, now in (
            (f"shop-{_MODEL}", environment.prefix),
            (f"shop/{_MODEL}", f"shop/{environment.name}"),
            (f'"{_MODEL}"', f'"{environment.name}"'),
            (self.aws.account_id, environment.account_id),
        ):
            text = text.replace(was, now)
        return text

    def beside(self, root: Path) -> World:
        """Return another project in the same AWS, with the same model."""
        project = Project.copied_to(root)
        project.environ = dict(self.project.environ)
        return World(self.aws, project, self.endpoint_url, self._state, self._record)

    def write(self, place: Place) -> Path:
        """Write an environment's file; what user and boundary need accepted is what the shipped file for testing says.

        Policies that reach what knows neither names nor tags would be findings: the environments share accounts.
        """
        shipped = yaml.safe_load((ROOT / "environments" / "testing.yaml").read_text())
        accepted = [one for one in shipped["accepted_findings"] if one["resource"].startswith("module.ci_user.")]
        role = f"arn:aws:iam::{place.account_id}:role/{ROLE}"
        return self.project.write(
            place.name,
            account_id=place.account_id,
            endpoint_url=self.endpoint_url,
            access={"role": {"arn": role}} if place.with_role else None,
            policies=["lambda-api"],
            state={"bucket": _bucket(place.account_id)},
            secrets=[{"backend": "aws-secrets-manager", "name": f"ci-user/shop/{place.name}"}],
            tags={"team": "platform"},
            accepted_findings=accepted,
            verification={"successes": 2, "interval": "10ms", "deadline": "5s", "lag": "0s"},
        )

    def add(self, places: Sequence[Place]) -> Fleet:
        """Write the files of environments, and make in AWS what a deployment of each would have left.

        An account's environments come together: what their boundaries guard depends on all of them.
        """
        from ci_user.nightly.selection import Fleet
        from ci_user.run import Loaded

        for place in places:
            self.write(place)
        fleet = Fleet.load(self.project.root)
        if fleet.broken:
            sys.exit(str(next(iter(fleet.broken.values()))))
        accounts = {place.account_id: place.with_role for place in places}
        ways = dict(zip(accounts, map(self._account, accounts, accounts.values()), strict=True))
        every = [Loaded(fleet.root, fleet.environments[place.name], fleet.siblings(place.name)) for place in places]
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            for _ in pool.map(lambda one: self._deployed(one, ways[one.environment.account_id]), every):
                pass
        return fleet

    def bucket(self, account_id: str, access: AwsAccess) -> None:
        """Make an account's state bucket."""
        from ci_user.state_bucket import StateBucket

        StateBucket(access, _bucket(account_id), account_id, self.aws.region, "aws", None).bootstrap()

    def root_of(self, account_id: str) -> AwsAccess:
        """Return the way in of an account's root: the embedded AWS takes an account's number for the key of its root."""
        from botocore.session import Session

        from ci_user.credentials import AwsAccess

        session = Session()
        session.set_credentials(account_id, "test")
        return AwsAccess(
            session,
            account_id=account_id,
            region=self.aws.region,
            partition="aws",
            endpoint_url=self.aws.endpoint_url,
            loopback=True,
        )

    def _account(self, account_id: str, with_role: bool) -> AwsAccess:
        """Return the way in of an account's root, after the account has its state bucket and, where wanted, its role."""
        access = self.root_of(account_id)
        self.bucket(account_id, access)
        if with_role:
            trust = {"Effect": "Allow", "Principal": {"AWS": f"arn:aws:iam::{self.aws.account_id}:root"}}
            document = {"Version": "2012-10-17", "Statement": [{**trust, "Action": "sts:AssumeRole"}]}
            iam = access.client("iam")
            iam.create_role(RoleName=ROLE, AssumeRolePolicyDocument=json.dumps(document))
            iam.put_role_policy(RoleName=ROLE, PolicyName="all", PolicyDocument=json.dumps(_ALLOWS))
        return access

    def _deployed(self, loaded: Loaded, access: AwsAccess) -> None:
        """Make what a deployment of an environment leaves: what Terraform makes, the state of that, and a delivered key."""
        environment = loaded.environment
        ids = _identity(loaded, access)
        bodies = {
            environment.state.key: json.dumps(self._state_of(loaded, ids)).encode(),
            environment.state.lease_key: _key(environment, access),
        }
        for key, body in bodies.items():
            access.client("s3").put_object(Bucket=environment.state.bucket, Key=key, Body=body)

    def _state_of(self, loaded: Loaded, ids: Mapping[str, str]) -> dict[str, Any]:
        """Return the model's state as that of another environment.

        Args:
            loaded: The environment.
            ids: What AWS calls the things made, by their ARN.
        """
        environment = loaded.environment
        state: dict[str, Any] = json.loads(self._renamed(json.dumps(self._state), environment))
        state["lineage"] = secrets.token_hex(16)
        documents = _documents(loaded)
        for resource in state["resources"]:
            for instance in resource["instances"]:
                attributes = instance["attributes"]
                for name in ("policy_id", "unique_id"):
                    if name in attributes:
                        attributes[name] = ids[attributes["arn"]]
                if "policy" in attributes:
                    attributes["policy"] = documents[attributes["name"]]
        return state


def _bucket(account_id: str) -> str:
    return f"ci-user-state-{account_id}"


def _documents(loaded: Loaded) -> dict[str, str]:
    """Return the policies that Terraform makes, by name."""
    prefix = loaded.environment.prefix
    values = loaded.tfvars.values
    packs = {f"{prefix}.policy-{name}": str(document) for name, document in values["policies"].items()}
    return {
        **packs,
        f"{prefix}.boundary": str(values["boundary"]),
        f"{prefix}.role-boundary": str(values["role_boundary"]),
    }


def _identity(loaded: Loaded, access: AwsAccess) -> dict[str, str]:
    """Make the policies, the group and the user; return AWS's ids of them by ARN."""
    environment, iam = loaded.environment, access.client("iam")
    tags = [{"Key": name, "Value": value} for name, value in environment.tags.items()]
    described = {
        f"{environment.prefix}.boundary": "Managed by ci-user: the most that the CI user can ever do.",
        f"{environment.prefix}.role-boundary": "Managed by ci-user: the most that a role made by the pipeline can ever do.",
    }
    ids: dict[str, str] = {}
    arns: dict[str, str] = {}
    for name, document in _documents(loaded).items():
        made = iam.create_policy(
            PolicyName=name,
            PolicyDocument=document,
            Tags=tags,
            Description=described.get(name, "Managed by ci-user: what a CI/CD pipeline may do."),
        )["Policy"]
        ids[made["Arn"]], arns[name] = made["PolicyId"], made["Arn"]
    group = iam.create_group(GroupName=environment.group_name)["Group"]
    user = iam.create_user(
        UserName=environment.user_name, PermissionsBoundary=arns[f"{environment.prefix}.boundary"], Tags=tags
    )["User"]
    for name in set(arns) - set(described):
        iam.attach_group_policy(GroupName=environment.group_name, PolicyArn=arns[name])
    iam.add_user_to_group(GroupName=environment.group_name, UserName=environment.user_name)
    return {**ids, group["Arn"]: group["GroupId"], user["Arn"]: user["UserId"]}


def _key(environment: Environment, access: AwsAccess) -> bytes:
    """Make an access key and the secret that holds it, as the tool does; return the lease object that says so."""
    from ci_user.backends.aws import owner_tags, version_id
    from ci_user.journal import Journal, KeyRecord
    from ci_user.lease_document import LeaseDocument

    key = access.client("iam").create_access_key(UserName=environment.user_name)["AccessKey"]
    (settings,) = environment.places
    document = {
        "AWS_ACCESS_KEY_ID": key["AccessKeyId"],
        "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"],
        "AWS_REGION": environment.region,
    }
    keeper, name = access.client("secretsmanager"), f"ci-user/shop/{environment.name}"
    # The embedded AWS gives the first version an id of its own.
    keeper.create_secret(
        Name=name,
        Description=f"Access key of the CI user {environment.prefix}.ci, kept by ci-user",
        SecretString="{}",
        Tags=owner_tags(environment),
    )
    keeper.put_secret_value(
        SecretId=name, SecretString=json.dumps(document), ClientRequestToken=version_id(key["AccessKeyId"])
    )
    # While a journal is fresh, a check judges less.
    now = dt.datetime.now(tz=dt.UTC) - dt.timedelta(hours=1)
    record = KeyRecord(
        key["AccessKeyId"],
        secrets.token_hex(16),
        "delivered",
        dict.fromkeys(("minted", "staged", "verified", "delivered"), now),
        {settings.target(environment): now},
    )
    return LeaseDocument.new(None, Journal().with_key(record)).render()


def accounts(count: int, each: int, *, first: int = 100_000_000_000) -> Iterator[Place]:
    """Yield environments with a role to assume, ``each`` in each of ``count`` accounts."""
    for account in range(count):
        for number in range(each):
            yield Place(f"a{account:02d}-e{number:02d}", str(first + account), with_role=True)

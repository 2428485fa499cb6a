"""One environment, as a frozen value: everything that a deploy is told, and nothing that it finds out."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path, PurePosixPath
from typing import Annotated, Final

from pydantic import (
    BeforeValidator,
    Field,
    SerializeAsAny,
    Strict,
    ValidationInfo,
    field_validator,
)

from ci_user import naming
from ci_user.accepted_finding import AcceptedFinding
from ci_user.backends.protocol import BackendSettings
from ci_user.durations import Duration, between
from ci_user.environment_fields import (
    AccountId,
    ApplicationName,
    EnvironmentName,
    Model,
    Partition,
    Problem,
    Region,
    Url,
    expected,
    inside,
    refuse,
)
from ci_user.environment_parts import Access, Audit, Lock, Role, Rotation, State, Tags, Verification
from ci_user.environment_policies import MOST, PolicyChoice, clashes, unattachable
from ci_user.known_drift import KnownDrift, misplaced
from ci_user.partitions import fitting_region, misfits

__all__ = [
    "VERSION",
    "AcceptedFinding",
    "Access",
    "Audit",
    "Environment",
    "KnownDrift",
    "Lock",
    "Role",
    "Rotation",
    "State",
    "Verification",
]

VERSION: Final = 1
"""The newest ``version`` of environment files that this code reads."""


def _settings(value: object, info: ValidationInfo) -> object:
    from ci_user.backends import entry

    return entry.read(value, info)


class Environment(Model):
    """One file of ``environments/``, checked.

    ``name`` is the file's name and ``root`` the repository; neither is in the YAML. Validation takes a
    context: ``today`` (a date, for the 365 days of accepted findings and known drift) and ``root`` (for paths).
    """

    name: EnvironmentName
    root: Path = Field(default=Path(), exclude=True, repr=False)
    version: Annotated[int, Field(ge=1, le=VERSION, json_schema_extra={"const": VERSION})] = Field(
        description="The version of this file's format: 1."
    )
    application: ApplicationName = Field(description="The application; with the environment it starts every name.")
    partition: Partition = Field(default="aws", description="aws, aws-us-gov or aws-cn; must fit the region.")
    account_id: AccountId = Field(description="The account, in quotes; credentials of any other are refused.")
    region: Region = Field(description="The region that the pipeline deploys to.")
    sandbox: bool = Field(default=False, description="true: everything goes to the embedded AWS.")
    protected: bool = Field(
        default=False, description="true: deploy and destroy want the name typed or a plan approved."
    )
    endpoint_url: Url | None = Field(
        default=None, description="Another address for every AWS service; https, or http to loopback."
    )
    access: Access | None = Field(default=None, description="How to get into the account.")
    check_access: Access | None = Field(
        default=None,
        description="How `invoke check` gets into the account: a login that may only read. Else as `access`.",
    )
    policies: Annotated[tuple[PolicyChoice, ...], Strict(False), Field(min_length=1, max_length=MOST)] = Field(
        description="What the pipeline may do: policies of terraform/policies, files and directories of your own, ARNs."
    )
    state: State = Field(description="Where Terraform's state lives.")
    secrets: Annotated[
        tuple[Annotated[SerializeAsAny[BackendSettings], BeforeValidator(_settings)], ...],
        Strict(False),
        Field(min_length=1, max_length=20),
    ] = Field(description="Where the access key goes. Where none can be read back, a stage in Secrets Manager is kept.")
    tags: Tags = Field(default={}, description="Tags on everything that is made, at most 40.")
    lock: Lock = Field(default=Lock(), description="The lease that keeps two runs apart.")
    verification: Verification = Field(default=Verification(), description="When a new key counts as working.")
    rotation: Rotation = Field(default=Rotation(), description="When keys are renewed and old ones go.")
    audit: Audit = Field(default=Audit(), description="Where every act on a key is recorded.")
    timeout: Annotated[Duration, between(timedelta(seconds=10), timedelta(hours=6))] = Field(
        default=timedelta(minutes=15),
        description="The longest that one Terraform command may take, 10s to 6h.",
    )
    accepted_findings: Annotated[tuple[AcceptedFinding, ...], Strict(False), Field(max_length=200)] = Field(
        default=(), description="Findings that may stay, each with reason, owner and last day."
    )
    known_drift: Annotated[tuple[KnownDrift, ...], Strict(False), Field(max_length=200)] = Field(
        default=(), description="Drift that may stay, each with reason, owner and last day."
    )

    @field_validator("region")
    @classmethod
    def _region_fits(cls, value: str, info: ValidationInfo) -> str:
        return fitting_region(value, info.data.get("partition"))

    @field_validator("protected")
    @classmethod
    def _no_protected_sandbox(cls, value: bool, info: ValidationInfo) -> bool:
        if value and info.data.get("sandbox"):
            raise expected("false: a sandbox cannot be protected")
        return value

    @field_validator("endpoint_url")
    @classmethod
    def _no_endpoint_of_a_sandbox(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value is not None and info.data.get("sandbox"):
            raise expected("no endpoint_url: a sandbox has the embedded AWS")
        return value

    @field_validator("access", "check_access")
    @classmethod
    def _access_fits(cls, value: Access | None, info: ValidationInfo) -> Access | None:
        refuse(misfits(value, info.data.get("partition")))
        if value is not None and value.role is not None and "account_id" in info.data:
            account = value.role.arn.split(":")[4]
            if account != info.data["account_id"]:
                refuse([(("role", "arn"), f"a role in account {info.data['account_id']}", value.role.arn)])
        return value

    @field_validator("policies")
    @classmethod
    def _policies_fit(cls, value: tuple[PolicyChoice, ...], info: ValidationInfo) -> tuple[PolicyChoice, ...]:
        refuse(clashes(value) + unattachable(value, info.data.get("account_id"), info.data.get("partition")))
        return value

    @field_validator("state")
    @classmethod
    def _state_complete(cls, value: State, info: ValidationInfo) -> State:
        refuse(misfits(value, info.data.get("partition")))
        filled = {"region": info.data.get("region", ""), "account_id": info.data.get("account_id", "")}
        if "application" in info.data and "name" in info.data:
            filled["key"] = f"{info.data['application']}/{info.data['name']}/terraform.tfstate"
        value = value.model_copy(update={key: text for key, text in filled.items() if not getattr(value, key)})
        if value.kms_key is not None and value.region and value.kms_key.split(":")[3] != value.region:
            refuse([(("kms_key",), f"a key in the bucket's region {value.region}", value.kms_key)])
        return value

    @field_validator("secrets")
    @classmethod
    def _secrets_fit(cls, value: tuple[BackendSettings, ...], info: ValidationInfo) -> tuple[BackendSettings, ...]:
        problems: list[Problem] = []
        files: set[PurePosixPath] = set()
        for index, item in enumerate(value):
            path = getattr(item, "path", None)
            if path is not None and item.backend in ("age", "dotenv"):
                if PurePosixPath(path) in files:
                    problems.append(((index, "path"), "another file: two entries would take it from each other", path))
                files.add(PurePosixPath(path))
            key, region = (
                getattr(item, "kms_key", None),
                getattr(item, "region", None) or info.data.get("region"),
            )
            if key and region and key.split(":")[3] != region:
                problems.append(((index, "kms_key"), f"a key in the secret's region {region}", key))
            problems += [
                ((index, *place), text, found) for place, text, found in misfits(item, info.data.get("partition"))
            ]
            if info.data.get("protected") and not item.allowed_in_protected:
                problems.append(
                    (
                        (index, "backend"),
                        "another backend: this one is not for protected environments",
                        item.backend,
                    )
                )
        refuse(problems)
        return value

    @field_validator("accepted_findings")
    @classmethod
    def _acceptable(cls, value: tuple[AcceptedFinding, ...], info: ValidationInfo) -> tuple[AcceptedFinding, ...]:
        problems: list[Problem] = []
        seen: set[tuple[str, str]] = set()
        for index, item in enumerate(value):
            if item.expires == "never" and not info.data.get("sandbox", True):
                problems.append(
                    ((index, "expires"), "a date at most 365 days away; never is for sandboxes only", "never")
                )
            for check in item.check:
                if (check, item.resource) in seen:
                    problems.append(((index, "check"), "each check once per resource", check))
                seen.add((check, item.resource))
        refuse(problems)
        return value

    @field_validator("known_drift")
    @classmethod
    def _known(cls, value: tuple[KnownDrift, ...], info: ValidationInfo) -> tuple[KnownDrift, ...]:
        refuse(misplaced(value, sandbox=info.data.get("sandbox", True)))
        return value

    @property
    def prefix(self) -> str:
        """``application-name``: how everything that the pipeline makes starts."""
        return naming.prefix(self.application, self.name)

    @property
    def kept_stage(self) -> BackendSettings | None:
        """The Secrets Manager secret that a key is staged in where no backend of `secrets` can be read back, else None.

        It lies in the folder that every boundary of the tool denies to CI users.
        """
        if any(settings.readable for settings in self.secrets):
            return None
        from ci_user.backends import settings_model

        name = f"ci-user/{self.application}/{self.name}.stage"
        model = settings_model("aws-secrets-manager")
        return model.model_validate(
            {"backend": "aws-secrets-manager", "name": name, "recovery_days": 0 if self.sandbox else 7}
        )

    @property
    def places(self) -> tuple[BackendSettings, ...]:
        """Every place that the key goes to: `secrets`, behind the kept stage where there is one."""
        stage = self.kept_stage
        return self.secrets if stage is None else (stage, *self.secrets)

    @property
    def user_name(self) -> str:
        """The CI user's name."""
        return naming.user_name(self.prefix)

    @property
    def group_name(self) -> str:
        """The name of the CI user's group of one."""
        return naming.group_name(self.prefix)

    @property
    def user_arn(self) -> str:
        """The CI user's ARN."""
        return self.arn("iam", f"user/{self.user_name}")

    @property
    def group_arn(self) -> str:
        """The group's ARN."""
        return self.arn("iam", f"group/{self.group_name}")

    @property
    def boundary_arn(self) -> str:
        """The ARN of the CI user's permissions boundary."""
        return self.arn("iam", f"policy/{naming.boundary_name(self.prefix)}")

    @property
    def role_boundary_arn(self) -> str:
        """The ARN of the boundary for roles that the pipeline makes."""
        return self.arn("iam", f"policy/{naming.role_boundary_name(self.prefix)}")

    @property
    def file(self) -> Path:
        """The environment's own file."""
        return self.root / "environments" / f"{self.name}.yaml"

    def policy_arn(self, policy: str) -> str:
        """Return the ARN of the managed policy made from `policy`."""
        return self.arn("iam", f"policy/{naming.policy_name(self.prefix, policy)}")

    def arn(self, service: str, resource: str, region: str = "", account: str | None = None) -> str:
        """Return an ARN in this environment's partition and account, or in `account` (``""`` for none)."""
        account_id = self.account_id if account is None else account
        return naming.arn(self.partition, service, region, account_id, resource)

    def path(self, text: str) -> Path:
        """Return the absolute path of a path in the YAML.

        Raises:
            ValueError: when it leads out of the repository.
        """
        return inside(self.root, text)

"""The parts of an environment: how to get there, its state, its tags, its times."""

from __future__ import annotations

import unicodedata
from datetime import timedelta
from typing import Annotated, Final, Self

from pydantic import AfterValidator, Field, WithJsonSchema, field_validator, model_validator

from ci_user import naming
from ci_user.durations import Duration, between, format_duration
from ci_user.environment_fields import (
    AccountId,
    BucketName,
    KmsKeyArn,
    Model,
    ObjectKey,
    Problem,
    Region,
    RepositoryPath,
    RoleArn,
    expected,
    matching,
    refuse,
)


class Role(Model):
    """A role to assume, from the credentials that the profile or the surroundings give."""

    arn: RoleArn = Field(description="The role's ARN.")
    external_id: (
        Annotated[str, matching(r"[A-Za-z0-9_+=,.@:/-]{2,1224}", "2 to 1224 of A-Z a-z 0-9 _+=,.@:/-")] | None
    ) = Field(default=None, description="What the role's trust policy asks for as sts:ExternalId.")
    session_name: Annotated[str, matching(r"[A-Za-z0-9_+=,.@-]{2,64}", "2 to 64 of A-Z a-z 0-9 _+=,.@-")] = Field(
        default="ci-user", description="How the session is called in CloudTrail."
    )


class Access(Model):
    """How to get somewhere: a named profile, a role to assume, or both; neither means ambient credentials."""

    profile: Annotated[str, matching(r"[A-Za-z0-9_+=,.@:/ -]{1,128}", "the name of an AWS profile")] | None = Field(
        default=None, description="A profile of the AWS configuration."
    )
    role: Role | None = Field(default=None, description="A role to assume.")


class State(Model):
    """Where Terraform's state and the lease live. On an environment every default is filled in."""

    bucket: BucketName = Field(description="The S3 bucket; `invoke bootstrap` makes it.")
    key: ObjectKey = Field(
        default="", description="The state object's key; APPLICATION/NAME/terraform.tfstate when left out."
    )
    region: Region = Field(default="", description="The bucket's region; the environment's when left out.")
    account_id: AccountId = Field(default="", description="The bucket's account; the environment's when left out.")
    kms_key: KmsKeyArn | None = Field(
        default=None, description="The KMS key that encrypts state and lease; S3's own key when left out."
    )
    use_lockfile: Annotated[bool, Field(json_schema_extra={"const": True})] = Field(
        default=True, description="Terraform's own lock, next to the state. Only true is accepted."
    )
    access: Access | None = Field(default=None, description="How to get to the bucket, if not as to the rest.")

    @field_validator("use_lockfile")
    @classmethod
    def _locked(cls, value: bool) -> bool:
        if not value:
            raise expected("true: without the lock two runs may write the state at once")
        return value

    @property
    def folder(self) -> str:
        """The key's folder, without a slash at its end; it belongs to this environment alone."""
        return self.key.rpartition("/")[0]

    @property
    def lease_key(self) -> str:
        """The key of the lease object, which holds the journal of the keys."""
        return f"{self.folder}/lease.json"


class Lock(Model):
    """The lease that one run holds on the environment, across machines."""

    ttl: Annotated[Duration, between(timedelta(seconds=30), timedelta(minutes=15))] = Field(
        default=timedelta(minutes=2), description="How long a lease lasts that is not renewed, 30s to 15m."
    )


class Verification(Model):
    """When a new access key counts as working everywhere."""

    successes: Annotated[int, Field(ge=1, le=20)] = Field(
        default=5, description="How many calls in a row must succeed with the new key, 1 to 20."
    )
    interval: Annotated[Duration, between(timedelta(milliseconds=1), timedelta(minutes=1))] = Field(
        default=timedelta(seconds=1), description="The wait between two calls, 1ms to 1m."
    )
    deadline: Annotated[Duration, between(timedelta(seconds=1), timedelta(minutes=15))] = Field(
        default=timedelta(seconds=60), description="When to give up, 1s to 15m."
    )
    lag: Annotated[Duration, between(timedelta(0), timedelta(minutes=5))] = Field(
        default=timedelta(seconds=60), description="How long IAM's lists may run behind a change, 0s to 5m."
    )

    @model_validator(mode="after")
    def _attainable(self) -> Self:
        if self.interval * (self.successes - 1) >= self.deadline:
            text = "more time than the successes with their intervals take"
            refuse([(("deadline",), text, format_duration(self.deadline))])
        return self


class Rotation(Model):
    """When keys are renewed, and when old ones go."""

    rotate_after: Annotated[Duration, between(timedelta(hours=1), timedelta(days=400))] = Field(
        default=timedelta(days=60), description="The age at which `invoke rotate` renews a key, 1h to 400d."
    )
    grace: Annotated[Duration, between(timedelta(0), timedelta(days=90))] = Field(
        default=timedelta(hours=24),
        description="The least time that an old key stays active after its successor was delivered everywhere, 0s to 90d.",
    )
    margin: Annotated[Duration, between(timedelta(0), timedelta(days=7))] = Field(
        default=timedelta(hours=6),
        description="How long after that delivery runs that began before may still use the old key, which stays active so long"
        " even if the grace is shorter, 0s to 7d.",
    )
    soak: Annotated[Duration, between(timedelta(0), timedelta(days=90))] = Field(
        default=timedelta(days=7),
        description="How long an old key stays inactive, and can be reactivated, before it is deleted, 0s to 90d.",
    )
    expire_after: Annotated[Duration, between(timedelta(0), timedelta(days=365))] = Field(
        default=timedelta(days=14),
        description="How long after that delivery an old key that is still in use becomes a finding, 0s to 365d.",
    )

    @property
    def overlap(self) -> timedelta:
        """How long an old key stays active at least: nobody's run may break, so the longer one of grace and margin counts."""
        return max(self.grace, self.margin)

    @model_validator(mode="after")
    def _attainable(self) -> Self:
        if self.rotate_after < self.overlap + self.soak:
            text = (
                "at least grace (or margin, if that is longer) and soak together: a user has two keys at most, and the next"
                " would have no room"
            )
            refuse([(("rotate_after",), text, format_duration(self.rotate_after))])
        if self.expire_after < self.grace:
            refuse([(("expire_after",), "at least the grace", format_duration(self.expire_after))])
        return self


class Audit(Model):
    """Where every act on a key is recorded, one JSON line for each."""

    file: RepositoryPath = Field(
        default=".cache/audit.jsonl", description="The file that lines are added to, relative to the repository's root."
    )
    bucket: bool = Field(default=False, description="true: also keep the lines of each run next to the state.")


def _tags(value: dict[str, str]) -> dict[str, str]:
    # https://docs.aws.amazon.com/IAM/latest/UserGuide/id_tags.html: the emulator accepts more than IAM does.
    problems: list[Problem] = []
    seen: set[str] = set()
    if len(value) > 40:
        raise expected("at most 40 tags: IAM allows 50 and the tool keeps some for itself")
    for key, text in value.items():
        if not 1 <= len(key) <= 128 or not _tag_text(key):
            problems.append(((key,), f"a tag's key of 1 to 128 of {_TAG_CHARACTERS}", key))
        elif key.lower().startswith("aws:"):
            problems.append(((key,), "a tag's key without aws: in front, which is AWS's own", key))
        elif key.lower().startswith(naming.TAG_PREFIX):
            problems.append(((key,), f"a tag's key without {naming.TAG_PREFIX} in front, which is the tool's own", key))
        elif key.lower() in seen:
            problems.append(((key,), "tag keys that differ in more than upper and lower case", key))
        seen.add(key.lower())
        if len(text) > 256 or not _tag_text(text):
            problems.append(((key,), f"a tag's value of at most 256 of {_TAG_CHARACTERS}", text))
    refuse(problems)
    return value


_TAG_CHARACTERS: Final = "letters, digits, spaces and _.:/=+-@"


def _tag_text(text: str) -> bool:
    return all(char in "_.:/=+-@" or unicodedata.category(char)[0] in "LNZ" for char in text)


Tags = Annotated[
    dict[str, str],
    AfterValidator(_tags),
    WithJsonSchema(
        {"type": "object", "maxProperties": 40, "additionalProperties": {"type": "string", "maxLength": 256}}
    ),
]

"""What an environment may list under ``policies``: shipped policies by name, and a user's own."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Annotated, Final, Self

from pydantic import AfterValidator, Field, PlainValidator, TypeAdapter, ValidationInfo, WithJsonSchema, model_validator
from pydantic_core import PydanticKnownError

from ci_user import naming
from ci_user.environment_fields import (
    ACCOUNT_PATTERN,
    Model,
    PolicyName,
    Problem,
    RepositoryPath,
    expected,
    matching,
    pattern_schema,
)
from ci_user.partitions import misfits
from ci_user.policy.documents import GROUP_POLICIES

MOST: Final = 50
"""How many items ``policies`` may have; what they hold is packed into far fewer managed policies."""

ADMINISTRATORS: Final = ("administratoraccess", "poweruseraccess", "iamfullaccess")
"""How the names of AWS's own policies begin, in lower case, that make an administrator: the rest is judged by effect."""

_POLICY: Final = rf"arn:(aws|aws-us-gov|aws-cn):iam::({ACCOUNT_PATTERN}|aws):policy/([A-Za-z0-9_+=,.@-]+/)*"
_POLICY_ARN: Final = rf"{_POLICY}[A-Za-z0-9_+=,.@-]{{1,128}}"


def _not_too_powerful(value: str) -> str:
    name = value.rpartition("/")[2].lower()
    if name.startswith(ADMINISTRATORS):
        raise expected("the least that the pipeline needs: a CI user is never an administrator")
    if naming.is_own_policy(name):
        raise expected("a policy that this tool did not make: its own belong to one environment each")
    return value


PolicyArn = Annotated[
    str,
    matching(_POLICY_ARN, "the ARN of a managed policy, such as arn:aws:iam::111111111111:policy/extra"),
    AfterValidator(_not_too_powerful),
    pattern_schema(_POLICY_ARN),
]


OwnName = Annotated[
    str,
    matching(
        rf"(?=.{{1,{naming.POLICY_LENGTH}}}\Z){naming.NAME_PATTERN}",
        f"lower case letters, digits and single hyphens, at most {naming.POLICY_LENGTH} characters",
    ),
    WithJsonSchema({"type": "string", "pattern": f"^{naming.NAME_PATTERN}$", "maxLength": naming.POLICY_LENGTH}),
]


class PolicyFile(Model):
    """A policy of the user's own, in one JSON file."""

    file: Annotated[
        RepositoryPath,
        matching(r".*[^/]\.json", "a JSON file, such as policies/extra.json"),
        pattern_schema(r".*[^/]\.json"),
    ] = Field(description="The JSON file, relative to the repository's root or to environments/.")
    name: OwnName | None = Field(default=None, description="What the policy is called; like its file when left out.")

    @property
    def called(self) -> str:
        """The policy's name."""
        return self.name or PurePosixPath(self.file).stem

    @model_validator(mode="after")
    def _has_a_name(self) -> Self:
        _check_name(self.called)
        return self


class PolicyDirectory(Model):
    """A policy of the user's own, in all JSON files of one directory."""

    directory: RepositoryPath = Field(
        description="The directory, relative to the repository's root or to environments/; every *.json in it counts."
    )
    name: OwnName | None = Field(
        default=None, description="What the policy is called; like its directory when left out."
    )

    @property
    def called(self) -> str:
        """The policy's name."""
        return self.name or PurePosixPath(self.directory).name

    @model_validator(mode="after")
    def _has_a_name(self) -> Self:
        _check_name(self.called)
        return self


class ExistingPolicy(Model):
    """A managed policy that somebody else looks after: the account's own or one of AWS's."""

    arn: PolicyArn = Field(description="The ARN of a managed policy of this account, or of one of AWS's.")

    @property
    def called(self) -> str:
        """The policy's ARN."""
        return self.arn

    @property
    def account_id(self) -> str:
        """Whose it is: 12 digits, or ``aws``."""
        return self.arn.split(":")[4]


Chosen = str | PolicyFile | PolicyDirectory | ExistingPolicy
ITEMS: Final[dict[str, type[PolicyFile | PolicyDirectory | ExistingPolicy]]] = {
    "file": PolicyFile,
    "directory": PolicyDirectory,
    "arn": ExistingPolicy,
}
"""What an item with keys is, by the key that says so."""


def called(item: Chosen) -> str:
    """Return the name of a policy, or the ARN of an existing one."""
    return item if isinstance(item, str) else item.called


def item_model(value: object) -> type[PolicyFile | PolicyDirectory | ExistingPolicy] | None:
    """Return the model of an item with keys; None when its keys do not say which."""
    found = [model for key, model in ITEMS.items() if isinstance(value, dict) and key in value]
    return found[0] if len(found) == 1 else None


_NAME: Final[TypeAdapter[str]] = TypeAdapter(PolicyName)


def _item(value: object, info: ValidationInfo) -> Chosen:
    if isinstance(value, PolicyFile | PolicyDirectory | ExistingPolicy):
        return value
    if isinstance(value, str):
        return _NAME.validate_python(value)
    if isinstance(value, int | float):
        raise PydanticKnownError("string_type")
    model = item_model(value)
    if model is None:
        raise expected("the name of a policy in terraform/policies, or one of file:, directory: and arn:")
    return model.model_validate(value, context=info.context)


# A union's own errors would speak of every kind of item.
PolicyChoice = Annotated[
    Chosen,
    PlainValidator(_item, json_schema_input_type=PolicyName | PolicyFile | PolicyDirectory | ExistingPolicy),
]


def clashes(items: tuple[Chosen, ...]) -> list[Problem]:
    """Return a problem for each item that stands twice, or is called like one before it."""
    problems: list[Problem] = []
    names: dict[str, int] = {}
    for index, item in enumerate(items):
        name = called(item)
        if name not in names:
            names[name] = index
        elif item == items[names[name]]:
            problems.append(((index,), "each policy once", name))
        else:
            problems.append(((index,), f"a name: of its own, since policies[{names[name]}] is called so", name))
    return problems


def unattachable(items: tuple[Chosen, ...], account_id: str | None, partition: str | None) -> list[Problem]:
    """Return a problem for each existing policy that IAM does not attach to a group of this account."""
    problems: list[Problem] = []
    existing = [(index, item) for index, item in enumerate(items) if isinstance(item, ExistingPolicy)]
    for number, (index, item) in enumerate(existing, 1):
        problems += [((index, *place), text, arn) for place, text, arn in misfits(item, partition)]
        if account_id and item.account_id not in (account_id, "aws"):
            problems.append(((index, "arn"), f"a policy of account {account_id}, or one of AWS's own", item.arn))
        if number > GROUP_POLICIES:
            problems.append(((index, "arn"), f"at most {GROUP_POLICIES} of them: IAM attaches no more", item.arn))
    return problems


def _check_name(name: str) -> None:
    if not naming.is_name(name, naming.POLICY_LENGTH):
        raise expected(
            f"a name: of lower case letters, digits and single hyphens, since {name[:64]!r} cannot become the policy's"
        )

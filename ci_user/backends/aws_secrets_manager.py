"""AWS Secrets Manager: one secret, whose versions carry the staging labels AWSPENDING and AWSCURRENT.

The first version of a secret gets AWSCURRENT whatever labels are asked for, so a new secret starts with a
version that holds no key. Only then does AWSPENDING keep an unverified key from consumers.
https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_PutSecretValue.html
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from pydantic import Field, field_validator

from ci_user.backends.aws import (
    AwsBackendSettings,
    Refusal,
    Service,
    document,
    is_ours,
    key_id_of,
    owner_tags,
    parse_document,
    version_id,
)
from ci_user.backends.protocol import About, BackendSettings, EnvironmentNames, Held, OpenContext
from ci_user.backends.refusals import (
    another_pending,
    changed_by_others,
    check_key_id,
    not_held,
    not_ours,
    not_supported,
)
from ci_user.environment_fields import expected, matching
from ci_user.errors import BackendError

if TYPE_CHECKING:
    from ci_user.secret import AccessKey

NAME: Final = "aws-secrets-manager"
_EMPTY_VERSION: Final = "ci-user-no-key-" + 32 * "0"
_EMPTY_DOCUMENT: Final = "{}"
_CURRENT, _PENDING = "AWSCURRENT", "AWSPENDING"
_MISSING: Final = "ResourceNotFoundException"

ABOUT: Final = About(
    title="AWS Secrets Manager",
    consumers="`AWSCURRENT` of one secret",
    tested="embedded AWS (ministack 1.5.33) and moto; never live",
    atomic=True,
    tells="the id of the secret's version",
    how_to="""\
```yaml
secrets:
  - backend: aws-secrets-manager
    name: ci-user/shop/production
```

Whoever runs the tool needs, on the secret: `secretsmanager:DescribeSecret`, `CreateSecret`, `TagResource`, `PutSecretValue`,
`GetSecretValue`, `UpdateSecretVersionStage`, `RestoreSecret`, `DeleteSecret`, and `UpdateSecret` to change the KMS key; with a
KMS key of your own also `kms:Decrypt` and `kms:GenerateDataKey`.

The pipeline reads it with
`aws secretsmanager get-secret-value --secret-id ci-user/shop/production --query SecretString --output text`:
`{"AWS_ACCESS_KEY_ID": "...", "AWS_SECRET_ACCESS_KEY": "...", "AWS_REGION": "..."}`.

- A new key is a version with the label `AWSPENDING`. Promotion moves `AWSCURRENT` from the version that was current, and AWS
  refuses when somebody has moved it meanwhile.
- The first version of a secret gets `AWSCURRENT` whatever labels are asked for
  ([PutSecretValue](https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_PutSecretValue.html)). So a new secret
  starts with the document `{}`, and an unverified key is never what consumers read.
- A secret with automatic rotation is refused. A secret of ours that is scheduled for deletion is restored.
""",
)


class Settings(AwsBackendSettings):
    """One Secrets Manager secret that holds the JSON document."""

    backend: Literal["aws-secrets-manager"] = Field(description="Which backend this is.")
    name: Annotated[
        str,
        # https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_CreateSecret.html
        matching(
            r"(?!.*-[A-Za-z0-9]{6}\Z)[A-Za-z0-9/_+=.@-]{1,512}",
            "the name of a secret: letters, digits and /_+=.@-, not ending in a hyphen and six characters, "
            "which AWS would take for the end of an ARN",
        ),
    ] = Field(description="Name of the secret.")
    recovery_days: int = Field(
        default=7,
        description="Days in which a removed secret can be restored, 7 to 30; a sandbox may say 0.",
    )

    @field_validator("recovery_days")
    @classmethod
    def _days(cls, value: int) -> int:
        if value != 0 and not 7 <= value <= 30:
            raise expected("7 to 30 days; 0, which deletes at once, in a sandbox only")
        return value

    def target(self, environment: EnvironmentNames) -> str:
        """Return ``aws-secrets-manager:ACCOUNT:REGION:NAME``."""
        account, region = self.place(environment)
        return f"{NAME}:{account}:{region}:{self.name}"

    def guarded_arns(self, environment: EnvironmentNames) -> tuple[str, ...]:
        """Return the secret's ARN; ``??????`` are the six characters that AWS appends."""
        account, region = self.place(environment)
        return (f"arn:{environment.partition}:secretsmanager:{region}:{account}:secret:{self.name}-??????",)


def open_with(settings: BackendSettings, context: OpenContext) -> SecretsManager:
    """Return the backend of ``settings``.

    Raises:
        BackendError: ``recovery_days: 0`` outside a sandbox.
    """
    if not isinstance(settings, Settings):
        raise TypeError(f"{NAME} needs its own settings")
    if settings.recovery_days == 0 and not context.environment.sandbox:
        raise BackendError(
            "recovery_days: 0 deletes the secret at once",
            where=f"environment {context.environment.name}, secret {settings.name}",
            expected="7 to 30; 0 only where `sandbox: true`",
            do="correct `recovery_days` in the environment file",
        )
    return SecretsManager(settings, context)


@dataclass(frozen=True, slots=True)
class _State:
    """What DescribeSecret tells; version ids, never a value."""

    ours: bool
    deleted: bool
    rotates: bool
    kms_key: str | None
    current: str | None
    pending: str | None
    untouched: bool

    @property
    def foreign(self) -> bool:
        """Whether what consumers read is not what the tool wrote."""
        return self.current not in {None, _EMPTY_VERSION} and key_id_of(self.current) is None and not self.untouched

    @property
    def begins(self) -> bool:
        """Whether it still needs the version that holds no key: a run may have died right after it made the secret."""
        return self.current is None or (self.untouched and self.current != _EMPTY_VERSION)


class SecretsManager:
    """A Secrets Manager secret as a readable backend."""

    name: str = NAME
    readable: bool = True

    def __init__(self, settings: Settings, context: OpenContext) -> None:
        self._settings = settings
        self._environment = context.environment
        self._description = f"Access key of the CI user {context.environment.prefix}.ci, kept by ci-user"
        self.target: str = settings.target(context.environment)
        self._service = Service(context.access, "secretsmanager", settings.place(context.environment)[1], self.target)

    def preflight(self) -> tuple[str, ...]:
        """Check reachability, ownership, rotation and content; changes nothing and reads no secret."""
        state = self._describe()
        if state is None:
            return ("Secrets Manager answers", "the secret does not exist yet")
        self._check(state)
        return ("Secrets Manager answers", "the secret is this environment's")

    def held(self) -> Held:
        """Return the key ids in the labelled versions' ids; a secret scheduled for deletion holds nothing."""
        state = self._describe()
        if state is None or not state.ours or state.deleted:
            return Held(None, None)
        return Held(key_id_of(state.current), key_id_of(state.pending))

    def stage(self, key: AccessKey) -> None:
        """Write the key as AWSPENDING; creates or restores the secret if need be."""
        check_key_id(key.id)
        version = version_id(key.id)
        state = self._ready()
        if version in {state.current, state.pending}:
            return
        pending = key_id_of(state.pending)
        if pending is not None:
            raise another_pending(self.target, pending)
        self._use_kms_key(state)
        self._put(version, key)
        self._label_pending(version)

    def read_staged(self, key_id: str) -> AccessKey | None:
        """Return the key from the AWSPENDING or AWSCURRENT version, if that is the one of ``key_id``."""
        state = self._describe()
        version = version_id(key_id)
        if state is None or not state.ours or state.deleted or version not in {state.current, state.pending}:
            return None
        try:
            key = parse_document(
                self._service.call(
                    "GetSecretValue",
                    lambda client: client.get_secret_value(SecretId=self._settings.name, VersionId=version),
                    expecting=(_MISSING,),
                    secret=True,
                ).get("SecretString")
            )
        except Refusal:
            return None
        if key is None or key.id != key_id:
            raise changed_by_others(self.target, f"version {version}", "delete the secret, then deploy again")
        return key

    def promote(self, key_id: str) -> None:
        """Move AWSCURRENT to the key's version, from the version that has it now, then drop AWSPENDING."""
        state, version = self._owned(), version_id(key_id)
        if state.current != version:
            if state.pending != version:
                raise not_held(self.target, key_id)
            # RemoveFromVersionId makes this a compare-and-swap: AWS refuses when the label is elsewhere.
            self._move(_CURRENT, to=version, away_from=state.current)
        if state.pending == version:
            self._move(_PENDING, to=None, away_from=version)

    def discard_staged(self, key_id: str) -> None:
        """Take AWSPENDING off the key's version; AWS deletes versions without labels in time."""
        state, version = self._describe(), version_id(key_id)
        if state is not None and state.ours and not state.deleted and state.pending == version:
            self._move(_PENDING, to=None, away_from=version)

    def deliver(self, key: AccessKey) -> None:
        """Not for this kind of backend: stage and promote instead."""
        del key
        raise not_supported(NAME, "deliver")

    def remove(self) -> bool:
        """Delete the secret if it is ours; it can be restored for ``recovery_days``."""
        state = self._describe()
        if state is None or not state.ours or state.deleted:
            return False
        if state.foreign:
            raise self._changed()
        days = self._settings.recovery_days
        how: dict[str, Any] = {"RecoveryWindowInDays": days} if days else {"ForceDeleteWithoutRecovery": True}
        try:
            self._service.call(
                "DeleteSecret",
                lambda client: client.delete_secret(SecretId=self._settings.name, **how),
                expecting=(_MISSING,),
            )
        except Refusal:
            return False
        return True

    def _describe(self) -> _State | None:
        try:
            found = self._service.call(
                "DescribeSecret",
                lambda client: client.describe_secret(SecretId=self._settings.name),
                expecting=(_MISSING,),
            )
        except Refusal:
            return None
        versions = found.get("VersionIdsToStages") or {}

        def labelled(label: str) -> str | None:
            return next((version for version, labels in sorted(versions.items()) if label in labels), None)

        return _State(
            ours=is_ours(found.get("Tags"), self._environment),
            deleted=found.get("DeletedDate") is not None,
            rotates=bool(found.get("RotationEnabled")),
            kms_key=found.get("KmsKeyId"),
            current=labelled(_CURRENT),
            pending=labelled(_PENDING),
            # The embedded AWS gives the first version an id of its own; every later write adds a version.
            untouched=list(versions.values()) == [[_CURRENT]]
            and key_id_of(labelled(_CURRENT)) is None
            and found.get("Description") == self._description,
        )

    def _check(self, state: _State) -> None:
        if not state.ours:
            raise not_ours(self.target, f"the secret {self._settings.name}")
        if state.rotates:
            raise BackendError(
                f"the secret {self._settings.name} has automatic rotation switched on",
                where=self.target,
                expected="a secret that only this tool writes",
                do="switch its rotation off: aws secretsmanager cancel-rotate-secret",
            )
        if state.deleted:
            return
        if state.foreign:
            raise self._changed()
        if state.pending is not None and key_id_of(state.pending) is None:
            raise BackendError(
                f"version {state.pending} has the label AWSPENDING and was not written by this tool",
                where=self.target,
                expected="AWSPENDING on no version, or on one that this tool staged",
                do="aws secretsmanager update-secret-version-stage --version-stage AWSPENDING "
                f"--remove-from-version-id {state.pending} --secret-id {self._settings.name}",
            )

    def _changed(self) -> BackendError:
        return changed_by_others(
            self.target,
            f"the secret {self._settings.name}",
            "if that value is not needed, delete the secret; otherwise choose another `name`",
        )

    def _owned(self) -> _State:
        state = self._describe()
        if state is None or state.deleted:
            raise BackendError(
                f"the secret {self._settings.name} does not exist" + (" any more" if state else ""),
                where=self.target,
                do="run `invoke deploy` for the environment",
            )
        self._check(state)
        return state

    def _ready(self) -> _State:
        """Return the state of the secret, which exists, is ours and has a current version afterwards."""
        state = self._describe()
        if state is None:
            self._create()
            state = self._owned()
        else:
            self._check(state)
            if state.deleted:
                self._restore(state)
                state = self._owned()
        if state.begins:
            self._put_empty()
            state = self._owned()
        return state

    def _create(self) -> None:
        kms = {"KmsKeyId": self._settings.kms_key} if self._settings.kms_key else {}
        try:
            self._service.call(
                "CreateSecret",
                lambda client: client.create_secret(
                    Name=self._settings.name,
                    Description=self._description,
                    SecretString=_EMPTY_DOCUMENT,
                    ClientRequestToken=_EMPTY_VERSION,
                    Tags=owner_tags(self._environment),
                    **kms,
                ),
                expecting=("ResourceExistsException",),
                permissions=("TagResource",),
            )
        except Refusal:
            return  # another run was quicker, or an answer was lost; whether it is ours is looked at next

    def _put_empty(self) -> None:
        self._service.call(
            "PutSecretValue",
            lambda client: client.put_secret_value(
                SecretId=self._settings.name,
                SecretString=_EMPTY_DOCUMENT,
                ClientRequestToken=_EMPTY_VERSION,
                VersionStages=[_CURRENT],
            ),
        )

    def _restore(self, state: _State) -> None:
        self._service.call("RestoreSecret", lambda client: client.restore_secret(SecretId=self._settings.name))
        if state.pending is not None:
            # It was staged before the removal, so its key is gone.
            self._move(_PENDING, to=None, away_from=state.pending)

    def _use_kms_key(self, state: _State) -> None:
        wanted = self._settings.kms_key
        if wanted and state.kms_key != wanted:
            self._service.call(
                "UpdateSecret",
                lambda client: client.update_secret(SecretId=self._settings.name, KmsKeyId=wanted),
            )

    def _put(self, version: str, key: AccessKey) -> None:
        self._service.call(
            "PutSecretValue",
            lambda client: client.put_secret_value(
                SecretId=self._settings.name,
                SecretString=document(key, self._environment.region, self._settings.names),
                ClientRequestToken=version,
                VersionStages=[_PENDING],
            ),
            secret=True,
        )

    def _label_pending(self, version: str) -> None:
        state = self._owned()
        if version in {state.current, state.pending}:
            return
        other = key_id_of(state.pending)
        if other is not None:
            raise another_pending(self.target, other)
        # The version was there already, without a label: then the same token and data change nothing.
        self._move(_PENDING, to=version, away_from=None)

    def _move(self, label: str, *, to: str | None, away_from: str | None) -> None:
        versions = {"MoveToVersionId": to, "RemoveFromVersionId": away_from}
        try:
            self._service.call(
                "UpdateSecretVersionStage",
                lambda client: client.update_secret_version_stage(
                    SecretId=self._settings.name,
                    VersionStage=label,
                    **{name: version for name, version in versions.items() if version},
                ),
                expecting=("InvalidParameterException", "InvalidRequestException", _MISSING),
            )
            return
        except Refusal as refusal:
            code = refusal.code
        state = self._owned()
        there = state.current if label == _CURRENT else state.pending
        if there == to or (to is None and there != away_from):
            return  # another run of ours has just done the same
        raise changed_by_others(
            self.target,
            f"the label {label} ({code})",
            "run `invoke status` for the environment, then the same command again",
        )

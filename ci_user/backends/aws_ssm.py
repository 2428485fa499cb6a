"""AWS Systems Manager Parameter Store: one SecureString parameter, and ``NAME.pending`` beside it.

A parameter's description carries the key's id, so it is known without reading the secret, and the version
that the parameter had when it was written, so a later write by somebody else is noticed. The pending copy's
also carries the version of the main parameter at that time. Parameter Store has no compare-and-swap: between
the last look and the write, milliseconds, the environment's lease is what protects.
https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_PutParameter.html
"""

from __future__ import annotations

import re
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from pydantic import Field

from ci_user.backends.aws import (
    AwsBackendSettings,
    Refusal,
    Service,
    document,
    is_ours,
    owner_tags,
    parse_document,
)
from ci_user.backends.protocol import About, BackendSettings, EnvironmentNames, Held, OpenContext
from ci_user.backends.refusals import (
    KEY_ID,
    NoAnswerError,
    another_pending,
    changed_by_others,
    check_key_id,
    not_held,
    not_ours,
    not_supported,
)
from ci_user.environment_fields import matching
from ci_user.errors import BackendError
from ci_user.text import plain

if TYPE_CHECKING:
    from ci_user.secret import AccessKey

NAME: Final = "aws-ssm"
_SUFFIX: Final = ".pending"
_DESCRIPTION: Final = re.compile(
    rf"ci-user key=(?P<key>{KEY_ID}) version=(?P<version>[0-9]{{1,9}})( after=(?P<after>[0-9]{{1,9}}))?"
)
_MISSING: Final = "ParameterNotFound"
_EXISTS: Final = "ParameterAlreadyExists"
_TRANSIENT: Final = ("ThrottlingException", "Throttling", "TooManyUpdates", "InternalServerError", "ServiceUnavailable")
_WAITS: Final = (0.1, 0.4, 1.6, 0.0)
"""Seconds after each try of a write that failed for a moment."""
_WRITING = threading.Lock()
"""Two threads that promote the same key would each take the other's write for a stranger's."""

ABOUT: Final = About(
    title="AWS Systems Manager Parameter Store",
    consumers="one SecureString parameter",
    tested="embedded AWS (ministack 1.5.33) and moto; never live",
    atomic=True,
    tells="the parameter's description, and its version",
    how_to="""\
```yaml
secrets:
  - backend: aws-ssm
    name: /ci-user/shop/production
```

Whoever runs the tool needs `ssm:PutParameter`, `AddTagsToResource`, `GetParameter`, `DeleteParameter` and `ListTagsForResource`
on the parameter and on the same name with `.pending` after it, and `ssm:DescribeParameters` on `*`, which AWS does not scope;
with a KMS key of your own also `kms:Encrypt` and `kms:Decrypt`.

The pipeline reads it with
`aws ssm get-parameter --name /ci-user/shop/production --with-decryption --query Parameter.Value --output text`, the same
document as in Secrets Manager.

- The pending copy is the parameter `NAME.pending`. Promotion writes `NAME` first and deletes the copy then, so a crash at any
  point leaves the key in at least one of them.
- Parameter Store has no compare-and-swap. The description carries the key's id and the version it was written as, so a value
  that somebody else has written since is noticed; between that look and the write, milliseconds, only the lease protects.
- The history of a parameter keeps up to 100 earlier values: deny `ssm:GetParameterHistory` wherever you deny `ssm:GetParameter`.
- Deletion is final. AWS asks for 30 seconds between deleting a parameter and making one of the same name
  ([DeleteParameter](https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_DeleteParameter.html)): a new key
  staged sooner after the last promotion may be refused; run the same command again.
""",
)


class Settings(AwsBackendSettings):
    """One SecureString parameter that holds the JSON document."""

    backend: Literal["aws-ssm"] = Field(description="Which backend this is.")
    name: Annotated[
        str,
        # https://docs.aws.amazon.com/systems-manager/latest/userguide/sysman-paramstore-su-create.html
        matching(
            r"(?!/?([Aa][Ww][Ss]|[Ss][Ss][Mm]))(?!.*\.pending\Z)(?=.{1,900}\Z)"
            r"([A-Za-z0-9_.-]+|(/[A-Za-z0-9_.-]+){1,15})",
            "the name of a parameter: letters, digits and _.-, or a path of at most 15 levels that starts "
            "with a slash; not beginning with aws or ssm, not ending in .pending, at most 900 characters",
        ),
    ] = Field(description="Name of the parameter; the pending copy has `.pending` after it.")

    def target(self, environment: EnvironmentNames) -> str:
        """Return ``aws-ssm:ACCOUNT:REGION:NAME``."""
        account, region = self.place(environment)
        return f"{NAME}:{account}:{region}:{self.name}"

    def guarded_arns(self, environment: EnvironmentNames) -> tuple[str, ...]:
        """Return the ARNs of the parameter and of its pending copy."""
        account, region = self.place(environment)
        main = f"arn:{environment.partition}:ssm:{region}:{account}:parameter/{self.name.removeprefix('/')}"
        return (main, main + _SUFFIX)


def open_with(settings: BackendSettings, context: OpenContext) -> ParameterStore:
    """Return the backend of ``settings``."""
    if not isinstance(settings, Settings):
        raise TypeError(f"{NAME} needs its own settings")
    return ParameterStore(settings, context)


@dataclass(frozen=True, slots=True)
class _Parameter:
    """What DescribeParameters tells of one parameter; never its value."""

    ours: bool
    version: int
    kms_key: str | None
    key_id: str | None
    after: int


class ParameterStore:
    """A Parameter Store parameter as a readable backend."""

    name: str = NAME
    readable: bool = True

    def __init__(self, settings: Settings, context: OpenContext) -> None:
        self._settings = settings
        self._environment = context.environment
        self._main = settings.name
        self._pending = settings.name + _SUFFIX
        self.target: str = settings.target(context.environment)
        self._service = Service(context.access, "ssm", settings.place(context.environment)[1], self.target)

    def preflight(self) -> tuple[str, ...]:
        """Check reachability, ownership and content of both parameters; changes nothing, reads no secret."""
        main, _ = self._checked()
        whose = "the parameter is this environment's" if main else "the parameter does not exist yet"
        return ("Parameter Store answers", whose)

    def held(self) -> Held:
        """Return the key ids in the descriptions of the parameters that are ours."""
        found = self._describe()
        main, pending = found.get(self._main), found.get(self._pending)
        return Held(
            main.key_id if main and main.ours else None,
            pending.key_id if pending and pending.ours else None,
        )

    def stage(self, key: AccessKey) -> None:
        """Write the key to ``NAME.pending``."""
        check_key_id(key.id)
        with _WRITING:
            main, pending = self._checked()
            if key.id in {main and main.key_id, pending and pending.key_id}:
                return
            if pending is not None:
                raise another_pending(self.target, str(pending.key_id))
            self._put(self._pending, key, None, after=main.version if main else 0)

    def read_staged(self, key_id: str) -> AccessKey | None:
        """Return the key from ``NAME.pending`` or ``NAME``, whichever has this id."""
        found = self._describe()
        for name in (self._pending, self._main):
            parameter = found.get(name)
            if parameter is not None and parameter.ours and parameter.key_id == key_id:
                return self._read(name, key_id)
        return None

    def promote(self, key_id: str) -> None:
        """Write the pending key to the parameter, then delete the pending copy."""
        with _WRITING:
            main, pending = self._checked()
            if main is None or main.key_id != key_id:
                if pending is None or pending.key_id != key_id:
                    raise not_held(self.target, key_id)
                if pending.after != (main.version if main else 0):
                    raise self._changed(self._main)
                key = self._read(self._pending, key_id)
                if key is None:
                    raise not_held(self.target, key_id)
                self._put(self._main, key, main)
            if pending is not None and pending.key_id == key_id:
                self._delete(self._pending)

    def discard_staged(self, key_id: str) -> None:
        """Delete ``NAME.pending`` if it holds this key."""
        with _WRITING:
            pending = self._describe().get(self._pending)
            if pending is not None and pending.ours and pending.key_id == key_id:
                self._delete(self._pending)

    def deliver(self, key: AccessKey) -> None:
        """Not for this kind of backend: stage and promote instead."""
        del key
        raise not_supported(NAME, "deliver")

    def remove(self) -> bool:
        """Delete both parameters where they are ours; there is no way back."""
        with _WRITING:
            found = {name: parameter for name, parameter in self._describe().items() if parameter.ours}
            for name, parameter in found.items():
                if parameter.key_id is None:
                    raise self._changed(name)
            deleted = [self._delete(name) for name in sorted(found, reverse=True)]
        return any(deleted)

    def _describe(self) -> dict[str, _Parameter]:
        """Return the parameters that exist, by name.

        A filtered page may be empty and still have a successor, so all pages are read.
        https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_DescribeParameters.html
        """
        filters = [{"Key": "Name", "Option": "Equals", "Values": [self._main, self._pending]}]
        listed = self._service.call(
            "DescribeParameters",
            lambda client: list(
                client.get_paginator("describe_parameters").paginate(ParameterFilters=filters).search("Parameters[]")
            ),
        )
        return {
            found["Name"]: self._parameter(found)
            for found in listed
            if found is not None and found["Name"] in {self._main, self._pending}
        }

    def _parameter(self, found: dict[str, Any]) -> _Parameter:
        version = int(found.get("Version", 0))
        match = _DESCRIPTION.fullmatch(found.get("Description") or "")
        pending = found["Name"] == self._pending
        readable = match is not None and int(match["version"]) == version and (match["after"] is not None) == pending
        return _Parameter(
            ours=self._is_ours(found["Name"]),
            version=version,
            kms_key=found.get("KeyId"),
            key_id=match["key"] if match and readable else None,
            after=int(match["after"] or 0) if match else 0,
        )

    def _is_ours(self, name: str) -> bool:
        try:
            answer = self._service.call(
                "ListTagsForResource",
                lambda client: client.list_tags_for_resource(ResourceType="Parameter", ResourceId=name),
                expecting=("InvalidResourceId",),
            )
        except Refusal:
            return False  # deleted since it was listed
        return is_ours(answer.get("TagList"), self._environment)

    def _checked(self) -> tuple[_Parameter | None, _Parameter | None]:
        found = self._describe()
        for name, parameter in found.items():
            if not parameter.ours:
                raise not_ours(self.target, f"the parameter {name}")
            if parameter.key_id is None:
                raise self._changed(name)
        return found.get(self._main), found.get(self._pending)

    def _changed(self, name: str) -> BackendError:
        return changed_by_others(
            self.target,
            f"the parameter {name}",
            f"if that value is not needed: aws ssm delete-parameter --name {name}; then run it again",
        )

    def _read(self, name: str, key_id: str) -> AccessKey | None:
        try:
            key = parse_document(
                self._service.call(
                    "GetParameter",
                    lambda client: client.get_parameter(Name=name, WithDecryption=True),
                    expecting=(_MISSING,),
                    secret=True,
                )["Parameter"]["Value"]
            )
        except Refusal:
            return None
        if key is None or key.id != key_id:
            raise self._changed(name)
        return key

    def _put(self, name: str, key: AccessKey, old: _Parameter | None, after: int | None = None) -> None:
        version = old.version + 1 if old else 1
        told = f"ci-user key={key.id} version={version}" + (f" after={after}" if after is not None else "")
        # Without KeyId an overwrite would fall back to AWS's own key.
        kms_key = self._settings.kms_key or (old.kms_key if old else None)
        more: dict[str, Any] = {"KeyId": kms_key} if kms_key else {}
        # Creating without Overwrite fails if somebody was quicker, and AWS takes tags on creation only.
        more |= {"Overwrite": True} if old else {"Tags": owner_tags(self._environment)}
        for wait in _WAITS:
            try:
                written = self._service.call(
                    "PutParameter",
                    lambda client: client.put_parameter(
                        Name=name,
                        Type="SecureString",
                        Description=told,
                        Value=document(key, self._environment.region, self._settings.names),
                        **more,
                    ),
                    expecting=(_EXISTS, *_TRANSIENT),
                    permissions=("AddTagsToResource",),
                    secret=True,
                    # The SDK would repeat a write whose answer was lost, and each one is a version.
                    once=True,
                )["Version"]
            except (Refusal, NoAnswerError) as error:
                made = self._describe().get(name)
                if made is not None and made.ours and made.key_id == key.id:
                    return  # it took effect, and the answer was lost
                if (made.version if made else 0) != version - 1:
                    raise self._changed(name) from None
                failure = error
                time.sleep(wait)
            else:
                break
        else:
            raise self._gave_up(name, failure)
        if written != version:
            raise BackendError(
                f"the parameter {name} was written by somebody else at the same moment",
                where=self.target,
                expected=f"version {version}, found version {written}",
                do="what they wrote is in the parameter's history: aws ssm get-parameter-history; "
                "then delete the parameter and deploy again",
            )

    def _gave_up(self, name: str, failure: Refusal | NoAnswerError) -> BackendError:
        if isinstance(failure, NoAnswerError):
            return failure
        return BackendError(
            f"PutParameter: AWS answered {plain(failure.code)}, {len(_WAITS)} times in a row",
            where=self.target,
            expected=f"the parameter {name} written",
            do="wait a minute, then run the same command again",
            runbook="backend",
        )

    def _delete(self, name: str) -> bool:
        try:
            self._service.call(
                "DeleteParameter", lambda client: client.delete_parameter(Name=name), expecting=(_MISSING,)
            )
        except Refusal:
            return False
        return True

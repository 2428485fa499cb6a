"""What Secrets Manager and Parameter Store do beyond the contract that all backends share."""

from __future__ import annotations

import itertools
import json
import secrets
from typing import Any, Protocol

import pytest

from ci_user.backends import Backend, open_backend, settings_model
from ci_user.backends.aws import version_id
from ci_user.backends.protocol import Held
from ci_user.credentials import AwsAccess
from ci_user.errors import BackendError
from ci_user.secret import AccessKey, Secret
from tests.contract.place import Names

NUMBERS = itertools.count(10**7)
TAGS = [{"Key": "ci-user:environment", "Value": "shop-testing"}]
EMPTY = "ci-user-no-key-" + 32 * "0"


class EmbeddedAws(Protocol):
    @property
    def access(self) -> AwsAccess: ...

    def client(self, service: str, region: str | None = None, *, attempts: int = 4) -> Any: ...


def new_key() -> AccessKey:
    return AccessKey(f"AKIAUNIT{next(NUMBERS)}AAAA", Secret("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"))


@pytest.fixture
def name() -> str:
    return f"semantics_{secrets.token_hex(6)}"


@pytest.fixture
def manager(aws: EmbeddedAws) -> Any:
    return aws.client("secretsmanager")


@pytest.fixture
def store(aws: EmbeddedAws) -> Any:
    return aws.client("ssm")


def secret(aws: EmbeddedAws, name: str, **more: object) -> Backend:
    given = {"backend": "aws-secrets-manager", "name": name, **more}
    return open_backend(settings_model("aws-secrets-manager").model_validate(given), aws.access, Names())


def parameter(aws: EmbeddedAws, name: str, **more: object) -> Backend:
    given = {"backend": "aws-ssm", "name": name, **more}
    return open_backend(settings_model("aws-ssm").model_validate(given), aws.access, Names())


def labels(manager: Any, name: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = manager.describe_secret(SecretId=name)["VersionIdsToStages"]
    return found


def test_an_unverified_first_key_is_never_current(aws: EmbeddedAws, manager: Any, name: str) -> None:
    key = new_key()
    secret(aws, name).stage(key)
    assert labels(manager, name)[EMPTY] == ["AWSCURRENT"]
    assert labels(manager, name)[version_id(key.id)] == ["AWSPENDING"]
    assert manager.get_secret_value(SecretId=name)["SecretString"] == "{}"


def test_a_secret_of_ours_without_a_version_gets_the_empty_one_first(
    aws: EmbeddedAws,
    name: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # The embedded AWS gives every new secret a version, AWS does not: so the answers are given in its place.
    sent: list[tuple[str, dict[str, Any]]] = []
    versions: dict[str, list[str]] = {}

    class Client:
        def describe_secret(self, **_: object) -> dict[str, object]:
            return {"Tags": TAGS, "VersionIdsToStages": dict(versions)}

        def put_secret_value(self, **given: Any) -> dict[str, object]:
            # AWS: the first version of a secret gets AWSCURRENT, whatever was asked for.
            stages = list(given["VersionStages"]) if versions else ["AWSCURRENT"]
            versions[given["ClientRequestToken"]] = stages
            sent.append(("put_secret_value", given))
            return {}

    monkeypatch.setattr(AwsAccess, "client", lambda *_, **__: Client())
    key = new_key()
    backend = secret(aws, name)
    backend.stage(key)
    assert versions == {EMPTY: ["AWSCURRENT"], version_id(key.id): ["AWSPENDING"]}
    assert backend.held() == Held(None, key.id)


def test_promotion_leaves_no_pending_label_behind(aws: EmbeddedAws, manager: Any, name: str) -> None:
    key = new_key()
    backend = secret(aws, name)
    backend.stage(key)
    backend.promote(key.id)
    assert not [one for one in labels(manager, name).values() if "AWSPENDING" in one]


def test_an_interrupted_promotion_is_finished(aws: EmbeddedAws, manager: Any, name: str) -> None:
    key = new_key()
    backend = secret(aws, name)
    backend.stage(key)
    manager.update_secret_version_stage(
        SecretId=name,
        VersionStage="AWSCURRENT",
        MoveToVersionId=version_id(key.id),
        RemoveFromVersionId=EMPTY,
    )
    assert backend.held() == Held(key.id, key.id)
    backend.promote(key.id)
    assert backend.held() == Held(key.id, None)


def test_a_stray_pending_version_is_refused_with_the_command_that_removes_it(
    aws: EmbeddedAws,
    manager: Any,
    name: str,
) -> None:
    backend = secret(aws, name)
    key = new_key()
    backend.stage(key)
    backend.promote(key.id)
    stray = manager.put_secret_value(SecretId=name, SecretString="x", VersionStages=["AWSPENDING"])["VersionId"]
    with pytest.raises(BackendError, match="AWSPENDING") as caught:
        backend.preflight()
    assert f"--remove-from-version-id {stray}" in str(caught.value)
    assert backend.held() == Held(key.id, None)


def test_a_secret_of_ours_scheduled_for_deletion_is_restored(
    aws: EmbeddedAws,
    manager: Any,
    name: str,
) -> None:
    backend = secret(aws, name)
    key = new_key()
    backend.stage(key)
    backend.promote(key.id)
    assert backend.remove() is True
    days = manager.describe_secret(SecretId=name)
    assert days["DeletedDate"] is not None
    assert backend.held() == Held(None, None)
    backend.preflight()
    backend.stage(new_key())
    assert manager.describe_secret(SecretId=name).get("DeletedDate") is None


def test_a_foreign_secret_scheduled_for_deletion_stays_so(
    aws: EmbeddedAws,
    manager: Any,
    name: str,
) -> None:
    manager.create_secret(Name=name, SecretString="x")
    manager.delete_secret(SecretId=name, RecoveryWindowInDays=7)
    with pytest.raises(BackendError, match="not made by this tool"):
        secret(aws, name).stage(new_key())
    assert manager.describe_secret(SecretId=name)["DeletedDate"] is not None


def test_another_environments_secret_is_refused(aws: EmbeddedAws, manager: Any, name: str) -> None:
    tags = [{"Key": "ci-user:environment", "Value": "shop-production"}]
    manager.create_secret(Name=name, SecretString="{}", Tags=tags)
    with pytest.raises(BackendError, match="not made by this tool for this environment"):
        secret(aws, name).preflight()


def test_no_recovery_days_delete_at_once(aws: EmbeddedAws, manager: Any, name: str) -> None:
    backend = secret(aws, name, recovery_days=0)
    backend.stage(new_key())
    assert backend.remove() is True
    with pytest.raises(manager.exceptions.ResourceNotFoundException):
        manager.describe_secret(SecretId=name)


def test_a_secret_that_rotates_itself_is_refused(aws: EmbeddedAws, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    class Client:
        def describe_secret(self, **_: object) -> dict[str, object]:
            return {"Tags": TAGS, "RotationEnabled": True, "VersionIdsToStages": {EMPTY: ["AWSCURRENT"]}}

    monkeypatch.setattr(AwsAccess, "client", lambda *_, **__: Client())
    for refused in (secret(aws, name).preflight, lambda: secret(aws, name).stage(new_key())):
        with pytest.raises(BackendError, match="automatic rotation"):
            refused()


def test_the_kms_key_is_used_and_changed(aws: EmbeddedAws, manager: Any, store: Any, name: str) -> None:
    kms = aws.client("kms")
    first, second = (kms.create_key()["KeyMetadata"]["Arn"] for _ in range(2))
    for arn in (first, second):
        for backend in (secret(aws, name, kms_key=arn), parameter(aws, name, kms_key=arn)):
            key = new_key()
            backend.stage(key)
            backend.promote(key.id)
        assert manager.describe_secret(SecretId=name)["KmsKeyId"] == arn
        filters = [{"Key": "Name", "Values": [name]}]
        assert store.describe_parameters(ParameterFilters=filters)["Parameters"][0]["KeyId"] == arn
    without = parameter(aws, name)
    key = new_key()
    without.stage(key)
    without.promote(key.id)
    assert store.describe_parameters(ParameterFilters=filters)["Parameters"][0]["KeyId"] == second


def test_a_parameter_is_encrypted_and_its_pending_copy_goes(aws: EmbeddedAws, store: Any, name: str) -> None:
    key = new_key()
    backend = parameter(aws, f"/a/{name}")
    backend.stage(key)
    assert store.get_parameter(Name=f"/a/{name}.pending")["Parameter"]["Type"] == "SecureString"
    backend.promote(key.id)
    found = store.get_parameter(Name=f"/a/{name}", WithDecryption=True)["Parameter"]
    assert found["Type"] == "SecureString"
    assert json.loads(found["Value"])["AWS_ACCESS_KEY_ID"] == key.id
    with pytest.raises(store.exceptions.ParameterNotFound):
        store.get_parameter(Name=f"/a/{name}.pending")


def test_a_foreign_pending_parameter_is_refused(aws: EmbeddedAws, store: Any, name: str) -> None:
    store.put_parameter(Name=f"{name}.pending", Value="x", Type="String")
    with pytest.raises(BackendError, match=r"the parameter .*\.pending exists already"):
        parameter(aws, name).stage(new_key())
    assert parameter(aws, name).remove() is False
    assert store.get_parameter(Name=f"{name}.pending")["Parameter"]["Value"] == "x"


def test_a_write_that_keeps_the_description_is_noticed(aws: EmbeddedAws, store: Any, name: str) -> None:
    key = new_key()
    backend = parameter(aws, name)
    backend.stage(key)
    backend.promote(key.id)
    told = f"ci-user key={key.id} version=1"
    store.put_parameter(Name=name, Value="x", Type="SecureString", Description=told, Overwrite=True)
    assert backend.held() == Held(None, None)
    with pytest.raises(BackendError, match="somebody else"):
        backend.preflight()


def test_empty_pages_before_the_parameter_are_read_past(
    aws: EmbeddedAws, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    key_id = new_key().id
    found = {"Name": name, "Version": 1, "Description": f"ci-user key={key_id} version=1"}
    pages = iter([{"Parameters": [], "NextToken": "1"}, {"Parameters": [], "NextToken": "2"}, {"Parameters": [found]}])
    client = aws.access.fenced_by(lambda _: None).client("ssm")
    monkeypatch.setattr(
        client,
        "_make_api_call",
        lambda operation, _: {"TagList": TAGS} if operation == "ListTagsForResource" else next(pages),
    )
    monkeypatch.setattr(AwsAccess, "client", lambda *_, **__: client)
    assert parameter(aws, name).held() == Held(key_id, None)


@pytest.mark.parametrize("backend", ["aws-secrets-manager", "aws-ssm"])
def test_the_documents_names_are_the_files_and_a_key_is_read_back_whatever_they_were(
    aws: EmbeddedAws, name: str, backend: str
) -> None:
    place = name if backend == "aws-secrets-manager" else f"/{name}"
    names = {"key_id": "ID", "secret": "SECRET", "region": "WHERE", "prefix": "PROD_"}
    model = settings_model(backend)

    def opened(**more: Any) -> Backend:
        return open_backend(model.model_validate({"backend": backend, "name": place, **more}), aws.access, Names())

    key = new_key()
    opened(names=names).stage(key)
    opened(names=names).promote(key.id)
    if backend == "aws-ssm":
        value = aws.client("ssm").get_parameter(Name=place, WithDecryption=True)["Parameter"]["Value"]
    else:
        value = aws.client("secretsmanager").get_secret_value(SecretId=place)["SecretString"]
    assert json.loads(value) == {
        "PROD_ID": key.id,
        "PROD_SECRET": key.secret.reveal(),
        "PROD_WHERE": "eu-west-1",
    }
    assert opened().read_staged(key.id) == key

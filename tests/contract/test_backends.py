"""The same cases for every backend that can be the stage: the in-memory double, the two on AWS, and Vault."""

from __future__ import annotations

import io
import itertools
import json
import logging
import secrets
import socket
import threading
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol, cast

import pytest

from ci_user.backends import Backend, open_backend, settings_model, settings_of
from ci_user.backends.memory import MemoryBackend
from ci_user.backends.protocol import Held
from ci_user.credentials import AwsAccess
from ci_user.errors import BackendError, LeaseLostError
from ci_user.secret import AccessKey, Secret
from tests.contract.doubles import vault
from tests.contract.place import SECRET, Names, new_key
from tests.contract.showing import forms, leaks, shown


class EmbeddedAws(Protocol):
    """What these tests need of the fixture `aws`."""

    account_id: str
    region: str
    endpoint_url: str

    @property
    def access(self) -> AwsAccess: ...

    def client(self, service: str, region: str | None = None, *, attempts: int = 4) -> Any: ...


class Watched:
    """An access that records the operations of its clients and can answer in AWS's place."""

    def __init__(self, access: AwsAccess) -> None:
        self._access = access.fenced_by(lambda _: None)
        self.account_id, self.region, self.partition = access.account_id, access.region, access.partition
        self.operations: list[str] = []
        self.answer: Callable[[str], tuple[int, str] | None] = lambda _: None
        self._seen: set[int] = set()

    def client(self, service: str, region: str | None = None, *, attempts: int = 4) -> Any:
        client = self._access.client(service, region, attempts=1)
        if id(client) not in self._seen:
            self._seen.add(id(client))
            client.meta.events.register("provide-client-params.*.*", self._record)
            client.meta.events.register("before-send.*.*", self._reply)
        return client

    def _record(self, params: dict[str, Any], model: Any, **_: object) -> None:
        decrypting = model.name == "GetParameter" and params.get("WithDecryption")
        self.operations.append("GetParameter decrypted" if decrypting else model.name)

    def _reply(self, request: Any, event_name: str, **_: object) -> Any:
        from botocore.awsrequest import AWSResponse, HeadersDict

        answer = self.answer(event_name.rpartition(".")[2])
        if answer is None:
            return None
        status, code = answer
        body = json.dumps({"__type": code, "message": f"no: {request.body!r}"}).encode()

        class Raw(io.BytesIO):
            def stream(self, **_: object) -> Iterator[bytes]:
                yield self.read()

        return AWSResponse(request.url, status, cast("Any", HeadersDict({"x-amzn-errortype": code})), Raw(body))


class MemoryPlace:
    """The double; a fresh machine sees the same memory."""

    settings_name = "memory"

    def __init__(self) -> None:
        self.backend = MemoryBackend()

    def open(self) -> Backend:
        return self.backend

    def consumed(self) -> str | None:
        return self.backend.consumed.id if self.backend.consumed else None

    def write_foreign(self) -> None:
        self.backend.write_foreign()

    def foreign_is_there(self) -> bool:
        return self.backend.consumed is None

    def make_foreign_target(self) -> None:
        self.backend.ours = False


class AwsPlace:
    """A secret or a parameter under a name of its own."""

    def __init__(self, aws: EmbeddedAws, settings_name: str) -> None:
        self.aws = aws
        self.settings_name = settings_name
        self.name = f"ci-user/contract/{secrets.token_hex(6)}x"
        if settings_name == "aws-ssm":
            self.name = "/" + self.name
        self.settings = settings_model(settings_name).model_validate({"backend": settings_name, "name": self.name})
        self.watched = Watched(aws.access)
        self.secrets = aws.client("secretsmanager")
        self.parameters = aws.client("ssm")

    def open(self, access: AwsAccess | Watched | None = None) -> Backend:
        return open_backend(self.settings, access or self.watched, Names())

    def _value(self) -> str | None:
        if self.settings_name == "aws-ssm":
            found = self.parameters.get_parameters(Names=[self.name], WithDecryption=True)["Parameters"]
            return str(found[0]["Value"]) if found else None
        try:
            return str(self.secrets.get_secret_value(SecretId=self.name)["SecretString"])
        except (
            self.secrets.exceptions.ResourceNotFoundException,
            self.secrets.exceptions.InvalidRequestException,
        ):
            return None

    def consumed(self) -> str | None:
        value = self._value()
        key_id = json.loads(value).get("AWS_ACCESS_KEY_ID") if value else None
        return str(key_id) if key_id else None

    def write_foreign(self) -> None:
        value = '{"somebody": "else"}'
        if self.settings_name == "aws-ssm":
            self.parameters.put_parameter(Name=self.name, Value=value, Type="SecureString", Overwrite=True)
        else:
            self.secrets.put_secret_value(SecretId=self.name, SecretString=value)

    def foreign_is_there(self) -> bool:
        return self._value() == '{"somebody": "else"}'

    def make_foreign_target(self) -> None:
        if self.settings_name == "aws-ssm":
            self.write_foreign()
        else:
            self.secrets.create_secret(Name=self.name, SecretString='{"somebody": "else"}')


class VaultPlace:
    """A path of Vault's double."""

    settings_name = "vault"

    def __init__(self, server: vault.Vault, root: Path) -> None:
        self._place = vault.VaultPlace.at(server, root)

    def open(self) -> Backend:
        return self._place.open()

    def consumed(self) -> str | None:
        return self._place.consumed()[0]

    def write_foreign(self) -> None:
        self._place.server.put(self._place.key, {"somebody": "else"})

    def foreign_is_there(self) -> bool:
        return self._place.server.read(self._place.key) == {"somebody": "else"}

    def make_foreign_target(self) -> None:
        self.write_foreign()


Place = MemoryPlace | AwsPlace | VaultPlace


@pytest.fixture(scope="module")
def vault_server() -> Iterator[vault.Vault]:
    with vault.Vault() as server:
        yield server


@pytest.fixture(params=["memory", "aws-secrets-manager", "aws-ssm", "vault"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    if request.param == "memory":
        return MemoryPlace()
    if request.param == "vault":
        return VaultPlace(request.getfixturevalue("vault_server"), tmp_path)
    return AwsPlace(request.getfixturevalue("aws"), request.param)


@pytest.fixture(params=["aws-secrets-manager", "aws-ssm"])
def aws_place(request: pytest.FixtureRequest, aws: EmbeddedAws) -> AwsPlace:
    return AwsPlace(aws, request.param)


def deliver(backend: Backend, key: AccessKey) -> None:
    backend.stage(key)
    backend.promote(key.id)


def test_nothing_there_holds_nothing(place: Place) -> None:
    backend = place.open()
    backend.preflight()
    assert backend.held() == Held(None, None)
    assert backend.read_staged(new_key().id) is None
    assert backend.remove() is False


def test_a_staged_key_is_not_what_consumers_read(place: Place) -> None:
    key = new_key()
    place.open().stage(key)
    assert place.consumed() is None
    assert place.open().held() == Held(None, key.id)
    assert place.open().read_staged(key.id) == key


def test_a_promoted_key_is_what_consumers_read(place: Place) -> None:
    key = new_key()
    deliver(place.open(), key)
    assert place.consumed() == key.id
    assert place.open().held() == Held(key.id, None)
    assert place.open().read_staged(key.id) == key


def test_a_second_key_replaces_the_first_only_when_promoted(place: Place) -> None:
    old, new = new_key(), new_key()
    backend = place.open()
    deliver(backend, old)
    backend.stage(new)
    assert place.consumed() == old.id
    assert backend.held() == Held(old.id, new.id)
    backend.promote(new.id)
    assert place.consumed() == new.id
    assert backend.held() == Held(new.id, None)
    assert backend.read_staged(old.id) is None


def test_each_step_may_be_repeated(place: Place) -> None:
    key = new_key()
    for _ in range(2):
        place.open().stage(key)
        assert place.open().held() == Held(None, key.id)
    for _ in range(2):
        place.open().promote(key.id)
        assert place.open().held() == Held(key.id, None)
    place.open().stage(key)
    assert place.open().held() == Held(key.id, None)


def test_an_unknown_key_is_not_promoted(place: Place) -> None:
    key = new_key()
    deliver(place.open(), key)
    with pytest.raises(BackendError, match="neither pending nor current"):
        place.open().promote(new_key().id)
    assert place.consumed() == key.id


def test_a_second_pending_key_is_refused_and_the_first_kept(place: Place) -> None:
    first = new_key()
    place.open().stage(first)
    with pytest.raises(BackendError, match="is pending already"):
        place.open().stage(new_key())
    assert place.open().read_staged(first.id) == first


def test_a_discarded_key_is_gone_and_may_be_staged_again(place: Place) -> None:
    old, key = new_key(), new_key()
    backend = place.open()
    deliver(backend, old)
    backend.stage(key)
    for _ in range(2):
        backend.discard_staged(key.id)
        assert backend.held() == Held(old.id, None)
    assert backend.read_staged(key.id) is None
    backend.stage(key)
    assert backend.read_staged(key.id) == key


def test_discarding_another_key_or_the_current_one_changes_nothing(place: Place) -> None:
    old, key = new_key(), new_key()
    backend = place.open()
    deliver(backend, old)
    backend.stage(key)
    backend.discard_staged(new_key().id)
    backend.discard_staged(old.id)
    assert backend.held() == Held(old.id, key.id)


def test_a_foreign_value_written_after_staging_is_not_overwritten(place: Place) -> None:
    old, key = new_key(), new_key()
    backend = place.open()
    deliver(backend, old)
    backend.stage(key)
    place.write_foreign()
    with pytest.raises(BackendError, match="somebody else"):
        backend.promote(key.id)
    assert place.foreign_is_there()
    assert backend.read_staged(key.id) == key
    assert backend.held() == Held(None, key.id)


def test_a_foreign_value_stops_preflight_and_removal(place: Place) -> None:
    backend = place.open()
    deliver(backend, new_key())
    place.write_foreign()
    for refused in (backend.preflight, backend.remove, lambda: backend.stage(new_key())):
        with pytest.raises(BackendError, match="somebody else"):
            refused()
    assert place.foreign_is_there()


def test_a_target_of_somebody_else_is_left_alone(place: Place) -> None:
    place.make_foreign_target()
    backend = place.open()
    for refused in (
        backend.preflight,
        lambda: backend.stage(new_key()),
        lambda: backend.promote(new_key().id),
    ):
        with pytest.raises(BackendError, match=r"not made by this tool|does not exist"):
            refused()
    assert backend.held() == Held(None, None)
    assert backend.read_staged(new_key().id) is None
    backend.discard_staged(new_key().id)
    assert backend.remove() is False
    assert place.foreign_is_there()


def test_removal_takes_both_copies_and_happens_once(place: Place) -> None:
    backend = place.open()
    deliver(backend, new_key())
    backend.stage(new_key())
    assert backend.remove() is True
    assert place.consumed() is None
    assert backend.held() == Held(None, None)
    assert backend.remove() is False


def test_a_key_can_be_delivered_again_after_removal(place: Place) -> None:
    deliver(place.open(), new_key())
    place.open().stage(new_key())
    place.open().remove()
    key = new_key()
    place.open().preflight()
    deliver(place.open(), key)
    assert place.consumed() == key.id
    assert place.open().held() == Held(key.id, None)


def test_a_readable_backend_does_not_take_deliveries(place: Place) -> None:
    with pytest.raises(BackendError, match="does not deliver"):
        place.open().deliver(new_key())


def test_two_at_once_stage_and_promote_the_same_key(place: Place) -> None:
    old, key = new_key(), new_key()
    deliver(place.open(), old)
    failures: list[BaseException] = []
    start = threading.Barrier(2)
    backends = [place.open(), place.open()]

    def run(backend: Backend) -> None:
        try:
            start.wait(20)
            backend.stage(key)
            start.wait(20)
            backend.promote(key.id)
        except BaseException as error:  # noqa: BLE001 - handed to the test's own thread
            failures.append(error)

    threads = [threading.Thread(target=run, args=(backend,)) for backend in backends]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failures == []
    assert place.consumed() == key.id
    assert place.open().held() == Held(key.id, None)


def test_a_place_that_only_its_line_is_left_of_is_opened_again_and_emptied(aws_place: AwsPlace) -> None:
    key, pending = new_key(), new_key()
    deliver(aws_place.open(), key)
    aws_place.open().stage(pending)
    settings = settings_of(aws_place.open().target, Names())
    assert settings is not None
    again = open_backend(settings, aws_place.watched, Names())
    assert again.target == aws_place.open().target
    assert again.held() == Held(key.id, pending.id)
    assert again.read_staged(key.id) == key
    assert again.remove() is True
    assert aws_place.consumed() is None
    assert again.remove() is False


def test_a_line_opens_nothing_of_somebody_else(aws_place: AwsPlace) -> None:
    aws_place.make_foreign_target()
    settings = settings_of(aws_place.open().target, Names())
    assert settings is not None
    again = open_backend(settings, aws_place.watched, Names())
    assert again.held() == Held(None, None)
    assert again.remove() is False
    assert aws_place.foreign_is_there()


def test_a_crash_after_each_request_loses_no_key_and_a_repetition_finishes(aws_place: AwsPlace) -> None:
    old = new_key()
    deliver(aws_place.open(), old)
    crashed = 0
    for allowed in range(20):
        key = new_key()
        aws_place.open().stage(key)
        sent = itertools.count()

        def crash(_: object, limit: int = allowed, sent: Iterator[int] = sent) -> None:
            if next(sent) >= limit:
                raise LeaseLostError("crash")

        try:
            deliver(aws_place.open(aws_place.aws.access.fenced_by(crash)), key)
            break
        except LeaseLostError:
            crashed += 1
        assert aws_place.consumed() in {old.id, key.id}
        assert aws_place.open().read_staged(key.id) == key
        aws_place.open().promote(key.id)
        assert aws_place.open().held() == Held(key.id, None)
        old = key
    assert crashed >= 4


def test_which_key_is_held_is_learnt_without_reading_a_secret(aws_place: AwsPlace) -> None:
    backend = aws_place.open()
    deliver(backend, new_key())
    backend.stage(new_key())
    aws_place.watched.operations.clear()
    backend.preflight()
    assert None not in (backend.held().current, backend.held().pending)
    allowed = {"DescribeSecret", "DescribeParameters", "ListTagsForResource"}
    assert aws_place.watched.operations
    assert set(aws_place.watched.operations) <= allowed


def test_the_document_has_three_members(aws_place: AwsPlace) -> None:
    key = new_key()
    deliver(aws_place.open(), key)
    value = aws_place._value()
    assert value is not None
    assert json.loads(value) == {
        "AWS_ACCESS_KEY_ID": key.id,
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_REGION": "eu-west-1",
    }


def limited_user(aws: EmbeddedAws, *actions: str) -> tuple[str, str]:
    iam, user = aws.client("iam"), f"limited-{secrets.token_hex(4)}"
    iam.create_user(UserName=user)
    if actions:
        statement = {"Effect": "Allow", "Action": list(actions), "Resource": "*"}
        document = {"Version": "2012-10-17", "Statement": [statement]}
        iam.put_user_policy(UserName=user, PolicyName="p", PolicyDocument=json.dumps(document))
    made = iam.create_access_key(UserName=user)["AccessKey"]
    return made["AccessKeyId"], made["SecretAccessKey"]


def test_preflight_names_the_missing_permission(aws_place: AwsPlace) -> None:
    key_id, secret = limited_user(aws_place.aws)
    access = aws_place.aws.access.with_key(key_id, Secret(secret))
    with pytest.raises(BackendError) as caught:
        aws_place.open(access).preflight()
    assert "AccessDenied" in str(caught.value)
    assert "secretsmanager:DescribeSecret" in str(caught.value) or "ssm:DescribeParameters" in str(caught.value)
    assert aws_place.open().target in str(caught.value)


def test_a_missing_right_to_write_leaves_everything_as_it_was(aws_place: AwsPlace) -> None:
    old = new_key()
    deliver(aws_place.open(), old)
    readers = ("secretsmanager:DescribeSecret", "ssm:DescribeParameters", "ssm:ListTagsForResource")
    key_id, secret = limited_user(aws_place.aws, *readers)
    backend = aws_place.open(aws_place.aws.access.with_key(key_id, Secret(secret)))
    backend.preflight()
    with pytest.raises(BackendError, match="AccessDenied") as caught:
        backend.stage(new_key())
    assert "PutSecretValue" in str(caught.value) or "PutParameter" in str(caught.value)
    with pytest.raises(BackendError, match="AccessDenied"):
        backend.remove()
    assert aws_place.open().held() == Held(old.id, None)


def test_a_wrong_secret_key_is_an_error_of_the_backend(aws_place: AwsPlace) -> None:
    key_id, _ = limited_user(aws_place.aws)
    access = aws_place.aws.access.with_key(key_id, Secret("wrong"))
    with pytest.raises(BackendError, match=r"InvalidSignature|SignatureDoesNotMatch"):
        aws_place.open(access).preflight()


def test_an_endpoint_that_does_not_answer_is_an_error_of_the_backend(aws_place: AwsPlace) -> None:
    from botocore.session import Session

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    session = Session()
    session.set_credentials("AKIAIOSFODNN7EXAMPLE", "x")
    closed = AwsAccess(
        session,
        account_id="000000000000",
        region="eu-west-1",
        partition="aws",
        endpoint_url=f"http://127.0.0.1:{port}",
        loopback=True,
    )
    with pytest.raises(BackendError, match="no answer from AWS"):
        aws_place.open(Watched(closed)).preflight()


@pytest.mark.parametrize(
    ("status", "code"),
    [(400, "ThrottlingException"), (500, "InternalServiceError"), (404, "Strange"), (503, "")],
)
@pytest.mark.parametrize("failing", ["Put", "Describe", "UpdateSecretVersionStage|GetParameter|DeleteParameter"])
def test_a_failing_call_tells_operation_and_target_and_loses_nothing(
    aws_place: AwsPlace, failing: str, status: int, code: str
) -> None:
    old, key = new_key(), new_key()
    deliver(aws_place.open(), old)
    prefixes = tuple(failing.split("|"))
    aws_place.watched.answer = lambda name: (status, code) if name.startswith(prefixes) else None
    with pytest.raises(BackendError, match="AWS answered") as caught:
        deliver(aws_place.open(), key)
    aws_place.watched.answer = lambda _: None
    assert caught.value.where == aws_place.open().target
    assert leaks(shown(caught.value, frames_of_tests=True)) == []
    assert aws_place.consumed() in {old.id, key.id}
    deliver(aws_place.open(), key)
    assert aws_place.open().held() == Held(key.id, None)


def test_nothing_shows_the_secret(place: Place, debug_log: io.StringIO, capfd: pytest.CaptureFixture[str]) -> None:
    old, key = new_key(), new_key()
    backend = place.open()
    deliver(backend, old)
    backend.stage(key)
    read = backend.read_staged(key.id)
    found = [repr(backend), repr(vars(backend)), str(read), repr(backend.held())]
    attempts: tuple[Callable[[], object], ...] = (
        lambda: backend.stage(new_key()),
        lambda: backend.promote(new_key().id),
        lambda: backend.stage(AccessKey("not an id", Secret(SECRET))),
        lambda: backend.deliver(key),
    )
    for failing in attempts:
        try:
            failing()
        except BackendError as error:
            found.append(shown(error, frames_of_tests=True))
    if isinstance(place, AwsPlace):
        assert "Making request for" in debug_log.getvalue()
        assert len(found) == 8
    captured = capfd.readouterr()
    assert leaks("\n".join([*found, debug_log.getvalue(), captured.out, captured.err])) == []


def test_a_planted_leak_is_found(debug_log: io.StringIO) -> None:
    logging.getLogger("somewhere").debug("the body is %s", json.dumps({"key": SECRET}))
    assert leaks(debug_log.getvalue())
    for planted in forms(SECRET):
        assert leaks(f"<{planted}>")


@pytest.mark.parametrize("before_request", range(4))
def test_a_lost_lease_passes_through_without_the_request(aws_place: AwsPlace, before_request: int) -> None:
    sent = itertools.count()

    def lost(_: object) -> None:
        if next(sent) >= before_request:
            raise LeaseLostError("lost")

    backend = aws_place.open(aws_place.aws.access.fenced_by(lost))
    with pytest.raises(LeaseLostError) as caught:
        deliver(backend, new_key())
    assert not [frame for frame in traceback.extract_tb(caught.tb) if "botocore" in frame.filename]
    assert caught.value.__context__ is None
    assert leaks(shown(caught.value, frames_of_tests=True)) == []

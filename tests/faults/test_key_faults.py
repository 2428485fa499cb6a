"""The key work on real parts, in process, through faults of network and services: the next run finishes what is left."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from ci_user import rotation
from ci_user.backends import Held, open_backend, settings_model
from ci_user.environment import Verification
from ci_user.environment_parts import Rotation
from ci_user.errors import AwsError, BackendError, CiUserError, KeyStateError
from ci_user.iam_user import IamUser
from ci_user.keeper import Kept, KeyKeeper
from ci_user.lease import Lease, peek
from ci_user.rotation import Goal
from ci_user.secret import Secret
from ci_user.state_bucket import StateBucket
from tests.contract.place import Names
from tests.proxy import Answer, Proxy, Request

if TYPE_CHECKING:
    from ci_user.backends import Backend
    from ci_user.credentials import AwsAccess
    from tests.conftest import EmbeddedAws

MANAGER, PARAMETERS = "aws-secrets-manager", "aws-ssm"
KEEP = rotation.Keep()
STAGES = (MANAGER, PARAMETERS)
MINT = "CreateAccessKey"
BUCKET = "key-faults-state"
SERVICES = {"AmazonSSM": "ssm", "secretsmanager": "secretsmanager"}


@dataclass(frozen=True)
class OtherProcess:
    """Each run counts as a process of its own on one machine, and the runs before it as dead."""

    pid: int
    id: str = "one-machine"

    def started(self, pid: int) -> str | None:
        return str(pid)

    def gone(self, pid: int, started: str | None) -> bool:
        return pid != self.pid


def no_pause(_: float) -> None:
    return


def service(request: Request) -> str:
    """Return which service a request goes to."""
    target = request.headers.get("x-amz-target", "").split(".")[0]
    if " " in request.action:
        return "s3"
    return SERVICES.get(target, "sts" if request.action == "GetCallerIdentity" else "iam")


@dataclass
class World:
    """What outlives a run: the user, the backends, the lease object; and what was seen on the way to them."""

    aws: EmbeddedAws
    proxy: Proxy
    stage: str
    name: str
    directory: Path
    mints: list[list[Request]] = field(default_factory=list)
    most: int = 0
    runs: int = 0

    def __post_init__(self) -> None:
        self.names = Names(self.name, f"key-faults-{self.name}")
        self.user = f"{self.names.prefix}.ci"
        self.arn = f"arn:aws:iam::{self.aws.account_id}:user/{self.user}"
        self.secret = f"{'/' if self.stage == PARAMETERS else ''}ci-user/key-faults/{self.name}"
        self.lease_key = f"{self.name}/lease.json"
        self.dotenv = self.directory / f"{self.name}.env"
        self.aws.client("iam").create_user(UserName=self.user)
        self.proxy.clear()
        self.proxy.observe = self._count

    def _count(self, request: Request, status: int, body: bytes) -> None:
        if request.action == MINT and status == 200:
            self.most = max(self.most, len(self.listed()))

    def listed(self) -> list[Any]:
        listed: list[Any] = self.aws.client("iam").list_access_keys(UserName=self.user)["AccessKeyMetadata"]
        return listed

    def access(self) -> AwsAccess:
        """Return the administrator's way in, through the proxy and with clients of its own."""
        access = self.aws.access.fenced_by(no_check)
        access.endpoint_url = self.proxy.url
        return access

    def backends(self, access: AwsAccess) -> list[Backend]:
        settings = ({"backend": self.stage, "name": self.secret}, {"backend": "dotenv", "path": self.dotenv.name})
        models = [settings_model(one["backend"]).model_validate(one) for one in settings]
        return [open_backend(model, access, self.names, self.directory) for model in models]

    def run(self, goal: Goal = KEEP, *, lag: timedelta = timedelta(0)) -> Kept:
        """Do the key work as a run of its own would: new clients, new lease, new keeper."""
        self.runs += 1
        seen = len(self.proxy.requests)
        access = self.access()
        bucket = StateBucket(access, BUCKET, self.aws.account_id, self.aws.region, "aws", None, pause=no_pause)
        try:
            with Lease.acquire(
                bucket,
                self.lease_key,
                ttl=timedelta(minutes=10),
                command="deploy",
                machine=OtherProcess(self.runs),
                pause=no_pause,
                renewing=False,
            ) as lease:
                fenced = access.fenced_by(lease.check_request)
                keeper = KeyKeeper(
                    user=IamUser(fenced, self.user),
                    access=access,
                    backends=self.backends(fenced),
                    lease=lease,
                    verification=Verification(
                        successes=1, interval=timedelta(milliseconds=1), deadline=timedelta(seconds=1), lag=lag
                    ),
                    schedule=Rotation(
                        grace=timedelta(0), margin=timedelta(0), soak=timedelta(0), expire_after=timedelta(0)
                    ),
                    user_arn=self.arn,
                    pause=no_pause,
                )
                keeper.preflight()
                return keeper.reach(goal)
        finally:
            self.mints.append([request for request in self.proxy.requests[seen:] if request.action == MINT])

    def consumed(self) -> dict[str, str]:
        """Return the document that consumers read."""
        if self.stage == MANAGER:
            text = self.aws.client("secretsmanager").get_secret_value(SecretId=self.secret)["SecretString"]
        else:
            text = self.aws.client("ssm").get_parameter(Name=self.secret, WithDecryption=True)["Parameter"]["Value"]
        document: dict[str, str] = json.loads(text)
        return document

    def assert_settled(self, when: str, *, most: int = 1) -> str:
        """See that one key is left, delivered and working, and nothing half done; return its id."""
        (key,) = self.listed()
        document = self.consumed()
        key_id: str = key["AccessKeyId"]
        assert (key_id, key["Status"]) == (document["AWS_ACCESS_KEY_ID"], "Active"), when
        assert self.backends(self.aws.access)[0].held() == Held(key_id, None), when
        if self.stage == MANAGER:
            versions = self.aws.client("secretsmanager").describe_secret(SecretId=self.secret)["VersionIdsToStages"]
            assert not [one for one, labels in versions.items() if "AWSPENDING" in labels], when
        secret = document["AWS_SECRET_ACCESS_KEY"]
        assert secret in self.dotenv.read_text(), when
        assert self.aws.access.with_key(key_id, Secret(secret)).caller().arn == self.arn, when
        bucket = StateBucket(self.aws.access, BUCKET, self.aws.account_id, self.aws.region, "aws", None)
        state = peek(bucket, self.lease_key)
        assert state.holder is None, when
        assert state.journal.intent is None, when
        assert [(one.id, one.state, len(one.delivered)) for one in state.journal.keys.values()] == [
            (key_id, "delivered", 2)
        ], when
        # An orphan goes before its successor is made, so a first key is never even joined by a second one.
        assert self.most <= most, when
        assert all(len(minted) <= 1 for minted in self.mints), when
        agents = [minted[0].headers["user-agent"].partition("ci-user-intent/")[2] for minted in self.mints if minted]
        assert all(agents), when
        assert len(set(agents)) == len(agents), when
        return key_id


def no_check(_: object) -> None:
    return


NewWorld = Callable[..., World]


@pytest.fixture(scope="module")
def proxy(aws: EmbeddedAws) -> Iterator[Proxy]:
    StateBucket(aws.access, BUCKET, aws.account_id, aws.region, "aws", None).bootstrap()
    with Proxy(aws.endpoint_url).running() as running:
        yield running


@pytest.fixture
def new_world(aws: EmbeddedAws, proxy: Proxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[NewWorld]:
    """Make users that no run has been on; the SDK's waits between its retries take no time."""
    monkeypatch.setattr("botocore.endpoint.time", SimpleNamespace(sleep=no_pause))
    made: list[World] = []

    def make(stage: str = MANAGER) -> World:
        name = f"{tmp_path.name.replace('_', '-')}-{len(made)}"
        made.append(World(aws, proxy, stage, name, tmp_path))
        return made[-1]

    yield make
    proxy.clear()
    proxy.observe = lambda _request, _status, _body: None


def first_run(world: World) -> list[Request]:
    """Return the requests of a first key's run to which nothing happens."""
    kept = world.run()
    assert kept.made
    assert kept.key_id == world.assert_settled("without faults")
    return list(world.proxy.requests)


@dataclass
class Cut:
    """Cuts the connection for good at the n-th changing request: as it is sent, or when it has taken effect."""

    n: int
    reached: bool
    count: int = 0
    hit: Request | None = None

    def before(self, request: Request) -> Answer | None:
        if self.hit is not None:
            return Answer(drop=True)
        if request.changing:
            self.count += 1
            if self.count == self.n:
                self.hit = request
                return None if self.reached else Answer(drop=True)
        return None

    def after(self, request: Request) -> Answer | None:
        return Answer(drop=True) if request is self.hit else None

    def __str__(self) -> str:
        place = "after it took effect" if self.reached else "before it arrived"
        return f"request {self.n}, {self.hit.action if self.hit else 'never sent'}, {place}"


@pytest.mark.parametrize("reached", [False, True], ids=["before", "after"])
def test_a_run_that_is_cut_off_at_any_changing_request_is_finished_by_the_next(
    new_world: NewWorld, reached: bool
) -> None:
    """To AWS this is also the crash of a run: nothing more of it arrives, and its lease is not given back.

    What is sent to Secrets Manager and to others than the stage is cut off in test_kill_at_every_call.py.
    """
    stage = PARAMETERS
    recorded = [request for request in first_run(new_world(stage)) if request.changing]
    changing = [request.action for request in recorded]
    assert changing.count(MINT) == 1
    for n, request in enumerate(recorded, 1):
        if service(request) != "ssm":
            continue
        world = new_world(stage)
        cut = Cut(n, reached)
        world.proxy.before, world.proxy.after = cut.before, cut.after
        # The last request gives the lease back: what is lost then is only logged.
        with suppress(CiUserError):
            world.run()
            assert n == len(changing), cut
        assert cut.hit is not None, cut
        assert cut.hit.action.split(" ")[0] == changing[n - 1].split(" ")[0], cut
        world.proxy.clear()
        world.run()
        world.assert_settled(str(cut))


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("fault", ["throttled", "dropped before it arrives", "dropped after it took effect"])
def test_the_first_attempt_of_every_changing_request_fails_and_the_run_ends_well(
    new_world: NewWorld, stage: str, fault: str
) -> None:
    world, seen = new_world(stage), dict[tuple[str, bytes], str]()

    def interfere(request: Request) -> Answer | None:
        key = (request.action, request.body)
        if not request.changing or request.action == MINT or key in seen:
            return None
        seen[key] = service(request)
        return THROTTLED[service(request)] if fault == "throttled" else Answer(drop=True)

    if fault == "dropped after it took effect":
        world.proxy.after = interfere
    else:
        world.proxy.before = interfere
    assert world.run().made
    world.assert_settled(fault)
    assert set(seen.values()) == {"s3", "iam", "ssm" if stage == PARAMETERS else "secretsmanager"}
    assert [len(minted) for minted in world.mints] == [1]


def refused(code: str, status: int = 400) -> Answer:
    """Return an error as IAM says it."""
    body = f"<ErrorResponse><Error><Type>Sender</Type><Code>{code}</Code><Message>no</Message></Error></ErrorResponse>"
    return Answer(status, body.encode(), headers=(("Content-Type", "text/xml"),))


def refused_json(code: str, status: int = 400) -> Answer:
    """Return an error as Secrets Manager and Parameter Store say it."""
    body = json.dumps({"__type": code, "message": "no"}).encode()
    return Answer(status, body, headers=(("Content-Type", "application/x-amz-json-1.1"),))


THROTTLED = {
    "iam": refused("Throttling"),
    "s3": Answer(503, b"<Error><Code>SlowDown</Code><Message>no</Message></Error>"),
    "secretsmanager": refused_json("ThrottlingException"),
    "ssm": refused_json("ThrottlingException"),
}


def at(action: str, answer: Answer) -> Callable[[Request], Answer | None]:
    return lambda request: answer if request.action == action else None


@pytest.mark.parametrize(
    "answer", [refused("Throttling"), refused("ServiceFailure", 500), refused("ServiceUnavailable", 503)]
)
def test_a_refused_mint_is_not_repeated_within_the_run(new_world: NewWorld, answer: Answer) -> None:
    world = new_world()
    world.proxy.before = at(MINT, answer)
    with pytest.raises(AwsError, match="making an access key"):
        world.run()
    assert [len(minted) for minted in world.mints] == [1]
    assert world.listed() == []
    world.proxy.clear()
    assert world.run().made
    world.assert_settled("refused")


def test_a_mint_that_took_effect_and_was_answered_500_is_cleaned_up(new_world: NewWorld) -> None:
    world = new_world()
    world.proxy.after = at(MINT, refused("ServiceFailure", 500))
    with pytest.raises(AwsError, match="making an access key"):
        world.run()
    (orphan,) = world.listed()
    world.proxy.clear()
    kept = world.run()
    assert any(orphan["AccessKeyId"] in act for act in kept.acts)
    assert world.assert_settled("answered 500") != orphan["AccessKeyId"]


def test_a_user_with_too_many_keys_is_told_so(new_world: NewWorld) -> None:
    world = new_world()
    world.proxy.before = at(MINT, refused("LimitExceeded", 409))
    with pytest.raises(KeyStateError, match="allows no further access key") as raised:
        world.run()
    assert raised.value.runbook == "two-keys"
    assert [len(minted) for minted in world.mints] == [1]
    world.proxy.clear()
    assert world.run().made
    world.assert_settled("too many")


def first_and_last(requests: list[Request]) -> list[int]:
    """Return where each action occurs first and last, and every changing one."""
    actions = [request.action for request in requests]
    found = {actions.index(action) for action in actions}
    found |= {len(actions) - 1 - actions[::-1].index(action) for action in actions}
    return sorted(found | {number for number, request in enumerate(requests) if request.changing})


def test_a_backend_that_refuses_a_call_loses_nothing(new_world: NewWorld) -> None:
    calls = [request for request in first_run(new_world()) if service(request) in SERVICES.values()]
    numbers = first_and_last(calls)
    assert {calls[n].action for n in numbers} == {
        "DescribeSecret",
        "CreateSecret",
        "PutSecretValue",
        "GetSecretValue",
        "UpdateSecretVersionStage",
    }
    for number in numbers:
        world = new_world()
        refusing = Refusing(world, number)
        world.proxy.before = refusing.before
        with pytest.raises(BackendError, match="AccessDenied") as raised:
            world.run()
        when = f"call {number}, {calls[number].action}"
        assert raised.value.exit_code == 1, when
        assert calls[number].action in str(raised.value), when
        left = [key["AccessKeyId"] for key in world.listed()]
        assert len(left) == refusing.minted, when
        world.proxy.clear()
        kept = world.run()
        key_id = world.assert_settled(when)
        if refusing.staged:
            assert (left, kept.made) == ([key_id], False), when


@dataclass
class Refusing:
    """Refuses the backend's call of this number, and remembers how far the key had come by then."""

    world: World
    number: int
    count: int = 0
    staged: bool = False
    minted: int = 0

    def before(self, request: Request) -> Answer | None:
        if service(request) not in SERVICES.values():
            return None
        self.count += 1
        if self.count - 1 != self.number:
            return None
        earlier = self.world.proxy.requests[:-1]
        self.staged = any(b"AWS_SECRET_ACCESS_KEY" in one.body for one in earlier)
        self.minted = len([one for one in earlier if one.action == MINT])
        return refused_json("AccessDeniedException")


ROTATE = rotation.Rotate(force=True)


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("fault", ["throttled", "dropped before it arrives", "dropped after it took effect"])
def test_the_first_attempt_of_every_changing_request_of_a_rotation_fails_and_it_ends_well(
    new_world: NewWorld, stage: str, fault: str
) -> None:
    world, seen = new_world(stage), set[tuple[str, bytes]]()
    old = world.run().key_id

    def interfere(request: Request) -> Answer | None:
        key = (request.action, request.body)
        if not request.changing or request.action == MINT or key in seen:
            return None
        seen.add(key)
        return THROTTLED[service(request)] if fault == "throttled" else Answer(drop=True)

    if fault == "dropped after it took effect":
        world.proxy.after = interfere
    else:
        world.proxy.before = interfere
    kept = world.run(ROTATE)
    assert kept.made
    assert kept.key_id != old
    world.assert_settled(fault, most=2)
    assert {"UpdateAccessKey", "DeleteAccessKey"} <= {action for action, _ in seen}
    assert [len(minted) for minted in world.mints] == [1, 1]


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (refused("LimitExceeded", 409), KeyStateError),
        (refused("Throttling"), AwsError),
        (refused("InternalFailure", 500), AwsError),
    ],
)
def test_a_rotation_whose_mint_is_refused_leaves_the_old_key_and_asks_once(
    new_world: NewWorld, answer: Answer, error: type[CiUserError]
) -> None:
    world = new_world()
    old = world.run().key_id
    world.proxy.before = at(MINT, answer)
    with pytest.raises(error):
        world.run(ROTATE)
    assert [len(minted) for minted in world.mints] == [1, 1]
    assert [key["AccessKeyId"] for key in world.listed()] == [old]
    assert world.consumed()["AWS_ACCESS_KEY_ID"] == old
    world.proxy.clear()
    # The intent stands, so the rotation is finished without being asked for again.
    assert world.run(rotation.Rotate()).key_id != old
    world.assert_settled("refused", most=2)


def test_a_new_key_that_sts_does_not_know_for_a_while_is_not_delivered_before_it_does(new_world: NewWorld) -> None:
    world = new_world()
    old = world.run().key_id
    ignorant = [3]

    def stale(request: Request) -> Answer | None:
        if request.action == "GetCallerIdentity" and "Credential=AKIA" in request.headers.get("authorization", ""):
            assert world.consumed()["AWS_ACCESS_KEY_ID"] == old
            ignorant[0] -= 1
            if ignorant[0] >= 0:
                return refused("InvalidClientTokenId", 403)
        return None

    world.proxy.before = stale
    assert world.run(ROTATE).made
    assert ignorant[0] < 0
    world.assert_settled("stale", most=2)


def test_a_deleted_key_that_iam_lists_for_a_while_is_not_taken_for_somebody_elses(new_world: NewWorld) -> None:
    world, lag = new_world(), timedelta(minutes=1)
    world.run()
    lists: list[bytes] = []
    deleted: list[str] = []

    def remember(request: Request, status: int, body: bytes) -> None:
        if request.action == "ListAccessKeys" and body.count(b"<AccessKeyId>") == 2:
            lists.append(body)
        if request.action == "DeleteAccessKey":
            deleted.append(request.action)

    def stale(request: Request) -> Answer | None:
        if request.action == "ListAccessKeys" and deleted:
            return Answer(200, lists[-1], headers=(("Content-Type", "text/xml"),))
        return None

    world.proxy.observe, world.proxy.after = remember, stale
    # The run that deleted it does not believe that it is there again, nor does the next one while lists may run behind.
    current = world.run(ROTATE, lag=lag).key_id
    assert deleted
    assert current == world.consumed()["AWS_ACCESS_KEY_ID"]
    kept = world.run(rotation.Rotate(), lag=lag)
    assert (kept.key_id, kept.acts) == (current, ())
    world.proxy.clear()
    world.run(rotation.Rotate())
    world.assert_settled("stale", most=2)


@pytest.mark.parametrize("stage", STAGES)
def test_a_backend_that_refuses_each_call_of_a_rotation_loses_no_key(new_world: NewWorld, stage: str) -> None:
    recording = new_world(stage)
    recording.run()
    recording.proxy.clear()
    recording.run(ROTATE)
    calls = [request for request in recording.proxy.requests if service(request) in SERVICES.values()]
    for number in first_and_last(calls):
        world, count = new_world(stage), [0]
        old = world.run().key_id

        def refuse(request: Request, number: int = number, count: list[int] = count) -> Answer | None:
            if service(request) not in SERVICES.values():
                return None
            count[0] += 1
            return refused_json("AccessDeniedException") if count[0] - 1 == number else None

        world.proxy.before = refuse
        with pytest.raises(BackendError):
            world.run(ROTATE)
        when = f"call {number}, {calls[number].action}"
        world.proxy.clear()
        held = world.consumed()
        assert world.aws.access.with_key(held["AWS_ACCESS_KEY_ID"], Secret(held["AWS_SECRET_ACCESS_KEY"])).caller(), (
            when
        )
        assert world.run(ROTATE).key_id != old, when
        world.assert_settled(when, most=2)

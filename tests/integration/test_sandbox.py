from __future__ import annotations

import json
import os
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ci_user.credentials import AwsAccess
from ci_user.errors import CredentialsError, SandboxError
from ci_user.process_identity import identity
from ci_user.sandbox import Sandbox
from ci_user.secret import Secret

ACCOUNT = "000000000000"


def make(root: Path, directory: Path, usual_port: int = 0) -> Sandbox:
    return Sandbox(root, account_id=ACCOUNT, region="eu-west-1", directory=directory, usual_port=usual_port)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "with a space" / "sandbox"


@pytest.fixture
def sandbox(root: Path, directory: Path) -> Iterator[Sandbox]:
    sandbox = make(root, directory)
    yield sandbox
    sandbox.down()


def access(sandbox: Sandbox) -> AwsAccess:
    from botocore.session import Session

    credentials = sandbox.deployer_credentials()
    session = Session()
    session.set_credentials(
        credentials.access_key_id,
        credentials.secret_access_key.reveal(),
        credentials.session_token.reveal(),
    )
    return AwsAccess(
        session,
        account_id=ACCOUNT,
        region=sandbox.region,
        partition="aws",
        endpoint_url=sandbox.environment()["AWS_ENDPOINT_URL"],
        loopback=True,
    )


def record(directory: Path) -> Path:
    return directory / "running.json"


def kill_9(pid: int) -> None:
    os.killpg(pid, signal.SIGKILL)
    while identity(pid) is not None:
        pass


def test_orderly_stop_keeps_users_and_keys(sandbox: Sandbox, directory: Path) -> None:
    first = sandbox.up()
    iam = access(sandbox).client("iam")
    iam.create_user(UserName="kept")
    key = iam.create_access_key(UserName="kept")["AccessKey"]

    assert sandbox.down().stopped
    assert identity(first.pid) is None
    assert not record(directory).exists()
    second = sandbox.up()

    assert (second.started, second.orderly, second.notes) == (True, True, ())
    assert second.pid != first.pid
    again = access(sandbox).with_key(key["AccessKeyId"], Secret(key["SecretAccessKey"]))
    assert again.caller().arn == f"arn:aws:iam::{ACCOUNT}:user/kept"


def test_second_up_finds_the_running_one(root: Path, directory: Path, sandbox: Sandbox) -> None:
    first = sandbox.up()
    second = make(root, directory).up()
    assert first.started
    assert not second.started
    assert (second.pid, second.endpoint_url) == (first.pid, first.endpoint_url)


def up_elsewhere(root: Path, directory: Path) -> subprocess.Popen[str]:
    code = (
        "import sys; from pathlib import Path; from ci_user.sandbox import Sandbox; "
        "up = Sandbox(Path(sys.argv[1]), account_id='000000000000', region='eu-west-1', "
        "directory=Path(sys.argv[2]), usual_port=0).up(); print(up.pid, up.started)"
    )
    return subprocess.Popen(
        [sys.executable, "-c", code, str(root), str(directory)], cwd=root, stdout=subprocess.PIPE, text=True
    )


def test_it_outlives_the_process_that_started_it(root: Path, directory: Path, sandbox: Sandbox) -> None:
    printed, _ = up_elsewhere(root, directory).communicate(timeout=60)
    found = sandbox.up()
    assert not found.started
    assert printed.split() == [str(found.pid), "True"]
    assert os.getsid(found.pid) == found.pid


def test_what_it_keeps_is_private(sandbox: Sandbox, directory: Path) -> None:
    sandbox.up()
    access(sandbox).client("iam").create_user(UserName="private")
    sandbox.down()
    for path in [directory, *directory.rglob("*")]:
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path


def test_it_listens_on_loopback_only(sandbox: Sandbox) -> None:
    port = sandbox.up().port
    # 127.0.0.2 is answered by whoever listens on every address.
    with socket.socket() as probe:
        probe.settimeout(2)
        assert probe.connect_ex(("127.0.0.2", port)) != 0


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"not json",
        b"[]",
        b'{"pid": 1}',
        b'{"pid": "x", "port": "y", "identity": "", "instance": "", "after_crash": false}',
        b'{"pid": -1, "port": 4566, "identity": "", "instance": "", "after_crash": false}',
        b'{"pid": 99999999, "port": 1, "identity": "gone", "instance": "i", "after_crash": false}',
    ],
)
def test_a_stale_record_does_no_harm(sandbox: Sandbox, directory: Path, content: bytes) -> None:
    directory.mkdir(parents=True)
    record(directory).write_bytes(content)
    assert sandbox.status() is None
    assert not sandbox.down().stopped
    up = sandbox.up()
    assert up.started
    assert not up.orderly
    assert json.loads(record(directory).read_bytes())["pid"] == up.pid


def test_a_foreign_process_with_the_recorded_pid_is_left_alone(sandbox: Sandbox, directory: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as foreign:
        directory.mkdir(parents=True)
        stale: dict[str, Any] = {"pid": foreign.pid, "port": 4566, "identity": "another start"}
        record(directory).write_text(json.dumps({**stale, "instance": "i", "after_crash": False}))

        assert not sandbox.down().stopped
        assert sandbox.reset() is None
        assert sandbox.up().pid != foreign.pid
        assert foreign.poll() is None
        foreign.communicate(b"\n")


def test_another_emulator_on_the_recorded_port_is_not_taken_for_ours(
    root: Path, tmp_path: Path, sandbox: Sandbox, directory: Path
) -> None:
    other = make(root, tmp_path / "other")
    try:
        theirs = other.up()
        sandbox.up()
        sandbox.down()
        directory.joinpath("running.json").write_bytes((tmp_path / "other/running.json").read_bytes())
        forged = json.loads(record(directory).read_bytes()) | {"identity": "another start"}
        record(directory).write_text(json.dumps(forged))
        assert sandbox.status() is None
        ours = sandbox.up()
        assert ours.port != theirs.port
        still = other.status()
        assert still
        assert still.pid == theirs.pid
    finally:
        other.down()


def test_another_port_is_used_and_said_when_the_usual_one_is_taken(root: Path, directory: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        sandbox = make(root, directory, usual_port=port)
        try:
            up = sandbox.up()
            assert up.port != port
            assert up.notes == (f"port {port} is taken, so the embedded AWS listens on {up.port}",)
            assert sandbox.environment()["AWS_ENDPOINT_URL"] == f"http://127.0.0.1:{up.port}"
        finally:
            sandbox.down()


def test_up_tells_of_a_crash_until_an_orderly_stop(sandbox: Sandbox) -> None:
    kill_9(sandbox.up().pid)
    assert sandbox.status() is None
    with pytest.raises(SandboxError, match="not running") as refused:
        sandbox.environment()
    assert refused.value.do == "run `invoke sandbox.up`"

    up = sandbox.up()
    assert (up.started, up.orderly) == (True, False)
    assert "sandbox.reset" in up.notes[0]
    assert not sandbox.up().orderly

    assert sandbox.down().orderly
    assert sandbox.up().orderly


def test_one_that_hangs_is_named_and_can_be_stopped(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ci_user.sandbox._ANSWER_SECONDS", 0.1)
    monkeypatch.setattr("ci_user.emulator._ANSWER_SECONDS", 0.1)
    monkeypatch.setattr("ci_user.sandbox._STOP_SECONDS", 0.1)
    up = sandbox.up()
    os.kill(up.pid, signal.SIGSTOP)
    with pytest.raises(SandboxError, match=f"process {up.pid}\\) but does not answer") as refused:
        sandbox.up()
    assert "sandbox.down" in str(refused.value)

    down = sandbox.down()
    assert (down.stopped, down.orderly) == (True, False)
    assert "was killed" in down.notes[0]
    assert identity(up.pid) is None
    assert not sandbox.up().orderly


def test_reset_throws_everything_away_and_keeps_the_port(sandbox: Sandbox, directory: Path) -> None:
    up = sandbox.up()
    before = access(sandbox)
    before.client("iam").create_user(UserName="gone")
    before.client("s3").create_bucket(Bucket="gone", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})

    again = sandbox.reset()

    assert again
    assert (again.port, again.orderly, again.notes) == (up.port, True, ())
    assert identity(up.pid) is None
    after = access(sandbox)
    assert after.client("iam").list_users()["Users"] == []
    assert after.client("s3").list_buckets()["Buckets"] == []
    assert not list(directory.glob("discarded-*"))


def test_reset_of_a_stopped_one_leaves_it_stopped(sandbox: Sandbox, directory: Path) -> None:
    sandbox.up()
    access(sandbox).client("iam").create_user(UserName="gone")
    sandbox.down()
    assert sandbox.reset() is None
    assert sandbox.status() is None
    sandbox.up()
    assert access(sandbox).client("iam").list_users()["Users"] == []


def test_ups_at_once_start_one(root: Path, directory: Path, sandbox: Sandbox) -> None:
    children = [up_elsewhere(root, directory) for _ in range(3)]
    found = [child.communicate(timeout=60)[0].split() for child in children]
    assert len({pid for pid, _ in found}) == 1
    assert sorted(started for _, started in found) == ["False", "False", "True"]


def test_the_deployer_is_a_role_whose_secret_is_checked(sandbox: Sandbox) -> None:
    sandbox.up()
    deployer = access(sandbox)
    assert deployer.caller().arn.startswith(f"arn:aws:sts::{ACCOUNT}:assumed-role/ci-user-sandbox-deployer/")
    deployer.client("iam").create_user(UserName="made")

    from botocore.session import Session

    credentials = sandbox.deployer_credentials()
    forged = Session()
    forged.set_credentials(credentials.access_key_id, "x" * 40, credentials.session_token.reveal())
    wrong = AwsAccess(
        forged,
        account_id=ACCOUNT,
        region="eu-west-1",
        partition="aws",
        endpoint_url=deployer.endpoint_url,
        loopback=True,
    )
    with pytest.raises(CredentialsError):
        wrong.caller()


def test_a_half_made_deployer_role_is_completed(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    sandbox.up()
    client = AwsAccess.client

    def interrupted(self: AwsAccess, service: str) -> Any:
        found = client(self, service)
        if service == "iam":
            found.meta.events.register("after-call.iam.CreateRole", interrupt)
        return found

    def interrupt(**_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(AwsAccess, "client", interrupted)
    with pytest.raises(KeyboardInterrupt):
        sandbox.deployer_credentials()
    monkeypatch.undo()

    access(sandbox).client("iam").create_user(UserName="made")


def test_the_deployers_session_is_written_nowhere(sandbox: Sandbox, directory: Path) -> None:
    sandbox.up()
    credentials = sandbox.deployer_credentials()
    assert "hidden" in repr(credentials)
    own = [path for path in directory.iterdir() if path.is_file()]
    assert own
    for path in own:
        assert credentials.secret_access_key.reveal().encode() not in path.read_bytes()


def test_ambient_settings_do_not_matter(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_PROFILE", "not-there")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("GATEWAY_PORT", "1")
    sandbox.up()
    assert sandbox.deployer_credentials().access_key_id

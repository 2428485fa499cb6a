"""The CI user's secret stands nowhere but in the backends, however loud the run is and wherever it fails.

Every run has the root logger, botocore and HTTP at DEBUG, or `invoke --debug` and Terraform's TRACE log.
"""

from __future__ import annotations

import base64
import json
import re
import subprocess
import sys
import urllib.parse
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.project import Done, Project
from tests.proxy import Answer, Request
from tests.zygote import Zygote

if TYPE_CHECKING:
    from tests.conftest import EmbeddedAws
    from tests.integration.conftest import NewProject

pytestmark = pytest.mark.timeout(600)

USER = "leaks-testing.ci"
SECRET = "ci-user/leaks/testing"
_LOUD = """
import http.client, logging, sys
logging.basicConfig(level=logging.DEBUG)
for name in ("botocore", "boto3", "urllib3"):
    logging.getLogger(name).setLevel(logging.DEBUG)
http.client.HTTPConnection.debuglevel = 1
from ci_user import commands, key_commands
common = {"env": "testing", "yes": True, "confirm": "", "lock_timeout": "0s"}
tasks = {
    "deploy": (commands.deploy, {"plan": "", "digest": "", "allow_replace": False}),
    "rotate": (key_commands.rotate, {"every": False, "force": True, "now": False}),
    "rotate --now": (key_commands.rotate, {"every": False, "force": True, "now": True}),
    "revoke": (key_commands.revoke, {"all_keys": False, "delete_key": [], "no_replacement": False}),
    "redeliver": (key_commands.redeliver, {"to": ["aws-secrets-manager", "dotenv"]}),
    "reactivate": (key_commands.reactivate, {"key": ""}),
}
task, flags = tasks[sys.argv[1]]
sys.exit(commands.run(lambda console: task(console, **common, **flags), json=True, verbose=True))
"""


def forms(secret: str) -> Iterator[bytes]:
    """Yield the secret as it may stand somewhere: plain, URL- and JSON-escaped, and within any base64 text."""
    yield secret.encode()
    yield urllib.parse.quote(secret, safe="").encode()
    yield json.dumps(secret)[1:-1].encode()
    yield json.dumps(secret).replace("/", "\\/")[1:-1].encode()
    for shift in range(3):
        # The characters at both ends depend on what stands around the secret.
        encoded = base64.b64encode(b"\0" * shift + secret.encode())
        yield encoded[(0, 2, 3)[shift] : len(encoded) - 4]


def found(secret: str, places: dict[str, bytes]) -> list[str]:
    """Return the places that hold the secret in any form."""
    wanted = set(forms(secret))
    return sorted(name for name, content in places.items() if any(form in content for form in wanted))


def files(root: Path) -> dict[str, bytes]:
    delivered = root / ".cache" / "testing.env"
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file() and p != delivered}


_searched: set[str] = set()
REVOKE = {"env": "testing", "all_keys": False, "delete_key": [], "no_replacement": False}
REVOKE |= {"yes": True, "confirm": "", "lock_timeout": "0s"}


def remote(aws: EmbeddedAws) -> dict[str, bytes]:
    """Return every version of everything in the state bucket that was not searched yet, and the user's tags.

    A version never changes, and no key is in one that is older than the key.
    """
    s3 = aws.client("s3")
    every = s3.list_object_versions(Bucket="leaks-state").get("Versions", [])
    listed = [version for version in every if version["VersionId"] not in _searched]
    _searched.update(version["VersionId"] for version in listed)
    places = {
        f"s3:{v['Key']}:{v['VersionId']}": s3.get_object(Bucket="leaks-state", Key=v["Key"], VersionId=v["VersionId"])[
            "Body"
        ].read()
        for v in listed
    }
    iam = aws.client("iam")
    if any(user["UserName"] == USER for user in iam.list_users()["Users"]):
        places["tags"] = json.dumps(iam.list_user_tags(UserName=USER)["Tags"]).encode()
    return places


@pytest.fixture(scope="module")
def project(new_project: NewProject) -> Project:
    made = new_project("leaks")
    done = made.invoke("bootstrap", "--env", "testing", "--yes")
    assert done.code == 0, done.text
    return made


@pytest.fixture(scope="module")
def keeping(project: Project) -> Iterator[Zygote]:
    """The key work of a deploy, without its Terraform; the identity is there."""
    done = project.invoke("deploy", "--env", "testing", "--yes")
    assert done.code == 0, done.text
    zygote = Zygote(project.root, project.environ)
    yield zygote
    zygote.close()


def reset(project: Project, keeping: Zygote, aws: EmbeddedAws) -> None:
    """Begin anew with one delivered key and no deny."""
    project.proxy.clear()
    project.write()
    iam = aws.client("iam")
    for name in iam.list_user_policies(UserName=USER)["PolicyNames"]:
        iam.delete_user_policy(UserName=USER, PolicyName=name)
    for key in iam.list_access_keys(UserName=USER)["AccessKeyMetadata"]:
        iam.delete_access_key(UserName=USER, AccessKeyId=key["AccessKeyId"])
    ended = keeping.run("deploy", env="testing")
    assert ended.code == 0, ended.text
    # What it printed is no output of a command under test.
    (project.root / "output").unlink()


def loud(project: Project, task: str, *, by_invoke: bool = False) -> Done:
    if by_invoke:
        flags = ("--force",) if task == "rotate" else ()
        return project.invoke("--debug", task, *flags, "--env", "testing", "--yes", "--verbose", TF_LOG="TRACE")
    done = subprocess.run(
        [sys.executable, "-c", _LOUD, task],
        cwd=project.root,
        env=project.environ,
        capture_output=True,
        text=True,
        check=False,
    )
    return Done(done.returncode, done.stdout, done.stderr)


def secrets_of(project: Project) -> list[str]:
    pattern = re.compile(rb"<SecretAccessKey>([^<]+)</SecretAccessKey>")
    return [match[1].decode() for body in project.proxy.minted if (match := pattern.search(body))]


def assert_no_leak(project: Project, aws: EmbeddedAws, done: Done) -> None:
    places = {"stdout": done.out.encode(), "stderr": done.err.encode(), **files(project.root), **remote(aws)}
    for secret in secrets_of(project):
        assert len(secret) >= 40
        assert found(secret, places) == []
    # The deployer's own session is a secret too.
    for name in ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        assert found(project.environ[name], places) == []


def refused(action: str) -> Callable[[Request], Answer | None]:
    body = json.dumps({"__type": "AccessDeniedException", "message": "no"}).encode()
    headers = (("Content-Type", "application/x-amz-json-1.1"),)

    def answer(request: Request) -> Answer | None:
        return Answer(400, body, headers=headers) if request.action == action else None

    return answer


def lost(action: str) -> Callable[[Request], Answer | None]:
    return lambda request: Answer(drop=True) if request.action == action else None


def unknown_key(request: Request) -> Answer | None:
    """AWS does not know the new key yet; everybody else's calls pass."""
    if request.action == "GetCallerIdentity" and "Credential=AKIA" in request.headers.get("authorization", ""):
        error = b"<ErrorResponse><Error><Code>InvalidClientTokenId</Code><Message>no</Message></Error></ErrorResponse>"
        return Answer(403, error, headers=(("Content-Type", "text/xml"),))
    return None


def without_key(aws: EmbeddedAws) -> None:
    """Take key and secret away, so that the next deploy has an empty plan and a first key to make."""
    iam = aws.client("iam")
    for key in iam.list_access_keys(UserName=USER)["AccessKeyMetadata"]:
        iam.delete_access_key(UserName=USER, AccessKeyId=key["AccessKeyId"])
    client = aws.client("secretsmanager")
    try:
        client.delete_secret(SecretId=SECRET, ForceDeleteWithoutRecovery=True)
    except client.exceptions.ResourceNotFoundException:
        return


def test_a_deploy_that_fails_in_terraform_leaks_nothing(project: Project, aws: EmbeddedAws) -> None:
    error = b"<ErrorResponse><Error><Code>AccessDenied</Code><Message>no</Message></Error></ErrorResponse>"
    # The first deploy makes policies, a later one reads them.
    project.proxy.before = lambda r: Answer(403, error) if r.action in ("CreatePolicy", "GetPolicy") else None
    done = loud(project, "deploy", by_invoke=True)
    project.proxy.clear()
    assert done.code == 1, done.text[-2000:]
    assert "TRACE" in done.err
    assert_no_leak(project, aws, done)


def test_a_deploy_that_succeeds_leaks_nothing_and_the_backends_have_the_key(project: Project, aws: EmbeddedAws) -> None:
    # Another test of this file may have made the key already: the workers take tests from each other.
    without_key(aws)
    done = loud(project, "deploy", by_invoke=True)
    assert done.code == 0, done.text[-2000:]
    assert_no_leak(project, aws, done)
    secret = secrets_of(project)[-1]
    stored = aws.client("secretsmanager").get_secret_value(SecretId=SECRET)["SecretString"]
    delivered = (project.root / ".cache" / "testing.env").read_bytes()
    assert found(secret, {"store": stored.encode(), "dotenv": delivered}) == ["dotenv", "store"]


@pytest.mark.parametrize("task", ["rotate", "revoke"])
@pytest.mark.parametrize(
    ("before", "after"),
    [
        (None, lost("CreateAccessKey")),
        (refused("PutSecretValue"), None),
        (refused("GetSecretValue"), None),
        (unknown_key, None),
        (refused("UpdateSecretVersionStage"), None),
        (None, lost("PutSecretValue")),
        (None, lost("UpdateAccessKey")),
        (refused("DescribeSecret"), None),
    ],
    ids=[
        "mint's answer lost",
        "staging",
        "reading back",
        "verification",
        "promotion",
        "staging's answer lost",
        "old key",
        "looking",
    ],
)
def test_a_key_command_that_fails_at_a_step_leaks_nothing(
    project: Project,
    keeping: Zygote,
    aws: EmbeddedAws,
    before: Callable[[Request], Answer | None] | None,
    after: Callable[[Request], Answer | None] | None,
    task: str,
) -> None:
    reset(project, keeping, aws)
    project.write(
        verification={"successes": 2, "interval": "10ms", "deadline": "1s", "lag": "0s"},
        rotation={"grace": "0s", "margin": "0s", "soak": "0s", "expire_after": "0s"},
    )
    minted = len(project.proxy.minted)
    project.proxy.before = before or (lambda _: None)
    project.proxy.after = after or (lambda _: None)
    done = loud(project, task, by_invoke=minted % 2 == 0)
    project.proxy.clear()
    assert done.code == 1, done.text[-3000:]
    assert_no_leak(project, aws, done)
    healed = keeping.run("deploy", env="testing") if task == "rotate" else keeping.run("revoke", **REVOKE)
    assert healed.code in (0, 3), healed.text[-3000:]
    (project.root / "output").unlink()
    assert_no_leak(project, aws, Done(0, healed.text, ""))


@pytest.mark.parametrize("task", ["rotate", "rotate --now", "revoke", "redeliver", "reactivate"])
def test_a_key_command_that_succeeds_leaks_nothing(
    project: Project, keeping: Zygote, aws: EmbeddedAws, task: str
) -> None:
    reset(project, keeping, aws)
    if task == "reactivate":
        project.write(rotation={"grace": "0s", "margin": "0s", "soak": "1d", "expire_after": "0s"})
        assert project.invoke("rotate", "--env", "testing", "--force").code == 0
    done = loud(project, task)
    assert done.code == (3 if task == "revoke" else 0), done.text[-3000:]
    assert_no_leak(project, aws, done)
    trail = (project.root / ".cache" / "audit.jsonl").read_bytes()
    assert task.split()[0].encode() in trail


def test_the_same_search_finds_a_planted_secret_in_every_form(project: Project) -> None:
    secret = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
    planted = project.root / ".cache" / "planted"
    texts = [
        secret.encode(),
        urllib.parse.quote(secret, safe="").encode(),
        json.dumps({"a": secret}).replace("/", "\\/").encode(),
        *(base64.b64encode(b"x" * n + secret.encode() + b"y") for n in range(3)),
    ]
    for text in texts:
        planted.write_bytes(b"before " + text + b" after")
        try:
            assert found(secret, files(project.root)) == [".cache/planted"], text
        finally:
            planted.unlink()
    assert found(secret, files(project.root)) == []

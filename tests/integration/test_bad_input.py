"""Bad input of every class: what the command says, how it exits, and that nothing was changed and nothing is left."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

from ci_user.journal import Journal
from ci_user.lease_document import Holder, LeaseDocument
from ci_user.process_identity import identity
from tests.project import Done, Project
from tests.proxy import Answer, Interfere, Request

if TYPE_CHECKING:
    from tests.conftest import EmbeddedAws
    from tests.integration.conftest import NewProject

pytestmark = pytest.mark.timeout(300)

ENV: Final = ("--env", "testing")
DEPLOY: Final = ("deploy", *ENV, "--yes")
STATE: Final = "/bad-state/bad/testing/terraform.tfstate"
# What a run that comes as far as Terraform may write: its lease and Terraform's own lock, each taken and given back.
LEASED: Final = ("PUT /bad-state/bad/testing/lease.json",) * 2
LOCKED: Final = (LEASED[0], f"PUT {STATE}.tflock", f"DELETE {STATE}.tflock", LEASED[1])
SECRETS_MANAGER: Final = {"backend": "aws-secrets-manager", "name": "ci-user/bad/testing"}


@pytest.fixture(scope="module")
def ready(new_project: NewProject) -> Project:
    """One project with its state bucket, for all cases."""
    made = new_project("bad")
    done = made.invoke("bootstrap", *ENV, "--yes")
    assert done.code == 0, done.text
    return made


@pytest.fixture
def project(ready: Project, tmp_path: Path) -> Iterator[Project]:
    """The project as it was made; what a case does to its files is undone."""
    ready.proxy.clear()
    folders = ("environments", "terraform")
    for name in folders:
        shutil.copytree(ready.root / name, tmp_path / "as it was" / name)
    yield ready
    ready.proxy.clear()
    for name in folders:
        _remove(ready.root / name)
        shutil.copytree(tmp_path / "as it was" / name, ready.root / name)


@pytest.fixture
def cache(project: Project, tmp_path: Path) -> Iterator[Path]:
    """The path of the project's cache, where nothing is now."""
    path, kept = project.root / ".cache", tmp_path / "kept"
    path.rename(kept)
    yield path
    _remove(path)
    kept.rename(path)


@pytest.fixture(scope="module")
def nobody() -> Iterator[str]:
    """An address on loopback where certainly nobody answers: the port is bound, but nobody listens."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{bound.getsockname()[1]}"


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def files(project: Project) -> dict[str, bytes | None]:
    """Return the project's files by path, without caches; None for what is no regular file."""
    return {
        str(path): path.read_bytes() if path.is_file() else None
        for path in project.root.rglob("*")
        if not {".cache", "__pycache__", "home"} & set(path.relative_to(project.root).parts)
    }


def refused(
    project: Project,
    *arguments: str,
    says: tuple[str, ...],
    code: int = 1,
    writes: tuple[str, ...] = (),
    run: Callable[..., Done] | None = None,
    environ: Mapping[str, str] | None = None,
) -> None:
    """Run a command that must be refused, and see that it says why and leaves everything as it was."""
    before = files(project)
    done = (run or project.invoke)(*arguments, **(environ or {}))
    assert done.code == code, done.text
    for part in says:
        assert part in done.err, done.text
    assert "Traceback" not in done.text
    assert [f"{one.method} {one.path.split('?')[0]}" for one in project.proxy.changing] == list(writes)
    runs = project.root / ".cache" / "runs"
    assert not runs.is_dir() or not list(runs.iterdir())
    assert files(project) == before


def in_shell(project: Project, script: str) -> Callable[..., Done]:
    """Return how to run a task through a shell; ``script`` finds the command line in ``"$@"``."""

    def run(*arguments: str, **environ: str) -> Done:
        done = subprocess.run(
            ["/bin/sh", "-c", script, "sh", *project.command(*arguments)],
            cwd=project.root,
            env=project.environ | environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=200,
        )
        return Done(done.returncode, done.stdout, done.stderr)

    return run


# Environment files

EDITS: Final[dict[str, tuple[Callable[[str], str], str]]] = {
    "unknown key": (lambda text: f"{text}regoin: eu-west-1\n", 'regoin: unknown key; did you mean "region"?'),
    "duplicate key": (lambda text: f"{text}region: eu-west-1\n", "region: found twice, first on line 4; expected once"),
    "wrong type": (lambda text: f"{text}protected: perhaps\n", 'protected: found "perhaps"; expected true or false'),
    "unquoted account": (
        lambda text: text.replace("'000000000000'", "000000000000", 1),
        "expected 12 digits in quotes",
    ),
    "missing key": (lambda text: text.replace("region: eu-west-1\n", ""), "region: missing; expected"),
    "garbage": (lambda text: "{[}: ]\n", "testing.yaml:1: not YAML: "),
    "empty": (lambda text: "", "the file is empty"),
    "newer": (lambda text: text.replace("version: 1", "version: 2"), "written for a newer version of this tool"),
    "a key in it": (lambda text: f"{text}tags: {{a: AKIA{'A' * 16}}}\n", "looks like an access key id"),
    "a path": (lambda text: text.replace("application: bad", "application: ../bad"), 'application: found "../bad"'),
}


@pytest.mark.parametrize("kind", EDITS)
def test_a_wrong_environment_file(project: Project, kind: str) -> None:
    edit, says = EDITS[kind]
    file = project.root / "environments" / "testing.yaml"
    file.write_text(edit(file.read_text()))
    refused(project, *DEPLOY, says=("problem", "environments/testing.yaml:", says))


def test_an_environment_file_that_is_not_utf_8(project: Project) -> None:
    file = project.root / "environments" / "testing.yaml"
    file.write_bytes(file.read_bytes() + b"# \xff\n")
    refused(project, *DEPLOY, says=("found byte 0xff; expected text in UTF-8",))


def test_an_environment_file_that_would_never_end(project: Project) -> None:
    file = project.root / "environments" / "testing.yaml"
    file.unlink()
    os.mkfifo(file)
    refused(project, *DEPLOY, says=("environments/testing.yaml:1: not a regular file",))


def test_a_missing_environment_file(project: Project) -> None:
    (project.root / "environments" / "testing.yaml").unlink()
    refused(project, *DEPLOY, says=('there is no environment "testing"', "`invoke new --env testing` writes"))


def test_two_files_that_would_share_a_state(project: Project) -> None:
    project.write("other", state={"bucket": "bad-state", "key": "bad/testing/other.tfstate"})
    says = "shares its folder with bad/testing/other.tfstate of environments/other.yaml"
    refused(project, *DEPLOY, says=(says, "delivers to dotenv:.cache/testing.env already"))


# Flags

FLAGS: Final[dict[str, tuple[tuple[str, ...], str]]] = {
    "no environment": (("deploy", "--yes"), "no environment was named"),
    "unknown environment": (("deploy", "--env", "testin"), "did you mean testing?"),
    "plan without digest": (("deploy", *ENV, "--plan", "approved"), "--plan and --digest belong together"),
    "digest without plan": (("deploy", *ENV, "--digest", "0" * 64), "--plan and --digest belong together"),
    "another name": (("deploy", *ENV, "--confirm", "production"), "--confirm names 'production', but"),
    "no duration": ((*DEPLOY, "--lock-timeout", "soon"), "'soon' is no duration"),
    "unknown flag": (("deploy", *ENV, "--force"), "No idea what '--force' is"),
}


@pytest.mark.parametrize("kind", FLAGS)
def test_flags_that_cannot_be_meant(project: Project, kind: str) -> None:
    arguments, says = FLAGS[kind]
    refused(project, *arguments, says=(says,))


@pytest.mark.parametrize("task", ["deploy", "destroy"])
def test_yes_alone_on_a_protected_environment(project: Project, task: str) -> None:
    project.write(protected=True, secrets=[SECRETS_MANAGER])
    says = f"testing is protected: --yes alone does not confirm `{task}`"
    refused(project, task, *ENV, "--yes", says=(says, "--confirm testing"))


CHANGING: Final[tuple[tuple[str, ...], ...]] = (
    DEPLOY,
    ("destroy", *ENV, "--yes"),
    ("bootstrap", *ENV, "--yes"),
    ("unlock", *ENV, "--yes"),
    ("plan", *ENV, "--out", "approved"),
    ("new", "--env", "staging"),
    ("schema",),
    ("sandbox.up",),
    ("sandbox.down",),
    ("sandbox.reset",),
)


@pytest.mark.parametrize("arguments", CHANGING, ids=lambda arguments: arguments[0])
@pytest.mark.parametrize("position", ["before", "after"])
def test_a_dry_run_is_refused(project: Project, arguments: tuple[str, ...], position: str) -> None:
    whole = ("--dry", *arguments) if position == "before" else (*arguments, "--dry")
    refused(project, *whole, says=(f"`{arguments[0]}` cannot be run dry", "invoke plan"))
    assert project.proxy.requests == []


# Names


@pytest.mark.parametrize(
    ("task", "name"),
    [
        ("deploy", "../x"),
        ("new", "../x"),
        ("deploy", "a/b"),
        ("new", "Prod"),
        ("deploy", "${x}"),
        ("new", "${x}"),
        ("deploy", "a--b"),
        ("new", "x" * 500),
        ("deploy", "x\n"),
    ],
    ids=lambda text: repr(text[:10]),
)
def test_what_cannot_be_a_name(project: Project, task: str, name: str) -> None:
    refused(project, task, f"--env={name}", says=("cannot be the name of an environment", "lower case letters"))


def test_new_without_a_name(project: Project) -> None:
    refused(project, "new", says=("no name was given",))


def test_new_never_overwrites(project: Project) -> None:
    refused(project, "new", *ENV, says=("environments/testing.yaml exists and is not overwritten",))


# Policies


def document(**changes: object) -> dict[str, object]:
    statement = {"Sid": "One", "Effect": "Allow", "Action": "s3:GetObject", "Resource": "*", **changes}
    return {"Version": "2012-10-17", "Statement": [statement]}


POLICIES: Final[dict[str, tuple[str, str]]] = {
    "malformed": ('{"Version": "2012-10-17", }', "mine.json:1:27"),
    "duplicate key": ('{"Version": "1", "Version": "2012-10-17"}', "the key 'Version' stands twice"),
    "too long": (
        json.dumps(document(Effect="Deny", Action=[f"s3:Get{n}" for n in range(700)])),
        "at most 6,144: IAM's limit",
    ),
    "too much": (
        json.dumps(document(Action=[f"s3:Get{n}" for n in range(7000)])),
        "what fits into 10 managed policies of 6,144 characters",
    ),
    "no policy": (
        '{"Version": "2012-10-17", "Statement": [{"Effect": "Allow"}]}',
        "it needs either Action or NotAction",
    ),
    "unknown parameter": (json.dumps(document(Resource="${bucket}")), "the parameter ${bucket} is unknown"),
    "another partition": (json.dumps(document(Resource="arn:aws-cn:s3:::x/*")), "lies in the partition aws-cn"),
}


@pytest.mark.parametrize("kind", POLICIES)
def test_a_wrong_policy(project: Project, kind: str) -> None:
    content, says = POLICIES[kind]
    (project.root / "terraform" / "policies" / "mine.json").write_text(content)
    project.write(policies=["mine"])
    refused(project, *DEPLOY, says=(says,))


@pytest.mark.parametrize(
    ("policies", "says"),
    [
        (["nowhere"], "there is no policy 'nowhere'"),
        (["../guard/boundary"], "expected the name of a policy in terraform/policies"),
        ([f"policy-{n}" for n in range(51)], "policies: found a list; expected at most 50 of them"),
        (["sample", {"file": "policies/extra.json"}], "yaml:7: policies[1].file"),
        ([{"file": "../extra.json"}], "expected a path inside the repository"),
        ([{"directory": "home"}], "home holds no file NAME.json"),
        ([{"arn": "arn:aws:iam::aws:policy/AdministratorAccess"}], "a CI user is never an administrator"),
    ],
    ids=["unknown", "path", "too many", "no file", "outside", "empty directory", "administrator"],
)
def test_policies_that_cannot_be_chosen(project: Project, policies: list[object], says: str) -> None:
    project.write(policies=policies)
    refused(project, *DEPLOY, says=(says,))


def test_an_administrator_is_a_finding(project: Project) -> None:
    admin = json.dumps(document(Action="*"))
    (project.root / "terraform" / "policies" / "admin.json").write_text(admin)
    project.write(policies=["admin"])
    says = ("must not be deployed; nothing was changed", "#findings")
    refused(project, *DEPLOY, says=says, code=3, writes=LOCKED)


# Tools


@pytest.mark.parametrize(
    ("script", "says"),
    [
        ("""echo '{"terraform_version": "1.5.0"}'""", "/terraform, is 1.5.0"),
        ("""echo '{"terraform_version": "2.0.0"}'""", "/terraform, is 2.0.0"),
        ("echo Terraform v1.11.4", "/terraform, does not run"),
        (None, "there is none on PATH"),
    ],
    ids=["too old", "too new", "garbage", "missing"],
)
def test_no_terraform_that_fits(project: Project, tmp_path: Path, nobody: str, script: str | None, says: str) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    if script is not None:
        (tools / "terraform").write_text(f"#!/bin/sh\n{script}\n")
        (tools / "terraform").chmod(0o755)
    # The proxy variable makes certain that no download leaves this machine.
    says_all = ("no Terraform that fits", says, "cannot be downloaded", "1.11 or newer, before 2")
    refused(project, *DEPLOY, says=says_all, environ={"PATH": str(tools), "HTTPS_PROXY": nobody})
    assert project.proxy.requests == []


@pytest.mark.parametrize(
    ("folder", "says"),
    [
        (None, "CI_USER_PROVIDER_MIRROR names no provider mirror"),
        ("", "CI_USER_PROVIDER_MIRROR names no provider mirror"),
        ("registry.terraform.io/hashicorp/aws/1.0.0", "the provider mirror does not hold registry.terraform.io/hash"),
    ],
    ids=["missing", "empty", "another version"],
)
def test_a_provider_mirror_that_does_not_serve(project: Project, tmp_path: Path, folder: str | None, says: str) -> None:
    mirror = tmp_path / "mirror"
    if folder is not None:
        (mirror / folder).mkdir(parents=True)
    refused(project, *DEPLOY, says=(says,), environ={"TF_CLI_CONFIG_FILE": "", "CI_USER_PROVIDER_MIRROR": str(mirror)})


def test_dev_overrides_in_a_protected_environment(project: Project, tmp_path: Path) -> None:
    file = tmp_path / "own.tfrc"
    file.write_text('provider_installation {\n  dev_overrides { "hashicorp/aws" = "/x" }\n  direct {}\n}\n')
    project.write(protected=True, secrets=[SECRETS_MANAGER])
    says = ("has dev_overrides, which bypass the provider lock", "testing, which is protected")
    refused(project, "deploy", *ENV, "--confirm", "testing", says=says, environ={"TF_CLI_CONFIG_FILE": str(file)})


def test_a_missing_provider_lock(project: Project) -> None:
    (project.root / "terraform" / ".terraform.lock.hcl").unlink()
    refused(project, *DEPLOY, says=("the dependency lock does not name registry.terraform.io/hashicorp/aws",))


# Account and credentials

CREDENTIALS: Final[dict[str, tuple[dict[str, str], str]]] = {
    "none": (
        {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": "", "AWS_SESSION_TOKEN": ""},
        "no AWS credentials were found",
    ),
    "half": ({"AWS_SECRET_ACCESS_KEY": ""}, "missing: AWS_SECRET_ACCESS_KEY"),
    "wrong secret": ({"AWS_SECRET_ACCESS_KEY": "x" * 40}, "SignatureDoesNotMatch"),
    "wrong token": ({"AWS_SESSION_TOKEN": "x" * 40}, "InvalidClientTokenId"),
    "unknown profile": ({"AWS_PROFILE": "nobody"}, "The config profile (nobody) could not be found"),
}


@pytest.mark.parametrize("kind", CREDENTIALS)
def test_credentials_that_do_not_serve(project: Project, kind: str) -> None:
    environ, says = CREDENTIALS[kind]
    # Without the last one, a search for credentials would ask an address outside of this machine.
    refused(project, *DEPLOY, says=(says, "#credentials"), environ=environ | {"AWS_EC2_METADATA_DISABLED": "true"})


def test_another_account(project: Project) -> None:
    project.write(account_id="111111111111")
    says = ("these credentials belong to account 000000000000", "expected: account 111111111111", "nothing was changed")
    refused(project, *DEPLOY, says=says)


def test_a_role_that_refuses(project: Project) -> None:
    project.write(access={"role": {"arn": "arn:aws:iam::000000000000:role/nobody"}})
    refused(project, *DEPLOY, says=("AccessDenied", "sts:AssumeRole", "role/nobody"))


def test_an_expired_session(project: Project) -> None:
    error = b"<Error><Code>ExpiredToken</Code><Message>The token is expired</Message></Error>"
    project.proxy.before = lambda _: Answer(403, b"<ErrorResponse>" + error + b"</ErrorResponse>")
    refused(project, *DEPLOY, says=("ExpiredToken: The token is expired", "log in again"))


@pytest.mark.parametrize("page", [b"<html>Log in</html>", b"<p>Log in<br>"], ids=["XML", "HTML"])
def test_a_page_in_place_of_an_answer(project: Project, page: bytes) -> None:
    project.proxy.before = lambda _: Answer(200, page)
    refused(project, *DEPLOY, says=("what answered in place of AWS is not AWS", "check network, proxy"))


def test_an_endpoint_that_the_file_does_not_name(project: Project, nobody: str) -> None:
    variable = "AWS_ENDPOINT_URL_S3"
    refused(
        project, *DEPLOY, says=(f"{variable} is set to {nobody}, which testing's file",), environ={variable: nobody}
    )
    assert project.proxy.requests == []


def test_an_endpoint_where_nobody_answers(project: Project, nobody: str) -> None:
    project.write(endpoint_url=nobody)
    refused(project, *DEPLOY, says=("EndpointConnectionError", "check network"), environ={"AWS_ENDPOINT_URL": nobody})


# Bucket and lock


def test_a_missing_bucket(project: Project) -> None:
    project.write(state={"bucket": "bad-nowhere"})
    refused(project, *DEPLOY, says=("the state bucket bad-nowhere does not exist", "invoke bootstrap"))


def test_a_bucket_without_versioning(project: Project, aws: EmbeddedAws) -> None:
    s3 = aws.client("s3")
    s3.put_bucket_versioning(Bucket="bad-state", VersioningConfiguration={"Status": "Suspended"})
    try:
        refused(project, *DEPLOY, says=("not as safe as it must be", "versioning: Suspended", "invoke bootstrap"))
    finally:
        s3.put_bucket_versioning(Bucket="bad-state", VersioningConfiguration={"Status": "Enabled"})


def test_a_bucket_that_could_become_public(project: Project, aws: EmbeddedAws) -> None:
    s3 = aws.client("s3")
    blocks = s3.get_public_access_block(Bucket="bad-state")["PublicAccessBlockConfiguration"]
    s3.delete_public_access_block(Bucket="bad-state")
    try:
        refused(project, *DEPLOY, says=("not as safe as it must be", "public access: BlockPublicAcls"))
    finally:
        s3.put_public_access_block(Bucket="bad-state", PublicAccessBlockConfiguration=blocks)


@pytest.mark.parametrize("task", ["deploy", "bootstrap"])
def test_a_bucket_of_another_account(project: Project, task: str) -> None:
    # As AWS does, and the embedded one does not, for an expected owner that is not the owner.
    project.proxy.before = _for("/bad-state", Answer(403))
    refused(project, task, *ENV, "--yes", says=("the bucket bad-state belongs to somebody else",))
    asked = [one for one in project.proxy.requests if one.path.startswith("/bad-state")]
    assert {one.headers["x-amz-expected-bucket-owner"] for one in asked} == {"000000000000"}


def test_a_bucket_whose_settings_may_not_be_read(project: Project) -> None:
    denied = b"<Error><Code>AccessDenied</Code><Message>no</Message></Error>"
    project.proxy.before = _for("/bad-state?versioning", Answer(403, denied))
    refused(project, *DEPLOY, says=("versioning: cannot be read (AccessDenied)",))


def _for(start: str, answer: Answer) -> Interfere:
    def interfere(request: Request) -> Answer | None:
        return answer if request.path.startswith(start) else None

    return interfere


def _folder(project: Project, name: str) -> str:
    """Give the project another folder in the bucket: the journal outlives even a deleted lease object."""
    project.write(state={"bucket": "bad-state", "key": f"{name}/terraform.tfstate"})
    return name


HELD: Final = {
    "deploy": (DEPLOY, 4, "somebody else works on this environment: somebody@elsewhere (process 4711, `deploy`)"),
    "unlock": (("unlock", *ENV), 1, "nothing was unlocked: there is no terminal to ask on"),
}


@pytest.mark.parametrize("kind", HELD)
def test_a_lease_that_somebody_else_holds(project: Project, aws: EmbeddedAws, kind: str) -> None:
    arguments, code, says = HELD[kind]
    now = datetime.now(UTC)
    holder = Holder(
        run="abc",
        owner="somebody@elsewhere",
        machine="another",
        pid=4711,
        pid_started=None,
        command="deploy",
        acquired_at=now,
        expires_at=now + timedelta(minutes=2),
    )
    key = f"{_folder(project, f'held-{kind}')}/lease.json"
    body = LeaseDocument.new(holder, Journal()).render()
    s3 = aws.client("s3")
    s3.put_object(Bucket="bad-state", Key=key, Body=body)
    refused(project, *arguments, says=(says,), code=code)
    assert s3.get_object(Bucket="bad-state", Key=key)["Body"].read() == body


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"garbage", "the lease object cannot be read: it is no JSON document"),
        (b'{"schema": 99}', "the lease object was written by a newer version (schema 99)"),
    ],
    ids=["garbage", "newer"],
)
def test_a_lease_object_that_cannot_be_read(project: Project, aws: EmbeddedAws, body: bytes, says: str) -> None:
    key = f"{_folder(project, 'unreadable')}/lease.json"
    aws.client("s3").put_object(Bucket="bad-state", Key=key, Body=body)
    refused(project, *DEPLOY, says=(says, "nothing was changed"))


def test_a_state_that_is_none(project: Project, aws: EmbeddedAws) -> None:
    folder = _folder(project, "garbage")
    s3 = aws.client("s3")
    s3.put_object(Bucket="bad-state", Key=f"{folder}/terraform.tfstate", Body=b"no state")
    writes = (f"PUT /bad-state/{folder}/lease.json",) * 2
    refused(project, *DEPLOY, says=("`terraform init` failed", "could not be parsed as JSON"), writes=writes)
    assert s3.get_object(Bucket="bad-state", Key=f"{folder}/terraform.tfstate")["Body"].read() == b"no state"


def test_the_lock_of_another_terraform(project: Project, aws: EmbeddedAws) -> None:
    folder = _folder(project, "locked")
    lock = f"{folder}/terraform.tfstate.tflock"
    held = {"ID": "1", "Operation": "OperationTypeApply", "Who": "somebody@elsewhere", "Version": "1.11.4"}
    body = json.dumps({**held, "Info": "", "Created": "2026-01-01T00:00:00Z", "Path": "x"}).encode()
    s3 = aws.client("s3")
    s3.put_object(Bucket="bad-state", Key=lock, Body=body)
    says = ("Terraform's own lock on the state is held", "Who: somebody@elsewhere", "`invoke unlock --env NAME`")
    lease = f"PUT /bad-state/{folder}/lease.json"
    # The PUT in the middle is Terraform's attempt, which S3 refuses.
    refused(project, *DEPLOY, says=says, code=4, writes=(lease, f"PUT /bad-state/{lock}", lease))
    assert s3.get_object(Bucket="bad-state", Key=lock)["Body"].read() == body
    left = s3.get_object(Bucket="bad-state", Key=f"{folder}/lease.json")["Body"].read()
    assert json.loads(left)["holder"] is None


# Disk and permissions. The tests may run as root, who may write everywhere: hence files in the place of directories.


@pytest.mark.parametrize(
    ("in_the_way", "says", "writes"),
    [
        ("", "/.cache/runs: Not a directory", ()),
        ("environments", "/.cache/environments/testing", LEASED),
        ("environments/testing/terraform", "/.cache/environments/testing/terraform: File exists", LEASED),
    ],
    ids=["cache", "environments", "data directory"],
)
def test_a_file_in_the_place_of_a_directory(
    project: Project, cache: Path, in_the_way: str, says: str, writes: tuple[str, ...]
) -> None:
    file = cache / in_the_way
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("in the way")
    refused(project, *DEPLOY, says=("cannot write ", says, "#disk"), writes=writes)
    assert file.read_text() == "in the way"


def test_a_directory_in_the_place_of_a_lock(project: Project, cache: Path) -> None:
    (cache / "environments" / "init.lock").mkdir(parents=True)
    says = ("cannot write ", "/init.lock: Is a directory", "#disk")
    refused(project, *DEPLOY, says=says, writes=LEASED)


@pytest.mark.parametrize(
    ("task", "says"),
    [
        (DEPLOY, "environments/ cannot be read: Not a directory"),
        (("new", "--env", "staging"), "environments/staging.yaml cannot be written: environments is a file"),
    ],
    ids=["deploy", "new"],
)
def test_a_file_in_the_place_of_the_environments(project: Project, task: tuple[str, ...], says: str) -> None:
    _remove(project.root / "environments")
    (project.root / "environments").write_text("")
    refused(project, *task, says=(says,))


@pytest.mark.parametrize("out", ["terraform", "tasks.py"])
def test_a_bundle_never_overwrites(project: Project, out: str) -> None:
    refused(project, "plan", *ENV, "--out", out, says=(f"/{out} is not an empty directory", "--out"))
    assert project.proxy.requests == []


def test_a_delivery_that_would_leave_the_repository(project: Project, cache: Path, tmp_path: Path) -> None:
    cache.mkdir()
    (cache / "testing.env").symlink_to(tmp_path / "elsewhere")
    refused(project, *DEPLOY, says=("secrets[1].path", "a symlink leads out of it"))
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has a device that is always full")
@pytest.mark.parametrize(
    ("arguments", "says", "writes"),
    [
        (DEPLOY, "the output cannot be written: No space left on device", LEASED),
        (("status", *ENV, "--json"), "the output cannot be written: No space left on device", ()),
        (("deploy", "--env", "nowhere", "--json"), 'there is no environment "nowhere"', ()),
    ],
    ids=["deploy", "report", "error"],
)
def test_an_output_that_is_full(
    project: Project, arguments: tuple[str, ...], says: str, writes: tuple[str, ...]
) -> None:
    refused(project, *arguments, says=(says,), writes=writes, run=in_shell(project, '"$@" >/dev/full'))


@pytest.mark.parametrize(
    ("arguments", "says", "writes"),
    [
        (DEPLOY, "/terraform.tfvars.json: File too large", LEASED),
        (("new", "--env", "staging"), "environments/staging.yaml cannot be written: File too large", ()),
    ],
    ids=["deploy", "new"],
)
def test_a_disk_that_takes_no_more(
    project: Project, arguments: tuple[str, ...], says: str, writes: tuple[str, ...]
) -> None:
    # The limit makes each write of a file fail, like a full disk.
    refused(project, *arguments, says=(says,), writes=writes, run=in_shell(project, 'ulimit -f 0; exec "$@"'))


# The embedded AWS, and its port


@pytest.fixture(scope="module")
def box_made(new_project: NewProject) -> Project:
    made = new_project("box")
    (made.root / "environments" / "testing.yaml").unlink()
    secrets = [{"backend": "aws-secrets-manager", "name": "ci-user/box/sandbox"}]
    made.write("sandbox", sandbox=True, endpoint_url=None, secrets=secrets, accepted_findings=None)
    return made


@pytest.fixture
def box(box_made: Project) -> Iterator[Project]:
    """A project that has a sandbox, which is stopped and thrown away after the case."""
    yield box_made
    if (box_made.root / ".cache" / "sandbox" / "running.json").is_file():
        box_made.invoke("sandbox.down")
    _remove(box_made.root / ".cache")
    _remove(box_made.root / ".venv")
    # It has an emulator of its own: nothing may have gone to the other one.
    assert box_made.proxy.requests == []


def _install(box: Project, script: str | None) -> None:
    """Install an emulator that is no such thing; without a script, one without its interpreter."""
    place = box.root / ".venv" / "sandbox" / "bin"
    place.mkdir(parents=True)
    (place / "ministack").touch()
    if script is not None:
        (place / "python").write_text(f"#!/bin/sh\n{script}\n")
        (place / "python").chmod(0o755)


@pytest.mark.parametrize(
    ("task", "script", "says"),
    [
        ("sandbox.up", None, ("the embedded AWS cannot be started: No such file", "make sandbox")),
        (
            "sandbox.up",
            "echo address already in use; exit 1",
            ("no free port for the embedded AWS", "port 4566 or any"),
        ),
        ("deploy --env sandbox --yes", "echo why; exit 3", ("it ended at once with exit code 3", "why")),
    ],
    ids=["missing", "no port", "ends"],
)
def test_an_emulator_that_does_not_start(box: Project, task: str, script: str | None, says: tuple[str, ...]) -> None:
    _install(box, script)
    refused(box, *task.split(), says=(*says, "#sandbox"))
    assert not (box.root / ".cache" / "sandbox" / "running.json").exists()


def test_an_emulator_that_is_not_installed(box: Project, tmp_path: Path) -> None:
    # A Python that has the packages, but not the emulator beside it.
    venv.create(tmp_path / "python", symlinks=True, with_pip=False)
    script = 'shift; exec "$PYTHON" "$@"'
    says = ("the embedded AWS is not installed", "make sandbox")
    python = str(tmp_path / "python" / "bin" / Path(sys.executable).name)
    packages = sysconfig.get_path("purelib")
    refused(box, "sandbox.up", says=says, run=in_shell(box, script), environ={"PYTHON": python, "PYTHONPATH": packages})


@pytest.mark.parametrize(
    ("in_the_way", "directory"),
    [("", False), ("lock", True), ("log.1", True)],
    ids=["cache", "lock", "log"],
)
def test_a_cache_of_the_emulator_that_cannot_be_written(box: Project, in_the_way: str, directory: bool) -> None:
    cache = box.root / ".cache" / "sandbox"
    cache.parent.mkdir()
    if in_the_way:
        cache.mkdir()
    if directory:
        (cache / in_the_way).mkdir()
    else:
        (cache / in_the_way).touch()
    if in_the_way == "log.1":
        # The log before becomes log.1 at the next start.
        (cache / "log").touch()
    refused(box, "sandbox.up", says=("the cache of the embedded AWS cannot be written", "#disk"))


def test_the_environment_of_an_emulator_that_does_not_run(box: Project) -> None:
    refused(box, "sandbox.env", says=("the embedded AWS is not running", "invoke sandbox.up"))


def test_a_taken_port_is_told_and_another_one_found(box: Project) -> None:
    with ExitStack() as stack:
        # Whoever else holds the usual port on this machine serves as well.
        with suppress(OSError):
            stack.enter_context(socket.create_server(("127.0.0.1", 4566)))
        done = box.invoke("sandbox.up", "--json")
    assert done.code == 0, done.text
    assert "Traceback" not in done.text
    up: dict[str, Any] = done.json()
    port = up["endpoint_url"].rsplit(":", 1)[1]
    assert up["notes"] == [f"port 4566 is taken, so the embedded AWS listens on {port}"]
    assert box.invoke("sandbox.down").code == 0
    assert identity(up["pid"]) is None


def test_a_record_that_names_a_foreign_process_harms_nobody(box: Project) -> None:
    """The process is this one: had it been signalled, nobody would see the end of the test."""
    record = box.root / ".cache" / "sandbox" / "running.json"
    record.parent.mkdir(parents=True)
    known = {"pid": os.getpid(), "port": 4566, "identity": "another start", "instance": "x", "after_crash": False}
    record.write_text(json.dumps(known))
    down = box.invoke("sandbox.down")
    assert (down.code, "was not running" in down.out, down.err) == (0, True, "")
    refused(box, "sandbox.env", says=("the embedded AWS is not running",))

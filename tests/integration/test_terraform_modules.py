"""The Terraform modules: formatted, valid, tested, and never leaving a pipeline without its permissions."""

from __future__ import annotations

import http.client
import json
import subprocess
import threading
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import parse_qs, urlsplit

import pytest

ROOT = Path(__file__).resolve().parents[2]
REVOCATION = "ci-user-revocation"
QUARANTINE = "AWSCompromisedKeyQuarantineV3"


class Aws(Protocol):
    """What these tests use of the embedded AWS."""

    account_id: str
    region: str
    endpoint_url: str

    def client(self, service: str) -> Any: ...

    def exports(self) -> dict[str, str]: ...


@dataclass
class Terraform:
    """Terraform in the project's own directory, with its data elsewhere."""

    binary: Path
    environment: Mapping[str, str]

    def __call__(self, *arguments: str, codes: tuple[int, ...] = (0,)) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [str(self.binary), f"-chdir={ROOT / 'terraform'}", *arguments],
            env=dict(self.environment),
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
        assert done.returncode in codes, done.stdout + done.stderr
        return done


@dataclass
class Recorder:
    """A proxy on loopback that notes each changing IAM request, as Terraform sends it.

    Host header and raw path stay as they are: they are signed.
    """

    endpoint: str
    changes: list[dict[str, str]] = field(default_factory=list)

    def __enter__(self) -> Recorder:
        upstream = urlsplit(self.endpoint)
        changes = self.changes

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def forward(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                connection = http.client.HTTPConnection(upstream.hostname or "", upstream.port, timeout=60)
                connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
                for name, value in self.headers.items():
                    if name.lower() != "connection":
                        connection.putheader(name, value)
                connection.endheaders(body)
                answer = connection.getresponse()
                content = answer.read()
                request = {key: values[0] for key, values in parse_qs(body.decode("latin-1")).items()}
                if not request.get("Action", "Get").startswith(("Get", "List")):
                    changes.append(request)
                self.send_response_only(answer.status)
                for name, value in answer.getheaders():
                    if name.lower() not in {"connection", "transfer-encoding", "content-length"}:
                        self.send_header(name, value)
                self.send_header("Content-Length", answer.headers["Content-Length"] or str(len(content)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(content)
                connection.close()

            do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = forward  # noqa: N815 - the base class's names

            def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 - as above
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(timeout=10)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def take(self) -> list[str]:
        """Return what was sent since the last time, as ``Action object``, in order."""
        taken = []
        for request in self.changes:
            name = request.get("PolicyName") or request.get("PolicyArn") or request.get("UserName")
            taken.append(f"{request['Action']} {(name or request['GroupName']).rpartition('/')[2]}")
        self.changes.clear()
        return taken


@pytest.fixture
def terraform(terraform_binary: Path, terraform_environment: dict[str, str], tmp_path: Path) -> Terraform:
    # As in the tool: collecting garbage less often takes a quarter off the processor time.
    own = {"TF_DATA_DIR": str(tmp_path / "data"), "GOGC": "400"}
    return Terraform(terraform_binary, {**terraform_environment, **own})


@pytest.fixture
def recorder(aws: Aws) -> Iterator[Recorder]:
    with Recorder(aws.endpoint_url) as running:
        yield running


def test_the_configuration_is_formatted(terraform: Terraform) -> None:
    terraform("fmt", "-check", "-recursive", "-diff")


def test_the_configuration_is_valid_and_its_own_tests_pass(terraform: Terraform) -> None:
    terraform("init", "-backend=false", "-lockfile=readonly", "-input=false")
    assert json.loads(terraform("validate", "-json").stdout)["valid"]
    summary = terraform("test", "-no-color").stdout.splitlines()[-1]
    assert summary.startswith("Success! ")
    assert summary.endswith(" passed, 0 failed.")


def test_no_module_makes_a_key_a_secret_or_a_login_profile() -> None:
    text = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "terraform").rglob("*.tf"))
    assert 'resource "aws_iam_user"' in text
    for forbidden in ("aws_iam_access_key", "aws_iam_user_login_profile", "aws_secretsmanager", "aws_ssm"):
        assert forbidden not in text


def document(action: str) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": action, "Resource": "*"}]})


def test_a_deployment_from_first_apply_to_destroy(
    aws: Aws, terraform: Terraform, recorder: Recorder, tmp_path: Path
) -> None:
    """One life, since each Terraform command takes seconds."""
    prefix = f"t{uuid.uuid4().hex[:8]}-test"
    bucket = f"{prefix}-tfstate"
    aws.client("s3").create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": aws.region})
    terraform.environment = {**terraform.environment, **aws.exports(), "AWS_ENDPOINT_URL": recorder.url}
    terraform(
        "init",
        "-input=false",
        "-lockfile=readonly",
        f"-backend-config=bucket={bucket}",
        f"-backend-config=region={aws.region}",
        "-backend-config=key=test/terraform.tfstate",
        "-backend-config=use_lockfile=true",
        "-backend-config=use_path_style=true",
    )
    tfvars = tmp_path / "terraform.tfvars.json"
    variables = f"-var-file={tfvars}"

    def configure(
        policies: Mapping[str, str], *, existing: Sequence[str] = (), inline: Sequence[str] = (), team: str = "shop"
    ) -> None:
        values = {
            "account_id": aws.account_id,
            "partition": "aws",
            "region": aws.region,
            "prefix": prefix,
            "policies": policies,
            "attached_arns": existing,
            "inline_policy_names": inline,
            "boundary": document("s3:*"),
            "role_boundary": document("logs:*"),
            "tags": {"Team": team},
        }
        tfvars.write_text(json.dumps(values), encoding="utf-8")

    def attached() -> set[str]:
        found = aws.client("iam").list_attached_group_policies(GroupName=f"{prefix}.ci")["AttachedPolicies"]
        return {one["PolicyName"] for one in found}

    # The first apply: the boundary is there before the user, and on it from the first moment.
    configure({"a": document("sqs:SendMessage"), "keep": document("sns:Publish")})
    terraform("apply", "-input=false", "-auto-approve", variables)
    (user,) = [one for one in recorder.changes if one["Action"] == "CreateUser"]
    assert user["PermissionsBoundary"] == f"arn:aws:iam::{aws.account_id}:policy/{prefix}.boundary"
    made = recorder.take()
    assert made.index(f"CreatePolicy {prefix}.boundary") < made.index(f"CreateUser {prefix}.ci")
    assert not [one for one in made if "AccessKey" in one or "LoginProfile" in one]

    # Nothing changed, nothing to do; the journal's tags are none of Terraform's business.
    iam = aws.client("iam")
    iam.tag_user(UserName=f"{prefix}.ci", Tags=[{"Key": "ci-user:journal", "Value": "1"}])
    terraform("plan", "-input=false", "-detailed-exitcode", variables)

    # One policy is renamed and one edited: at each moment both permissions are there.
    configure({"b": document("sqs:SendMessage"), "keep": document("sns:*")})
    terraform("apply", "-input=false", "-auto-approve", variables)
    versions = [one for one in recorder.changes if one["Action"] == "CreatePolicyVersion"]
    assert [(one["PolicyArn"].rpartition("/")[2], one["SetAsDefault"]) for one in versions] == [
        (f"{prefix}.policy-keep", "true")
    ]
    renamed = [one for one in recorder.take() if "CreatePolicyVersion" not in one]
    assert list(dict.fromkeys(renamed)) == [
        f"CreatePolicy {prefix}.policy-b",
        f"AttachGroupPolicy {prefix}.policy-b",
        f"DetachGroupPolicy {prefix}.policy-a",
        f"DeletePolicy {prefix}.policy-a",
    ]

    # Two policies become two others, and an existing one comes along: all that is new is on the group before anything old goes.
    # Meanwhile a key leaks: the deny of the revocation outlives the apply while it is named.
    iam.put_user_policy(UserName=f"{prefix}.ci", PolicyName=REVOCATION, PolicyDocument=document("x:y"))
    extra = iam.create_policy(PolicyName=f"{prefix}-extra", PolicyDocument=document("x:y"))["Policy"]["Arn"]
    configure(
        {"combined": document("sqs:SendMessage"), "combined-2": document("sns:*")},
        existing=[extra],
        inline=[REVOCATION],
    )
    terraform("apply", "-input=false", "-auto-approve", variables)
    assert iam.list_user_policies(UserName=f"{prefix}.ci")["PolicyNames"] == [REVOCATION]
    packed = [one for one in dict.fromkeys(recorder.take()) if "PolicyVersion" not in one]
    new = [f"{prefix}.policy-combined", f"{prefix}.policy-combined-2"]
    came = [f"AttachGroupPolicy {name}" for name in (*new, f"{prefix}-extra")]
    went = [f"{act}Policy {prefix}.policy-{name}" for act in ("DetachGroup", "Delete") for name in ("b", "keep")]
    assert sorted(packed) == sorted([*(f"CreatePolicy {name}" for name in new), *came, *went])
    assert max(map(packed.index, came)) < min(map(packed.index, went))
    assert attached() == {*new, f"{prefix}-extra"}
    terraform("plan", "-input=false", "-detailed-exitcode", variables)

    # Everything fits into one again: it holds all before the other one goes, and the existing one stays.
    configure({"combined": document("s*:*")}, existing=[extra])
    terraform("apply", "-input=false", "-auto-approve", variables)
    # Not named any more, it is taken off as any inline policy is.
    assert iam.list_user_policies(UserName=f"{prefix}.ci")["PolicyNames"] == []
    merged = recorder.take()
    left = merged.index(f"DetachGroupPolicy {prefix}.policy-combined-2")
    assert merged.index(f"CreatePolicyVersion {prefix}.policy-combined") < left
    assert attached() == {new[0], f"{prefix}-extra"}
    assert not [one for one in merged if one.endswith("-extra")]

    # What AWS attaches to the user of a leaked key is seen in the plan, as a change of this one resource.
    quarantine = iam.create_policy(PolicyName=f"{QUARANTINE}-{prefix}", PolicyDocument=document("x:y"))
    arn = quarantine["Policy"]["Arn"]
    iam.attach_user_policy(UserName=f"{prefix}.ci", PolicyArn=arn)
    plan = str(tmp_path / "plan")
    terraform("plan", "-input=false", "-detailed-exitcode", f"-out={plan}", variables, codes=(2,))
    shown = json.loads(terraform("show", "-json", plan).stdout)
    changed = [one for one in shown["resource_changes"] if one["change"]["actions"] != ["no-op"]]
    assert [one["address"] for one in changed] == ["module.ci_user.aws_iam_user_policy_attachments_exclusive.this"]
    assert changed[0]["change"]["actions"] == ["update"]
    assert changed[0]["change"]["before"]["policy_arns"] == [arn]
    assert changed[0]["change"]["after"]["policy_arns"] == []
    iam.detach_user_policy(UserName=f"{prefix}.ci", PolicyArn=arn)

    # Everything goes, the user before its boundary.
    terraform("destroy", "-input=false", "-auto-approve", variables)
    gone = recorder.take()
    assert gone.index(f"DeleteUser {prefix}.ci") < gone.index(f"DeletePolicy {prefix}.boundary")
    names = [one["PolicyName"] for one in iam.list_policies(Scope="Local")["Policies"]]
    assert [name for name in names if name.startswith(f"{prefix}.")] == []
    assert not (ROOT / "terraform" / ".terraform").exists()

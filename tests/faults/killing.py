"""What the tests need that kill a run at each of its requests: a world of one environment, and the three moments of a request."""

from __future__ import annotations

import http.client
import json
import os
import urllib.parse
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import yaml
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from ci_user.lease import peek
from ci_user.state_bucket import StateBucket
from tests.proxy import Answer, Proxy, Request
from tests.unknown_calls import UNKNOWN, answer_unknown
from tests.zygote import Ended, Zygote

if TYPE_CHECKING:
    from tests.conftest import EmbeddedAws

Moment = Literal["before it is sent on", "after it took effect", "after it was answered"]
MOMENTS: Final[tuple[Moment, ...]] = ("before it is sent on", "after it took effect", "after it was answered")

PARTS: Final = 3
"""Into how many tests the kills of a command are split, so that they run side by side."""


def kills(requests: Sequence[Request], files: Sequence[bytes], part: int) -> list[tuple[int, Moment]]:
    """Return this part of the kills for a recorded run: the number of a request, and a moment.

    Each world that a kill can leave is left by one: what changes something is killed after it took effect, with the answer or
    without, what only reads where it is the first in its world. It is the same world before a request as after the one before
    it, unless a file was written in between. With ``CI_USER_LONG`` set, as in `make test-long`, every request is killed at all
    three moments.

    Args:
        requests: Those of a run that was not killed.
        files: What lay on the disk when each of them was sent.
        part: Which of the parts.
    """
    chosen: list[tuple[int, Moment]] = []
    for n, request in enumerate(requests):
        if os.environ.get("CI_USER_LONG"):
            chosen += [(n, moment) for moment in MOMENTS]
        elif request.changing:
            chosen.append((n, MOMENTS[1 + n % 2]))
        elif n == 0 or files[n] != files[n - 1]:
            chosen.append((n, MOMENTS[n % len(MOMENTS)]))
    return chosen[part::PARTS]


def beginning(requests: Sequence[Request]) -> int:
    """Return the number of the first request that changes more than who holds the lease: until then nothing has happened."""
    changing = [n for n, request in enumerate(requests) if request.changing]
    takes_the_lease = "lease.json" in requests[changing[0]].path
    return changing[1] if takes_the_lease else changing[0]


_ALLOWS = json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]})


@dataclass
class Killer:
    """Kills the child at its n-th request, at one moment of it; without ``n`` it only answers what the embedded AWS cannot."""

    zygote: Zygote
    n: int | None = None
    moment: Moment = MOMENTS[0]
    count: int = 0
    hit: Request | None = None
    file: Path | None = None
    files: list[bytes] = field(default_factory=list)

    def before(self, request: Request) -> Answer | None:
        if self.hit is not None:
            # What a killed process had sent a moment before its end does not arrive.
            return Answer(drop=True)
        if self.count == self.n:
            self.hit = request
        self.count += 1
        self.files.append(self.file.read_bytes() if self.file is not None and self.file.exists() else b"")
        # What is answered here never reaches the server, so that its first two moments are one.
        if request is self.hit and self.moment in (MOMENTS[:2] if request.action in UNKNOWN else MOMENTS[:1]):
            self.zygote.kill()
            return Answer(drop=True)
        return answer_unknown(request)

    def after(self, request: Request) -> Answer | None:
        if request is self.hit and self.moment == MOMENTS[1]:
            self.zygote.kill()
            return Answer(drop=True)
        return None

    def passed(self, request: Request) -> None:
        if request is self.hit and self.moment == MOMENTS[2]:
            self.zygote.kill()

    def __str__(self) -> str:
        return f"killed at request {self.n}, {self.hit.action if self.hit else 'never sent'}, {self.moment}"


@dataclass
class World:
    """One environment with a user, a secret, a dotenv file and a lease, and the commands on it, each a process of its own."""

    aws: EmbeddedAws
    proxy: Proxy
    zygote: Zygote
    directory: Path
    bucket: str
    application: str = ""
    requests: list[Request] = field(default_factory=list)
    files: list[bytes] = field(default_factory=list)

    def fresh(self, **changes: Any) -> World:
        """Begin anew with another application: a user without keys, and nothing delivered."""
        self.application = f"k{uuid.uuid4().hex[:12]}"
        self.write(**changes)
        iam = self.aws.client("iam")
        boundary = iam.create_policy(PolicyName=f"{self.application}-testing.boundary", PolicyDocument=_ALLOWS)[
            "Policy"
        ]
        iam.create_user(UserName=self.user, PermissionsBoundary=boundary["Arn"])
        return self

    def write(self, **changes: Any) -> None:
        """Write the environment's file."""
        content = {
            "version": 1,
            "application": self.application,
            "account_id": self.aws.account_id,
            "region": self.aws.region,
            "endpoint_url": self.proxy.url,
            "policies": ["sample"],
            "state": {"bucket": self.bucket},
            "secrets": [
                {"backend": "aws-secrets-manager", "name": self.secret},
                {"backend": "dotenv", "path": f".cache/{self.application}.env"},
            ],
            "verification": {"successes": 1, "interval": "1ms", "deadline": "5s", "lag": "0s"},
            "rotation": {"grace": "0s", "margin": "0s", "soak": "0s", "expire_after": "0s"},
            **changes,
        }
        path = self.directory / "environments" / "testing.yaml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(yaml.safe_dump(content, sort_keys=False))

    @property
    def user(self) -> str:
        return f"{self.application}-testing.ci"

    @property
    def secret(self) -> str:
        return f"ci-user/{self.application}/testing"

    @property
    def dotenv(self) -> Path:
        return self.directory / ".cache" / f"{self.application}.env"

    def run(self, name: str, flags: Mapping[str, Any] | None = None, killer: Killer | None = None) -> Ended:
        """Run a command in a process of its own."""
        self.proxy.clear()
        killer = killer or Killer(self.zygote)
        killer.file = self.dotenv
        self.proxy.before, self.proxy.after, self.proxy.passed = killer.before, killer.after, killer.passed
        ended = self.zygote.run(name, env="testing", **(flags or {}))
        self.requests, self.files = list(self.proxy.requests), killer.files
        return ended

    def kill(self, name: str, n: int, moment: Moment, flags: Mapping[str, Any] | None = None) -> str:
        """Run a command that is killed at its n-th request; return where in words."""
        killer = Killer(self.zygote, n, moment)
        ended = self.run(name, flags, killer)
        assert killer.hit is not None, f"{killer}: {ended.text}"
        # After its very last answer a process may have ended by itself.
        assert ended.code == -9 or moment == MOMENTS[2], f"{killer}: {ended.code} {ended.text}"
        return str(killer)

    def listed(self) -> list[Any]:
        listed: list[Any] = self.aws.client("iam").list_access_keys(UserName=self.user)["AccessKeyMetadata"]
        return listed

    def held(self) -> dict[str, str] | None:
        """Return the document that consumers read, None when there is none."""
        client = self.aws.client("secretsmanager")
        try:
            document: dict[str, str] = json.loads(client.get_secret_value(SecretId=self.secret)["SecretString"])
        except (client.exceptions.ResourceNotFoundException, client.exceptions.InvalidRequestException):
            return None
        return document or None

    def in_file(self) -> dict[str, str] | None:
        """Return what the dotenv file says, None when there is none."""
        if not self.dotenv.exists():
            return None
        lines = [line.split("=", 1) for line in self.dotenv.read_text().splitlines() if line[:1] not in ("#", "")]
        return {name: value.strip("'\"") for name, value in lines}

    def works(self, document: dict[str, str]) -> bool:
        """Return whether AWS knows the key in a document, as the right user."""
        key = Credentials(document["AWS_ACCESS_KEY_ID"], document["AWS_SECRET_ACCESS_KEY"])
        body = b"Action=GetCallerIdentity&Version=2011-06-15"
        kind = {"Content-Type": "application/x-www-form-urlencoded"}
        request = AWSRequest("POST", self.aws.endpoint_url + "/", headers=kind, data=body)
        SigV4Auth(key, "sts", self.aws.region).add_auth(request)
        parts = urllib.parse.urlsplit(self.aws.endpoint_url)
        connection = http.client.HTTPConnection(parts.netloc, timeout=30)
        try:
            connection.request("POST", "/", body, dict(request.headers.items()))
            answer = connection.getresponse()
            return answer.status == 200 and f":user/{self.user}<".encode() in answer.read()
        finally:
            connection.close()

    def assert_consumers_can_work(self, when: str) -> None:
        """See that what each place holds is a key that works."""
        for document in (self.held(), self.in_file()):
            assert document is not None, when
            assert self.works(document), when

    def journal(self) -> Any:
        bucket = StateBucket(self.aws.access, self.bucket, self.aws.account_id, self.aws.region, "aws", None)
        state = peek(bucket, f"{self.application}/testing/lease.json")
        assert state.holder is None
        return state.journal

    def assert_one_key(self, when: str) -> str:
        """See that one key is left, delivered and working, and nothing half done; return its id."""
        (key,) = self.listed()
        key_id: str = key["AccessKeyId"]
        assert key["Status"] == "Active", when
        self.assert_consumers_can_work(when)
        for document in (self.held(), self.in_file()):
            assert document is not None, when
            assert document["AWS_ACCESS_KEY_ID"] == key_id, when
        versions = self.aws.client("secretsmanager").describe_secret(SecretId=self.secret)["VersionIdsToStages"]
        assert not [one for one, labels in versions.items() if "AWSPENDING" in labels], when
        journal = self.journal()
        assert journal.intent is None, when
        assert [(r.id, r.state, len(r.delivered)) for r in journal.keys.values()] == [(key_id, "delivered", 2)], when
        return key_id

    def assert_no_key(self, when: str) -> None:
        """See that no key is left, nothing delivered, and nothing half done."""
        assert self.listed() == [], when
        assert self.held() is None, when
        assert self.in_file() is None, when
        journal = self.journal()
        assert (journal.intent, dict(journal.keys)) == (None, {}), when


@contextmanager
def world(aws: EmbeddedAws, directory: Path) -> Iterator[World]:
    """Make a world whose commands reach the embedded AWS through a proxy of their own."""
    bucket = f"killed-{uuid.uuid4().hex[:16]}"
    StateBucket(aws.access, bucket, aws.account_id, aws.region, "aws", None).bootstrap()
    with Proxy(aws.endpoint_url).running() as proxy:
        environ = {**aws.exports(), "AWS_ENDPOINT_URL": proxy.url, "HOME": str(directory), "PATH": "/usr/bin:/bin"}
        zygote = Zygote(directory, environ)
        try:
            yield World(aws, proxy, zygote, directory, bucket)
        finally:
            zygote.close()

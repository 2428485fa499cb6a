"""A deploy or a removal that is killed at any request at all, Terraform's too, is finished by the next one.

`make test-long` runs it: a deploy has some hundred requests, and each is killed at three moments. ``CI_USER_LONG_STRIDE=10``
takes every tenth request, for a look by hand.
"""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from tests.faults.killing import MOMENTS, Moment
from tests.project import Done, Project
from tests.proxy import Answer, Request

if TYPE_CHECKING:
    from tests.conftest import EmbeddedAws
    from tests.integration.conftest import NewProject

pytestmark = [pytest.mark.long, pytest.mark.timeout(6 * 3600)]
STRIDE = int(os.environ.get("CI_USER_LONG_STRIDE", "1"))


@dataclass
class Kill:
    """Runs a task and kills it, with all that it started, at its n-th request."""

    project: Project
    n: int
    moment: Moment
    count: int = 0
    hit: Request | None = None
    started: threading.Event = field(default_factory=threading.Event)
    process: subprocess.Popen[str] | None = None

    def before(self, request: Request) -> Answer | None:
        if self.hit is not None:
            return Answer(drop=True)
        if self.count == self.n:
            self.hit = request
        self.count += 1
        return self.dead() if request is self.hit and self.moment == MOMENTS[0] else None

    def after(self, request: Request) -> Answer | None:
        return self.dead() if request is self.hit and self.moment == MOMENTS[1] else None

    def passed(self, request: Request) -> None:
        if request is self.hit and self.moment == MOMENTS[2]:
            self.dead()

    def dead(self) -> Answer:
        assert self.started.wait(30)
        assert self.process is not None
        os.killpg(self.process.pid, signal.SIGKILL)
        return Answer(drop=True)

    def run(self, *task: str) -> None:
        self.project.proxy.clear()
        proxy = self.project.proxy
        proxy.before, proxy.after, proxy.passed = self.before, self.after, self.passed
        self.process = subprocess.Popen(
            self.project.command(*task),
            cwd=self.project.root,
            env=self.project.environ,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
        )
        self.started.set()
        self.process.wait(300)
        self.project.proxy.clear()

    def __str__(self) -> str:
        return f"killed at request {self.n}, {self.hit.action if self.hit else 'never sent'}, {self.moment}"


def finished(project: Project, *task: str) -> Done:
    """Run a task again; Terraform's own lock of a dead run is taken away by a person."""
    done = project.invoke(*task)
    if done.code != 0:
        project.invoke("unlock", "--env", "testing", "--yes")
        done = project.invoke(*task)
    return done


def begin_anew(project: Project) -> str:
    application = f"l{uuid.uuid4().hex[:10]}"
    secrets = [{"backend": "aws-secrets-manager", "name": f"ci-user/{application}/testing"}]
    project.base = {**project.base, "application": application, "secrets": secrets}
    project.write()
    return application


def listed(aws: EmbeddedAws, user: str) -> Sequence[Any]:
    keys: Sequence[Any] = aws.client("iam").list_access_keys(UserName=user)["AccessKeyMetadata"]
    return keys


@pytest.fixture(scope="module")
def project(new_project: NewProject) -> Project:
    made = new_project(f"long{uuid.uuid4().hex[:8]}")
    done = made.invoke("bootstrap", "--env", "testing", "--yes")
    assert done.code == 0, done.text
    return made


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_deploy(project: Project, aws: EmbeddedAws, moment: Moment) -> None:
    task = ("deploy", "--env", "testing", "--yes")
    begin_anew(project)
    project.proxy.clear()
    assert project.invoke(*task).code == 0
    for n in range(0, len(project.proxy.requests), STRIDE):
        application = begin_anew(project)
        kill = Kill(project, n, moment)
        kill.run(*task)
        assert kill.hit is not None
        again = finished(project, *task)
        assert again.code == 0, f"{kill}: {again.text}"
        (key,) = listed(aws, f"{application}-testing.ci")
        held = aws.client("secretsmanager").get_secret_value(SecretId=f"ci-user/{application}/testing")["SecretString"]
        assert key["AccessKeyId"] in held, str(kill)
        quiet = project.invoke(*task)
        assert "nothing to do" in quiet.out, f"{kill}: {quiet.text}"
        assert project.invoke("destroy", "--env", "testing", "--yes").code == 0


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_removal(project: Project, aws: EmbeddedAws, moment: Moment) -> None:
    task = ("destroy", "--env", "testing", "--yes")
    begin_anew(project)
    assert project.invoke("deploy", "--env", "testing", "--yes").code == 0
    project.proxy.clear()
    assert project.invoke(*task).code == 0
    for n in range(0, len(project.proxy.requests), STRIDE):
        application = begin_anew(project)
        assert project.invoke("deploy", "--env", "testing", "--yes").code == 0
        kill = Kill(project, n, moment)
        kill.run(*task)
        again = finished(project, *task)
        assert again.code == 0, f"{kill}: {again.text}"
        iam = aws.client("iam")
        left = [user["UserName"] for user in iam.list_users()["Users"]]
        assert f"{application}-testing.ci" not in left, str(kill)
        assert listed(aws, f"{application}-testing.ci") == [], str(kill)

"""Projects that run against this worker's embedded AWS, as an environment that names its endpoint."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from tests.project import Project
from tests.proxy import Proxy

if TYPE_CHECKING:
    from ci_user.toolchain import Toolchain
    from tests.conftest import EmbeddedAws

NewProject = Callable[[str], Project]


@pytest.fixture(scope="session")
def new_project(
    aws: EmbeddedAws, toolchain: Toolchain, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[NewProject]:
    """Make copies of the project whose shell is an administrator of the embedded AWS, seen through a proxy of their own.

    Each application gets its own name, so that tests do not meet in the account.
    """
    with ExitStack() as stack:

        def make(application: str) -> Project:
            project = Project.copied_to(tmp_path_factory.mktemp("a project") / "copy")
            proxy = stack.enter_context(Proxy(aws.endpoint_url).running())
            project.proxy = proxy
            project.base = {
                "application": application,
                "endpoint_url": proxy.url,
                "state": {"bucket": f"{application}-state"},
                "secrets": [
                    {"backend": "aws-secrets-manager", "name": f"ci-user/{application}/testing", "recovery_days": 7},
                    {"backend": "dotenv", "path": ".cache/testing.env"},
                ],
                "accepted_findings": accepted(),
            }
            project.environ |= aws.exports()
            project.environ["AWS_ENDPOINT_URL"] = proxy.url
            if toolchain.cli_config is not None:
                project.environ["TF_CLI_CONFIG_FILE"] = str(toolchain.cli_config)
            project.environ["PATH"] = f"{toolchain.terraform.parent}{os.pathsep}{project.environ['PATH']}"
            project.write()
            return project

        yield make


def accepted() -> list[dict[str, object]]:
    """Return what the sample policy and the boundary need accepted."""
    sample, boundary = 'module.ci_policy["sample"].aws_iam_policy.this', "module.ci_user.aws_iam_policy.boundary"
    return [
        Project.accept("CKV_AWS_273", address="module.ci_user.aws_iam_user.this"),
        Project.accept("CKV_AWS_286", "CKV_AWS_288", "CKV_AWS_289", "CKV_AWS_290", "CKV_AWS_355", address=sample),
        Project.accept("CKV_AWS_287", "CKV_AWS_289", "CKV_AWS_290", "CKV_AWS_355", address=boundary),
    ]

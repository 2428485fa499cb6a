"""What every test may use: one embedded AWS per worker, and no ambient AWS setting."""

from __future__ import annotations

import datetime as dt
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings

from ci_user.sandbox import Sandbox

# Where a property test says no number of its own: enough to find what is common, and `make test` stays within its ten minutes.
settings.register_profile("make test", max_examples=60, deadline=None)
if not os.environ.get("CI_USER_LONG"):
    settings.load_profile("make test")

if TYPE_CHECKING:
    from ci_user.credentials import AwsAccess, SessionCredentials
    from ci_user.toolchain import Toolchain

ROOT = Path(__file__).resolve().parent.parent
_PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep each file of the integration tests on one worker: what they deploy is deployed once."""
    for item in items:
        if item.path.parent.name == "integration":
            item.add_marker(pytest.mark.xdist_group(item.path.stem))


@pytest.fixture(scope="session", autouse=True)
def no_ambient_aws() -> Iterator[None]:
    """Hide the AWS and proxy settings of whoever runs the tests, so that no client can leave this machine."""
    with pytest.MonkeyPatch.context() as patch:
        for name in os.environ:
            if name.startswith(("AWS_", "TF_VAR_", "TF_CLI_ARGS")) or name.lower() in _PROXIES:
                patch.delenv(name)
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        patch.setenv("AWS_CONFIG_FILE", os.devnull)
        patch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
        yield


@pytest.fixture(scope="session", autouse=True)
def interruptible() -> Iterator[None]:
    """Take Ctrl-C as from a terminal: a shell starts what it puts in the background with SIGINT ignored, children too."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


class EmbeddedAws:
    """This worker's embedded AWS. ``client`` is an administrator's: a role, whose rights are checked."""

    partition = "aws"

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox
        self.account_id = sandbox.account_id
        self.region = sandbox.region
        self.endpoint_url = sandbox.environment()["AWS_ENDPOINT_URL"]
        self._credentials: SessionCredentials | None = None
        self._access: AwsAccess | None = None

    @property
    def credentials(self) -> SessionCredentials:
        """The administrator's session, good for ten more minutes at least."""
        soon = dt.datetime.now(dt.UTC) + dt.timedelta(minutes=10)
        if self._credentials is None or self._credentials.expires < soon:
            self._credentials = self.sandbox.deployer_credentials()
            self._access = None
        return self._credentials

    @property
    def access(self) -> AwsAccess:
        """The administrator's way in, as the code under test gets it."""
        from botocore.session import Session

        from ci_user.credentials import AwsAccess

        credentials = self.credentials
        if self._access is None:
            session = Session()
            session.set_credentials(
                credentials.access_key_id,
                credentials.secret_access_key.reveal(),
                credentials.session_token.reveal(),
            )
            self._access = AwsAccess(
                session,
                account_id=self.account_id,
                region=self.region,
                partition=self.partition,
                endpoint_url=self.endpoint_url,
                loopback=True,
            )
        return self._access

    def client(self, service: str, region: str | None = None) -> Any:
        """Return an administrator's client."""
        return self.access.client(service, region)

    def exports(self) -> dict[str, str]:
        """Return the variables that make a child process the administrator here."""
        credentials = self.credentials
        return {
            "AWS_ENDPOINT_URL": self.endpoint_url,
            "AWS_REGION": self.region,
            "AWS_ACCESS_KEY_ID": credentials.access_key_id,
            "AWS_SECRET_ACCESS_KEY": credentials.secret_access_key.reveal(),
            "AWS_SESSION_TOKEN": credentials.session_token.reveal(),
        }


@pytest.fixture(scope="session")
def root() -> Path:
    """The project's directory."""
    return ROOT


@pytest.fixture(scope="session")
def aws(no_ambient_aws: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedAws]:
    """One embedded AWS per test worker, on a free port, with its state in a temporary directory."""
    sandbox = Sandbox(
        ROOT,
        account_id="000000000000",
        region="eu-west-1",
        directory=tmp_path_factory.mktemp("embedded aws"),
        usual_port=0,
    )
    sandbox.up()
    try:
        yield EmbeddedAws(sandbox)
    finally:
        sandbox.down()


@pytest.fixture
def access(aws: EmbeddedAws) -> AwsAccess:
    """The administrator's way into this worker's embedded AWS."""
    return aws.access


@pytest.fixture(scope="session")
def toolchain(root: Path) -> Toolchain:
    """Terraform and its provider, as the sandbox finds them."""
    from ci_user.toolchain import find

    return find(root, os.environ, allow_system_mirror=True)


@pytest.fixture(scope="session")
def terraform_binary(toolchain: Toolchain) -> Path:
    """The Terraform executable."""
    return toolchain.terraform


@pytest.fixture
def terraform_environment(toolchain: Toolchain) -> dict[str, str]:
    """The whole environment of a Terraform process; ``aws.exports()`` adds the way to the embedded AWS."""
    child = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR", "LANG") if name in os.environ}
    child |= {"CHECKPOINT_DISABLE": "1", "TF_IN_AUTOMATION": "1", "TF_INPUT": "0", "GOGC": "400"}
    child |= {"AWS_EC2_METADATA_DISABLED": "true"}
    if toolchain.cli_config:
        child["TF_CLI_CONFIG_FILE"] = str(toolchain.cli_config)
    return child

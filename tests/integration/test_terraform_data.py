"""A data directory that was taken over from another environment is what `terraform init` would have made of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ci_user.credentials import STATE_PROFILE
from ci_user.terraform_cli import Terraform, backend_settings

if TYPE_CHECKING:
    from ci_user.toolchain import Toolchain
    from tests.conftest import EmbeddedAws

pytestmark = [pytest.mark.timeout(300), pytest.mark.xdist_group("terraform_data")]

KEY = "arn:aws:kms:eu-west-1:000000000000:key/00000000-1111-4222-8333-444444444444"


class Inits:
    """Initialises data directories of the project's own module, and counts how often Terraform did it."""

    def __init__(self, directory: Path, toolchain: Toolchain, root: Path, environment: dict[str, str]) -> None:
        self._directory = directory
        self._toolchain = toolchain
        self._module = root / "terraform"
        self._environment = environment
        self.ran = 0
        self.twins: dict[str, Path] = {}

    def init(self, name: str, settings: dict[str, str], *, own: bool = False) -> Path:
        """Initialise ``name``; when it is to have its ``own``, no other directory is looked at."""
        data_dir = self._directory / name

        def environment() -> dict[str, str]:
            self.ran += 1
            return self._environment

        terraform = Terraform(
            self._toolchain.terraform,
            self._module,
            data_dir,
            environment=environment,
            backend=settings,
            version=self._toolchain.version,
            cli_config=self._toolchain.cli_config,
            timeout=120,
        )
        assert terraform.init(self._directory / "init.lock", None if own else self.twins)
        return data_dir


@pytest.fixture
def inits(
    aws: EmbeddedAws,
    toolchain: Toolchain,
    root: Path,
    terraform_environment: dict[str, str],
    tmp_path: Path,
) -> Inits:
    exports = aws.exports()
    config = tmp_path / "aws-config"
    lines = {
        name.lower(): value for name, value in exports.items() if name.startswith(("AWS_ACC", "AWS_SEC", "AWS_SES"))
    }
    config.write_text(f"[profile {STATE_PROFILE}]\n" + "".join(f"{name} = {value}\n" for name, value in lines.items()))
    aws.client("s3").create_bucket(
        Bucket="taken-over-state", CreateBucketConfiguration={"LocationConstraint": aws.region}
    )
    return Inits(tmp_path, toolchain, root, terraform_environment | exports | {"AWS_CONFIG_FILE": str(config)})


def settings(key: str, *, kms_key: str | None = None, own_profile: bool = False) -> dict[str, str]:
    return backend_settings(
        bucket="taken-over-state",
        key=key,
        region="eu-west-1",
        kms_key=kms_key,
        own_profile=own_profile,
        path_style=True,
        account_id="000000000000",
    )


def holding(data_dir: Path) -> dict[str, object]:
    """Return what is in a data directory: of each link where it leads, of each file what it says."""
    found: dict[str, object] = {}
    for path in sorted(data_dir.rglob("*")):
        name = str(path.relative_to(data_dir))
        if path.is_symlink():
            found[name] = path.resolve()
        elif path.is_file() and name != "initialised":
            text = path.read_text()
            found[name] = json.loads(text) if path.suffix in (".json", ".tfstate") else text
    return found


def test_what_is_taken_over_is_what_an_initialisation_makes_and_settings_of_the_other_stay_there(inits: Inits) -> None:
    rich = settings("rich/terraform.tfstate", kms_key=KEY, own_profile=True)
    plain = settings("plain/terraform.tfstate")
    real_rich = inits.init("rich", rich)
    taken_plain = inits.init("taken plain", plain)
    assert inits.ran == 1, "Terraform did nothing for the second one"
    real_plain = inits.init("plain", plain, own=True)
    assert inits.ran == 2
    assert holding(taken_plain) == holding(real_plain)
    saved = (taken_plain / "terraform.tfstate").read_text()
    assert KEY not in saved
    assert STATE_PROFILE not in saved
    # And the other way round: what the twin does not have is there.
    inits.twins = dict.fromkeys(inits.twins, real_plain)
    taken_rich = inits.init("taken rich", rich)
    assert inits.ran == 2
    assert holding(taken_rich) == holding(real_rich)
    assert (taken_rich / "terraform.tfstate").stat().st_mode & 0o777 == 0o600

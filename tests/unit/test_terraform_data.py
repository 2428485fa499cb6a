"""Which data directories are taken over from another environment, and which are not; tests/integration has real ones."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from ci_user.errors import UsageError
from ci_user.terraform_cli import backend_settings
from ci_user.terraform_data import take_over

PACKAGE = Path("providers", "registry.terraform.io", "hashicorp", "aws", "5.100.0", "linux_amd64")
NAMES = (
    "bucket",
    "key",
    "region",
    "kms_key_id",
    "profile",
    "encrypt",
    "use_lockfile",
    "use_path_style",
    "allowed_account_ids",
)
BACKEND = {"bucket": "b", "key": "k", "encrypt": "true", "allowed_account_ids": '["1"]'}


@pytest.fixture
def twin(tmp_path: Path) -> Path:
    """A data directory as Terraform makes it with a mirror: its package is a link."""
    mirror = tmp_path / "mirror"
    mirror.mkdir()
    (mirror / "provider").write_text("binary")
    made = tmp_path / "twin"
    (made / PACKAGE).parent.mkdir(parents=True)
    (made / PACKAGE).symlink_to(mirror)
    (made / "modules").mkdir()
    (made / "modules" / "modules.json").write_text('{"Modules":[]}')
    config = dict.fromkeys(NAMES) | {"bucket": "theirs", "kms_key_id": "their key", "profile": "theirs"}
    saved = {"version": 3, "backend": {"type": "s3", "config": config, "hash": 7}}
    (made / "terraform.tfstate").write_text(json.dumps(saved))
    return made


def config(data_dir: Path) -> dict[str, object]:
    found: dict[str, object] = json.loads((data_dir / "terraform.tfstate").read_bytes())["backend"]["config"]
    return found


def test_nothing_of_the_twins_settings_is_left_and_the_rest_is_as_it_was(twin: Path, tmp_path: Path) -> None:
    own = tmp_path / "own"
    (own / "old").mkdir(parents=True)
    assert take_over(twin, own, BACKEND)
    none = dict.fromkeys(NAMES)
    assert config(own) == none | {"bucket": "b", "key": "k", "encrypt": True, "allowed_account_ids": ["1"]}
    saved = json.loads((own / "terraform.tfstate").read_bytes())
    assert (saved["version"], saved["backend"]["type"], saved["backend"]["hash"]) == (3, "s3", 7)
    assert (own / PACKAGE / "provider").read_text() == "binary"
    assert (own / "modules" / "modules.json").read_text() == '{"Modules":[]}'
    assert {path.name for path in own.iterdir()} == {"modules", "providers", "terraform.tfstate"}


def test_a_link_goes_to_the_package_itself_so_that_the_twin_may_go(twin: Path, tmp_path: Path) -> None:
    assert take_over(twin, tmp_path / "own", BACKEND)
    shutil.rmtree(twin)
    assert take_over(tmp_path / "own", tmp_path / "third", BACKEND)
    assert (tmp_path / "third" / PACKAGE / "provider").read_text() == "binary"


def test_a_text_that_looks_like_another_kind_of_value_stays_a_text(twin: Path, tmp_path: Path) -> None:
    assert take_over(twin, tmp_path / "own", {**BACKEND, "bucket": "true", "key": "[a]/state"})
    assert (config(tmp_path / "own")["bucket"], config(tmp_path / "own")["key"]) == ("true", "[a]/state")


def without(*parts: str) -> Callable[[Path], None]:
    def change(twin: Path) -> None:
        path = twin.joinpath(*parts)
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()

    return change


def saying(text: str) -> Callable[[Path], None]:
    def change(twin: Path) -> None:
        (twin / "terraform.tfstate").write_text(text)

    return change


def unmounted(twin: Path) -> None:
    shutil.rmtree((twin / PACKAGE).resolve())


@pytest.mark.parametrize(
    "change",
    [
        shutil.rmtree,
        without("terraform.tfstate"),
        without("modules", "modules.json"),
        without("providers"),
        without(*PACKAGE.parts),
        unmounted,
        saying(""),
        saying("[]"),
        saying('{"version": 3}'),
        saying('{"backend": {"config": null}}'),
        saying('{"backend": {"config": {"bucket": "theirs"}}}'),
    ],
)
def test_a_twin_that_lacks_something_is_refused_and_nothing_is_touched(
    twin: Path, tmp_path: Path, change: Callable[[Path], object]
) -> None:
    own = tmp_path / "own"
    own.mkdir()
    (own / "kept").touch()
    change(twin)
    assert not take_over(twin, own, BACKEND)
    assert [path.name for path in own.iterdir()] == ["kept"]


def test_a_directory_is_not_taken_over_from_itself(twin: Path) -> None:
    assert not take_over(twin, twin, BACKEND)
    assert (twin / PACKAGE / "provider").is_file()


def test_where_the_package_itself_lies_nothing_is_replaced(twin: Path, tmp_path: Path) -> None:
    own = tmp_path / "own"
    shutil.copytree(twin, own)
    assert not (own / PACKAGE).is_symlink()
    # What links there would lose it, and so would this one.
    assert take_over(own, tmp_path / "other", BACKEND)
    assert not take_over(tmp_path / "other", own, BACKEND)
    assert (own / PACKAGE / "provider").read_text() == "binary"


def test_a_directory_that_cannot_be_written_is_said(twin: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="cannot write"):
        take_over(twin, tmp_path / "file", BACKEND)


def test_every_setting_of_the_backend_has_its_kind_of_value(twin: Path, tmp_path: Path) -> None:
    every = backend_settings(
        bucket="b", key="k", region="r", kms_key="arn", own_profile=True, path_style=True, account_id="1"
    )
    assert every.keys() == set(NAMES)
    assert take_over(twin, tmp_path / "own", every)
    kinds = {name: type(value) for name, value in config(tmp_path / "own").items()}
    booleans, lists = ("encrypt", "use_lockfile", "use_path_style"), ("allowed_account_ids",)
    assert kinds == dict.fromkeys(NAMES, str) | dict.fromkeys(booleans, bool) | dict.fromkeys(lists, list)

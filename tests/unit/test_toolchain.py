from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from ci_user import provider_mirror, terraform_release, toolchain
from ci_user.errors import ToolchainError, UsageError
from ci_user.provider_package import ADDRESS
from ci_user.toolchain import find, find_terraform, fits, version_of


@pytest.fixture(autouse=True)
def no_system_mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(provider_mirror, "SYSTEM_MIRRORS", tmp_path / "opt")
    return tmp_path / "opt"


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def project(tmp_path: Path, root: Path) -> Path:
    project = tmp_path / "a project"
    (project / "terraform").mkdir(parents=True)
    shutil.copy(root / "terraform" / ".terraform.lock.hcl", project / "terraform")
    return project


def script(file: Path, version: str | None = None, body: str | None = None) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    text = body if body is not None else f'echo \'{{"terraform_version": "{version}"}}\''
    file.write_text(f"#!/bin/sh\n{text}\n")
    file.chmod(0o755)
    return file


def on_path(tmp_path: Path, version: str | None = None, body: str | None = None) -> dict[str, str]:
    binary = script(tmp_path / "bin" / "terraform", version, body)
    return {"PATH": str(binary.parent), "HOME": str(tmp_path / "home")}


def pinned(cache: Path, version: str = terraform_release.VERSION) -> Path:
    name = terraform_release.platform_name()
    return script(cache / terraform_release.VERSION / name / "terraform", version)


def fill(mirror: Path) -> Path:
    place = mirror / ADDRESS / "5.100.0" / terraform_release.platform_name()
    place.mkdir(parents=True)
    (place / "terraform-provider-aws_v5.100.0_x5").touch()
    return mirror


@pytest.mark.parametrize("version", ["1.11.0", "1.11.4", "1.12.0", "1.99.99"])
def test_versions_that_fit(version: str) -> None:
    assert fits(version)


@pytest.mark.parametrize(
    "version", [None, "", "0.12.31", "1.5.7", "1.10.99", "2.0.0", "10.0.0", "1.11", "1.11.0-rc1", "v1.11.4", "1.11.4\n"]
)
def test_versions_that_do_not_fit(version: str | None) -> None:
    assert not fits(version)


def test_the_one_on_path_is_taken_when_it_fits(tmp_path: Path, cache: Path) -> None:
    environ = on_path(tmp_path, "1.12.3")
    pinned(cache)
    assert find_terraform(cache, environ, allow_download=False) == (
        tmp_path / "bin" / "terraform",
        "1.12.3",
        "PATH",
    )


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ('echo \'{"terraform_version": "1.5.7"}\'', "is 1.5.7"),
        ('echo \'{"terraform_version": "2.0.0"}\'', "is 2.0.0"),
        ("exit 3", "does not run"),
        ("echo nonsense", "does not run"),
        ("echo '{}'", "does not run"),
        ("echo '[]'", "does not run"),
        ("echo '{\"terraform_version\": 1}'", "does not run"),
        ('echo \'{"terraform_version": "1.11.4"}\'; exit 1', "does not run"),
    ],
)
def test_one_that_does_not_fit_is_passed_over_and_named(tmp_path: Path, cache: Path, body: str, why: str) -> None:
    environ = on_path(tmp_path, body=body)
    binary = pinned(cache)
    found = find_terraform(cache, environ, allow_download=False)
    assert found[:2] == (binary, "1.11.4")
    assert why in found[2]
    assert str(tmp_path / "bin" / "terraform") in found[2]


@pytest.mark.parametrize("body", ['echo \'{"terraform_version": "1.5.7"}\'', "exit 3", None])
def test_without_a_fitting_one_and_without_download_the_error_says_what_to_do(
    tmp_path: Path, cache: Path, body: str | None
) -> None:
    environ = on_path(tmp_path, body=body) if body else {"PATH": str(tmp_path)}
    with pytest.raises(ToolchainError, match="no Terraform that fits") as refused:
        find_terraform(cache, environ, allow_download=False)
    assert refused.value.expected == "1.11 or newer, before 2"
    assert "make sandbox" in str(refused.value.do)
    assert refused.value.exit_code == 1
    assert not cache.exists()


@pytest.mark.parametrize("path", [None, "", "/does/not/exist"])
def test_missing_one_is_downloaded(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, path: str | None
) -> None:
    asked = []

    def install(place: Path, *, base_url: str) -> Path:
        asked.append((place, base_url))
        return pinned(cache)

    monkeypatch.setattr(terraform_release, "install", install)
    environ = {} if path is None else {"PATH": path}
    found = find_terraform(cache, environ, allow_download=True, base_url="http://127.0.0.1:1")
    assert asked == [(cache, "http://127.0.0.1:1")]
    assert found[2] == "the pinned release in the project's cache, because there is none on PATH"


def test_downloaded_one_that_does_not_run_is_a_clear_error(cache: Path) -> None:
    binary = pinned(cache, "1.0.0")
    with pytest.raises(ToolchainError, match=r"the downloaded Terraform is 1\.0\.0") as refused:
        find_terraform(cache, {"PATH": ""}, allow_download=True)
    assert refused.value.where == str(binary)


def test_one_that_hangs_is_given_up(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(toolchain, "_VERSION_SECONDS", 0.2)
    binary = script(tmp_path / "terraform", body="exec tail -f /dev/null")
    assert version_of(binary, cache, os.environ) is None


def test_asking_hands_over_no_setting_that_could_change_the_answer(tmp_path: Path, cache: Path) -> None:
    binary = script(
        tmp_path / "terraform",
        body=f"env > '{tmp_path}/seen'; pwd >> '{tmp_path}/seen'; echo '{{\"terraform_version\": \"1.11.4\"}}'",
    )
    environ = {
        **os.environ,
        "TF_CLI_ARGS": "-help",
        "TF_LOG": "TRACE",
        "TF_REATTACH_PROVIDERS": "{}",
        "TF_CLI_CONFIG_FILE": "/not/there",
        "AWS_SECRET_ACCESS_KEY": "x",
    }
    assert version_of(binary, cache, environ) == "1.11.4"
    seen = (tmp_path / "seen").read_text()
    for name in ("TF_CLI_ARGS", "TF_LOG", "TF_REATTACH_PROVIDERS", "AWS_SECRET_ACCESS_KEY", "/not/there"):
        assert name not in seen
    assert "CHECKPOINT_DISABLE=1" in seen


def test_answer_of_an_executable_is_kept_until_it_changes(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    binary = tmp_path / "terraform"
    binary.write_bytes(b"\x7fELF one")
    answers = iter(["1.11.4", "1.12.0"])
    monkeypatch.setattr(toolchain, "_ask", lambda *_: next(answers))
    assert [version_of(binary, cache, {}) for _ in range(3)] == ["1.11.4"] * 3
    binary.write_bytes(b"\x7fELF another")
    assert [version_of(binary, cache, {}) for _ in range(3)] == ["1.12.0"] * 3


def test_answer_of_a_script_is_not_kept(tmp_path: Path, cache: Path) -> None:
    binary = script(tmp_path / "terraform", body=f"cat '{tmp_path}/now'")
    for version in ("1.11.4", "1.12.0"):
        (tmp_path / "now").write_text(f'{{"terraform_version": "{version}"}}')
        assert version_of(binary, cache, os.environ) == version


@pytest.mark.parametrize("content", [b"", b"nonsense", b"[]", b'{"x": 1}', b"\xff"])
def test_broken_kept_answers_do_no_harm(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, content: bytes
) -> None:
    binary = tmp_path / "terraform"
    binary.write_bytes(b"\x7fELF")
    cache.mkdir()
    (cache / "version.json").write_bytes(content)
    monkeypatch.setattr(toolchain, "_ask", lambda *_: "1.11.4")
    assert version_of(binary, cache, {}) == "1.11.4"


def test_cache_that_cannot_be_written_only_costs_time(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    binary = tmp_path / "terraform"
    binary.write_bytes(b"\x7fELF")
    cache.write_text("in the way")
    monkeypatch.setattr(toolchain, "_ask", lambda *_: "1.11.4")
    assert version_of(binary, cache, {}) == "1.11.4"


def test_system_mirror_leads_to_a_configuration_in_the_cache(
    tmp_path: Path, project: Path, no_system_mirror: Path
) -> None:
    mirror = fill(no_system_mirror / "plugins")
    found = find(project, on_path(tmp_path, "1.11.4"), allow_system_mirror=True)
    assert found.cli_config == project / ".cache" / "terraform" / "mirror.tfrc"
    assert str(mirror) in found.cli_config.read_text()
    assert found.cli_config.stat().st_mode & 0o777 == 0o600
    assert (found.provider_version, found.dev_overrides) == ("5.100.0", False)

    elsewhere = find(project, on_path(tmp_path, "1.11.4"), allow_system_mirror=False)
    assert (elsewhere.cli_config, elsewhere.provider_source) == (None, "the registry")


def test_configuration_follows_the_mirror(tmp_path: Path, project: Path) -> None:
    environ = on_path(tmp_path, "1.11.4")
    for name in ("one", "two"):
        mirror = fill(tmp_path / name)
        found = find(project, {**environ, provider_mirror.VARIABLE: str(mirror)}, allow_system_mirror=False)
        assert found.cli_config
        assert f'"{mirror}"' in found.cli_config.read_text()


def test_implied_mirror_is_left_to_terraform(tmp_path: Path, project: Path) -> None:
    environ = on_path(tmp_path, "1.11.4")
    fill(Path(environ["HOME"]) / ".terraform.d" / "plugins")
    found = find(project, environ, allow_system_mirror=True)
    assert found.cli_config is None
    assert "implied" in found.provider_source
    assert not (project / ".cache" / "terraform" / "mirror.tfrc").exists()


def test_the_users_own_configuration_always_wins(tmp_path: Path, project: Path, no_system_mirror: Path) -> None:
    mirror = fill(no_system_mirror / "plugins")
    own = tmp_path / "own.tfrc"
    own.write_text('provider_installation { dev_overrides { "hashicorp/aws" = "/x" } }')
    environ = on_path(tmp_path, "1.11.4") | {provider_mirror.VARIABLE: str(mirror)}
    found = find(project, {**environ, "TF_CLI_CONFIG_FILE": str(own)}, allow_system_mirror=True)
    assert (found.cli_config, found.dev_overrides) == (own, True)
    assert str(own) in found.provider_source


def test_named_configuration_that_is_missing_is_as_good_as_none(
    tmp_path: Path, project: Path, no_system_mirror: Path
) -> None:
    fill(no_system_mirror / "plugins")
    environ = on_path(tmp_path, "1.11.4") | {"TF_CLI_CONFIG_FILE": str(tmp_path / "missing")}
    found = find(project, environ, allow_system_mirror=True)
    assert found.cli_config == project / ".cache" / "terraform" / "mirror.tfrc"


def test_wrong_mirror_is_told_before_anything_is_downloaded(
    tmp_path: Path, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(terraform_release, "install", lambda *_, **__: pytest.fail("downloaded"))
    with pytest.raises(ToolchainError, match="names no provider mirror"):
        find(
            project,
            {"PATH": "", provider_mirror.VARIABLE: str(tmp_path / "missing")},
            allow_system_mirror=True,
        )
    assert not (project / ".cache").exists()


def test_configuration_that_cannot_be_written_is_a_clear_error(
    tmp_path: Path, project: Path, no_system_mirror: Path
) -> None:
    fill(no_system_mirror / "plugins")
    (project / ".cache").write_text("in the way")
    with pytest.raises(UsageError, match=r"cannot write .*mirror\.tfrc") as refused:
        find(project, on_path(tmp_path, "1.11.4"), allow_system_mirror=True)
    assert refused.value.runbook == "disk"

from __future__ import annotations

import errno
import importlib.metadata
import json
import os
import shutil
import socket
import tempfile
from collections import namedtuple
from pathlib import Path

import pytest

from ci_user import doctor, emulator, provider_mirror
from ci_user.doctor import Examined, examine, report
from ci_user.provider_package import ADDRESS
from ci_user.terraform_release import platform_name

Usage = namedtuple("Usage", "total used free")


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    real = socket.getaddrinfo

    def refuse(host: str, port: int, *args: int) -> object:
        # A sandbox that runs is asked how it is.
        assert host == "127.0.0.1", "the doctor asked the network"
        return real(host, port, *args)

    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.fixture
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with nothing in it, on a machine with nothing on it."""
    monkeypatch.setattr(provider_mirror, "SYSTEM_MIRRORS", tmp_path / "opt")
    monkeypatch.setattr("sys.prefix", str(tmp_path / "venv"))
    project = tmp_path / "a project"
    project.mkdir()
    return project


def named(things: tuple[Examined, ...]) -> dict[str, Examined]:
    return {thing.name: thing for thing in things}


def test_this_project_is_in_order(root: Path) -> None:
    found = report(root, os.environ)
    assert [thing for thing in found.examined if thing.status in {"missing", "wrong"}] == []
    assert found.exit_code == 0
    things = named(found.examined)
    assert things["embedded AWS"].version == "1.5.33"
    assert things["provider lock"].version == "5.100.0"
    assert things["checkov"].version == importlib.metadata.version("checkov")


def test_machine_with_nothing_on_it_is_told_what_to_do(empty: Path) -> None:
    found = report(empty, {})
    things = named(found.examined)
    assert found.exit_code == 1
    for name in ("terraform", "provider lock", "embedded AWS", "dependencies"):
        assert things[name].status == "missing", name
        assert things[name].do, name
    assert things["git"].status == "note"
    assert list(empty.iterdir()) == []


def test_report_has_a_line_for_each_thing_and_a_document(empty: Path) -> None:
    found = report(empty, {})
    lines = "\n".join(found.lines())
    for thing in found.examined:
        assert thing.name in lines
        assert thing.do in lines
    document = json.loads(json.dumps(found.document()))
    assert len(document["examined"]) == len(found.examined)
    assert set(document["examined"][0]) == {"name", "status", "version", "source", "do", "notes"}


def test_terminal_sequences_do_not_reach_the_terminal() -> None:
    found = doctor.DoctorReport((Examined("git", "ok", "2\x1b[2J", "/x\ny"),))
    assert "\x1b" not in "".join(found.lines())
    assert "\n" not in "".join(found.lines())


def test_old_python_is_wrong(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_OLDEST_PYTHON", (99, 0))
    things = named(examine(root, os.environ))
    assert things["python"].status == "wrong"
    assert "make PYTHON=" in things["python"].do


def test_old_terraform_is_missing_and_named(empty: Path, tmp_path: Path) -> None:
    binary = tmp_path / "bin" / "terraform"
    binary.parent.mkdir()
    binary.write_text('#!/bin/sh\necho \'{"terraform_version": "1.5.7"}\'\n')
    binary.chmod(0o755)
    terraform = named(examine(empty, {"PATH": str(binary.parent)}))["terraform"]
    assert terraform.status == "missing"
    assert "1.5.7" in terraform.version
    assert "make sandbox" in terraform.do


def with_lock(project: Path, root: Path) -> Path:
    (project / "terraform").mkdir()
    shutil.copy(root / "terraform" / ".terraform.lock.hcl", project / "terraform")
    return project


def test_provider_that_is_not_the_locked_one_is_wrong(empty: Path, root: Path, tmp_path: Path) -> None:
    place = tmp_path / "mirror" / ADDRESS / "5.100.0" / platform_name()
    place.mkdir(parents=True)
    (place / "terraform-provider-aws_v5.100.0_x5").write_bytes(b"evil")
    environ = {provider_mirror.VARIABLE: str(tmp_path / "mirror")}
    provider = named(examine(with_lock(empty, root), environ))["provider"]
    assert provider.status == "wrong"
    assert "another hash" in provider.version
    assert "do not use it" in provider.do


def test_mirror_that_is_none_is_wrong(empty: Path, root: Path, tmp_path: Path) -> None:
    environ = {provider_mirror.VARIABLE: str(tmp_path / "missing")}
    provider = named(examine(with_lock(empty, root), environ))["provider"]
    assert provider.status == "wrong"
    assert provider.source == str(tmp_path / "missing")


def test_without_a_mirror_the_registry_is_named(empty: Path, root: Path) -> None:
    provider = named(examine(with_lock(empty, root), {}))["provider"]
    assert (provider.status, provider.version) == ("ok", "5.100.0")
    assert "registry" in provider.source


def test_configuration_of_the_users_own_is_shown(empty: Path, root: Path, tmp_path: Path) -> None:
    project = with_lock(empty, root)
    own = tmp_path / "own.tfrc"
    environ = {"TF_CLI_CONFIG_FILE": str(own)}
    assert "counts as none" in named(examine(project, environ))["CLI configuration"].version
    own.write_text("")
    assert named(examine(project, environ))["CLI configuration"].status == "ok"
    mirrored = environ | {provider_mirror.VARIABLE: str(tmp_path)}
    assert "no effect" in named(examine(project, mirrored))["CLI configuration"].do
    own.write_text("provider_installation { dev_overrides {} }")
    assert "protected" in named(examine(project, environ))["CLI configuration"].do


def installed_emulator(project: Path, version: str) -> None:
    place = project / ".venv/sandbox"
    (place / "bin").mkdir(parents=True)
    (place / "bin/ministack").touch()
    info = place / f"lib/python3.11/site-packages/ministack-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: ministack\nVersion: {version}\n")


@pytest.mark.parametrize(("version", "status"), [("1.5.33", "ok"), ("1.5.32", "wrong")])
def test_emulator_must_be_the_locked_one(empty: Path, root: Path, version: str, status: str) -> None:
    shutil.copy(root / "requirements-sandbox.txt", empty)
    installed_emulator(empty, version)
    things = named(examine(empty, {}))
    assert things["embedded AWS"].status == status
    assert version in things["embedded AWS"].version


@pytest.mark.parametrize("after_crash", [True, False])
def test_running_sandbox_is_shown(empty: Path, root: Path, monkeypatch: pytest.MonkeyPatch, after_crash: bool) -> None:
    installed_emulator(empty, "1.5.33")
    known = {"pid": 1, "port": 4566, "identity": "same", "instance": "ours", "after_crash": after_crash}
    (empty / ".cache/sandbox").mkdir(parents=True)
    (empty / ".cache/sandbox/running.json").write_text(json.dumps(known))
    assert named(examine(empty, {}))["sandbox"].version == "not running"
    monkeypatch.setattr(emulator, "identity", lambda _: "same")
    monkeypatch.setattr(emulator, "instance_at", lambda _: "ours")
    sandbox = named(examine(empty, {}))["sandbox"]
    assert sandbox.source == "http://127.0.0.1:4566"
    assert sandbox.status == ("note" if after_crash else "ok")


def lock(project: Path, *lines: str) -> None:
    (project / "requirements.txt").write_text("\n".join(lines) + "\n")


def test_dependencies_are_compared_with_the_lock(empty: Path) -> None:
    pytest_version = importlib.metadata.version("pytest")
    lock(
        empty,
        f"pytest=={pytest_version} \\",
        "    --hash=sha256:00",
        "PyYAML==0.1",
        "not-installed==1.0",
        "windows-only==1.0 ; sys_platform == 'win32'",
        f"Pytest_Xdist[psutil]=={importlib.metadata.version('pytest-xdist')}",
        "boto3==0.1 ; python_version < '3'",
        f"boto3=={importlib.metadata.version('boto3')} ; python_version >= '3'",
        "# comment==1",
    )
    dependencies = named(examine(empty, {}))["dependencies"]
    assert dependencies.status == "wrong"
    yaml = importlib.metadata.version("pyyaml")
    assert dependencies.version == f"2 not as locked: not-installed is missing, pyyaml {yaml}"
    assert "make sandbox" in dependencies.do


@pytest.mark.parametrize("content", [None, b"", b"\xff\xfe\x00", b"nothing pinned\n"])
def test_lock_without_pins_is_missing(empty: Path, content: bytes | None) -> None:
    if content is not None:
        (empty / "requirements.txt").write_bytes(content)
    assert named(examine(empty, {}))["dependencies"].status == "missing"


# Disk and permissions


def test_cache_that_cannot_be_written_is_wrong(empty: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(**_: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(tempfile, "TemporaryFile", refuse)
    cache = named(examine(empty, {}))["cache"]
    assert (cache.status, cache.version) == ("wrong", "cannot be written: Read-only file system")
    assert "permissions" in cache.do


def test_little_free_space_is_wrong(empty: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(10, 10, 5 * 1024**2))
    cache = named(examine(empty, {}))["cache"]
    assert (cache.status, cache.version) == ("wrong", "5 MiB free")


# Ambient variables


def test_variables_that_matter_are_named_without_their_values(empty: Path, tmp_path: Path) -> None:
    environ = {
        "AWS_ENDPOINT_URL": "http://user:hunter2@host",
        "AWS_ENDPOINT_URL_S3": "http://user:hunter2@host",
        "AWS_PROFILE": "hunter2",
        "AWS_ACCESS_KEY_ID": "hunter2",
        "AWS_CA_BUNDLE": str(tmp_path / "missing"),
        "https_proxy": "http://user:hunter2@proxy",
        "AWS_DEFAULT_PROFILE": "",
        "UNRELATED": "hunter2",
    }
    found = report(empty, environ)
    things = named(found.examined)
    assert things["AWS_ENDPOINT_URL"].do.startswith("`unset AWS_ENDPOINT_URL`")
    assert things["AWS_ENDPOINT_URL_S3"].status == "note"
    assert things["AWS_PROFILE"].status == "note"
    assert things["AWS_CA_BUNDLE"].status == "wrong"
    assert things["https_proxy"].status == "note"
    assert not {"UNRELATED", "AWS_DEFAULT_PROFILE"} & set(things)
    assert "hunter2" not in "\n".join(found.lines()) + json.dumps(found.document())

from __future__ import annotations

import errno
import hashlib
import io
import platform
import shutil
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from ci_user import terraform_release
from ci_user.errors import ToolchainError

EXECUTABLE = b'#!/bin/sh\necho \'{"terraform_version": "1.11.4"}\'\n'


def archive(**members: bytes) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as opened:
        for name, body in members.items():
            opened.writestr(name.replace("SLASH", "/").replace("DOT", "."), body)
    return content.getvalue()


class Releases:
    """A release host on loopback: answers each path with ``body`` and ``status``."""

    def __init__(self) -> None:
        self.body = archive(terraform=EXECUTABLE, LICENSEDOTtxt=b"words")
        self.status = 200
        self.asked: list[str] = []
        self.truncate = False
        releases = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                releases.asked.append(self.path)
                self.send_response(releases.status)
                self.send_header("Content-Length", str(len(releases.body)))
                self.end_headers()
                self.wfile.write(releases.body[:10] if releases.truncate else releases.body)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the overridden name
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/terraform"


@pytest.fixture
def releases(monkeypatch: pytest.MonkeyPatch) -> Iterator[Releases]:
    releases = Releases()
    thread = threading.Thread(target=releases.server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    publish(releases, monkeypatch)
    yield releases
    releases.server.shutdown()
    releases.server.server_close()
    thread.join()


def publish(releases: Releases, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make what the host answers the published release."""
    digest = hashlib.sha256(releases.body).hexdigest()
    monkeypatch.setitem(terraform_release.SHA256, terraform_release.platform_name(), digest)


def left(cache: Path) -> set[str]:
    return {path.name for path in cache.rglob("*") if path.is_file()} - {"install.lock"}


def test_downloads_checks_and_unpacks_the_one_file(tmp_path: Path, releases: Releases) -> None:
    cache = tmp_path / "a cache"
    binary = terraform_release.install(cache, base_url=releases.url)
    name = terraform_release.platform_name()
    assert releases.asked == [f"/terraform/1.11.4/terraform_1.11.4_{name}.zip"]
    assert binary == cache / "1.11.4" / name / "terraform"
    assert binary.read_bytes() == EXECUTABLE
    assert binary.stat().st_mode & 0o777 == 0o755
    assert left(cache) == {"terraform"}
    assert not list(cache.glob(".download-*"))


def test_second_install_downloads_nothing(tmp_path: Path, releases: Releases) -> None:
    first = terraform_release.install(tmp_path, base_url=releases.url)
    assert terraform_release.install(tmp_path, base_url=releases.url) == first
    assert terraform_release.installed(tmp_path) == first
    assert len(releases.asked) == 1


def test_installs_at_once_download_once(tmp_path: Path, releases: Releases) -> None:
    threads = [
        threading.Thread(target=terraform_release.install, args=(tmp_path,), kwargs={"base_url": releases.url})
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert terraform_release.installed(tmp_path)
    assert len(releases.asked) == 1


def test_wrong_checksum_is_a_clear_error_and_leaves_nothing(tmp_path: Path, releases: Releases) -> None:
    published = terraform_release.SHA256[terraform_release.platform_name()]
    releases.body = archive(terraform=b"#!/bin/sh\necho evil\n")
    with pytest.raises(ToolchainError, match="does not have the SHA-256") as refused:
        terraform_release.install(tmp_path, base_url=releases.url)
    assert refused.value.expected == published
    assert refused.value.where == f"{releases.url}{releases.asked[0].removeprefix('/terraform')}"
    assert refused.value.exit_code == 1
    assert left(tmp_path) == set()
    assert not list(tmp_path.glob(".download-*"))
    assert terraform_release.installed(tmp_path) is None


@pytest.mark.parametrize("status", [403, 404, 500, 503])
def test_refused_download_is_a_clear_error(tmp_path: Path, releases: Releases, status: int) -> None:
    releases.status = status
    with pytest.raises(ToolchainError, match=f"cannot be downloaded: HTTP status {status}") as refused:
        terraform_release.install(tmp_path, base_url=releases.url)
    assert "on PATH" in str(refused.value)
    assert left(tmp_path) == set()


def test_connection_cut_in_the_middle_leaves_nothing(tmp_path: Path, releases: Releases) -> None:
    releases.truncate = True
    with pytest.raises(ToolchainError):
        terraform_release.install(tmp_path, base_url=releases.url)
    assert left(tmp_path) == set()


def test_unreachable_host_is_a_clear_error(tmp_path: Path, releases: Releases) -> None:
    releases.server.server_close()
    with pytest.raises(ToolchainError, match="cannot be downloaded: ConnectionError"):
        terraform_release.install(tmp_path, base_url=releases.url)
    assert left(tmp_path) == set()


@pytest.mark.parametrize(
    "body",
    [b"no archive at all", archive(other=b"x"), archive(binSLASHterraform=b"x"), archive(DOTDOTSLASHterraform=b"x")],
    ids=["no archive", "another file", "in a directory", "out of the directory"],
)
def test_archive_without_terraform_leaves_nothing(
    tmp_path: Path, releases: Releases, monkeypatch: pytest.MonkeyPatch, body: bytes
) -> None:
    releases.body = body
    publish(releases, monkeypatch)
    with pytest.raises(ToolchainError, match="holds no terraform"):
        terraform_release.install(tmp_path / "cache", base_url=releases.url)
    assert left(tmp_path) == set()


def test_full_disk_while_unpacking_leaves_nothing(
    tmp_path: Path, releases: Releases, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(shutil, "copyfileobj", full)
    with pytest.raises(ToolchainError, match="cannot be stored: No space left on device") as refused:
        terraform_release.install(tmp_path, base_url=releases.url)
    assert refused.value.runbook == "disk"
    assert left(tmp_path) == set()


@pytest.mark.parametrize(
    ("system", "machine", "name"),
    [
        ("Linux", "x86_64", "linux_amd64"),
        ("Linux", "aarch64", "linux_arm64"),
        ("Darwin", "x86_64", "darwin_amd64"),
        ("Darwin", "arm64", "darwin_arm64"),
    ],
)
def test_platforms_are_named_as_terraform_names_them(
    monkeypatch: pytest.MonkeyPatch, system: str, machine: str, name: str
) -> None:
    monkeypatch.setattr(platform, "system", lambda: system)
    monkeypatch.setattr(platform, "machine", lambda: machine)
    assert terraform_release.platform_name() == name
    assert len(bytes.fromhex(terraform_release.SHA256[name])) == 32


@pytest.mark.parametrize(("system", "machine"), [("Windows", "AMD64"), ("Linux", "riscv64"), ("Linux", "")])
def test_other_platforms_are_refused(monkeypatch: pytest.MonkeyPatch, system: str, machine: str) -> None:
    monkeypatch.setattr(platform, "system", lambda: system)
    monkeypatch.setattr(platform, "machine", lambda: machine)
    with pytest.raises(ToolchainError, match="this machine is"):
        terraform_release.platform_name()

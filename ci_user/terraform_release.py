"""The Terraform release that is downloaded when the one on ``PATH`` does not fit."""

from __future__ import annotations

import logging
import os
import platform
import shutil
import tempfile
import zipfile
from pathlib import Path
from typing import Final

from ci_user.errors import ToolchainError
from ci_user.files import private_directory

VERSION: Final = "1.11.4"
BASE_URL: Final = "https://releases.hashicorp.com/terraform"
# HashiCorp's published SHA256SUMS of the release's archives.
SHA256: Final = {
    "linux_amd64": "1ce994251c00281d6845f0f268637ba50c0005657eb3cf096b92f753b42ef4dc",
    "linux_arm64": "a43d1d0da9b9bab214a8305a39db0e40869572594ccf50c416a7756499143633",
    "darwin_amd64": "a56d5002b9f7647291faccc3dd1a70350e60fb61e4c45037629508b8fdc2575b",
    "darwin_arm64": "867e0808fa971217043e25b7a792b10720c79b1546f8a68479b74f138be73e18",
}
_CONNECT_AND_READ_SECONDS: Final = (10, 60)
_LOCK_SECONDS: Final = 600
_MACHINES: Final = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64"}


def platform_name() -> str:
    """Return this machine's platform as Terraform names it: ``linux_amd64``, ``darwin_arm64``.

    Raises:
        ToolchainError: Neither Linux nor macOS, or neither amd64 nor arm64.
    """
    system = platform.system().lower()
    machine = _MACHINES.get(platform.machine().lower(), platform.machine())
    name = f"{system}_{machine}"
    if name not in SHA256:
        raise ToolchainError(
            f"this machine is {name}", expected=f"one of {', '.join(sorted(SHA256))}", runbook="toolchain"
        )
    return name


def installed(cache: Path) -> Path | None:
    """Return the release in the cache, or None when it was not downloaded yet."""
    binary = _place(cache) / "terraform"
    return binary if os.access(binary, os.X_OK) and binary.is_file() else None


def install(cache: Path, *, base_url: str = BASE_URL) -> Path:
    """Return the release in the cache, downloaded and checked against its SHA-256 when it is missing.

    The ambient proxy variables are used for the download. Whatever goes wrong, nothing half done is left.

    Raises:
        ToolchainError: It cannot be downloaded or written, or is not what HashiCorp published.
    """
    from filelock import FileLock, Timeout

    place = _place(cache)
    try:
        private_directory(cache)
        with FileLock(cache / "install.lock", timeout=_LOCK_SECONDS, mode=0o600):
            found = installed(cache)
            if found:
                return found
            with tempfile.TemporaryDirectory(dir=cache, prefix=".download-") as work:
                unpacked = _unpack(_download(base_url, Path(work)), Path(work))
                place.mkdir(parents=True, exist_ok=True)
                return unpacked.replace(place / "terraform")
    except Timeout:
        raise _failed("another command has been downloading it for ten minutes", str(cache)) from None
    except OSError as error:
        raise ToolchainError(
            f"Terraform {VERSION} cannot be stored: {error.strerror or type(error).__name__}",
            where=str(cache),
            expected="a directory that you may write, with 200 MB of free space",
            do="check its owner, its permissions and the free disk space, then run the same command again",
            runbook="disk",
        ) from None


def _place(cache: Path) -> Path:
    return cache / VERSION / platform_name()


def _download(base_url: str, work: Path) -> Path:
    import pooch
    import requests

    name = platform_name()
    url = f"{base_url}/{VERSION}/terraform_{VERSION}_{name}.zip"
    pooch.get_logger().setLevel(logging.WARNING)
    try:
        return Path(
            pooch.retrieve(
                url,
                known_hash=f"sha256:{SHA256[name]}",
                fname="terraform.zip",
                path=work,
                downloader=pooch.HTTPDownloader(timeout=_CONNECT_AND_READ_SECONDS),
            )
        )
    except requests.RequestException as error:
        status = error.response.status_code if error.response is not None else None
        raise _failed(f"HTTP status {status}" if status else type(error).__name__, url) from None
    except ValueError:
        # pooch says so for a hash that differs, and has removed the file.
        raise ToolchainError(
            f"the download of Terraform {VERSION} does not have the SHA-256 that HashiCorp published",
            where=url,
            expected=SHA256[name],
            do="find out what answers for that address (a proxy?); nothing was installed",
            runbook="toolchain",
        ) from None


def _failed(why: str, where: str) -> ToolchainError:
    return ToolchainError(
        f"Terraform {VERSION} cannot be downloaded: {why}",
        where=where,
        do="install Terraform (1.11 or newer, before 2) on PATH, or check network and proxy settings",
        runbook="toolchain",
    )


def _unpack(archive: Path, work: Path) -> Path:
    """Take the one file that counts, to a name of our own, whatever else the archive holds."""
    binary = work / "terraform"
    try:
        with (
            zipfile.ZipFile(archive) as opened,
            opened.open("terraform") as source,
            binary.open("xb") as target,
        ):
            shutil.copyfileobj(source, target)
    except (zipfile.BadZipFile, KeyError):
        raise _failed("the archive holds no terraform", str(archive.name)) from None
    binary.chmod(0o755)
    return binary

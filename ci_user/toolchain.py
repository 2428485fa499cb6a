"""Finds Terraform and the provider, and installs what is missing."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from ci_user import provider_mirror, terraform_release
from ci_user.errors import ToolchainError, UsageError
from ci_user.files import write_private
from ci_user.text import plain

OLDEST: Final = (1, 11)
BEFORE: Final = (2,)
_VERSION_SECONDS: Final = 30


@dataclass(frozen=True)
class Toolchain:
    """What runs an environment's plans.

    Attributes:
        terraform: The executable.
        version: Its version, ``1.11.4``.
        terraform_source: In words, where it is from.
        provider_version: The locked version of hashicorp/aws.
        provider_source: In words, where Terraform will take the provider from.
        cli_config: For ``TF_CLI_CONFIG_FILE``; None leaves Terraform to what it finds on its own.
        dev_overrides: The user's CLI configuration replaces providers past the lock.
    """

    terraform: Path
    version: str
    terraform_source: str
    provider_version: str
    provider_source: str
    cli_config: Path | None
    dev_overrides: bool


def find(
    root: Path,
    environ: Mapping[str, str],
    *,
    allow_system_mirror: bool,
    allow_download: bool = True,
    base_url: str = terraform_release.BASE_URL,
) -> Toolchain:
    """Find Terraform and the source of its provider; download Terraform when none on ``PATH`` fits.

    Args:
        root: The project's directory; its ``.cache/terraform`` is written.
        environ: The ambient variables, usually ``os.environ``.
        allow_system_mirror: Also accept ``/opt/*/registry.terraform.io``: for the sandbox and the tests.
        allow_download: False raises instead of downloading.
        base_url: Where releases are downloaded from.

    Raises:
        ToolchainError: No Terraform fits and none can be installed, or a mirror lacks the locked provider.
        UsageError: The cache cannot be written.
    """
    cache = root / ".cache" / "terraform"
    lock = provider_mirror.read_lock(root / "terraform")
    cli_config, source, dev_overrides = _provider(root, lock, environ, allow_system_mirror, cache)
    terraform, version, terraform_source = find_terraform(
        cache, environ, allow_download=allow_download, base_url=base_url
    )
    return Toolchain(
        terraform=terraform,
        version=version,
        terraform_source=terraform_source,
        provider_version=lock.version,
        provider_source=source,
        cli_config=cli_config,
        dev_overrides=dev_overrides,
    )


def find_terraform(
    cache: Path,
    environ: Mapping[str, str],
    *,
    allow_download: bool,
    base_url: str = terraform_release.BASE_URL,
) -> tuple[Path, str, str]:
    """Return the executable, its version, and in words where it is from.

    Raises:
        ToolchainError: The one on ``PATH`` does not fit, and the pinned one cannot be installed.
    """
    found = shutil.which("terraform", path=environ.get("PATH", ""))
    why = "there is none on PATH"
    if found:
        on_path = Path(found).absolute()
        version = version_of(on_path, cache, environ)
        if fits(version):
            return on_path, str(version), "PATH"
        why = f"the one on PATH, {on_path}, " + (f"is {version}" if version else "does not run")
    pinned = terraform_release.installed(cache)
    if pinned is None:
        if not allow_download:
            raise ToolchainError(
                f"no Terraform that fits: {plain(why)}",
                expected="1.11 or newer, before 2",
                do=f"run `make sandbox`, which downloads {terraform_release.VERSION}, or install one",
                runbook="toolchain",
            )
        try:
            pinned = terraform_release.install(cache, base_url=base_url)
        except ToolchainError as error:
            # Who has a Terraform already would not see why another one is wanted.
            raise ToolchainError(
                f"no Terraform that fits: {plain(why)}; {error.what}",
                where=error.where,
                expected=error.expected or "1.11 or newer, before 2",
                do=error.do,
                runbook=error.runbook,
            ) from None
    version = version_of(pinned, cache, environ)
    if not fits(version):
        raise ToolchainError(
            f"the downloaded Terraform {'is ' + version if version else 'does not run'}",
            where=str(pinned),
            expected=terraform_release.VERSION,
            do=f"remove {pinned.parent} and run the same command again",
            runbook="toolchain",
        )
    return pinned, str(version), f"the pinned release in the project's cache, because {plain(why)}"


def fits(version: str | None) -> bool:
    """Return whether a version is 1.11 or newer and before 2; a pre-release never fits."""
    match = re.fullmatch(r"(\d{1,4})\.(\d{1,4})\.(\d{1,4})", version or "")
    return match is not None and OLDEST <= tuple(int(part) for part in match.groups()) < BEFORE


def version_of(terraform: Path, cache: Path, environ: Mapping[str, str]) -> str | None:
    """Return what ``terraform version -json`` says, or None when it does not run.

    The answer for a native executable is kept in ``cache``, by path, size and time of change: asking takes
    0.15 s and more. A script is asked each time: a version manager's runs now this version, now that.
    """
    try:
        stat = terraform.stat()
        with terraform.open("rb") as file:
            script = file.read(2) == b"#!"
    except OSError:
        return None
    key = f"{terraform}:{stat.st_size}:{stat.st_mtime_ns}"
    kept = cache / "version.json"
    known = {} if script else _read_object(kept)
    if key in known and isinstance(known[key], str):
        return str(known[key])
    version = _ask(terraform, environ)
    if version and not script:
        # What cannot be kept is asked again.
        with contextlib.suppress(UsageError):
            write_private(kept, json.dumps({key: version}).encode())
    return version


def _ask(terraform: Path, environ: Mapping[str, str]) -> str | None:
    child = {name: environ[name] for name in ("PATH", "HOME", "TMPDIR", "LANG") if environ.get(name)}
    try:
        answer = subprocess.run(
            [str(terraform), "version", "-json"],
            capture_output=True,
            timeout=_VERSION_SECONDS,
            check=False,
            # A directory without a configuration, so that Terraform looks at no provider.
            cwd=terraform.parent,
            stdin=subprocess.DEVNULL,
            env={**child, "CHECKPOINT_DISABLE": "1", "TF_CLI_CONFIG_FILE": os.devnull},
        )
        version = json.loads(answer.stdout)["terraform_version"]
    except (OSError, subprocess.TimeoutExpired, ValueError, KeyError, TypeError):
        return None
    return plain(version) if isinstance(version, str) and answer.returncode == 0 else None


def _read_object(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_bytes())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _provider(
    root: Path, lock: provider_mirror.Lock, environ: Mapping[str, str], allow_system_mirror: bool, cache: Path
) -> tuple[Path | None, str, bool]:
    own = provider_mirror.users_configuration(environ)
    if own:
        files = ", ".join(str(file) for file in own.files)
        return own.named, f"your own CLI configuration, {files}", own.dev_overrides
    mirror = provider_mirror.find_mirror(root / "terraform", lock, environ, allow_system_mirror=allow_system_mirror)
    if mirror is None:
        return None, "the registry", False
    source = f"{mirror.path} ({mirror.source})"
    if mirror.implied:
        return None, source, False
    return _write_cli_config(mirror.path, cache), source, False


def _write_cli_config(mirror: Path, cache: Path) -> Path:
    file = cache / "mirror.tfrc"
    content = provider_mirror.cli_configuration(mirror).encode()
    if not file.is_file() or file.read_bytes() != content:
        write_private(file, content)
    return file

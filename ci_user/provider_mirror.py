"""Where Terraform gets the AWS provider from: lock, filesystem mirrors, the user's CLI configuration.

https://developer.hashicorp.com/terraform/cli/config/config-file#provider-installation
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ci_user.errors import ToolchainError
from ci_user.provider_package import ADDRESS, package
from ci_user.terraform_release import platform_name

VARIABLE: Final = "CI_USER_PROVIDER_MIRROR"
SYSTEM_MIRRORS: Final = Path("/opt")
_CREDENTIALS_FILE: Final = "credentials.tfrc.json"
# A string, so that the comment marks in it do not count, or a comment.
_STRING_OR_COMMENT: Final = re.compile(r'("(?:[^"\\\n]|\\.)*")|#[^\n]*|//[^\n]*|/\*.*?\*/', re.DOTALL)


@dataclass(frozen=True)
class Lock:
    """What ``.terraform.lock.hcl`` says of the AWS provider: version, and hashes ``h1:`` and ``zh:``."""

    version: str
    hashes: frozenset[str]


@dataclass(frozen=True)
class Mirror:
    """A directory that holds the locked provider.

    Attributes:
        path: The directory above ``registry.terraform.io``.
        source: In words, where it was named.
        implied: Terraform looks there on its own.
        sandbox_only: It serves the sandbox and the tests, and no other environment.
    """

    path: Path
    source: str
    implied: bool = False
    sandbox_only: bool = False


@dataclass(frozen=True)
class CliConfig:
    """The user's own CLI configuration: its files, and what in them concerns providers.

    Attributes:
        named: The file that ``TF_CLI_CONFIG_FILE`` names; None when Terraform finds the files on its own.
    """

    files: tuple[Path, ...]
    named: Path | None
    dev_overrides: bool


def read_lock(terraform: Path) -> Lock:
    """Read the provider's lock in the root module's directory.

    Raises:
        ToolchainError: It is missing, or does not name the AWS provider with hashes.
    """
    file = terraform / ".terraform.lock.hcl"
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        text = ""
    block = re.search(rf'^provider "{re.escape(ADDRESS)}" {{\n(.*?)^}}', text, re.DOTALL | re.MULTILINE)
    version = re.search(r'^\s*version\s*=\s*"([^"]+)"', block[1], re.MULTILINE) if block else None
    hashes = frozenset(re.findall(r'"((?:h1|zh):[^"]+)"', block[1])) if block else frozenset[str]()
    if version is None or not hashes:
        raise ToolchainError(
            f"the dependency lock does not name {ADDRESS} with its hashes",
            where=str(file),
            do="restore the committed file: `git checkout terraform/.terraform.lock.hcl`",
            runbook="toolchain",
        )
    return Lock(version[1], hashes)


def find_mirror(terraform: Path, lock: Lock, environ: Mapping[str, str], *, allow_system_mirror: bool) -> Mirror | None:
    """Return the mirror to use, or None for the registry.

    The order: ``CI_USER_PROVIDER_MIRROR``, Terraform's implied directories, and with ``allow_system_mirror``
    ``/opt/*/registry.terraform.io`` last.

    Raises:
        ToolchainError: A mirror was named that does not hold the locked version, or an implied one
            that does not hides the registry.
    """
    named = environ.get(VARIABLE)
    if named:
        return Mirror(_named(named, lock), VARIABLE)
    hiding: Path | None = None
    for directory, default in _implied(terraform, environ):
        if package(directory, lock.version):
            return Mirror(directory, "Terraform's implied mirror directory", implied=default)
        if default and (directory / ADDRESS).is_dir():
            hiding = hiding or directory
    if hiding:
        # Terraform never asks the registry for a provider that an implied directory holds in any version.
        raise _lacking(hiding, lock, "an implied mirror: it hides the registry")
    if allow_system_mirror:
        for found in sorted(SYSTEM_MIRRORS.glob("*/registry.terraform.io")):
            if package(found.parent, lock.version):
                return Mirror(found.parent, "a mirror of this machine", sandbox_only=True)
    return None


def cli_configuration(mirror: Path) -> str:
    """Return the CLI configuration that takes the AWS provider from this mirror and from nowhere else.

    Raises:
        ToolchainError: The path cannot be written in Terraform's language.
    """
    path = str(mirror)
    if not path.isprintable() or "${" in path or "%{" in path:
        raise ToolchainError(
            "the path of the provider mirror holds characters that have a meaning for Terraform",
            where=path,
            expected="no control characters, no ${ and no %{",
            do="rename the directory, or link to it from elsewhere",
            runbook="toolchain",
        )
    quoted = path.replace("\\", "\\\\").replace('"', '\\"')
    return (
        "provider_installation {\n"
        "  filesystem_mirror {\n"
        f'    path    = "{quoted}"\n'
        f'    include = ["{ADDRESS}"]\n'
        "  }\n"
        "  direct {\n"
        f'    exclude = ["{ADDRESS}"]\n'
        "  }\n"
        "}\n"
    )


def users_configuration(environ: Mapping[str, str]) -> CliConfig | None:
    """Return the user's own CLI configuration, or None.

    ``TF_CLI_CONFIG_FILE`` counts when it names a file; then Terraform reads that one only. Otherwise it is
    ``~/.terraformrc`` with the ``*.tfrc`` files of ``~/.terraform.d``; the file in which
    `terraform login` keeps tokens is none.

    Raises:
        ToolchainError: One of the files cannot be read.
    """
    named = environ.get("TF_CLI_CONFIG_FILE")
    if named and Path(named).is_file():
        file = Path(named).absolute()
        return CliConfig((file,), file, _has_dev_overrides([file]))
    home = environ.get("HOME")
    if not home:
        return None
    beside = (Path(home) / ".terraform.d").glob("*.tfrc*")
    files = [Path(home) / ".terraformrc", *sorted(beside)]
    found = [
        file for file in files if file.is_file() and file.name != _CREDENTIALS_FILE and not file.name.endswith("~")
    ]
    return CliConfig(tuple(found), None, _has_dev_overrides(found)) if found else None


def _has_dev_overrides(files: list[Path]) -> bool:
    for file in files:
        try:
            text = file.read_text(encoding="utf-8", errors="replace")
        except OSError as error:
            raise ToolchainError(
                f"your Terraform CLI configuration cannot be read: {error.strerror}",
                where=str(file),
                do="check its permissions",
                runbook="toolchain",
            ) from None
        if "dev_overrides" in _STRING_OR_COMMENT.sub(lambda match: match[1] or " ", text):
            return True
    return False


def _named(named: str, lock: Lock) -> Path:
    mirror = Path(named)
    if not mirror.is_absolute() or not (mirror / ADDRESS).is_dir():
        raise ToolchainError(
            f"{VARIABLE} names no provider mirror",
            where=named,
            expected=f"the absolute path of a directory with {ADDRESS} in it",
            do="make one: `terraform -chdir=terraform providers mirror DIRECTORY` where there is a network",
            runbook="toolchain",
        )
    if package(mirror, lock.version) is None:
        raise _lacking(mirror, lock, f"named by {VARIABLE}")
    return mirror


def _lacking(mirror: Path, lock: Lock, what: str) -> ToolchainError:
    return ToolchainError(
        f"the provider mirror does not hold {ADDRESS} {lock.version} for {platform_name()} ({what})",
        where=str(mirror / ADDRESS),
        expected=f"{lock.version}/{platform_name()}/, as .terraform.lock.hcl has it",
        do="add it with `terraform -chdir=terraform providers mirror DIRECTORY`",
        runbook="toolchain",
    )


def _implied(terraform: Path, environ: Mapping[str, str]) -> Iterator[tuple[Path, bool]]:
    """Yield the directories, and whether Terraform finds them when it gets none of the XDG variables."""
    yield terraform / "terraform.d" / "plugins", True
    home = Path(environ["HOME"]) if environ.get("HOME") else None
    if home:
        yield home / ".terraform.d" / "plugins", True
    if sys.platform == "darwin":
        if home:
            yield home / "Library/Application Support/io.terraform/plugins", True
        yield Path("/Library/Application Support/io.terraform/plugins"), True
        return
    own = environ.get("XDG_DATA_HOME")
    if own:
        yield Path(own) / "terraform/plugins", False
    elif home:
        yield home / ".local/share/terraform/plugins", True
    for shared in filter(None, environ.get("XDG_DATA_DIRS", "").split(":")):
        yield Path(shared) / "terraform/plugins", False
    for shared in ("/usr/local/share", "/usr/share"):
        yield Path(shared) / "terraform/plugins", True

"""The AWS provider's package in a filesystem mirror, and its hash as the dependency lock writes it.

https://developer.hashicorp.com/terraform/language/files/dependency-lock#new-provider-package-checksums
"""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path
from typing import Final

from ci_user.errors import UsageError
from ci_user.files import digest_of_file, write_private
from ci_user.terraform_release import platform_name

ADDRESS: Final = "registry.terraform.io/hashicorp/aws"


def package(mirror: Path, version: str) -> Path | None:
    """Return what a mirror holds of a version for this platform: a directory, an archive, or None."""
    place, name = mirror / ADDRESS, platform_name()
    unpacked = place / version / name
    if unpacked.is_dir() and any(unpacked.glob("terraform-provider-aws*")):
        return unpacked
    archive = place / f"terraform-provider-aws_{version}_{name}.zip"
    return archive if archive.is_file() else None


def package_hash(found: Path, cache: Path) -> str:
    """Return ``h1:...`` of an unpacked package or ``zh:...`` of an archive.

    Reading the 700 MB takes seconds, so the answer is kept in ``cache``, by path, sizes and times of change.
    It serves `invoke doctor` only: Terraform itself compares the hash at each ``init``.

    Raises:
        OSError: The package cannot be read.
    """
    files = sorted(file for file in found.rglob("*") if file.is_file()) if found.is_dir() else [found]
    stats = [(str(file), file.stat().st_size, file.stat().st_mtime_ns) for file in files]
    key = hashlib.sha256(json.dumps(stats).encode()).hexdigest()
    kept = cache / "provider.json"
    try:
        known = json.loads(kept.read_bytes())
    except (OSError, ValueError):
        known = {}
    if isinstance(known, dict) and isinstance(known.get(key), str):
        return str(known[key])
    made = _h1(found, files) if found.is_dir() else f"zh:{digest_of_file(found)}"
    try:
        write_private(kept, json.dumps({key: made}).encode())
    except UsageError:
        return made
    return made


def _h1(directory: Path, files: list[Path]) -> str:
    # Go's dirhash.Hash1: https://pkg.go.dev/golang.org/x/mod/sumdb/dirhash#Hash1
    names = sorted((file.relative_to(directory).as_posix(), file) for file in files)
    lines = "".join(f"{digest_of_file(file)}  {name}\n" for name, file in names)
    return "h1:" + base64.b64encode(hashlib.sha256(lines.encode()).digest()).decode()

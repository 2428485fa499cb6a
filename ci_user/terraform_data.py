"""Terraform's data directory (``TF_DATA_DIR``), taken over from another environment's instead of initialised again.

`terraform init` looks up and verifies the same providers for each environment. What differs between two environments is the
backend's settings alone, which Terraform keeps in ``terraform.tfstate`` of the data directory
(https://developer.hashicorp.com/terraform/language/backend#initialization). Each plan verifies the providers against the lock.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from ci_user.files import cannot_write, write_private

_BACKEND: Final = "terraform.tfstate"
_MODULES: Final = Path("modules", "modules.json")
_PROVIDERS: Final = "providers"
_BOOLEANS: Final = frozenset({"use_lockfile", "encrypt", "use_path_style"})
_LISTS: Final = frozenset({"allowed_account_ids"})


def take_over(twin: Path, data_dir: Path, backend: Mapping[str, str]) -> bool:
    """Make ``data_dir`` what an initialisation with ``backend`` would; return False when the twin cannot serve for that.

    Args:
        twin: A data directory initialised with the same modules and providers, whatever its backend's settings.
        data_dir: The directory to fill; what is in it is replaced.
        backend: The S3 backend's settings, as ``-backend-config`` takes them.

    Raises:
        UsageError: The directory cannot be written.
    """
    try:
        saved = json.loads((twin / _BACKEND).read_bytes())
        config = saved["backend"]["config"]
        packages = {path: path.resolve() for path in (twin / _PROVIDERS).glob("*/*/*/*/*") if path.is_dir()}
        modules = (twin / _MODULES).read_bytes()
    except (OSError, ValueError, KeyError, TypeError):
        return False
    if twin == data_dir or not isinstance(config, dict) or not packages or not backend.keys() <= config.keys():
        return False
    if any(package.is_relative_to(data_dir.resolve()) for package in packages.values()):
        # The twin took them over from here: they would go with what is replaced.
        return False
    saved["backend"]["config"] = {name: _value(name, backend[name]) if name in backend else None for name in config}
    try:
        shutil.rmtree(data_dir, ignore_errors=True)
        for path, package in packages.items():
            link = data_dir / path.relative_to(twin)
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(package)
        (data_dir / _MODULES).parent.mkdir()
        (data_dir / _MODULES).write_bytes(modules)
    except OSError as error:
        raise cannot_write(data_dir, error) from None
    write_private(data_dir / _BACKEND, json.dumps(saved, indent=2).encode())
    return True


def _value(name: str, text: str) -> Any:
    """Return a setting as Terraform keeps it: booleans and lists are no text there, and a bucket may be called ``true``."""
    if name in _BOOLEANS:
        return text == "true"
    return json.loads(text) if name in _LISTS else text

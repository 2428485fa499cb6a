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

from ci_user.files import write_private

_BACKEND: Final = "terraform.tfstate"
_MODULES: Final = Path("modules", "modules.json")
_PROVIDERS: Final = "providers"


def take_over(twin: Path, data_dir: Path, backend: Mapping[str, str]) -> bool:
    """Make ``data_dir`` what an initialisation with ``backend`` would; return False when the twin cannot serve for that.

    Args:
        twin: A data directory initialised with the same modules and providers, whatever its backend's settings.
        data_dir: The directory to fill; what is in it is replaced.
        backend: The S3 backend's settings, as ``-backend-config`` takes them.
    """
    try:
        saved = json.loads((twin / _BACKEND).read_bytes())
        config = saved["backend"]["config"]
        packages = [path for path in (twin / _PROVIDERS).glob("*/*/*/*/*") if path.is_dir()]
        modules = (twin / _MODULES).read_bytes()
    except (OSError, ValueError, KeyError, TypeError):
        return False
    if twin == data_dir or not isinstance(config, dict) or not packages or not backend.keys() <= config.keys():
        return False
    saved["backend"]["config"] = {name: _value(backend[name]) if name in backend else None for name in config}
    shutil.rmtree(data_dir, ignore_errors=True)
    for package in packages:
        link = data_dir / package.relative_to(twin)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(package.resolve())
    (data_dir / _MODULES).parent.mkdir()
    (data_dir / _MODULES).write_bytes(modules)
    write_private(data_dir / _BACKEND, json.dumps(saved, indent=2).encode())
    return True


def _value(text: str) -> Any:
    """Return a setting as Terraform keeps it: booleans and lists are no text there."""
    if text in ("true", "false"):
        return text == "true"
    return json.loads(text) if text.startswith("[") else text

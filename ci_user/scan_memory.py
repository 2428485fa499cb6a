"""What the last scan of an environment found, so that an unchanged plan needs neither ``show`` nor scan.

Raw findings are kept, never a verdict: acceptances and their dates are judged anew each time.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from ci_user.files import write_private
from ci_user.findings import Finding

if TYPE_CHECKING:
    from ci_user.scan import ScanResult

_FILE = "scan.json"


def remember(directory: Path, key: str, result: ScanResult) -> None:
    """Keep a scan's result under the digest of everything that it depends on."""
    content = {"key": key, **asdict(result)}
    write_private(directory / _FILE, json.dumps(content).encode())


def recall(directory: Path, key: str) -> ScanResult | None:
    """Return the result kept under ``key``; None when there is none, or it cannot be read: then the plan is scanned."""
    from ci_user.scan import ScanResult

    try:
        content = json.loads((directory / _FILE).read_bytes())
        if content.pop("key") != key:
            return None
        findings = tuple(Finding(**finding) for finding in content.pop("findings"))
        content = {name: tuple(v) if isinstance(v, list) else v for name, v in content.items()}
        return ScanResult(findings=findings, **content)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None

"""`make test-live BACKEND=NAME`: against the real place that `.cache/live/NAME.yaml` names. Nothing else runs it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from ci_user.backends import Backend, open_backend, settings_model
from ci_user.credentials import AwsAccess
from tests.contract.place import Names, NoAccess
from tests.live.harmless import harmless

_HOW = (
    "write one entry of `secrets` into {file}, for a place that holds nothing yet (docs/backends.md, Against a real account);"
    " for AWS with `account_id` and `region`"
)


def entry(root: Path) -> dict[str, Any]:
    backend = os.environ.get("CI_USER_LIVE_BACKEND", "")
    file = root / ".cache" / "live" / f"{backend}.yaml"
    if not backend or not file.is_file():
        pytest.fail(_HOW.format(file=file.relative_to(root)), pytrace=False)
    found: dict[str, Any] = yaml.safe_load(file.read_text(encoding="utf-8"))
    assert found.get("backend") == backend, f"{file} is an entry of another backend"
    return found


def aws(found: dict[str, Any]) -> Any:
    if "account_id" not in found:
        return NoAccess()
    from botocore.session import Session

    access = AwsAccess(
        Session(profile=(found.get("access") or {}).get("profile")),
        account_id=found["account_id"],
        region=found["region"],
        partition="aws",
        endpoint_url=None,
        loopback=False,
    )
    access.verify()
    return access


@pytest.mark.live
def test_a_real_place_keeps_the_contract(root: Path) -> None:
    found = entry(root)
    model = settings_model(found["backend"])
    if "names" in model.model_fields:
        found["names"] = {**found.get("names", {}), "prefix": "CIUSERTEST_"}
    settings = model.model_validate(found, context={"root": root})
    access = aws(found)
    names = Names(prefix="ci-user-test", account_id=found.get("account_id", "000000000000"), sandbox=False)

    def opened() -> Backend:
        return open_backend(settings, access, names, root, environ=os.environ)

    for sentence in harmless(opened):
        print(sentence)  # noqa: T201 - for the person who runs it

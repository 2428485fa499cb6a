"""How a run opens its places: over its own logins, each request fenced where it only looks."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ci_user import backends
from ci_user.run import Loaded, Run
from tests.unit.nightly.identities import ENVIRONMENT, SECOND, STAGE


class Access:
    """A way into AWS that remembers what fences it."""

    def __init__(self, fence: Any = None) -> None:
        self.fence = fence

    def fenced_by(self, check: Any) -> Access:
        return Access(check)


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What was opened, and how."""
    found: list[dict[str, Any]] = []

    def open_backend(settings: Any, access: Access, environment: Any, root: Path, **more: Any) -> str:
        found.append({"access": access.fence, "root": root, **more})
        return str(settings.target(environment))

    monkeypatch.setattr(backends, "open_backend", open_backend)
    return found


def run(root: Path) -> Run:
    nothing: Any = None
    accesses: Any = SimpleNamespace(for_backend=lambda _: Access())
    loaded = Loaded(root, ENVIRONMENT, {ENVIRONMENT.name: ENVIRONMENT})
    return Run(loaded, accesses, nothing, nothing, root / "run", {"GITLAB_TOKEN": "x"})


def look(_: object) -> None:
    """Fence nothing."""


def test_every_place_is_opened_in_the_order_of_the_file(tmp_path: Path, opened: list[dict[str, Any]]) -> None:
    found: tuple[Any, ...] = run(tmp_path).backends()
    assert found == (STAGE, SECOND)
    own = {"access": None, "check": None, "reads_secrets": True, "environ": {"GITLAB_TOKEN": "x"}, "root": tmp_path}
    assert opened == [own, own]


def test_what_fences_a_run_fences_the_login_and_the_backend(tmp_path: Path, opened: list[dict[str, Any]]) -> None:
    run(tmp_path).backends(look)
    assert [(one["access"], one["check"]) for one in opened] == [(look, look)] * 2


def test_a_run_that_only_looks_says_that_it_reads_no_secret(tmp_path: Path, opened: list[dict[str, Any]]) -> None:
    settings = ENVIRONMENT.places[1]
    found: Any = run(tmp_path).backend(settings, look, reads_secrets=False)
    assert found == SECOND
    (one,) = opened
    assert (one["access"], one["check"], one["reads_secrets"]) == (look, look, False)


def test_a_run_that_leaves_a_deny_alone_keeps_what_was_worked_out(root: Path) -> None:
    loaded = Loaded(root, ENVIRONMENT, {ENVIRONMENT.name: ENVIRONMENT})
    assert loaded.leaving(()) is loaded
    worked_out = (loaded.choice, loaded.boundary)
    other = loaded.leaving(("deny",))
    assert (other.choice, other.boundary) == worked_out
    assert other.choice is loaded.choice
    # The variables name the deny, so they are made anew.
    assert loaded.tfvars != other.tfvars

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from ci_user import backends
from ci_user.backends import overview

NO_BACKENDS = {"dev", "dask"}
"""Extras that no backend and no token source needs."""


def test_the_extras_are_those_of_the_package(root: Path) -> None:
    declared = tomllib.loads((root / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    found = {
        extra: tuple(requirement.partition(">=")[0] for requirement in requirements)
        for extra, requirements in declared.items()
        if extra not in NO_BACKENDS
    }
    assert found == overview.EXTRAS
    assert {about.extra for name in backends.builtin() if (about := backends.about(name)).extra} <= set(found)


@pytest.mark.parametrize("name", backends.builtin())
def test_every_setting_of_every_backend_is_told_with_its_meaning(name: str) -> None:
    found = overview.overview(name)
    assert found.settings
    assert all(setting.meaning.endswith((".", ")")) for setting in found.settings), found.settings
    assert "backend" not in [setting.key for setting in found.settings]
    assert found.missing == ""
    about = backends.about(name)
    assert about.how_to.count("\n") <= 45, "a how-to is at most a screen"
    assert f"backend: {name}" in about.how_to


def test_a_missing_package_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(overview.EXTRAS, "age", ("no-such-package-at-all",))
    about = backends.About("x", "x", "x", True, "x", "x", extra="age")
    assert overview.missing(about) == "no-such-package-at-all"

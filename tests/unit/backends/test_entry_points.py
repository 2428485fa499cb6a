from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from ci_user import backends
from ci_user.backends import UnknownBackendError, open_backend, overview, settings_model, settings_of
from ci_user.environment import Environment
from ci_user.errors import BackendError
from tests.contract.place import Names, NoAccess

MODULE = """
import pathlib
pathlib.Path({trace!r}).write_text("imported")
from typing import Literal
from ci_user.backends.memory import MemoryBackend
from ci_user.backends.protocol import About, BackendSettings
from pydantic import Field

ABOUT = About("Theirs", "something", "its own tests", True, "magic", "how")

class Settings(BackendSettings):
    backend: Literal["theirs"] = Field(description="Which backend this is.")
    shelf: str = Field(description="Where it goes.")
    def target(self, environment):
        return f"theirs:{{self.shelf}}"
    def guarded_arns(self, environment):
        return ()

def open_with(settings, context):
    return MemoryBackend(readable=False, target=settings.target(context.environment))
"""

Install = Callable[..., Path]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Installs a package as pip would leave it: a module, and its metadata."""
    made: list[str] = []

    def put(name: str = "theirs", dist: str = "Their_Backend", version: str = "1.2.3", code: str | None = None) -> Path:
        site = tmp_path / f"site-{len(made)}"
        module = f"their_module_{len(made)}"
        trace = site / "trace"
        info = site / f"{dist}-{version}.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {dist}\nVersion: {version}\n")
        (info / "entry_points.txt").write_text(f"[ci_user.backends]\n{name} = {module}\n")
        (site / f"{module}.py").write_text(MODULE.format(trace=str(trace)) if code is None else code)
        monkeypatch.syspath_prepend(str(site))
        importlib.invalidate_caches()
        made.append(module)
        return trace

    yield put
    for module in made:
        sys.modules.pop(module, None)


def environment(*, protected: bool = False, **entry: Any) -> Environment:
    return Environment.model_validate(
        {
            "name": "testing",
            "version": 1,
            "application": "shop",
            "account_id": "111111111111",
            "region": "eu-west-1",
            "protected": protected,
            "policies": ["serverless"],
            "state": {"bucket": "shop-states"},
            "secrets": [{"backend": "aws-ssm", "name": "/a"}, {"backend": "theirs", "shelf": "top", **entry}],
        }
    )


def refused(**entry: Any) -> str:
    with pytest.raises(ValidationError) as caught:
        environment(**entry)
    return "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in caught.value.errors())


def test_listing_imports_none(install: Install) -> None:
    trace = install()
    assert "theirs" in backends.names()
    assert "theirs" not in backends.builtin()
    (found,) = [one for one in overview.overviews() if one.name == "theirs"]
    assert (found.origin, found.settings) == ("their-backend==1.2.3", ())
    text = "\n".join(overview.lines((found,), {}))
    assert "invoke backends --backend theirs" in text
    assert not trace.exists()
    assert [setting.key for setting in overview.overview("theirs").settings] == ["shelf"]
    assert trace.exists()


def test_an_environment_that_names_it_gets_it(install: Install) -> None:
    trace = install()
    settings = environment().secrets[1]
    assert trace.exists()
    assert settings.target(Names()) == "theirs:top"
    assert open_backend(settings, NoAccess(), Names()).target == "theirs:top"


def test_a_protected_environment_pins_package_and_version_before_it_is_imported(install: Install) -> None:
    trace = install()
    assert "their-backend==1.2.3" in refused(protected=True)
    assert "which is what is installed" in refused(protected=True, plugin="their-backend==1.2.4")
    assert "which is what is installed" in refused(plugin="other==1.2.3")
    assert not trace.exists()
    assert environment(protected=True, plugin="their-backend==1.2.3").secrets[1].backend == "theirs"


def test_a_built_in_backend_has_no_pin() -> None:
    with pytest.raises(ValidationError):
        settings_model("aws-ssm").model_validate({"backend": "aws-ssm", "name": "/a", "plugin": "x==1"})


def test_no_plugin_takes_a_built_in_name(install: Install) -> None:
    trace = install(name="aws-ssm")
    assert settings_model("aws-ssm").__module__ == "ci_user.backends.aws_ssm"
    assert "cannot take" in backends.plugins().refused["aws-ssm"]
    assert any("REFUSED" in line for line in overview.lines((), backends.plugins().refused))
    assert not trace.exists()


def test_two_packages_with_one_name_are_both_refused(install: Install) -> None:
    install()
    install(dist="Another", version="9")
    assert "another==9, their-backend==1.2.3" in refused()
    with pytest.raises(UnknownBackendError, match="more than one package"):
        settings_model("theirs")


@pytest.mark.parametrize("name", ["Theirs", "a b", "x" * 60, "ünder"])
def test_a_name_that_no_file_could_use_is_refused(install: Install, name: str) -> None:
    install(name=name)
    assert name not in backends.names()
    assert "lower case letters" in backends.plugins().refused[name]


@pytest.mark.parametrize("metadata", ["", "Metadata-Version: 2.1\n", "Name: x\n", "Version: 1\n"])
def test_a_package_that_cannot_be_pinned_is_refused_and_hides_no_other(install: Install, metadata: str) -> None:
    install()
    trace = install(name="broken", dist="Broken")
    (trace.parent / "Broken-1.2.3.dist-info" / "METADATA").write_text(metadata)
    found = backends.plugins()
    assert "nothing can pin it" in found.refused["broken"]
    assert list(found.plugins) == ["theirs"]


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("raise SystemError('boom')", "SystemError"),
        ("raise SystemExit(0)", "SystemExit"),
        ("x = 1", "has no Settings, open_with, ABOUT"),
        ("Settings = open_with = ABOUT = dict", "are no BackendSettings"),
    ],
)
def test_a_broken_plugin_is_told_without_its_traceback(install: Install, code: str, words: str) -> None:
    install(code=code)
    assert words in refused()
    with pytest.raises(BackendError, match=words):
        settings_model("theirs")


def test_a_place_of_a_plugin_that_no_file_names_any_more_is_not_opened(install: Install) -> None:
    trace = install()
    assert settings_of("theirs:top", Names()) is None
    assert not trace.exists()


def test_a_wrong_setting_of_a_plugin_is_told_at_its_place(install: Install) -> None:
    install()
    assert "secrets.1.colour" in refused(colour="red")
    assert replace(Names()).name == "testing"

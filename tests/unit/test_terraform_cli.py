"""Terraform's process: what it is given, what is read from it, and how it ends. A stand-in program plays Terraform."""

from __future__ import annotations

import json
import os
import signal
import textwrap
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from ci_user.errors import InterruptedRunError, LeaseLostError, LockHeldError, TerraformError
from ci_user.terraform_cli import Terraform, backend_settings
from tests.programs import write_program

Make = Callable[..., Terraform]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    module = tmp_path / "a module"
    module.mkdir()
    (module / "main.tf").write_text("")
    (module / ".terraform.lock.hcl").write_text("")

    def build(
        script: str, *, timeout: float = 30, events: list[Mapping[str, Any]] | None = None, version: str = "1.11.4"
    ) -> Terraform:
        program = tmp_path / "terraform"
        write_program(program, f"import json, os, signal, sys, time\n{textwrap.dedent(script)}")
        return Terraform(
            program,
            module,
            tmp_path / "data",
            environment=lambda: {"ONLY": "this"},
            backend={"bucket": "b", "key": "a b/c"},
            version=version,
            cli_config=None,
            timeout=timeout,
            on_event=(events if events is not None else []).append,
        )

    return build


def test_the_child_gets_the_given_environment_and_nothing_else(make: Make, tmp_path: Path) -> None:
    os.environ["TF_CLI_ARGS"] = "-destroy"
    try:
        shown = make('print(json.dumps({"env": dict(os.environ), "args": sys.argv[1:]}))').show(tmp_path / "p")
    finally:
        del os.environ["TF_CLI_ARGS"]
    # Python and the shell that starts the stand-in set these themselves.
    environment = {name: value for name, value in shown["env"].items() if name not in ("LC_CTYPE", "PWD", "SHLVL", "_")}
    assert environment == {"ONLY": "this", "TF_DATA_DIR": str(tmp_path / "data")}
    assert shown["args"] == ["show", "-json", str(tmp_path / "p")]


def test_a_plan_is_made_with_the_variables_and_read_by_its_exit_code(make: Make, tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    script = f"""
        open({str(seen)!r}, "w").write(json.dumps(sys.argv[1:]))
        sys.exit(2)
    """
    assert make(script).plan(tmp_path / "vars", tmp_path / "out", destroy=True)
    arguments = json.loads(seen.read_text())
    assert arguments[0] == "plan"
    assert {
        "-json",
        "-detailed-exitcode",
        "-destroy",
        "-input=false",
        f"-var-file={tmp_path / 'vars'}",
    } <= set(arguments)


def test_an_unchanged_plan_is_told_apart_from_a_failed_one(make: Make, tmp_path: Path) -> None:
    assert not make("sys.exit(0)").plan(tmp_path, tmp_path)
    with pytest.raises(TerraformError, match="failed"):
        make("sys.exit(1)").plan(tmp_path, tmp_path)


def test_apply_takes_the_plan_file_and_nothing_that_could_change_it(make: Make, tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    make(f"open({str(seen)!r}, 'w').write(json.dumps(sys.argv[1:]))").apply(tmp_path / "p")
    assert sorted(json.loads(seen.read_text())) == sorted(["apply", "-json", "-input=false", str(tmp_path / "p")])


def test_terraforms_own_diagnosis_is_in_the_error_without_control_characters(make: Make, tmp_path: Path) -> None:
    diagnostic = {
        "severity": "error",
        "summary": "No \x1b[31mway",
        "detail": "Because\nof it",
        "address": "aws_iam_user.x",
    }
    script = f"print({json.dumps(json.dumps({'@level': 'error', 'type': 'diagnostic', 'diagnostic': diagnostic}))}); sys.exit(1)"
    with pytest.raises(TerraformError) as raised:
        make(script).apply(tmp_path)
    assert "way: Because of it" in str(raised.value)
    assert "\x1b" not in str(raised.value)
    assert raised.value.where == "aws_iam_user.x"


def test_a_held_state_lock_names_its_holder_and_exits_4(make: Make, tmp_path: Path) -> None:
    detail = "x\nLock Info:\n  ID:        1-2\n  Who:       ann@desk\n  Created:   today\n"
    diagnostic = {"severity": "error", "summary": "Error acquiring the state lock", "detail": detail}
    script = f"print({json.dumps(json.dumps({'@level': 'error', 'type': 'diagnostic', 'diagnostic': diagnostic}))}); sys.exit(1)"
    with pytest.raises(LockHeldError, match="held") as raised:
        make(script).plan(tmp_path, tmp_path)
    assert raised.value.exit_code == 4
    assert "ann@desk" in str(raised.value)


@pytest.mark.parametrize("output", ["", "no json", "[1]", '{"a":'])
def test_what_is_no_plan_document_is_an_error(make: Make, tmp_path: Path, output: str) -> None:
    with pytest.raises(TerraformError, match="did not print"):
        make(f"print({output!r})").show(tmp_path)


def test_a_program_that_cannot_be_started_is_a_clear_error(make: Make, tmp_path: Path) -> None:
    terraform = make("")
    (tmp_path / "terraform").chmod(0o600)
    with pytest.raises(TerraformError, match="could not be started"):
        terraform.apply(tmp_path)


def test_a_command_that_takes_too_long_is_told_to_stop_and_reported(make: Make, tmp_path: Path) -> None:
    stopped = tmp_path / "stopped"
    script = f"""
        def stop(*_):
            open({str(stopped)!r}, "w").close()
            sys.exit(1)
        signal.signal(signal.SIGINT, stop)
        signal.pause()
    """
    with pytest.raises(TerraformError, match="took longer than"):
        make(script, timeout=1).apply(tmp_path)
    assert stopped.exists()


def test_ctrl_c_reaches_terraform_once_and_waits_for_its_orderly_end(make: Make, tmp_path: Path) -> None:
    log = tmp_path / "log"
    script = f"""
        def stop(*_):
            open({str(log)!r}, "a").write("stopped in order")
            sys.exit(1)
        signal.signal(signal.SIGINT, stop)
        print(json.dumps({{"type": "ready"}}), flush=True)
        signal.pause()
    """
    events: list[Mapping[str, Any]] = []
    terraform = make(script, events=events)

    def interrupt() -> None:
        while not events:
            threading.Event().wait(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(InterruptedRunError, match="has ended"):
        terraform.apply(tmp_path)
    thread.join()
    assert log.read_text() == "stopped in order"


def provider(tmp_path: Path) -> Path:
    path = tmp_path / "data" / "providers" / "r" / "h" / "aws" / "5" / "os" / "binary"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("")
    modules = tmp_path / "data" / "modules"
    modules.mkdir(exist_ok=True)
    (modules / "modules.json").write_text("{}")
    return path


def test_init_runs_once_and_again_when_something_it_depends_on_changed(make: Make, tmp_path: Path) -> None:
    count = tmp_path / "count"
    script = f"open({str(count)!r}, 'a').write(json.dumps(sys.argv[1:]) + '\\n')"
    terraform = make(script)
    lock = tmp_path / "lock"
    assert terraform.init(lock)
    binary = provider(tmp_path)
    assert not terraform.init(lock)
    terraform = make(script, version="1.12.0")
    assert terraform.init(lock)
    (tmp_path / "a module" / "main.tf").write_text("changed")
    assert terraform.init(lock)
    (tmp_path / "a module" / ".terraform.lock.hcl").write_text("changed")
    assert terraform.init(lock)
    binary.unlink()
    assert terraform.init(lock)
    runs = [json.loads(line) for line in count.read_text().splitlines()]
    assert len(runs) == 5
    assert all("-lockfile=readonly" in run and "-backend-config=key=a b/c" in run for run in runs)


def test_a_failed_init_is_done_again(make: Make, tmp_path: Path) -> None:
    provider(tmp_path)
    with pytest.raises(TerraformError):
        make("sys.exit(1)").init(tmp_path / "lock")
    assert make("").init(tmp_path / "lock")


def test_backend_settings_hold_no_credentials_and_always_the_lock_and_the_account() -> None:
    settings = backend_settings(
        bucket="b",
        key="k",
        region="r",
        kms_key="arn",
        own_profile=True,
        path_style=True,
        account_id="000000000000",
    )
    assert settings["use_lockfile"] == "true"
    assert settings["allowed_account_ids"] == '["000000000000"]'
    assert not [name for name in settings if "secret" in name or "token" in name or "access_key" in name]


def test_a_lost_lease_stops_terraform_and_is_what_is_told(make: Make, tmp_path: Path) -> None:
    def lost() -> None:
        raise LeaseLostError("somebody else has it")

    with pytest.raises(LeaseLostError):
        make("signal.pause()").apply(tmp_path, lost)


INITIALISES = """
    from pathlib import Path
    data = Path(os.environ["TF_DATA_DIR"])
    package = data / "providers" / "r" / "h" / "aws" / "5" / "os"
    package.mkdir(parents=True, exist_ok=True)
    (package / "binary").write_text("")
    (data / "modules").mkdir(exist_ok=True)
    (data / "modules" / "modules.json").write_text("{}")
    config = dict(part.split("=", 2)[1:] for part in sys.argv if part.startswith("-backend-config="))
    (data / "terraform.tfstate").write_text(json.dumps({"backend": {"config": config}}))
    with open(data.parent / "ran", "a") as file:
        file.write(data.name + "\\n")
"""


@pytest.fixture
def shared(make: Make, tmp_path: Path) -> Callable[..., bool]:
    """Initialise one of many data directories, whose backends differ in their keys only."""
    make(INITIALISES)

    def init(name: str, twins: dict[str, Path] | None, *, version: str = "1.11.4") -> bool:
        terraform = Terraform(
            tmp_path / "terraform",
            tmp_path / "a module",
            tmp_path / name,
            environment=dict,
            backend={"bucket": "b", "key": name},
            version=version,
            cli_config=None,
            timeout=30,
        )
        return terraform.init(tmp_path / "lock", twins)

    return init


def ran(tmp_path: Path) -> list[str]:
    return (tmp_path / "ran").read_text().split()


def test_one_initialisation_serves_all_with_the_same_modules_and_providers(
    shared: Callable[..., bool], tmp_path: Path
) -> None:
    twins: dict[str, Path] = {}
    assert all(shared(name, twins) for name in ("one", "two", "three"))
    assert ran(tmp_path) == ["one"]
    saved = json.loads((tmp_path / "three" / "terraform.tfstate").read_text())
    assert saved["backend"]["config"] == {"bucket": "b", "key": "three"}
    # Each stands for itself from then on.
    assert not any(shared(name, None) for name in ("one", "two", "three"))


def test_one_that_was_initialised_before_serves_the_others_too(shared: Callable[..., bool], tmp_path: Path) -> None:
    assert shared("one", None)
    twins: dict[str, Path] = {}
    assert not shared("one", twins)
    assert shared("two", twins)
    assert ran(tmp_path) == ["one"]


def test_another_terraform_or_module_is_no_twin(shared: Callable[..., bool], tmp_path: Path) -> None:
    twins: dict[str, Path] = {}
    shared("one", twins)
    shared("two", twins, version="1.12.0")
    (tmp_path / "a module" / "main.tf").write_text("changed")
    shared("three", twins)
    assert ran(tmp_path) == ["one", "two", "three"]
    assert len(twins) == 3


def test_a_twin_that_cannot_serve_is_replaced_by_one_that_can(shared: Callable[..., bool], tmp_path: Path) -> None:
    twins: dict[str, Path] = {}
    shared("one", twins)
    (tmp_path / "one" / "modules" / "modules.json").unlink()
    assert shared("two", twins)
    assert shared("three", twins)
    assert ran(tmp_path) == ["one", "two"]
    assert list(twins.values()) == [tmp_path / "two"]


def test_what_is_forgotten_is_initialised_anew(make: Make, tmp_path: Path) -> None:
    terraform = make(INITIALISES)
    terraform.init(tmp_path / "lock")
    assert not terraform.init(tmp_path / "lock")
    terraform.forget()
    assert terraform.init(tmp_path / "lock")
    terraform.forget()
    terraform.forget()


def test_a_plan_takes_no_lock_when_it_is_told_so(make: Make, tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    terraform = make(f"open({str(seen)!r}, 'w').write(json.dumps(sys.argv[1:]))")
    terraform.plan(tmp_path / "vars", tmp_path / "out", lock=False)
    assert "-lock=false" in json.loads(seen.read_text())
    terraform.plan(tmp_path / "vars", tmp_path / "out")
    assert not [argument for argument in json.loads(seen.read_text()) if argument.startswith("-lock")]


def test_a_run_that_is_to_end_ends_whatever_terraform_does(make: Make, tmp_path: Path) -> None:
    def ended() -> None:
        raise InterruptedRunError("the night is over")

    make("")
    terraform = Terraform(
        tmp_path / "terraform",
        tmp_path / "a module",
        tmp_path / "data",
        environment=dict,
        backend={},
        version="1.11.4",
        cli_config=None,
        timeout=30,
        check=ended,
    )
    make("signal.signal(signal.SIGINT, lambda *_: sys.exit(1)); signal.pause()")
    with pytest.raises(InterruptedRunError, match="the night is over"):
        terraform.plan(tmp_path / "vars", tmp_path / "out")

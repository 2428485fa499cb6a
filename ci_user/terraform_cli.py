"""Runs Terraform; the only file that imports ``python_terraform``.

python_terraform builds the command lines. The process part is our own: an explicit environment, a process group of its own
so that SIGINT reaches Terraform once and in order, a timeout, and Terraform's machine-readable events as they come
(https://developer.hashicorp.com/terraform/internals/machine-readable-ui).
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, MutableMapping
from pathlib import Path
from typing import IO, Any

from ci_user import terraform_data
from ci_user.credentials import STATE_PROFILE
from ci_user.errors import CiUserError, InterruptedRunError, LockHeldError, TerraformError
from ci_user.files import cannot_write, digest_of_files, write_private
from ci_user.text import plain

Event = Mapping[str, Any]

# How long Terraform may take to stop in order after SIGINT: it finishes the call under way and releases its lock.
_STOP_SECONDS = 60.0
_FIRMER = ((signal.SIGINT, _STOP_SECONDS), (signal.SIGTERM, _STOP_SECONDS / 6), (signal.SIGKILL, 0.0))
_CHECK_SECONDS = 0.5


class Terraform:
    """One environment's Terraform: a working copy of nothing, only a data directory of its own.

    Args:
        binary: The executable that ``toolchain.find`` chose.
        module: The root module's directory.
        data_dir: ``TF_DATA_DIR``; belongs to one environment.
        environment: Returns the child's whole environment; called before each command, so that credentials are fresh.
        backend: The settings of the S3 backend.
        version: The executable's version.
        cli_config: The CLI configuration that says where providers come from; None leaves that to Terraform.
        timeout: Seconds one command may take.
        on_event: Called with each event line as it comes.
        check: Raises when the run is to end; asked twice a second while a command runs, which is then told to stop.
    """

    def __init__(
        self,
        binary: Path,
        module: Path,
        data_dir: Path,
        *,
        environment: Callable[[], dict[str, str]],
        backend: Mapping[str, str],
        version: str,
        cli_config: Path | None,
        timeout: float,
        on_event: Callable[[Event], None] = lambda _: None,
        check: Callable[[], None] = lambda: None,
    ) -> None:
        self._binary = binary
        self._module = module
        self._data_dir = data_dir
        self._environment = environment
        self._backend = dict(backend)
        self.version = version
        self._cli_config = cli_config
        self._timeout = timeout
        self._on_event = on_event
        self._check = check

    def init(self, lock: Path, twins: MutableMapping[str, Path] | None = None) -> bool:
        """Initialise the data directory unless nothing it depends on changed; return whether it ran.

        Args:
            lock: A file that serialises initialisations, because the provider cache is not safe under parallel ones.
            twins: Data directories that were initialised with the same modules, providers and Terraform, by the digest of
                these; one of them is taken over, with this one's backend, and a new one is put in. None asks for none.

        Raises:
            TerraformError: It failed; ``-lockfile=readonly`` makes a provider that the lock does not name fail here.
            UsageError: The data directory cannot be written.
        """
        from filelock import FileLock

        stamp = self._data_dir / "initialised"
        locked, digest = self._init_digests()
        if stamp.is_file() and stamp.read_text() == digest and self._providers_present():
            if twins is not None:
                twins.setdefault(locked, self._data_dir)
            return False
        try:
            self._data_dir.mkdir(parents=True, exist_ok=True)
            stamp.unlink(missing_ok=True)
            turn = FileLock(lock).acquire()
        except OSError as error:
            raise cannot_write(Path(error.filename or self._data_dir), error) from None
        with turn:
            twin = twins.get(locked) if twins is not None else None
            if twin is None or not terraform_data.take_over(twin, self._data_dir, self._backend):
                self._run("init", lockfile="readonly", reconfigure=True, backend_config=self._backend, json=True)
                if twins is not None:
                    # In place of one that could not serve.
                    twins[locked] = self._data_dir
        write_private(stamp, digest.encode())
        return True

    def forget(self) -> None:
        """Have the next ``init`` run whatever is there."""
        (self._data_dir / "initialised").unlink(missing_ok=True)

    def plan(self, tfvars: Path, out: Path, *, destroy: bool = False, lock: bool = True) -> bool:
        """Plan into ``out``; return whether an apply would change anything (the detailed exit code 2).

        Raises:
            TerraformError: It failed, or took longer than the timeout.
            LockHeldError: Somebody else holds Terraform's own lock on the state.
        """
        code = self._run(
            "plan",
            json=True,
            detailed_exitcode=True,
            var_file=str(tfvars),
            out=str(out),
            destroy=destroy,
            lock=None if lock else "false",
            accept=(0, 2),
        )[0]
        return code == 2

    def show(self, plan: Path) -> dict[str, Any]:
        """Return the plan as ``terraform show -json`` gives it, sensitive values included: redact before anything else."""
        output = self._run("show", str(plan), json=True, events=False)[1]
        try:
            document = json.loads(output)
        except json.JSONDecodeError:
            raise TerraformError("`terraform show -json` did not print JSON", where=str(plan.name)) from None
        if not isinstance(document, dict):
            raise TerraformError("`terraform show -json` did not print an object", where=str(plan.name))
        return document

    def apply(self, plan: Path, check: Callable[[], None] = lambda: None) -> None:
        """Apply exactly this plan file.

        Args:
            plan: The plan file.
            check: Raises when this run may change nothing more; asked every second, and then Terraform is told to stop.

        Raises:
            TerraformError: It failed, in part or whole; the next run plans from what is there.
        """
        self._run("apply", str(plan), check=check, json=True)

    def _init_digests(self) -> tuple[str, str]:
        """Return the digest of modules, providers and Terraform, and the one of these and the backend."""
        module = digest_of_files(
            self._module, [*sorted(self._module.rglob("*.tf")), self._module / ".terraform.lock.hcl"]
        )
        config = self._cli_config.read_text() if self._cli_config else None
        locked = json.dumps([module, self.version, config], sort_keys=True)
        parts = json.dumps([module, self.version, config, self._backend], sort_keys=True)
        return hashlib.sha256(locked.encode()).hexdigest(), hashlib.sha256(parts.encode()).hexdigest()

    def _providers_present(self) -> bool:
        providers = self._data_dir / "providers"
        modules = self._data_dir / "modules" / "modules.json"
        # A mirror that was unmounted leaves dangling links.
        return modules.is_file() and any(path.is_file() for path in providers.glob("*/*/*/*/*/*"))

    def _run(
        self,
        command: str,
        *arguments: str,
        accept: tuple[int, ...] = (0,),
        events: bool = True,
        check: Callable[[], None] | None = None,
        **options: Any,
    ) -> tuple[int, str]:
        environment = self._environment() | {"TF_DATA_DIR": str(self._data_dir)}
        if self._cli_config is not None:
            environment["TF_CLI_CONFIG_FILE"] = str(self._cli_config)
        process = _Process(_command_line(self._binary, command, arguments, options), self._module, environment)
        diagnostics: list[Event] = []
        other: list[str] = []

        def take(line: str) -> None:
            if not events:
                other.append(line)
                return
            try:
                event = json.loads(line)
            except json.JSONDecodeError:
                other.append(line)
                return
            if isinstance(event, dict):
                if event.get("type") == "diagnostic":
                    diagnostics.append(event)
                self._on_event(event)

        code = process.run(take, self._timeout, f"terraform {command}", check or self._check)
        if code not in accept:
            raise _failure(command, code, diagnostics, other, process.stderr)
        return code, "".join(other)


def _command_line(binary: Path, command: str, arguments: tuple[str, ...], options: dict[str, Any]) -> list[str]:
    from python_terraform import IsFlagged, IsNotFlagged
    from python_terraform import Terraform as CommandBuilder

    flags = {
        name: (IsFlagged if value else IsNotFlagged) if isinstance(value, bool) else value
        for name, value in options.items()
        if value is not None
    }
    if command in ("init", "plan", "apply"):
        flags["input"] = "false"
    # The builder loads a state file from its working directory if one is there: give it one that holds none.
    builder = CommandBuilder(working_dir=str(binary.parent), terraform_bin_path=str(binary))
    return [str(part) for part in builder.generate_cmd_string(command, *arguments, **flags)]


class _Process:
    """One child process in a group of its own."""

    def __init__(self, command: list[str], directory: Path, environment: dict[str, str]) -> None:
        self._command = command
        self._directory = directory
        self._environment = environment
        self._trace = any(name.startswith("TF_LOG") for name in environment)
        self.stderr = ""

    def run(self, take: Callable[[str], None], timeout: float, name: str, check: Callable[[], None]) -> int:
        try:
            process = subprocess.Popen(
                self._command,
                cwd=self._directory,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                encoding="utf-8",
                errors="replace",
                process_group=0,
            )
        except OSError as error:
            raise TerraformError(
                f"{name} could not be started: {error.strerror}",
                where=str(self._command[0]),
                do="run `invoke doctor`",
                runbook="toolchain",
            ) from None
        tail: list[str] = []
        reader = threading.Thread(target=self._drain, args=(process.stderr, tail), daemon=True)
        reader.start()
        ended = threading.Event()
        stopped: list[CiUserError] = []
        watcher = threading.Thread(
            target=self._watch, args=(process, timeout, name, check, ended, stopped), daemon=True
        )
        watcher.start()
        try:
            assert process.stdout is not None  # noqa: S101 - it is a pipe
            for line in process.stdout:
                take(line)
            code = process.wait()
        except KeyboardInterrupt:
            self._stop(process)
            raise InterruptedRunError(
                f"interrupted during `{name}`; Terraform was told to stop and has ended",
                do="run `invoke status`, then the same command again: it continues from what is there",
                runbook="interrupted",
            ) from None
        except BaseException:
            self._stop(process)
            raise
        finally:
            ended.set()
            watcher.join(timeout=5)
            reader.join(timeout=5)
            self.stderr = "".join(tail[-200:])
        if stopped:
            raise stopped[0]
        return code

    def _watch(
        self,
        process: subprocess.Popen[str],
        timeout: float,
        name: str,
        check: Callable[[], None],
        ended: threading.Event,
        stopped: list[CiUserError],
    ) -> None:
        """Tell the process to stop when it takes too long or ``check`` raises, ever more firmly."""
        until = time.monotonic() + timeout
        while not stopped and not ended.wait(_CHECK_SECONDS):
            try:
                check()
            except CiUserError as error:
                stopped.append(error)
            if time.monotonic() > until:
                stopped.append(
                    TerraformError(
                        f"{name} took longer than {timeout:.0f} s and was stopped",
                        do="look at the network and AWS's health; `timeout` in the environment file sets the limit",
                        runbook="terraform-failed",
                    )
                )
        if not stopped:
            return
        for number, patience in _FIRMER:
            _signal_group(process, number)
            if ended.wait(patience):
                return

    def _drain(self, pipe: IO[str], tail: list[str]) -> None:
        for line in pipe:
            tail.append(line)
            del tail[:-400]
            if self._trace:
                sys.stderr.write(line)

    @staticmethod
    def _stop(process: subprocess.Popen[str]) -> None:
        _signal_group(process, signal.SIGINT)
        try:
            process.communicate(timeout=_STOP_SECONDS)
        except (subprocess.TimeoutExpired, KeyboardInterrupt):
            _signal_group(process, signal.SIGTERM)
            try:
                process.communicate(timeout=_STOP_SECONDS / 6)
            except subprocess.TimeoutExpired:
                _signal_group(process, signal.SIGKILL)
                process.wait()


def _signal_group(process: subprocess.Popen[str], number: signal.Signals) -> None:
    try:
        os.killpg(process.pid, number)
    except ProcessLookupError:
        return


def _failure(
    command: str, code: int, diagnostics: list[Event], other: list[str], stderr: str
) -> TerraformError | LockHeldError:
    errors = [event.get("diagnostic", {}) for event in diagnostics if event.get("@level") == "error"]
    for error in errors:
        if "acquiring the state lock" in str(error.get("summary", "")):
            return LockHeldError(
                "Terraform's own lock on the state is held by another run",
                where=_lock_holder(str(error.get("detail", ""))),
                do="wait for it; when that run is dead for certain, `invoke unlock --env NAME` removes the lock",
                runbook="locked",
            )
    if errors:
        told = "\n".join(
            "    " + plain(" ".join(f"{e.get('summary', '')}: {e.get('detail', '')}".split()))[:1500] for e in errors
        )
    else:
        told = "\n".join("    " + plain(line) for line in (stderr or "".join(other)).strip().splitlines()[-15:])
    return TerraformError(
        f"`terraform {command}` failed (exit code {code}):\n{told}",
        where=next((str(e["address"]) for e in errors if e.get("address")), None),
        do="mend what it says and run the same command again: it continues from what is there",
        runbook="terraform-failed",
    )


def _lock_holder(detail: str) -> str:
    wanted = ("Who:", "Operation:", "Created:", "ID:")
    lines = [" ".join(line.split()) for line in detail.splitlines()]
    return plain(", ".join(line for line in lines if line.startswith(wanted))) or "holder unknown"


def backend_settings(
    *,
    bucket: str,
    key: str,
    region: str,
    kms_key: str | None,
    own_profile: bool,
    path_style: bool,
    account_id: str,
) -> dict[str, str]:
    """Return the S3 backend's settings; no secret is among them (they are kept in the data directory).

    https://developer.hashicorp.com/terraform/language/backend/s3
    """
    settings = {
        "bucket": bucket,
        "key": key,
        "region": region,
        "use_lockfile": "true",
        "encrypt": "true",
        "allowed_account_ids": json.dumps([account_id]),
    }
    if kms_key:
        settings["kms_key_id"] = kms_key
    if own_profile:
        settings["profile"] = STATE_PROFILE
    if path_style:
        settings["use_path_style"] = "true"
    return settings


def write_state_profile(directory: Path) -> Path:
    """Write the AWS configuration whose only profile asks ``credential_process.py``; return its path. Holds no secret."""
    script = Path(__file__).with_name("credential_process.py")
    path = directory / "aws-config"
    write_private(path, f'[profile {STATE_PROFILE}]\ncredential_process = "{sys.executable}" "{script}"\n'.encode())
    return path

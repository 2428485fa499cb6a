"""What this machine has of what the project needs; asks no network, writes only to the cache."""

from __future__ import annotations

import importlib.metadata
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Literal

from ci_user import emulator, provider_mirror, toolchain
from ci_user.errors import CiUserError
from ci_user.provider_package import package, package_hash
from ci_user.sandbox import Sandbox
from ci_user.text import plain

Status = Literal["ok", "note", "missing", "wrong"]

_OLDEST_PYTHON: Final = (3, 11)
_NEEDED_MIB: Final = 1024
_SHOWN: Final = 5
_WIDEST: Final = 24
_PIN: Final = re.compile(r"^([A-Za-z0-9][A-Za-z0-9._-]*)(?:\[[^\]]*\])?==([^\s;\\]+)\s*(;)?", re.MULTILINE)
_SET_UP: Final = "run `make sandbox`; if that changes nothing, remove .venv and run it again"
_PROXIES: Final = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")


@dataclass(frozen=True)
class Examined:
    """One thing: ``note`` is worth knowing and stops nothing, ``missing`` and ``wrong`` do.

    Attributes:
        version: Its version, or what was found.
        source: Where it is from.
        do: What to do about it; empty when nothing is to be done.
        notes: What else was found, a sentence each.
    """

    name: str
    status: Status
    version: str = ""
    source: str = ""
    do: str = ""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class DoctorReport:
    """All that was examined."""

    examined: tuple[Examined, ...]

    @property
    def exit_code(self) -> int:
        """Return 1 when something is missing or wrong, else 0."""
        return 1 if any(thing.status in {"missing", "wrong"} for thing in self.examined) else 0

    def lines(self) -> Sequence[str]:
        """Return the report for a person."""
        # The name of a place may be long; it then pushes its own line only.
        width = max(len(thing.name) for thing in self.examined if len(thing.name) <= _WIDEST)
        lines = []
        for thing in self.examined:
            source = f" ({thing.source})" if thing.source else ""
            lines.append(plain(f"{thing.status:<8}{thing.name:<{width}}  {thing.version}{source}".rstrip()))
            lines += [plain(f"{'':<10}{note}") for note in thing.notes]
            if thing.do:
                lines.append(plain(f"{'':<{width + 10}}do: {thing.do}"))
        return lines

    def document(self) -> dict[str, Any]:
        """Return the report as a JSON object."""
        return {"examined": [asdict(thing) for thing in self.examined]}


def report(root: Path, environ: Mapping[str, str]) -> DoctorReport:
    """Examine the machine, as `invoke doctor` prints it."""
    return DoctorReport(examine(root, environ))


def examine(root: Path, environ: Mapping[str, str]) -> tuple[Examined, ...]:
    """Examine everything. What is missing or broken is an entry of the result and never an exception."""
    cache = root / ".cache" / "terraform"
    parts: tuple[Callable[[], list[Examined]], ...] = (
        lambda: [_python(), _git(environ)],
        lambda: [_terraform(cache, environ)],
        lambda: _provider(root, cache, environ),
        lambda: [_cli_configuration(environ)],
        lambda: _embedded_aws(root),
        lambda: [_dependencies(root / "requirements.txt"), _checkov()],
        lambda: [_cache(root / ".cache")],
        lambda: _variables(environ),
    )
    return tuple(thing for part in parts for thing in part())


def _python() -> Examined:
    version = ".".join(str(part) for part in sys.version_info[:3])
    if tuple(sys.version_info) < _OLDEST_PYTHON:
        return Examined("python", "wrong", version, sys.executable, "use 3.11 or newer: `make PYTHON=python3.12`")
    return Examined("python", "ok", version, sys.executable)


def _git(environ: Mapping[str, str]) -> Examined:
    found = shutil.which("git", path=environ.get("PATH", ""))
    if found is None:
        return Examined("git", "note", "none on PATH", do="install it to keep the environment files' history")
    try:
        answer = subprocess.run([found, "--version"], capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return Examined("git", "note", "does not run", found)
    return Examined("git", "ok", answer.stdout.strip().removeprefix("git version "), found)


def _terraform(cache: Path, environ: Mapping[str, str]) -> Examined:
    try:
        path, version, source = toolchain.find_terraform(cache, environ, allow_download=False)
    except CiUserError as error:
        return _problem("terraform", "missing", error)
    return Examined("terraform", "ok", version, f"{path}, {source}")


def _provider(root: Path, cache: Path, environ: Mapping[str, str]) -> list[Examined]:
    try:
        lock = provider_mirror.read_lock(root / "terraform")
    except CiUserError as error:
        return [_problem("provider lock", "missing", error)]
    things = [Examined("provider lock", "ok", lock.version, f"{len(lock.hashes)} hashes")]
    try:
        own = provider_mirror.users_configuration(environ)
        mirror = provider_mirror.find_mirror(root / "terraform", lock, environ, allow_system_mirror=True)
    except CiUserError as error:
        return [*things, _problem("provider", "wrong", error)]
    if own or mirror is None:
        source = "as your own CLI configuration says" if own else "from the registry"
        return [*things, Examined("provider", "ok", lock.version, f"{source}, checked against the lock")]
    return [*things, _mirrored(mirror, lock, cache)]


def _mirrored(mirror: provider_mirror.Mirror, lock: provider_mirror.Lock, cache: Path) -> Examined:
    source = f"{mirror.path}, {mirror.source}"
    if mirror.sandbox_only:
        source += ": for the sandbox and the tests; other environments ask the registry"
    found = package(mirror.path, lock.version)
    try:
        locked = found is not None and package_hash(found, cache) in lock.hashes
    except OSError as error:
        return Examined("provider", "wrong", f"cannot be read: {error.strerror}", source, "check its permissions")
    if not locked:
        do = "do not use it: it is not what HashiCorp published; replace that directory"
        return Examined("provider", "wrong", f"{lock.version}, but with another hash than the lock's", source, do)
    return Examined("provider", "ok", f"{lock.version}, hash as locked", source)


def _cli_configuration(environ: Mapping[str, str]) -> Examined:
    name = "CLI configuration"
    try:
        own = provider_mirror.users_configuration(environ)
    except CiUserError as error:
        return _problem(name, "wrong", error)
    named = environ.get("TF_CLI_CONFIG_FILE")
    if own is None:
        if named:
            return Examined(name, "note", "TF_CLI_CONFIG_FILE names no file, which counts as none", named)
        return Examined(name, "ok", "none of your own")
    files = ", ".join(str(file) for file in own.files)
    if own.dev_overrides:
        do = "take dev_overrides out: protected environments refuse to run with them"
        return Examined(name, "note", "your own, with dev_overrides", files, do)
    if environ.get(provider_mirror.VARIABLE):
        do = f"unset {provider_mirror.VARIABLE}, which has no effect: your own configuration wins"
        return Examined(name, "note", "your own", files, do)
    return Examined(name, "ok", "your own", files)


def _embedded_aws(root: Path) -> list[Examined]:
    try:
        python = emulator.interpreter(root)
    except CiUserError as error:
        return [_problem("embedded AWS", "missing", error)]
    places = [str(place) for place in python.parent.parent.glob("lib/python*/site-packages")]
    found = next(iter(importlib.metadata.distributions(name="ministack", path=places)), None)
    pins = _pins(root / "requirements-sandbox.txt").get("ministack", _Pin(frozenset(), optional=True))
    version = found.version if found else "unknown"
    if pins.versions and version not in pins.versions:
        wanted = f"{version}, locked is {', '.join(sorted(pins.versions))}"
        return [Examined("embedded AWS", "wrong", wanted, str(python.parent), _SET_UP)]
    things = [Examined("embedded AWS", "ok", version, str(python.parent))]
    running = Sandbox(root, account_id="", region="").status()
    if running is None:
        return [*things, Examined("sandbox", "ok", "not running", do="`invoke sandbox.up` starts it")]
    if not running.orderly:
        do = "`invoke sandbox.reset` starts afresh, when something is missing in it"
        return [*things, Examined("sandbox", "note", "running, after a crash", running.endpoint_url, do)]
    return [*things, Examined("sandbox", "ok", f"running, process {running.pid}", running.endpoint_url)]


@dataclass(frozen=True)
class _Pin:
    """The versions that a lock allows; ``optional`` when each is for certain platforms only."""

    versions: frozenset[str]
    optional: bool


def _pins(lock: Path) -> dict[str, _Pin]:
    try:
        text = lock.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return {}
    pins: dict[str, _Pin] = {}
    for name, version, marker in _PIN.findall(text):
        before = pins.get(_normal(name), _Pin(frozenset(), optional=True))
        pins[_normal(name)] = _Pin(before.versions | {version}, before.optional and bool(marker))
    return pins


def _normal(name: str) -> str:
    """Return the normalised name: https://packaging.python.org/en/latest/specifications/name-normalization/."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _dependencies(lock: Path) -> Examined:
    name = "dependencies"
    pins = _pins(lock)
    if not pins:
        return Examined(name, "missing", "the lock cannot be read", str(lock), "restore the committed file")
    # Looking each name up by itself would list the directories each time.
    installed = {_normal(str(found.metadata["Name"])): found.version for found in importlib.metadata.distributions()}
    differing = [
        f"{package_name} {installed.get(package_name, 'is missing')}"
        for package_name, pin in sorted(pins.items())
        if (package_name in installed or not pin.optional) and installed.get(package_name) not in pin.versions
    ]
    if differing:
        more = f" and {len(differing) - _SHOWN} more" if len(differing) > _SHOWN else ""
        found = f"{len(differing)} not as locked: {', '.join(differing[:_SHOWN])}{more}"
        return Examined(name, "wrong", found, str(lock), _SET_UP)
    return Examined(name, "ok", f"{len(pins)} as locked", str(lock))


def _checkov() -> Examined:
    try:
        return Examined("checkov", "ok", importlib.metadata.version("checkov"))
    except importlib.metadata.PackageNotFoundError:
        return Examined("checkov", "missing", do=_SET_UP)


def _cache(cache: Path) -> Examined:
    place = next(path for path in (cache, *cache.parents) if path.is_dir())
    try:
        with tempfile.TemporaryFile(dir=place):
            free = shutil.disk_usage(place).free // 1024**2
    except OSError as error:
        do = "check its owner, its permissions and the free disk space"
        return Examined("cache", "wrong", f"cannot be written: {error.strerror}", str(place), do)
    if free < _NEEDED_MIB:
        return Examined("cache", "wrong", f"{free} MiB free", str(place), f"make room: {_NEEDED_MIB} MiB or more")
    return Examined("cache", "ok", f"{free} MiB free", str(place))


def _variables(environ: Mapping[str, str]) -> list[Examined]:
    things = []
    # Names only: an address may hold a password, and the rest are credentials.
    for name in sorted(name for name in environ if environ[name]):
        if name.startswith("AWS_ENDPOINT_URL"):
            do = f"`unset {name}`: only a sandbox, or an environment whose file names it, runs with it"
            things.append(Examined(name, "note", "set", do=do))
        elif name in {"AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_ACCESS_KEY_ID"}:
            things.append(Examined(name, "note", "set", "counts where an environment names no profile"))
        elif name == "AWS_CA_BUNDLE" and not Path(environ[name]).exists():
            things.append(Examined(name, "wrong", "names no file", do=f"`unset {name}` or correct it"))
        elif name.upper() in _PROXIES:
            things.append(Examined(name, "note", "set", "used for AWS and downloads, never for the sandbox"))
    return things


def _problem(name: str, status: Status, error: CiUserError) -> Examined:
    return Examined(name, status, error.what, error.where or "", error.do or "")

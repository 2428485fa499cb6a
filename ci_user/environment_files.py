"""The files of ``environments/``: found, read, checked, and compared with each other."""

from __future__ import annotations

import difflib
import os
import stat
from collections.abc import Mapping
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from ci_user import naming
from ci_user.environment import VERSION, Environment
from ci_user.environment_fields import inside
from ci_user.environment_problems import NOT_IN_FILES, explain
from ci_user.environment_siblings import collisions
from ci_user.environment_yaml import LARGEST, Problem, read, shown
from ci_user.errors import EnvironmentFileError, UsageError

FOLDER: Final = "environments"
PLACEHOLDER: Final = "REPLACE-ME"
"""What `invoke new` writes where only a person knows the value: no account and no bucket can be called so."""
_SHOWN: Final = 50


def load(name: str, root: Path, *, today: date | None = None) -> Environment:
    """Return the environment `name`, after a look at all of them: a collision with another one is an error.

    Args:
        name: The environment's name, as given by a person.
        root: The repository's root, which holds ``environments/``.
        today: The day from which the 365 days of accepted findings count; by default the current day in UTC.

    Raises:
        UsageError: `name` is no name, or no file has it.
        EnvironmentFileError: a file is wrong, this one or another; every problem is listed.
    """
    check_name(name, names(root))
    return load_all(root, today=today, wanted=name)[name]


def load_all(root: Path, *, today: date | None = None, wanted: str | None = None) -> dict[str, Environment]:
    """Return all environments by name, sorted.

    A file whose account is still `PLACEHOLDER` was never deployed, so that there is nothing of it to guard: it keeps
    nobody from working on the others.

    Args:
        root: The repository's root, which holds ``environments/``.
        today: The day from which the 365 days of accepted findings count; by default the current day in UTC.
        wanted: The environment that is asked for, which must be complete.

    Raises:
        EnvironmentFileError: a file is wrong, or two of them collide; every problem is listed.
    """
    today = today or datetime.now(UTC).date()
    environments: dict[str, Environment] = {}
    problems: list[str] = []
    for path in _files(root):
        found = _parse(path, root, today, wanted)
        if found is None:
            continue
        if isinstance(found, Environment):
            environments[found.name] = found
        else:
            problems += _lines(path, found)
    problems += collisions(environments.values())
    if problems:
        raise _error(problems)
    return environments


def load_each(
    root: Path, *, today: date | None = None
) -> tuple[dict[str, Environment], dict[str, EnvironmentFileError]]:
    """Return all environments by name, and why the others cannot be read: a broken file stops no other environment.

    Args:
        root: The repository's root, which holds ``environments/``.
        today: As for `load_all`.

    Raises:
        EnvironmentFileError: the folder cannot be read, or two environments collide: then none of them can be trusted.
    """
    today = today or datetime.now(UTC).date()
    environments: dict[str, Environment] = {}
    broken: dict[str, EnvironmentFileError] = {}
    for path in _files(root):
        found = _parse(path, root, today, None)
        if isinstance(found, Environment):
            environments[found.name] = found
        elif found is not None:
            broken[path.stem] = _error(_lines(path, found))
    if problems := collisions(environments.values()):
        raise _error(problems)
    return environments, broken


def load_alone(name: str, root: Path, *, today: date | None = None) -> Environment:
    """Return one environment without a look at the others: a leak is answered whatever else is broken.

    Raises:
        UsageError: `name` is no name, or no file has it.
        EnvironmentFileError: its file is wrong.
    """
    check_name(name, names(root))
    path = root / FOLDER / f"{name}.yaml"
    found = _parse(path, root, today or datetime.now(UTC).date(), name)
    if isinstance(found, Environment):
        return found
    raise _error(_lines(path, found or []))


def names(root: Path) -> tuple[str, ...]:
    """Return the names of the environments that have a file, sorted, without reading one.

    Raises:
        EnvironmentFileError: the folder cannot be read.
    """
    return tuple(path.stem for path in _files(root) if path.suffix == ".yaml")


def check_name(name: str, known: tuple[str, ...] | Mapping[str, object]) -> None:
    """Check a name that a person gave.

    Raises:
        UsageError: it is no name at all, or none of `known`.
    """
    listed = ", ".join(known) or "none yet"
    if not naming.is_name(name, naming.ENVIRONMENT_LENGTH):
        raise UsageError(
            f"{shown(name)} cannot be the name of an environment",
            where="--env",
            expected=f"lower case letters, digits and single hyphens, at most {naming.ENVIRONMENT_LENGTH}; "
            f"there are: {listed}",
        )
    if name not in known:
        close = difflib.get_close_matches(name, list(known), n=1)
        raise UsageError(
            f"there is no environment {shown(name)}",
            where="--env",
            expected=f"one of: {listed}",
            do=f"did you mean {close[0]}?" if close else f"`invoke new --env {name}` writes {FOLDER}/{name}.yaml",
        )


def _files(root: Path) -> list[Path]:
    try:
        folder = inside(root, FOLDER)
        return sorted(p for p in folder.iterdir() if p.suffix in {".yaml", ".yml"} and p.name[0] != ".")
    except FileNotFoundError:
        return []
    except (OSError, ValueError) as error:
        raise EnvironmentFileError(
            f"{FOLDER}/ cannot be read: {getattr(error, 'strerror', None) or error}",
            where=FOLDER,
            expected="a folder with one YAML file per environment",
        ) from None


def _bytes(path: Path) -> bytes | str:
    """Return a file's bytes, at most one more than allowed, or why it cannot be read."""
    try:
        # Neither a pipe may make us wait, nor a link lead out of the repository.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
        with open(descriptor, "rb") as file:  # noqa: PTH123
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                return "not a regular file; expected a file"
            return file.read(LARGEST + 1)
    except OSError as error:
        if path.is_symlink():
            return "a symbolic link; expected a file"
        return f"cannot be read: {error.strerror}"


def _parse(path: Path, root: Path, today: date, wanted: str | None) -> Environment | list[Problem] | None:
    """Return what a file says, or what is wrong with it; None when it is not filled in yet and not `wanted`."""
    if path.suffix != ".yaml":
        return [Problem(1, "", f"the name ends in {path.suffix}; expected {path.stem}.yaml")]
    if not naming.is_name(path.stem, naming.ENVIRONMENT_LENGTH):
        text = f"lower case letters, digits and single hyphens, at most {naming.ENVIRONMENT_LENGTH}"
        return [Problem(1, "", f"the file's name is no environment's name; expected {text}, then .yaml")]
    data = _bytes(path)
    if isinstance(data, str):
        return [Problem(1, "", data)]
    document = read(data)
    value = document.value
    if not isinstance(value, dict):
        return document.problems
    if value.get("account_id") == PLACEHOLDER and path.stem != wanted:
        return None
    version = value.get("version")
    if type(version) is int and version > VERSION:
        text = f"found {version}; expected {VERSION}: the file was written for a newer version of this tool"
        return [Problem(document.line(("version",)), "version", text)]
    # A forbidden key must not pass for one that the reader fills in.
    mine = {"name": path.stem, "root": root}
    forbidden = [
        Problem(document.line((key,)), key, "unknown key; an environment's name is its file's name")
        for key in NOT_IN_FILES & value.keys()
    ]
    try:
        environment = Environment.model_validate({**value, **mine}, context={"today": today, "root": root})
    except ValidationError as error:
        return sorted({*document.problems, *forbidden, *explain(error, document)})
    return sorted({*document.problems, *forbidden}) or environment


def _lines(path: Path, problems: list[Problem]) -> list[str]:
    where = f"{FOLDER}/{path.name}" if path.name.isprintable() else f"{FOLDER}/{shown(path.name)}"
    return [f"{where}:{p.line}: {p.key + ': ' if p.key else ''}{p.text}" for p in problems]


def _error(problems: list[str]) -> EnvironmentFileError:
    count = len(problems)
    more = [f"  and {count - _SHOWN} more"] if count > _SHOWN else []
    return EnvironmentFileError(
        "\n".join(
            [
                f"{count} problem{'s' if count > 1 else ''} in {FOLDER}/:",
                *(f"  {line}" for line in problems[:_SHOWN]),
                *more,
            ]
        ),
        do="correct the lines above; nothing has been run",
        runbook="environment-file",
    )

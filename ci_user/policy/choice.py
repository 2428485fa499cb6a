"""Which policies an environment chooses: read, rendered and packed, from files only."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from ci_user.environment_fields import inside
from ci_user.environment_policies import Chosen, ExistingPolicy, PolicyDirectory, PolicyFile
from ci_user.errors import PolicyError
from ci_user.policy import documents
from ci_user.policy.pack import Source, pack
from ci_user.text import plain

COMBINED: Final = "combined"
"""What the packs are called when an environment chooses several policies."""
DIRECTORY_FILES: Final = 100
"""The most files of one directory that are read."""


class ChoosingEnvironment(documents.PolicyEnvironment, Protocol):
    """An environment that chooses policies."""

    @property
    def policies(self) -> Sequence[Chosen]: ...  # noqa: D102


@dataclass(frozen=True)
class Choice:
    """What the CI user's group gets.

    Args:
        sources: Each policy document that was chosen, rendered, with the file that it is from.
        packs: The managed policies that are made from them: canonical JSON by name.
        attached_arns: The existing managed policies, sorted. What is in them, only AWS knows.
    """

    sources: tuple[Source, ...]
    packs: Mapping[str, str]
    attached_arns: tuple[str, ...]


def choose(environment: ChoosingEnvironment, root: Path) -> Choice:
    """Return what an environment chooses, after everything was read and packed.

    Args:
        environment: The environment.
        root: The repository.

    Raises:
        PolicyError: A policy is missing, wrong, written for another partition or outside of the repository, or all of them do
            not fit into what IAM attaches to one group; with the line of the environment's file or of the policy's.
    """
    names = []
    sources: list[Source] = []
    arns = []
    for index, item in enumerate(environment.policies):
        if isinstance(item, ExistingPolicy):
            arns.append(item.arn)
            continue
        names.append(item if isinstance(item, str) else item.called)
        for name, path in _files(item, environment, root, index):
            _refuse_operators(path, environment, root, index)
            sources.append(Source(name, _rendered(path, environment), str(path)))
    packs = pack(
        sources,
        names[0] if len(names) == 1 else COMBINED,
        most=documents.GROUP_POLICIES - len(arns),
        where=f"environments/{environment.name}.yaml: policies",
    )
    return Choice(tuple(sources), packs, tuple(sorted(arns)))


def _files(
    item: str | PolicyFile | PolicyDirectory, environment: ChoosingEnvironment, root: Path, index: int
) -> Iterator[tuple[str, Path]]:
    """Yield the name of each source and its file."""
    if isinstance(item, str):
        if item in documents.OPERATORS:
            yield item, documents.directory(root) / f"{item}.json"
            return
        known = documents.names(root)
        if item not in known:
            raise _wrong(
                environment,
                root,
                (index,),
                f"there is no policy {item!r}",
                f"one of: {', '.join(known) or 'none is there'}; or file: or directory: for one of your own",
            )
        yield item, documents.directory(root) / f"{item}.json"
    elif isinstance(item, PolicyFile):
        path = _found(item.file, environment, root, (index, "file"))
        if not path.is_file():
            text = f"{item.file} is a directory" if path.is_dir() else f"{item.file} is no regular file"
            raise _wrong(environment, root, (index, "file"), text, "a JSON file; directory: takes all files of one")
        yield item.called, path
    else:
        for path in _listed(item, environment, root, index):
            yield f"{item.called}/{path.stem}", path


def _refuse_operators(path: Path, environment: ChoosingEnvironment, root: Path, index: int) -> None:
    """See that a policy is not one of those for whoever runs this tool, however it was named."""
    name = documents.of_operators(path, root)
    if name:
        text = f"{name} is a policy for the role that runs this tool, never for a CI user"
        raise _wrong(environment, root, (index,), text, f"one of: {', '.join(documents.names(root))}")


def _listed(item: PolicyDirectory, environment: ChoosingEnvironment, root: Path, index: int) -> list[Path]:
    place = (index, "directory")
    directory = _found(item.directory, environment, root, place)
    try:
        found = sorted(p for p in directory.iterdir() if p.suffix == ".json" and not p.name.startswith("."))
    except OSError as error:
        text = f"{item.directory} cannot be read: {error.strerror}"
        raise _wrong(environment, root, place, text, "a directory with JSON files") from None
    if not 1 <= len(found) <= DIRECTORY_FILES:
        text = f"{item.directory} holds {len(found) or 'no'} file{'s' if found else ''} NAME.json"
        raise _wrong(environment, root, place, text, f"1 to {DIRECTORY_FILES} of them")
    top = root.resolve()
    for path in found:
        if not path.resolve().is_relative_to(top):
            text = f"{plain(path.name)} in {item.directory} is a symlink that leads out of the repository"
            raise _wrong(environment, root, place, text, "files inside the repository")
    return found


def _found(text: str, environment: ChoosingEnvironment, root: Path, place: tuple[int | str, ...]) -> Path:
    """Return where a path of the environment's file leads: from the repository's root, or from ``environments/``."""
    found = []
    for start in ("", "environments/"):
        try:
            path = inside(root, f"{start}{text}")
            found += [path] if path.exists() else []
        except ValueError as error:
            raise _wrong(environment, root, place, f"{text} cannot be followed", str(error)) from None
        except OSError as error:
            raise _wrong(environment, root, place, f"{text} cannot be read: {error.strerror}", "another path") from None
    if len(found) == 1:
        return found[0]
    both = f"{text} or environments/{text}"
    if not found:
        raise _wrong(environment, root, place, f"there is no {text}", f"{both}, in the repository")
    raise _wrong(environment, root, place, f"both {text} and environments/{text} are there", "one of them only")


def _rendered(path: Path, environment: ChoosingEnvironment) -> documents.Document:
    document = documents.read(path)
    try:
        rendered = documents.render(document, documents.parameters(environment))
        documents.refuse_partitions(rendered, environment.partition, "its ARNs")
    except PolicyError as error:
        line = _line(path, error.details.get("value", ""))
        raise PolicyError(
            error.what,
            where=f"{path}{line}: {error.where}",
            expected=error.expected,
            do=error.do or "correct the policy file",
        ) from None
    return rendered


def _line(path: Path, text: str) -> str:
    """Return ``:LINE`` of the first line of a file that holds a text of its JSON; nothing when it is written otherwise."""
    written = json.dumps(text, ensure_ascii=False)[1:-1]
    lines = path.read_text(encoding="utf-8").split("\n")
    return next((f":{number}" for number, line in enumerate(lines, 1) if written and written in line), "")


def _wrong(
    environment: ChoosingEnvironment, root: Path, place: tuple[int | str, ...], what: str, expected: str
) -> PolicyError:
    """Return the error for an item of ``policies``, with its line."""
    from ci_user.environment_yaml import read, spelled

    file = f"environments/{environment.name}.yaml"
    path: tuple[int | str, ...] = ("policies", *place)
    try:
        line = f":{read((root / file).read_bytes()).line(path)}"
    except OSError:
        line = ""
    return PolicyError(
        what, where=f"{file}{line}: {spelled(path)}", expected=expected, do="correct `policies` in the environment file"
    )

"""Policy documents: read strictly, rendered, and written as compact JSON that stays the same."""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, Protocol

from ci_user import naming
from ci_user.errors import PolicyError
from ci_user.policy.template import Document, render

__all__ = [
    "FILE_SIZE",
    "GROUP_POLICIES",
    "MANAGED_POLICY_SIZE",
    "NESTING",
    "OPERATORS",
    "Document",
    "PolicyEnvironment",
    "canonical",
    "checked_size",
    "digest",
    "directory",
    "names",
    "of_operators",
    "parameters",
    "read",
    "read_policy",
    "refuse_partitions",
    "render",
    "size",
]

MANAGED_POLICY_SIZE: Final = 6144
"""Characters that are not white space; https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html."""
GROUP_POLICIES: Final = 10
"""Managed policies that IAM attaches to one group, unless the quota was raised."""
FILE_SIZE: Final = 1_000_000
"""The largest policy file that is read, in bytes."""
NESTING: Final = 20
"""The deepest nesting of objects and arrays that is read."""
OPERATORS: Final = ("deployer", "nightly-check")
"""The shipped policies that are for people and jobs that run this tool, see `operators`; no CI user gets them."""

_KEY_ORDER: Final = (
    *("Version", "Id", "Statement", "Sid", "Effect", "Principal", "NotPrincipal"),
    *("Action", "NotAction", "Resource", "NotResource", "Condition"),
)


class PolicyEnvironment(Protocol):
    """What rendering needs to know of an environment."""

    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def application(self) -> str: ...  # noqa: D102
    @property
    def account_id(self) -> str: ...  # noqa: D102
    @property
    def partition(self) -> str: ...  # noqa: D102
    @property
    def region(self) -> str: ...  # noqa: D102
    @property
    def prefix(self) -> str: ...  # noqa: D102


def directory(root: Path) -> Path:
    """Return where the shipped policies lie, below the repository `root`."""
    return root / "terraform" / "policies"


def names(root: Path) -> tuple[str, ...]:
    """Return the names of the shipped policies that an environment may choose, sorted.

    They are the files ``terraform/policies/NAME.json`` but for those of `OPERATORS`.
    """
    return tuple(sorted(path.stem for path in directory(root).glob("*.json") if path.stem not in OPERATORS))


def of_operators(path: Path, root: Path) -> str:
    """Return which policy of `OPERATORS` a path leads to, by whatever way; an empty text when it is none of them."""
    real = path.resolve()
    return next((name for name in OPERATORS if real == (directory(root) / f"{name}.json").resolve()), "")


def read_policy(name: str, root: Path) -> Document:
    """Read a shipped policy, not yet rendered.

    Args:
        name: The file's name without ``.json``.
        root: The repository.

    Raises:
        PolicyError: No policy has this name, or its file is wrong (see `read`).
    """
    if not naming.is_name(name, naming.POLICY_LENGTH) or name not in names(root):
        raise PolicyError(
            f"there is no policy {name!r}",
            where=str(directory(root)),
            expected=f"one of: {', '.join(names(root)) or 'none is there'}",
            do="correct `policies` in the environment file",
        )
    return read(directory(root) / f"{name}.json")


def read(path: Path) -> Document:
    """Read one policy document.

    Raises:
        PolicyError: Unreadable, larger than `FILE_SIZE`, not UTF-8, no JSON, a key twice in one object,
            nested deeper than `NESTING`, a character that IAM refuses, or no policy at all; with file, line
            and column if they are known.
    """
    try:
        # Nobody may have to wait for a pipe.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(descriptor, "rb") as file:  # noqa: PTH123
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise _wrong(path, "cannot read the policy: it is no regular file", "a file with a policy document")
            content = file.read(FILE_SIZE + 1)
    except OSError as error:
        raise PolicyError(
            f"cannot read the policy: {error.strerror}", where=str(path), expected="a file with a policy document"
        ) from None
    if len(content) > FILE_SIZE:
        raise _wrong(path, f"the file is larger than {FILE_SIZE:,} bytes", "a policy document")
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise _wrong(path, "the file is not UTF-8", "UTF-8 text", f"{line}") from None
    try:
        document = json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant)
    except _DuplicateKeyError as error:
        raise _wrong(
            path,
            f"the key {error.key!r} stands twice in one object",
            "each key once: IAM would read just one of them",
            _position_of_duplicate(text, error.key),
        ) from None
    except json.JSONDecodeError as error:
        raise _wrong(path, f"no JSON: {error.msg}", "JSON", f"{error.lineno}:{error.colno}") from None
    except RecursionError:
        raise _wrong(path, f"nested deeper than {NESTING} levels", "a policy document") from None
    except ValueError as error:
        raise _wrong(path, f"no JSON: {error}", "JSON") from None
    _check(path, document)
    return dict(document)


def canonical(document: Mapping[str, Any]) -> str:
    """Return compact JSON, the same for the same document: keys in IAM's usual order, then by name."""
    return json.dumps(_ordered(document), separators=(",", ":"), ensure_ascii=False)


def size(document: Mapping[str, Any] | str) -> int:
    """Return the size as IAM counts it: characters that are not white space."""
    text = document if isinstance(document, str) else canonical(document)
    return len("".join(text.split()))


def checked_size(text: str, where: str) -> str:
    """Return `text` when it fits into a managed policy.

    Raises:
        PolicyError: It has more than `MANAGED_POLICY_SIZE` characters that are not white space.
    """
    if size(text) > MANAGED_POLICY_SIZE:
        raise PolicyError(
            f"the policy has {size(text):,} characters that are not white space",
            where=where,
            expected=f"at most {MANAGED_POLICY_SIZE:,}: IAM's limit for one managed policy",
        )
    return text


def parameters(environment: PolicyEnvironment) -> dict[str, str]:
    """Return the parameters that every policy document may use."""
    return {
        "account_id": environment.account_id,
        "application": environment.application,
        "environment": environment.name,
        "partition": environment.partition,
        "prefix": environment.prefix,
        "region": environment.region,
    }


def refuse_partitions(document: Mapping[str, Any], partition: str, where: str) -> None:
    """See that no ARN of a document lies in another partition: it would match nothing.

    Raises:
        PolicyError: One does.
    """
    for text in _strings(document):
        found = re.match(r"arn:(aws[a-z-]*):", text)
        if found and found[1] != partition:
            raise PolicyError(
                f"the policy names {text}, which lies in the partition {found[1]}",
                where=where,
                expected=f"ARNs of the partition {partition}",
                do="write ${partition} in the policy, or choose another one",
                details={"value": text},
            )


def digest(documents: Mapping[str, str]) -> str:
    """Return the SHA-256 (hex) of documents by name; their order does not count."""
    return hashlib.sha256(json.dumps(dict(documents), sort_keys=True).encode()).hexdigest()


class _DuplicateKeyError(ValueError):
    def __init__(self, key: str) -> None:
        super().__init__(key)
        self.key = key


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise _DuplicateKeyError(key)
        found[key] = value
    return found


def _no_constant(text: str) -> None:
    raise ValueError(f"{text} is no JSON number")


def _position_of_duplicate(text: str, key: str) -> str | None:
    """Find the line and column of the second `key`; YAML's parser knows them, and nearly all JSON is YAML."""
    import yaml

    try:
        pending = [yaml.compose(text, Loader=yaml.SafeLoader)]
    except (yaml.YAMLError, RecursionError):
        return None
    while pending:
        node = pending.pop()
        if isinstance(node, yaml.MappingNode):
            same = [name for name, _ in node.value if name.value == key]
            if len(same) > 1:
                return f"{same[1].start_mark.line + 1}:{same[1].start_mark.column + 1}"
            pending += [value for _, value in node.value]
        elif isinstance(node, yaml.SequenceNode):
            pending += node.value
    return None


def _check(path: Path, document: object) -> None:
    if _depth(document) > NESTING:
        raise _wrong(path, f"nested deeper than {NESTING} levels", "a policy document")
    for text in _strings(document):
        # https://docs.aws.amazon.com/IAM/latest/APIReference/API_CreatePolicy.html, PolicyDocument
        strange = re.search(r"[^\t\n\r\u0020-\u00ff]", text)
        if strange:
            raise _wrong(path, f"the character {strange[0]!a} in {text[:60]!a}", "Latin-1, as IAM demands")
    if not isinstance(document, dict):
        raise _wrong(path, "no JSON object", "an object with Version and Statement")
    if document.get("Version") != "2012-10-17":
        raise _wrong(path, f"Version is {document.get('Version')!r}", "2012-10-17: others know no variables")
    statements = document.get("Statement")
    listed = [statements] if isinstance(statements, dict) else statements
    if not isinstance(listed, list) or not listed or not all(isinstance(one, dict) for one in listed):
        raise _wrong(path, "Statement is no list of statements", "at least one statement")


def _wrong(path: Path, what: str, expected: str, position: str | None = None) -> PolicyError:
    where = f"{path}:{position}" if position else str(path)
    return PolicyError(what, where=where, expected=expected, do="correct the policy file")


def _depth(document: object) -> int:
    depth, level = 0, [document]
    while level:
        depth += 1
        level = [
            child
            for item in level
            if isinstance(item, (dict, list))
            for child in (item.values() if isinstance(item, dict) else item)
        ]
    return depth - 1


def _strings(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _strings(key)
            yield from _strings(item)
    elif isinstance(value, list):
        for item in value:
            yield from _strings(item)


def _ordered(value: Any) -> Any:
    if isinstance(value, Mapping):
        rank = {key: index for index, key in enumerate(_KEY_ORDER)}
        return {key: _ordered(value[key]) for key in sorted(value, key=lambda k: (rank.get(k, len(rank)), k))}
    return [_ordered(item) for item in value] if isinstance(value, list) else value

"""YAML as environment files use it: plain data, every key on a known line, and none of YAML's traps.

Anchors, aliases, merge keys, tags, several documents, keys that are no text, duplicate keys and template
syntax are refused. ``yes``, ``on``, ``1:30`` and dates stay text, as in YAML 1.2: the model says what they
may be.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import yaml

LARGEST: Final = 1_000_000
"""Bytes of the largest file that is read."""
DEEPEST: Final = 16
MOST: Final = 10_000
"""Values in one file: far beyond any environment, and few enough to judge each in a second or two."""

Path = tuple[str | int, ...]

_PLAIN: Final = {"": None, "~": None} | {
    spelling: value
    for word, value in {"null": None, "true": True, "false": False}.items()
    for spelling in (word, word.capitalize(), word.upper())
}
_INT: Final = re.compile(r"[-+]?[0-9]+")
_FLOAT: Final = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_TEMPLATE: Final = re.compile(r"[$%]\{|\{\{")
_KEY_ID: Final = re.compile(r"(AKIA|ASIA)[A-Z0-9]{16}")
# What reorders or hides text on a screen: a reviewer would not see what the file says.
_HIDING: Final = re.compile("[\u2028-\u202e\u2066-\u2069\ufeff]")
_LOADER: Final[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One thing that is wrong: its line (from 1), the path of its key (or nothing), and what to say."""

    line: int
    key: str
    text: str


@dataclass(slots=True)
class Document:
    """What a file says, and where it says it."""

    value: Any = None
    lines: dict[Path, int] = field(default_factory=dict)
    """The line of each key or list item."""
    raw: dict[Path, str] = field(default_factory=dict)
    """How each scalar is written, without its quotes; quoted ones are in `quoted`."""
    quoted: set[Path] = field(default_factory=set)
    refused: set[Path] = field(default_factory=set)
    """Places that `problems` covers already, so that the model's view of them is of no interest."""
    problems: list[Problem] = field(default_factory=list)

    def line(self, path: Path) -> int:
        """Return the line of `path`, or of the nearest thing around it."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 1)

    def refuse(self, path: Path, text: str, line: int | None = None) -> None:
        """Note a problem and that `path` needs no further judgement."""
        self.problems.append(Problem(line or self.line(path), spelled(path), text))
        self.refused.add(path)


def spelled(path: Path) -> str:
    """Return a path as people write it: ``accepted_findings[0].expires``."""
    text = ""
    for part in path:
        if isinstance(part, str) and part.startswith("\0"):
            return text
        if isinstance(part, int):
            text += f"[{part}]"
        elif re.fullmatch(r"[A-Za-z0-9_-]{1,64}", part):
            text += f".{part}" if text else part
        else:
            text += f"[{shown(part)}]"
    return text


def shown(text: str) -> str:
    """Return text from a file in quotes, cut to 80 characters, with nothing in it that a terminal acts on."""
    quoted = "".join(char if char.isprintable() and char not in '"\\' else _escape(char) for char in text[:80])
    return f'"{quoted}{"..." if len(text) > 80 else ""}"'


def _escape(char: str) -> str:
    return f"\\{char}" if char in '"\\' else char.encode("unicode_escape").decode("ascii")


def read(data: bytes) -> Document:
    """Return what the file says; whatever is wrong with it is in the document's `problems`.

    Args:
        data: The whole file, at most `LARGEST` bytes.
    """
    document = Document()
    if len(data) > LARGEST:
        document.refuse((), f"more than {LARGEST} bytes; expected a file of a few kilobytes")
        return document
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        document.refuse((), f"found byte 0x{data[error.start]:02x}; expected text in UTF-8", line)
        return document
    for number, line_text in enumerate(text.split("\n"), 1):
        if text_problem := _unfit(line_text.removesuffix("\r")):
            document.refuse((), text_problem, number)
        if len(document.problems) >= 100:
            break
    if document.problems:
        return document
    try:
        _compose(yaml.parse(text, Loader=_LOADER), document)
    except yaml.MarkedYAMLError as error:
        mark: Any = error.problem_mark or error.context_mark
        what = ", ".join(part for part in (error.context, error.problem) if part)
        document.refuse((), f"not YAML: {what}", mark.line + 1 if mark else 1)
    except (yaml.YAMLError, ValueError, OverflowError):
        document.refuse((), "not YAML: a character or number that cannot be read")
    return document


def _unfit(text: str) -> str | None:
    if "\t" in text:
        return "found a tab; expected spaces: YAML does not allow tabs for indentation"
    if not text.isprintable():
        for char in text:
            if unicodedata.category(char) in {"Cc", "Cs"} or _HIDING.match(char):
                return f"found the control character U+{ord(char):04X}; expected printable text"
    return None


def _line(event: Any) -> int:
    line: int = event.start_mark.line
    return line + 1


def _compose(events: Iterator[Any], document: Document) -> None:
    count = 0
    for event in events:
        if isinstance(event, yaml.DocumentStartEvent):
            count += 1
            if count > 1:
                document.refuse((), "a second document; expected one per file", _line(event))
                return
            document.value = _node(next(events), events, (), document)
    if count == 0:
        document.refuse((), "the file is empty; expected an environment (`invoke new` writes one)")
    elif not isinstance(document.value, dict) and not document.refused:
        document.refuse((), "expected keys with values, such as version: 1")


class _TooMuchError(yaml.MarkedYAMLError):
    pass


def _node(event: Any, events: Iterator[Any], path: Path, document: Document) -> Any:
    document.lines.setdefault(path, _line(event))
    if len(document.lines) > MOST:
        raise _TooMuchError(problem=f"more than {MOST} values", problem_mark=event.start_mark)
    if isinstance(event, yaml.AliasEvent):
        document.refuse(path, "found a YAML alias (*); expected the value itself")
        return None
    if event.anchor is not None:
        document.refuse(path, "found a YAML anchor (&); expected the value alone")
    if event.tag is not None:
        document.refuse(path, "found a YAML tag (!); expected the value alone")
    if isinstance(event, yaml.ScalarEvent):
        return _scalar(event, path, document)
    if len(path) >= DEEPEST:
        raise _TooMuchError(problem=f"nested deeper than {DEEPEST} levels", problem_mark=event.start_mark)
    if isinstance(event, yaml.SequenceStartEvent):
        items: list[Any] = []
        while not isinstance(event := next(events), yaml.SequenceEndEvent):
            items.append(_node(event, events, (*path, len(items)), document))
        return items
    return _mapping(events, path, document)


def _mapping(events: Iterator[Any], path: Path, document: Document) -> dict[str, Any]:
    mapping: dict[str, Any] = {}
    while not isinstance(event := next(events), yaml.MappingEndEvent):
        line = _line(event)
        key = _key(event, events, path, document)
        place = (*path, key)
        if place in document.lines:
            first = document.lines[place]
            document.problems.append(
                Problem(line, spelled(place), f"found twice, first on line {first}; expected once")
            )
            # Read on, to find the next key; what this one holds is of no interest.
            _node(next(events), events, place, Document(lines={place: line}))
            if len(document.problems) > MOST:
                raise _TooMuchError(problem=f"more than {MOST} values", problem_mark=event.start_mark)
            continue
        document.lines[place] = line
        mapping[key] = _node(next(events), events, place, document)
    return mapping


def _key(event: Any, events: Iterator[Any], path: Path, document: Document) -> str:
    line = _line(event)
    aside = Document()
    value = _node(event, events, (*path, "?"), aside)
    for problem in aside.problems:
        document.refuse(path, f"in a key: {problem.text}", line)
    if isinstance(value, str) and value != "<<":
        return value
    if value == "<<":
        text = "found a YAML merge key (<<); expected the keys themselves"
    elif isinstance(event, yaml.ScalarEvent):
        text = f"found the key {shown(event.value)}; expected text, so put it in quotes"
    else:
        text = "found a list or mapping as a key; expected text"
    # A name that no real key can have keeps the places of what stands below it apart.
    stand_in = f"\0{line}:{event.start_mark.column}"
    document.refuse(path, text, line)
    document.refused.add((*path, stand_in))
    return stand_in


def _scalar(event: Any, path: Path, document: Document) -> Any:
    text: str = event.value
    document.raw[path] = text
    if _KEY_ID.search(text):
        document.refuse(path, "looks like an access key id; no key and no secret belongs in this file")
        return None
    if template := _TEMPLATE.search(text):
        document.refuse(path, f"found {shown(text)}; expected no template syntax ({template.group()})")
    elif problem := next(filter(None, map(_unfit, text.split("\n"))), None):
        document.refuse(path, problem)
    if event.style:
        document.quoted.add(path)
        return text
    if text in _PLAIN:
        return _PLAIN[text]
    if _INT.fullmatch(text) and len(text) <= 100:
        return int(text)
    return float(text) if _FLOAT.fullmatch(text) else text

"""Many statements in as few managed policies as fit: nothing lost, nothing added, and a small edit changes little.

A statement stays whole; only an Allow that is larger than a managed policy is divided, by its actions or its resources, into
parts that together mean the same. A Deny never is: managed policies change one after the other, and half a Deny is a gap.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from ci_user import naming
from ci_user.errors import PolicyError
from ci_user.policy import documents, statement
from ci_user.policy.placement import Piece, place

Entry = Mapping[str, Any]

_HEAD: Final[Mapping[str, Any]] = {"Version": "2012-10-17", "Statement": []}
_LARGEST: Final = documents.MANAGED_POLICY_SIZE - documents.size(_HEAD)
"""The largest statement that a managed policy has room for, in characters that are not white space."""
_ROOM: Final = _LARGEST + 1
"""The room for statements, each with the comma after it; the last one has none."""
_KEYS: Final = frozenset({"Version", "Id", "Statement"})
_SHOWN: Final = 5


@dataclass(frozen=True)
class Source:
    """One policy document that is to be packed.

    Args:
        name: What it is called; no two sources are called the same. Packs hold their statements in this order.
        document: The document, rendered.
        where: Its file, for messages.
    """

    name: str
    document: Mapping[str, Any]
    where: str

    @property
    def size(self) -> int:
        """The document's size as IAM counts it."""
        return documents.size(self.document)


@dataclass(frozen=True)
class _Placed:
    """A statement, or a part of one, with the key that it keeps while it is edited."""

    key: str
    entry: Entry
    denies: bool


def pack(
    sources: Sequence[Source], name: str, *, most: int = documents.GROUP_POLICIES, where: str = "policies"
) -> dict[str, str]:
    """Return managed policies that allow and deny together exactly what the sources do: canonical JSON by name.

    They are called NAME, NAME-2, NAME-3, ... One source that fits stays as it is. The order of the sources does not count.

    Args:
        sources: The documents.
        name: What the first managed policy is called.
        most: How many managed policies there may be.
        where: Where the sources were chosen, for messages.

    Raises:
        PolicyError: A source is no policy, a statement fits into no managed policy and cannot be divided, or all of them
            need more than ``most`` managed policies.
    """
    ordered = sorted(sources, key=lambda source: source.name)
    read = [(source, _entries(source)) for source in ordered]
    sids = Counter(sid for _, entries in read for _, entry in entries if (sid := _sid(entry)))
    if len(read) == 1 and most >= 1 and max(sids.values(), default=1) == 1:
        source, entries = read[0]
        if source.size <= documents.MANAGED_POLICY_SIZE:
            return {name: documents.canonical({**source.document, "Statement": [entry for _, entry in entries]})}
    excess = sum(_size(entry) + 1 for _, entries in read for _, entry in entries) - most * _ROOM
    if excess > 0:
        raise _too_large(ordered, most, where, f"are {excess:,} characters too large")
    placed = _named([one for source, entries in read for one in _whole(source, entries)], frozenset(sids))
    pieces = [Piece(one.key, _size(one.entry) + 1, early=one.denies) for one in placed]
    bins = place(pieces, _ROOM, most)
    if bins is None:
        needed = max(place(pieces, _ROOM, len(pieces)) or ()) + 1
        raise _too_large(ordered, most, where, f"need {needed} managed policies")
    content: list[list[Entry]] = [[] for _ in set(bins)]
    for one, bin_ in zip(placed, bins, strict=True):
        content[bin_].append(one.entry)
    return {
        pack_name(name, number): documents.canonical({**_HEAD, "Statement": entries})
        for number, entries in enumerate(content, 1)
    }


def pack_name(name: str, number: int) -> str:
    """Return the name of a pack, counted from 1: ``shop``, ``shop-2``, ...; a name that would be too long is cut."""
    end = "" if number == 1 else f"-{number}"
    return f"{name[: naming.POLICY_LENGTH - len(end)].rstrip('-')}{end}"


def _entries(source: Source) -> list[tuple[statement.Statement, Entry]]:
    strange = sorted(set(source.document) - _KEYS)
    if strange:
        raise PolicyError(
            f"the key {strange[0]!r} is no element of a policy",
            where=source.where,
            expected=", ".join(sorted(_KEYS)),
            do="correct the policy file",
        )
    try:
        parsed = statement.statements(source.document, source.name)
        raw = [entry for _, entry in statement.entries(source.document, source.name)]
    except statement.UnreadableStatementError as error:
        raise PolicyError(
            str(error), where=source.where, expected="statements as IAM's grammar says", do="correct the policy file"
        ) from None
    return list(zip(parsed, raw, strict=True))


def _whole(source: Source, entries: Sequence[tuple[statement.Statement, Entry]]) -> Iterator[_Placed]:
    """Return each statement with its key: where it comes from and its Sid; without one, its first action."""
    seen: Counter[str] = Counter()
    for read, entry in entries:
        first = (read.actions or read.not_actions or ("",))[0]
        called = _sid(entry) or f"\0{'Allow' if read.allows else 'Deny'}\0{first}"
        seen[called] += 1
        key = f"{source.name}\0{called}\0{seen[called]}"
        for number, part in enumerate(_parts(entry, read, source)):
            yield _Placed(f"{key}\0{number}", part, not read.allows)


def _named(placed: Sequence[_Placed], given: frozenset[str]) -> list[_Placed]:
    """Give each Sid that stands again a number: in one policy IAM wants each once."""
    used: set[str] = set()
    named = []
    for one in placed:
        sid, entry = _sid(one.entry), one.entry
        if sid in used:
            number = 2
            while (another := f"{sid}{number}") in used | given:
                number += 1
            entry = {key: another if key.lower() == "sid" else value for key, value in entry.items()}
            if _size(entry) > _LARGEST:
                # It says nothing to IAM, so it can go.
                entry = {key: value for key, value in entry.items() if key.lower() != "sid"}
            sid = another
        if sid:
            used.add(sid)
        named.append(_Placed(one.key, entry, one.denies))
    return named


def _parts(entry: Entry, read: statement.Statement, source: Source) -> list[Entry]:
    """Divide an Allow that is too large: its holder may do each of its actions on each of its resources."""
    if _size(entry) <= _LARGEST:
        return [entry]
    lists = [key for key in entry if key.lower() in ("action", "resource") and _several(entry[key])]
    if not read.allows or not lists:
        raise PolicyError(
            f"a policy of nothing but {read.where.removeprefix(f'{source.name}, ')} of {source.name} would have "
            f"{documents.size({**_HEAD, 'Statement': [entry]}):,} characters that are not white space",
            where=source.where,
            expected=f"at most {documents.MANAGED_POLICY_SIZE:,}: IAM's limit for one managed policy",
            do="divide the statement by hand: "
            + ("a Deny is kept whole" if not read.allows else "it has neither several actions nor several resources"),
        )
    # Dividing the longer list repeats the shorter one.
    longer = max(sorted(lists), key=lambda key: documents.size(json.dumps(entry[key])))
    return [
        part
        for values in _divided(entry[longer], _LARGEST - _size({**entry, longer: []}) - _numbering(entry))
        for part in _parts({**entry, longer: values}, read, source)
    ]


def _divided(values: Sequence[str], largest: int) -> list[list[str]]:
    """Divide a list so that each part has at most ``largest`` characters; where one value alone has more, into halves."""
    seen: Counter[str] = Counter()
    pieces = []
    for value in values:
        seen[value] += 1
        pieces.append(Piece(f"{value}\0{seen[value]}", documents.size(json.dumps(value, ensure_ascii=False)) + 1))
    if max(piece.size for piece in pieces) > largest + 1:
        return [list(values[: len(values) // 2]), list(values[len(values) // 2 :])]
    bins = place(pieces, largest + 1, len(pieces)) or ()
    return [[value for value, bin_ in zip(values, bins, strict=True) if bin_ == one] for one in sorted(set(bins))]


def _numbering(entry: Entry) -> int:
    """Return the room to keep for the number that a part's Sid gets."""
    return 2 if _sid(entry) else 0


def _several(value: object) -> bool:
    return isinstance(value, list) and len(value) > 1


def _sid(entry: Entry) -> str:
    found = next((value for key, value in entry.items() if key.lower() == "sid"), "")
    return found if isinstance(found, str) else ""


def _size(entry: Entry) -> int:
    return documents.size(documents.canonical(entry))


def _too_large(sources: Sequence[Source], most: int, where: str, what: str) -> PolicyError:
    largest = sorted(sources, key=lambda source: (-source.size, source.name))
    listed = ", ".join(f"{source.name} with {source.size:,}" for source in largest[:_SHOWN])
    more = f" and {len(largest) - _SHOWN} more" if len(largest) > _SHOWN else ""
    taken = documents.GROUP_POLICIES - most
    existing = f", and {taken} of them existing ones" if taken else ""
    return PolicyError(
        f"the chosen policies {what}: {listed} characters{more}",
        where=where,
        expected=f"what fits into {most} managed policies of {documents.MANAGED_POLICY_SIZE:,} characters: "
        f"IAM attaches {documents.GROUP_POLICIES} to a group{existing}",
        do="drop what the pipeline does not need; one statement for all actions on the same resources takes less room than "
        "several, and since statements stay whole, small ones leave fewer gaps than large ones",
    )

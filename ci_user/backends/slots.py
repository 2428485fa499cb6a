"""A key in two or three variables of a CI system that nobody can read back, and the tool's note beside them.

Variables cannot be written at once, and most systems never show a secret again. So a note, itself a variable, tells whose they
are, which key is in them, how they are called, and the time stamps (or whatever the system has) that they had when written:

1. the note says "being written";
2. the variables are written back to back;
3. the note says which key is there now, and the stamps.

Whatever is found later follows from that without reading a secret: a note that says "being written" is a torn write, another
stamp means that somebody else wrote, and variables without a note are somebody else's.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Protocol

from ci_user.backends.deliver_only import DeliverOnly
from ci_user.backends.key_names import RESERVED, Names, is_name
from ci_user.backends.protocol import Held, OpenContext
from ci_user.backends.refusals import KEY_ID, changed_by_others, check_key_id, not_delivered, not_ours
from ci_user.secret import Secret

if TYPE_CHECKING:
    from ci_user.secret import AccessKey

_STAMP_SECONDS: Final = 1.1
"""Time stamps have whole seconds in most systems: a second write within one cannot be told from none."""
_MOST_NAMES: Final = 20
"""A note names three variables, and a few more while names change."""
_LOCKS: Final[dict[str, threading.Lock]] = {}
_LOCKS_LOCK: Final = threading.Lock()


@dataclass(frozen=True, slots=True)
class Note:
    """What the tool keeps beside the variables.

    Args:
        owner: The environment's prefix.
        key_id: Which key is in them; None while they are being written.
        stamps: The variables' names, each with the stamp that it had when it was written; ``""`` where the system has none.
        place: The place's line, as it was written for; ``""`` where that is not told. Two lines may lead to one place (upper
            and lower case, an id and a name): it belongs to the one that was written last. Two notes that differ in it alone are
            equal.
    """

    owner: str
    key_id: str | None
    stamps: Mapping[str, str]
    place: str = field(default="", compare=False)

    def elsewhere(self, target: str) -> bool:
        """Return whether the file came to call the place by another line: emptying the old one would empty the new one."""
        return self.place not in ("", target)

    def text(self) -> str:
        """Return it as one line for a variable's value."""
        told = {"environment": self.owner, "key": self.key_id, "variables": dict(self.stamps)}
        return json.dumps(told | ({"place": self.place} if self.place else {}), sort_keys=True)

    @classmethod
    def parse(cls, text: object) -> Note | None:
        """Return the note in a variable's value; None when it is none of the tool's."""
        try:
            found: Any = json.loads(text) if isinstance(text, str) else None
        except (ValueError, RecursionError):
            return None
        if not isinstance(found, dict):
            return None
        owner, key_id, stamps = found.get("environment"), found.get("key"), found.get("variables")
        place = found.get("place", "")
        if not isinstance(owner, str) or not isinstance(stamps, dict) or not isinstance(place, str):
            return None
        if key_id is not None and (not isinstance(key_id, str) or re.fullmatch(KEY_ID, key_id) is None):
            return None
        if not all(isinstance(part, str) for item in stamps.items() for part in item):
            return None
        # What a note names is deleted on its word: nothing that the tool cannot have written, such as another note.
        if len(stamps) > _MOST_NAMES or not all(map(is_name, stamps)):
            return None
        return cls(owner, key_id, stamps, place)


def note_name(names: Names) -> str:
    """Return the note's own name as a variable."""
    return f"{RESERVED}{names.all[0]}"


@dataclass(frozen=True, slots=True)
class Look:
    """What is in a place: the stamps of all its variables by name (without the note's own), and the note."""

    stamps: Mapping[str, str]
    note: Note | None


class Store(Protocol):
    """One place of a CI system, as variables. Every method raises ``BackendError`` when it fails."""

    @property
    def vendor(self) -> str:
        """The system's name, for people."""

    def check(self) -> tuple[str, ...]:
        """Check login, rights, limits and that the place exists; return what was found to be in order, in words."""

    def look(self) -> Look:
        """Return what is there, without reading a secret."""

    def write(self, name: str, value: Secret, *, exists: bool) -> None:
        """Make or replace one variable."""

    def write_note(self, note: Note, *, before: Note | None) -> None:
        """Make or replace the note."""

    def delete(self, name: str) -> None:
        """Delete one variable; one that is gone already is no failure."""

    def delete_note(self, note: Note) -> None:
        """Delete the note; one that is gone already is no failure."""


class SlotBackend(DeliverOnly):
    """A place of variables as a backend that only takes delivery.

    Args:
        name: The backend's name.
        target: The place, in one line.
        names: How the variables are called.
        store: Gives the place; called when it is first needed, so that nothing is contacted and no token looked for before.
        context: The environment, and how to pause.
    """

    def __init__(self, name: str, target: str, names: Names, store: Callable[[], Store], context: OpenContext) -> None:
        self.name = name
        self.target = target
        self._names = names
        self._context = context
        self._open = store
        self._opened: Store | None = None

    @property
    def _store(self) -> Store:
        if self._opened is None:
            self._opened = self._open()
        return self._opened

    def preflight(self) -> tuple[str, ...]:
        """Check login, rights, limits, the place, and whose the variables are."""
        found = self._store.check()
        look = self._checked()
        whose = "the variables are this environment's" if look.note else "the variables do not exist yet"
        return (*found, whose)

    def held(self) -> Held:
        """Return the key id in the note, if every variable is as it was written."""
        look = self._store.look()
        note = self._ours(look)
        if note is None or note.elsewhere(self.target) or self._changed(look, note):
            return Held(None, None)
        whole = note.key_id is not None and all(name in look.stamps for name in note.stamps)
        if whole and set(note.stamps) == set(self._names.all):
            return Held(note.key_id, None)
        return Held(None, None, torn=True)

    def deliver(self, key: AccessKey) -> None:
        """Write the variables back to back, between two notes; then see that the system has them."""
        check_key_id(key.id)
        with alone(self.target):
            before = self._checked()
            old = before.note.stamps if before.note else {}
            writing = Note(self._prefix, None, dict.fromkeys((*old, *self._names.all), ""), self.target)
            self._store.write_note(writing, before=before.note)
            values = self._names.values(key, self._context.environment.region)
            # The secret first: whoever reads a new id finds a secret that belongs to it.
            ordered = (values[1], values[0], *values[2:])
            for name, value in ordered:
                self._store.write(name, value, exists=name in before.stamps)
            after = self._store.look()
            for name, value in ordered:
                if before.stamps.get(name) and before.stamps[name] == after.stamps.get(name):
                    # It may have been written within the second of the write before.
                    self._context.pause(_STAMP_SECONDS)
                    self._store.write(name, value, exists=True)
                    after = self._store.look()
                    if before.stamps[name] == after.stamps.get(name):
                        raise not_delivered(self.target, name, f"{self._store.vendor} tells the same time of change")
            missing = [name for name in self._names.all if name not in after.stamps]
            if missing:
                raise not_delivered(self.target, ", ".join(missing), f"{self._store.vendor} does not list it")
            for name in old:
                if name not in self._names.all and name in before.stamps:
                    self._store.delete(name)
            stamps = {name: after.stamps[name] for name in self._names.all}
            self._store.write_note(Note(self._prefix, key.id, stamps, self.target), before=writing)

    def remove(self) -> bool:
        """Delete the variables that the note names, then the note."""
        with alone(self.target):
            look = self._store.look()
            note = self._ours(look)
            if note is None or note.elsewhere(self.target):
                return False
            self._refuse_changed(look, note)
            for name in note.stamps:
                if name in look.stamps:
                    self._store.delete(name)
            self._store.delete_note(note)
            return True

    @property
    def _prefix(self) -> str:
        return self._context.environment.prefix

    def _ours(self, look: Look) -> Note | None:
        return look.note if look.note is not None and look.note.owner == self._prefix else None

    def _checked(self) -> Look:
        """Return what is there, which is ours or nothing, and nobody else's change."""
        look = self._store.look()
        note = self._ours(look)
        known = note.stamps if note else {}
        foreign = [name for name in self._names.all if name in look.stamps and name not in known]
        if foreign:
            raise not_ours(self.target, f"the variable {', '.join(foreign)}")
        if look.note is not None and note is None:
            raise not_ours(self.target, f"the note {note_name(self._names)}")
        if note is not None:
            self._refuse_changed(look, note)
        return look

    def _refuse_changed(self, look: Look, note: Note) -> None:
        changed = self._changed(look, note)
        if changed:
            raise changed_by_others(
                self.target,
                f"the variable {', '.join(changed)}",
                "delete it there if nobody needs its value, then run the same command again",
            )

    @staticmethod
    def _changed(look: Look, note: Note) -> list[str]:
        return [name for name, stamp in note.stamps.items() if stamp and look.stamps.get(name, stamp) != stamp]


@contextmanager
def alone(target: str) -> Iterator[None]:
    """Keep the threads of this process apart at one place; between machines the environment's lease does.

    Args:
        target: The place, in one line; the same for all that must not be written at once.
    """
    with _LOCKS_LOCK:
        lock = _LOCKS.setdefault(target, threading.Lock())
    with lock:
        yield

"""Fills every text of a night's result, to see what an attacker's names do to a rendering."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count
from typing import Any, Literal, TypeVar, get_args, get_origin

from ci_user.nightly.model import NightResult, Part

HOSTILE = (
    "<script>document.title='pwned'</script>",
    '"><img src=x onerror="document.title=\'pwned\'">',
    "'><svg onload=document.title='pwned'>",
    "javascript:document.title='pwned'",
    "</script></style></title><script>document.title='pwned'</script>",
    "]]><!--><script>document.title='pwned'</script>--><![CDATA[",
    "</textarea></svg><style>@import 'https://example.invalid/'</style>",
    "&lt;b&gt;&#60;i&#62;&quot;&amp;amp; &notanentity",
    "\x00\x1b[31m\x1b]0;pwned\x07\u202egnp.exe\u2066\u200b\u2028\ufeff\x9b",
)
"""Texts that break out of something. None has a line break or a backtick, which mean something."""


_LENGTH = max(len(text) for text in HOSTILE)
P = TypeVar("P", bound=Part)


def filled(result: NightResult, text: str = "") -> NightResult:
    """Return the result with `text`, and a number, in each of its texts; what its own types restrict too, but for Literals.

    Args:
        result: A result in which every kind of part and every text occurs.
        text: What to put in, one of `HOSTILE`; by default letters that do no harm. All of them are made equally long.
    """
    numbers = count(1)
    start = text.ljust(_LENGTH) if text else "x" * _LENGTH
    # Equal numbers of digits: the order by name is the same whatever the text.
    return _part(result, lambda: f"{start}{next(numbers):05}")


def reached(result: Part) -> set[tuple[str, str]]:
    """Return which fields hold a text, by class and name."""
    found = set()
    for part in _parts(result):
        for name, kind in _texts(part):
            value = getattr(part, name)
            if value and kind is not Literal:
                found.add((type(part).__name__, name))
    return found


def wanted(kind: type[Part] = Part) -> set[tuple[str, str]]:
    """Return all fields that hold texts, of all classes of parts in the model."""
    found = set()
    for one in kind.__subclasses__():
        if one.__module__ == NightResult.__module__:
            found |= {(one.__name__, name) for name, info in one.model_fields.items() if _is_text(info.annotation)}
    return found


def _parts(value: Any) -> Iterator[Part]:
    if isinstance(value, Part):
        yield value
        for name in type(value).model_fields:
            yield from _parts(getattr(value, name))
    elif isinstance(value, tuple):
        for one in value:
            yield from _parts(one)


def _texts(part: Part) -> Iterator[tuple[str, Any]]:
    for name, info in type(part).model_fields.items():
        if _is_text(info.annotation):
            yield name, info.annotation


def _is_text(annotation: Any) -> bool:
    if get_origin(annotation) is Literal:
        return False
    return annotation is str or any(_is_text(one) for one in get_args(annotation) if one is not Ellipsis)


def _part(part: P, word: Callable[[], str]) -> P:
    update = {
        name: _value(getattr(part, name), word, text=_is_text(info.annotation))
        for name, info in type(part).model_fields.items()
    }
    # A copy is not validated again: also what a pattern keeps out of JSON is put in.
    return part.model_copy(update=update)


def _value(value: Any, word: Callable[[], str], *, text: bool) -> Any:
    if isinstance(value, Part):
        return _part(value, word)
    if isinstance(value, tuple):
        return tuple(_value(one, word, text=text) for one in value)
    return word() if text and isinstance(value, str) and value else value

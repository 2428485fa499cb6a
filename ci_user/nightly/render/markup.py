"""HTML and inline SVG that cannot be forgotten to be escaped: a child is text, and is escaped, unless it is Markup.

Markup is made by `element` alone, which knows the tags and attributes that a report needs. There is no tag that runs or
loads anything, no attribute that does (``style`` and ``on...`` are none of them), and a link leads only into the same page.
"""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from typing import Final, TypeAlias

from ci_user.text import plain

_VOID: Final = frozenset({"input", "line", "path", "rect", "use"})
_IN_TAGS: Final = (
    "a article body button caption code dd defs del desc details div dl dt footer g h1 h2 h3 h4 header ins label li main nav "
    "p pre section span strong summary svg table tbody td text th thead time title tr ul"
)
_IN_ATTRIBUTES: Final = (
    "aria-describedby aria-hidden aria-label aria-labelledby aria-live aria-pressed class colspan d data-label data-sort "
    "data-verdict datetime height hidden href id open role rx scope tabindex text-anchor type viewBox width x x1 x2 y y1 y2"
)
_TAGS: Final = _VOID | frozenset(_IN_TAGS.split())
_ATTRIBUTES: Final = frozenset(_IN_ATTRIBUTES.split())

Child: TypeAlias = "Markup | str | int | Iterable[Child] | None"
Value: TypeAlias = str | int | float | bool | None


class Markup:
    """Finished HTML. Made by `element`, `joined` and `lines`; ``str()`` of it is what goes into the file."""

    __slots__ = ("_text",)

    def __init__(self, text: str, *, made_here: object) -> None:
        if made_here is not _MADE_HERE:
            msg = "Markup is made by element(), joined() and lines()"
            raise TypeError(msg)
        self._text = text

    def __str__(self) -> str:
        return self._text


_MADE_HERE: Final = object()


def element(tag: str, *children: Child, **attributes: Value) -> Markup:
    """Return an element.

    >>> str(element("p", "1 < 2", class_="note", aria_label="so"))
    '<p class="note" aria-label="so">1 &lt; 2</p>'

    Args:
        tag: The element's name.
        children: What is in it: texts, which are escaped, Markup, None for nothing, and iterables of these.
        attributes: Its attributes. An underscore stands for a hyphen, one at the end is left out. True is an attribute
            without a value; False and None leave it out. Floats are rounded to a tenth.

    Raises:
        ValueError: The tag or an attribute is none that a report needs, or a link leads out of the page.
    """
    if tag not in _TAGS:
        raise ValueError(tag)
    opening = "".join(_attribute(name, value) for name, value in attributes.items() if value is not None)
    if tag in _VOID:
        # Inside SVG an element without an end must say so; HTML takes the slash for nothing.
        return Markup(f"<{tag}{opening}/>", made_here=_MADE_HERE)
    return Markup(f"<{tag}{opening}>{_inner(children)}</{tag}>", made_here=_MADE_HERE)


def joined(*children: Child) -> Markup:
    """Return several children as one."""
    return Markup(_inner(children), made_here=_MADE_HERE)


def lines(text: str) -> Markup:
    """Return a text of several lines as such; only where white space is kept (class ``lines``) are they seen as lines."""
    return Markup("\n".join(_escaped(line) for line in text.expandtabs(4).split("\n")), made_here=_MADE_HERE)


def _inner(children: Iterable[Child]) -> str:
    return "".join(_child(child) for child in children)


def _child(child: Child) -> str:
    if isinstance(child, Markup):
        return str(child)
    if isinstance(child, str):
        return _escaped(child)
    if child is None:
        return ""
    if isinstance(child, int):
        return f"{child:,}"
    return _inner(child)


def _escaped(text: str) -> str:
    # What str.isprintable() lets through is what plain() leaves alone, and it is a hundred times as fast.
    return escape(text if text.isprintable() else plain(text))


def _attribute(name: str, value: Value) -> str:
    name = name.rstrip("_").replace("_", "-")
    if name not in _ATTRIBUTES:
        raise ValueError(name)
    if value is False:
        return ""
    if value is True:
        return f" {name}"
    text = f"{round(value, 1):g}" if isinstance(value, float) else str(value)
    if name == "href" and not text.startswith("#"):
        raise ValueError(text)
    return f' {name}="{_escaped(text)}"'

"""Foreign text made safe to print: names, tags and messages that come from AWS, a plan or a file."""

from __future__ import annotations

import unicodedata
from typing import Final

_INVISIBLE: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


def plain(text: object, limit: int | None = None) -> str:
    """Return `text` on one line, each character that could steer a terminal or hide something written out as an escape.

    ESC becomes ``\\x1b``, a line break ``\\n``, a bidirectional override ``\\u202e``: seen, but without effect. Markup
    of other outputs (Rich, Markdown, XML) is for their renderers to escape.

    Args:
        text: Anything; ``str()`` of it is taken.
        limit: The greatest length of the result in characters; what is longer ends in ``...``. None for no limit.
    """
    escaped = "".join(
        character.encode("unicode_escape").decode("ascii")
        if unicodedata.category(character) in _INVISIBLE
        else character
        for character in str(text)
    )
    if limit is not None and len(escaped) > limit:
        return f"{escaped[: max(limit - 3, 0)]}..."
    return escaped

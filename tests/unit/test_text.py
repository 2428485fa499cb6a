"""Foreign text is printed without effect."""

from __future__ import annotations

import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from ci_user.text import plain


def test_ordinary_text_stays_as_it_is() -> None:
    assert plain("Überprüfung of shop-prod.ci (日本) \\ [red]") == "Überprüfung of shop-prod.ci (日本) \\ [red]"


def test_what_steers_a_terminal_is_written_out() -> None:
    assert plain("\x1b]0;title\x07\r\n\x9b31m\u202ex\u200b\u2028") == (
        "\\x1b]0;title\\x07\\r\\n\\x9b31m\\u202ex\\u200b\\u2028"
    )


def test_long_text_is_cut() -> None:
    assert plain("abcdefgh", 6) == "abc..."
    assert plain("abcdef", 6) == "abcdef"


@given(st.text(st.characters()))
def test_the_result_is_one_printable_line_that_stays_the_same(text: str) -> None:
    once = plain(text)

    assert all(character.isprintable() or unicodedata.category(character) == "Zs" for character in once)
    assert len(once.splitlines()) <= 1
    assert plain(once) == once
    assert len(plain(text, 10)) <= 10

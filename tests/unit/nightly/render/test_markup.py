"""Text in a report is escaped whatever it is; what runs or loads something cannot be made at all."""

from __future__ import annotations

import pytest

from ci_user.nightly.render.markup import Markup, element, joined, lines


def test_text_and_attributes_are_escaped() -> None:
    assert str(element("p", "<b> & \"'", class_='a"b')) == '<p class="a&quot;b">&lt;b&gt; &amp; &quot;&#x27;</p>'


def test_markup_is_not_escaped_again() -> None:
    inner = element("code", "<")
    assert str(element("p", [inner, None, ("a", 1200)])) == "<p><code>&lt;</code>a1,200</p>"
    assert str(joined(inner, "<")) == "<code>&lt;</code>&lt;"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\x00b", r"a\x00b"),
        ("\x1b[31m", r"\x1b[31m"),
        ("\u202egnp", r"\u202egnp"),
        ("\ud800", r"\ud800"),
        ("\u2028", r"\u2028"),
    ],
)
def test_what_cannot_be_seen_is_written_out(text: str, shown: str) -> None:
    assert str(element("p", text)) == f"<p>{shown}</p>"
    assert str(element("p", id=text)) == f'<p id="{shown}"></p>'
    assert str(lines(f"{text}\nb")) == f"{shown}\nb"


@pytest.mark.parametrize("tag", ["script", "style", "iframe", "img", "object", "base", "form", "P", "p onclick=x"])
def test_a_tag_that_runs_or_loads_something_cannot_be_made(tag: str) -> None:
    with pytest.raises(ValueError, match=tag):
        element(tag)


@pytest.mark.parametrize("name", ["style", "onclick", "src", "action", "formaction", "xlink:href", "srcdoc", "x y"])
def test_an_attribute_that_runs_or_loads_something_cannot_be_made(name: str) -> None:
    with pytest.raises(ValueError, match=name):
        element("p", **{name: "x"})


@pytest.mark.parametrize("address", ["javascript:alert(1)", "https://example.invalid/", "//example.invalid", " #a", ""])
def test_a_link_leads_only_into_the_page(address: str) -> None:
    with pytest.raises(ValueError, match="^" + address.replace("(", r"\(").replace(")", r"\)") + "$"):
        element("a", href=address)


def test_markup_is_made_here_only() -> None:
    with pytest.raises(TypeError):
        Markup("<script>", made_here=object())


def test_an_attribute_may_have_no_value_or_be_left_out() -> None:
    assert str(element("details", open=True, hidden=False, id=None)) == "<details open></details>"
    assert str(element("rect", x=1.25, y=2)) == '<rect x="1.2" y="2"/>'

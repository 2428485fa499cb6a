"""The HTML report: one file that loads nothing, in which a name stays a name, and which everybody can read."""

from __future__ import annotations

import base64
import hashlib
import re
from collections import Counter
from functools import cache
from html.parser import HTMLParser
from itertools import pairwise
from typing import Any

import pytest

from ci_user.nightly.model import NightResult
from ci_user.nightly.render.html import page
from ci_user.nightly.render.html_parts import anchors
from tests.filled import HOSTILE, filled, reached, wanted
from tests.night_example import environment, grants, night, nights

_VOID = {"meta", "link", "input", "path", "rect", "line", "use"}
Element = tuple[str, tuple[tuple[str, str | None], ...]]


class Document(HTMLParser):
    """What is in a page: its elements, the text of each kind of element, and whether everything is closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[Element] = []
        self.texts: dict[str, list[str]] = {}
        self.odd: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, tuple(attrs)))
        if tag not in _VOID:
            self._open.append(tag)
            self.texts.setdefault(tag, []).append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in _VOID
        self.elements.append((tag, tuple(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        for tag in set(self._open):
            self.texts[tag][-1] += data

    def handle_comment(self, data: str) -> None:
        self.odd.append(data)

    def handle_pi(self, data: str) -> None:
        self.odd.append(data)

    def unknown_decl(self, data: str) -> None:
        self.odd.append(data)

    def having(self, name: str) -> list[tuple[str, str | None]]:
        """Return the tags with this attribute, and its values."""
        return [(tag, dict(attributes)[name]) for tag, attributes in self.elements if name in dict(attributes)]

    def structure(self) -> list[tuple[str, tuple[str, ...]]]:
        """Return the elements with the names of their attributes, in order."""
        return [(tag, tuple(name for name, _ in attributes)) for tag, attributes in self.elements]


@cache
def example() -> NightResult:
    return night(3).model_copy(update={"shard": "1/2"})


@cache
def small() -> NightResult:
    return night(1, waiting=1).model_copy(update={"shard": "1/2"})


@cache
def harmless() -> Document:
    return Document(page(filled(small())))


@cache
def text() -> str:
    return page(example(), nights())


@cache
def document() -> Document:
    return Document(text())


def policy() -> dict[str, list[str]]:
    [content] = [
        dict(attributes)["content"]
        for tag, attributes in document().elements
        if tag == "meta" and dict(attributes).get("http-equiv") == "Content-Security-Policy"
    ]
    assert content is not None
    return {words[0]: words[1:] for words in (part.split() for part in content.split(";"))}


@pytest.mark.parametrize(("tag", "directive"), [("script", "script-src"), ("style", "style-src")])
def test_the_policy_lets_just_the_one_script_and_the_one_style_in(tag: str, directive: str) -> None:
    [own] = document().texts[tag]
    digest = base64.b64encode(hashlib.sha256(own.encode()).digest()).decode()
    assert policy()[directive] == [f"'sha256-{digest}'"]
    assert "\r" not in own


def test_the_policy_forbids_all_else() -> None:
    assert policy()["default-src"] == ["'none'"]
    assert policy()["base-uri"] == ["'none'"]
    assert policy()["form-action"] == ["'none'"]
    assert policy()["img-src"] == ["data:"]
    # Nothing before it could have been loaded.
    before = text()[: text().index("Content-Security-Policy")]
    assert not re.search(r"<(?:script|style|link|img)", before)


def test_nothing_is_loaded_and_nothing_runs_from_an_attribute() -> None:
    names = {name for _, attributes in document().elements for name, _ in attributes}
    assert not {name for name in names if name.startswith("on")}
    assert not names & {"style", "src", "srcset", "action", "formaction", "xlink:href"}
    assert {tag for tag, value in document().having("href") if not str(value).startswith("#")} == {"link"}
    assert "://" not in re.sub(r"http://www\.w3\.org/2000/svg", "", text())


def test_the_example_fills_every_text_of_the_model() -> None:
    assert reached(small()) == wanted()


@pytest.mark.parametrize("hostile", HOSTILE)
def test_a_hostile_text_changes_no_element_wherever_it_stands(hostile: str) -> None:
    everything = page(filled(small(), hostile))
    bad, good = Document(everything), harmless()
    assert bad.structure() == good.structure()
    assert bad.odd == []
    assert bad.texts["script"] == good.texts["script"]
    ids = [value for _, value in bad.having("id")]
    assert len(set(ids)) == len(ids)
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069\ufeff]", everything)


def test_each_link_leads_to_a_part_of_the_page() -> None:
    ids = Counter(value for _, value in document().having("id"))
    assert max(ids.values()) == 1
    for name in ("href", "aria-labelledby", "aria-describedby"):
        for tag, value in document().having(name):
            if tag != "link":
                assert str(value).removeprefix("#") in ids, value


def test_each_environment_has_a_page_under_its_name() -> None:
    pages = {value for tag, value in document().having("id") if tag == "section"}
    assert pages == {f"env-{one.environment}" for one in example().environments}


def test_names_that_are_no_anchors_get_other_ones() -> None:
    assert anchors(["a", "a", "b c", "A", "env", "x" * 64]) == ("env-a", "env_2", "env_3", "env_4", "env-env", "env_6")


def test_headings_come_in_order_and_tables_say_what_they_are() -> None:
    levels = [int(tag[1]) for tag, _ in document().elements if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    tags = Counter(tag for tag, _ in document().elements)
    assert tags["table"] == tags["caption"] > 3
    assert all("scope" in dict(attributes) for tag, attributes in document().elements if tag == "th")
    assert [tags[one] for one in ("main", "header", "footer")] == [1, 1, 1]
    assert dict(document().elements[0][1]) == {"lang": "en"}


def test_each_picture_has_a_name_and_says_the_same_in_words() -> None:
    pictures = [dict(attributes) for tag, attributes in document().elements if tag == "svg"]
    assert len(pictures) > 3
    for one in pictures:
        assert one.get("aria-hidden") == "true" or {"role", "aria-labelledby", "aria-describedby"} <= one.keys()


def test_what_is_wrong_comes_first_and_what_is_missing_before_it() -> None:
    rows = re.findall(r'<tr data-verdict="(\w+)"><th scope="row">(?:<a [^>]*>)?([\w-]+)', text())
    assert rows[:4] == [("error", "perf-eu"), ("error", "staging-ap"), ("error", "staging-us"), ("findings", "prod-eu")]
    assert rows[-1] == ("clean", "app-002")
    assert len(rows) == len(example().environments) + 1


def test_a_cause_in_many_environments_is_one_with_their_names() -> None:
    [cause] = [part for part in text().split("<article") if "20 environments" in part]
    assert len(re.findall(r'href="#env-team-\d\d"', cause)) == 20
    assert "8 more" in cause


def test_a_change_of_a_document_is_shown_line_by_line_with_signs() -> None:
    assert '<del>-       "Resource": "arn:aws:s3:::shop-prod-eu/*",</del>' in _unescaped()
    assert "<ins>+ Sample, changed by hand</ins>" in text()


def test_an_object_that_repeats_a_key_is_shown_as_it_is() -> None:
    before, after = '{"a": 1, "a": 2}', '{"a": 3, "a": 2}'
    shown = _changed(before, after)
    assert f"- {before}" in shown
    assert f"+ {after}" in shown


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("[" * 9_000, "[" * 9_001),
        ('{"a":' * 300 + "1" + "}" * 300, '{"a":' * 300 + "2" + "}" * 300),
        ("1" * 9_000, "2" * 9_000),
        ("[" + "1" * 5_000 + "]", "[]"),
        ("\n" * 15_000, "a\n" * 7_500),
        ('{"a": 1}', '{ "a": 1 }'),
        ('{"a": "\\u202e\\ud800"}', "[]"),
    ],
    ids=["deep", "nested", "digits", "number", "lines", "same", "escapes"],
)
def test_a_strange_attribute_does_no_harm(before: str, after: str) -> None:
    shown = _changed(before, after)
    assert "<del>" in shown or "<ins>" in shown
    assert len(shown) < 500_000


def _changed(before: str, after: str) -> str:
    attributes = ({"name": "policy", "before": before, "after": after},)
    change = {"address": "a.b", "action": "update", "origin": "drift", "attributes": attributes}
    one = environment("a", changes=(change,))
    shown = page(example().model_copy(update={"environments": (one,)}))
    shown.encode()
    return shown[shown.index('<pre class="diff">') :].replace("&quot;", '"')


def _unescaped() -> str:
    return text().replace("&quot;", '"')


def test_an_accepted_finding_is_folded_with_its_reason_owner_and_day() -> None:
    folded = text()[text().index("1 accepted finding") :]
    for word in ("The pipeline invalidates every cache", "team-shop", "2026-09-30"):
        assert word in folded[:2_000]


def test_without_a_script_the_controls_are_not_there() -> None:
    assert re.search(r'<div class="controls" hidden>', text())
    assert "<button" not in text()[text().index("<table") :]


def test_times_may_be_as_odd_as_the_model_lets_them() -> None:
    odd = {
        "created": "1970-01-01T00:00:00+14:00",
        "last_used": "9998-12-31T23:59:59-12:00",
        "active": True,
        "state": "x",
    }
    events = ({"at": "2026-07-12T00:00:00", "what": "no zone"}, {"at": "1970-01-01T00:00:00+01:00", "what": "early"})
    keys: Any = ({"id": "A", **odd, "events": events}, {"id": "B", **odd})
    Document(page(example().model_copy(update={"environments": (environment("a", keys=keys, seconds=1e12),)})))


def test_a_night_without_environments_is_a_page() -> None:
    assert "All 0 environments are clean" in page(example().model_copy(update={"environments": (), "missing": ()}))


def test_a_few_grants_or_very_many_are_shown() -> None:
    many = tuple(grants()[0].model_copy(update={"service": f"s{at}"}) for at in range(500))
    for given in (grants(1), many):
        shown = page(example().model_copy(update={"environments": (environment("a", grants=given),)}))
        assert given[-1].service in shown


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_can_be_told_from_what_is_behind_it(scheme: str) -> None:
    colours = _colours(scheme)
    pairs = [("text", back) for back in ("page", "card", "raised", "link-back")]
    pairs += [("quiet", back) for back in ("page", "card", "raised")]
    pairs += [("link", back) for back in ("page", "card", "raised", "link-back")]
    pairs += [("page", "text"), ("on-mark", "mark"), ("findings", "card"), ("gone", "gone-back"), ("new", "new-back")]
    pairs += [(kind, f"{kind}-back") for kind in ("error", "findings", "clean")]
    pairs += [(kind, "card") for kind in ("error", "findings", "clean")]
    for front, back in pairs:
        assert _contrast(colours[front], colours[back]) >= 4.5, (front, back)
    for mark in ("edge", "error-line", "findings-line", "clean-line", "mark", "link"):
        assert _contrast(colours[mark], colours["card"]) >= 3, mark


def _colours(scheme: str) -> dict[str, str]:
    [style] = document().texts["style"]
    light, dark = re.findall(r":root \{(.*?)\}", style, flags=re.DOTALL)[:2]
    found = dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6});", light))
    return found | dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6});", dark)) if scheme == "dark" else found


def _contrast(one: str, other: str) -> float:
    """Return the contrast of two colours (https://www.w3.org/TR/WCAG21/#dfn-contrast-ratio)."""

    def luminance(colour: str) -> float:
        parts = (int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5))
        linear = [part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    lower, higher = sorted((luminance(one), luminance(other)))
    return (higher + 0.05) / (lower + 0.05)


def test_a_thousand_environments_are_no_heavy_file() -> None:
    few, more = len(page(night(10)).encode()), len(page(night(60)).encode())
    assert few + (more - few) / 50 * 1_000 < 10_000_000


def test_what_was_not_checked_is_told_before_everything_with_what_to_do() -> None:
    text = page(night(1, 0).model_copy(update={"environments": (environment("good"),), "missing": ("shard 2/3",)}))
    assert text.index("left no result") < text.index("Environments</")
    assert "docs/runbooks.md#nightly-not-checked" in text

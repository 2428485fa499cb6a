"""A step's summary and annotations say what there is, and whatever the names are, nothing in them is taken for a command."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest
from hypothesis import given, settings
from markdown_it import MarkdownIt

from ci_user.nightly.model import Acceptance, NightResult
from ci_user.nightly.render.github import MOST_BYTES, summary, workflow_commands
from ci_user.text import plain
from tests.unit.nightly.render.hostile_nights import HOSTILE, NIGHT, entry, environment, hostile, night, nights

COMMAND = re.compile(r"::(error|warning|notice) (?:file=environments/[a-z0-9-]+\.yaml,)?title=[^:,\r\n]*::[^\r\n]*")
OURS = frozenset({"h2", "p", "table", "tr", "th", "td", "code", "strong", "br", "details", "summary"})


class Page(HTMLParser):
    """What a browser makes of it: the elements, and each text in ``<code>``."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.codes: list[str] = []
        self.feed(html)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        assert tag in OURS
        assert not attributes
        assert "code" not in self.open
        if tag != "br":
            self.open.append(tag)
        if tag == "code":
            self.codes.append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "code" in self.open:
            self.codes[-1] += data

    def handle_comment(self, data: str) -> None:
        raise AssertionError(data)

    def handle_decl(self, decl: str) -> None:
        raise AssertionError(decl)

    def handle_pi(self, data: str) -> None:
        raise AssertionError(data)

    def unknown_decl(self, data: str) -> None:
        raise AssertionError(data)


def page(result: NightResult) -> Page:
    written = summary(result)
    # As GitHub: HTML goes through. What Markdown makes of it has nothing that the HTML alone had not.
    return Page(MarkdownIt("commonmark", {"html": True}).enable("table").render(written))


def test_the_summary_names_causes_environments_and_what_to_do() -> None:
    accepted = entry("CKV_AWS_40", accepted=Acceptance(reason="known", owner="ops", expires="never"))
    found = entry(
        where="module.x", message="was changed", fix="run `invoke deploy`", since=NIGHT, runbook="nightly-drift"
    )
    written = summary(night(environment("prod", found, accepted), environment("ok"), missing=("late",), shard="1/3"))
    assert written.startswith(
        "## Nightly check: not everything could be checked, and a person has to look\n\n<p>1 of 3 clean, 1 with findings, "
    )
    assert page(night(environment("prod", found))).codes == [
        "was changed",
        "module.x",
        "AWS is as it was left",
        "prod",
        "run `invoke deploy`",
        "docs/runbooks.md#nightly-drift",
        "prod",
    ]
    for text in (
        "since 2031-05-06 03:00 UTC",
        "<td>not checked</td>",
        "<code>known</code><br><code>ops</code>, for good",
    ):
        assert text in written


def test_a_clean_night_is_short() -> None:
    assert summary(night(environment("prod"))) == (
        "## Nightly check: everything is clean\n\n<p>1 of 1 clean; 1 planned; 41 s</p>\n"
    )


@pytest.mark.parametrize("most", [5_000, 50_000, MOST_BYTES])
def test_a_summary_is_never_too_long_and_says_what_it_left_out(most: int) -> None:
    every = (environment(f"e{n}", *(entry(message=f"{'@' * 400}{n}{k}") for k in range(10))) for n in range(60))
    written = summary(night(*every), most_bytes=most)
    assert len(written.encode()) <= most < 1024 * 1024
    Page(written)
    assert re.search(r"Not shown here, since a summary has its limits: [0-9]+ causes[,.] ", written)


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_names_are_nothing_but_text_in_a_summary(text: str) -> None:
    assert plain(text, 500) in page(hostile(text)).codes
    foreign = re.findall(r"<code>(.*?)</code>", summary(hostile(text)))
    assert all(re.fullmatch(r"(?:[^\W_]|[ -]|&#[0-9]+;)*", one) for one in foreign)


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_names_are_nothing_but_text_in_annotations(text: str) -> None:
    for line in workflow_commands(hostile(text)):
        assert COMMAND.fullmatch(line)
        assert "##[" not in line


def test_annotations_are_unescaped_by_the_runner_to_what_was_meant() -> None:
    (line,) = workflow_commands(night(environment("prod", entry(where="100%", message="a: b, c", fix="do it"))))
    assert line == (
        "::warning file=environments/prod.yaml,title=CIUSER_DRIFT in 1 environment::prod: 100%25: a: b, c%0Ado it"
    )


def test_errors_come_first_and_what_is_accepted_is_no_annotation() -> None:
    accepted = Acceptance(reason="known", owner="ops", expires="never")
    result = night(
        environment(
            "prod",
            entry(gravity="notice"),
            entry(gravity="finding"),
            entry(gravity="error"),
            entry("CKV_AWS_40", accepted=accepted),
        ),
        missing=("late",),
    )
    kinds = [line.split(" ", 1)[0] for line in workflow_commands(result)]
    assert kinds == ["::error", "::error", "::warning", "::notice"]


def test_of_each_kind_there_are_no_more_than_github_shows() -> None:
    result = night(
        environment("prod", *(entry(message=str(n)) for n in range(25)), *(entry(gravity="error") for _ in "ab"))
    )
    lines = workflow_commands(result)
    warnings = [line for line in lines if line.startswith("::warning")]
    assert len(warnings) == 10
    assert warnings[-1] == "::warning title=16 more::the summary of this step and the report list them"
    exactly = night(environment("prod", *(entry(message=str(n)) for n in range(10))))
    assert len(workflow_commands(exactly)) == 10
    assert "more" not in workflow_commands(exactly)[-1]


@settings(max_examples=40, deadline=None)
@given(nights())
def test_every_night_gives_a_page_of_our_own_elements_and_lines_of_our_own_commands(result: NightResult) -> None:
    page(result)
    assert all(COMMAND.fullmatch(line) for line in workflow_commands(result))

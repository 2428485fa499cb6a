"""The HTML report in a real browser: nothing hostile runs, nothing is loaded, and it can be used with keys alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ci_user.nightly.render.html import page
from tests import chromium
from tests.chromium import Browser
from tests.filled import HOSTILE, filled
from tests.night_example import BEGAN, night, nights

pytestmark = pytest.mark.skipif(
    chromium.found() is None,
    reason=f"none of {', '.join(chromium.NAMES)} is installed: the report is not looked at in a browser",
)
_TITLE = f"Nightly check {BEGAN:%Y-%m-%d}: 3 environments could not be checked, 21 environments have findings"
_SHOWN = "[...document.querySelectorAll('.fleet tbody tr')].filter(row => row.checkVisibility())"
_NAMES = f"{_SHOWN}.map(row => row.cells[0].textContent)"
_PAGES = "[...document.querySelectorAll('.environment')].filter(one => one.checkVisibility()).map(one => one.id)"
_TAB, _ENTER = ("Tab", 9), ("Enter", 13, "\r")


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with chromium.running(tmp_path_factory.mktemp("profile")) as running:
        yield running


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("report") / "report.html"
    file.write_text(page(night(), nights()), encoding="utf-8")
    return file


@pytest.fixture(scope="module")
def little(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("little") / "report.html"
    file.write_text(page(night(2, waiting=2), nights()), encoding="utf-8")
    return file


def names(browser: Browser) -> list[str]:
    found: list[str] = browser.run(_NAMES)
    return found


def test_the_page_breaks_none_of_its_own_rules(browser: Browser, report: Path) -> None:
    browser.look()
    browser.open(report)
    assert browser.complaints() == []
    assert browser.run("document.title") == _TITLE
    assert browser.run("document.documentElement.className") == "scripted"


def test_the_rules_hold(browser: Browser, little: Path, tmp_path: Path) -> None:
    """Otherwise the absence of complaints says nothing."""
    broken = tmp_path / "broken.html"
    added = (
        "<script>document.title = 'ran'</script><img src='https://example.invalid/' onerror='x()'><p style='color:red'>"
    )
    broken.write_text(little.read_text(encoding="utf-8").replace("<main", f"{added}<main"), encoding="utf-8")
    browser.open(broken)
    told = "\n".join(browser.complaints())
    assert browser.run("document.title").startswith("Nightly check")
    assert all(directive in told for directive in ("script-src", "style-src", "img-src"))
    assert "example.invalid" in told


def opened(browser: Browser, file: Path, text: str = "") -> str:
    """Return the elements of a page with this text everywhere, after each environment was looked at by its link."""
    file.write_text(page(filled(night(1, waiting=1), text)), encoding="utf-8")
    browser.open(file)
    links = browser.run("[...document.querySelectorAll('.fleet a')].map(one => one.click() ?? one.hash)")
    assert len(links) == 5
    elements: str = browser.run("[...document.querySelectorAll('*')].map(one => one.tagName).join(' ')")
    return elements


@pytest.fixture(scope="module")
def harmless(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> str:
    return opened(browser, tmp_path_factory.mktemp("harmless") / "report.html")


@pytest.mark.parametrize("hostile", HOSTILE)
def test_nothing_hostile_runs(browser: Browser, tmp_path: Path, harmless: str, hostile: str) -> None:
    assert opened(browser, tmp_path / "report.html", hostile) == harmless
    assert browser.complaints() == []
    assert "Nightly check 2026-07-12: 3 env" in browser.run("document.title")
    assert browser.run("document.scripts.length") == 1


def test_filters_by_text_and_verdict(browser: Browser, report: Path) -> None:
    browser.look()
    browser.open(report)
    assert len(names(browser)) == 64
    browser.run("document.getElementById('filter').focus()")
    browser.type("TEAM us-east")
    assert names(browser) == [f"team-{at:02}" for at in range(1, 20, 3)]
    assert browser.run("document.getElementById('shown').textContent") == "7 of 64 shown"
    # On to the buttons: All, then Error.
    for key in (_TAB, _TAB, _ENTER):
        browser.press(*key)
    assert names(browser) == []
    browser.run("document.getElementById('filter').select()")
    browser.run("document.getElementById('filter').focus()")
    browser.press("Delete", 46)
    assert names(browser) == ["perf-eu", "staging-ap", "staging-us"]
    assert browser.run("document.querySelector('[aria-pressed=true]').textContent") == "Error 3"


def test_sorts_by_each_column_with_keys(browser: Browser, report: Path) -> None:
    browser.look()
    browser.open(report)
    heads = browser.run("[...document.querySelectorAll('.fleet thead button')].map(one => one.textContent)")
    assert heads == ["Environment", "Account", "Region", "Verdict", "Found", "Way", "Last plan", "Since"]
    sorts = "[...document.querySelectorAll('.fleet thead th')].map(one => one.getAttribute('aria-sort'))"
    assert browser.run(sorts) == [None] * 8
    browser.run("document.querySelector('.fleet thead button').focus()")
    browser.press(*_ENTER)
    assert browser.run(sorts)[0] == "ascending"
    assert names(browser) == sorted(names(browser))
    browser.press(*_ENTER)
    assert browser.run(sorts)[0] == "descending"
    assert names(browser) == sorted(names(browser), reverse=True)
    for key in (_TAB, _TAB, _TAB, _ENTER):
        browser.press(*key)
    assert browser.run(sorts) == [None, None, None, "ascending", *[None] * 4]
    assert names(browser)[:5] == ["perf-eu", "staging-ap", "staging-us", "prod-eu", "team-00"]
    browser.press(*_TAB)
    browser.press(*_ENTER)
    browser.press(*_ENTER)
    assert names(browser)[:2] == ["prod-eu", "staging-ap"]


def test_the_address_holds_the_environment(browser: Browser, little: Path) -> None:
    browser.look()
    browser.open(little, "#env-prod-eu")
    assert browser.run(_PAGES) == ["env-prod-eu"]
    assert browser.run("document.title").startswith("prod-eu · ")
    assert browser.run(_SHOWN + ".length") == 0
    followed: Any = browser.run(
        "new Promise(done => { addEventListener('hashchange', () => setTimeout(done), {once: true});"
        " document.querySelector('.chosen .back').click() })"
    )
    assert followed is None
    assert browser.run(_PAGES) == []
    assert browser.run("document.activeElement.textContent") == "prod-eu"
    browser.press(*_ENTER)
    assert browser.run("new Promise(done => setTimeout(() => done(location.hash)))") == "#env-prod-eu"
    assert browser.run("document.activeElement.id") == "env-prod-eu.name"
    assert browser.complaints() == []


@pytest.mark.parametrize("odd", ["#%", "#env-none", "#filter", "#%3Cscript%3E"])
def test_an_odd_address_shows_the_overview(browser: Browser, little: Path, odd: str) -> None:
    browser.open(little, odd)
    assert browser.run(_PAGES) == []
    assert browser.run(_SHOWN + ".length") == 8
    assert browser.complaints() == []


def test_the_skip_link_is_the_first_and_keeps_the_environment(browser: Browser, little: Path) -> None:
    browser.look()
    browser.open(little)
    browser.press(*_TAB)
    assert browser.run("document.activeElement.textContent") == "Skip to the content"
    browser.open(little, "#env-prod-eu")
    browser.run("document.querySelector('.skip').focus()")
    browser.press(*_ENTER)
    assert browser.run("document.activeElement.id") == "env-prod-eu.name"
    assert browser.run("location.hash") == "#env-prod-eu"


@pytest.mark.parametrize("fragment", ["", "#env-prod-eu"])
def test_the_page_fits_its_window(browser: Browser, little: Path, fragment: str) -> None:
    browser.open(little, fragment)
    for width in (320, 390, 700, 800, 980, 1280):
        browser.look(width=width, height=844)
        assert browser.run("document.documentElement.scrollWidth") == width


def test_without_scripts_everything_is_there(browser: Browser, little: Path) -> None:
    browser.look()
    browser.ask("Emulation.setScriptExecutionDisabled", value=True)
    try:
        browser.open(little, "#env-prod-eu")
        assert len(browser.run(_PAGES)) == 7
        assert len(names(browser)) == 8
        assert browser.run("document.querySelector('.controls').checkVisibility()") is False
        assert browser.complaints() == []
    finally:
        browser.ask("Emulation.setScriptExecutionDisabled", value=False)


def test_what_a_screen_reader_is_told(browser: Browser, little: Path) -> None:
    browser.look(width=390, height=844)
    browser.open(little)
    nodes = browser.ask("Accessibility.getFullAXTree")["nodes"]
    seen = [(node["role"]["value"], node.get("name", {}).get("value", "")) for node in nodes if not node["ignored"]]
    roles = [role for role, _ in seen]
    # Rows that look like cards are rows all the same.
    assert roles.count("row") >= 9
    assert roles.count("columnheader") == 8
    for landmark in ("banner", "main", "contentinfo"):
        assert roles.count(landmark) == 1, landmark
    assert ("searchbox", "Filter") in seen
    assert ("button", "Error 3") in seen
    assert ("table", "The verdict of each environment") in seen
    assert ("image", "Environments that were not clean, by night") in seen


@pytest.mark.parametrize(
    ("name", "fragment", "width", "dark"),
    [
        ("desktop", "", 1280, False),
        ("dark", "", 1280, True),
        ("phone", "", 390, False),
        ("page", "#env-prod-eu", 390, True),
    ],
)
def test_screenshots(browser: Browser, report: Path, name: str, fragment: str, width: int, dark: bool) -> None:
    """They are kept beside the report for somebody to look at: under pytest's directory for temporary files."""
    browser.look(width=width, height=844, dark=dark)
    browser.open(report, fragment)
    picture = browser.picture(whole=False)
    (report.parent / f"{name}.png").write_bytes(picture)
    assert picture.startswith(b"\x89PNG")
    # An empty page is a few kilobytes.
    assert len(picture) > 20_000
    background = browser.run("getComputedStyle(document.body).backgroundColor")
    assert background == ("rgb(14, 17, 22)" if dark else "rgb(245, 246, 248)")

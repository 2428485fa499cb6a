"""A night as one HTML file: nothing is loaded from anywhere, and the browser is told to run and load nothing else.

The policy goes by the hashes of the one script and the one style sheet
(https://www.w3.org/TR/CSP3/#framework-directive-source-list). Without JavaScript all of it is there, one part under the other.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ci_user.nightly.grouping import causes
from ci_user.nightly.model import NightResult
from ci_user.nightly.render import html_fleet
from ci_user.nightly.render.html_environment import Place, environment
from ci_user.nightly.render.html_grants import definitions
from ci_user.nightly.render.html_parts import anchors, counted
from ci_user.nightly.render.html_trend import trend
from ci_user.nightly.render.markup import Markup, element

if TYPE_CHECKING:
    from ci_user.nightly.history import Night

_HERE: Final = Path(__file__).resolve().parent
_ICONS: Final = {0: "%231a7f37", 1: "%23b3261e", 3: "%23b26a00"}


def page(result: NightResult, nights: Sequence[Night] = ()) -> str:
    """Return the report.

    Args:
        result: The run.
        nights: The history, for a small trend; in any order.
    """
    ordered = html_fleet.in_order(result.environments)
    pages = anchors(one.environment for one in ordered)
    where = [(anchor, one.environment) for anchor, one in zip(pages, ordered, strict=True)]
    places = (
        Place(anchor, where[at - 1] if at else None, where[at + 1] if at + 1 < len(where) else None)
        for at, anchor in enumerate(pages)
    )
    body = element(
        "body",
        element("a", "Skip to the content", href="#content", class_="skip"),
        definitions([grant for one in ordered for grant in one.grants]),
        html_fleet.masthead(result),
        element(
            "main",
            element(
                "div",
                html_fleet.causes(
                    causes(result), dict(zip((name for _, name in where), pages, strict=True)), result.missing
                ),
                html_fleet.fleet(result, ordered, pages),
                _history(nights),
                id="overview",
            ),
            (environment(one, place) for one, place in zip(ordered, places, strict=True)),
            id="content",
            tabindex=-1,
        ),
        element(
            "footer",
            element("p", html_fleet.version(result), " · schema ", str(result.schema_version), " · times are in UTC"),
        ),
    )
    return f"{_head(result)}\n{body}\n</html>\n"


def _history(nights: Sequence[Night]) -> Markup | None:
    if not nights:
        return None
    note = f"{counted(len(nights), 'night')} in the history" if len(nights) > 1 else "The first night in the history"
    return element(
        "section",
        element("h2", "History", " ", element("span", note, class_="quiet"), id="history"),
        trend(nights),
        aria_labelledby="history",
        class_="history",
    )


def _head(result: NightResult) -> str:
    """Return everything before the body. The texts in it are this package's own, but for the title, which is escaped."""
    style, script = _own("page.css"), _own("page.js")
    policy = (
        f"default-src 'none'; script-src '{_hash(script)}'; style-src '{_hash(style)}'; img-src data:; base-uri 'none'; "
        "form-action 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
    )
    title = element("title", f"Nightly check {result.began:%Y-%m-%d}: ", html_fleet.verdict(result))
    icon = (
        "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'%3E%3Ccircle cx='8' cy='8' r='7' "
        f"fill='{_ICONS[result.exit_code]}'/%3E%3C/svg%3E"
    )
    return "\n".join(
        [
            "<!DOCTYPE html>",
            '<html lang="en">',
            "<head>",
            '<meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            '<meta name="color-scheme" content="light dark">',
            '<meta name="referrer" content="no-referrer">',
            '<meta name="robots" content="noindex">',
            str(title),
            f'<link rel="icon" href="{icon}">',
            f"<style>{style}</style>",
            f"<script>{script}</script>",
            "</head>",
        ]
    )


def _own(name: str) -> str:
    # With universal newlines: a parser turns CR LF into LF before a hash is taken of what is between the tags.
    return (_HERE / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")

"""Draws docs/life-of-a-key.svg from the table of states: `python -m tests.life_picture` renews it, a test compares it."""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import get_args

from ci_user.journal import KeyState
from ci_user.key_life import LIFE, Place, Step

FILE = Path(__file__).resolve().parent.parent / "docs" / "life-of-a-key.svg"

_LEFT, _WIDTH, _BOX, _GAP = 250, 990, (150, 40), 62
_STYLE = """
text { font: 14px system-ui, sans-serif; fill: #1f2328; paint-order: stroke; stroke: #ffffff; stroke-width: 5 }
.state { stroke: none }
.state { font-weight: 600; text-anchor: middle }
.when { font-size: 12px; fill: #59636e }
.act { font-size: 12px; font-weight: 600 }
rect { fill: #ddf4ff; stroke: #0969da; stroke-width: 1.5 }
rect.end { fill: #f6f8fa; stroke: #59636e }
path { fill: none; stroke: #59636e; stroke-width: 1.5; marker-end: url(#tip) }
marker path { fill: #59636e; stroke: none; marker-end: none }
.paper { fill: #ffffff; stroke: none }
@media (prefers-color-scheme: dark) {
  text { fill: #f0f6fc; stroke: #0d1117 } .when { fill: #9198a1 } .paper { fill: #0d1117 }
  rect { fill: #121d2f; stroke: #4493f8 } rect.end { fill: #151b23; stroke: #9198a1 }
  path { stroke: #9198a1 } marker path { fill: #9198a1 }
}"""


_TIP = (
    '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
    '<path d="M0 0L8 4L0 8z"/></marker></defs>'
)


def draw() -> str:
    """Return the picture as SVG: the states from top to bottom, each step an arrow with what is done and when."""
    places = _places()
    height = 40 + _GAP * len(places)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" role="img" aria-labelledby="name about">',
        '<title id="name">The life of an access key</title>',
        f'<desc id="about">{escape(_told())}</desc>',
        f"<style>{_STYLE}</style>",
        _TIP,
        f'<rect class="paper" width="{_WIDTH}" height="{height}"/>',
    ]
    lanes: dict[str, int] = {"left": 0, "right": 0}
    arrows = [part for step in LIFE for part in _arrow(step, places, lanes)]
    # The words over the lines, which they cross.
    parts += sorted(arrows, key=lambda part: part.startswith("<text"))
    for number, place in enumerate(places):
        end = ' class="end"' if place in ("intent", "forgotten") else ""
        top = 20 + _GAP * number
        parts.append(f'<rect{end} x="{_LEFT}" y="{top}" width="{_BOX[0]}" height="{_BOX[1]}" rx="6"/>')
        parts.append(f'<text class="state" x="{_LEFT + _BOX[0] // 2}" y="{top + 25}">{place}</text>')
    return "\n".join([*parts, "</svg>", ""])


def table() -> str:
    """Return the steps as a table in Markdown."""
    rows = [f"| {s.before} | {s.action.__name__} | {s.after} | {s.when} |" for s in LIFE]
    return "\n".join(["| from | step | to | when |", "|---|---|---|---|", *rows])


def _places() -> list[Place]:
    return ["intent", *get_args(KeyState), "forgotten"]


def _told() -> str:
    return "; ".join(f"{s.before} to {s.after} by {s.action.__name__}: {s.when}" for s in LIFE)


def _arrow(step: Step, places: list[Place], lanes: dict[str, int]) -> list[str]:
    start, end = places.index(step.before), places.index(step.after)
    top, bottom = 20 + _GAP * start, 20 + _GAP * end
    name, when = escape(step.action.__name__), escape(step.when.replace("`", ""))
    told = f'<tspan class="act">{name}</tspan> <tspan class="when">{when}</tspan>'
    if end == start + 1:
        x = _LEFT + _BOX[0] // 2
        y = top + _BOX[1]
        return [
            f'<path d="M{x} {y}V{bottom - 2}"/>',
            f'<text x="{x + 12}" y="{y + 16}">{told}</text>',
        ]
    forward = end > start
    lane = lanes["left" if forward else "right"] = lanes["left" if forward else "right"] + 1
    edge = _LEFT if forward else _LEFT + _BOX[0]
    turn = edge - 30 - 42 * lane if forward else edge + 230 + 20 * lane
    y1, y2 = top + 20, bottom + 8 + 8 * lane
    tip = edge - 3 if forward else edge + 3
    label = (turn - 6, (y1 + y2) // 2, "end") if forward else (turn + 8, (y1 + y2) // 2 + 4, "start")
    turned = f' transform="rotate(-90 {label[0]} {label[1]})" text-anchor="middle"' if forward else ""
    return [
        f'<path d="M{edge} {y1}H{turn}V{y2}H{tip}"/>',
        f'<text x="{label[0]}" y="{label[1]}"{turned}>{told}</text>',
    ]


if __name__ == "__main__":
    FILE.write_text(draw())

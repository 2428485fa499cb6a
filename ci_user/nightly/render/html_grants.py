"""A picture of who may do what: the CI user, its policies, the services; and the same as a table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final, get_args

from ci_user.nightly.model import Grant, Level
from ci_user.nightly.render.html_parts import code, counted, cut, table
from ci_user.nightly.render.markup import Child, Markup, element, joined

LEVELS: Final[tuple[Level, ...]] = get_args(Level)
_WORDS: Final[Mapping[Level, str]] = {
    "list": "list",
    "read": "read",
    "write": "write",
    "tagging": "tag",
    "permissions": "perms",
}

_WIDTH: Final = 900
_ROW: Final = 26
_LEAST: Final = 52
"""The least height of a policy, in pixels as all of these: two lines of text in a box."""
_GAP: Final = 14
_USER: Final = (0, 92)
_POLICY: Final = (128, 222)
_SERVICE: Final = 398
_CELLS: Final = 590
_CELL: Final = 48
_EVERYWHERE: Final = 846
_MOST_ROWS: Final = 400
"""More grants than that are no picture any more: only the table shows them."""

_Policy = tuple[str, str]


def grants(every: Sequence[Grant], anchor: str) -> Iterator[Markup]:
    """Return the picture and the table. On a narrow screen the table is shown, else the picture; readers read the table."""
    policies: dict[_Policy, list[Grant]] = {}
    for grant in every:
        policies.setdefault((grant.policy, grant.holder), []).append(grant)
    if len(every) <= _MOST_ROWS:
        yield _picture(policies, anchor)
    spoken = table(
        "Who may do what: each policy with the services that it opens",
        ("Service", "The CI user may"),
        ((_told(policy), ((grant.service, _rights(grant)) for grant in of_it)) for policy, of_it in policies.items()),
    )
    yield element("div", spoken, class_="instead" if len(every) <= _MOST_ROWS else None)


def _told(policy: _Policy) -> tuple[Child, ...]:
    return (code(policy[0]), f", {policy[1]}")


def _rights(grant: Grant) -> str:
    levels = ", ".join(_in_order(grant)) or "nothing that is known"
    return f"{levels}; on any resource" if grant.everywhere else levels


def definitions(every: Sequence[Grant]) -> Markup:
    """Return the rows of level marks that the pictures use, each once for the whole page."""
    needed = sorted({_in_order(grant) for grant in every}, key=_name)
    return element(
        "svg", element("defs", (_cells(levels) for levels in needed)), class_="definitions", aria_hidden="true"
    )


def _cells(levels: Sequence[Level]) -> Markup:
    return element("g", (_cell(place, level, level in levels) for place, level in enumerate(LEVELS)), id=_name(levels))


def _cell(place: int, level: Level, given: bool) -> Markup:
    left = place * (_CELL + 1)
    box = element(
        "rect", x=left, y=-9, width=_CELL, height=18, rx=4, class_=f"level {level}" if given else "level none"
    )
    if not given:
        return box
    word = element("text", _WORDS[level], x=left + _CELL / 2, y=4, text_anchor="middle", class_=f"word {level}")
    return joined(box, word)


def _name(levels: Sequence[Level]) -> str:
    return "may-" + "".join(level[0] for level in levels)


def _in_order(grant: Grant) -> tuple[Level, ...]:
    return tuple(level for level in LEVELS if level in grant.levels)


def _picture(policies: Mapping[_Policy, Sequence[Grant]], anchor: str) -> Markup:
    heights = [max(len(of_it) * _ROW, _LEAST) for of_it in policies.values()]
    height = sum(heights) + _GAP * (len(heights) - 1) + 4
    edges: list[str] = []
    shapes: list[Markup] = []
    top = 2
    for (policy, of_it), tall in zip(policies.items(), heights, strict=True):
        middle = top + tall // 2
        edges.append(_edge(sum(_USER), height // 2, _POLICY[0], middle))
        shapes += _policy_box(policy, middle)
        first = middle - len(of_it) * _ROW // 2 + _ROW // 2
        for place, grant in enumerate(of_it):
            at = first + place * _ROW
            edges.append(_edge(sum(_POLICY), middle, _SERVICE - 8, at))
            shapes += _service(grant, at)
        top += tall + _GAP
    shapes += _user_box(height // 2)
    services = {grant.service for of_it in policies.values() for grant in of_it}
    title, about = f"{anchor}.may", f"{anchor}.may-about"
    return element(
        "svg",
        element("title", "Who may do what", id=title),
        element(
            "desc",
            f"The CI user has {counted(len(policies), 'policy', 'policies')}, which open "
            f"{counted(len(services), 'service')}. The table after this picture says the same.",
            id=about,
        ),
        element("path", d="".join(edges), class_="edge"),
        shapes,
        viewBox=f"0 0 {_WIDTH} {height}",
        width=_WIDTH,
        height=height,
        role="img",
        aria_labelledby=title,
        aria_describedby=about,
        class_="picture",
    )


def _edge(left: int, from_: int, right: int, to: int) -> str:
    half = (left + right) // 2
    return f"M{left} {from_}C{half} {from_} {half} {to} {right} {to}"


def _user_box(middle: int) -> Iterator[Markup]:
    yield element("rect", x=_USER[0] + 1, y=middle - 20, width=_USER[1] - 1, height=40, rx=20, class_="box user")
    yield element("text", "CI user", x=_USER[1] / 2, y=middle + 5, text_anchor="middle", class_="strong")


def _policy_box(policy: _Policy, middle: int) -> Iterator[Markup]:
    name, holder = policy
    yield element("rect", x=_POLICY[0], y=middle - 23, width=_POLICY[1], height=46, rx=6, class_="box")
    yield element("text", cut(name, 27), x=_POLICY[0] + 10, y=middle - 3, class_="strong")
    yield element("text", cut(holder, 34), x=_POLICY[0] + 10, y=middle + 14, class_="small")


def _service(grant: Grant, at: int) -> Iterator[Markup]:
    yield element("text", cut(grant.service, 25), x=_SERVICE, y=at + 5)
    yield element("use", href=f"#{_name(_in_order(grant))}", x=_CELLS, y=at)
    if grant.everywhere:
        yield element("text", "on any", x=_EVERYWHERE, y=at + 5, class_="small warn")

"""The first page of the HTML report: how the night was, what is wrong, and the table of all environments."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from ci_user.nightly.codes import NOT_CHECKED
from ci_user.nightly.model import EnvironmentResult, NightResult
from ci_user.nightly.render.html_parts import (
    ago,
    badge,
    code,
    counted,
    day,
    failing,
    found,
    lasted,
    moment,
    since,
    spoken,
)
from ci_user.nightly.render.markup import Child, Markup, element

if TYPE_CHECKING:
    from ci_user.nightly.grouping import Cause

_ORDER: Final = {"error": 0, "findings": 1, "clean": 2}
_NAMES: Final = 12
"""So many environments of a cause are named at once; the others are folded."""
_CAUSES: Final = 12
_HEADS: Final = ("Environment", "Account", "Region", "Verdict", "Found", "Way", "Last plan", "Since")


def in_order(environments: Iterable[EnvironmentResult]) -> tuple[EnvironmentResult, ...]:
    """Return the environments as the table lists them: errors first, then findings, each by name."""
    return tuple(sorted(environments, key=lambda one: (_ORDER[one.verdict], one.environment)))


def numbers(result: NightResult) -> Mapping[str, int]:
    """Return how many environments have each verdict; one that was not checked is an error."""
    of = {verdict: sum(one.verdict == verdict for one in result.environments) for verdict in _ORDER}
    return {**of, "error": of["error"] + len(result.missing)}


def verdict(result: NightResult) -> str:
    """Return the night in a sentence."""
    of = numbers(result)
    told = []
    if of["error"]:
        told.append(f"{counted(of['error'], 'environment')} could not be checked")
    if of["findings"]:
        told.append(f"{counted(of['findings'], 'environment')} {'has' if of['findings'] == 1 else 'have'} findings")
    if not told:
        return f"All {of['clean']:,} environments are clean" if of["clean"] != 1 else "The environment is clean"
    return ", ".join(told)


def version(result: NightResult) -> str:
    """Return what made the result; a bare number would say nothing."""
    return f"ci-user {result.tool}" if result.tool[:1].isdigit() else result.tool


def masthead(result: NightResult) -> Markup:
    """Return the page's header."""
    of = numbers(result)
    every = sum(of.values())
    tiles = (
        element(
            "li", element("strong", of[kind]), " ", element("span", word), class_=f"tile {kind if of[kind] else 'none'}"
        )
        for kind, word in (("error", "error"), ("findings", "findings"), ("clean", "clean"))
    )
    shard = (" · shard ", result.shard) if result.shard else ()
    return element(
        "header",
        element("div", element("h1", "Nightly check"), element("p", verdict(result), ".", class_="verdict")),
        element("ul", tiles, class_="tiles", aria_label="Environments by verdict"),
        element(
            "p",
            moment(result.began),
            f", {counted(every, 'environment')} in {lasted(result.began, result.ended)}",
            shard,
            " · ",
            version(result),
            class_="quiet",
        ),
    )


def causes(every: Sequence[Cause], pages: Mapping[str, str], missing: Sequence[str] = ()) -> Markup | None:
    """Return what is wrong, each cause once with the environments that have it.

    Args:
        every: The causes, the gravest first.
        pages: The anchor of each environment's page.
        missing: What was to be checked and was not.
    """
    wrong = [cause for cause in every if cause.counts]
    known = [cause for cause in every if not cause.counts and cause.entry.accepted is None]
    if not wrong and not known and not missing:
        return None
    return element(
        "section",
        element("h2", "What is wrong" if wrong or missing else "Good to know", id="causes"),
        _not_checked(sorted(missing), pages) if missing else None,
        (_cause(cause, pages) for cause in wrong[:_CAUSES]),
        _folded(wrong[_CAUSES:], "more cause", pages),
        _folded(known, "notice", pages, opened=not wrong and not missing),
        aria_labelledby="causes",
        class_="causes",
    )


def _folded(every: Sequence[Cause], word: str, pages: Mapping[str, str], *, opened: bool = False) -> Markup | None:
    if not every:
        return None
    summary = element("summary", counted(len(every), word))
    return element("details", summary, (_cause(cause, pages) for cause in every), open=opened, class_="more")


def _cause(cause: Cause, pages: Mapping[str, str]) -> Markup:
    entry, names = cause.entry, cause.environments
    first, others = names[:_NAMES], names[_NAMES:]
    began = (" · since ", day(cause.since)) if cause.since else None
    return element(
        "article",
        element(
            "p",
            badge(entry.gravity),
            " ",
            _quiet(counted(len(names), "environment"), began, " · ", code(entry.id)),
            class_="kind",
        ),
        failing(entry, cause.message, cause.where, "h3"),
        _to_do(cause.fix, entry.runbook),
        _names(first, pages),
        element("details", element("summary", f"{len(others):,} more"), _names(others, pages)) if others else None,
        class_=f"entry {entry.gravity}",
    )


def _to_do(fix: str, runbook: str | None) -> Markup | None:
    told = [spoken(fix)] if fix else []
    see = code(f"docs/runbooks.md#{runbook}") if runbook else None
    if not told and see is None:
        return None
    return element("p", element("strong", "What to do: "), told, " " if told and see else None, see, class_="fix")


def _not_checked(missing: Sequence[str], pages: Mapping[str, str]) -> Markup:
    return element(
        "article",
        element("p", badge("error", "not checked"), class_="kind"),
        element("h3", "It was to be checked, and left no result", class_="what"),
        _to_do("look at that job's log, then run the failed jobs again", NOT_CHECKED.runbook),
        _names(missing[:_NAMES], pages),
        element("p", f"and {len(missing) - _NAMES:,} more", class_="note") if len(missing) > _NAMES else None,
        class_="entry error",
    )


def _names(names: Sequence[str], pages: Mapping[str, str]) -> Markup:
    return element("ul", (element("li", _link(name, pages)) for name in names), class_="names")


def _link(name: str, pages: Mapping[str, str]) -> Markup:
    return element("a", name, href=f"#{pages[name]}") if name in pages else element("span", name)


def fleet(result: NightResult, environments: Sequence[EnvironmentResult], pages: Sequence[str]) -> Markup:
    """Return the table of all environments with what filters and sorts it, which only a script makes appear.

    Args:
        result: The run.
        environments: Its environments in the table's order.
        pages: The anchor of each one's page.
    """
    of = numbers(result)
    every = sum(of.values())
    rows = [*(_missing(name) for name in sorted(result.missing))]
    rows += [_row(one, anchor, result) for one, anchor in zip(environments, pages, strict=True)]
    return element(
        "section",
        element("h2", "Environments", id="fleet", tabindex=-1),
        _controls(of, every),
        element(
            "table",
            element("caption", "The verdict of each environment"),
            element("thead", element("tr", (_head(head) for head in _HEADS))),
            element("tbody", rows),
            class_="fleet",
        ),
        aria_labelledby="fleet",
        class_="overview-table",
    )


def _controls(of: Mapping[str, int], every: int) -> Markup:
    buttons = (
        element(
            "button",
            word,
            " ",
            element("span", number),
            type="button",
            data_verdict=kind,
            aria_pressed="false" if kind else "true",
        )
        for kind, word, number in (
            ("", "All", every),
            ("error", "Error", of["error"]),
            ("findings", "Findings", of["findings"]),
            ("clean", "Clean", of["clean"]),
        )
    )
    return element(
        "div",
        element(
            "label", "Filter ", element("input", type="search", id="filter", aria_describedby="shown"), class_="search"
        ),
        element("div", buttons, role="group", aria_label="Filter by verdict", class_="verdicts"),
        element("p", counted(every, "environment"), id="shown", role="status", aria_live="polite"),
        class_="controls",
        hidden=True,
    )


def _head(head: str) -> Markup:
    return element("th", head, scope="col")


def _cells(name: Child, cells: Iterator[tuple[str | int, Child]], kind: str) -> Markup:
    body = (
        element("td", shown, data_label=head, data_sort=key if str(key) else None)
        for head, (key, shown) in zip(_HEADS[1:], cells, strict=True)
    )
    return element("tr", element("th", name, scope="row"), body, data_verdict=kind)


def _row(one: EnvironmentResult, anchor: str, result: NightResult) -> Markup:
    def cells() -> Iterator[tuple[str | int, Child]]:
        counts = sum(entry.counts for entry in one.entries)
        began = since(one)
        yield "", code(one.account_id)
        yield "", one.region
        yield _ORDER[one.verdict], badge(one.verdict)
        yield f"{counts:06} {len(one.entries):06}", found(one) or element("span", "nothing", class_="quiet")
        yield "", one.way
        yield (
            ("", (day(one.planned_at), " ", _quiet(f"{ago(one.planned_at, result.ended)} ago")))
            if one.planned_at
            else ("0", element("span", "never", class_="quiet"))
        )
        yield ("", (day(began), " ", _quiet(ago(began, result.ended)))) if began else ("9999", None)

    return _cells(element("a", one.environment, href=f"#{anchor}"), cells(), one.verdict)


def _missing(name: str) -> Markup:
    cells: list[tuple[str | int, Child]] = [("", None)] * len(_HEADS[1:])
    cells[2] = (-1, badge("error", "not checked"))
    cells[5], cells[6] = ("0", None), ("9999", None)
    return _cells(name, iter(cells), "error")


def _quiet(*content: Child) -> Markup:
    return element("span", *content, class_="quiet")

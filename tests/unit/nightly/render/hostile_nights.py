"""Nights for the tests of what is shown of them: small ones, hostile ones, and any."""

from __future__ import annotations

import datetime as dt
from typing import Any, Final

from hypothesis import strategies as st

from ci_user.nightly.model import Acceptance, Entry, EnvironmentResult, NightResult

NIGHT: Final = dt.datetime(2031, 5, 6, 3, 0, tzinfo=dt.UTC)

HOSTILE: Final = (
    "\x1b[31mred\x1b[0m\x1b]8;;https://evil.example\x07link\x1b]8;;\x07",
    "[red]markup[/red] [link=https://evil.example]here[/link]",
    "::error::forged",
    "  ::set-output name=key::forged",
    "x\r\n::set-output name=key::forged\r\n##[set-env name=PATH]forged",
    "##[add-mask]forged",
    "[click](https://evil.example) ![](https://evil.example/i.png) <https://evil.example> https://evil.example www.evil.example",
    "</code></td></tr></table>\n\n# Heading\n<script>alert(1)</script><img src=x onerror=alert(1)>",
    "`code` ``` | cell \\| cell \\\\| * _ ~ #1 GH-1 :smile: @octocat &amp; &#64;here",
    "]]> <![CDATA[ --> <!-- \x00\x08\x0b\x0c\x7f\ufffe\uffff &lt; \"'",
    "../../../etc/passwd",
    "..%2f..%2fetc%2fpasswd?query#fragment",
    "<!channel> <!here> <@U012345> <https://evil.example|safe> @here @channel @everyone",
    "\u202egnp.exe\u2066\u200b\u2028\u2029\ufeff",
    '{"a": "{0} {{1}} }"}',
    "%0A::error::forged %3A%3A",
)


def entry(id: str = "CIUSER_DRIFT", **more: Any) -> Entry:  # noqa: A002 - the model's name
    return Entry(**{"id": id, "area": "plan", "gravity": "finding", "title": "AWS is as it was left", **more})


def environment(name: str, *entries: Entry, **more: Any) -> EnvironmentResult:
    return EnvironmentResult(
        **{
            "environment": name,
            "prefix": f"shop-{name}",
            "account_id": "111111111111",
            "region": "eu-west-1",
            "way": "planned",
            "checked_at": NIGHT,
            "seconds": 2.5,
            "entries": entries,
            **more,
        }
    )


def night(*environments: EnvironmentResult, **more: Any) -> NightResult:
    return NightResult(
        **{
            "tool": "0.1.0",
            "began": NIGHT,
            "ended": NIGHT + dt.timedelta(seconds=41),
            "environments": environments,
            **more,
        }
    )


def hostile(text: str) -> NightResult:
    """Return a night in which every text that somebody else may have chosen is this one."""
    accepted = Acceptance(reason=text, owner=text, expires=text)
    more: dict[str, Any] = {
        "where": text,
        "message": text,
        "fix": text,
        "details": (text, text),
        "title": text,
        "runbook": text,
    }
    entries = (
        entry(gravity="error", since=NIGHT, **more),
        entry(**more),
        entry(**{**more, "gravity": "notice"}),
        entry(accepted=accepted, **more),
    )
    mean = environment(text, *entries, prefix=text, account_id=text, region=text, notes=(text,))
    return night(mean, environment("prod", entries[1]), tool=text, shard=text, missing=(text, "gone"))


def _texts() -> st.SearchStrategy[str]:
    # The model takes no lone surrogates, and hypothesis makes none.
    return st.sampled_from(HOSTILE) | st.text(st.characters(codec="utf-8"), max_size=20)


def nights() -> st.SearchStrategy[NightResult]:
    """Return any night: few names, so that causes meet; any text."""
    names = st.sampled_from(("prod", "staging", "eu", "read", "x")) | _texts()
    texts = st.sampled_from(("shop-prod-deploy changed", "shop-staging-deploy changed", "it may read")) | _texts()
    acceptances = st.none() | st.builds(Acceptance, reason=_texts(), owner=_texts(), expires=st.just("never"))
    entries = st.builds(
        Entry,
        id=st.sampled_from(("CIUSER_DRIFT", "CKV_AWS_40")),
        area=st.sampled_from(("plan", "scan", "keys")),
        gravity=st.sampled_from(("error", "finding", "notice")),
        title=st.sampled_from(("One", "Two")),
        where=texts,
        message=texts,
        fix=texts,
        accepted=acceptances,
        since=st.none() | st.just(NIGHT),
    )
    environments = st.builds(
        lambda name, found, way: environment(name, *found, way=way),
        names,
        st.lists(entries, max_size=4),
        st.sampled_from(("planned", "unchanged", "failed")),
    )
    return st.builds(
        lambda every, missing: night(*every, missing=tuple(missing)),
        st.lists(environments, max_size=4, unique_by=lambda one: one.environment),
        st.lists(names, max_size=2),
    )

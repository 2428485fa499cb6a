from __future__ import annotations

import re

from ci_user import backends
from tests import backends_page


def test_the_page_says_what_the_backends_say() -> None:
    text = backends_page.FILE.read_text(encoding="utf-8")
    assert backends_page.page(text) == text, "run `python -m tests.backends_page`"


def test_every_backend_has_a_section_that_its_row_leads_to() -> None:
    text = backends_page.FILE.read_text(encoding="utf-8")
    anchors = {backends_page._anchor(heading) for heading in re.findall(r"^## (.+)$", text, flags=re.MULTILINE)}
    for name in backends.builtin():
        match = re.search(rf"\[`{name}`\]\(#([^)]+)\)", text)
        assert match, name
        assert match[1] in anchors

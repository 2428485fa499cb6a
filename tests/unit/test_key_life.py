"""The picture and the table in the docs are what the code has."""

from __future__ import annotations

import html
import re
from pathlib import Path
from typing import get_args

from ci_user.journal import KeyState
from ci_user.key_life import LIFE
from tests import life_picture

PAGE = Path(__file__).resolve().parents[2] / "docs" / "rotation.md"


def test_the_picture_in_the_docs_is_the_one_that_the_steps_give() -> None:
    assert life_picture.FILE.read_text() == life_picture.draw()


def test_the_table_in_the_docs_is_the_one_that_the_steps_give() -> None:
    assert life_picture.table() in PAGE.read_text()


def test_the_picture_names_every_state_and_every_step_for_eyes_and_for_readers() -> None:
    text = html.unescape(re.sub(r"<[^>]*>", " ", life_picture.draw()))
    for state in get_args(KeyState):
        assert re.search(rf"\b{state}\b", text)
    for step in LIFE:
        assert step.action.__name__ in text
        assert step.when.replace("`", "") in text.replace("`", "")

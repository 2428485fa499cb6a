"""The lines of values in a JSON text."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from ci_user.policy.lint_positions import Positions, lines

TEXT = """{
  "Version": "2012-10-17", "Statement": [
    {"Sid": "a\\"b{",
     "Action": [
       "s3:x",
       "s3:y"], "Resource": "*"},
    {
      "Condition": {"Bool":
        {"aws:k": [true,
                   -1.5]}}}
  ]
}
"""


def test_each_value_has_its_line() -> None:
    found = lines(TEXT)
    assert found[("Version",)] == found[("Statement",)] == 2
    assert found[("Statement", 0)] == found[("Statement", 0, "Sid")] == 3
    assert found[("Statement", 0, "Action", 1)] == 6
    assert found[("Statement", 1)] == 7
    assert found[("Statement", 1, "Condition", "Bool")] == 9
    assert found[("Statement", 1, "Condition", "Bool", "aws:k", 1)] == 10


def paths(value: Any, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    found = [path]
    if isinstance(value, dict):
        for key, item in value.items():
            found += paths(item, (*path, key))
    elif isinstance(value, list):
        for at, item in enumerate(value):
            found += paths(item, (*path, at))
    return found


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(JSON, st.sampled_from([None, 1]))
def test_every_value_of_any_json_is_found_in_order(value: Any, indent: int | None) -> None:
    found = lines(json.dumps(value, indent=indent))
    assert list(found) == paths(value)
    assert list(found.values()) == sorted(found.values())
    if indent and isinstance(value, list):
        assert len({found[(at,)] for at in range(len(value))}) == len(value)


def test_a_value_that_is_not_there_is_looked_for_around() -> None:
    positions = Positions(lines(TEXT))
    assert positions.line(1, ("action", 1), 2) == 6
    assert positions.line(1, ("Action", 7)) == 4
    assert positions.line(1, ("Effect",)) == 3
    assert positions.line(1, ("Resource", 0), 1) == 6
    assert positions.line(None, ("Version",)) == 2
    assert positions.line(None, ("Nothing",)) == 1


def test_a_list_of_another_length_tells_only_its_own_line() -> None:
    positions = Positions(lines(TEXT))
    assert positions.line(1, ("Action", 1), 1) == 4
    assert positions.line(1, ("Action", 1), 3) == 4


def test_without_a_text_no_line_is_known() -> None:
    assert Positions({}).line(1, ("Action", 0), 1) is None

"""The tree at the top of errors.py is as it is drawn there."""

from __future__ import annotations

import pickle
import re
from collections.abc import Iterator

import pytest

from ci_user import errors
from ci_user.errors import CiUserError

LINE = re.compile(r"(?P<indent>[│ ]*)(?:[├└]── )?(?P<name>\w+Error) +(?P<code>\d)")


def drawn() -> Iterator[tuple[str, str | None, int]]:
    """Yield name, parent and exit code of each line of the drawing."""
    path: list[str] = []
    for line in str(errors.__doc__).splitlines():
        found = LINE.match(line)
        if found is None:
            continue
        depth = 0 if found["name"] == "CiUserError" else 1 + len(found["indent"]) // 4
        del path[depth:]
        yield found["name"], path[-1] if path else None, int(found["code"])
        path.append(found["name"])


OWN = [one for one in vars(errors).values() if isinstance(one, type) and issubclass(one, CiUserError)]


def test_the_drawing_shows_each_class_with_its_parent_and_its_exit_code() -> None:
    own = {
        one.__name__: (one.__base__.__name__ if one is not CiUserError and one.__base__ else None, one.exit_code)
        for one in OWN
    }
    assert {name: (parent, code) for name, parent, code in drawn()} == own


@pytest.mark.parametrize("kind", OWN, ids=lambda kind: kind.__name__)
def test_an_error_is_the_same_after_its_way_from_another_process(kind: type[CiUserError]) -> None:
    error = kind("what", where="where", expected="expected", do="do", runbook="bucket", details={"a": 1})
    again = pickle.loads(pickle.dumps(error))  # noqa: S301 - just made
    assert (type(again), str(again), again.details) == (kind, str(error), {"a": 1})

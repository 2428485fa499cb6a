"""Who may agree to what, and how."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from ci_user.confirmation import Consent
from ci_user.errors import CiUserError, ConfirmationError, UsageError


def environment(name: str = "production", *, protected: bool = True) -> Any:
    return SimpleNamespace(name=name, protected=protected)


def answering(text: str) -> Any:
    return lambda _: text


@pytest.mark.parametrize(
    ("consent", "protected"),
    [
        (Consent(yes=True, name=None, ask=None), False),
        (Consent(yes=False, name="production", ask=None), False),
        (Consent(yes=False, name="production", ask=None), True),
        (Consent(yes=True, name="production", ask=None), True),
        (Consent(yes=False, name=None, ask=answering("y")), False),
        (Consent(yes=False, name=None, ask=answering("YES")), False),
        (Consent(yes=False, name=None, ask=answering("production")), True),
    ],
)
def test_agreement_lets_the_change_pass(consent: Consent, protected: bool) -> None:
    consent.require(environment(protected=protected), "deploy")


@pytest.mark.parametrize(
    ("consent", "protected", "expected"),
    [
        (Consent(yes=True, name=None, ask=None), True, "--yes alone"),
        (Consent(yes=True, name=None, ask=answering("production")), True, "--yes alone"),
        (Consent(yes=False, name=None, ask=None), False, "no terminal"),
        (Consent(yes=False, name=None, ask=None), True, "no terminal"),
        (Consent(yes=False, name=None, ask=answering("")), False, "not confirmed"),
        (Consent(yes=False, name=None, ask=answering("y")), True, "not confirmed"),
        (Consent(yes=False, name=None, ask=answering("Production")), True, "not confirmed"),
    ],
)
def test_without_agreement_nothing_passes(consent: Consent, protected: bool, expected: str) -> None:
    with pytest.raises(ConfirmationError, match=expected):
        consent.require(environment(protected=protected), "deploy")


@pytest.mark.parametrize("name", ["prod", "Production", "production ", "testing"])
def test_the_name_of_another_environment_is_refused_before_anything_runs(name: str) -> None:
    with pytest.raises(UsageError, match="--confirm names") as raised:
        Consent(yes=True, name=name, ask=None).check_early(environment(), "deploy")
    assert isinstance(raised.value, CiUserError)
    assert raised.value.exit_code == 1

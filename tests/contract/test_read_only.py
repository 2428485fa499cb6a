"""What each place is asked for at night: `held` alone, which passes the fence of a read-only run; a delivery does not."""

from __future__ import annotations

import secrets
from typing import Any

import pytest

from ci_user.backends import open_backend, settings_model
from ci_user.backends.protocol import Held
from ci_user.errors import ReadOnlyError
from ci_user.iam_user import IamUser
from ci_user.nightly.read_only import refuse_writes
from tests.contract.place import SECRET, Names, Place, new_key


def test_a_place_says_what_it_holds_without_a_write_or_a_secret(place: Place) -> None:
    old, new = new_key(), new_key()
    assert place.open().held() == Held(None, None)
    place.deliver(old)
    place.check = refuse_writes
    place.server.calls.clear()
    assert place.open().held() == Held(old.id, None)
    assert all(place.reads(call) for call in place.server.calls)
    with pytest.raises(ReadOnlyError) as caught:
        place.deliver(new)
    assert SECRET not in str(caught.value)
    assert place.consumed()[0] == old.id


@pytest.mark.parametrize("name", ["aws-secrets-manager", "aws-ssm"])
def test_a_place_in_aws_does_so_too(aws: Any, name: str) -> None:
    place = f"ci-user/night/{secrets.token_hex(6)}x"
    settings = settings_model(name).model_validate(
        {"backend": name, "name": f"/{place}" if name == "aws-ssm" else place}
    )
    old, new = new_key(), new_key()
    free = open_backend(settings, aws.access, Names())
    fenced = open_backend(settings, aws.access.fenced_by(refuse_writes), Names())
    assert fenced.held() == Held(None, None)
    free.stage(old)
    free.promote(old.id)
    free.stage(new)
    assert fenced.held() == Held(old.id, new.id)
    acts = (
        lambda: fenced.read_staged(new.id),
        lambda: fenced.promote(new.id),
        lambda: fenced.discard_staged(new.id),
        fenced.remove,
    )
    for act in acts:
        with pytest.raises(ReadOnlyError):
            act()
    assert fenced.held() == Held(old.id, new.id)


def test_the_user_is_read_and_not_touched(aws: Any) -> None:
    user = f"n{secrets.token_hex(4)}-testing.ci"
    aws.client("iam").create_user(UserName=user)
    fenced = IamUser(aws.access.fenced_by(refuse_writes), user)
    assert fenced.access_keys() == ()
    with pytest.raises(ReadOnlyError):
        fenced.create_key("0" * 32)
    assert fenced.access_keys() == ()

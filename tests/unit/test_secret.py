from __future__ import annotations

import base64
import copy
import dataclasses
import io
import json
import logging
import pickle
import traceback
from collections.abc import Callable

import pydantic
import pytest
from rich.console import Console
from rich.pretty import pretty_repr
from rich.traceback import Traceback

from ci_user.secret import AccessKey, Secret

VALUE = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
ENCODED = base64.b64encode(VALUE.encode()).decode()


def failing(key: AccessKey, secret: Secret) -> None:
    raise RuntimeError(f"failed with {key} and {secret}")


def caught(key: AccessKey) -> RuntimeError:
    try:
        failing(key, key.secret)
    except RuntimeError as error:
        return error
    raise AssertionError


def logged(key: AccessKey) -> str:
    stream = io.StringIO()
    logger = logging.Logger("test", logging.DEBUG)
    logger.addHandler(logging.StreamHandler(stream))
    logger.debug("%s %r %s", key, key.secret, {"secret": key.secret})
    return stream.getvalue()


def rich_traceback(key: AccessKey) -> str:
    error = caught(key)
    console = Console(file=io.StringIO(), width=200)
    console.print(Traceback.from_exception(type(error), error, error.__traceback__, show_locals=True))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def traceback_with_locals(key: AccessKey) -> str:
    return "".join(traceback.TracebackException.from_exception(caught(key), capture_locals=True).format())


WAYS: dict[str, Callable[[AccessKey], str]] = {
    "repr": lambda key: repr(key) + repr(key.secret),
    "str": lambda key: str(key) + str(key.secret),
    "format": lambda key: f"{key} {key.secret} {key.secret:>80} {key.secret!r} {key.secret!s} {key.secret!a}",
    "percent": lambda key: "%s %r %a" % (key.secret, key.secret, key),  # noqa: UP031
    "str.format": lambda key: "{0} {0.secret} {0.secret!r}".format(key),  # noqa: UP032
    "json with default": lambda key: json.dumps({"key": key.secret}, default=str),
    "asdict": lambda key: str(dataclasses.asdict(key)),
    "astuple": lambda key: str(dataclasses.astuple(key)),
    "logging": logged,
    "traceback with locals": traceback_with_locals,
    "rich pretty": lambda key: pretty_repr(key) + pretty_repr({"a": [key.secret]}),
    "rich traceback": rich_traceback,
    "copies": lambda key: repr(copy.copy(key)) + repr(copy.deepcopy(key)),
    "attributes": lambda key: str([str(getattr(key.secret, name, "")) for name in ("__dict__", "__doc__")]),
}


@pytest.mark.parametrize("way", WAYS)
def test_no_way_of_printing_shows_it(way: str) -> None:
    text = WAYS[way](AccessKey("AKIAIOSFODNN7EXAMPLE", Secret(VALUE)))
    assert VALUE not in text
    assert ENCODED not in text
    assert "hidden" in text or way == "attributes"


def test_reveal_is_the_way_to_it() -> None:
    assert Secret(VALUE).reveal() == VALUE


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_it_cannot_be_pickled(protocol: int) -> None:
    for thing in (Secret(VALUE), AccessKey("AKIAIOSFODNN7EXAMPLE", Secret(VALUE)), [Secret(VALUE)]):
        with pytest.raises(TypeError, match="cannot be pickled") as refused:
            pickle.dumps(thing, protocol)
        assert VALUE not in str(refused.value)


def test_json_refuses_it() -> None:
    with pytest.raises(TypeError, match="not JSON serializable") as refused:
        json.dumps({"key": Secret(VALUE)})
    assert VALUE not in str(refused.value)


def test_copies_still_hold_it() -> None:
    secret = Secret(VALUE)
    assert copy.copy(secret).reveal() == VALUE
    assert copy.deepcopy({"a": secret})["a"].reveal() == VALUE


def test_equal_values_are_equal_and_the_hash_tells_nothing() -> None:
    assert Secret(VALUE) == Secret(VALUE)
    assert Secret(VALUE) != Secret(VALUE + "x")
    assert Secret(VALUE) != VALUE
    assert hash(Secret(VALUE)) == hash(Secret("something else"))
    assert len({Secret(VALUE), Secret(VALUE)}) == 1
    assert Secret("ü") == Secret("ü")


@pytest.mark.parametrize("wrong", ["", None, 5, b"bytes"])
def test_only_a_string_with_something_in_it_is_a_secret(wrong: object) -> None:
    with pytest.raises(ValueError, match="not empty"):
        Secret(wrong)  # type: ignore[arg-type]


def test_it_takes_no_other_attribute() -> None:
    with pytest.raises(AttributeError):
        Secret(VALUE).value = "x"  # type: ignore[attr-defined]


class Model(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(arbitrary_types_allowed=True)

    secret: Secret
    number: int = 0


def test_pydantic_neither_prints_nor_serialises_it() -> None:
    model = Model(secret=Secret(VALUE))
    assert VALUE not in repr(model) + str(model) + str(model.model_dump())
    with pytest.raises(pydantic.ValidationError) as refused:
        Model.model_validate({"secret": Secret(VALUE), "number": "many"})
    assert VALUE not in str(refused.value) + str(refused.value.errors()) + repr(refused.value)
    with pytest.raises(pydantic.ValidationError) as refused:
        Model.model_validate({"secret": 5, "number": Secret(VALUE)})
    assert VALUE not in str(refused.value) + str(refused.value.errors())
    with pytest.raises(ValueError, match="serialize"):
        model.model_dump_json()

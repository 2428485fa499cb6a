from __future__ import annotations

import ast
import importlib.util
import io
import json
import logging
import logging.config
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ci_user.logs import LOGGERS, QuietFilter, quiet_botocore, quiet_connections

if TYPE_CHECKING:
    from ci_user.credentials import AwsAccess

SECRET = "wJalrXUtnFEMIqK7MDENGqbPxRfiCYEXAMPLEKEY"


@pytest.fixture
def root_log() -> Iterator[io.StringIO]:
    stream = io.StringIO()
    handler, root = logging.StreamHandler(stream), logging.getLogger()
    before = root.level
    root.addHandler(handler)
    root.setLevel(1)
    yield stream
    root.removeHandler(handler)
    root.setLevel(before)


@pytest.fixture
def without_filters() -> Iterator[None]:
    kept = {name: list(logging.getLogger(name).filters) for name in LOGGERS}
    for name in LOGGERS:
        logging.getLogger(name).filters.clear()
    yield
    for name, filters in kept.items():
        logging.getLogger(name).filters[:] = filters


def use_every_operation_with_a_secret(access: AwsAccess) -> str:
    """Write and read a secret everywhere; return the secret of an access key made on the way."""
    access = access.fenced_by(lambda _: None)
    name = f"logs-{secrets.token_hex(4)}"
    manager, parameters, iam = (access.client(one) for one in ("secretsmanager", "ssm", "iam"))
    manager.create_secret(Name=name, SecretString=SECRET)
    manager.put_secret_value(SecretId=name, SecretString=SECRET, ClientRequestToken=name + 32 * "x")
    manager.get_secret_value(SecretId=name)
    parameters.put_parameter(Name=name, Value=SECRET, Type="SecureString")
    parameters.get_parameter(Name=name, WithDecryption=True)
    iam.create_user(UserName=name)
    made = iam.create_access_key(UserName=name)["AccessKey"]["SecretAccessKey"]
    iam.list_users()
    return str(made)


def test_the_sdk_would_show_secrets_without_the_filter(
    access: AwsAccess, root_log: io.StringIO, without_filters: None
) -> None:
    made = use_every_operation_with_a_secret(access)
    assert SECRET in root_log.getvalue()
    assert made in root_log.getvalue()


def test_no_secret_and_no_session_token_gets_through(
    access: AwsAccess, root_log: io.StringIO, without_filters: None
) -> None:
    quiet_botocore()
    made = use_every_operation_with_a_secret(access)
    text = root_log.getvalue()
    session = access.exports()
    assert SECRET not in text
    assert made not in text
    assert session["AWS_SESSION_TOKEN"] not in text
    assert session["AWS_SECRET_ACCESS_KEY"] not in text
    assert "Making request for PutSecretValue" in text


def test_it_survives_later_logging_set_up(access: AwsAccess, root_log: io.StringIO, without_filters: None) -> None:
    quiet_botocore()
    quiet_botocore()
    late = io.StringIO()
    root = logging.getLogger()
    before = list(root.handlers)
    logging.basicConfig(level=logging.DEBUG, force=True, stream=late)
    own = logging.StreamHandler(late)
    loggers = [logging.getLogger(name) for name in ("botocore", "botocore.parsers", "botocore.endpoint")]
    logging.config.dictConfig(
        {"version": 1, "disable_existing_loggers": False, "loggers": {"botocore.parsers": {"level": "DEBUG"}}}
    )
    try:
        for logger in loggers:
            logger.setLevel(logging.DEBUG)
            logger.addHandler(own)
        made = use_every_operation_with_a_secret(access)
    finally:
        for logger in loggers:
            logger.removeHandler(own)
            logger.setLevel(logging.NOTSET)
        root.handlers[:] = before
    assert "Making request for" in late.getvalue()
    assert SECRET not in late.getvalue()
    assert made not in late.getvalue()
    assert len(logging.getLogger("botocore.parsers").filters) == 1


def test_connections_ignore_http_client_debugging(
    access: AwsAccess, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    import http.client

    quiet_connections()
    monkeypatch.setattr(http.client.HTTPConnection, "debuglevel", 1)
    use_every_operation_with_a_secret(access)
    assert SECRET not in capfd.readouterr().out


def loggers_in(package: str) -> set[str]:
    """Find the names that the modules of an installed package pass to `logging.getLogger`."""
    spec = importlib.util.find_spec(package)
    assert spec is not None
    assert spec.origin is not None
    top = Path(spec.origin).parent
    found = set()
    for path in sorted(top.rglob("*.py")):
        parts = path.relative_to(top).with_suffix("").parts
        if "vendored" in parts or "docs" in parts or "emscripten" in parts:
            continue
        for node in ast.walk(ast.parse(path.read_bytes())):
            if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("getLogger"):
                argument = ast.unparse(node.args[0])
                if argument == "__name__":
                    found.add(".".join((package, *parts)).removesuffix(".__init__"))
                elif argument.startswith("'"):
                    found.add(ast.literal_eval(argument))
    return found


@pytest.mark.parametrize("package", ["botocore", "boto3", "s3transfer", "urllib3", "github"])
def test_every_logger_of_the_installed_sdk_is_named(package: str) -> None:
    found = loggers_in(package)
    assert package in found or package == "s3transfer"
    assert found <= set(LOGGERS)


class OperationModel:
    name = "CreateAccessKey"


def filtered(level: int, message: object, *args: object) -> str | None:
    record = logging.LogRecord("botocore.x", level, __file__, 1, message, args, None)
    record.stack_info = SECRET
    return record.getMessage() if QuietFilter().filter(record) else None


def test_only_constant_text_numbers_and_operations_stay() -> None:
    assert filtered(logging.DEBUG, "sent %s %d %r", OperationModel(), 7, SECRET) == (
        "sent CreateAccessKey 7 '(hidden)'"
    )


@pytest.mark.parametrize(
    ("message", "args"),
    [
        (f"Response body: {SECRET}", ()),
        (json.loads("null"), (SECRET,)),
        ({"body": SECRET}, ()),
        ("%(body)s", ({"body": SECRET},)),
        (Exception(SECRET), ()),
    ],
)
def test_a_record_that_may_hold_anything_is_dropped(message: object, args: tuple[object, ...]) -> None:
    assert filtered(logging.DEBUG, message, *args) is None


def test_warnings_are_left_alone() -> None:
    assert filtered(logging.WARNING, "slow: %s", "eu-west-1") == "slow: eu-west-1"

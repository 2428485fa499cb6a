"""Policy documents: what is read, what parameters can do, how they are written."""

from __future__ import annotations

import json
import os
import re
import string
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ci_user.errors import PolicyError
from ci_user.policy import documents

ROOT = Path(__file__).resolve().parents[3]
ALLOW = {"Effect": "Allow", "Action": "s3:GetObject", "Resource": "*"}


def environment(**changes: Any) -> SimpleNamespace:
    values = {
        "name": "prod",
        "application": "shop",
        "account_id": "123456789012",
        "partition": "aws",
        "region": "eu-west-1",
        "prefix": "shop-prod",
    }
    return SimpleNamespace(**values | changes)


def document(*statements: dict[str, Any]) -> dict[str, Any]:
    return {"Version": "2012-10-17", "Statement": list(statements or (ALLOW,))}


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    (tmp_path / "terraform" / "policies").mkdir(parents=True)
    return tmp_path


def write(repository: Path, content: str | bytes, name: str = "mine") -> Path:
    path = repository / "terraform" / "policies" / f"{name}.json"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def test_the_sample_is_the_recipes_policy() -> None:
    sample = documents.read_policy("sample", ROOT)
    assert documents.size(sample) == 4046
    assert len(sample["Statement"]) == 6


def test_every_file_is_a_policy_and_the_guards_are_none(repository: Path) -> None:
    write(repository, "{}", "b")
    write(repository, "{}", "a")
    (repository / "terraform" / "policies" / "guard").mkdir()
    assert documents.names(repository) == ("a", "b")
    assert "sample" in documents.names(ROOT)
    assert not {"boundary", "role-boundary"} & set(documents.names(ROOT))


@pytest.mark.parametrize("name", ["absent", "../sample", "guard/boundary", "Sample", "${prefix}", ""])
def test_an_unknown_policy_is_refused_with_the_names_that_are_there(name: str) -> None:
    with pytest.raises(PolicyError, match="there is no policy") as error:
        documents.read_policy(name, ROOT)
    assert "sample" in str(error.value)


@pytest.mark.parametrize(
    ("content", "what", "position"),
    [
        ('{\n  "Version": "2012-10-17",\n  "Statement": [}', "no JSON", ":3:17"),
        ("", "no JSON", ":1:1"),
        ("\ufeff{}", "no JSON", ":1:1"),
        ('{"Version": NaN}', "NaN", ""),
        (f'{{"Version": {"9" * 5000}}}', "no JSON", ""),
        (
            '{"Version": "2012-10-17",\n "Statement": [],\n "Statement": []}',
            "'Statement' stands twice",
            ":3:2",
        ),
        (
            '{"Version": "2012-10-17", "Statement": [\n{"Effect": "Deny",\n  "Effect": "Allow"}]}',
            "'Effect' stands twice",
            ":3:3",
        ),
        (b'{\n"Version": "\xff"}', "not UTF-8", ":2"),
        ("{}".encode("utf-16"), "not UTF-8", ":1"),
        ("[" * 25 + "]" * 25, "nested deeper than 20", ""),
        ("[" * 100_000 + "]" * 100_000, "nested deeper than 20", ""),
        (" " * 1_000_001, "larger than 1,000,000 bytes", ""),
        ("[]", "no JSON object", ""),
        ('{"Version": "2008-10-17", "Statement": [{}]}', "'2008-10-17'", ""),
        ('{"Version": "2012-10-17"}', "no list of statements", ""),
        ('{"Version": "2012-10-17", "Statement": []}', "no list of statements", ""),
        ('{"Version": "2012-10-17", "Statement": ["Allow"]}', "no list of statements", ""),
        ('{"Version": "2012-10-17", "Statement": [{"Sid": "\\ud800"}]}', "ud800", ""),
        ('{"Version": "2012-10-17", "Statement": [{"Sid": "\u202e"}]}', "u202e", ""),
    ],
)
def test_a_broken_file_is_refused_with_its_position(
    repository: Path, content: str | bytes, what: str, position: str
) -> None:
    path = write(repository, content)
    with pytest.raises(PolicyError) as error:
        documents.read_policy("mine", repository)
    assert what in error.value.what
    assert error.value.where == f"{path}{position}"
    assert error.value.expected


@pytest.mark.parametrize("kind", ["directory", "pipe"])
def test_what_is_no_file_is_refused_at_once(repository: Path, kind: str) -> None:
    path = repository / "terraform" / "policies" / "mine.json"
    if kind == "pipe":
        os.mkfifo(path)
    else:
        path.mkdir()
    with pytest.raises(PolicyError, match="cannot read"):
        documents.read(path)


def test_parameters_are_filled_in_and_iams_own_variables_stay() -> None:
    rendered = documents.render(
        document(
            {
                **ALLOW,
                "Resource": ["arn:${partition}:s3:::${prefix}-*", "arn:aws:s3:::x/${aws:username}/${*}"],
                "Condition": {"StringEquals": {"aws:ResourceAccount": "${account_id}"}},
            }
        ),
        documents.parameters(environment()),
    )
    (statement,) = rendered["Statement"]
    assert statement["Resource"] == ["arn:aws:s3:::shop-prod-*", "arn:aws:s3:::x/${aws:username}/${*}"]
    assert statement["Condition"] == {"StringEquals": {"aws:ResourceAccount": "123456789012"}}


def test_rendering_leaves_the_document_as_it_was() -> None:
    before = document({**ALLOW, "Resource": ["${list}", "${prefix}"]})
    copy = json.loads(json.dumps(before))
    documents.render(before, {"prefix": "p", "list": ["arn:aws:s3:::b"]})
    assert before == copy


@pytest.mark.parametrize(
    "text", ["${unknown}", "${prefix", "${Prefix}", "${ prefix }", "${}", "${${prefix}}", "a${", "${list}"]
)
def test_what_is_no_parameter_is_refused(text: str) -> None:
    with pytest.raises(PolicyError) as error:
        documents.render(document({**ALLOW, "Sid": "Mine", "Resource": text}), {"prefix": "p", "list": []})
    assert error.value.where is not None
    assert "statement Mine" in error.value.where


def test_a_parameter_in_a_key_is_refused() -> None:
    with pytest.raises(PolicyError, match="the key"):
        documents.render(
            document({**ALLOW, "Condition": {"StringEquals": {"aws:ResourceTag/${prefix}": "x"}}}),
            {"prefix": "p"},
        )


@given(st.text())
def test_a_value_is_refused_or_stays_one_string(value: str) -> None:
    template = document({**ALLOW, "Resource": ["arn:aws:s3:::${prefix}-x"]})
    try:
        rendered = documents.render(template, {"prefix": value})
    except PolicyError:
        return
    again = json.loads(documents.canonical(rendered))
    assert again == document({**ALLOW, "Resource": [f"arn:aws:s3:::{value}-x"]})
    assert not set(value) & set("*?${}\"'\\/: \n")


# Besides any text, what an attacker would try.
HOSTILE = st.text() | st.sampled_from(
    [
        '","Resource":"*',
        '"},{"Effect":"Allow","Action":"*","Resource":"*"},{"Sid":"',
        "${prefix}",
        "${aws:username}",
        "*",
        "a*",
        "a?b",
        "a\\",
        "\\u0022",
        "a\nb",
        "arn:aws:s3:::*",
        "\u202e",
        "\x00",
    ]
)
TEXTS = st.lists(
    st.sampled_from(["a", "arn:aws:s3:::", "-", "/*", ":", "${prefix}", "${region}", "${aws:username}"]),
    min_size=1,
    max_size=5,
).map("".join)
VALUES = st.recursive(
    TEXTS | st.booleans() | st.integers(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=6,
)
STATEMENTS = st.fixed_dictionaries(
    {"Effect": st.sampled_from(["Allow", "Deny"]), "Action": st.lists(TEXTS, min_size=1, max_size=3)},
    optional={"Resource": st.lists(TEXTS, min_size=1, max_size=3, unique=True), "Condition": VALUES},
)


def shape(value: Any) -> Any:
    """Return what a document is made of, without its texts."""
    if isinstance(value, dict):
        return {key: shape(item) for key, item in value.items()}
    if isinstance(value, list):
        return [shape(item) for item in value]
    return "text" if isinstance(value, str) else value


LEGAL = string.ascii_letters + string.digits + "_+=,.@-"


@given(st.lists(STATEMENTS, min_size=1, max_size=4), st.text(LEGAL, min_size=1) | HOSTILE)
def test_no_value_changes_the_structure_of_a_document(statements: list[dict[str, Any]], value: str) -> None:
    template = document(*statements)
    parameters = {"prefix": value, "region": "eu-west-1"}
    if not 1 <= len(value) <= 256 or set(value) - set(LEGAL):
        with pytest.raises(PolicyError, match="cannot stand in a policy"):
            documents.render(template, parameters)
        return
    again = json.loads(documents.canonical(documents.render(template, parameters)))
    assert shape(again) == shape(template)
    # What a value brings is no wildcard and no variable: there are as many of both as before.
    before, after = json.dumps(template), json.dumps(again)
    assert [after.count(mark) for mark in "*?\\"] == [before.count(mark) for mark in "*?\\"]
    assert after.count("${") == before.count("${aws:username}")


@given(st.lists(st.text(LEGAL + ":/", min_size=1).map("arn:aws:s3:::{}".format) | HOSTILE, max_size=4))
def test_a_list_adds_resources_where_it_stands_and_nothing_else(arns: list[str]) -> None:
    deny = {"Effect": "Deny", "Action": "s3:*"}
    template = document({**ALLOW, "Resource": ["arn:aws:s3:::a", "${list}"]}, {**deny, "Resource": ["${list}"]}, ALLOW)
    if not all(re.fullmatch(r"arn:aws:s3:::[A-Za-z0-9_+=,.@:/-]+\*?", arn) for arn in arns):
        with pytest.raises(PolicyError, match="cannot stand in a policy"):
            documents.render(template, {"list": arns})
        return
    rendered = json.loads(documents.canonical(documents.render(template, {"list": arns})))
    once = list(dict.fromkeys(arns))
    first = {**ALLOW, "Resource": list(dict.fromkeys(["arn:aws:s3:::a", *arns]))}
    second = [{**deny, "Resource": once}] if arns else []
    assert rendered == document(first, *second, ALLOW)


@pytest.mark.parametrize(
    "item",
    [
        "*",
        "arn:aws:s3:::*",
        "arn:aws:s3:::a*b",
        "arn:*:s3:::b",
        'arn:aws:s3:::b","x',
        "arn:aws:s3:::${prefix}",
        "arn:aws:s3:::b\n",
        "",
    ],
)
def test_a_list_holds_arns_and_nothing_wider(item: str) -> None:
    with pytest.raises(PolicyError, match="cannot stand in a policy"):
        documents.render(document({**ALLOW, "Resource": ["${list}"]}), {"list": [item]})


def test_a_list_takes_the_place_of_its_item_and_an_empty_one_drops_the_statement() -> None:
    template = document({**ALLOW, "Resource": ["arn:aws:s3:::a", "${list}"]}, {**ALLOW, "Resource": ["${list}"]})
    filled = documents.render(template, {"list": ["arn:aws:s3:::b", "arn:aws:s3:::b/*", "arn:aws:s3:::a"]})
    assert [one["Resource"] for one in filled["Statement"]] == [
        ["arn:aws:s3:::a", "arn:aws:s3:::b", "arn:aws:s3:::b/*"],
        ["arn:aws:s3:::b", "arn:aws:s3:::b/*", "arn:aws:s3:::a"],
    ]
    empty = documents.render(template, {"list": []})
    assert [one["Resource"] for one in empty["Statement"]] == [["arn:aws:s3:::a"]]


@pytest.mark.parametrize("key", ["NotResource", "Action"])
def test_a_list_stands_in_resource_only(key: str) -> None:
    with pytest.raises(PolicyError, match="is a list"):
        documents.render(document({"Effect": "Deny", key: ["${list}"]}), {"list": []})


def test_canonical_json_is_compact_and_does_not_depend_on_the_order_of_keys() -> None:
    one = {"Statement": [{"Resource": "*", "Action": "a:b", "Effect": "Allow"}], "Version": "2012-10-17"}
    other = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "a:b", "Resource": "*"}]}
    expected = '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"a:b","Resource":"*"}]}'
    assert documents.canonical(one) == documents.canonical(other) == expected


def test_the_order_of_a_list_is_kept() -> None:
    swapped = document({**ALLOW, "Action": ["s3:PutObject", "s3:GetObject"]})
    assert json.loads(documents.canonical(swapped)) == swapped


def test_white_space_does_not_count() -> None:
    assert documents.size('{ "a":\n\t"b c" }') == len('{"a":"bc"}')


def test_the_digest_follows_content_and_names_but_not_order() -> None:
    assert documents.digest({"a": "1", "b": "2"}) == documents.digest({"b": "2", "a": "1"})
    assert len({documents.digest(d) for d in ({"a": "1"}, {"a": "2"}, {"b": "1"}, {})}) == 4


def test_a_list_in_a_condition_adds_its_values_beside_the_others_and_never_leaves_none() -> None:
    values = {"mine": ["arn:aws:iam::aws:policy/a", "arn:aws:iam::aws:policy/b"], "none": []}

    def tested(*given: str) -> Any:
        statement = {**ALLOW, "Condition": {"ArnLike": {"iam:PolicyARN": list(given)}}}
        return documents.render(document(statement), values)["Statement"][0]["Condition"]["ArnLike"]["iam:PolicyARN"]

    assert tested("arn:aws:iam::aws:policy/x", "${mine}", "${none}") == ["arn:aws:iam::aws:policy/x", *values["mine"]]
    with pytest.raises(PolicyError, match="left without values"):
        tested("${none}")
    with pytest.raises(PolicyError, match="is a list"):
        tested("x${mine}")

from __future__ import annotations

import os
import time
from datetime import date
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ci_user import environment_yaml
from ci_user.environment_files import load, load_all, load_alone, load_each, names
from ci_user.environment_template import template
from ci_user.errors import EnvironmentFileError, UsageError

TODAY = date(2026, 11, 24)
GOOD = """\
version: 1
application: shop
account_id: "111111111111"
region: eu-west-1
policies: [sample]
state:
  bucket: states
secrets:
  - backend: aws-secrets-manager
    name: ci/key
tags:
  team: platform
accepted_findings:
  - check: CKV_AWS_273
    resource: module.ci_user.aws_iam_user.this
    reason: no OIDC in this CI system
    owner: platform
    expires: 2027-01-31
"""


def write(root: Path, name: str, content: str | bytes = GOOD) -> Path:
    path = root / "environments" / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def failure(root: Path) -> str:
    with pytest.raises(EnvironmentFileError) as caught:
        load_all(root, today=TODAY)
    return str(caught.value)


def test_a_good_file_loads(tmp_path: Path) -> None:
    write(tmp_path, "testing.yaml")
    one = load("testing", tmp_path, today=TODAY)
    assert (one.name, one.root, one.prefix) == ("testing", tmp_path, "shop-testing")
    assert one.accepted_findings[0].expires == date(2027, 1, 31)
    assert one.file == tmp_path / "environments" / "testing.yaml"


@pytest.mark.parametrize("change", [("\n", "\r\n"), ("version", "\ufeffversion"), ("version", "---\nversion")])
def test_line_ends_byte_order_mark_and_document_start_do_not_matter(tmp_path: Path, change: tuple[str, str]) -> None:
    write(tmp_path, "testing.yaml", GOOD.replace(*change))
    assert load("testing", tmp_path, today=TODAY).application == "shop"


BAD = [
    ("version: 1", "version: 2", 1, "version", "written for a newer version of this tool"),
    ("version: 1", "version: '1'", 1, "version", 'found "1"; expected a whole number'),
    ("version: 1", "version: 0", 1, "version", "found 0; expected at least 1"),
    ("version: 1\n", "", 1, "version", "missing; expected the version"),
    ("version: 1", "version: 1\nversion: 1", 2, "version", "found twice, first on line 1"),
    ("application: shop", "application: Shop", 2, "application", 'found "Shop"; expected lower case'),
    ("application: shop", "application: 12", 2, "application", "found 12; expected text in quotes"),
    ("application: shop", "aplication: shop", 2, "aplication", 'unknown key; did you mean "application"?'),
    ("application: shop", "application: shop\nname: x", 3, "name", "its file's name"),
    ("application: shop", "application: shop\nroot: /", 3, "root", "unknown key"),
    ('"111111111111"', "012345678901", 3, "account_id", "found 012345678901; expected 12 digits in quotes"),
    ('"111111111111"', '"11111111111"', 3, "account_id", 'found "11111111111"; expected 12 digits'),
    ('"111111111111"', '"11111111111\u0661"', 3, "account_id", "expected 12 digits"),
    ('"111111111111"', '"AKIAAAAAAAAAAAAAAAAA"', 3, "account_id", "looks like an access key id"),
    ("eu-west-1", "eu-wset-1", 4, "region", 'found "eu-wset-1"; expected a region such as'),
    ("eu-west-1", "cn-north-1", 4, "region", "expected a region of partition aws"),
    ("eu-west-1", "no", 4, "region", 'found "no"; expected a region'),
    ("eu-west-1", "eu-west-1\nprotected: yes", 5, "protected", 'found "yes"; expected true or false'),
    ("eu-west-1", "eu-west-1\nprotected: 1", 5, "protected", "found 1; expected true or false"),
    ("eu-west-1", "eu-west-1\ntimeout: 1:30", 5, "timeout", 'found "1:30"; expected a time span'),
    ("eu-west-1", "eu-west-1\ntimeout: 90", 5, "timeout", "found 90; expected a time span"),
    ("eu-west-1", "eu-west-1\npartition: azure", 5, "partition", "expected 'aws', 'aws-us-gov' or 'aws-cn'"),
    ("[sample]", "sample", 5, "policies", 'found "sample"; expected a list'),
    ("[sample]", "[]", 5, "policies", "found an empty list; expected at least 1"),
    ("[sample]", "[sample, ../x]", 5, "policies[1]", 'found "../x"; expected the name of a policy'),
    ("[sample]", "[{fiel: a.json}]", 5, "policies[0]", "found keys with values; expected the name of a policy"),
    ("[sample]", "[{file: a.json, nmae: b}]", 5, "policies[0].nmae", 'unknown key; did you mean "name"?'),
    (
        "[sample]",
        "\n  - sample\n  - file: ../a.json",
        7,
        "policies[1].file",
        'found "../a.json"; expected a path inside',
    ),
    ("[sample]", "\n  - arn: x", 6, "policies[0].arn", 'found "x"; expected the ARN of a managed policy'),
    ("[sample]", "[sample, [a]]", 5, "policies[1]", "found a list; expected the name of a policy"),
    (
        "[sample]",
        "[sample, {file: sample.json}]",
        5,
        "policies[1]",
        "a name: of its own, since policies[0] is called so",
    ),
    ("[sample]", "[sample, 3]", 5, "policies[1]", "found 3; expected text in quotes"),
    ("[sample]", "[sample, sample]", 5, "policies[1]", "expected each policy once"),
    ("state:\n  bucket: states", "state: states", 6, "state", 'found "states"; expected keys with values'),
    (
        "policies: [sample]",
        "policies: [sample]\nrotation: {rotate_after: 1d}",
        *(
            6,
            "rotation.rotate_after",
            'found "1d"; expected at least grace (or margin, if that is longer) and soak together',
        ),
    ),
    (
        "policies: [sample]",
        "policies: [sample]\nrotation:\n  grace: 5d\n  expire_after: 4d",
        *(8, "rotation.expire_after", 'found "4d"; expected at least the grace'),
    ),
    ("policies: [sample]", "policies: [sample]\nrotation: {graze: 1h}", 6, "rotation.graze", 'did you mean "grace"?'),
    ("policies: [sample]", "policies: [sample]\naudit: {file: /x}", 6, "audit.file", "a path inside the repository"),
    ("bucket: states", "bucket: St", 7, "state.bucket", "expected a bucket name"),
    ("bucket: states", "bukket: states", 7, "state.bukket", 'did you mean "bucket"?'),
    ("bucket: states", "bukket: states", 6, "state.bucket", "missing; expected the S3 bucket"),
    ("bucket: states", "bucket: states\n  key: a/../b", 8, "state.key", "FOLDER/NAME.tfstate"),
    ("bucket: states", "bucket: states\n  bucket: states", 8, "state.bucket", "found twice, first on line 7"),
    (
        "aws-secrets-manager",
        "aws-secret-manager",
        9,
        "secrets[0].backend",
        "expected one of age, aws-secrets-manager, aws-ssm",
    ),
    ("aws-secrets-manager", "3", 9, "secrets[0].backend", "found 3; expected one of"),
    ("name: ci/key", "nam: ci/key", 10, "secrets[0].nam", 'did you mean "name"?'),
    ("name: ci/key", "name: ${env}", 10, "secrets[0].name", "no template syntax (${)"),
    ("name: ci/key", "name: 'x%{if}'", 10, "secrets[0].name", "no template syntax (%{)"),
    ("name: ci/key", "name: '{{ env }}'", 10, "secrets[0].name", "no template syntax ({{)"),
    (
        "name: ci/key",
        "name: ci/key\n    kms_key: arn:aws:kms:us-east-1:111111111111:key/mrk-" + "0" * 32,
        *(11, "secrets[0].kms_key", "expected a key in the secret's region eu-west-1"),
    ),
    ("name: ci/key", "name: ci/key\n    kms_key: alias/x", 11, "secrets[0].kms_key", "the ARN of a KMS key"),
    ("platform\nacc", "3\nacc", 12, "tags.team", "found 3; expected text in quotes"),
    ("team: platform", "aws:team: platform", 12, 'tags["aws:team"]', "AWS's own"),
    ("team: platform", "3: platform", 12, "tags", 'found the key "3"; expected text, so put it in quotes'),
    ("team: platform", "? " * 60 + "a", 12, "", "nested deeper than 16"),
    ("team: platform", "? &x a\n  : {${y}: *z}", 12, "tags", "in a key: found a YAML anchor"),
    ("team: platform", "? [a]\n  : b", 12, "tags", "a list or mapping as a key"),
    ("team: platform", "&a team: platform", 12, "tags", "anchor"),
    ("team: platform", "team: &a platform", 12, "tags.team", "found a YAML anchor"),
    ("team: platform", "team: &a x\n  y: *a", 13, "tags.y", "found a YAML alias"),
    ("team: platform", "<<: {team: platform}", 12, "tags", "merge key"),
    ("team: platform", "team: !!python/object:os.system x", 12, "tags.team", "found a YAML tag"),
    ("team: platform", 'team: "a\\x1b[31m"', 12, "tags.team", "control character U+001B"),
    ("team: platform", "team: a\x1b", 12, "", "control character U+001B"),
    ("team: platform", "team: a\u202eb", 12, "", "control character U+202E"),
    ("team: platform", "\tteam: platform", 12, "", "found a tab; expected spaces"),
    ("team: platform", "team: [a", 13, "", "not YAML: "),
    ("team: platform", "team: " + "[" * 40 + "]" * 40, 12, "", "nested deeper than 16"),
    ("    owner: platform\n", "", 14, "accepted_findings[0].owner", "missing; expected who answers for it"),
    ("2027-01-31", "2030-01-01", 18, "accepted_findings[0].expires", "2027-11-24 at the latest"),
    ("2027-01-31", "never", 18, "accepted_findings[0].expires", "never is for sandboxes only"),
    ("2027-01-31", "2027-02-30", 18, "accepted_findings[0].expires", "expected a date such as"),
    ("2027-01-31\n", "2027-01-31\n---\nversion: 1\n", 19, "", "a second document"),
    ("2027-01-31\n", "2027-01-31\n  - 3\n", 19, "accepted_findings[1]", "found 3; expected keys with values"),
]


@pytest.mark.parametrize(("old", "new", "line", "key", "text"), BAD)
def test_a_bad_file_is_told_with_file_line_key_and_what_is_expected(
    tmp_path: Path, old: str, new: str, line: int, key: str, text: str
) -> None:
    assert old in GOOD
    write(tmp_path, "testing.yaml", GOOD.replace(old, new, 1))
    where = f"environments/testing.yaml:{line}: {key}: " if key else f"environments/testing.yaml:{line}: "
    message = failure(tmp_path)
    assert [at for at in message.splitlines() if at.strip().startswith(where) and text in at], message
    assert "pydantic" not in message
    assert "Input should" not in message
    assert message.isprintable() or not any(c in message for c in "\x1b\u202e\t")


@pytest.mark.parametrize(
    ("content", "line", "text"),
    [
        (b"", 1, "the file is empty"),
        (b"# nothing\n", 1, "the file is empty"),
        (b"just text", 1, "expected keys with values"),
        (b"- a\n- b\n", 1, "expected keys with values"),
        (b"null", 1, "expected keys with values"),
        (b"version: 1\n\xff\xfe: 2\n", 2, "found byte 0xff; expected text in UTF-8"),
        (GOOD.encode("utf-16"), 1, "expected text in UTF-8"),
        (b"a" * 1_000_001, 1, "more than 1000000 bytes"),
        (b"version: 1\n\0\n", 2, "control character U+0000"),
        (b"a: [" + b"1," * 400_000 + b"]", 1, "more than 10000 values"),
        (b"a: 1\n" * 100_000, 2, "a: found twice, first on line 1"),
        (b"? " * 400_000, 1, "nested deeper than 16"),
        (b"\x01\n" * 400_000, 1, "control character U+0001"),
        (b"a: *nothing\n", 1, "alias"),
        (b"%YAML 9.9\n---\na: b\n", 1, "not YAML"),
        (b"version: " + b"9" * 5000, 1, "expected a whole number"),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_what_is_no_environment_at_all_is_told_with_its_line(
    tmp_path: Path, content: bytes, line: int, text: str
) -> None:
    write(tmp_path, "testing.yaml", content)
    message = failure(tmp_path)
    assert f"environments/testing.yaml:{line}: " in message
    assert text in message


def test_without_the_c_library_the_same_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, "testing.yaml", GOOD.replace("team: platform", "team: &a x\n  team: *a\n  <<: {}"))
    said = failure(tmp_path)
    monkeypatch.setattr(environment_yaml, "_LOADER", yaml.SafeLoader)
    assert failure(tmp_path) == said


def test_every_problem_of_every_file_comes_at_once(tmp_path: Path) -> None:
    write(tmp_path, "testing.yaml", GOOD.replace("shop", "Shop").replace("states", "St").replace("2027", "2077"))
    write(tmp_path, "staging.yaml", GOOD.replace("region: ", "regin: "))
    message = failure(tmp_path)
    assert message.startswith("5 problems in environments/:")
    for where in (
        "staging.yaml:4: regin",
        "staging.yaml:1: region",
        "testing.yaml:2",
        "testing.yaml:7",
        "testing.yaml:18",
    ):
        assert f"environments/{where}" in message


def test_a_flood_of_problems_is_cut(tmp_path: Path) -> None:
    write(tmp_path, "testing.yaml", GOOD + "".join(f"key{i}: 1\n" for i in range(500)))
    message = failure(tmp_path)
    assert "and 450 more" in message
    assert len(message.splitlines()) < 60


def test_a_secret_looking_value_is_not_repeated(tmp_path: Path) -> None:
    write(tmp_path, "testing.yaml", GOOD.replace("platform", "AKIAABCDEFGHIJKLMNOP", 1))
    assert "AKIA" not in failure(tmp_path)


def test_a_broken_sibling_is_an_error_that_names_it(tmp_path: Path) -> None:
    write(tmp_path, "testing.yaml")
    write(tmp_path, "staging.yaml", "version: x\n")
    with pytest.raises(EnvironmentFileError, match=r"environments/staging\.yaml:1: version"):
        load("testing", tmp_path, today=TODAY)


def test_a_sibling_that_is_not_filled_in_yet_keeps_nobody_from_working(tmp_path: Path) -> None:
    write(tmp_path, "testing.yaml")
    write(tmp_path, "staging.yaml", template("staging", today=TODAY))
    assert list(load_all(tmp_path, today=TODAY)) == ["testing"]
    assert load("testing", tmp_path, today=TODAY).name == "testing"
    with pytest.raises(EnvironmentFileError, match=r"staging\.yaml.*account_id"):
        load("staging", tmp_path, today=TODAY)


def test_of_many_a_broken_file_stops_itself_only(tmp_path: Path) -> None:
    write(tmp_path, "testing.yaml")
    write(tmp_path, "broken.yaml", "version: 1\n")
    write(tmp_path, "unfilled.yaml", template("unfilled"))
    write(tmp_path, "odd.yml")
    good, broken = load_each(tmp_path, today=TODAY)
    assert list(good) == ["testing"]
    assert sorted(broken) == ["broken", "odd"]
    assert "environments/broken.yaml:1: account_id: missing" in str(broken["broken"])


def test_environments_that_collide_stop_all_of_them(tmp_path: Path) -> None:
    write(tmp_path, "testing.yaml")
    write(tmp_path, "other.yaml", GOOD)
    with pytest.raises(EnvironmentFileError, match="delivers to"):
        load_each(tmp_path, today=TODAY)


def test_one_alone_is_read_whatever_the_others_are_like(tmp_path: Path) -> None:
    write(tmp_path, "testing.yaml")
    write(tmp_path, "broken.yaml", "version: 1\n")
    assert load_alone("testing", tmp_path, today=TODAY).name == "testing"
    with pytest.raises(EnvironmentFileError, match=r"broken\.yaml"):
        load_alone("broken", tmp_path, today=TODAY)
    with pytest.raises(UsageError, match="no environment"):
        load_alone("nowhere", tmp_path, today=TODAY)


def test_files_that_collide_are_both_named(tmp_path: Path) -> None:
    write(tmp_path, "testing.yaml")
    write(tmp_path, "testing-eu.yaml")
    message = failure(tmp_path)
    assert "environments/testing-eu.yaml: the prefix shop-testing-eu" in message
    assert "of environments/testing.yaml" in message


@pytest.mark.parametrize(
    "name", ["Prod.yaml", "a_b.yaml", "x" * 30 + ".yaml", "a b.yaml", "testing.yml", "\x1b[31m.yaml"]
)
def test_a_file_with_a_name_that_no_environment_has_is_not_passed_over(tmp_path: Path, name: str) -> None:
    write(tmp_path, name)
    message = failure(tmp_path)
    assert "name" in message
    assert "\x1b" not in message


def test_what_is_no_plain_file_is_refused_and_never_waited_for(tmp_path: Path) -> None:
    target = write(tmp_path, "testing.yaml")
    (target.parent / "linked.yaml").symlink_to(target)
    (target.parent / "folder.yaml").mkdir()
    os.mkfifo(target.parent / "pipe.yaml")
    message = failure(tmp_path)
    assert "environments/linked.yaml:1: a symbolic link" in message
    assert "environments/folder.yaml:1: " in message
    assert "environments/pipe.yaml:1: not a regular file" in message


def test_an_expired_acceptance_loads(tmp_path: Path) -> None:
    write(tmp_path, "testing.yaml")
    assert load("testing", tmp_path, today=date(2035, 1, 1)).accepted_findings[0].expired(date(2035, 1, 1))


@pytest.mark.parametrize("name", ["../x", "a/b", "", "Prod", "${x}", "x" * 1000, "a\nb", "testing.yaml", "-", "a--b"])
def test_a_flag_that_is_no_name_says_which_there_are(tmp_path: Path, name: str) -> None:
    write(tmp_path, "testing.yaml")
    with pytest.raises(UsageError, match="there are: testing") as caught:
        load(name, tmp_path, today=TODAY)
    assert len(str(caught.value)) < 400


def test_an_unknown_environment_is_told_with_the_nearest_one(tmp_path: Path) -> None:
    write(tmp_path, "testing.yaml")
    with pytest.raises(UsageError, match="did you mean testing"):
        load("testin", tmp_path, today=TODAY)
    with pytest.raises(UsageError, match="invoke new --env prod"):
        load("prod", tmp_path, today=TODAY)


def test_without_any_file_there_is_no_environment(tmp_path: Path) -> None:
    assert names(tmp_path) == ()
    with pytest.raises(UsageError, match="none yet"):
        load("testing", tmp_path, today=TODAY)


def test_a_folder_that_is_a_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "environments").write_text("")
    with pytest.raises(EnvironmentFileError, match="cannot be read"):
        names(tmp_path)


FRAGMENTS = st.lists(
    st.sampled_from(
        [
            *GOOD.splitlines(),
            "  ",
            "- ",
            "? ",
            ": ",
            "&a ",
            "*a",
            "!!x ",
            "---",
            "{",
            "[",
            "'",
            '"',
            "|",
            "<<: ",
        ]
    ),
    max_size=30,
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.one_of(
        st.binary(max_size=200),
        st.text(max_size=200).map(str.encode),
        FRAGMENTS.map(lambda f: "\n".join(f).encode()),
    )
)
def test_garbage_is_never_worse_than_an_error_with_its_file(tmp_path: Path, content: bytes) -> None:
    write(tmp_path, "testing.yaml", content)
    if GOOD.encode() != content:
        message = failure(tmp_path)
        assert "environments/testing.yaml:" in message
        assert message.replace("\n", "").isprintable()


def test_hundreds_of_files_are_read_and_compared_in_seconds(tmp_path: Path) -> None:
    for number in range(300):
        write(tmp_path, f"e{number}.yaml", GOOD.replace("ci/key", f"ci/{number}"))
    started = time.process_time()
    assert len(load_all(tmp_path, today=TODAY)) == 300
    assert time.process_time() - started < 3

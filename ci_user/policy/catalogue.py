"""What IAM's actions are, which resources they work on and which condition keys they know: AWS's reference, as data.

The data is ``data/catalogue.bin``, dated and made by ``catalogue_build.py``; ``docs/catalogue.md`` says how to renew it and
what it does not know. A service is unpacked when it is first asked for.
https://docs.aws.amazon.com/service-authorization/latest/reference/reference.html
"""

from __future__ import annotations

import datetime as dt
import fnmatch
import functools
import json
import re
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from ci_user.errors import PolicyError

FILE: Final = Path(__file__).resolve().parent / "data" / "catalogue.bin"
SCHEMA: Final = 1

# Global keys that an action knows only when the reference lists them with it: they say something about its own request.
_TAG_KEYS: Final = ("aws:requesttag/", "aws:resourcetag/", "aws:tagkeys")
_REFERENCE: Final = "https://docs.aws.amazon.com/service-authorization/latest/reference/"
_LISTED: Final = "reference_policies_actions-resources-contextkeys.html"
_PLACEHOLDER: Final = re.compile(r"\$\{[^}]*\}")


@dataclass(frozen=True)
class CatalogueDate:
    """Where the catalogue comes from.

    Args:
        source: The package that AWS's reference was taken from.
        version: Its version.
        date: The day on which it was published; the reference is no younger.
    """

    source: str
    version: str
    date: dt.date


@dataclass(frozen=True)
class Action:
    """One action of a service.

    Args:
        service: The prefix: ``s3``.
        name: As AWS writes it: ``GetObject``.
        access_level: ``List``, ``Read``, ``Write``, ``Tagging`` or ``Permissions management``.
        resource_types: What it can be limited to; empty when only ``*`` fits.
        required_resource_types: Those that every statement must name.
        condition_keys: Every key that the action or one of its resource types knows, in lower case; a name that the
            policy chooses stands as ``${tagkey}``. Without the global keys, which all actions know.
        dependent_actions: What the caller needs besides, at least in some cases: ``iam:PassRole``.
    """

    service: str
    name: str
    access_level: str
    resource_types: tuple[str, ...]
    required_resource_types: tuple[str, ...]
    condition_keys: frozenset[str]
    dependent_actions: tuple[str, ...]

    @property
    def full(self) -> str:
        """Return the name as policies write it, ``s3:GetObject``."""
        return f"{self.service}:{self.name}"


@dataclass(frozen=True)
class _Service:
    page: str
    keys: tuple[str, ...]
    key_types: Mapping[str, str | None]
    arns: Mapping[str, tuple[str, ...]]
    resource_keys: Mapping[str, frozenset[str]]
    own_keys: Mapping[str, Mapping[str, frozenset[str]]]
    actions: Mapping[str, Action]


def dated() -> CatalogueDate:
    """Return the catalogue's source and day."""
    head = _head()
    return CatalogueDate(head["source"], head["version"], dt.date.fromisoformat(head["date"]))


@functools.cache
def services() -> tuple[str, ...]:
    """Return the prefix of every service, sorted."""
    return tuple(_head()["services"])


def actions(service: str) -> tuple[Action, ...]:
    """Return a service's actions by name; none when there is no such service."""
    found = _service(service.lower())
    return () if found is None else tuple(found.actions.values())


@functools.lru_cache(maxsize=8_192)
def action(name: str) -> Action | None:
    """Return an action by its full name in any case, ``S3:getobject``; None when there is none."""
    service, _, short = name.lower().partition(":")
    found = _service(service)
    return None if found is None else found.actions.get(short)


@functools.lru_cache(maxsize=4_096)
def expand(pattern: str) -> tuple[Action, ...]:
    """Return the actions that a pattern names, in any case: ``s3:Get*``, ``s?:*``, ``*``.

    Sorted by service and name; none for a pattern without a colon, but for ``*``.
    """
    service, colon, name = pattern.lower().partition(":")
    if not colon:
        return expand("*:*") if service and not service.strip("*") else ()
    named = tuple(one for one in services() if _matches(service, one)) if _wild(service) else (service,)
    if not _wild(name):
        return tuple(found for one in named if (found := action(f"{one}:{name}")) is not None)
    return tuple(found for one in named for found in actions(one) if _matches(name, found.name.lower()))


@functools.lru_cache(maxsize=4_096)
def arn_patterns(service: str, resource_type: str) -> tuple[str, ...]:
    """Return the ARNs of a resource type with ``*`` for what differs; none when there is no such type.

    >>> arn_patterns("lambda", "function")
    ('arn:*:lambda:*:*:function:*',)
    """
    found = _service(service.lower())
    return () if found is None else found.arns.get(resource_type, ())


def vendors(name: str) -> tuple[str, ...]:
    """Return the services that have resource types whose ARNs name a service so: ``arn:aws:NAME:...``.

    >>> vendors("catalog")
    ('servicecatalog',)
    """
    other = _head()["vendors"].get(name)
    if other is not None:
        return tuple(other)
    return (name,) if name in services() else ()


def resource_types(service: str) -> tuple[str, ...]:
    """Return a service's resource types; none when there is no such service."""
    found = _service(service.lower())
    return () if found is None else tuple(found.arns)


def resource_keys(service: str, resource_type: str) -> frozenset[str]:
    """Return the condition keys that resources of a type know, in lower case."""
    found = _service(service.lower())
    return frozenset() if found is None else found.resource_keys.get(resource_type, frozenset())


def keys_on(action_name: str, resource_type: str | None) -> frozenset[str]:
    """Return the keys of an action on one of its resource types, as the reference's row has them; None for on any."""
    service, _, name = action_name.lower().partition(":")
    found = _service(service)
    return frozenset() if found is None else found.own_keys.get(name, {}).get(resource_type or "", frozenset())


@functools.lru_cache(maxsize=16_384)
def knows_key(action_name: str, key: str) -> bool:
    """Tell whether the reference lists a condition key for an action, or for all actions.

    The global keys count as known to all, but for those of tags, which an action knows when it is listed with them. False
    means that the reference does not list it: it has been wrong before.

    Args:
        action_name: ``iam:CreateRole``, in any case.
        key: ``iam:PermissionsBoundary`` or ``aws:RequestTag/team``, in any case.
    """
    key = key.lower()
    if not key.startswith(_TAG_KEYS) and is_global(key):
        return True
    found = action(action_name)
    return found is not None and _lookup(found.condition_keys, key) is not None


def is_global(key: str) -> bool:
    """Tell whether a key is one of AWS's global condition keys.

    https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-keys.html
    """
    return _lookup(_global_keys(), key.lower()) is not None


def always_there(key: str) -> bool:
    """Tell whether every signed request has a global key, so that a test of it never meets an absent one."""
    return key.lower() in _always()


@functools.lru_cache(maxsize=4_096)
def key_type(service: str, key: str) -> str | None:
    """Return what a condition key's values are; None when the catalogue does not know the key.

    ``String``, ``Bool``, ``Numeric``, ``Date``, ``ARN`` or ``IPAddress``, each of them also as ``ArrayOf...``.

    Args:
        service: Whose actions the statement is about; the global keys belong to each.
        key: In any case.
    """
    key = key.lower()
    found = _service(service.lower())
    tables: list[Mapping[str, str | None]] = [_global_keys()] if found is None else [found.key_types, _global_keys()]
    for table in tables:
        name = _lookup(table, key)
        if name is not None:
            return table[name]
    return None


def service_keys(service: str) -> tuple[str, ...]:
    """Return the condition keys of a service as AWS writes them, sorted."""
    found = _service(service.lower())
    return () if found is None else found.keys


def global_keys() -> tuple[str, ...]:
    """Return the global condition keys as AWS writes them, sorted."""
    return tuple(_head()["global_keys"])


def page(service: str) -> str:
    """Return the address of a service's page in AWS's reference; that of the list when there is no such service."""
    found = _service(service.lower())
    return _REFERENCE + (_LISTED if found is None else found.page)


def _lookup(table: Iterable[str], key: str) -> str | None:
    """Return the entry that a key in lower case is, ``aws:requesttag/${tagkey}`` for ``aws:requesttag/team``."""
    if "${" not in key and key in table:
        return key
    for name in table:
        if "${" in name:
            start, _, rest = name.partition("${")
            end = rest.partition("}")[2]
            if len(key) > len(start) + len(end) and key.startswith(start) and key.endswith(end):
                return name
    return None


def _wild(text: str) -> bool:
    return "*" in text or "?" in text


def _matches(pattern: str, text: str) -> bool:
    return fnmatch.fnmatchcase(text, pattern.replace("[", "[[]"))


@functools.cache
def _head() -> Mapping[str, Any]:
    with FILE.open("rb") as file:
        head = json.loads(file.readline())
        start = file.tell()
    if head["schema"] != SCHEMA:
        raise PolicyError(
            f"the catalogue of actions has the shape {head['schema']}", where=str(FILE), do="run `make catalogue`"
        )
    return {**head, "start": start}


@functools.cache
def _global_keys() -> Mapping[str, str]:
    return {key.lower(): kind for key, kind in sorted(_head()["global_keys"].items(), key=lambda pair: pair[0].lower())}


@functools.cache
def _always() -> frozenset[str]:
    return frozenset(key.lower() for key in _head()["always"])


@functools.lru_cache(maxsize=512)
def _service(prefix: str) -> _Service | None:
    place = _head()["services"].get(prefix)
    if place is None:
        return None
    with FILE.open("rb") as file:
        file.seek(_head()["start"] + place[0])
        return _read(prefix, json.loads(zlib.decompress(file.read(place[1]))))


def _read(prefix: str, data: Mapping[str, Any]) -> _Service:
    keys = [name.lower() for name, _ in data["keys"]]
    names = [name for name, _, _ in data["resources"]]
    of_type = {name: frozenset(keys[at] for at in numbers) for name, _, numbers in data["resources"]}
    found, own = {}, {}
    for name, level, uses in data["actions"]:
        rows = {
            names[at] if at >= 0 else "": frozenset(keys[number] for number in numbers) for at, _, numbers, _ in uses
        }
        own[name.lower()] = rows
        found[name.lower()] = Action(
            service=prefix,
            name=name,
            access_level=level,
            resource_types=tuple(one for one in rows if one),
            required_resource_types=tuple(names[at] for at, required, _, _ in uses if at >= 0 and required),
            condition_keys=frozenset().union(*rows.values(), *(of_type[one] for one in rows if one)),
            dependent_actions=tuple(sorted({one for use in uses for one in use[3]})),
        )
    return _Service(
        page=data["page"],
        keys=tuple(name for name, _ in data["keys"]),
        key_types={name.lower(): kind for name, kind in data["keys"]},
        arns={name: tuple(_PLACEHOLDER.sub("*", one) for one in arns) for name, arns, _ in data["resources"]},
        resource_keys=of_type,
        own_keys=own,
        actions=found,
    )

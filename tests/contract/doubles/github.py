"""GitHub's double: secrets and variables of repositories, environments and organisations, as GitHub Enterprise Server has them.

https://docs.github.com/enterprise-server/rest/actions/secrets: names are kept in upper case, each scope has its own key, and what
was not sealed with it is refused. The boxes are opened, so that a test reads the very value that a workflow would.
"""

from __future__ import annotations

import base64
import itertools
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from nacl.exceptions import CryptoError
from nacl.public import PrivateKey, SealedBox

from tests.contract.place import TOKEN, Place
from tests.vendors.server import Call, Reply, VendorServer

APP = 12345
INSTALLATION = 67890
_START = datetime(2026, 11, 1, tzinfo=UTC)
_NOT_FOUND = Reply(404, {"message": "Not Found", "status": "404"})


@dataclass
class Scope:
    """What lies in one scope: values by name, each with its time of change and who reads it."""

    key: PrivateKey = field(default_factory=PrivateKey.generate)
    key_id: str = field(default_factory=lambda: str(uuid.uuid4().int)[:18])
    secrets: dict[str, tuple[str, str]] = field(default_factory=dict)
    variables: dict[str, tuple[str, str]] = field(default_factory=dict)
    shared: dict[str, dict[str, Any]] = field(default_factory=dict)

    def public(self) -> str:
        return base64.b64encode(bytes(self.key.public_key)).decode()

    def opened(self, box: str) -> str:
        return SealedBox(self.key).decrypt(base64.b64decode(box)).decode()


class GitHub(VendorServer):
    """Scopes by the parts of their path in lower case; ``repositories`` by (owner, name) with what is told of them."""

    vendor: ClassVar[str] = "github"

    def __init__(self, base: str = "/api/v3") -> None:
        super().__init__(base=base)
        self.scopes: dict[tuple[str, ...], Scope] = {}
        self.repositories: dict[tuple[str, str], dict[str, Any]] = {}
        self.remaining = 4990
        self.limited = True
        self.oauth_scopes: str | None = "admin:org, repo"
        self.permissions: dict[str, str] = {"metadata": "read", "secrets": "write", "actions_variables": "write"}
        self.suspended_at: str | None = None
        self._ticks = itertools.count(1)
        self.days = 0

    def new_repository(self, owner: str, name: str) -> int:
        number = len(self.repositories) + 1
        self.repositories[owner.lower(), name.lower()] = {"id": number, "name": name, "full_name": f"{owner}/{name}"}
        self.scopes["repos", owner.lower(), name.lower()] = Scope()
        return number

    def new_environment(self, owner: str, name: str, environment: str) -> None:
        self.scopes["repos", owner.lower(), name.lower(), environment.lower()] = Scope()

    def new_organization(self, name: str) -> None:
        self.scopes["orgs", name.lower()] = Scope()

    def now(self) -> str:
        """Return the time, which GitHub tells in whole seconds; one goes by with each write."""
        return (_START + timedelta(days=self.days, seconds=next(self._ticks))).strftime("%Y-%m-%dT%H:%M:%SZ")

    @cached_property
    def private_key(self) -> rsa.RSAPrivateKey:
        return rsa.generate_private_key(public_exponent=65537, key_size=2048)

    def pem(self) -> str:
        """Return the App's private key, behind a line that the leak tests look for."""
        encoded = self.private_key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
        )
        return f"{TOKEN}\n{encoded.decode()}"

    def answer(self, call: Call) -> Reply:
        kind, _, given = call.headers.get("authorization", "").partition(" ")
        if call.path[0] == "app":
            return self._app(call, given) if kind == "Bearer" else Reply(401, {"message": "A JSON web token is needed"})
        if given != TOKEN:
            return Reply(401, {"message": "Bad credentials", "status": "401"})
        match call.path:
            case ("user",):
                scopes = () if self.oauth_scopes is None else (("X-OAuth-Scopes", self.oauth_scopes),)
                return Reply(200, self.sample("private-user", login="octo"), headers=scopes)
            case ("rate_limit",):
                rate = {"limit": 5000, "remaining": self.remaining, "reset": 1793000000, "used": 10}
                found = {"resources": {"core": rate, "search": rate}, "rate": rate}
                return Reply(200, found) if self.limited else _NOT_FOUND
            case ("repos", owner, name):
                known = self.repositories.get((owner.lower(), name.lower()))
                return Reply(200, self.sample("full-repository", **known)) if known else _NOT_FOUND
            case ("orgs", name):
                exists = ("orgs", name.lower()) in self.scopes
                return Reply(200, self.sample("organization-full", login=name)) if exists else _NOT_FOUND
            case ("repos", owner, name, "environments", environment, *rest):
                return self._scope(call, ("repos", owner, name, environment), rest)
            case ("repos", owner, name, "actions", *rest):
                return self._scope(call, ("repos", owner, name), rest)
            case ("orgs", name, "actions", *rest):
                return self._scope(call, ("orgs", name), rest)
        raise AssertionError(call.operation)

    def _app(self, call: Call, given: str) -> Reply:
        try:
            jwt.decode(given, self.private_key.public_key(), ["RS256"], issuer=str(APP))
        except jwt.PyJWTError:
            return Reply(401, {"message": "A JSON web token could not be decoded"})
        if call.path[2] != str(INSTALLATION):
            return _NOT_FOUND
        if call.method == "GET":
            told = {"permissions": self.permissions, "suspended_at": self.suspended_at, "app_slug": "shop-keys"}
            return Reply(200, self.sample("installation", **told))
        known = {name for _, name in self.repositories}
        if not all(name.lower() in known for name in (call.body or {}).get("repositories", ())):
            why = (
                "There is at least one repository that does not exist or is not accessible to the parent installation."
            )
            return Reply(422, self.sample("validation-error", message=why))
        return Reply(201, {"token": TOKEN, "expires_at": "2026-11-01T01:00:00Z", "permissions": self.permissions})

    def _scope(self, call: Call, key: tuple[str, ...], rest: list[str]) -> Reply:
        scope = self.scopes.get(tuple(part.lower() for part in key))
        if scope is None:
            return _NOT_FOUND
        match call.method, rest:
            case "GET", ["secrets", "public-key"]:
                return Reply(200, {"key_id": scope.key_id, "key": scope.public()})
            case "GET", [kind]:
                names = scope.secrets if kind == "secrets" else scope.variables
                size = min(int(call.asked("per_page", "30")), 100 if kind == "secrets" else 30)
                first = (int(call.asked("page", "1")) - 1) * size
                items = [self._item(scope, kind, name) for name in sorted(names)[first : first + size]]
                return Reply(200, {"total_count": len(names), kind: items})
            case "GET", [kind, name]:
                names = scope.secrets if kind == "secrets" else scope.variables
                return Reply(200, self._item(scope, kind, name.upper())) if name.upper() in names else _NOT_FOUND
            case "PUT", ["secrets", name]:
                return self._put(scope, name.upper(), call.body, 1000 if key[0] == "orgs" else 100)
            case "POST", ["variables"]:
                name = call.body["name"].upper()
                if name in scope.variables:
                    return Reply(409, {"message": "Already exists - Variable already exists", "status": "409"})
                return self._set(scope, name, call.body, Reply(201, {}))
            case "PATCH", ["variables", name] if name.upper() in scope.variables:
                return self._set(scope, name.upper(), call.body, Reply(204))
            case "DELETE", [kind, name]:
                names = scope.secrets if kind == "secrets" else scope.variables
                return Reply(204) if names.pop(name.upper(), None) else _NOT_FOUND
        return _NOT_FOUND

    def _put(self, scope: Scope, name: str, body: Mapping[str, Any], most: int) -> Reply:
        if name.startswith("GITHUB_") or name[0].isdigit():
            return Reply(422, {"message": "Secret names must not start with GITHUB_", "status": "422"})
        try:
            value = scope.opened(body["encrypted_value"]) if body["key_id"] == scope.key_id else None
        except CryptoError:
            value = None
        if value is None:
            return Reply(422, {"message": "Bad request - value is improperly encrypted", "status": "422"})
        if name not in scope.secrets and len(scope.secrets) >= most:
            return Reply(422, {"message": "You have reached the limit of secrets", "status": "422"})
        at = self.now()
        headers = (("Date", format_datetime(datetime.fromisoformat(at), usegmt=True)),)
        done = Reply(204, headers=headers) if name in scope.secrets else Reply(201, {}, headers=headers)
        scope.secrets[name] = (value, at)
        scope.shared[name] = _shared(body)
        return done

    def _set(self, scope: Scope, name: str, body: Mapping[str, Any], done: Reply) -> Reply:
        scope.variables[name] = (body["value"], self.now())
        scope.shared[name] = _shared(body)
        return done

    def listed(self, scope: Scope) -> dict[str, Any]:
        """Return the list of a scope's secrets, as it is now."""
        return {"total_count": len(scope.secrets), "secrets": [self._item(scope, "secrets", n) for n in scope.secrets]}

    def _item(self, scope: Scope, kind: str, name: str) -> dict[str, Any]:
        value, at = (scope.secrets if kind == "secrets" else scope.variables)[name]
        item = {"name": name, "created_at": at, "updated_at": at, **scope.shared.get(name, {})}
        item.setdefault("visibility", "private")
        return item if kind == "secrets" else item | {"value": value}

    def sample(self, schema: str, /, **known: Any) -> dict[str, Any]:
        """Return a document of a schema with all that it asks for, and what is ``known``."""
        schemas = self.description.openapi["components"]["schemas"]
        return {**_filled(schemas[schema], schemas), **known}


def _shared(body: Mapping[str, Any]) -> dict[str, Any]:
    return {name: body[name] for name in ("visibility", "selected_repository_ids") if name in body}


def _filled(schema: Mapping[str, Any], schemas: Mapping[str, Any]) -> Any:
    if "$ref" in schema:
        return _filled(schemas[schema["$ref"].rpartition("/")[2]], schemas)
    for word in ("anyOf", "oneOf", "allOf"):
        if word in schema:
            return _filled(schema[word][0], schemas)
    kind = schema.get("type")
    if isinstance(kind, list):
        return None
    if "enum" in schema:
        return schema["enum"][0]
    if kind == "string":
        return "2026-11-01T00:00:00Z" if schema.get("format") == "date-time" else "x"
    if kind in ("integer", "number", "boolean", "array"):
        return {"integer": 1, "number": 1, "boolean": False, "array": []}[kind]
    return {name: _filled(schema["properties"][name], schemas) for name in schema.get("required", ())}


class RepositoryPlace(Place):
    """A repository, with a token."""

    backend: ClassVar[str] = "github"
    variable: ClassVar[str] = "GITHUB_TOKEN"
    server: GitHub

    def __init__(self, root: Path, server: GitHub) -> None:
        super().__init__(root)
        self.server = server
        url = server.url.removesuffix("/api/v3")
        self.document = {"backend": self.backend, "url": url}
        self.environ = {"GITHUB_TOKEN": TOKEN, "GITHUB_TOKEN_HOST": url.removeprefix("http://")}
        self.name = f"app-{uuid.uuid4().hex[:8]}"
        self.key: tuple[str, ...] = ()
        self.prepare()

    @classmethod
    @contextmanager
    def serve(cls) -> Iterator[GitHub]:
        with GitHub() as server:
            yield server

    @classmethod
    def at(cls, server: Any, root: Path) -> RepositoryPlace:
        return cls(root, server)

    def prepare(self) -> None:
        self.server.new_repository("shop", self.name)
        self.document["repository"] = f"shop/{self.name}"
        self.key = ("repos", "shop", self.name)

    @property
    def scope(self) -> Scope:
        return self.server.scopes[self.key]

    def reads(self, call: Call) -> bool:
        return super().reads(call) or call.path[-1] == "access_tokens"

    def consumed(
        self, names: tuple[str, ...] = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
    ) -> tuple[str | None, ...]:
        found = self.scope.secrets
        return tuple(found[name][0] if name in found else None for name in names)

    def write_foreign(self, name: str = "AWS_SECRET_ACCESS_KEY") -> None:
        self.scope.secrets[name] = ("foreign", self.server.now())

    def odd(self) -> dict[str, Any]:
        name = f"A.b_C-{uuid.uuid4().hex[:8]}"
        self.server.new_repository("Shop-1", name)
        return {"repository": f"Shop-1/{name}"}

    def missing(self) -> dict[str, Any]:
        return {"repository": "shop/nowhere"}

    def crowd(self) -> None:
        # A repository and an environment take 100 secrets, an organisation 1000.
        for number in range(250 if self.key[0] == "orgs" else 98):
            self.write_foreign(f"A_{number}")


class AppPlace(RepositoryPlace):
    """A repository, with a GitHub App."""

    def prepare(self) -> None:
        super().prepare()
        self.document["app"] = {"id": APP, "installation": INSTALLATION}
        self.environ |= {"GITHUB_TOKEN": self.server.pem(), "GITHUB_TOKEN_APP": f"{APP}/{INSTALLATION}"}


class EnvironmentPlace(RepositoryPlace):
    """An environment of a repository."""

    def prepare(self) -> None:
        super().prepare()
        self.server.new_environment("shop", self.name, "production")
        self.document["environment"] = "production"
        self.key = ("repos", "shop", self.name, "production")

    def odd(self) -> dict[str, Any]:
        name = "größe / 100 % #1 ?;&+=%2F"
        self.server.new_environment("shop", self.name, name)
        return {"environment": name}

    def missing(self) -> dict[str, Any]:
        return {"environment": "nowhere"}


class OrganizationPlace(RepositoryPlace):
    """An organisation, with two repositories that read the secrets."""

    def prepare(self) -> None:
        organization = f"shop-{uuid.uuid4().hex[:8]}"
        self.server.new_organization(organization)
        for name in ("app", "web"):
            self.server.new_repository(organization, name)
        self.document |= {"organization": organization, "visibility": "selected", "repositories": ["app", "web"]}
        self.key = ("orgs", organization)

    def odd(self) -> dict[str, Any]:
        name = f"Shop-{uuid.uuid4().hex[:8]}_x"
        self.server.new_organization(name)
        return {"organization": name, "visibility": "all", "repositories": []}

    def missing(self) -> dict[str, Any]:
        return {"organization": "nowhere"}

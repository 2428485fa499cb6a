"""HashiCorp Vault and OpenBao: one document in a KV version 2 engine, and ``PATH.pending`` beside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from ci_user.backends.hosted import HostedSettings
from ci_user.backends.protocol import About, BackendSettings, EnvironmentNames, OpenContext
from ci_user.backends.vault_backend import PENDING, VaultBackend
from ci_user.backends.vault_kv import Kv
from ci_user.environment_fields import Model, Url, expected, matching

if TYPE_CHECKING:
    from ci_user.backends.tokens import TokenNeed

NAME: Final = "vault"
_NAMESPACE: Final = r"(?!\.)[A-Za-z0-9_.-]{1,100}(/(?!\.)[A-Za-z0-9_.-]{1,100}){0,9}"
_MOST_NAMES: Final = 400
"""Characters; a value of the custom metadata has room for 512, with the key id and the version."""

ABOUT: Final = About(
    title="HashiCorp Vault and OpenBao",
    consumers="one document of a KV version 2 engine",
    tested="the official client against a double written from Vault's documentation and source; never live",
    atomic=True,
    tells="the path's custom metadata, and its version",
    extra="vault",
    how_to="""\
```yaml
secrets:
  - backend: vault
    url: https://vault.example.com:8200
    mount: secret
    path: ci/shop/production
```

`VAULT_TOKEN` holds the token, and `VAULT_ADDR` names the server that it is for (`VAULT_TOKEN_HOST` comes first). With
`approle: {role_id: ID}` the secret id stands in `VAULT_SECRET_ID`, with `jwt: {role: NAME}` the JWT in `VAULT_JWT`, unless
`token` says otherwise. The token that a login gives stays in memory and is left to expire: let the role's `token_ttl` be short
(15 minutes) and its secret ids good for several uses. The least policy, beside Vault's own `default`:

```hcl
path "secret/metadata/ci/shop/production"         { capabilities = ["create", "read", "update", "delete"] }
path "secret/data/ci/shop/production"             { capabilities = ["read", "update"] }
path "secret/destroy/ci/shop/production"          { capabilities = ["update"] }
path "secret/metadata/ci/shop/production.pending" { capabilities = ["create", "read", "update", "delete"] }
path "secret/data/ci/shop/production.pending"     { capabilities = ["read", "update"] }
```

The pipeline needs `read` on `secret/data/ci/shop/production` alone; a `*` behind it would cover the pending copy:

```console
vault kv get -mount=secret -field=AWS_SECRET_ACCESS_KEY ci/shop/production
```

- Each write names the version that it follows (`cas`), so nothing is overwritten that somebody else wrote at the same moment. The
  metadata is written first: what a crash leaves tells which key each version is.
- A promotion destroys the versions before it, since a mount's `max_versions` keeps old secrets whatever a path says; the pending
  copy goes with its metadata.
- A mount's `delete_version_after` holds for the pending copy too: it must outlast a deploy, and the time between two rotations.
- A path is one environment's. Whoever may write custom metadata can pretend that it is the tool's.
""",
)


def _path(value: str) -> str:
    parts = value.split("/")
    # Vault refuses what cannot be printed and paths that lead upwards; * and + are patterns in a policy.
    legal = value.isprintable() and not set("*+") & set(value) and len(value) <= 400
    if not legal or any(part in ("", ".", "..") or part != part.strip() for part in parts):
        raise expected(
            "a path without a slash at either end or two in a row, without . or .. as a part, spaces around one, * or +,"
            " at most 400 characters"
        )
    return value


Path = Annotated[str, AfterValidator(_path)]


class AppRole(Model):
    """Logging in by AppRole; the token source holds the secret id."""

    mount: Path = Field(default="approle", description="Where the auth method is mounted.")
    role_id: Annotated[str, matching(r"[!-~]{1,200}", "a role id")] = Field(description="The role's id; no secret.")


class Jwt(Model):
    """Logging in with a JWT, such as a CI system gives to its jobs; the token source holds it."""

    mount: Path = Field(default="jwt", description="Where the auth method is mounted.")
    role: Annotated[str, matching(r"[!-~]{1,200}", "a role's name")] | None = Field(
        default=None, description="The role's name; the auth method's default role if left out."
    )


class Settings(HostedSettings):
    """A path of a KV version 2 engine."""

    vendor: ClassVar[str] = "Vault"
    variable: ClassVar[str] = "VAULT_TOKEN"
    scopes: ClassVar[str] = (
        "a policy with create, read, update and delete on MOUNT/metadata/PATH, read and update on MOUNT/data/PATH and"
        " update on MOUNT/destroy/PATH, the first two for PATH.pending too"
    )
    readable: ClassVar[bool] = True

    backend: Literal["vault"] = Field(description="Which backend this is.")
    url: Url = Field(description="The server's address, such as https://vault.example.com:8200.")
    # A header carries it: https://developer.hashicorp.com/vault/docs/enterprise/namespaces
    namespace: Annotated[str, matching(_NAMESPACE, "a namespace: parts of A-Z, a-z, 0-9, _, . and -")] | None = Field(
        default=None, description="The namespace, where the server has some."
    )
    mount: Path = Field(default="secret", description="Where the KV version 2 engine is mounted.")
    path: Path = Field(description="The path in it; the pending copy has `.pending` after it.")
    approle: AppRole | None = Field(default=None, description="Log in by AppRole; the token source has the secret id.")
    jwt: Jwt | None = Field(default=None, description="Log in with a JWT; the token source has it.")

    @model_validator(mode="after")
    def _fitting(self) -> Self:
        if self.approle is not None and self.jwt is not None:
            raise expected("approle, jwt, or neither for a token")
        if self.path.endswith(PENDING):
            raise expected(f"a path that does not end in {PENDING}")
        if len(",".join(self.names.all)) > _MOST_NAMES:
            raise expected(f"names of at most {_MOST_NAMES} characters together")
        return self

    def parts(self) -> tuple[str, ...]:
        """Return the namespace, if there is one, the mount and the path."""
        return (*((self.namespace,) if self.namespace else ()), self.mount, self.path)

    @classmethod
    def of_parts(cls, parts: Sequence[str]) -> dict[str, Any] | None:
        """Return namespace, mount and path."""
        if len(parts) not in (2, 3):
            return None
        keys = ("namespace", "mount", "path")[-len(parts) :]
        return dict(zip(keys, parts, strict=True))

    def target(self, environment: EnvironmentNames) -> str:
        """Return ``vault:HOST/NAMESPACE/MOUNT/PATH``: the path is the place, whatever the names in it are."""
        return super().target(environment).partition("#")[0]

    def what(self) -> str:
        """Return the mount in words; the path need not exist."""
        return f"the mount {self.mount}" + (f" of the namespace {self.namespace}" if self.namespace else "")

    def need(self, environment: EnvironmentNames) -> TokenNeed:
        """Return what is asked of the token, the secret id or the JWT."""
        variable = self.variable
        if self.approle is not None or self.jwt is not None:
            variable = "VAULT_SECRET_ID" if self.approle else "VAULT_JWT"
        return replace(super().need(environment), variable=variable, host_variable="VAULT_ADDR")


def open_with(settings: BackendSettings, context: OpenContext) -> VaultBackend:
    """Return the backend of ``settings``."""
    if not isinstance(settings, Settings):
        raise TypeError(f"{NAME} needs its own settings")
    return VaultBackend(NAME, settings, lambda: Kv(settings, context), context.environment, context.pause)

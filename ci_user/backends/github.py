"""GitHub Actions: secrets of a repository, of one of its environments, or of an organisation.

https://docs.github.com/rest/actions/secrets and https://docs.github.com/rest/actions/variables
A secret is sealed with the scope's public key before it leaves this machine, and never shown again. The tool's note is an Actions
variable of the same scope.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, Strict, ValidationError, field_validator, model_validator

from ci_user.backends.hosted import HostedSettings
from ci_user.backends.key_names import Names
from ci_user.backends.protocol import About, BackendSettings, EnvironmentNames, OpenContext
from ci_user.backends.slots import SlotBackend
from ci_user.environment_fields import Model, Url, expected, matching

if TYPE_CHECKING:
    from ci_user.backends.tokens import TokenNeed

NAME: Final = "github"

_REPOSITORY = r"(?!\.{1,2}\Z)[A-Za-z0-9._-]{1,100}"
_OWNER = r"[A-Za-z0-9_-]{1,39}"
_CLIENT = r"[A-Za-z0-9._-]{1,100}"
_Repository = Annotated[str, matching(_REPOSITORY, "the name of a repository, without its owner")]
_LOWER: Final = str.maketrans("ABCDEFGHIJKLMNOPQRSTUVWXYZ", "abcdefghijklmnopqrstuvwxyz")

ABOUT: Final = About(
    title="GitHub Actions",
    consumers="secrets of a repository, an environment or an organisation",
    tested="a double that checks each request against GitHub's own OpenAPI description and opens the sealed boxes; never live",
    atomic=False,
    tells="an Actions variable with the key id and the secrets' times of change",
    extra="github",
    how_to="""\
```yaml
secrets:
  - backend: github
    repository: shop/app
    environment: production      # left out: a secret of the whole repository
```

For an organisation: `organization: shop` and `visibility: all`, `private` or `selected`; with the last one name the repositories,
`repositories: [app, web]`. Select no other on GitHub's page, but here: there it changes the secret, and the tool refuses that as
somebody else's until you delete it.

For a server of your own: `url: https://github.example.com`.

The least rights of a [fine-grained token](https://docs.github.com/authentication/keeping-your-account-and-data-secure/\
managing-your-personal-access-tokens), for this one repository: *Secrets* and *Variables* write; for an environment *Environments*
write instead; for an organisation its *Secrets* and *Variables* write, with the named repositories among those that it may see. A
classic token needs `repo`, for an organisation `admin:org` (and `repo` for private repositories that are named). Put it into
`GITHUB_TOKEN`. The token that Actions gives each job cannot write secrets. For a server of your own, name its host in
`GITHUB_TOKEN_HOST`; on github.com the token is for `api.github.com`.

A GitHub App with the same rights is better, since nobody's leaving breaks it: `app: {id: 12345, installation: 67890}`, and its
private key (PEM) in `GITHUB_TOKEN`. With `GITHUB_TOKEN_APP=12345/67890` beside it, places that left the file are emptied
too.

The pipeline names the environment and reads the secrets:

```yaml
jobs:
  deploy:
    environment: production
    env:
      AWS_ACCESS_KEY_ID: ${{ secrets.AWS_ACCESS_KEY_ID }}
      AWS_SECRET_ACCESS_KEY: ${{ secrets.AWS_SECRET_ACCESS_KEY }}
```

- Prefer an environment: its protection rules say which branches and people reach the key. A repository's secret is there for
  every workflow that somebody with write access adds.
- The note is the variable `CI_USER_AWS_ACCESS_KEY_ID`, seen by the same workflows. It holds no secret, but whoever may write
  variables can pretend in it which key is there, and which secrets are the tool's.
- What a fine-grained token may write, GitHub does not tell beforehand; of a classic token or an App it does.
""",
)


class App(Model):
    """A GitHub App, whose private key stands where the token would."""

    id: Annotated[int, Field(gt=0)] | Annotated[str, matching(_CLIENT, "the App's id or client id")] = Field(
        description="The App's id or client id."
    )
    installation: int = Field(gt=0, description="The id of its installation for the owner of the repository.")


APP_VARIABLE: Final = "GITHUB_TOKEN_APP"


def app_in(environ: Mapping[str, str]) -> App | None:
    """Return the App that ``GITHUB_TOKEN_APP`` names as ID/INSTALLATION: a place that left the file has no other way to tell."""
    name, mark, installation = environ.get(APP_VARIABLE, "").strip().partition("/")
    if not mark or re.fullmatch(r"[0-9]{1,18}", installation) is None:
        return None
    try:
        return App(id=int(name) if name.isdecimal() else name, installation=int(installation))
    except ValidationError:
        return None


class Settings(HostedSettings):
    """A repository, one of its environments, or an organisation."""

    vendor: ClassVar[str] = "GitHub"
    variable: ClassVar[str] = "GITHUB_TOKEN"
    scopes: ClassVar[str] = (
        "write on Secrets and Variables of the repository (of an environment: on Environments; of an organisation: on its own"
        " Secrets and Variables); a classic token: repo (of an organisation: admin:org, and repo where private repositories are"
        " named)"
    )

    backend: Literal["github"] = Field(description="Which backend this is.")
    url: Url = Field(default="https://github.com", description="GitHub's address, or that of a server of your own.")
    app: App | None = Field(default=None, description="The GitHub App to log in as, instead of with a token.")
    repository: Annotated[str, matching(f"{_OWNER}/{_REPOSITORY}", "OWNER/NAME")] | None = Field(
        default=None, description="The repository, OWNER/NAME."
    )
    environment: (
        Annotated[
            str, matching(r"(?!\.{1,2}\Z)[^\x00-\x1f\x7f]{1,255}", "an environment's name, at most 255 characters")
        ]
        | None
    ) = Field(
        default=None, description="The repository's environment; left out, the whole repository reads the secrets."
    )
    organization: Annotated[str, matching(_OWNER, "the name of an organisation")] | None = Field(
        default=None, description="The organisation, instead of a repository."
    )
    visibility: Literal["all", "private", "selected"] | None = Field(
        default=None, description="Which of the organisation's repositories read the secrets."
    )
    repositories: Annotated[tuple[_Repository, ...], Strict(False), Field(max_length=500)] = Field(
        default=(), description="With visibility: selected, the names of these repositories."
    )

    @field_validator("url")
    @classmethod
    def _root(cls, url: str) -> str:
        parts = urlsplit(url)
        if parts.path.strip("/") or (parts.hostname or "").startswith("api."):
            raise expected("GitHub's own address, such as https://github.com, without api. and without a path")
        return url

    @field_validator("names")
    @classmethod
    def _upper(cls, names: Names) -> Names:
        # https://docs.github.com/actions/reference/security/secrets#naming-your-secrets
        if any(name != name.upper() for name in names.all):
            raise expected("names in upper case: GitHub keeps a secret's name so, however it is written")
        if any(name.startswith("GITHUB_") for name in names.all):
            raise expected("names that do not begin with GITHUB_, which GitHub keeps for itself")
        return names

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.repository is None) == (self.organization is None):
            raise expected("repository, or organization")
        if self.environment is not None and self.repository is None:
            raise expected("environment with a repository only")
        if (self.organization is None) != (self.visibility is None):
            raise expected("visibility with an organization, and there always: all, private or selected")
        if (self.visibility == "selected") != bool(self.repositories):
            raise expected("repositories with visibility: selected, and there at least one")
        return self

    @property
    def api(self) -> str:
        """Return the address of the API.

        https://docs.github.com/rest/using-the-rest-api/getting-started-with-the-rest-api, and for GitHub Enterprise Server
        https://docs.github.com/enterprise-server/rest/enterprise-admin#endpoint-urls
        """
        host = urlsplit(self.url).hostname or ""
        if host == "github.com" or host.endswith(".ghe.com"):
            return f"https://api.{host}"
        return f"{self.url.rstrip('/')}/api/v3"

    def parts(self) -> tuple[str, ...]:
        """Return the kind of place and its names, in lower case, since GitHub takes Shop/App and shop/app for the same."""
        if self.organization is not None:
            # Who may read the key is part of where it goes: a run that nobody confirmed must not widen it.
            readers = (
                (",".join(sorted(name.translate(_LOWER) for name in self.repositories)),) if self.repositories else ()
            )
            return ("organization", self.organization.translate(_LOWER), str(self.visibility), *readers)
        names = str(self.repository).split("/")
        place = ("repository", *names) if self.environment is None else ("environment", *names, self.environment)
        return tuple(part.translate(_LOWER) for part in place)

    @classmethod
    def of_parts(cls, parts: Sequence[str]) -> dict[str, Any] | None:
        """Return the repository, the repository and its environment, or the organisation and who reads there."""
        match list(parts):
            case ["repository", owner, name]:
                return {"repository": f"{owner}/{name}"}
            case ["environment", owner, name, environment]:
                return {"repository": f"{owner}/{name}", "environment": environment}
            case ["organization", name, visibility]:
                return {"organization": name, "visibility": visibility}
            case ["organization", name, "selected", repositories]:
                return {"organization": name, "visibility": "selected", "repositories": tuple(repositories.split(","))}
        return None

    def scope(self) -> tuple[str, ...]:
        """Return the parts of the API's path that secrets and variables lie below."""
        if self.organization is not None:
            return ("orgs", self.organization, "actions")
        repository = ("repos", *str(self.repository).split("/"))
        return (*repository, "actions") if self.environment is None else (*repository, "environments", self.environment)

    def what(self) -> str:
        """Return the place in words."""
        if self.organization is not None:
            return f"the organisation {self.organization}"
        place = f"the repository {self.repository}"
        return place if self.environment is None else f"the environment {self.environment} of {place}"

    def need(self, environment: EnvironmentNames) -> TokenNeed:
        """Return what is asked of the token, which goes to the API's host."""
        return replace(super().need(environment), url=self.api, host="api.github.com")


def open_with(settings: BackendSettings, context: OpenContext) -> SlotBackend:
    """Return the backend of ``settings``."""
    if not isinstance(settings, Settings):
        raise TypeError(f"{NAME} needs its own settings")
    from ci_user.backends.github_secrets import Secrets

    target = settings.target(context.environment)
    return SlotBackend(NAME, target, settings.names, lambda: Secrets(settings, context), context)

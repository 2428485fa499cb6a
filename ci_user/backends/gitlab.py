"""GitLab CI/CD: variables of a project, a group or a whole instance.

https://docs.gitlab.com/ci/variables/
This file has the settings; ``gitlab_variables.py`` has the variables, and ``gitlab_api.py`` the requests.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Final, Literal, Self

from pydantic import Field, model_validator

from ci_user.backends.gitlab_variables import Variables
from ci_user.backends.hosted import HostedSettings
from ci_user.backends.http import Origin
from ci_user.backends.protocol import About, BackendSettings, EnvironmentNames, OpenContext
from ci_user.backends.slots import SlotBackend
from ci_user.environment_fields import Url, expected, matching

NAME: Final = "gitlab"
_EVERYWHERE: Final = "*"
_FOLDER: Final = r"(?!\.{1,2}(?:/|\Z))[A-Za-z0-9_.][A-Za-z0-9_.-]{0,254}"
"""https://docs.gitlab.com/user/reserved_names/#limitations-on-usernames-project-and-group-names-and-slugs"""

ABOUT: Final = About(
    title="GitLab CI/CD",
    consumers="variables of a project, a group or an instance",
    tested="a double that checks each request against a description written from GitLab's documentation; never live",
    atomic=False,
    tells="a variable beside them, and the key id's variable",
    how_to="""\
```yaml
secrets:
  - backend: gitlab
    project: shop/backend/api
    environment_scope: production
```

Or `group: shop/backend` (scopes there need Premium or Ultimate), or `instance: true` (a GitLab of your own). The token has the
scope `api` and the role Maintainer; Owner for a group; an administrator's with `admin_mode` for an instance. Best is a
[project or group access token](https://docs.gitlab.com/user/project/settings/project_access_tokens/). Put it into `GITLAB_TOKEN`;
for a GitLab of your own give `url`, with its path if it has one, and name its host in `GITLAB_TOKEN_HOST`.

The pipeline reads the variables as they are. A job gets those of a scope when it names a matching environment:

```yaml
deploy:
  environment: production
  script: aws sts get-caller-identity
```

- `protected`: only jobs of protected branches and tags get them. Left out, it is as `protected` of the environment here.
- `masked` (true): key id and secret, not the region, are masked in job logs. Nothing in them is expanded (`raw`).
- `hidden` (false): nobody is shown the secret again. GitLab can only make a new variable so; at the next delivery one that is
  visible is deleted and made anew, and for a moment it is not there. A hidden one stays so until you delete it.
- Maintainers can read a secret that is not hidden, and so can each job that gets it.
- When somebody changes the secret's variable alone, the tool cannot tell without reading it. What is seen is a change of the
  key id's variable (value, description, flags), and a variable that is gone.
- GitLab's audit log (Premium and Ultimate) may tell of each look at a variable; at the secret's it is by HEAD, without its value.
- The tool's note is one more variable, `CI_USER_AWS_ACCESS_KEY_ID`, without a secret in it.
""",
    extra="gitlab",
)


class Settings(HostedSettings):
    """A project, a group or the instance, and the scope and flags of the variables."""

    vendor: ClassVar[str] = "GitLab"
    variable: ClassVar[str] = "GITLAB_TOKEN"
    scopes: ClassVar[str] = (
        "the scope api and the role Maintainer (of a group: Owner; for variables of an instance: an administrator)"
    )

    backend: Literal["gitlab"] = Field(description="Which backend this is.")
    url: Url = Field(default="https://gitlab.com", description="GitLab's address, with the path it lies below, if any.")
    project: Annotated[str, matching(rf"{_FOLDER}(?:/{_FOLDER})+", "a project's path: GROUP/NAME")] | None = Field(
        default=None, description="The project's path."
    )
    group: Annotated[str, matching(rf"{_FOLDER}(?:/{_FOLDER})*", "a group's path")] | None = Field(
        default=None, description="The group's path, instead of a project."
    )
    instance: bool = Field(default=False, description="The whole instance, instead of a project.")
    environment_scope: Annotated[
        str,
        matching(
            r"(?! )[A-Za-z0-9_/${}. *-]{1,255}(?<! )", "a scope: letters, digits, spaces inside and _ / $ { } . * -"
        ),
    ] = Field(default=_EVERYWHERE, description="The environments whose jobs get the variables.")
    protected: bool | None = Field(
        default=None, description="Only for protected branches and tags; left out, if the environment is protected."
    )
    masked: bool = Field(default=True, description="Key id and secret are masked in job logs.")
    hidden: bool = Field(default=False, description="The secret is never shown again.")

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.project is not None) + (self.group is not None) + self.instance != 1:
            raise expected("one of project, group and instance: true")
        if self.instance and (self.hidden or self.environment_scope != _EVERYWHERE):
            raise expected("neither environment_scope nor hidden: variables of an instance have none")
        if self.instance and Origin.of(self.url).host == "gitlab.com":
            raise expected("url, for variables of an instance: gitlab.com is nobody's own")
        if self.hidden and not self.masked:
            raise expected("masked: true where hidden is true: GitLab hides masked variables only")
        return self

    def parts(self) -> tuple[str, ...]:
        """Return the kind with its readers, with @SCOPE where there is one, and the path's parts.

        Who may read the key is part of where it goes: a run that nobody confirmed must not widen it.
        """
        kind = "instance" if self.instance else "project" if self.project is not None else "group"
        told = {"protected": bool(self.protected), "hidden": self.hidden, "unmasked": not self.masked}
        kind += "".join(f"+{name}" for name, so in told.items() if so)
        if self.instance:
            return (kind,)
        scope = "" if self.environment_scope == _EVERYWHERE else f"@{self.environment_scope}"
        return (f"{kind}{scope}", *(self.project or str(self.group)).split("/"))

    def target(self, environment: EnvironmentNames) -> str:
        """Return the place's line; where `protected` is left out it is the environment's."""
        if self.protected is None:
            return self.model_copy(update={"protected": environment.protected}).target(environment)
        return super().target(environment)

    @classmethod
    def of_parts(cls, parts: Sequence[str]) -> dict[str, Any] | None:
        """Return project, group or instance, and the scope."""
        told, _, scope = parts[0].partition("@") if parts else ("", "", "")
        kind, *readers = told.split("+")
        flags = {
            "protected": "protected" in readers,
            "hidden": "hidden" in readers,
            "masked": "unmasked" not in readers,
        }
        if kind == "instance":
            return {"instance": True, **flags}
        found = {kind: "/".join(parts[1:]), "environment_scope": scope or _EVERYWHERE, **flags}
        return found if kind in ("project", "group") else None

    def what(self) -> str:
        """Return the place in words."""
        if self.instance:
            return f"the GitLab at {self.url}"
        return f"the project {self.project}" if self.project else f"the group {self.group}"


def open_with(settings: BackendSettings, context: OpenContext) -> SlotBackend:
    """Return the backend of ``settings``."""
    if not isinstance(settings, Settings):
        raise TypeError(f"{NAME} needs its own settings")
    target = settings.target(context.environment)
    return SlotBackend(NAME, target, settings.names, lambda: Variables(settings, context), context)

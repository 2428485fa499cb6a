"""Azure DevOps: secret variables of a variable group.

https://learn.microsoft.com/en-us/rest/api/azure/devops/distributedtask/variablegroups?view=azure-devops-rest-7.1
One request writes the whole group, so that readers see the old key or the new one. The group is the user's: the tool puts its
variables into it and takes them out again, and sends every other variable back as it came. A secret comes as null, and
null keeps it (the page's own example, and what `az pipelines variable-group variable update` does).

There is no etag: the group is read just before it is written and again just after, and whoever writes in between without
taking the tool's variables out is not noticed. The time of the last change is the whole group's, so that nobody can tell
which variable was changed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final, Literal, Self

from pydantic import Field, model_validator

from ci_user.backends.azure_devops_groups import NO_SIGN_IN, Group, Groups, SignInRemote, authorization
from ci_user.backends.deliver_only import DeliverOnly
from ci_user.backends.hosted import HostedSettings
from ci_user.backends.http import Client, Remote
from ci_user.backends.protocol import About, BackendSettings, EnvironmentNames, Held, OpenContext
from ci_user.backends.refusals import changed_by_others, check_key_id, not_delivered, not_ours
from ci_user.backends.slots import Note, alone, note_name
from ci_user.environment_fields import Url, expected, matching

if TYPE_CHECKING:
    from ci_user.backends.tokens import Token
    from ci_user.secret import AccessKey

NAME: Final = "azure-devops"
_RESERVED: Final = ("endpoint", "input", "path", "secret", "securefile")
# https://learn.microsoft.com/en-us/azure/devops/pipelines/process/variables#variable-naming-restrictions

ABOUT: Final = About(
    title="Azure DevOps",
    consumers="secret variables of a variable group",
    tested="a double that checks each request against a description written from Microsoft's documentation; never live",
    atomic=True,
    tells="a variable of the tool's own that is no secret, with the key id, the other variables' names and the group's id",
    how_to="""\
```yaml
secrets:
  - backend: azure-devops
    organization: shop
    project: web
    group: aws-production
```

Make the group first (Pipelines, Library), with a variable in it; one group per environment. Put a [personal access
token](https://learn.microsoft.com/en-us/azure/devops/organizations/accounts/use-personal-access-tokens-to-authenticate) into
`AZURE_DEVOPS_TOKEN`: scope Variable Groups (read, create, & manage), of somebody who is an administrator of the group. For Azure
DevOps Server (with version 7.1 of the REST API) give `url`, name its host in `AZURE_DEVOPS_TOKEN_HOST`, and take the collection
for `organization`.

Permit the pipeline to use the group. Secrets reach a step only by name:

```yaml
variables:
  - group: aws-production
steps:
  - script: aws sts get-caller-identity
    env:
      AWS_ACCESS_KEY_ID: $(AWS_ACCESS_KEY_ID)
      AWS_SECRET_ACCESS_KEY: $(AWS_SECRET_ACCESS_KEY)
```

- Azure DevOps tells when the group was changed and by whom, but not what: a secret that somebody replaced by another is not
  noticed. One that was deleted, or is no secret any more, is.
- A group is written as a whole, and nothing keeps two writers apart. The tool reads it again after writing; a page that somebody
  opened before a delivery and saves after it can bring back the old note, and the next run delivers again.
- Groups that are linked to a key vault are refused: their values are not in Azure DevOps.
""",
)


class Settings(HostedSettings):
    """A variable group."""

    vendor: ClassVar[str] = "Azure DevOps"
    variable: ClassVar[str] = "AZURE_DEVOPS_TOKEN"
    scopes: ClassVar[str] = (
        "the scope Variable Groups (read, create, & manage), and belongs to an administrator of the variable group"
    )

    backend: Literal["azure-devops"] = Field(description="Which backend this is.")
    url: Url = Field(
        default="https://dev.azure.com", description="Azure DevOps' address, or that of a server of your own."
    )
    organization: Annotated[
        str,
        matching(
            r"[A-Za-z0-9]([A-Za-z0-9._ -]{0,62}[A-Za-z0-9])?", "an organisation's name: letters, digits and hyphens"
        ),
    ] = Field(description="The organisation; the collection of a server of your own.")
    # https://learn.microsoft.com/en-us/azure/devops/organizations/settings/naming-restrictions#project-names
    # The API takes a project's id too. It is refused: a place with two lines would be emptied as the one that left the file.
    project: Annotated[
        str,
        matching(
            r"(?![_.]|[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}\Z)[^\x00-\x1f\x7f/:\\~&%;@'\"?<>|#$*}{,+=\[\]]{1,64}(?<!\.)",
            "a project's name and not its id: at most 64 characters, none of / : \\ ~ & % ; @ ' \" ? < > | # $ * } { , + = [ ],"
            " no _ at the start and no . at either end",
        ),
    ] = Field(description="The project.")
    group: Annotated[str, matching(r"[^\x00-\x1f\x7f]{1,256}", "a variable group's name")] = Field(
        description="The variable group's name. It must exist."
    )

    @model_validator(mode="after")
    def _not_reserved(self) -> Self:
        if any(name.lower().startswith(_RESERVED) for name in self.names.all):
            raise expected(f"names that do not begin with {', '.join(_RESERVED)}, which no pipeline is given")
        return self

    def parts(self) -> tuple[str, ...]:
        """Return organisation and project in lower case, since Azure DevOps takes Shop/Web for shop/web, and the group."""
        return (self.organization.lower(), self.project.lower(), self.group)

    @classmethod
    def of_parts(cls, parts: Sequence[str]) -> dict[str, Any] | None:
        """Return the settings' keys for the parts."""
        return dict(zip(("organization", "project", "group"), parts, strict=True)) if len(parts) == 3 else None

    def what(self) -> str:
        """Return the place in words."""
        return f"the variable group {self.group} of the project {self.project} in {self.organization}"

    def remote(self, token: Token, environment: EnvironmentNames) -> Remote:
        """Return how refusals are told."""
        return SignInRemote(self.vendor, self.target(environment), token.source, self.scopes, self.what())


def open_with(settings: BackendSettings, context: OpenContext) -> AzureDevOpsBackend:
    """Return the backend of ``settings``."""
    if not isinstance(settings, Settings):
        raise TypeError(f"{NAME} needs its own settings")
    return AzureDevOpsBackend(settings, context)


class AzureDevOpsBackend(DeliverOnly):
    """A variable group as a backend that only takes delivery.

    Args:
        settings: The group.
        context: The environment, the token's source, and how to pause.
    """

    name = NAME

    def __init__(self, settings: Settings, context: OpenContext) -> None:
        self._settings = settings
        self._context = context
        self.target = settings.target(context.environment)
        # The whole group is written at once, whatever the key's parts are called.
        self._place = self.target.partition("#")[0]
        self._note_name = note_name(settings.names)
        self._opened: Groups | None = None

    @property
    def _groups(self) -> Groups:
        if self._opened is None:
            settings, context = self._settings, self._context
            token = settings.login(context)
            client = Client(
                settings.url,
                token=token,
                remote=settings.remote(token, context.environment),
                authorization=authorization,
                headers=NO_SIGN_IN,
                ca_file=settings.trusted(context.root),
                check=context.check,
                pause=context.pause,
            )
            self._opened = Groups(client, settings.organization, settings.project, settings.group)
        return self._opened

    def preflight(self) -> tuple[str, ...]:
        """Check login, that the group exists and may be managed, and whose the variables are."""
        group = self._groups.read()
        note = self._checked(group)
        return (
            self._groups.login(),
            self._groups.see_that_it_may_be_managed(),
            f"{self._settings.what()} exists, {group.last_change}",
            "the variables are this environment's" if note and note.stamps else "the variables do not exist yet",
        )

    def held(self) -> Held:
        """Return the key id in the note, if it was written for this group and every variable that it names is there, a secret."""
        group = self._groups.read()
        note = self._ours(group)
        if note is None or not note.stamps or note.elsewhere(self.target) or self._changed(group, note):
            return Held(None, None)
        whole = note.key_id is not None and all(group.find(name) for name in note.stamps)
        # A clone of another group has its note, and not its secrets.
        whole = whole and set(note.stamps.values()) == {str(group.id)}
        if whole and set(note.stamps) == set(self._settings.names.all):
            return Held(note.key_id, None)
        return Held(None, None, torn=True)

    def deliver(self, key: AccessKey) -> None:
        """Write the group with the variables and the note in it, then see that it has them."""
        check_key_id(key.id)
        names = self._settings.names
        with alone(self._place):
            # What is written builds on this very reading: the shorter the time between, the less of others' can get lost.
            group = self._groups.read()
            before = self._checked(group)
            variables = group.without((*(before.stamps if before else ()), *names.all, self._note_name))
            for name, value in names.values(key, self._context.environment.region):
                variables[name] = {"value": value, "isSecret": True}
            stamps = dict.fromkeys(names.all, str(group.id))
            note = Note(self._context.environment.prefix, key.id, stamps, self.target).text()
            variables[self._note_name] = {"value": note, "isSecret": False}
            self._groups.write(group, variables)
            after = self._groups.read()
            wrong = [name for name in names.all if (after.find(name) or {}).get("isSecret") is not True]
            if (after.find(self._note_name) or {}).get("value") != note:
                wrong.append(self._note_name)
            self._refuse_lost(wrong)

    def remove(self) -> bool:
        """Write the group without the variables that the note names, and without the note."""
        with alone(self._place):
            group = self._groups.read()
            note = self._ours(group)
            if note is None or not note.stamps or note.elsewhere(self.target):
                return False
            self._refuse_changed(group, note)
            variables = group.without((*note.stamps, self._note_name))
            if not variables:
                # A group cannot be empty: the note stays, and says that there is nothing.
                variables[self._note_name] = {"value": Note(note.owner, None, {}).text(), "isSecret": False}
            self._groups.write(group, variables)
            after = self._groups.read()
            self._refuse_lost([name for name in note.stamps if after.find(name)])
            return True

    def _note(self, group: Group) -> Note | None:
        variable = group.find(self._note_name)
        # A variable of the note's name that is no note is somebody else's, and so nobody's note.
        return None if variable is None else Note.parse(variable.get("value")) or Note("", None, {})

    def _ours(self, group: Group) -> Note | None:
        note = self._note(group)
        return note if note is not None and note.owner == self._context.environment.prefix else None

    def _checked(self, group: Group) -> Note | None:
        """Return our note; what is there is ours or nothing, and nobody else's change."""
        note = self._ours(group)
        known = {name.lower() for name in note.stamps} if note else set()
        foreign = [name for name in self._settings.names.all if group.find(name) and name.lower() not in known]
        if foreign:
            raise not_ours(self.target, f"the variable {', '.join(foreign)}")
        if note is None and self._note(group) is not None:
            raise not_ours(self.target, f"the note {self._note_name}")
        if note is not None:
            self._refuse_changed(group, note)
        return note

    def _refuse_changed(self, group: Group, note: Note) -> None:
        changed = self._changed(group, note)
        if changed:
            what = f"the variable {', '.join(changed)}"
            do = "delete it there if nobody needs its value, then run the same command again"
            raise changed_by_others(self.target, what, do)

    @staticmethod
    def _changed(group: Group, note: Note) -> list[str]:
        """Return the variables that are no secrets any more; nothing else can be told."""
        return [name for name in note.stamps if (found := group.find(name)) and found.get("isSecret") is not True]

    def _refuse_lost(self, names: list[str]) -> None:
        if names:
            why = f"{', '.join(names)} is not as it was written: somebody else wrote the group at the same time"
            raise not_delivered(self.target, self._settings.what(), why)

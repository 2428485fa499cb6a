"""How the key's parts are called where a pipeline reads them: ``AWS_ACCESS_KEY_ID`` and so on, unless the file says otherwise."""

from __future__ import annotations

import re
from typing import Annotated, Final, Self

from pydantic import Field, model_validator

from ci_user.environment_fields import Model, expected, matching
from ci_user.secret import AccessKey, Secret

KEY_ID: Final = "AWS_ACCESS_KEY_ID"
SECRET: Final = "AWS_SECRET_ACCESS_KEY"  # noqa: S105 - a name
RESERVED: Final = "CI_USER_"
"""What the tool's own notes begin with, beside the parts."""

_PART: Final = matching(
    r"[A-Za-z_][A-Za-z0-9_]{0,99}", "letters, digits and _, not a digit first, at most 100 characters"
)
_AFFIX: Final = matching(r"[A-Za-z0-9_]{0,50}", "letters, digits and _, at most 50 characters")


def is_name(text: str) -> bool:
    """Return whether a part can be called so, prefix and suffix included."""
    return re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{0,199}", text) is not None and not text.upper().startswith(RESERVED)


class Names(Model):
    """What the parts are called."""

    key_id: Annotated[str, _PART] = Field(default=KEY_ID, description="The key id's name.")
    secret: Annotated[str, _PART] = Field(default=SECRET, description="The secret's name.")
    region: Annotated[str, _PART] | None = Field(
        default=None, description="The region's name, such as AWS_REGION; left out, it is not delivered."
    )
    prefix: Annotated[str, _AFFIX] = Field(default="", description="Stands before each of these names.")
    suffix: Annotated[str, _AFFIX] = Field(default="", description="Stands after each of these names.")

    @model_validator(mode="after")
    def _apart(self) -> Self:
        folded = [name.upper() for name in self.all]
        if len(set(folded)) != len(folded):
            raise expected("names that differ in more than upper and lower case")
        if any(name[0].isdigit() for name in self.all):
            raise expected("names that do not begin with a digit")
        if any(name.startswith(RESERVED) for name in folded):
            raise expected(f"names that do not begin with {RESERVED}, which is the tool's own")
        return self

    @property
    def all(self) -> tuple[str, ...]:
        """Return the whole names: the key id's, the secret's and, where it is delivered, the region's."""
        parts = (self.key_id, self.secret, *((self.region,) if self.region else ()))
        return tuple(f"{self.prefix}{part}{self.suffix}" for part in parts)

    def values(self, key: AccessKey, region: str) -> tuple[tuple[str, Secret], ...]:
        """Return names and values of what is delivered, in the order of ``all``."""
        return tuple(zip(self.all, (Secret(key.id), key.secret, Secret(region)), strict=False))

    @property
    def anchor(self) -> str:
        """Return what tells two sets of names in one place apart: the key id's whole name, empty for the usual one."""
        name = self.all[0]
        return "" if name == KEY_ID else f"#{name}"

    @classmethod
    def anchored(cls, anchor: str) -> Names:
        """Return names whose ``anchor`` is this one; what else was named then, the place itself knows.

        Raises:
            pydantic.ValidationError: No name is like that.
        """
        name = anchor.removeprefix("#")
        if not name:
            return cls()
        return cls(key_id=name, secret=f"{name[:90]}_SECRET")


class DocumentNames(Names):
    """What the parts are called in a document or a file, where the region costs nothing and is always delivered."""

    region: Annotated[str, _PART] = Field(default="AWS_REGION", description="The region's name.")

"""The half of the protocol that a place does not have which cannot be read back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ci_user.backends.refusals import not_supported

if TYPE_CHECKING:
    from ci_user.secret import AccessKey


class DeliverOnly:
    """The base of backends that take delivery of a key and never give it back."""

    name: str
    readable: bool = False

    def stage(self, key: AccessKey) -> None:
        """Refuse: it cannot be read back."""
        del key
        raise not_supported(self.name, "stage")

    def read_staged(self, key_id: str) -> AccessKey | None:
        """Refuse: it cannot be read back."""
        del key_id
        raise not_supported(self.name, "read_staged")

    def promote(self, key_id: str) -> None:
        """Refuse: nothing is ever pending here."""
        del key_id
        raise not_supported(self.name, "promote")

    def discard_staged(self, key_id: str) -> None:
        """Refuse: nothing is ever pending here."""
        del key_id
        raise not_supported(self.name, "discard_staged")

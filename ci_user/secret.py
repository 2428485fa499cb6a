"""The one type that holds a secret, and the access key made with it."""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from typing import NoReturn

_HIDDEN = "Secret(hidden)"


class Secret:
    """A string that cannot print itself.

    ``repr``, ``str`` and ``format`` give a constant; JSON and pickle raise ``TypeError``. ``reveal`` is the only way to the
    value, so every place that uses one is found by searching for it.
    """

    __slots__ = ("__value",)

    def __init__(self, value: str) -> None:
        if not isinstance(value, str) or not value:
            raise ValueError("a secret is a string that is not empty")
        self.__value = value

    def reveal(self) -> str:
        """Return the value: for the call that sends it to AWS or to a backend, and for nothing else."""
        return self.__value

    def __repr__(self) -> str:
        return _HIDDEN

    def __str__(self) -> str:
        return _HIDDEN

    def __format__(self, format_spec: str) -> str:
        return _HIDDEN

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self.__value.encode(), other.__value.encode())

    def __hash__(self) -> int:
        # A constant: a hash of the value would be an oracle for it.
        return hash(_HIDDEN)

    def __copy__(self) -> Secret:
        return self

    def __deepcopy__(self, memo: object) -> Secret:
        return self

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("a secret cannot be pickled")


@dataclass(frozen=True, slots=True)
class AccessKey:
    """An IAM access key: its id, which is no secret, and its secret.

    https://docs.aws.amazon.com/IAM/latest/APIReference/API_AccessKey.html
    """

    id: str
    secret: Secret

"""Text that is never shown.

Knows how a key is kept from every rendering. Refuses to know whose key it is.
"""

from __future__ import annotations

from hmac import compare_digest
from typing import NoReturn, Self

MASK = "***"


class Secret:
    """Text that is never shown: masked in every rendering, not picklable, not copied, compared in constant time."""

    __slots__ = ("__text",)

    def __init__(self, text: str) -> None:
        self.__text = text

    def reveal(self) -> str:
        """The text itself."""
        return self.__text

    def __bool__(self) -> bool:
        return bool(self.__text)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return compare_digest(self.__text.encode(), other.__text.encode())

    def __hash__(self) -> int:
        return hash((Secret, self.__text))

    def __str__(self) -> str:
        return MASK

    def __repr__(self) -> str:
        return f"Secret({MASK})"

    def __format__(self, spec: str) -> str:
        return format(MASK, spec)

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: object) -> Self:
        return self

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        message = "a Secret is never pickled"
        raise TypeError(message)

    __reduce__ = __getstate__ = __reduce_ex__  # type: ignore[assignment]  # every way to pickle ends there

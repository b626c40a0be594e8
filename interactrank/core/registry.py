"""Registry: named things that the package knows, and that a user's own module adds to."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from typing import Generic, TypeVar

from interactrank.core.errors import UserError

__all__ = ["Registry", "RegistryError"]

T = TypeVar("T")
_NAME = re.compile(r"[a-z][a-z0-9_]*")


class RegistryError(UserError, KeyError):
    """A name that is not registered, is registered twice, or cannot be one."""

    def __str__(self) -> str:
        return str(self.args[0])  # KeyError would put the message in quotes


class Registry(Generic[T]):
    """Values by name, in the order of their registration.

    Args:
        kind: what the values are, for messages: ``metric``, ``baseline``.

    Example::

        >>> numbers = Registry[int]("number")
        >>> numbers.add("one", 1)
        1
        >>> numbers["one"], numbers.names()
        (1, ['one'])
        >>> numbers["ones"]
        Traceback (most recent call last):
            ...
        interactrank.core.registry.RegistryError: no number 'ones'; did you mean 'one'?
    """

    def __init__(self, kind: str) -> None:
        self._kind = kind
        self._values: dict[str, T] = {}

    def add(self, name: str, value: T) -> T:
        """Register a value.

        Args:
            name: lower-case letters, digits and underscores, a letter first.
            value: what the name stands for.

        Returns:
            ``value``.

        Raises:
            RegistryError: the name is taken or cannot be one.
        """
        if not _NAME.fullmatch(name):
            raise RegistryError(
                f"{self._kind} '{name}': a name is lower-case letters, digits and underscores, a letter first"
            )
        if name in self._values:
            raise RegistryError(
                f"{self._kind} '{name}' is registered already; choose another name or remove the first one"
            )
        self._values[name] = value
        return value

    def remove(self, name: str) -> None:
        """Forget a value.

        Raises:
            RegistryError: there is none of that name.
        """
        _ = self[name]
        del self._values[name]

    def __getitem__(self, name: str) -> T:
        if name not in self._values:
            raise RegistryError(f"no {self._kind} '{name}'{self._hint(name)}")
        return self._values[name]

    def get(self, name: str) -> T | None:
        """Return the value of that name; None if it is not registered."""
        return self._values.get(name)

    def __contains__(self, name: object) -> bool:
        return name in self._values

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def names(self) -> list[str]:
        """Return the names, first registered first."""
        return list(self._values)

    def values(self) -> list[T]:
        """Return the values, first registered first."""
        return list(self._values.values())

    def _hint(self, name: str) -> str:
        near = difflib.get_close_matches(name, self._values, n=1)
        return f"; did you mean '{near[0]}'?" if near else f"; there are {', '.join(self._values) or 'none'}"

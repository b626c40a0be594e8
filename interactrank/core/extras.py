"""Optional dependencies: imported where they are used; the error for a missing one gives the pip line.

A module that only names types of such a dependency imports it under ``TYPE_CHECKING``.
"""

from __future__ import annotations

import importlib
from types import ModuleType

from interactrank.core.errors import UserError

__all__ = ["MissingExtraError", "require"]


class MissingExtraError(UserError, ImportError):
    """An optional dependency is not installed; the message gives the pip line that installs it."""

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(
            f"{package!r} is not installed. It comes with the extra {extra!r}: "
            f"pip install 'interactrank[{extra}]'",
            name=package,
        )
        self.package = package
        self.extra = extra


def require(package: str, extra: str) -> ModuleType:
    """Import an optional dependency.

    Args:
        package: the module to import, for example ``"matplotlib.pyplot"``.
        extra: the extra of this distribution that installs it, for example ``"report"``.

    Returns:
        The imported module.

    Raises:
        MissingExtraError: the package is not installed. A package that is installed but fails to import one
            of its own dependencies raises that error instead, as the pip line would not help.

    Example::

        >>> require("json", "report").dumps([1])
        '[1]'
        >>> require("no_such_package", "report")
        Traceback (most recent call last):
            ...
        interactrank.core.extras.MissingExtraError: 'no_such_package' is not installed. It comes with the \
extra 'report': pip install 'interactrank[report]'
    """
    try:
        return importlib.import_module(package)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] != package.split(".")[0]:
            raise
        raise MissingExtraError(package.split(".")[0], extra) from error

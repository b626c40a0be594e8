"""Optional dependencies: imported where they are used; the error for a missing one gives the pip line.

A module that only names types of such a dependency imports it under ``TYPE_CHECKING``.
"""

from __future__ import annotations

import importlib
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

from interactrank.core.errors import UserError

__all__ = ["MissingExtraError", "require"]

_HIDDEN = {"bm25s": ("jax", "jax.lax")}
"""Package -> modules that are absent to it while it is imported.

bm25s runs JAX once, and JAX then keeps three quarters of a GPU's memory, which the training lacks. JAX serves
its choice of the best alone, which is not called here.
"""


_LOCK = threading.RLock()  # what one thread hides from an import, another's must not bring back


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
        with _LOCK, _hidden(_HIDDEN.get(package, ())):
            return importlib.import_module(package)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] != package.split(".")[0]:
            raise
        raise MissingExtraError(package.split(".")[0], extra) from error


@contextmanager
def _hidden(names: tuple[str, ...]) -> Iterator[None]:
    before = {name: sys.modules[name] for name in names if name in sys.modules}
    sys.modules.update(dict.fromkeys(names))  # type: ignore[arg-type]  # None makes an import fail
    try:
        yield
    finally:
        for name in names:
            del sys.modules[name]
        sys.modules.update(before)

"""Versions of what is installed, read from metadata without importing it."""

from __future__ import annotations

import platform
from importlib import metadata

__all__ = ["installed_versions", "version_of"]

_DISTRIBUTIONS = {
    "interactrank": ("interactrank",),
    "torch": ("torch",),
    "torchrec": ("torchrec",),
    "fbgemm": ("fbgemm_gpu", "fbgemm-gpu", "fbgemm-gpu-cpu"),
    "numpy": ("numpy",),
}


def version_of(*distributions: str) -> str | None:
    """Return the version of the first of these distributions that is installed; None if none is.

    Example::

        >>> version_of("no-such-distribution") is None, version_of("no-such-distribution", "numpy") is None
        (True, False)
    """
    for distribution in distributions:
        try:
            return metadata.version(distribution)
        except metadata.PackageNotFoundError:
            continue
    return None


def installed_versions() -> dict[str, str]:
    """Return the versions that a result depends on.

    Returns:
        ``interactrank``, ``torch``, ``torchrec``, ``fbgemm``, ``numpy`` (``"missing"`` if one is not
        installed), ``python`` and ``platform``.

    Example::

        >>> list(installed_versions())
        ['interactrank', 'torch', 'torchrec', 'fbgemm', 'numpy', 'python', 'platform']
    """
    found = {name: version_of(*distributions) or "missing" for name, distributions in _DISTRIBUTIONS.items()}
    return found | {"python": platform.python_version(), "platform": platform.platform()}

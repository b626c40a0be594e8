"""Exchange the names of two directories in one step, where the system can."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

__all__ = ["exchange"]

_AT_FDCWD, _RENAME_EXCHANGE = -100, 2


def exchange(one: Path, other: Path) -> bool:
    """Let each of two paths of one file system have the other's name, with no moment in between.

    Returns:
        Whether they were exchanged. Not where the C library or the file system does not know how
        (``renameat2`` of Linux, since 3.15; not NFS), or where it may not be done.

    Example::

        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> (folder / "a").mkdir(), (folder / "b").write_text("file")
        (None, 4)
        >>> exchange(folder / "a", folder / "nothing")
        False
    """
    try:
        call = ctypes.CDLL(None).renameat2
    except (AttributeError, OSError, TypeError):
        return False
    paths = os.fsencode(one), os.fsencode(other)
    return bool(call(_AT_FDCWD, paths[0], _AT_FDCWD, paths[1], _RENAME_EXCHANGE) == 0)

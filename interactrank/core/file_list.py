"""The files of a prepared log as its manifest lists them, so that a lost or damaged one is named."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from interactrank.core.files import sha256

__all__ = ["find_damage", "list_files"]


def list_files(folder: Path) -> dict[str, dict[str, Any]]:
    """Name -> ``bytes`` and ``sha256`` of every file within ``folder``.

    Example::

        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = (Path(folder) / "a").write_bytes(b"123")
        ...     files = list_files(Path(folder))
        ...     files["a"]["bytes"], find_damage(Path(folder), files)
        (3, None)
    """
    return {
        path.relative_to(folder).as_posix(): {"bytes": path.stat().st_size, "sha256": sha256(path)}
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def find_damage(
    folder: Path, files: Mapping[str, Mapping[str, Any]], *, checksums: bool = False
) -> str | None:
    """How a file differs from what was listed; None where none does. Other files are ignored.

    Args:
        folder: where the files are.
        files: what :func:`list_files` gave.
        checksums: read the files, too; without it their sizes are compared.
    """
    for name, expected in files.items():
        path = folder / name
        if not path.is_file():
            return f"'{path}' is missing"
        if (size := path.stat().st_size) != expected["bytes"]:
            return f"'{path}' has {size:,} bytes, not the {expected['bytes']:,} that were prepared"
        if checksums and sha256(path) != expected["sha256"]:
            return f"'{path}' has another content than was prepared"
    return None

"""Files written whole or not at all: to a temporary name beside the target, flushed to disk, then renamed."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

__all__ = ["atomic_write", "atomic_write_bytes", "atomic_write_text", "sha256"]


def atomic_write(path: str | os.PathLike[str], write: Callable[[Path], object]) -> Path:
    """Lets ``write`` fill a temporary file, then renames it to ``path``.

    A reader sees the old file or the new one, never a part; a crash leaves the old file. The temporary file
    keeps the suffix of ``path``, so that writers which choose a format by it work unchanged.

    Args:
        path: the file to write. Missing parent folders are made.
        write: called once with the temporary path; must leave a complete, closed file there.

    Returns:
        ``path`` as a :class:`~pathlib.Path`.

    Raises:
        FileNotFoundError: ``write`` left no file at the path that it was given.
        Exception: whatever ``write`` raises; the temporary file is removed and ``path`` stays as it was.

    Example::

        >>> import tempfile
        >>> folder = tempfile.TemporaryDirectory()
        >>> path = atomic_write(Path(folder.name) / "a.txt", lambda temporary: temporary.write_text("whole"))
        >>> path.read_text(), [file.name for file in path.parent.iterdir()]
        ('whole', ['a.txt'])
        >>> folder.cleanup()
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.stem}.{os.getpid()}.tmp{target.suffix}")
    try:
        write(temporary)
        if not temporary.exists():
            raise FileNotFoundError(
                f"{target}: the writer left no file at {temporary}; write to the given path"
            )
        _flush(temporary)
        os.replace(temporary, target)
    except OSError as error:
        if error.errno is not None and error.filename is None:  # a full disk does not say which
            raise OSError(error.errno, error.strerror, str(target)) from error
        raise
    finally:
        temporary.unlink(missing_ok=True)
    _flush(target.parent)
    return target


def atomic_write_bytes(path: str | os.PathLike[str], data: bytes) -> Path:
    """Writes ``data`` to ``path`` whole or not at all.

    Args:
        path: the file to write.
        data: its new content.

    Returns:
        ``path`` as a :class:`~pathlib.Path`.

    Example::

        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     atomic_write_bytes(Path(folder) / "a.bin", b"12").read_bytes()
        b'12'
    """
    return atomic_write(path, lambda temporary: temporary.write_bytes(data))


def atomic_write_text(path: str | os.PathLike[str], text: str) -> Path:
    r"""Writes ``text`` as UTF-8 to ``path`` whole or not at all.

    Args:
        path: the file to write.
        text: its new content; line ends are written as they are given.

    Returns:
        ``path`` as a :class:`~pathlib.Path`.

    Example::

        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     atomic_write_text(Path(folder) / "a.txt", "naïve").read_bytes()
        b'na\xc3\xafve'
    """
    return atomic_write_bytes(path, text.encode("utf-8"))


def sha256(path: Path) -> str:
    """SHA-256 of a file, as 64 hexadecimal digits; it is read piece by piece."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _flush(path: Path) -> None:
    """Forces a file, or the names in a folder, to disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

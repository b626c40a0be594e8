"""Files written whole or not at all: under a temporary name next to them, flushed to disk, then renamed."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from interactrank.core.temporary import temporary_sibling

__all__ = [
    "atomic_write",
    "atomic_write_bytes",
    "atomic_write_text",
    "fsync",
    "name_in_errors",
    "sha256",
]


def atomic_write(path: str | os.PathLike[str], write: Callable[[Path], object]) -> Path:
    """Let ``write`` fill a temporary file, then rename it to ``path``.

    A reader sees the old file or the new one, never a part; a crash leaves the old file. The temporary file
    keeps the suffix of ``path``, so that writers which choose a format by it work unchanged. A ``path`` that
    is a symbolic link stays one: the file that it points to is replaced.

    Args:
        path: the file to write. Missing parent directories are made.
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
    target = Path(os.path.realpath(path))
    target.parent.mkdir(parents=True, exist_ok=True)
    with name_in_errors(target), temporary_sibling(target) as temporary:
        os.utime(temporary, (0, 0))  # so that writing shows, even of nothing
        write(temporary)
        if not temporary.exists() or temporary.stat().st_mtime_ns == 0:
            raise FileNotFoundError(
                f"{target}: the writer left no file at {temporary}; write to the given path"
            )
        fsync(temporary)
        os.replace(temporary, target)
        fsync(target.parent)
    return Path(path)


def atomic_write_bytes(path: str | os.PathLike[str], data: bytes) -> Path:
    """Write ``data`` to ``path`` whole or not at all.

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
    r"""Write ``text`` as UTF-8 to ``path`` whole or not at all.

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
    """Return the SHA-256 of a file as 64 hexadecimal digits; the file is read block by block."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def fsync(path: Path) -> None:
    """Force a file, or the names in a directory, to disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def name_in_errors(target: Path) -> Iterator[None]:
    """Name the target in errors of the operating system that name no file, as those of a full disk do."""
    try:
        yield
    except OSError as error:
        if error.errno is not None and error.filename is None:
            raise OSError(error.errno, error.strerror, str(target)) from error
        raise

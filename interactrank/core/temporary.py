"""Temporary siblings of a target: locked while in use, so that those of killed processes are removed.

A process number could not tell the two apart: in a container the next process has the same one. The kernel
releases a lock when its process ends in any way.
"""

from __future__ import annotations

import fcntl
import os
import re
import secrets
import shutil
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

__all__ = ["cleanup_on_sigterm", "is_temporary_of", "locked", "siblings", "temporary_sibling"]


@contextmanager
def temporary_sibling(target: Path, *, directory: bool = False) -> Iterator[Path]:
    """Make an empty file or directory next to ``target``, lock it, and remove what is left of it at the end.

    Those that killed processes left of the same target are removed first. On a file system without locks
    they cannot be told from those in use, and stay; they never block.

    Args:
        target: what the block is going to write; a file's suffix is kept.
        directory: make a directory; else a file.

    Yields:
        Its path: ``.NAME.<12 hexadecimal digits>.tmp``, for a file followed by the target's suffix.
    """
    for leftover in siblings(target, directory=directory):
        with suppress(OSError), locked(leftover) as is_free:
            if is_free:
                _remove(leftover)
    path, descriptor = _create(target, directory)
    try:
        yield path
    finally:
        _remove(path)
        os.close(descriptor)


@contextmanager
def locked(path: Path) -> Iterator[bool]:
    """Try to lock a file or directory for the block; yield whether this process holds the lock."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        yield _lock(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def cleanup_on_sigterm() -> Iterator[None]:
    """Let SIGTERM unwind the block as Ctrl-C does, and end the process by SIGTERM afterwards.

    Nothing changes outside of the main thread, or if the program handles SIGTERM itself.
    """
    in_main_thread = threading.current_thread() is threading.main_thread()
    if not in_main_thread or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return
    received = False

    def unwind(number: int, frame: FrameType | None) -> None:
        nonlocal received
        received = True
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # a second one does not interrupt the cleaning
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, unwind)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        if received:
            os.kill(os.getpid(), signal.SIGTERM)


def siblings(target: Path, *, directory: bool = False, end: str = ".tmp") -> list[Path]:
    """Return the temporary siblings of a target, in use or not."""
    try:
        with os.scandir(target.parent) as entries:
            return [
                Path(entry.path)
                for entry in entries
                if is_temporary_of(entry.name, target, directory=directory, end=end)
            ]
    except OSError:
        return []


def is_temporary_of(name: str, target: Path, *, directory: bool = False, end: str = ".tmp") -> bool:
    """Return whether a name is one that :func:`temporary_sibling` makes for a target.

    Example::

        >>> is_temporary_of(".a.0123456789ab.tmp.txt", Path("a.txt"))
        True
        >>> is_temporary_of(".a.old.tmp", Path("a"), directory=True)
        False
    """
    before, after = _affixes(target, directory, end)
    return re.fullmatch(f"{re.escape(before)}[0-9a-f]{{12}}{re.escape(after)}", name) is not None


def _affixes(target: Path, directory: bool, end: str = ".tmp") -> tuple[str, str]:
    return (f".{target.name}.", end) if directory else (f".{target.stem}.", end + target.suffix)


def _create(target: Path, directory: bool) -> tuple[Path, int]:
    """Make and lock a new sibling; return it with the open descriptor that holds the lock."""
    before, after = _affixes(target, directory)
    while True:
        path = target.with_name(f"{before}{secrets.token_hex(6)}{after}")
        if directory:
            path.mkdir()
            descriptor = os.open(path, os.O_RDONLY)
        else:
            descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o666)
        _lock(descriptor)
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(descriptor), path.stat()):
                return path, descriptor
        os.close(descriptor)  # another process removed it before it was locked


def _lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:  # held by another process, or the file system has no locks
        return False
    return True


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)

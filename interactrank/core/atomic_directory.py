"""Directories that appear whole or not at all, and replace only what they may."""

from __future__ import annotations

import os
import shutil
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from interactrank.core.exchange import exchange
from interactrank.core.files import fsync, name_in_errors
from interactrank.core.parallel import in_order
from interactrank.core.temporary import (
    cleanup_on_sigterm,
    is_temporary_of,
    locked,
    siblings,
    temporary_sibling,
)

__all__ = ["atomic_directory"]

OLD = ".old"  # end of the name of a directory that is being replaced


@contextmanager
def atomic_directory(
    path: str | os.PathLike[str], *, replaces: Collection[str] = (), last: str = "manifest.json"
) -> Iterator[Path]:
    """Give the block a temporary directory that becomes ``path`` at the end of the block.

    A reader sees the old directory or the new one. If the block raises, or its process is killed, the old one
    stays; SIGTERM removes what was written so far, and what SIGKILL leaves is removed the next time.

    A ``path`` that is a symbolic link stays one. The temporary directory lies next to ``path``. If ``path``
    is the working directory, a mount point, or in a directory that cannot be written, it lies within
    ``path`` and its entries are moved up, ``last`` after all others; a reader that looks for ``last`` first
    then still sees nothing incomplete.

    Args:
        path: the directory. It may be missing or empty, and missing parent directories are made.
        replaces: names of the entries that ``path`` may already have; they are replaced.
        last: the entry that says that the directory is complete.

    Yields:
        An empty directory to write to.

    Raises:
        FileExistsError: ``path`` has other entries; names the first.
        NotADirectoryError: ``path`` is a file.
        OSError: it cannot be written; names ``path`` or a file in it.

    Example::

        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with atomic_directory(Path(folder) / "a") as temporary:
        ...         _ = (temporary / "manifest.json").write_text("{}")
        ...     [str(path.relative_to(folder)) for path in Path(folder).rglob("*")]
        ['a', 'a/manifest.json']
    """
    target = Path(os.path.realpath(path))
    _restore(target)
    _refuse_to_replace(target, replaces)
    stays = target.is_dir() and _must_stay(target)
    base = target / target.name if stays else target
    with (
        cleanup_on_sigterm(),
        name_in_errors(target),
        _parents_of(target),
        temporary_sibling(base, directory=True) as temporary,
    ):
        yield temporary
        _refuse_to_replace(target, replaces)  # what came meanwhile
        _flush_tree(temporary)
        if stays:
            _move_up(temporary, target, replaces, last)
        else:
            _swap(temporary, target)


@contextmanager
def _parents_of(target: Path) -> Iterator[None]:
    """Make the missing parent directories; remove them again if the block raises."""
    made = [folder for folder in target.parents if not folder.exists()]
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        yield
    except BaseException:
        for folder in made:
            with suppress(OSError):  # another process uses it by now
                folder.rmdir()
        raise


def _refuse_to_replace(target: Path, replaces: Collection[str]) -> None:
    if not target.exists():
        return
    if not target.is_dir():
        raise NotADirectoryError(f"'{target}' is a file; name a new directory")
    for name in sorted(os.listdir(target)):
        is_ours = name in replaces or is_temporary_of(name, target, directory=True)
        if not is_ours and not _is_empty_directory(target / name):
            raise FileExistsError(
                f"'{target}' is not empty, and '{name}' in it may not be replaced; name a new directory, or "
                "move it away"
            )


def _is_empty_directory(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink() and not any(path.iterdir())


def _must_stay(target: Path) -> bool:
    """Return whether a directory cannot be renamed, or would be missed by this process."""
    with suppress(FileNotFoundError):  # the working directory was deleted
        if Path.cwd().is_relative_to(target):
            return True
    return os.path.ismount(target) or not os.access(target.parent, os.W_OK | os.X_OK)


def _swap(temporary: Path, target: Path) -> None:
    """Rename the new directory to the target; an older one stays if that fails.

    Where names cannot be exchanged, there is a moment without a target. Who is killed then leaves the old one
    under another name, and the next writer puts it back.
    """
    if not target.exists() or _is_empty_directory(target):
        os.replace(temporary, target)
    elif not exchange(temporary, target):
        old = temporary.with_suffix(OLD)
        with locked(target):  # so that no other process takes it for one that a killed process left
            os.replace(target, old)
            try:
                os.replace(temporary, target)
            except BaseException:
                os.replace(old, target)
                raise
            shutil.rmtree(old, ignore_errors=True)
    fsync(target.parent)


def _restore(target: Path) -> None:
    """Put back, or remove, the old directory of a process that was killed while it was replaced."""
    for old in siblings(target, directory=True, end=OLD):
        with suppress(OSError), locked(old) as is_free:
            if is_free and not target.exists():
                os.replace(old, target)
            elif is_free:
                shutil.rmtree(old, ignore_errors=True)


def _move_up(temporary: Path, target: Path, replaces: Collection[str], last: str) -> None:
    """Replace the target's entries by those of the temporary directory within it."""
    new = sorted(os.listdir(temporary), key=lambda name: (name == last, name))
    for name in sorted({*replaces, *new}, key=lambda name: name != last):
        entry = target / name
        if not os.path.lexists(entry):
            continue
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()
    for name in new:
        os.replace(temporary / name, target / name)
    fsync(target)


def _flush_tree(folder: Path) -> None:
    found = list(os.walk(folder))
    files = [Path(path, name) for path, _, names in found for name in names]
    for flushed in (files, [Path(path) for path, _, _ in found]):  # files, then the names of them
        for _ in in_order(fsync, flushed, threads=8):  # a disk takes several at a time
            pass

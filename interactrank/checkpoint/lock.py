"""One training at a time in a folder: a second one would delete what the first is writing."""

from __future__ import annotations

import fcntl
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from interactrank.core.errors import TrainingError
from interactrank.distributed.collectives import run_on_rank0

__all__ = ["FolderLock", "folder_lock"]

_WAIT_S = 10.0  # grace period for the previous process of a restarted job to exit


@contextmanager
def folder_lock(folder: str | os.PathLike[str]) -> Iterator[None]:
    """Lock the folder of a run, from rank 0, while the block runs. All ranks must enter it.

    Args:
        folder: of a run; made if it is missing.

    Raises:
        TrainingError: another training holds it (on other ranks a RankError that quotes it).
    """
    lock = FolderLock(Path(folder))
    run_on_rank0("locking the folder of the run", lock.acquire)
    try:
        yield
    finally:
        lock.release()


class FolderLock:
    """Released on exit, even when the process is killed.

    On a file system without locks nothing is locked.

    Args:
        folder: of a run; made if it is missing.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._file: IO[str] | None = None

    def acquire(self, wait_s: float = _WAIT_S) -> None:
        """Lock the folder.

        Args:
            wait_s: how long another process may still hold it.

        Raises:
            TrainingError: another process holds it; names that process and its machine.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        self._file = (self.folder / ".lock").open("a+")
        deadline = time.monotonic() + wait_s
        while True:
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    self._refuse()
                time.sleep(0.1)
            except OSError:
                return
        self._file.truncate(0)
        self._file.write(f"process {os.getpid()} on {socket.gethostname()}")
        self._file.flush()

    def release(self) -> None:
        """Release the lock; do nothing if this process does not hold it."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _refuse(self) -> None:
        assert self._file is not None
        self._file.seek(0)
        holder = self._file.read() or "another process"
        self.release()
        raise TrainingError(
            f"'{self.folder}' is being written by another training ({holder}); wait for its end, stop it, "
            "or name another folder"
        )

"""One training at a time in a folder: a second one would clear away what the first is writing."""

from __future__ import annotations

import fcntl
import os
import socket
import time
from pathlib import Path
from typing import IO

from interactrank.core.errors import TrainingError

__all__ = ["FolderLock"]

_WAIT_S = 10.0  # that a job which was started anew gives the processes before it to end


class FolderLock:
    """Held by a process until it lets go or dies, however it dies.

    Where the file system knows no locks nothing is locked.

    Args:
        folder: of a run; made if it is missing.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._file: IO[str] | None = None

    def acquire(self, wait_s: float = _WAIT_S) -> None:
        """Takes the lock.

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
        """Lets go; nothing happens where this process does not hold the lock."""
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

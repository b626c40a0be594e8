"""Batches made ahead by a thread."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator

from interactrank.batch import SearchBatch

__all__ = ["prefetch"]


def prefetch(batches: Iterator[SearchBatch], depth: int) -> Iterator[SearchBatch]:
    """Yield the same batches, made by a thread up to ``depth`` ahead; its errors are raised here."""
    ready: queue.Queue[SearchBatch | BaseException | None] = queue.Queue(depth)
    stopped = threading.Event()

    def offer(value: SearchBatch | BaseException | None) -> bool:
        while not stopped.is_set():
            try:
                ready.put(value, timeout=0.1)
                return True
            except queue.Full:
                continue
        return False

    def work() -> None:
        try:
            for batch in batches:
                if not offer(batch):
                    return
            offer(None)
        except BaseException as error:
            offer(error)

    thread = threading.Thread(target=work, name="interactrank-loader", daemon=True)
    thread.start()
    try:
        while (value := ready.get()) is not None:
            if isinstance(value, BaseException):
                raise value
            yield value
    finally:
        stopped.set()
        thread.join()  # the files are free for the next epoch

"""The files of a checkpoint, hashed while they are written."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, cast

import torch
from torch import Tensor
from torch.distributed.checkpoint import DefaultSavePlanner, FileSystemWriter, SavePlan, SavePlanner
from torch.distributed.checkpoint.filesystem import FileSystem
from torch.distributed.checkpoint.planner import WriteItem
from torch.distributed.checkpoint.storage import WriteResult
from torch.futures import Future
from torch.serialization import get_crc32_options, set_crc32_options

__all__ = ["HashingWriter", "SharingPlanner"]

_LARGE = 1 << 16  # bytes from which a thread pays
_PIECE = 1 << 25  # bytes that are brought to the disk at once


class _HashedFile:
    """A file being written, and its SHA-256; a large block is hashed by a thread while it is written."""

    def __init__(self, file: BinaryIO, thread: ThreadPoolExecutor) -> None:
        self.file, self.thread = file, thread
        self.hash = hashlib.sha256()
        self.bytes = 0
        self.error: OSError | None = None

    def write(self, data: Any) -> int:
        try:
            return self._write(data)
        except OSError as error:
            self.error = error
            raise

    def _write(self, data: Any) -> int:
        size = memoryview(data).nbytes
        self.bytes += size
        if size < _LARGE:
            self.hash.update(data)
            self.file.write(data)
        else:
            hashed = self.thread.submit(self.hash.update, data)
            try:
                self._write_in_pieces(memoryview(data).cast("B"))
            finally:
                hashed.result()  # the caller may reuse the memory afterwards
        return size

    def _write_in_pieces(self, data: memoryview) -> None:
        """Flush large pieces to the disk one by one, and drop them from the system's page cache.

        The disk is then busy while the thread hashes, and a checkpoint takes no memory from the data that
        training reads.
        """
        for start in range(0, len(data), _PIECE):
            piece = data[start : start + _PIECE]
            self.file.write(piece)
            if len(piece) == _PIECE:
                os.fdatasync(self.fileno())
                os.posix_fadvise(self.file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)

    def tell(self) -> int:
        return self.bytes

    def flush(self) -> None:
        self.file.flush()

    def fileno(self) -> int:
        self.file.flush()  # torch takes the descriptor to fsync, and flushes nothing before
        return self.file.fileno()

    def close(self) -> None:
        self.file.close()

    def writable(self) -> bool:
        return True

    def readable(self) -> bool:
        return False

    def seekable(self) -> bool:
        return False


class _HashingFileSystem(FileSystem):
    def __init__(self) -> None:
        self.digests: dict[str, dict[str, Any]] = {}
        self.thread = ThreadPoolExecutor(1, "interactrank-sha256")

    @contextmanager
    def create_stream(self, path: str | os.PathLike, mode: str) -> Generator[Any, None, None]:
        with Path(path).open(mode) as file:
            stream = _HashedFile(cast(BinaryIO, file), self.thread)
            try:
                yield stream
            except Exception as error:
                if stream.error is not None:  # torch.save only says that it could not go on
                    raise stream.error from error
                raise
        self.digests[Path(path).name] = {"bytes": stream.bytes, "sha256": stream.hash.hexdigest()}

    def rename(self, path: str | os.PathLike, new_path: str | os.PathLike) -> None:
        super().rename(path, new_path)
        self.digests[Path(new_path).name] = self.digests.pop(Path(path).name)


class HashingWriter(FileSystemWriter):
    """Writes a checkpoint of torch.distributed.checkpoint and keeps what its files must be.

    Args:
        path: folder of the checkpoint.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.fs = _HashingFileSystem()

    @property
    def digests(self) -> dict[str, dict[str, Any]]:
        """Name -> ``bytes`` and ``sha256`` of every file that this rank has written."""
        return cast(_HashingFileSystem, self.fs).digests

    def write_data(self, plan: SavePlan, planner: SavePlanner) -> Future[list[WriteResult]]:
        """Write as the base class does, without torch.save's CRC-32: SHA-256 covers the same bytes."""
        before = get_crc32_options()
        set_crc32_options(False)
        try:
            return super().write_data(plan, planner)
        finally:
            set_crc32_options(before)

    def close(self) -> None:
        """End the thread that hashes."""
        cast(_HashingFileSystem, self.fs).thread.shutdown()


class SharingPlanner(DefaultSavePlanner):
    """Gives tensors to the writer without a copy.

    FBGEMM keeps the tables of a group in one storage. torch writes whole storages, so it would first copy
    each table to one of its own.
    """

    def transform_object(self, write_item: WriteItem, object: Any) -> Any:
        """Return the object; a part of a storage gets a storage of its own over the same memory."""
        value = super().transform_object(write_item, object)
        return _own_storage(value) if isinstance(value, Tensor) else value


def _own_storage(value: Tensor) -> Tensor:
    value = value.detach()
    if value.numel() == 0 or value.is_cuda or not value.is_contiguous():
        return value  # nothing to spare, or copied to the CPU or into one block anyway
    if value.untyped_storage().nbytes() == value.nbytes:
        return value
    return torch.from_numpy(value.view(-1).view(torch.uint8).numpy()).view(value.dtype).view(value.shape)

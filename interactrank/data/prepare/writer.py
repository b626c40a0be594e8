"""SplitWriter: the Parquet files of one split."""

from __future__ import annotations

from pathlib import Path

from interactrank.data.extras import pa, pq
from interactrank.data.settings import PrepareSettings

__all__ = ["SplitWriter"]


class SplitWriter:
    """Parquet files of one split; a new file every ``file_requests`` requests.

    Args:
        folder: made here.
        settings: requests of a file and of a row group.
    """

    def __init__(self, folder: Path, settings: PrepareSettings) -> None:
        self.folder, self.settings = folder, settings
        self.requests = self._in_file = self._files = 0
        self._writer: pq.ParquetWriter | None = None
        folder.mkdir()

    def write(self, table: pa.Table) -> None:
        """Append requests."""
        if self._writer is None:
            path = self.folder / f"requests-{self._files:05d}.parquet"
            self._writer = pq.ParquetWriter(path, table.schema, compression="zstd")
            self._files += 1
        self._writer.write_table(table, row_group_size=self.settings.group_requests)
        self.requests += table.num_rows
        self._in_file += table.num_rows
        if self._in_file >= self.settings.file_requests:
            self.close()

    def close(self) -> None:
        """Finish the file being written."""
        if self._writer is not None:
            self._writer.close()
        self._writer, self._in_file = None, 0

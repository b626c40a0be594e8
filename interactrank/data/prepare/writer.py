"""SplitWriter: the Parquet files of one split."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from interactrank.data.arrow_lists import from_arrow
from interactrank.data.extras import pa, pq
from interactrank.data.prepared.columns import CANDIDATES, LABELS
from interactrank.data.settings import PrepareSettings

__all__ = ["SplitWriter"]


class SplitWriter:
    """Parquet files of one split; a new file every ``file_requests`` requests.

    Args:
        folder: made here.
        settings: requests of a file and of a row group.
        heads: names of the label columns.

    Attributes:
        requests: how many were written.
        positives: head -> requests with a positive candidate (``with_positive``), and those of them that
            have another candidate, too (``with_both``).
    """

    def __init__(self, folder: Path, settings: PrepareSettings, heads: list[str]) -> None:
        self.folder, self.settings = folder, settings
        self.positives = {head: {"with_positive": 0, "with_both": 0} for head in heads}
        self.requests = self._in_file = self._files = 0
        self._writer: pq.ParquetWriter | None = None
        folder.mkdir()

    def write(self, table: pa.Table) -> None:
        """Append requests."""
        if self._writer is None:
            path = self.folder / f"requests-{self._files:05d}.parquet"
            few = [name for f in table.schema if (name := _of_few_values(f)) is not None]
            self._writer = pq.ParquetWriter(path, table.schema, compression="zstd", use_dictionary=few)
            self._files += 1
        self._count(table)
        self._writer.write_table(table, row_group_size=self.settings.group_requests)
        self.requests += table.num_rows
        self._in_file += table.num_rows
        if self._in_file >= self.settings.file_requests:
            self.close()

    def _count(self, table: pa.Table) -> None:
        lengths = from_arrow(table[CANDIDATES]).lengths
        labels = from_arrow(table[LABELS]).values.reshape(-1, len(self.positives))
        request = np.repeat(np.arange(len(lengths)), lengths)
        for j, count in enumerate(self.positives.values()):
            positives = np.bincount(request[labels[:, j] > 0], minlength=len(lengths))
            count["with_positive"] += int((positives > 0).sum())
            count["with_both"] += int(((positives > 0) & (positives < lengths)).sum())

    def close(self) -> None:
        """Finish the file being written."""
        if self._writer is not None:
            self._writer.close()
        self._writer, self._in_file = None, 0


def _of_few_values(field: pa.Field) -> str | None:
    """Return the path of a column's values in Parquet; None for lists of fractions.

    A dictionary makes those larger and slower to write.
    """
    if not pa.types.is_list(field.type):
        return str(field.name)
    return None if pa.types.is_floating(field.type.value_type) else f"{field.name}.list.element"

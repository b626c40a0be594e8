"""Stores of the cross features of a schema."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from interactrank.core.parallel import in_order
from interactrank.core.progress import track
from interactrank.cross_features import (
    CrossFeature,
    EngagementCountStore,
    EngagementRows,
    StoreInputs,
    features_of,
)
from interactrank.cross_features.features import STORES
from interactrank.data.extras import pa, pq
from interactrank.data.prepare.raw_requests import RawRequests, RequestBlocks
from interactrank.data.prepared.user_sequences import UserSequences
from interactrank.data.raw.staged_log import StagedLog

__all__ = ["REPEATS", "SequenceRows", "build_stores", "counts_rows"]

REPEATS = "repeats"  # folder of what each user engaged with after each query


@dataclass(frozen=True)
class SequenceRows:
    """Every user's engagements as cross features read them.

    Args:
        events: all of them.
        length: of a user sequence.
    """

    events: UserSequences
    length: int

    def shared(self) -> Iterator[EngagementRows]:
        """Yield (item, other item, time): from that time on a user had engaged with both."""
        return (EngagementRows(*rows) for rows in self.events.shared(self.length))

    def queries(self) -> Iterator[EngagementRows]:
        """Yield (item, query, time) of each engagement whose query is known."""
        return (EngagementRows(*rows) for rows in self.events.queries())


def build_stores(output: Path, work: Path, blocks: RequestBlocks, items: pa.Table) -> None:
    """Write the store of every cross feature, and the one of repeats if they are not ranked.

    Engagement rows are written to files block by block, sorted by DuckDB, and written as arrays: memory does
    not grow with the log.

    Args:
        output: the dataset.
        work: for the files in between, which are removed.
        blocks: all requests.
        items: columns of the items file, among them those that features read.
    """
    features, log, schema = features_of(blocks.schema), blocks.log, blocks.schema
    stores: dict[str, CrossFeature[Any]] = {}
    for feature in features:
        for name in feature.stores:
            stores.setdefault(name, feature)
    rows = {name: _Rows(log, work / f"{name}.parquet") for name in stores}
    repeats = _Rows(log, work / f"{REPEATS}.parquet")
    counting = {name: f for name, f in stores.items() if counts_rows(f)}
    if counting or schema.exclude_repeats:

        def counted(block: RawRequests) -> tuple[dict[str, EngagementRows | None], EngagementRows | None]:
            found = {name: feature.rows_of(name, block) for name, feature in counting.items()}
            return found, block.repeat_rows() if schema.exclude_repeats else None

        for found, repeated in track(blocks.map(counted), len(blocks), "engagements"):
            for name in counting:
                rows[name].add(found[name])
            repeats.add(repeated)

    def build(name: str) -> None:
        feature = stores[name]
        if blocks.user_sequences is not None and schema.sequence is not None:
            for more in feature.sequence_rows(SequenceRows(blocks.user_sequences, schema.sequence.length)):
                rows[name].add(more)
        columns = {column: items[column].to_pylist() for column in feature.settings.item_columns}
        inputs = StoreInputs(rows[name].by_pair, rows[name].by_key, columns, log.num_items)
        feature.build(output / STORES / name, inputs)
        rows[name].remove()

    for _ in track(in_order(build, stores, blocks.threads), len(stores), "cross features"):
        pass
    if schema.exclude_repeats:
        EngagementCountStore.build(output / REPEATS, repeats.by_pair(), repeats.by_key())
        repeats.remove()


def counts_rows(feature: CrossFeature[Any]) -> bool:
    """Return whether a feature counts what happened in requests."""
    kind = type(feature)
    return kind.rows is not CrossFeature.rows or kind.rows_of is not CrossFeature.rows_of


class _Rows:
    """Engagement rows in a Parquet file, which is made with the first of them."""

    def __init__(self, log: StagedLog, path: Path) -> None:
        self.log, self.path = log, path
        self._writer: Any = None

    def add(self, rows: EngagementRows | None) -> None:
        """Append rows; None for none."""
        if rows is None:
            return
        fields = pa.schema([("key", pa.int64()), ("item", pa.int32()), ("time", pa.int64())])
        if self._writer is None:
            self._writer = pq.ParquetWriter(
                self.path, fields, compression="none", use_dictionary=False, write_statistics=False
            )
        self._writer.write_table(pa.table(dict(zip(fields.names, rows, strict=True)), fields))

    def by_pair(self) -> Iterator[EngagementRows]:
        """Yield all rows, ordered by key, item and time."""
        for batch in self._batches("SELECT key, item, time FROM {} ORDER BY key, item, time"):
            yield EngagementRows(batch["key"].to_numpy(), batch["item"].to_numpy(), batch["time"].to_numpy())

    def by_key(self) -> Iterator[Any]:
        """Yield the times alone, ordered by key and time."""
        for batch in self._batches("SELECT time FROM {} ORDER BY key, time"):
            yield batch["time"].to_numpy()

    def remove(self) -> None:
        """Delete the file."""
        self._finish()
        self.path.unlink(missing_ok=True)

    def _batches(self, sql: str) -> Iterator[Any]:
        self._finish()
        if self.path.exists():
            name = str(self.path).replace("'", "''")
            yield from self.log.batches(sql.format(f"'{name}'"))

    def _finish(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None

"""The requests of a dataset, written split by split in order of time."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from interactrank.core.progress import track
from interactrank.cross_features.count_store import EngagementCountStore
from interactrank.cross_features.features import CrossFeatures
from interactrank.data.extras import pa, pc
from interactrank.data.prepare.encode_requests import encode_requests
from interactrank.data.prepare.query_frequency import QueryFrequency
from interactrank.data.prepare.raw_requests import RawRequests, RequestBlocks
from interactrank.data.prepare.stores import REPEATS
from interactrank.data.prepare.writer import SplitWriter
from interactrank.data.prepared.columns import SPLITS
from interactrank.data.prepared.vocabulary import Vocabulary
from interactrank.data.raw.splits import WARMUP
from interactrank.data.raw.staged_log import StagedLog
from interactrank.data.settings import PrepareSettings

__all__ = ["write_splits"]


def write_splits(
    folder: Path,
    blocks: RequestBlocks,
    *,
    settings: PrepareSettings,
    vocabularies: Mapping[str, Vocabulary],
    cross: CrossFeatures,
) -> dict[str, SplitWriter]:
    """Write all requests into a dataset's folder and return the closed writer of each split."""
    frequency = _train_frequency(blocks.log)
    repeats = None
    if blocks.schema.exclude_repeats:
        repeats = EngagementCountStore.open(folder / REPEATS)
    writers = {split: SplitWriter(folder / split, settings, blocks.schema.head_names) for split in SPLITS}

    def encode(block: RawRequests) -> dict[str, pa.Table]:
        table = encode_requests(
            block, vocabularies=vocabularies, cross=cross, train_frequency=frequency, repeats=repeats
        )
        split = block.table["split"]
        chosen = {name: np.flatnonzero(pc.equal(split, name).to_numpy()) for name in SPLITS}
        return {name: _rows(table, at) for name, at in chosen.items() if len(at)}

    try:
        for tables in track(blocks.map(encode), len(blocks), "requests"):
            for name, table in tables.items():
                writers[name].write(table)
    finally:
        for writer in writers.values():
            writer.close()
    return writers


def _rows(table: pa.Table, at: NDArray[np.int64]) -> pa.Table:
    """Return the rows ``at``, which ascend; without copying them if they are neighbours."""
    first, last = int(at[0]), int(at[-1]) + 1
    return table.slice(first, last - first) if last - first == len(at) else table.take(at)


def _train_frequency(log: StagedLog) -> QueryFrequency:
    sql = f"SELECT query, count(*) AS n FROM requests WHERE split IN ('train', '{WARMUP}') GROUP BY 1"
    return QueryFrequency((b["query"].to_pylist(), b["n"].to_numpy()) for b in log.batches(sql))

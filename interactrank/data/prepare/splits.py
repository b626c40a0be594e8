"""The requests of a dataset, written split by split in order of time."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from interactrank.core.progress import track
from interactrank.cross_features.count_store import EngagementCountStore
from interactrank.cross_features.features import CrossFeatures
from interactrank.data.prepare.encode_requests import encode_requests
from interactrank.data.prepare.query_frequency import QueryFrequency
from interactrank.data.prepare.raw_requests import RequestBlocks
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
    try:
        for block in track(blocks, len(blocks), "requests"):
            table = encode_requests(
                block, vocabularies=vocabularies, cross=cross, train_frequency=frequency, repeats=repeats
            )
            split = np.array(block.table["split"].to_pylist())
            for name, writer in writers.items():
                rows = np.flatnonzero(split == name)
                if len(rows):
                    writer.write(table.take(rows))
    finally:
        for writer in writers.values():
            writer.close()
    return writers


def _train_frequency(log: StagedLog) -> QueryFrequency:
    sql = f"SELECT query, count(*) AS n FROM requests WHERE split IN ('train', '{WARMUP}') GROUP BY 1"
    return QueryFrequency((b["query"].to_pylist(), b["n"].to_numpy()) for b in log.batches(sql))

"""Engagement counts: one store for each key space."""

from __future__ import annotations

from pathlib import Path

from interactrank.core.progress import track
from interactrank.cross_features.count_store import EngagementCountStore
from interactrank.cross_features.features import KeySpace, key_spaces
from interactrank.data.extras import pa, pq
from interactrank.data.prepare.raw_requests import REPEATS, RequestBlocks
from interactrank.data.raw.staged_log import StagedLog
from interactrank.schema import SearchSchema

__all__ = ["write_counts"]


def write_counts(folder: Path, work: Path, blocks: RequestBlocks) -> None:
    """Write the stores that the schema's cross features need.

    The engagements of all key spaces are written to files block by block, sorted by DuckDB, and written as
    arrays: memory does not grow with the log.

    Args:
        folder: of the stores, one folder each.
        work: for the files in between, which are removed.
        blocks: all requests.
    """
    spaces = _spaces(blocks.schema)
    if not spaces:
        return
    _write_engagements(work, spaces, blocks)
    for space in track(spaces, len(spaces), "histories"):
        _write_store(folder / space.name, _file(work, space), blocks.log)
        _file(work, space).unlink()


def _spaces(schema: SearchSchema) -> list[KeySpace]:
    wanted = [s.store for s in key_spaces(schema)]
    return list(dict.fromkeys([*wanted, *([REPEATS] if schema.exclude_repeats else [])]))


def _file(work: Path, space: KeySpace) -> Path:
    return work / f"{space.name}.parquet"


def _write_engagements(work: Path, spaces: list[KeySpace], blocks: RequestBlocks) -> None:
    """Write (key, item, time) of each engagement of each key space, in any order."""
    fields = pa.schema([("key", pa.int64()), ("item", pa.int32()), ("time", pa.int64())])
    writers = {s: pq.ParquetWriter(_file(work, s), fields) for s in spaces}
    sequences, sequence = blocks.user_sequences, blocks.schema.sequence
    try:
        for block in track(blocks, len(blocks), "history keys"):
            for space, writer in writers.items():
                if space.key != "history":  # those come from the user sequences, below
                    exploded = dict(zip(fields.names, block.explode(space), strict=True))
                    writer.write_table(pa.table(exploded, fields))
        for space, writer in writers.items():
            if space.key == "history" and sequences is not None and sequence is not None:
                for rows in sequences.queries() if space.over else sequences.shared(sequence.length):
                    writer.write_table(pa.table(dict(zip(fields.names, rows, strict=True)), fields))
    finally:
        for writer in writers.values():
            writer.close()


def _write_store(folder: Path, engagements: Path, log: StagedLog) -> None:
    path = str(engagements).replace("'", "''")
    by_pair = log.batches(f"SELECT * FROM '{path}' ORDER BY key, item, time")
    by_key = log.batches(f"SELECT time FROM '{path}' ORDER BY key, time")
    EngagementCountStore.build(
        folder,
        ((b["key"].to_numpy(), b["item"].to_numpy(), b["time"].to_numpy()) for b in by_pair),
        (b["time"].to_numpy() for b in by_key),
    )

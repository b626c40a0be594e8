"""From requests and the histories that they ask for to rows of the dataset, and to its files."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from interactrank.cross_features import CrossFeatures, EngagementCountStore, EngagementRows, StoreInputs
from interactrank.cross_features.features import FIELDS, STORES
from interactrank.data.extras import pa, pc
from interactrank.data.prepare.encode_requests import encode_requests
from interactrank.data.prepare.stores import REPEATS
from interactrank.data.prepare.writer import SplitWriter
from interactrank.data.spark.histories import asked_stores, repeats_number
from interactrank.data.spark.job import Job
from interactrank.data.spark.requests import raw_requests

__all__ = ["WRITTEN", "encode", "write_files"]

WRITTEN = pa.schema(
    [
        ("split", pa.string()),
        ("file", pa.int32()),
        ("head", pa.string()),
        ("requests", pa.int64()),
        ("with_positive", pa.int64()),
        ("with_both", pa.int64()),
    ]
)
"""What a file holds, of each head."""


class _Given:
    """How often the queries of some requests were searched in training, as they came with them."""

    def __init__(self, counts: Any) -> None:
        self._counts = counts

    def of(self, queries: list[str]) -> Any:
        """Return [R] the counts."""
        return self._counts


def encode(job: Job, requests: pa.Table, rows: pa.Table) -> pa.Table:
    """Return requests as rows of a split, with ``request`` and ``split`` before them.

    The part's own stores are built from the histories that it asked for, and looked up by the code of one
    machine.

    Args:
        job: the preparation.
        requests: of a part.
        rows: what is counted under the keys that these requests ask for.
    """
    with TemporaryDirectory(prefix="interactrank-spark-") as name:
        folder = Path(name)
        _build(job, folder, rows)
        cross = CrossFeatures.open(folder, job.schema, job.num_items)
        repeats = EngagementCountStore.open(folder / REPEATS) if job.schema.exclude_repeats else None
        tables = []
        size = job.settings.block_requests
        for start in range(0, len(requests), size):
            some = requests.slice(start, size)
            found = encode_requests(
                raw_requests(job, some),
                vocabularies=job.vocabularies,
                cross=cross,
                train_frequency=_Given(some["train_frequency"].to_numpy()),  # type: ignore[arg-type]
                repeats=repeats,
            )
            number, split = (some[n].combine_chunks() for n in ("request", "split"))
            found = found.add_column(0, "r_split", split).add_column(0, "r_request", number)
            tables.append(found)
    return pa.concat_tables(tables)


def write_files(job: Job, kind: pa.Schema, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Write the files of a partition and yield what they hold, as rows of :data:`WRITTEN`.

    A file is written elsewhere and moved, so that a task that runs twice, or is killed, harms none.

    Args:
        job: the preparation.
        kind: Arrow types of the columns of a file.
        batches: rows of :func:`encode`, with ``r_file``, sorted by split, file and request.
    """
    for split, file, blocks in _files(job, batches):
        target = Path(job.output) / split / f"requests-{file:05d}.parquet"
        with TemporaryDirectory(dir=job.work) as name:  # of the file system that the file goes to
            settings = job.settings.model_copy(update={"file_requests": np.iinfo(np.int64).max})
            writer = SplitWriter(Path(name) / "file", settings, job.schema.head_names)
            for block in blocks:
                rows = block.select([f"x{n}" for n in range(len(kind))]).rename_columns(kind.names)
                writer.write(rows.cast(kind))
            writer.close()
            os.replace(writer.folder / "requests-00000.parquet", target)
        lines = [(split, file, h, writer.requests, *c.values()) for h, c in writer.positives.items()]
        columns = [pa.array(c, f.type) for c, f in zip(zip(*lines, strict=True), WRITTEN, strict=True)]
        yield pa.record_batch(columns, WRITTEN)


def _build(job: Job, folder: Path, rows: pa.Table) -> None:
    """Write the stores of a part into a folder, by the code of each feature."""
    dataset = Path(job.output)
    if (dataset / FIELDS).exists():
        os.symlink(dataset / FIELDS, folder / FIELDS)
    (folder / STORES).mkdir()
    for number, (name, feature) in enumerate(job.stores.items()):
        if name in asked_stores(job):
            inputs = _inputs(rows, number)
            feature.build(folder / STORES / name, StoreInputs(*inputs, {}, job.num_items))
        else:  # it is there already, and open to all
            os.symlink(dataset / STORES / name, folder / STORES / name)
    if job.schema.exclude_repeats:
        by_pair, by_key = _inputs(rows, repeats_number(job))
        EngagementCountStore.build(folder / REPEATS, by_pair(), by_key())


def _inputs(rows: pa.Table, number: int) -> tuple[Any, Any]:
    """Return what a store is built from."""
    some = rows.filter(pc.equal(rows["store"], number))
    key, item, time = (some[n].to_numpy() for n in ("key", "item", "time"))
    by_pair, by_key = np.lexsort((time, item, key)), np.lexsort((time, key))
    return (
        lambda: iter([EngagementRows(key[by_pair], item[by_pair], time[by_pair])]),
        lambda: iter([time[by_key]]),
    )


def _files(job: Job, batches: Iterator[pa.RecordBatch]) -> Iterator[tuple[str, int, Iterator[pa.Table]]]:
    """Yield split, number and blocks of each file; they are the blocks of one machine, to be read at once."""
    blocks = _blocks(job, batches)
    ahead = next(blocks, None)
    while ahead is not None:
        split, file = ahead[:2]

        def of_file(first: pa.Table) -> Iterator[pa.Table]:
            nonlocal ahead
            yield first
            while (ahead := next(blocks, None)) is not None and ahead[:2] == (split, file):  # noqa: B023
                yield ahead[2]

        yield split, file, of_file(ahead[2])


def _blocks(job: Job, batches: Iterator[pa.RecordBatch]) -> Iterator[tuple[str, int, pa.Table]]:
    """Yield split, file and rows of each block of requests."""
    waiting: list[pa.Table] = []
    of: tuple[str, int, int] | None = None
    for batch in batches:
        table = pa.Table.from_batches([batch])
        block = table["r_request"].to_numpy() // job.settings.block_requests
        split, file = np.array(table["r_split"].to_pylist()), table["r_file"].to_numpy()
        change = (split[1:] != split[:-1]) | (file[1:] != file[:-1]) | (block[1:] != block[:-1])
        edges = [0, *(np.flatnonzero(change) + 1).tolist(), len(table)]
        for low, high in pairwise(edges):
            if high == low:
                continue
            this = (str(split[low]), int(file[low]), int(block[low]))
            if of is not None and this != of:
                yield of[0], of[1], pa.concat_tables(waiting)
                waiting = []
            of = this
            waiting.append(table.slice(low, high - low))
    if of is not None:
        yield of[0], of[1], pa.concat_tables(waiting)

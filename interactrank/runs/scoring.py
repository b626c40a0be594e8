"""Rows of one's own scored by a trained model, with the parts of each score."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from interactrank.batch import CrossFeatureTensors
from interactrank.core.files import atomic_write
from interactrank.core.progress import track
from interactrank.cross_features import CrossArrays
from interactrank.data.extras import duckdb, pa, pq
from interactrank.data.loading.collate import request_batch
from interactrank.data.loading.encode_items import encode_items
from interactrank.data.prepare.rows_to_score import RowBlock, open_rows
from interactrank.data.prepared.dataset import PreparedDataset
from interactrank.models import InteractRank
from interactrank.models.score_parts import score_parts
from interactrank.runs.run_directory import open_model

__all__ = ["Scored", "score_rows"]

logger = logging.getLogger(__name__)

CHUNK = 1 << 13  # items encoded, and candidates scored, at a time


class Scored(NamedTuple):
    """What became of the rows.

    Args:
        rows: of the files.
        left_out: kind -> rows that could not be scored.
    """

    rows: int
    left_out: dict[str, int]


def score_rows(
    model_dir: Path, dataset: Path, rows: Path, output: Path, *, explain: bool = False, strict: bool = False
) -> Scored:
    """Score rows of (request, item) and write a Parquet file with a row for each, in their order.

    Columns: ``row`` (position in the input, from 0), ``request``, ``item``, ``score`` (of the first head) and
    with several heads ``score.<head>`` of each. With ``explain`` also ``part.*``, which add up to ``score``,
    and of each cross feature that the model reads ``value.*`` and, where it is a share or ratio of a count,
    ``support.*``, that count.

    Args:
        model_dir: run directory of a trained model.
        dataset: that the model was trained on; its stores give the histories.
        rows: a Parquet file or a folder of them, see
            :func:`~interactrank.data.prepare.rows_to_score.open_rows`.
        output: file to write, whole or not at all.
        explain: write the parts of each score.
        strict: a row that cannot be scored is an error.

    Raises:
        DatasetError: rows or dataset cannot be read.
        RunDirectoryError: there is no trained model, or it is of another dataset.
    """
    log = PreparedDataset(dataset)
    _, model = open_model(model_dir, log)
    score = _Scoring(model, log, explain)
    with open_rows(rows, log, strict=strict) as found:

        def write(path: Path) -> None:
            unordered = path.with_suffix(".unordered")
            try:
                _write_all(unordered, (score(block) for block in track(found, len(found), "score")))
                _order_by_row(unordered, path)
            finally:
                unordered.unlink(missing_ok=True)

        atomic_write(output, write)
    for kind, count in found.left_out.items():
        logger.warning("not scored: %s rows: %s", f"{count:,}", kind)
    return Scored(found.rows, found.left_out)


class _Scoring:
    """A model on the CPU with the vectors of all items."""

    def __init__(self, model: InteractRank, log: PreparedDataset, explain: bool) -> None:
        self.model, self.log, self.explain = model, log, explain
        self.items = encode_items(model, log.items, log.layout)

    @torch.no_grad()
    def __call__(self, block: RowBlock) -> pa.Table:
        """Return the output's columns of a block of requests."""
        head = self.model.score_head
        query = self.model.encode_requests(request_batch(block.requests))
        found = self.log.cross.look_up(block.requests.keys(), block.candidates, only=set(head.reads))
        cross = CrossFeatureTensors(*(torch.from_numpy(x) for x in found))
        request = torch.from_numpy(np.repeat(np.arange(len(block.requests)), block.candidates.lengths))
        item = torch.from_numpy(block.candidates.values.astype(np.int64))
        columns: dict[str, list[Any]] = {}
        for first in range(0, len(item), CHUNK):
            c = slice(first, first + CHUNK)
            some = CrossFeatureTensors(cross.rate[c], cross.support, cross.number[c], cross.counts[c])
            for name, values in self._chunk(query, request[c], item[c], some).items():
                columns.setdefault(name, []).append(values.numpy())
        of_candidates = {name: np.concatenate(values) for name, values in columns.items()}
        if self.explain:
            of_candidates |= self._values(found, request.numpy())
        ids = pa.array(block.request_ids).take(pa.array(request.numpy()[block.candidate]))
        names = pa.array(self.log.items.ids).take(pa.array(item.numpy()[block.candidate]))
        taken = {name: pa.array(values[block.candidate]) for name, values in of_candidates.items()}
        return pa.table({"row": pa.array(block.row), "request": ids, "item": names, **taken})

    def _chunk(
        self, query: torch.Tensor, request: torch.Tensor, item: torch.Tensor, cross: CrossFeatureTensors
    ) -> dict[str, torch.Tensor]:
        head, heads = self.model.score_head, self.log.schema.head_names
        scores = head(query, self.items, request, item, cross)
        found = {"score": scores[:, 0]}
        if len(heads) > 1:
            found |= {f"score.{name}": scores[:, j] for j, name in enumerate(heads)}
        if self.explain:
            parts = score_parts(head, query, self.items, request, item, cross)
            found |= {f"part.{name}": values.contiguous() for name, values in parts.items()}
        return found

    def _values(self, found: CrossArrays, request: Any) -> dict[str, Any]:
        """Return the value of each cross feature that is read, and the count that it is a share of."""
        columns, reads = self.log.cross.columns, set(self.model.score_head.reads)
        result: dict[str, Any] = {}
        for j, f in enumerate(columns.rates):
            result |= {f"value.{f.name}": found.rate[:, j], f"support.{f.name}": found.support[request, j]}
        for j, f in enumerate(columns.numbers):
            result[f"value.{f.name}"] = found.number[:, j]
        for j, f in enumerate(columns.ratios):
            engaged, shown = found.counts[:, j], found.counts[:, j + len(columns.ratios)]
            with np.errstate(divide="ignore", invalid="ignore"):
                result[f"value.{f.name}"] = np.where(shown > 0, engaged / shown, np.float32(np.nan))
            result[f"support.{f.name}"] = shown
        return {name: values for name, values in result.items() if name.partition(".")[2] in reads}


def _write_all(path: Path, tables: Any) -> None:
    writer = None
    try:
        for table in tables:
            writer = writer or pq.ParquetWriter(path, table.schema)
            writer.write_table(table)
    finally:
        if writer is not None:
            writer.close()


def _order_by_row(source: Path, target: Path) -> None:
    """Write a Parquet file in the order of its column ``row``; blocks lie in order of time."""
    quoted = [str(p).replace("'", "''") for p in (source, target)]
    with duckdb.connect() as db:
        db.execute(f"COPY (FROM read_parquet('{quoted[0]}') ORDER BY row) TO '{quoted[1]}' (FORMAT parquet)")

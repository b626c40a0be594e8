"""A two-tower in plain PyTorch, as one would write it without this library: the peer of ``end_to_end``.

Flat rows, one for each impression, in Parquet; ``nn.EmbeddingBag`` with sparse gradients and Adagrad, towers
of linear layers with AdamW, DistributedDataParallel for several ranks. It has no sequence and no history.

Shapes: C rows of a batch, H heads, D embedding dim.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from benchmarks.harness import Step
from interactrank.batch.layout import BatchLayout
from interactrank.core.extras import require
from interactrank.cross_features.jagged import Jagged, take
from interactrank.data.arrow_lists import from_arrow, to_arrow
from interactrank.data.loading.loader import SearchLoader
from interactrank.data.loading.prepared_requests import PreparedRequests
from interactrank.data.prepared.dataset import PreparedDataset
from interactrank.distributed.world import World
from interactrank.runs.config import RunConfig

SIDES = ("request", "item")
WINDOW = 8  # batches read at a time


@dataclass(frozen=True)
class FlatBatch:
    """C impressions.

    Args:
        ids: feature -> values and C + 1 offsets.
        dense: side -> [C, *] numbers.
        labels: [C, H].
    """

    ids: dict[str, tuple[Tensor, Tensor]]
    dense: dict[str, Tensor]
    labels: Tensor

    def to(self, device: torch.device) -> FlatBatch:
        """A copy on ``device``."""
        ids = {name: (values.to(device), offsets.to(device)) for name, (values, offsets) in self.ids.items()}
        dense = {side: x.to(device) for side, x in self.dense.items()}
        return replace(self, ids=ids, dense=dense, labels=self.labels.to(device))


def write_flat(loader: SearchLoader, path: Path) -> None:
    """The candidates of the loader's first pass, a row each and a row group for each of its batches."""
    pq = require("pyarrow.parquet", extra="data")
    writer = None
    for requests in loader.requests():
        table = _rows(requests, loader.dataset)
        if writer is None:
            writer = pq.ParquetWriter(path, table.schema)
        writer.write_table(table, row_group_size=len(table))
    assert writer is not None
    writer.close()


def _rows(requests: PreparedRequests, log: PreparedDataset) -> Any:
    pa = require("pyarrow", extra="data")
    layout, candidates = log.layout, requests.candidates()
    rows = {
        "request": np.repeat(np.arange(len(requests)), candidates.items.lengths),
        "item": candidates.items.values.astype(np.int64),
    }
    columns: dict[str, Any] = {}
    for f in layout.sparse("request"):
        columns[f.name] = to_arrow(take(requests.jagged(f"feature.{f.name}"), rows["request"]), "int64")
    for f in layout.sparse("item"):
        columns[f.name] = to_arrow(take(log.items.features[f.name], rows["item"]), "int64")
    dense = {"request": requests.matrix("dense", layout.dense_width("request")), "item": log.items.dense}
    for side in SIDES:
        columns[f"dense.{side}"] = _lists(_standardized(layout, side, dense[side])[rows[side]])
    columns["labels"] = _lists(candidates.labels)
    return pa.table(columns)


def _standardized(layout: BatchLayout, side: str, values: NDArray[np.float32]) -> NDArray[np.float32]:
    values = values.copy()
    for n, f in enumerate(layout.numbers(side)):
        values[:, n] = (values[:, n] - layout.number_stats[f.name]["mean"]) / max(
            layout.number_stats[f.name]["std"], 1e-6
        )
    return np.nan_to_num(values)


def _lists(values: NDArray[np.float32]) -> Any:
    return to_arrow(Jagged(values.reshape(-1), np.full(len(values), values.shape[1])), "float32")


def read_flat(path: Path, layout: BatchLayout) -> Iterator[FlatBatch]:
    """Batches of the file, pass after pass without end."""
    pq = require("pyarrow.parquet", extra="data")
    file = pq.ParquetFile(path, memory_map=True)
    sizes = [file.metadata.row_group(n).num_rows for n in range(file.num_row_groups)]
    for first in itertools.cycle(range(0, len(sizes), WINDOW)):
        window = range(first, min(first + WINDOW, len(sizes)))
        table, start = file.read_row_groups(list(window)), 0
        for n in window:
            yield _batch(table.slice(start, sizes[n]), layout)
            start += sizes[n]


def _batch(table: Any, layout: BatchLayout) -> FlatBatch:
    ids = {}
    for side in SIDES:
        for f in layout.sparse(side):
            jagged = from_arrow(table[f.name])
            offsets = np.concatenate([[0], np.cumsum(jagged.lengths)])
            ids[f.name] = torch.tensor(jagged.values), torch.from_numpy(offsets)
    dense = {side: _matrix(table, f"dense.{side}") for side in SIDES}
    return FlatBatch(ids, dense, _matrix(table, "labels"))


def _matrix(table: Any, column: str) -> Tensor:
    values = from_arrow(table[column]).values.astype(np.float32)
    return torch.tensor(values).view(table.num_rows, -1)


class FlatTwoTower(nn.Module):
    """Embeddings of each side, through linear layers of the model's widths, to unit vectors.

    Args:
        layout: features and tables.
        of: widths.
    """

    def __init__(self, layout: BatchLayout, of: RunConfig) -> None:
        super().__init__()
        self.heads, self.dim = len(layout.schema.heads), of.model.dim
        self.features = {side: [(f.name, str(f.table)) for f in layout.sparse(side)] for side in SIDES}
        self.tables = nn.ModuleDict(
            {
                f"table_{name}": nn.EmbeddingBag(
                    layout.table_rows[name], t.dim, mode=t.pooling, sparse=True, include_last_offset=True
                )
                for name, t in layout.schema.tables.items()
                if any(name == table for side in SIDES for _, table in self.features[side])
            }
        )
        self.towers = nn.ModuleDict()
        for side, settings in (("request", of.model.request_tower), ("item", of.model.item_tower)):
            width = layout.dense_width(side)
            width += sum(layout.schema.tables[table].dim for _, table in self.features[side])
            out = self.dim * (self.heads if side == "request" else 1)
            widths = [width, settings.blocks * settings.block_dim, *settings.hidden_dims]
            layers: list[nn.Module] = []
            for a, b in itertools.pairwise(widths):
                layers += [nn.Linear(a, b), nn.ReLU()]
            self.towers[side] = nn.Sequential(*layers, nn.Linear(widths[-1], out))
        self.scale = nn.Parameter(torch.tensor(5.0))
        self.bias = nn.Parameter(torch.zeros(self.heads))

    def forward(self, batch: FlatBatch) -> Tensor:
        """Mean loss of the rows and heads."""
        request, item = (self._side(side, batch) for side in SIDES)
        logits = self.scale * (request * item).sum(-1) + self.bias
        return F.binary_cross_entropy_with_logits(logits, batch.labels)

    def _side(self, side: str, batch: FlatBatch) -> Tensor:
        """[C, H or 1, D]."""
        parts = [self.tables[f"table_{table}"](*batch.ids[name]) for name, table in self.features[side]]
        x: Tensor = self.towers[side](torch.cat([*parts, batch.dense[side]], 1))
        return F.normalize(x.view(len(x), -1, self.dim), dim=-1)


def flat_two_tower(log: PreparedDataset, of: RunConfig, path: Path, world: World, block: int) -> Step:
    """Steps of the peer on this rank, on the candidates that the library's loader gives it in its first pass.

    Args:
        log: the prepared log.
        of: the run's settings.
        path: where the flat rows of this rank are written.
        world: who this rank is.
        block: steps of a call.
    """
    write_flat(SearchLoader(log, "train", of.loader, rank=world.rank, world_size=world.size), path)
    torch.manual_seed(0)
    model = FlatTwoTower(log.layout, of).to(world.device)
    tables = torch.optim.Adagrad(model.tables.parameters(), lr=of.training.table_optimizer.lr)
    rest = [p for name, p in model.named_parameters() if not name.startswith("tables.")]
    dense = torch.optim.AdamW(rest, lr=of.training.dense_optimizer.lr, fused=True)
    batches = read_flat(path, log.layout)
    forward = DistributedDataParallel(model) if world.size > 1 else model

    def step() -> None:
        for batch in itertools.islice(batches, block):
            for optimizer in (tables, dense):
                optimizer.zero_grad(set_to_none=True)
            forward(batch.to(world.device)).backward()
            for optimizer in (tables, dense):
                optimizer.step()

    return step

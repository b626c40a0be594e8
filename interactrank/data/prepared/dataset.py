"""PreparedDataset: the folder that ``prepare`` wrote, opened for training, evaluation and serving."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from interactrank.batch.layout import BatchLayout
from interactrank.core.extras import require
from interactrank.core.manifest import Manifest
from interactrank.core.settings import parse_config
from interactrank.cross_features.features import CrossFeatures
from interactrank.cross_features.jagged import Jagged
from interactrank.cross_features.pair_index import Int64s, Ints
from interactrank.data.arrow_lists import from_arrow, starts, take
from interactrank.data.errors import DatasetError
from interactrank.data.prepared.columns import SPLITS
from interactrank.data.prepared.manifest import FORMAT, read_manifest
from interactrank.data.prepared.vocabulary import Vocabulary
from interactrank.schema import SearchSchema


@dataclass(frozen=True)
class ItemTable:
    """What the item tower sees of every item of the catalogue.

    Args:
        ids: [N] the log's own item ids.
        train_count: [N] candidates of the item in training.
        features: rows of ID tables of each sparse feature, jagged [N].
        dense: [N, *] float32, numbers then vectors.
    """

    ids: list[str]
    train_count: NDArray[np.int64]
    features: dict[str, Jagged]
    dense: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.ids)

    @cached_property
    def _starts(self) -> dict[str, Int64s]:
        """Computed once: a batch must not pay for the length of the catalogue."""
        return {name: starts(jagged) for name, jagged in self.features.items()}

    def take(self, feature: str, rows: Int64s) -> Jagged:
        """ID table rows of a feature of some items."""
        return take(self.features[feature], rows, self._starts[feature])

    def first(self, feature: str, rows: Ints) -> Int64s:
        """The first ID table row of a feature of some items; every item has one."""
        return np.asarray(self.features[feature].values[self._starts[feature][rows]], np.int64)


class PreparedDataset:
    """A prepared log.

    Args:
        folder: what ``prepare`` wrote.

    Raises:
        DatasetError: the folder is not a prepared log, or one of another version's format; or a file is
            missing or has another size than it was written with.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        manifest = read_manifest(self.folder)
        if manifest is None:
            raise DatasetError(
                f"'{folder}' is not a prepared log (no readable manifest.json); run interactrank prepare"
            )
        self.manifest = manifest
        if self.manifest.get("format") != FORMAT:
            raise DatasetError(
                f"'{folder}' has format {self.manifest.get('format')}, not {FORMAT}; prepare the log again"
            )
        if (damage := Manifest(files=self.manifest["files"]).damage(self.folder)) is not None:
            raise DatasetError(f"{damage}; prepare the log again")
        self.schema = parse_config(SearchSchema, self.manifest["schema"], f"{folder}/manifest.json")

    @property
    def layout(self) -> BatchLayout:
        """Where features lie in a batch, and the rows of each ID table."""
        return BatchLayout(
            self.schema, self.manifest["tables"], self.manifest["items"], self.manifest["numbers"]
        )

    def num_requests(self, split: str) -> int:
        """Requests of a split."""
        return int(self.manifest["requests"][_known(split)])

    def files(self, split: str) -> list[Path]:
        """Parquet files of a split, in order of time."""
        return [self.folder / name for name in self.manifest["files"] if name.startswith(f"{_known(split)}/")]

    def read(self, split: str, columns: list[str]) -> Any:
        """Some columns of a split as one Arrow table; for columns that fit into memory.

        Raises:
            DatasetError: the split has no requests.
        """
        if not self.num_requests(split):
            raise DatasetError(f"the prepared log '{self.folder}' has no {split} requests")
        pa, pq = require("pyarrow", extra="data"), require("pyarrow.parquet", extra="data")
        return pa.concat_tables([pq.read_table(f, columns=columns) for f in self.files(split)])

    def train_queries(self) -> NDArray[np.int64]:
        """How often each distinct query of the train split was searched there."""
        found = self.read("train", ["query"]).group_by("query").aggregate([([], "count_all")])
        return found["count_all"].to_numpy()

    @cached_property
    def items(self) -> ItemTable:
        """The catalogue."""
        table = require("pyarrow.parquet", extra="data").read_table(self.folder / "items.parquet")
        features = {f.name: from_arrow(table[f"feature.{f.name}"]) for f in self.layout.sparse("item")}
        dense = from_arrow(table["dense"]).values.reshape(len(table), self.layout.dense_width("item"))
        return ItemTable(table["id"].to_pylist(), table["train_count"].to_numpy(), features, dense)

    @cached_property
    def cross(self) -> CrossFeatures:
        """History and lexical features of any candidates."""
        return CrossFeatures.open(self.folder, self.schema, int(self.manifest["items"]))

    def vocabulary(self, table: str) -> Vocabulary:
        """How values become rows of an ID table."""
        return Vocabulary.open(self.schema.tables[table], self.folder / "vocabulary" / f"{table}.parquet")


def _known(split: str) -> str:
    if split not in SPLITS:
        raise DatasetError(f"no split '{split}'; allowed: {', '.join(SPLITS)}")
    return split

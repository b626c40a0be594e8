"""PreparedDataset: the folder that ``prepare`` wrote, opened for training, evaluation and serving."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from interactrank.batch.layout import BatchLayout
from interactrank.core.manifest import Manifest
from interactrank.core.settings import parse_config
from interactrank.cross_features.features import CrossFeatures
from interactrank.cross_features.registry import KINDS
from interactrank.data.errors import DatasetError
from interactrank.data.extras import pa, pq
from interactrank.data.prepared.columns import QUERY, SPLITS
from interactrank.data.prepared.items import ItemTable
from interactrank.data.prepared.manifest import FORMAT, read_manifest
from interactrank.data.prepared.users import Users
from interactrank.data.prepared.vocabulary import Vocabulary
from interactrank.schema import SearchSchema

__all__ = ["PreparedDataset"]


class PreparedDataset:
    """A prepared dataset.

    Args:
        folder: what ``prepare`` wrote.

    Raises:
        DatasetError: the folder is not a prepared dataset, or one of another version's format; or a file is
            missing or has another size than it was written with.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        manifest = read_manifest(self.folder)
        if manifest is None:
            raise DatasetError(
                f"'{folder}' is not a prepared dataset (no readable manifest.json); run interactrank prepare"
            )
        self.manifest = manifest
        if self.manifest.get("format") != FORMAT:
            raise DatasetError(
                f"'{folder}' has format {self.manifest.get('format')}, not {FORMAT}; prepare the log again"
            )
        if (damage := Manifest(files=self.manifest["files"]).damage(self.folder)) is not None:
            raise DatasetError(f"{damage}; prepare the log again")
        self._check_kinds()
        self.schema = parse_config(SearchSchema, self.manifest["schema"], f"{folder}/manifest.json")

    def _check_kinds(self) -> None:
        for kind, of in self.manifest["cross_features"].items():
            if kind not in KINDS:
                raise DatasetError(
                    f"'{self.folder}' has cross features of the kind '{kind}', which '{of['module']}' "
                    "registers; import that module first, or name it under plugins"
                )
            if KINDS[kind].format != of["format"]:
                raise DatasetError(
                    f"'{self.folder}' has stores of the kind '{kind}' in format {of['format']}, not "
                    f"{KINDS[kind].format}; prepare the log again"
                )

    @property
    def lineage(self) -> list[str]:
        """Return the fingerprints of the datasets that this one has grown from, and last its own.

        Values keep their rows of ID tables, and items their places, from each of them to the next.
        """
        return list(self.manifest.get("lineage", [self.manifest["fingerprint"]]))

    @property
    def layout(self) -> BatchLayout:
        """Return where features lie in a batch, and the rows of each ID table."""
        return BatchLayout(
            self.schema, self.manifest["tables"], self.manifest["items"], self.manifest["numbers"]
        )

    def num_requests(self, split: str) -> int:
        """Return the number of requests of a split."""
        return int(self.manifest["requests"][_known(split)])

    def files(self, split: str) -> list[Path]:
        """Return the Parquet files of a split, in order of time."""
        return [self.folder / name for name in self.manifest["files"] if name.startswith(f"{_known(split)}/")]

    def read(self, split: str, columns: list[str]) -> pa.Table:
        """Read some columns of a split as one Arrow table; for columns that fit into memory.

        Raises:
            DatasetError: the split has no requests.
        """
        if not self.num_requests(split):
            raise DatasetError(f"the dataset '{self.folder}' has no {split} requests")
        return pa.concat_tables([pq.read_table(f, columns=columns) for f in self.files(split)])

    def train_queries(self) -> NDArray[np.int64]:
        """Return how often each distinct query of the train split was searched there."""
        found = self.read("train", [QUERY]).group_by(QUERY).aggregate([([], "count_all")])
        return found["count_all"].to_numpy()

    @cached_property
    def items(self) -> ItemTable:
        """Return the catalogue."""
        return ItemTable.read(self.folder, self.layout)

    @cached_property
    def cross(self) -> CrossFeatures:
        """Return what computes the cross features of any candidates."""
        return CrossFeatures.open(self.folder, self.schema, int(self.manifest["items"]))

    @cached_property
    def users(self) -> Users:
        """Return the users, whose sequences live requests are read with."""
        return Users(self.folder)

    def vocabulary(self, table: str) -> Vocabulary:
        """Return how values become rows of an ID table."""
        return Vocabulary.open(self.schema.tables[table], self.folder / "vocabulary" / f"{table}.parquet")


def _known(split: str) -> str:
    if split not in SPLITS:
        raise DatasetError(f"no split '{split}'; allowed: {', '.join(SPLITS)}")
    return split

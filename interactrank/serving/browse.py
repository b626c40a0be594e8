"""What people want to see of an export: texts of its items, queries and users of its log.

Ranking needs none of it, and users and their queries are personal data: ``export --browse`` writes it. In the
folder of a version::

    browse/items.arrow      columns of the items file that the schema names, in order of the catalogue
    browse/queries.arrow    query, requests: the most frequent first
    browse/users.arrow      user, requests: those with the longest sequences first
    browse/values.json      segment -> its values in the log, the most frequent first

Shapes: N items.
"""

from __future__ import annotations

import json
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from interactrank.core.files import atomic_write, atomic_write_text
from interactrank.cross_features.pair_index import Int64s, Ints
from interactrank.data.extras import duckdb, pa, pc
from interactrank.data.prepared.columns import QUERY, SPLITS, USER, segment_column
from interactrank.data.prepared.dataset import PreparedDataset
from interactrank.data.raw.items import stage_items
from interactrank.data.raw.place import Place
from interactrank.data.raw.staged_columns import item_column, item_columns
from interactrank.schema import SearchSchema
from interactrank.serving.errors import ArtifactError
from interactrank.serving.item_ids import ItemIds

__all__ = ["BROWSE_ITEMS", "Browse", "merged_items", "shown_columns", "write_browse", "write_items"]

BROWSE = "browse"
BROWSE_ITEMS, QUERIES, USERS, VALUES = (
    f"{BROWSE}/{name}" for name in ("items.arrow", "queries.arrow", "users.arrow", "values.json")
)
MOST_QUERIES, MOST_USERS, MOST_VALUES = 20_000, 2_000, 1_000


class Browse:
    """What a version has to show; empty where it was exported without.

    Args:
        folder: of the version; files are mapped.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def open(self) -> Browse:
        """Map all files now, so that the folder may be deleted while they are in use; return itself."""
        _ = self._items, self.queries, self.users, self.values
        return self

    @property
    def columns(self) -> list[str]:
        """Columns of the items file."""
        return [] if self._items is None else list(self._items.column_names)

    def items(self, rows: Ints) -> list[dict[str, Any]]:
        """Return the columns of some rows of the catalogue; empty where nothing is known."""
        if self._items is None:
            return [{} for _ in rows]
        known = np.flatnonzero(np.asarray(rows) < len(self._items))
        found: list[dict[str, Any]] = [{} for _ in rows]
        for n, item in zip(
            known, self._items.take(pa.array(np.asarray(rows)[known])).to_pylist(), strict=True
        ):
            found[n] = item
        return found

    @cached_property
    def queries(self) -> list[tuple[str, int]]:
        """Queries of the log and how often they were searched, the most frequent first."""
        return self._counted(QUERIES)

    @cached_property
    def users(self) -> list[tuple[str, int]]:
        """Users of the log and how often they searched, those with the longest sequences first."""
        return self._counted(USERS)

    @cached_property
    def values(self) -> dict[str, list[str]]:
        """Segment -> its values."""
        path = self._folder / VALUES
        return dict(json.loads(path.read_text())) if path.exists() else {}

    @cached_property
    def _items(self) -> pa.Table | None:
        return _mapped(self._folder / BROWSE_ITEMS)

    def _counted(self, name: str) -> list[tuple[str, int]]:
        table = _mapped(self._folder / name)
        return [] if table is None else list(zip(*(c.to_pylist() for c in table.columns), strict=True))


def shown_columns(schema: SearchSchema) -> list[str]:
    """Return the columns of the items file that the schema names, without the id and vectors."""
    vectors = [f.column for f in schema.features.item if f.kind == "vector"]
    return [c for c in item_columns(schema) if c not in (schema.items.id, *vectors)]


def write_browse(folder: Path, dataset: PreparedDataset, log: str | Path) -> None:
    """Write what there is to show into the folder of a version.

    Queries that one user alone has searched are left out, if the log names users.

    Args:
        folder: of the version.
        dataset: that the model was trained on.
        log: that the dataset was prepared from; its items are read.

    Raises:
        DatasetError: the log's items cannot be read.
        ArtifactError: the log lacks an item of the dataset.
    """
    (folder / BROWSE).mkdir()
    _write(folder / BROWSE_ITEMS, _items_of(dataset, log))
    schema = dataset.schema
    segments = [segment_column(name) for name in schema.segments]
    splits = [s for s in SPLITS if dataset.num_requests(s)]
    requests = pa.concat_tables([dataset.read(s, [QUERY, USER, *segments]) for s in splits])
    _write(folder / QUERIES, _queries_of(requests, named=schema.events.user is not None))
    _write(folder / USERS, _users_of(requests, dataset))
    values = {name: _values_of(requests, segment_column(name)) for name in schema.segments}
    atomic_write_text(folder / VALUES, json.dumps(values))


def merged_items(folder: Path, new: pa.Table, rows: Int64s, size: int) -> pa.Table | None:
    """Return the shown columns of a catalogue in which some items are new or changed.

    Args:
        folder: of the version before.
        new: a row of the items file for each of M items.
        rows: [M] their rows in the catalogue.
        size: items of the catalogue by now.
    """
    old = _mapped(folder / BROWSE_ITEMS)
    if old is None:
        return None
    own = new.select(old.column_names).cast(old.schema, safe=False)
    source = np.arange(size)
    source[rows] = len(old) + np.arange(len(rows))
    return pa.concat_tables([old, own]).take(pa.array(source))


def write_items(folder: Path, items: pa.Table) -> None:
    """Write the shown columns of a catalogue."""
    (folder / BROWSE).mkdir(exist_ok=True)
    _write(folder / BROWSE_ITEMS, items)


def _items_of(dataset: PreparedDataset, log: str | Path) -> pa.Table:
    schema = dataset.schema
    shown = shown_columns(schema)
    with duckdb.connect() as db:
        stage_items(db, Place.of(log), schema)
        with db.cursor() as cursor:
            found = cursor.sql("SELECT * FROM items").to_arrow_table()
    at = ItemIds(found["id"].combine_chunks()).rows(dataset.items.ids)
    if len(at) and at.min() < 0:
        missing = dataset.items.ids[int(at.argmin())]
        raise ArtifactError(
            f"'{log}' has no item '{missing}'; name the log that the dataset was prepared from"
        )
    return found.select([item_column(schema, c) for c in shown]).rename_columns(shown).take(pa.array(at))


def _queries_of(requests: pa.Table, *, named: bool) -> pa.Table:
    found = requests.group_by(QUERY).aggregate([([], "count_all"), (USER, "count_distinct")])
    if named:
        found = found.filter(pc.greater_equal(found[f"{USER}_count_distinct"], 2))
    found = found.select([QUERY, "count_all"]).rename_columns([QUERY, "requests"])
    return found.sort_by([("requests", "descending"), (QUERY, "ascending")]).slice(0, MOST_QUERIES)


def _users_of(requests: pa.Table, dataset: PreparedDataset) -> pa.Table:
    known = requests.filter(pc.is_valid(requests[USER]))
    found = known.group_by(USER).aggregate([([], "count_all")]).rename_columns([USER, "requests"])
    events = np.zeros(len(found), np.int64)
    sequences = dataset.users.sequences
    if sequences is not None:
        rows = dataset.users.rows(found[USER].to_pylist())
        events[rows >= 0] = np.diff(sequences.offsets)[rows[rows >= 0]]
    found = found.append_column("events", pa.array(events))
    found = found.sort_by([("events", "descending"), ("requests", "descending"), (USER, "ascending")])
    return found.select([USER, "requests"]).slice(0, MOST_USERS)


def _values_of(requests: pa.Table, column: str) -> list[str]:
    known = requests.filter(pc.is_valid(requests[column]))
    found = known.group_by(column).aggregate([([], "count_all")])
    found = found.sort_by([("count_all", "descending"), (column, "ascending")]).slice(0, MOST_VALUES)
    return [str(v) for v in found[column].to_pylist()]


def _mapped(path: Path) -> pa.Table | None:
    return pa.ipc.open_file(pa.memory_map(str(path))).read_all() if path.exists() else None


def _write(path: Path, table: pa.Table) -> None:
    def fill(temporary: Path) -> None:
        with pa.OSFile(str(temporary), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
            writer.write_table(table.combine_chunks())

    atomic_write(path, fill)

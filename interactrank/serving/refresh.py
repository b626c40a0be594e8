"""Refresh: new and changed items through the item tower, as the next version of an export, without training.

Shapes: N items of the catalogue, M items of the file, D embedding dim.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from interactrank.core.atomic_directory import atomic_directory
from interactrank.core.files import sha256
from interactrank.core.ids import id_text
from interactrank.core.manifest import MANIFEST, Manifest, describe
from interactrank.cross_features.features import FIELDS, field_folder
from interactrank.cross_features.item_fields import ItemFields
from interactrank.cross_features.jagged import Jagged, starts, take
from interactrank.cross_features.pair_index import Int64s
from interactrank.data.extras import pa, pq
from interactrank.data.loading.encode_items import encode_items
from interactrank.data.prepare.features import dense, table_rows
from interactrank.data.prepared.items import ItemTable
from interactrank.data.prepared.vocabulary import Vocabulary
from interactrank.data.raw.staged_columns import item_columns
from interactrank.serving.artifact import (
    EVENT_IDS,
    FIELDS_OF_ITEMS,
    IDS,
    VECTORS,
    Version,
    current_name,
    publish,
    version_folder,
)
from interactrank.serving.browse import BROWSE_ITEMS, merged_items, write_items
from interactrank.serving.errors import ArtifactError
from interactrank.serving.export import fields_of
from interactrank.serving.item_ids import ItemIds
from interactrank.serving.item_vectors import ItemVectors
from interactrank.serving.pre_ranker import open_model

__all__ = ["refresh_items"]

REWRITTEN = (IDS, EVENT_IDS, VECTORS, FIELDS_OF_ITEMS, FIELDS, BROWSE_ITEMS)


def refresh_items(artifact: Path, items: Path) -> Version:
    """Embed the items of a file and publish a version in which they are new, or replace older ones.

    Items that the file does not name stay as they are; files that do not change are shared with the version
    before. New items have no engagements and, until the next export, no lexical match.

    Args:
        artifact: an export.
        items: Parquet file of items, with the columns of the log's items file.

    Returns:
        The new version, which is served from now on.

    Raises:
        ArtifactError: the file lacks a column, has an id twice or cannot be read; or ``artifact`` is not an
            export, or another version of it was published meanwhile.
    """
    before = Version.current(artifact)
    table = _read(items, before)
    if not len(table):
        raise ArtifactError(f"'{items}' has no items")
    ids = ItemIds.open(before.folder / IDS)
    names = [id_text(v) or "" for v in table[before.schema.items.id].to_pylist()]
    rows = ids.rows(names)
    is_new = rows < 0
    rows[is_new] = len(ids) + np.arange(int(is_new.sum()))
    digest = hashlib.sha256(f"{before.name} {sha256(items)}".encode()).hexdigest()
    folder = version_folder(artifact, f"{before.name.partition('-')[0]}-{digest[:8]}")
    if not (folder / MANIFEST).exists():
        with atomic_directory(folder) as staging:
            _share_files(before, staging)
            added = [name for name, new in zip(names, is_new.tolist(), strict=True) if new]
            _write_items(before, staging, table, rows, [*ids.of(np.arange(len(ids))), *added])
            facts = before.facts | {
                "items": len(ids) + len(added),
                "refreshed": {"from": before.name, "new": len(added), "changed": len(rows) - len(added)},
            }
            facts.pop("verify", None)
            _manifest(before, staging, facts).write(staging, seal=True)
    if current_name(artifact) != before.name:
        raise ArtifactError(f"'{artifact}' was published again meanwhile; refresh it again")
    publish(artifact, folder.name)
    return Version(folder)


def _read(items: Path, version: Version) -> pa.Table:
    columns = item_columns(version.schema)
    try:
        found = pq.read_schema(items).names
        missing = [c for c in columns if c not in found]
        if missing:
            raise ArtifactError(f"'{items}' has no column '{missing[0]}', which the model's items have")
        table = pq.read_table(items, columns=columns)
    except (OSError, pa.ArrowException) as error:
        raise ArtifactError(f"'{items}' is not a readable Parquet file of items ({error})") from None
    ids = table[version.schema.items.id].to_pylist()
    if None in ids:
        raise ArtifactError(f"'{items}' has an item without '{version.schema.items.id}'")
    if len(set(map(str, ids))) < len(ids):
        twice = next(i for n, i in enumerate(ids) if i in ids[:n])
        raise ArtifactError(f"'{items}' has the item {str(twice)!r} twice; keep one row for each")
    return table


def _write_items(before: Version, staging: Path, table: pa.Table, rows: Int64s, names: Sequence[str]) -> None:
    schema = before.schema
    vocabularies = {
        name: Vocabulary.open(of, before.folder / "vocabulary" / f"{name}.parquet")
        for name, of in schema.tables.items()
    }
    features = {
        f.name: table_rows(f, table[f.column], vocabularies[f.table])
        for f in schema.features.item
        if f.table is not None
    }
    numbers = [f for f in schema.features.item if f.kind == "number"]
    vectors = [f for f in schema.features.item if f.kind == "vector"]
    block = dense(numbers, vectors, {f.name: table[f.column] for f in [*numbers, *vectors]}, len(table))
    new = ItemTable([names[r] for r in rows.tolist()], np.zeros(len(rows), np.int64), features, block)
    ItemIds.write(staging / IDS, names)
    _write_vectors(before, staging, new, rows, len(names))
    if schema.sequence is not None:
        old = np.fromfile(before.folder / EVENT_IDS, "<i8")
        own = new.first(schema.sequence.item, np.arange(len(rows)))
        _replaced(old, own, rows, len(names)).astype("<i8").tofile(staging / EVENT_IDS)
    for f in schema.features.item:
        folder = before.folder / FIELDS_OF_ITEMS / f.name
        if folder.is_dir():
            own_fields = fields_of(features[f.name], vocabularies[str(f.table)])
            merged = _merged(ItemFields.open(folder), own_fields, rows, len(names))
            merged.save(staging / FIELDS_OF_ITEMS / f.name)
    shown = merged_items(before.folder, table, rows, len(names))
    if shown is not None:
        write_items(staging, shown)
    columns = dict.fromkeys(c for x in schema.cross_features for c in x.field_columns)
    for column in columns:
        name = Path(FIELDS) / field_folder(column)
        own_fields = ItemFields.from_column(table[column].to_pylist())
        _merged(ItemFields.open(before.folder / name), own_fields, rows, len(names)).save(staging / name)


def _write_vectors(before: Version, staging: Path, new: ItemTable, rows: Int64s, size: int) -> None:
    vectors = encode_items(open_model(before), new, before.layout)
    old = ItemVectors.open(before.folder / VECTORS)
    own = ItemVectors.of(vectors.float().numpy(), old.precision)
    values = _replaced(old.values, own.values, rows, size)
    scales = None
    if old.scales is not None and own.scales is not None:
        scales = _replaced(old.scales, own.scales, rows, size)
    ItemVectors(values, scales).write(staging / VECTORS)


def _replaced(old: NDArray[Any], new: NDArray[Any], rows: Int64s, size: int) -> NDArray[Any]:
    """Return ``old`` with ``new`` in some rows, some of them behind its end."""
    found = np.empty((size, *old.shape[1:]), old.dtype)
    found[: len(old)] = old
    found[rows] = new
    return found


def _merged(old: ItemFields, new: ItemFields, rows: Int64s, size: int) -> ItemFields:
    """Return the fields of all items; values that are new get numbers behind those that stores count by.

    Example::

        >>> old = ItemFields.from_column(["war", "drama"])
        >>> merged = _merged(old, ItemFields.from_column(["comedy", "war"]), np.array([2, 1]), 3)
        >>> merged.num_values, merged.values.lengths.tolist(), bool(merged.values.values[0] == 2)
        (3, [1, 1, 1], False)
    """
    fresh = new.hashes[~np.isin(new.hashes, old.hashes)]
    hashes = np.concatenate([old.hashes, fresh])
    order = np.argsort(hashes)
    number = order[np.searchsorted(hashes, new.hashes, sorter=order)].astype(np.int32)
    both = Jagged(
        np.concatenate([old.values.values, number[new.values.values]]),
        np.concatenate([old.values.lengths, new.values.lengths]),
    )
    source = np.arange(size)
    source[rows] = len(old.values.lengths) + np.arange(len(rows))
    return ItemFields(take(both, source, starts(both)), hashes)


def _share_files(before: Version, staging: Path) -> None:
    """Link the files that do not change, or copy them to another file system."""
    for name in before.manifest.files:
        if not name.startswith(REWRITTEN):
            target = staging / name
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                os.link(before.folder / name, target)
            except OSError:
                shutil.copyfile(before.folder / name, target)


def _manifest(before: Version, staging: Path, facts: dict[str, Any]) -> Manifest:
    """Return the manifest; of shared files it is known already."""
    files = {}
    for path in sorted(p for p in staging.rglob("*") if p.is_file()):
        name = path.relative_to(staging).as_posix()
        shared = name in before.manifest.files and not name.startswith(REWRITTEN)
        files[name] = dict(before.manifest.files[name]) if shared else describe(path)
    return Manifest(facts, files)

"""Export: a trained model and its dataset become one self-describing folder that a server opens.

Shapes: N items, D embedding dim.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.torch import save_file

from interactrank.core.atomic_directory import atomic_directory
from interactrank.core.files import atomic_write, sha256
from interactrank.core.manifest import MANIFEST, Manifest
from interactrank.core.versions import version_of
from interactrank.cross_features.item_fields import ItemFields
from interactrank.cross_features.jagged import Jagged
from interactrank.cross_features.text import hash63, normalize
from interactrank.data.loading.encode_items import encode_items
from interactrank.data.prepared.columns import SPLITS, TIME
from interactrank.data.prepared.dataset import PreparedDataset
from interactrank.data.prepared.vocabulary import Vocabulary
from interactrank.models import InteractRank
from interactrank.serving.artifact import (
    ARTIFACT_FORMAT,
    EVENT_IDS,
    FIELDS_OF_ITEMS,
    IDS,
    VECTORS,
    WEIGHTS,
    Version,
    current_name,
    publish,
    version_folder,
)
from interactrank.serving.browse import write_browse
from interactrank.serving.errors import ArtifactError
from interactrank.serving.item_ids import ItemIds
from interactrank.serving.item_vectors import ItemVectors, Precision
from interactrank.version import __version__

__all__ = ["export_model"]

FROM_DATASET = ("vocabulary", "users", "cross_features", "item_fields")


def export_model(
    model: InteractRank,
    dataset: PreparedDataset,
    output: Path,
    *,
    weights: Path,
    facts: Mapping[str, Any],
    precision: Precision = "float32",
    replace_newer: bool = False,
    browse: str | Path | None = None,
) -> Version:
    """Write a version into ``output`` and serve it from now on, unless a newer one is served.

    Args:
        model: trained, in evaluation mode.
        dataset: that it was trained on.
        output: folder of the export; earlier versions in it stay.
        weights: the model's file, which tells one version from another.
        facts: what the manifest says of model and command.
        precision: of the item vectors.
        replace_newer: serve it even if the version that is served has later events.
        browse: the log that the dataset was prepared from, to export what the search page shows of it, see
            :mod:`~interactrank.serving.browse`; None for nothing.

    Returns:
        The version.

    Raises:
        ArtifactError: the model has no item vectors, or ``output`` is something else than an export.
        OSError: a file cannot be written.
    """
    if not model.score_head.separable:
        raise ArtifactError(
            f"a model of the class {type(model).__name__} scores each pair of query and item by itself: it "
            "has no item vectors to export; export interactrank or two_tower"
        )
    _check_output(output)
    event_time = last_event_time(dataset)
    content = {key: value for key, value in facts.items() if key != "command"}
    if browse is not None:
        content["browse"] = True
    digest = hashlib.sha256()
    digest.update(json.dumps([dataset.manifest["fingerprint"], precision, content], sort_keys=True).encode())
    digest.update(sha256(weights).encode())
    stamp = datetime.fromtimestamp(event_time / 1000, timezone.utc).strftime("%Y%m%dT%H%M%S")
    folder = version_folder(output, f"{stamp}-{digest.hexdigest()[:8]}")
    if not (folder / MANIFEST).exists():
        with atomic_directory(folder) as staging:
            _write(staging, model, dataset, precision)
            if browse is not None:
                write_browse(staging, dataset, browse)
            every = {
                "artifact_format": ARTIFACT_FORMAT,
                "version": __version__,
                "event_time": event_time,
                "precision": precision,
                "items": len(dataset.items),
                "libraries": {name: version_of(name) for name in ("torch", "torchrec", "numpy")},
                "dataset": {
                    key: dataset.manifest[key]
                    for key in ("fingerprint", "schema", "cross_features", "tables", "numbers", "items")
                },
                **facts,
            }
            Manifest.of(staging, every).write(staging, seal=True)
    version = Version(folder)
    served = current_name(output)
    if served is None or replace_newer or Version(version_folder(output, served)).event_time <= event_time:
        publish(output, version.name)
    return version


def last_event_time(dataset: PreparedDataset) -> int:
    """Return milliseconds of the last request of a dataset."""
    times = [
        int(dataset.read(split, [TIME])[TIME].to_numpy().max())
        for split in SPLITS
        if dataset.num_requests(split)
    ]
    return max(times)


def _write(staging: Path, model: InteractRank, dataset: PreparedDataset, precision: Precision) -> None:
    # Not a copy of the file: on a dataset that has grown, tables have more rows than they were trained with.
    state = {name: value.contiguous() for name, value in model.state_dict().items()}
    atomic_write(staging / WEIGHTS, lambda path: save_file(state, path))
    for name in FROM_DATASET:
        if (dataset.folder / name).is_dir():
            shutil.copytree(dataset.folder / name, staging / name)
    ItemVectors.of(encode_items(model, dataset.items, dataset.layout).float().numpy(), precision).write(
        staging / VECTORS
    )
    ItemIds.write(staging / IDS, dataset.items.ids)
    sequence = dataset.schema.sequence
    if sequence is not None:
        rows = dataset.items.first(sequence.item, np.arange(len(dataset.items)))
        rows.astype("<i8").tofile(staging / EVENT_IDS)
    for feature in dataset.schema.features.item:
        table = None if feature.table is None else dataset.schema.tables[feature.table]
        if feature.kind == "id" and table is not None and table.ids == "vocabulary":
            fields = fields_of(dataset.items.features[feature.name], dataset.vocabulary(str(feature.table)))
            fields.save(staging / FIELDS_OF_ITEMS / feature.name)


def fields_of(rows: Jagged, vocabulary: Vocabulary) -> ItemFields:
    """Return the values of an id feature by which items can be filtered.

    Args:
        rows: of the ID table, of each item; row 0 stands for many values and for none.
        vocabulary: of the table.
    """
    hashes = np.fromiter((hash63(normalize(v)) for v in vocabulary.values), np.int64)
    item = np.repeat(np.arange(len(rows.lengths)), rows.lengths)
    known = rows.values > 0
    distinct, numbers = np.unique(hashes, return_inverse=True)
    pairs = np.unique(np.stack([item[known], numbers[rows.values[known] - 1]]), axis=1)
    lengths = np.bincount(pairs[0], minlength=len(rows.lengths))
    return ItemFields(Jagged(pairs[1].astype(np.int32), lengths), distinct)


def _check_output(output: Path) -> None:
    if output.exists() and any(output.iterdir()) and not (output / "versions").is_dir():
        raise ArtifactError(f"'{output}' is not empty and not an export; name another folder")

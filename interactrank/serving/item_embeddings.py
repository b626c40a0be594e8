"""The whole catalogue through the item tower, on any number of ranks.

Shapes: N items, D embedding dim.

The catalogue is cut into files of a fixed number of items, and ranks take turns with the files; so the files
are the same, byte for byte, whatever the number of ranks. A manifest, written last, says that all are there.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from interactrank.core.errors import UserError
from interactrank.core.extras import require
from interactrank.core.files import atomic_write
from interactrank.core.manifest import MANIFEST, Manifest, ManifestError, describe
from interactrank.data.loading.encode_items import encode_items
from interactrank.data.prepared.dataset import PreparedDataset
from interactrank.distributed.collectives import all_gather_objects, raise_on_all_ranks, run_on_rank0
from interactrank.distributed.world import World
from interactrank.models import InteractRank
from interactrank.version import __version__

__all__ = ["MANIFEST", "ItemEmbeddingsError", "export_items", "read_items"]

FORMAT = 1


class ItemEmbeddingsError(UserError, ValueError):
    """A directory that is not a complete export of item embeddings; the message says what is wrong."""


def export_items(
    model: InteractRank,
    log: PreparedDataset,
    output: Path,
    world: World,
    *,
    origin: dict[str, Any],
    file_items: int = 1 << 16,
    chunk: int = 1 << 13,
    progress: Callable[[int, int], object] = lambda done, total: None,
) -> dict[str, Any]:
    """Embed all items and writes them as Parquet; every rank calls it.

    A file has a row for each item, in the order of the prepared catalogue: ``item_id`` and ``embedding``
    (D float32).

    Args:
        model: trained, in evaluation mode, the same and whole on every rank.
        log: the prepared log that it was trained on.
        output: folder of the files, seen by all ranks; an earlier export in it is replaced.
        world: who this rank is, and where it computes.
        origin: what the manifest says of the model.
        file_items: items of a file.
        chunk: items through the tower at a time.
        progress: called with files done and files of this rank.

    Returns:
        The manifest.

    Raises:
        ItemEmbeddingsError: ``output`` holds something else than an export.
        OSError: a file cannot be written, on any rank (on the others a RankError that quotes it).
    """
    items = len(log.items)
    starts = list(range(0, items, file_items))
    model = model.to(world.device)

    def begin() -> None:
        output.mkdir(parents=True, exist_ok=True)
        _check_output(output)
        (output / MANIFEST).unlink(missing_ok=True)  # until all is there, nothing is
        for old in output.glob("items-*.parquet"):
            old.unlink()

    run_on_rank0("preparing the folder of the item embeddings", begin)
    mine = starts[world.rank :: world.size]
    files: dict[str, dict[str, Any]] = {}
    dim = 0
    with raise_on_all_ranks("embedding items"):
        for done, first in enumerate(mine, 1):
            rows = np.arange(first, min(first + file_items, items))
            path = output / f"items-{first // file_items:05d}.parquet"
            embeddings = (
                encode_items(model, log.items, log.layout, rows, device=world.device, chunk=chunk)
                .float()
                .cpu()
                .numpy()
            )
            dim = embeddings.shape[1]
            _write(path, [log.items.ids[row] for row in rows], embeddings)
            files[path.name] = {"first": first, "items": len(rows), **describe(path)}
            progress(done, len(mine))
    for theirs, width in all_gather_objects((files, dim)):
        files |= theirs
        dim = max(dim, width)
    facts = {"format": FORMAT, "version": __version__, "items": items, "dim": dim, "model": origin}
    manifest = Manifest(facts, dict(sorted(files.items())))
    run_on_rank0("writing the manifest of the item embeddings", lambda: manifest.write(output))
    return manifest.to_json()


def read_items(folder: Path) -> tuple[list[str], NDArray[np.float32]]:
    """Read an export back.

    Args:
        folder: what :func:`export_items` wrote.

    Returns:
        N item ids, and [N, D] embeddings.

    Raises:
        ItemEmbeddingsError: it is not complete, or a file has changed; names the file.
    """
    pq = require("pyarrow.parquet", extra="data")
    try:
        manifest = Manifest.read(folder)
        dim = int(manifest.facts["dim"])
    except (ValueError, KeyError, TypeError) as error:
        raise ItemEmbeddingsError(
            f"'{folder}' is not a complete export of item embeddings ({error}); run interactrank export-items"
        ) from None
    if (damage := manifest.damage(folder, checksums=True)) is not None:
        raise ItemEmbeddingsError(f"{damage}; run interactrank export-items again")
    ids: list[str] = []
    parts = [np.empty((0, dim), np.float32)]
    for name in manifest.files:
        table = pq.read_table(folder / name)
        ids += table["item_id"].to_pylist()
        column = table["embedding"].combine_chunks()
        parts.append(column.flatten().to_numpy().reshape(len(table), dim))
    return ids, np.concatenate(parts)


def _check_output(folder: Path) -> None:
    """Only an export may be replaced, complete or not."""
    for path in sorted(folder.iterdir()):
        if path.match("items-*.parquet") or path.match(".*.tmp.*"):
            continue
        if path.name != MANIFEST or not _is_export(folder):
            raise ItemEmbeddingsError(
                f"'{folder}' holds {path.name}, which is not an export of item embeddings; name another "
                "folder"
            )


def _is_export(folder: Path) -> bool:
    try:
        return {"format", "items", "dim", "model"} <= Manifest.read(folder).facts.keys()
    except ManifestError:
        return False


def _write(path: Path, ids: list[str], embeddings: NDArray[np.float32]) -> None:
    pa, pq = require("pyarrow", extra="data"), require("pyarrow.parquet", extra="data")
    flat = pa.array(embeddings.reshape(-1))
    columns = {
        "item_id": pa.array(ids, pa.string()),
        "embedding": pa.FixedSizeListArray.from_arrays(flat, embeddings.shape[1]),
    }
    atomic_write(path, lambda temporary: pq.write_table(pa.table(columns), temporary))

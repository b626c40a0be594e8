"""The catalogue's embeddings: the same files from any number of ranks, and only complete ones are read."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from interactrank.checkpoint.weights import save_model
from interactrank.data.loading.collate import item_batch
from interactrank.data.loading.loader import SearchLoader
from interactrank.data.prepared.dataset import PreparedDataset
from interactrank.distributed.errors import RankError
from interactrank.distributed.world import current_world, process_group
from interactrank.models import InteractRank
from interactrank.modules import ManagedIds
from interactrank.runs.datasets import prepare_dataset
from interactrank.runs.evaluation import evaluate_models
from interactrank.runs.export import export_item_embeddings
from interactrank.runs.run_directory import RunSpec, open_model, open_or_resume
from interactrank.serving.item_embeddings import ItemEmbeddingsError, export_items, read_items
from interactrank.training.trainer import train
from tests.ranks import run_ranks
from tests.trained import config, raw_log


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a prepared log of 12 items and a model with its first weights."""
    folder = tmp_path_factory.mktemp("trained")
    settings = config()
    prepare_dataset(settings, raw_log(folder / "log"), folder / "prepared")
    log = PreparedDataset(folder / "prepared")
    torch.manual_seed(3)
    model = InteractRank(layout=log.layout, settings=settings.model)
    open_or_resume(folder / "model", RunSpec.of("interactrank", settings, log))
    with process_group("cpu"):
        save_model(model, folder / "model" / "model.safetensors")
    return folder


def _export(folder: str, output: str) -> str:
    log = PreparedDataset(Path(folder) / "prepared")
    _, model = open_model(Path(folder) / "model", log)
    manifest = export_items(
        model, log, Path(output), current_world(), origin={"name": "interactrank"}, file_items=5, chunk=2
    )
    return json.dumps(manifest)


def test_two_ranks_write_the_files_of_one(trained: Path, tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    with process_group("cpu"):
        expected = _export(str(trained), str(one))
    assert run_ranks(2, _export, str(trained), str(two)) == [expected, expected]
    names = ["items-00000.parquet", "items-00001.parquet", "items-00002.parquet", "manifest.json"]
    for folder in (one, two):
        assert sorted(path.name for path in folder.iterdir()) == names
    for name in names:
        assert (one / name).read_bytes() == (two / name).read_bytes()
    files = json.loads(expected)["files"].values()
    assert [(f["first"], f["items"]) for f in files] == [(0, 5), (5, 5), (10, 2)]


def test_what_is_read_is_what_the_item_tower_says(trained: Path, tmp_path: Path) -> None:
    output = tmp_path / "items"
    (output).mkdir()
    (output / "items-00099.parquet").write_text("of an earlier export")
    manifest = export_item_embeddings(config(), trained / "prepared", trained / "model", output)
    log = PreparedDataset(trained / "prepared")
    _, model = open_model(trained / "model", log)
    with torch.no_grad():
        expected = model.encode_items(item_batch(log.items, np.arange(12), log.layout))
    ids, embeddings = read_items(output)
    assert ids == log.items.ids
    assert (manifest["items"], manifest["dim"]) == embeddings.shape
    assert np.array_equal(embeddings, expected.numpy())
    assert list(manifest["files"]) == ["items-00000.parquet"]
    assert not (output / "items-00099.parquet").exists()


def test_only_an_export_is_replaced(trained: Path, tmp_path: Path) -> None:
    with process_group("cpu"):
        for folder in (trained / "prepared", trained / "model"):
            before = sorted((path.name, path.stat().st_mtime_ns) for path in folder.rglob("*"))
            with pytest.raises(ItemEmbeddingsError, match=r"which is not an export of item embeddings; name"):
                _export(str(trained), str(folder))
            assert sorted((path.name, path.stat().st_mtime_ns) for path in folder.rglob("*")) == before
        _export(str(trained), str(tmp_path))
        (tmp_path / "manifest.json").unlink()  # as a kill leaves it
        _export(str(trained), str(tmp_path))
        _export(str(trained), str(tmp_path))
    assert len(read_items(tmp_path)[0]) == 12


def test_an_incomplete_or_changed_export_is_refused(trained: Path, tmp_path: Path) -> None:
    with pytest.raises(ItemEmbeddingsError, match=r"not a complete export of item embeddings .*export-items"):
        read_items(tmp_path)
    with process_group("cpu"):
        _export(str(trained), str(tmp_path))
    path = tmp_path / "items-00001.parquet"
    data = path.read_bytes()
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(ItemEmbeddingsError, match=r"items-00001\.parquet' has changed since"):
        read_items(tmp_path)
    path.unlink()
    with pytest.raises(ItemEmbeddingsError, match=r"items-00001\.parquet' is missing; run"):
        read_items(tmp_path)


MANAGED = (
    "schema.tables.item={dim: 4, ids: managed, rows: 8, buckets: 2, eviction_interval: 2}",
    "training.steps=6",
)


def _train_managed(folder: Path, output: Path) -> list[list[float]]:
    """Trains; then embeds all items with the sharded model."""
    settings = config(*MANAGED)
    log, world = PreparedDataset(folder), current_world()
    torch.manual_seed(0)
    model = InteractRank(layout=log.layout, settings=settings.model)
    loader = SearchLoader(log, "train", settings.loader, rank=world.rank, world_size=world.size)
    if world.is_main:
        open_or_resume(output, RunSpec.of("interactrank", settings, log))
    trained = train(model, loader, settings.training, output).dmp.module.eval()
    with torch.no_grad():
        embeddings = trained.encode_items(item_batch(log.items, np.arange(len(log.items)), log.layout))
    return embeddings.tolist()


def _export_managed(folder: Path, run: Path, output: Path) -> None:
    log = PreparedDataset(folder)
    _, model = open_model(run, log)
    export_items(model, log, output, current_world(), origin={}, file_items=5)


@pytest.mark.slow
@pytest.mark.parametrize("ranks", [1, 2])
def test_items_of_a_managed_table(tmp_path: Path, ranks: int) -> None:
    """12 items for 6 rows and 2 shared ones: exported as the sharded model embeds them, and evaluated."""
    settings, data = config(*MANAGED), tmp_path / "prepared"
    prepare_dataset(settings, raw_log(tmp_path / "log"), data)
    expected = run_ranks(ranks, _train_managed, data, tmp_path / "model")
    for size, name in ((1, "one"), (2, "two")):
        run_ranks(size, _export_managed, data, tmp_path / "model", tmp_path / name)
    names = ["items-00000.parquet", "items-00001.parquet", "items-00002.parquet", "manifest.json"]
    for name in names:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    ids, embeddings = read_items(tmp_path / "one")
    assert ids == PreparedDataset(data).items.ids
    for theirs in expected:
        np.testing.assert_allclose(embeddings, theirs, atol=1e-6)
    _, model = open_model(tmp_path / "model", PreparedDataset(data))
    (managed,) = (m for m in model.modules() if isinstance(m, ManagedIds))
    assert int((managed.count > 0).sum()) == 6  # rows went to values
    found = evaluate_models(settings, data, [tmp_path / "model"], tmp_path / "report")
    assert 0 < found.models["interactrank"]["mrr"].value <= 1


def _unwritable(folder: str, output: str) -> str:
    if current_world().rank == 1:
        from interactrank.serving import item_embeddings

        def full(*_: object) -> None:
            raise OSError(28, "No space left on device")

        item_embeddings._write = full  # type: ignore[assignment]
    try:
        _export(folder, output)
    except (OSError, RankError) as error:
        return f"{type(error).__name__}: {error}"
    return "no error"


def test_a_rank_that_cannot_write_ends_all_and_leaves_no_manifest(trained: Path, tmp_path: Path) -> None:
    first, second = run_ranks(2, _unwritable, str(trained), str(tmp_path))
    assert first.startswith("RankError: rank 1 failed while embedding items: OSError")
    assert second == "OSError: [Errno 28] No space left on device"
    assert not (tmp_path / "manifest.json").exists()

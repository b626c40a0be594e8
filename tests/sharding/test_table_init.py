"""Tables of which every rank makes its parts only."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from interactrank.checkpoint.weights import load_model, save_model
from interactrank.core.settings import parse_config
from interactrank.data.prepared.dataset import PreparedDataset
from interactrank.distributed.world import current_world, process_group
from interactrank.models import InteractRank, ModelSettings
from interactrank.models.tables import table_bytes
from interactrank.sharding.planner.cluster import cluster_of
from interactrank.sharding.planner.plan import make_plan
from interactrank.sharding.shard import shard_model
from interactrank.sharding.table_init import table_device
from interactrank.training.settings import TrainingSettings
from tests.models.search import SMALL, batch, prepared
from tests.ranks import run_ranks

SCALE = 3**0.5 * 0.05  # of uniform weights with the standard deviation of model.table_std


def test_only_large_tables_are_made_in_parts() -> None:
    with process_group("cpu") as world:
        quarter = cluster_of(world).ddr // 4
        assert table_device(TrainingSettings(), quarter - 1, world) is None
        assert table_device(TrainingSettings(), quarter + 1, world) == torch.device("meta")
        assert table_device(TrainingSettings(table_init="replicated"), 10 * quarter, world) is None
        assert table_device(TrainingSettings(table_init="sharded"), 1, world) == torch.device("meta")


def test_bytes_of_tables_by_hand(tmp_path: Path) -> None:
    """16 managed words of 4 float32 and 56 bytes; the other rows of 4 float32."""
    log = prepared(tmp_path, "tables.word={dim: 4, ids: managed, rows: 16, buckets: 2}")
    assert {table.dim for table in log.schema.tables.values()} == {4}
    others = sum(rows for name, rows in log.layout.table_rows.items() if name != "word")
    assert table_bytes(log.layout) == 16 * (4 * 4 + 56) + others * 4 * 4


def _make(folder: Path, output: Path, types: list[str]) -> tuple[dict[str, Tensor], Tensor]:
    world, log = current_world(), PreparedDataset(folder)
    settings = parse_config(ModelSettings, SMALL)
    torch.manual_seed(0)
    model = InteractRank(layout=log.layout, settings=settings, table_device=torch.device("meta"))
    dense = {n: p.detach().clone() for n, p in model.named_parameters() if not p.is_meta}
    sharding = {n.split(".")[-2]: {"types": types} for n, p in model.tables.named_parameters()}
    training = TrainingSettings.model_validate({"sharding": sharding})
    torch.manual_seed(1 + world.rank)  # as train does
    dmp = shard_model(model, make_plan(model, training, world), training, world)
    save_model(dmp, output / "model.safetensors")
    with torch.no_grad():
        return dense, dmp.module.eval().score(batch(log))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["row_wise", "table_wise", "column_wise"])
def test_parts_are_drawn_as_the_whole_would_be(tmp_path: Path, kind: str) -> None:
    log = prepared(tmp_path / "log")
    ranks = run_ranks(2, _make, log.folder, tmp_path, [kind])
    model = InteractRank(layout=log.layout, settings=parse_config(ModelSettings, SMALL))
    load_model(model, tmp_path / "model.safetensors")
    for name, parameter in model.named_parameters():
        if name.startswith("tables."):
            weight = parameter.detach()
            assert SCALE / 3 < float(weight.abs().max()) <= SCALE
            assert weight.numel() < 200 or float(weight.std()) == pytest.approx(0.05, rel=0.2), name
            assert len(weight.flatten().unique()) > 0.9 * weight.numel()  # no part is zero, or a copy
        else:
            assert torch.equal(parameter, ranks[0][0][name]), name
    with torch.no_grad():
        expected = model.eval().score(batch(log))
    for _, scores in ranks:
        torch.testing.assert_close(scores, expected)

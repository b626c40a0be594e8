"""A checkpoint in a model whose tables have further rows: old rows stay, new ones begin as row 0."""

from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import torch

from interactrank.checkpoint.grown import load_grown
from interactrank.checkpoint.manifest import CheckpointError
from interactrank.checkpoint.store import CheckpointStore
from interactrank.distributed.errors import RankError
from interactrank.distributed.world import current_world, process_group
from interactrank.sharding.planner.plan import make_plan
from interactrank.sharding.shard import shard_model
from interactrank.training.optimizers import build_optimizer
from interactrank.training.settings import TrainingSettings
from interactrank.training.trainer import train
from tests import toy
from tests.checkpoint.test_store import contents, settings_for
from tests.ranks import run_ranks
from tests.toy import ToyLoader, ToyModel

MORE = {**toy.ROWS, "queries": 30, "products": 14}
TABLES = {"queries": 21, "products": 13}  # rows before


def _train(settings: TrainingSettings, output: str) -> None:
    train(ToyModel(), ToyLoader(current_world().rank), settings, output)


def _grow(settings: TrainingSettings, source: str, target: str, rows: dict[str, int]) -> dict[str, int]:
    """Loads a checkpoint into a fresh model with these rows and saves it again."""
    world = current_world()
    with mock.patch.dict(toy.ROWS, rows):
        model = ToyModel(seed=5)
    dmp = shard_model(model, make_plan(model, settings, world), settings, world)
    optimizer = build_optimizer(dmp, settings, 3)
    path = CheckpointStore(source).latest()
    assert path is not None
    grown = load_grown(path, dmp, optimizer)
    CheckpointStore(target).save(dmp, optimizer, 3)
    return grown


def _table(key: str) -> str | None:
    return next((t for t in TABLES if f"{t}." in key), None)


def _check(before: dict[str, Any], after: dict[str, Any]) -> None:
    assert before.keys() == after.keys()
    longer = 0
    for key, was in before.items():
        now = after[key]
        if not isinstance(was, torch.Tensor) or was.shape == now.shape:
            assert torch.equal(torch.as_tensor(was), torch.as_tensor(now)), key
            continue
        longer += 1
        table = _table(key)
        assert table is not None
        assert len(was) == TABLES[table]
        assert len(now) == MORE[table]
        assert torch.equal(was, now[: len(was)]), key
        new = now[len(was) :]
        first = was[:1] if key.startswith("/model") else torch.zeros_like(was[:1])
        assert torch.equal(new, first.expand_as(new)), key
    assert longer >= 4  # weights and optimizer state of two tables


@pytest.mark.parametrize("optimizer", ["adagrad", "row_wise_adagrad"])
def test_old_rows_stay_and_new_ones_begin_as_row_0(tmp_path: Path, optimizer: str) -> None:
    settings = settings_for(("table_wise",) * 3, table_optimizer={"name": optimizer, "lr": 0.1})
    source, target = str(tmp_path / "run/checkpoints"), str(tmp_path / "copy")
    with process_group("cpu"):
        _train(settings, str(tmp_path / "run"))
        grown = _grow(settings, source, target, MORE)
    assert sorted(grown.values()) == [1, 9]
    _check(contents(Path(source)), contents(Path(target)))


@pytest.mark.slow
def test_on_two_ranks_with_rows_and_columns_split(tmp_path: Path) -> None:
    settings = settings_for(
        ("row_wise", "table_wise", "column_wise"), table_optimizer={"name": "adagrad", "lr": 0.1}
    )
    source, target = str(tmp_path / "run/checkpoints"), str(tmp_path / "copy")
    run_ranks(2, _train, settings, str(tmp_path / "run"))
    run_ranks(2, _grow, settings, source, target, MORE)
    _check(contents(Path(source)), contents(Path(target)))


def test_a_table_does_not_shrink(tmp_path: Path) -> None:
    settings = settings_for(("table_wise",) * 3)
    with process_group("cpu"):
        _train(settings, str(tmp_path / "run"))
        with pytest.raises((CheckpointError, RankError), match="21 x 8 in the checkpoint and float32 20 x 8"):
            _grow(settings, str(tmp_path / "run/checkpoints"), str(tmp_path / "copy"), {"queries": 20})

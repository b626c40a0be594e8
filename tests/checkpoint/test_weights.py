from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from interactrank.checkpoint import weights
from interactrank.checkpoint.weights import WeightsError, load_model, save_model
from interactrank.distributed.errors import RankError
from interactrank.distributed.world import current_world, process_group
from interactrank.sharding.planner.plan import make_plan
from interactrank.sharding.shard import shard_model
from interactrank.training.settings import TrainingSettings
from tests.ranks import run_ranks
from tests.toy import ToyModel


class Buffers(ToyModel):
    """The toy model with a value of each kind that a model may also hold."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("counts", torch.tensor([2**40, 3]))
        self.register_buffer("mask", torch.tensor([True, False]))
        self.register_buffer("scale", torch.tensor(0.5, dtype=torch.bfloat16))
        self.register_buffer("none", torch.zeros(0, 3))


def _shard_and_save(kinds: dict[str, str], path: str, block_bytes: int) -> str:
    weights._BLOCK_BYTES = block_bytes
    world = current_world()
    settings = TrainingSettings.model_validate({"sharding": {t: {"types": [k]} for t, k in kinds.items()}})
    model = Buffers()
    dmp = shard_model(model, make_plan(model, settings, world), settings, world)
    try:
        save_model(dmp, path)
    except (OSError, RankError) as error:
        return f"{type(error).__name__}: {error}"
    return "saved"


@pytest.mark.slow
@pytest.mark.parametrize(
    "kinds",
    [
        {"queries": "table_wise", "words": "column_wise", "products": "row_wise"},
        {"queries": "row_wise", "words": "data_parallel", "products": "column_wise"},
    ],
)
def test_sharding_and_saving_give_back_the_initial_weights(tmp_path: Path, kinds: dict[str, str]) -> None:
    path = tmp_path / "model.safetensors"
    # Blocks of 5 rows of 8 float32: tables of 21, 16 and 13 rows take several, across the parts of the ranks.
    assert run_ranks(2, _shard_and_save, kinds, str(path), 160) == ["saved", "saved"]
    expected, found = Buffers().state_dict(), load_file(path)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert found[name].dtype == value.dtype
        assert torch.equal(found[name], value), name


def test_a_failed_write_is_raised_on_all_ranks(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    first, second = run_ranks(2, _shard_and_save, {}, str(tmp_path / "file" / "model.safetensors"), 160)
    assert first.startswith(("FileExistsError", "NotADirectoryError"))
    assert second.startswith("RankError: rank 0 failed while writing the weights")


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    with process_group("cpu"):
        save_model(ToyModel(), tmp_path / "model.safetensors")
    return tmp_path / "model.safetensors"


def test_load_model_needs_no_process_group(saved: Path) -> None:
    model = ToyModel(seed=9)
    load_model(model, saved)
    for name, value in ToyModel().state_dict().items():
        assert torch.equal(model.state_dict()[name], value)


def test_a_file_of_another_model_is_refused_with_the_first_difference(saved: Path) -> None:
    with pytest.raises(WeightsError, match=r"queries.weight' is \(21, 8\) in the file and \(21, 12\) in the"):
        load_model(ToyModel(dim=12), saved)
    with pytest.raises(WeightsError, match="'counts' is in the model but not in the file"):
        load_model(Buffers(), saved)
    less = ToyModel(seed=4)
    before = less.state_dict()["ebc.embedding_bags.words.weight"].clone()
    del less.rest.norm
    with pytest.raises(WeightsError, match=r"'rest\.norm\.bias' is in the file but not in the model"):
        load_model(less, saved)
    assert torch.equal(less.state_dict()["ebc.embedding_bags.words.weight"], before)


def test_an_unreadable_file_is_named(saved: Path, tmp_path: Path) -> None:
    saved.write_bytes(saved.read_bytes()[:-10])
    with pytest.raises(WeightsError, match=r"model\.safetensors: not a readable weights file"):
        load_model(ToyModel(), saved)
    with pytest.raises(WeightsError, match=r"none\.safetensors: not a readable weights file"):
        load_model(ToyModel(), tmp_path / "none.safetensors")

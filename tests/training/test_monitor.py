import pytest
import torch

from interactrank.distributed.world import process_group
from interactrank.sharding.planner.plan import make_plan
from interactrank.sharding.shard import shard_model
from interactrank.training.monitor import NonFiniteLossError, Window, batch_statistics, check_finite_state
from interactrank.training.pipeline import StepResult
from interactrank.training.settings import TrainingSettings
from tests.toy import ToyModel, toy_batch


def test_batch_statistics_name_each_tensor_and_count_what_is_not_finite() -> None:
    batch = toy_batch(0, requests=2)
    batch.request_dense = torch.tensor([[1.5, float("nan")], [float("-inf"), -2.0]])
    lines = batch_statistics(batch).splitlines()
    assert "  request_dense [2 x 2]: -2 to 1.5, 1 NaN, 1 infinite" in lines
    assert "  item_dense [5 x 0]: no values, 0 NaN, 0 infinite" in lines
    assert "  request_index [2]: 0 to 1" in lines
    assert any(line.startswith("  event_ids.products [") for line in lines)


def test_a_gradient_that_is_not_finite_stops_before_the_weights_are_saved() -> None:
    window = Window()
    for step, norm in ((1, 1.0), (2, float("inf")), (3, float("nan"))):
        window.add(step, StepResult(torch.tensor(0.5)), torch.tensor(norm))
    with process_group("cpu"), pytest.raises(NonFiniteLossError) as error:
        window.close(lambda step: toy_batch(step))
    assert str(error.value).startswith("step 2: ")
    assert "rank 0: loss 0.5, gradient norm inf" in str(error.value)


def test_a_batch_that_cannot_be_read_again_does_not_hide_the_step() -> None:
    def gone(step: int) -> None:
        raise OSError("the file is gone")

    window = Window()
    window.add(7, StepResult(torch.tensor(float("nan"))), torch.tensor(1.0))
    with (
        process_group("cpu"),
        pytest.raises(NonFiniteLossError, match=r"step 7: (.|\n)*OSError: the file is gone"),
    ):
        window.close(gone)


def test_weights_that_are_not_finite_are_named() -> None:
    settings = TrainingSettings()
    with process_group("cpu") as world:
        model = ToyModel()
        dmp = shard_model(model, make_plan(model, settings, world), settings, world)
        check_finite_state(dmp, 1)
        table = dmp.state_dict()["ebc.embedding_bags.words.weight"].local_shards()[0].tensor
        with torch.no_grad():
            table[3, 2] = float("nan")
        with pytest.raises(NonFiniteLossError, match=r"rank 0: ebc\.embedding_bags\.words\.weight"):
            check_finite_state(dmp, 1)

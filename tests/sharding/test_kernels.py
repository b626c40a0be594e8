"""FBGEMM's kernels on a GPU: weights in its memory, a cache, or the host's."""

from __future__ import annotations

import pytest
import torch

from interactrank.distributed.world import process_group
from interactrank.sharding.planner.plan import make_plan
from interactrank.sharding.shard import shard_model
from interactrank.training.optimizers import build_optimizer
from interactrank.training.settings import TrainingSettings
from tests.sharding.torchrec_patches.test_mean_pooling import Bags, ids


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("kernel", ["fused", "fused_uvm_caching", "fused_uvm"])
@pytest.mark.parametrize("optimizer", ["sgd", "row_wise_adagrad", "adam"])
def test_a_step_on_a_gpu_is_that_of_the_unsharded_model(kernel: str, optimizer: str) -> None:
    expected = Bags(("mean", "sum"))
    tables = {"name": optimizer, "lr": 0.1}
    sharding = {name: {"types": ["table_wise"], "kernels": [kernel]} for name in "ab"}
    settings = TrainingSettings.model_validate({"table_optimizer": tables, "sharding": sharding})
    with process_group("cuda") as world:
        model = Bags(("mean", "sum"))
        dmp = shard_model(model, make_plan(model, settings, world), settings, world)
        updates = build_optimizer(dmp, settings, total_steps=2)
        batch = ids(0)
        for _ in range(2):
            updates.start_step(1)
            updates.zero_grad()
            pooled = dmp.module.bags(batch.to(world.device))
            unsharded = expected.bags(batch)
            for key in ("a_0", "a_1", "b_0", "b_1"):
                torch.testing.assert_close(pooled[key].cpu(), unsharded[key], atol=1e-5, rtol=1e-5)
            (pooled["a_0"].square().sum() + pooled["b_1"].square().sum()).backward()
            (unsharded["a_0"].square().sum() + unsharded["b_1"].square().sum()).backward()
            updates.step()
            if (
                optimizer != "sgd"
            ):  # compared for the first step's values only; their maths has tests of its own
                break
            with torch.no_grad():
                for weight in expected.parameters():
                    weight -= 0.1 * weight.grad
                    weight.grad = None

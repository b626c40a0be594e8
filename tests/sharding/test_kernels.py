"""FBGEMM's kernels: what they count and lock, and on a GPU weights in its memory, a cache, or the host's."""

from __future__ import annotations

import pytest
import torch
from torchrec.distributed.model_parallel import DistributedModelParallel

from interactrank.distributed.world import current_world, process_group
from interactrank.sharding.planner.plan import make_plan
from interactrank.sharding.shard import shard_model
from interactrank.sharding.torchrec_patches.cache_locks import unlock_caches
from interactrank.sharding.torchrec_patches.step_counts import set_table_steps, table_steps
from interactrank.training.optimizers import build_optimizer
from interactrank.training.settings import TrainingSettings
from tests.ranks import run_ranks
from tests.sharding.torchrec_patches.test_mean_pooling import Bags, ids
from tests.toy import ToyModel


def _sharded(settings: TrainingSettings) -> tuple[DistributedModelParallel, list]:
    """A sharded model, and the kernels of both kinds of collections, where TorchRec keeps them."""
    model, world = ToyModel(), current_world()
    dmp = shard_model(model, make_plan(model, settings, world), settings, world)
    collections = (dmp.module.ebc, dmp.module.ec)
    return dmp, [m._emb_module for of in collections for m in of._lookups[0]._emb_modules]


def test_what_an_evaluation_looked_up_does_not_stay_locked_in_caches() -> None:
    with process_group("cpu"):
        dmp, kernels = _sharded(TrainingSettings(pipeline="prefetch"))
        for kernel in kernels:
            assert kernel.prefetch_pipeline
            kernel.lxu_cache_locking_counter = torch.tensor([[0, 2], [1, 0]])
            kernel.lxu_cache_state = torch.tensor([[0, 2], [1, 0]])
        unlock_caches(dmp)
    for kernel in kernels:
        assert kernel.lxu_cache_locking_counter.tolist() == [[0, 0], [0, 0]]
        assert kernel.lxu_cache_state.tolist() == [[0, 2], [1, 0]]


def _count() -> tuple[int, list[tuple[int, int]], int]:
    dmp, kernels = _sharded(TrainingSettings())
    for number, kernel in enumerate(kernels):
        kernel.iter_cpu.fill_(10 * (1 + current_world().rank) + number)
    before = table_steps(dmp)
    set_table_steps(dmp, 7)
    return before, [(int(k.iter_cpu), int(k.iter)) for k in kernels], table_steps(dmp)


def test_the_steps_that_the_kernels_count_are_those_of_the_rank_with_the_most() -> None:
    for before, counts, after in run_ranks(2, _count):
        assert before in (20, 21)  # rank 1 has a table of one collection, or of both
        assert set(counts) == {(7, 7)}
        assert after == 7


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

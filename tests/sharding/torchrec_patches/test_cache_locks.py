"""Rows that stay locked in the caches of FBGEMM's kernels."""

from __future__ import annotations

import pytest
import torch

from interactrank.distributed.world import process_group
from interactrank.sharding import make_plan, shard_model
from interactrank.sharding.lookups import lookup_modules
from interactrank.sharding.torchrec_patches.cache_locks import unlock_caches
from interactrank.training.settings import TrainingSettings
from tests.sharding.torchrec_patches.bags import Bags, uneven_ids
from tests.toy import ToyModel


def test_unlock_caches__what_an_evaluation_looked_up_does_not_stay_locked() -> None:
    settings = TrainingSettings(pipeline="prefetch")
    with process_group("cpu") as world:
        model = ToyModel()
        dmp = shard_model(model, make_plan(model, settings, world), settings, world)
        kernels = [kernel for kernel in lookup_modules(dmp) if hasattr(kernel, "lxu_cache_state")]
        for kernel in kernels:
            assert kernel.prefetch_pipeline
            kernel.lxu_cache_locking_counter = torch.tensor([[0, 2], [1, 0]])
            kernel.lxu_cache_state = torch.tensor([[0, 2], [1, 0]])
        unlock_caches(dmp)
    assert kernels
    for kernel in kernels:
        assert kernel.lxu_cache_locking_counter.tolist() == [[0, 0], [0, 0]]
        assert kernel.lxu_cache_state.tolist() == [[0, 2], [1, 0]]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cache_locks__fbgemm_still_keeps_the_locks_of_a_forward_without_gradients() -> None:
    sharding = {"a": {"types": ["table_wise"], "kernels": ["fused_uvm_caching"]}}
    settings = TrainingSettings.model_validate({"pipeline": "prefetch", "sharding": sharding})
    with process_group("cuda") as world:
        model = Bags({"a": "sum"})
        dmp = shard_model(model, make_plan(model, settings, world), settings, world)
        with torch.no_grad():
            dmp(uneven_ids(["a"]).to(world.device))
        locks = [
            int(k.lxu_cache_locking_counter.sum())
            for k in lookup_modules(dmp)
            if hasattr(k, "lxu_cache_state")
        ]
    assert sum(locks) > 0

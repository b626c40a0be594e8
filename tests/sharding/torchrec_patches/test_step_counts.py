"""The steps that FBGEMM's kernels count."""

from __future__ import annotations

from torchrec.distributed.model_parallel import DistributedModelParallel

from interactrank.distributed.world import current_world, process_group
from interactrank.sharding import ShardingSettings, make_plan, shard_model
from interactrank.sharding.lookups import lookup_modules
from interactrank.sharding.torchrec_patches.step_counts import set_table_steps, table_steps
from tests.ranks import run_ranks
from tests.toy import ToyModel


def _sharded() -> tuple[DistributedModelParallel, list]:
    model, world, settings = ToyModel(), current_world(), ShardingSettings()
    dmp = shard_model(model, make_plan(model, settings, world), settings, world)
    return dmp, [kernel for kernel in lookup_modules(dmp) if hasattr(kernel, "iter_cpu")]


def _count() -> tuple[int, list[tuple[int, int]], int]:
    dmp, kernels = _sharded()
    for number, kernel in enumerate(kernels):
        kernel.iter_cpu.fill_(10 * (1 + current_world().rank) + number)
    before = table_steps(dmp)
    set_table_steps(dmp, 7)
    return before, [(int(k.iter_cpu), int(k.iter)) for k in kernels], table_steps(dmp)


def test_table_steps__are_those_of_the_rank_with_the_most() -> None:
    for before, counts, after in run_ranks(2, _count):
        assert before in (20, 21)  # rank 1 has a table of one collection, or of both
        assert set(counts) == {(7, 7)}
        assert after == 7


def test_step_counts__torchrec_still_leaves_them_out_of_the_optimizers_state() -> None:
    with process_group("cpu"):
        dmp, kernels = _sharded()
        states = dmp.fused_optimizer.state_dict()["state"].values()
        names = {name.rpartition(".")[2] for state in states for name in state}
    assert kernels
    assert names == {"momentum1"}

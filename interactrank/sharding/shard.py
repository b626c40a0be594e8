"""The sharded model: tables on their ranks, the rest replicated, and the same weights whatever the layout."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.distributed._shard.sharded_tensor import ShardedTensor
from torchrec.distributed.model_parallel import DefaultDataParallelWrapper, DistributedModelParallel
from torchrec.distributed.types import ShardingPlan

from interactrank.core.errors import TrainingError
from interactrank.distributed.collectives import all_gather_objects
from interactrank.distributed.world import World
from interactrank.sharding.settings import ShardingSettings
from interactrank.sharding.sharders import sharders
from interactrank.sharding.table_optimizer import apply_table_optimizer, check_table_optimizers
from interactrank.sharding.tables import table_parameters
from interactrank.sharding.torchrec_patches.mean_pooling import correct_mean_pooling
from interactrank.sharding.torchrec_patches.uneven_gloo import allow_uneven_batches

__all__ = ["shard_model"]


def shard_model(
    model: nn.Module, plan: ShardingPlan, settings: ShardingSettings, world: World
) -> DistributedModelParallel:
    """Lays the model out by ``plan``, with its optimizer for the tables, and keeps its weights.

    The tables move to their ranks and the rest is replicated (DDP). The weights after sharding are those of
    ``model`` before it, whatever the layout; so build it with the same seed on every rank. Tables built on
    the ``meta`` device have no weights yet: each rank then draws those of its own parts by the table's
    ``init_fn``.

    Args:
        model: the unsharded model; its collections are replaced in place.
        plan: made by :func:`make_plan`.
        settings: the tables' optimizer.
        world: the ranks.

    Returns:
        A :class:`~torchrec.distributed.model_parallel.DistributedModelParallel`.

    Raises:
        TrainingError: the ranks built different models, or a table has no optimizer.
    """
    _check_same_model(model)
    allow_uneven_batches()
    replicated = {
        f"{path}.{table}"
        for path, sharding in plan.plan.items()
        for table, of in sharding.items()
        if of.sharding_type == "data_parallel"
    }
    apply_table_optimizer(table_parameters(model), settings.table_optimizer, world.device.type, replicated)
    check_table_optimizers(table_parameters(model), replicated)
    weights = {key: value.detach() for key, value in model.state_dict().items()}
    dmp = DistributedModelParallel(
        model,
        device=world.device,
        plan=plan,
        sharders=sharders(settings),
        # A static graph, TorchRec's default, would fix which parameters are used by the first batch.
        data_parallel_wrapper=DefaultDataParallelWrapper(
            static_graph=False, find_unused_parameters=settings.unused_parameters
        ),
    )
    correct_mean_pooling(dmp)
    _copy_weights(weights, dmp)
    return dmp


@torch.no_grad()
def _copy_weights(weights: Mapping[str, Tensor], dmp: DistributedModelParallel) -> None:
    """Fills the parts of the sharded tables from the whole ones; DMP itself does so for some kinds only."""
    for key, value in dmp.state_dict().items():
        if weights[key].is_meta:
            continue
        if isinstance(value, ShardedTensor):
            for shard in value.local_shards():
                part = weights[key]
                for axis, (offset, size) in enumerate(
                    zip(shard.metadata.shard_offsets, shard.metadata.shard_sizes, strict=True)
                ):
                    part = part.narrow(axis, offset, size)
                shard.tensor.copy_(part)
        elif isinstance(value, Tensor):
            value.copy_(weights[key])


def _check_same_model(model: nn.Module) -> None:
    mine = [(key, tuple(value.shape), str(value.dtype)) for key, value in model.state_dict().items()]
    for rank, theirs in enumerate(all_gather_objects(mine)):
        if theirs != mine:
            key = min(set(mine) ^ set(theirs), default=("the order of the parameters",))[0]
            raise TrainingError(
                f"rank {rank} built another model than this rank; first difference: {key}. "
                "Build the model from the same settings and data on every rank"
            )

"""The sharded model: tables on their ranks, the rest replicated, and the same weights whatever the layout."""

from __future__ import annotations

from torch import nn
from torchrec.distributed.model_parallel import DistributedModelParallel
from torchrec.distributed.types import ShardingPlan

from interactrank.distributed.collectives import all_gather_objects
from interactrank.distributed.world import World, at_group_end
from interactrank.sharding.dense_gradients import OneDataParallel
from interactrank.sharding.direct_lookups import look_up_directly
from interactrank.sharding.errors import ShardingError
from interactrank.sharding.settings import ShardingSettings
from interactrank.sharding.sharders import sharders
from interactrank.sharding.table_optimizer import apply_table_optimizer, check_table_optimizers
from interactrank.sharding.tables import table_parameters
from interactrank.sharding.torchrec_patches.initial_weights import copy_weights
from interactrank.sharding.torchrec_patches.mean_pooling import correct_mean_pooling
from interactrank.sharding.torchrec_patches.topology_globals import forget_nodes
from interactrank.sharding.torchrec_patches.uneven_gloo import allow_uneven_batches
from interactrank.sharding.types import replicated_tables

__all__ = ["shard_model"]


def shard_model(
    model: nn.Module, plan: ShardingPlan, settings: ShardingSettings, world: World
) -> DistributedModelParallel:
    """Shard a model by ``plan``, with its optimizer for the tables, and keep its weights.

    The tables move to their ranks and the rest is replicated, with gradients averaged over the ranks
    (:class:`~interactrank.sharding.dense_gradients.DenseGradients`). The weights after sharding are those of
    ``model`` before it, whatever the layout; so build it with the same seed on every rank. Tables built on
    the ``meta`` device have no weights yet: each rank then draws those of its own shards by the table's
    ``init_fn``.

    The model may be any module with collections of TorchRec: EmbeddingBagCollection, EmbeddingCollection,
    and the managed kinds of both.

    Args:
        model: the unsharded model; its collections are replaced in place.
        plan: plan that :func:`~interactrank.sharding.planner.plan.make_plan` or
            :func:`~interactrank.sharding.planner.plan_file.load_plan` returned.
        settings: the tables' optimizer, and how ranks exchange embeddings.
        world: the ranks.

    Raises:
        ShardingError: the ranks built different models, or a table has no optimizer.
    """
    _check_same_model(model)
    replicated = replicated_tables(plan)
    apply_table_optimizer(table_parameters(model), settings.table_optimizer, world.device.type, replicated)
    check_table_optimizers(table_parameters(model), replicated)
    weights = {key: value.detach() for key, value in model.state_dict().items()}
    at_group_end(forget_nodes)
    dmp = DistributedModelParallel(
        model,
        device=world.device,
        plan=plan,
        sharders=sharders(settings),
        data_parallel_wrapper=OneDataParallel(unused_parameters=settings.unused_parameters),
    )
    allow_uneven_batches(dmp)
    correct_mean_pooling(dmp)
    copy_weights(weights, dmp)
    look_up_directly(dmp, world.size)
    return dmp


def _check_same_model(model: nn.Module) -> None:
    mine = [(key, tuple(value.shape), str(value.dtype)) for key, value in model.state_dict().items()]
    for rank, theirs in enumerate(all_gather_objects(mine)):
        if theirs != mine:
            key = min(set(mine) ^ set(theirs), default=("the order of the parameters",))[0]
            raise ShardingError(
                f"rank {rank} built another model than this rank; first difference: {key}. "
                "Build the model from the same settings and data on every rank"
            )

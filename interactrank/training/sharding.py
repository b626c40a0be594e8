"""Which rank holds which part of which ID table: TorchRec's planner, the plan as a table, the sharded model.

A model's tables live in EmbeddingBagCollections (pooled) and EmbeddingCollections (sequences). Unless a
table's sharding is constrained it is laid out table-wise or row-wise, whose checkpoints any number of ranks
can resume.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from torch.distributed._shard.sharded_tensor import ShardedTensor
from torchrec.distributed.embedding import EmbeddingCollectionSharder
from torchrec.distributed.embeddingbag import EmbeddingBagCollectionSharder
from torchrec.distributed.model_parallel import DefaultDataParallelWrapper, DistributedModelParallel
from torchrec.distributed.planner import EmbeddingShardingPlanner, ParameterConstraints
from torchrec.distributed.planner.storage_reservations import FixedPercentageStorageReservation
from torchrec.distributed.planner.types import (
    HardwareConfig,
    KernelConfig,
    Topology,
    TopologyFactory,
    TrainerConfig,
)
from torchrec.distributed.types import ShardingPlan
from torchrec.modules.embedding_modules import EmbeddingBagCollection, EmbeddingCollection

from interactrank.schema import near
from interactrank.training.distributed import World, gather, on_main
from interactrank.training.gloo import allow_uneven_batches
from interactrank.training.optimizers import apply_table_optimizer, check_table_optimizers
from interactrank.training.settings import ShardingType, TrainingSettings

__all__ = ["PlanRow", "describe_plan", "make_plan", "print_plan", "shard_model", "table_collections"]

_RESERVED = 0.15  # share of a rank's memory that the plan leaves to dense parameters and activations


class _EbcSharder(EmbeddingBagCollectionSharder):
    """Offers the row-wise types on CPU, too; gloo in torch 2.13 has the reduce-scatter that they need."""

    def sharding_types(self, compute_device_type: str) -> list[str]:
        return list(super().sharding_types("cuda"))


_SHARDERS = [_EbcSharder(), EmbeddingCollectionSharder()]


@dataclass(frozen=True)
class PlanRow:
    """One table of a plan.

    Attributes:
        collection: path of the table's collection in the model.
        table: its name.
        rows: rows of the whole table.
        dim: width of the whole table.
        sharding: type of its layout.
        ranks: the ranks that hold a part, in the order of the parts.
        bytes: weights of the table over all ranks; replicas count each.
    """

    collection: str
    table: str
    rows: int
    dim: int
    sharding: str
    ranks: tuple[int, ...]
    bytes: int


def table_collections(model: nn.Module) -> dict[str, EmbeddingBagCollection | EmbeddingCollection]:
    """Path -> collection of ID tables, for every one in ``model``."""
    kinds = (EmbeddingBagCollection, EmbeddingCollection)
    return {path: module for path, module in model.named_modules() if isinstance(module, kinds)}


def allowed_types(
    collection: EmbeddingBagCollection | EmbeddingCollection, device_type: str
) -> list[ShardingType]:
    """Sharding types that work for a collection on ``cpu`` or ``cuda``."""
    if isinstance(collection, EmbeddingBagCollection):
        return [
            "table_wise",
            "row_wise",
            "column_wise",
            "table_row_wise",
            "table_column_wise",
            "grid_shard",
            "data_parallel",
        ]
    types: list[ShardingType] = ["table_wise", "row_wise", "column_wise"]
    # On CPU FBGEMM's dense kernel pools the rows of a replicated sequence table.
    return types if device_type == "cpu" else [*types, "data_parallel"]


def table_types(
    model: nn.Module, settings: TrainingSettings, device_type: str
) -> dict[str, list[ShardingType]]:
    """Table -> sharding types that the planner may choose from.

    Raises:
        ValueError: the settings name a table that the model lacks, or a type that cannot work for it; every
            mistake is listed.
    """
    collections = table_collections(model)
    kinds = {c.name: module for module in collections.values() for c in _configs(module)}
    problems = [
        f"training.sharding.{name}: the model has no such table{near(name, kinds)}"
        for name in settings.sharding
        if name not in kinds
    ]
    result: dict[str, list[ShardingType]] = {}
    for name, module in kinds.items():
        allowed = allowed_types(module, device_type)
        asked = settings.sharding.get(name)
        wrong = [t for t in asked.types if t not in allowed] if asked else []
        if wrong:
            problems.append(
                f"training.sharding.{name}.types: {', '.join(wrong)} does not work for a table of an "
                f"{type(module).__name__} on {device_type}; allowed: {', '.join(allowed)}"
            )
        result[name] = asked.types if asked else [t for t in allowed if t in ("table_wise", "row_wise")]
    if problems:
        raise ValueError("\n".join(problems))
    return result


def make_plan(model: nn.Module, settings: TrainingSettings, world: World) -> ShardingPlan:
    """Lets TorchRec's planner lay the tables out over the ranks; rank 0 plans, all ranks get its plan.

    Args:
        model: the unsharded model.
        settings: constraints by table.
        world: the ranks.

    Raises:
        ValueError: a constraint is impossible, or the tables do not fit into the ranks' memory.
    """
    types = table_types(model, settings, world.device.type)
    if not types:
        return ShardingPlan({})
    widths = {c.name: c.embedding_dim for m in table_collections(model).values() for c in _configs(m)}
    planner = EmbeddingShardingPlanner(
        topology=_topology(world),
        constraints={
            name: ParameterConstraints(
                sharding_types=list(t), min_partition=_column_width(widths[name], world)
            )
            for name, t in types.items()
        },
        storage_reservation=FixedPercentageStorageReservation(_RESERVED),
    )

    def plan() -> ShardingPlan:
        try:
            return planner.plan(model, _SHARDERS)
        except Exception as error:
            raise ValueError(
                f"no sharding plan for tables {', '.join(types)} over {world.size} ranks: {error}"
            ) from error

    return on_main("planning the sharding", plan)


def describe_plan(model: nn.Module, plan: ShardingPlan, world_size: int) -> list[PlanRow]:
    """The plan as rows, one for each table.

    Args:
        model: the unsharded model.
        plan: made by :func:`make_plan`.
        world_size: how many ranks a replicated table is on.
    """
    rows = []
    for path, collection in table_collections(model).items():
        sharding = plan.plan[path]
        for config in _configs(collection):
            of = sharding[config.name]
            replicated = of.sharding_type == "data_parallel"
            ranks = tuple(range(world_size)) if replicated else tuple(of.ranks or ())
            size = config.num_embeddings * config.embedding_dim * _element_size(collection, config.name)
            size *= world_size if replicated else 1
            rows.append(
                PlanRow(
                    path,
                    config.name,
                    config.num_embeddings,
                    config.embedding_dim,
                    of.sharding_type,
                    ranks,
                    size,
                )
            )
    return rows


def print_plan(rows: list[PlanRow], console: Console | None = None) -> None:
    """Prints a plan as a table, to stderr unless a console is given."""
    table = Table("collection", "table", "rows x dim", "sharding", "ranks", "bytes", title="Sharding plan")
    for row in rows:
        ranks = ", ".join(map(str, row.ranks))
        table.add_row(
            row.collection, row.table, f"{row.rows:,} x {row.dim}", row.sharding, ranks, f"{row.bytes:,}"
        )
    (console or Console(stderr=True)).print(table)


def shard_model(
    model: nn.Module, plan: ShardingPlan, settings: TrainingSettings, world: World
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
        ValueError: the ranks built different models, or a table has no optimizer.
    """
    _check_same_model(model)
    allow_uneven_batches()
    replicated = {
        f"{path}.{table}"
        for path, sharding in plan.plan.items()
        for table, of in sharding.items()
        if of.sharding_type == "data_parallel"
    }
    apply_table_optimizer(table_parameters(model), settings.tables, world.device.type, replicated)
    check_table_optimizers(table_parameters(model), replicated)
    weights = {key: value.detach() for key, value in model.state_dict().items()}
    dmp = DistributedModelParallel(
        model,
        device=world.device,
        plan=plan,
        sharders=_SHARDERS,
        # A static graph, TorchRec's default, would fix which parameters are used by the first batch.
        data_parallel_wrapper=DefaultDataParallelWrapper(
            static_graph=False, find_unused_parameters=settings.unused_parameters
        ),
    )
    _copy_weights(weights, dmp)
    return dmp


def table_parameters(model: nn.Module) -> dict[str, nn.Parameter]:
    """``collection.table`` -> weight, for every ID table of an unsharded model."""
    found = {}
    for path, collection in table_collections(model).items():
        for config in _configs(collection):
            found[f"{path}.{config.name}"] = _weight(collection, config.name)
    return found


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
    for rank, theirs in enumerate(gather(mine)):
        if theirs != mine:
            key = min(set(mine) ^ set(theirs), default=("the order of the parameters",))[0]
            raise ValueError(
                f"rank {rank} built another model than this rank; first difference: {key}. "
                "Build the model from the same settings and data on every rank"
            )


def _column_width(dim: int, world: World) -> int | None:
    """Width of the parts of a column-wise table: one for each rank, in steps of 4 as the kernels need."""
    widths = [w for w in range(4, dim + 1, 4) if dim % w == 0 and w * world.size >= dim]
    return widths[0] if widths else None


def _topology(world: World) -> Topology:
    ddr = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // world.local_size
    hbm = None
    if world.device.type == "cuda":
        hbm = torch.cuda.get_device_properties(world.device).total_memory
    return TopologyFactory.create_topology(
        trainer_config=TrainerConfig(world_size=world.size, local_world_size=world.local_size),
        hardware_config=HardwareConfig(ddr_cap_bytes=ddr, hbm_cap_bytes=hbm),
        kernel_config=KernelConfig(compute_device=world.device.type),
    )


def _configs(collection: EmbeddingBagCollection | EmbeddingCollection) -> list:
    pooled = isinstance(collection, EmbeddingBagCollection)
    return list(collection.embedding_bag_configs() if pooled else collection.embedding_configs())


def _weight(collection: EmbeddingBagCollection | EmbeddingCollection, table: str) -> nn.Parameter:
    pooled = isinstance(collection, EmbeddingBagCollection)
    return (collection.embedding_bags if pooled else collection.embeddings)[table].weight


def _element_size(collection: EmbeddingBagCollection | EmbeddingCollection, table: str) -> int:
    return _weight(collection, table).element_size()

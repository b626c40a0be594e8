"""Which rank holds which part of which ID table: TorchRec's planner, and its plan as a table.

A model's tables live in EmbeddingBagCollections (pooled) and EmbeddingCollections (sequences). Unless a
table's sharding is constrained it is laid out table-wise or row-wise, whose checkpoints any number of ranks
can resume.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

import torch
from rich.console import Console
from rich.table import Table
from torch import nn
from torchrec.distributed.embedding import EmbeddingCollectionSharder
from torchrec.distributed.embeddingbag import EmbeddingBagCollectionSharder
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
from interactrank.training.distributed import World, on_main
from interactrank.training.errors import TrainingError
from interactrank.training.settings import ShardingType, TrainingSettings

__all__ = [
    "SHARDERS",
    "PlanRow",
    "describe_plan",
    "make_plan",
    "print_plan",
    "table_collections",
    "table_parameters",
]

_RESERVED = 0.15  # share of a rank's memory that the plan leaves to dense parameters and activations


class _EbcSharder(EmbeddingBagCollectionSharder):
    """Offers the row-wise types on CPU, too; gloo in torch 2.13 has the reduce-scatter that they need."""

    def sharding_types(self, compute_device_type: str) -> list[str]:
        return list(super().sharding_types("cuda"))


SHARDERS = [_EbcSharder(), EmbeddingCollectionSharder()]


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
        TrainingError: the settings name a table that the model lacks, or a type that cannot work for it;
            every mistake is listed.
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
        raise TrainingError("\n".join(problems))
    return result


def make_plan(model: nn.Module, settings: TrainingSettings, world: World) -> ShardingPlan:
    """Lets TorchRec's planner lay the tables out over the ranks; rank 0 plans, all ranks get its plan.

    Args:
        model: the unsharded model.
        settings: constraints by table.
        world: the ranks.

    Raises:
        TrainingError: a constraint is impossible, or the tables do not fit into the ranks' memory.
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
            return planner.plan(model, SHARDERS)
        except Exception as error:
            raise TrainingError(
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


def table_parameters(model: nn.Module) -> dict[str, nn.Parameter]:
    """``collection.table`` -> weight, for every ID table of an unsharded model."""
    found = {}
    for path, collection in table_collections(model).items():
        for config in _configs(collection):
            found[f"{path}.{config.name}"] = _weight(collection, config.name)
    return found


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

"""How ID tables are updated, placed on ranks and exchanged between them."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator, model_validator

from interactrank.core.settings import Config, Name
from interactrank.sharding.types import ShardingType, types_where

__all__ = [
    "CommsSettings",
    "Kernel",
    "Precision",
    "ShardingSettings",
    "TableOptimizer",
    "TableSharding",
    "betas_problems",
]

Kernel = Literal["fused", "fused_uvm_caching", "fused_uvm", "dense"]
Precision = Literal["fp32", "fp16", "bf16"]


def betas_problems(betas: tuple[float, ...]) -> list[str]:
    """Return a line if a decay rate of moments is outside of 0..1."""
    valid = all(0 <= b < 1 for b in betas)
    return [] if valid else [f"betas {list(betas)}: each must be at least 0 and below 1"]


class TableOptimizer(Config):
    """Optimizer of the ID tables, run inside the backward pass (fused).

    ``row_wise_adagrad`` keeps one number for each row, ``adagrad`` one for each weight, ``adam`` two (CUDA
    only), ``sgd`` none.
    """

    name: Literal["row_wise_adagrad", "adagrad", "sgd", "adam"] = "row_wise_adagrad"
    lr: float = Field(0.05, gt=0, description="peak learning rate")
    eps: float | None = Field(None, gt=0, description="1e-8 when left out; sgd takes none")
    betas: tuple[float, float] | None = Field(None, description="adam only; 0.9 and 0.999 when left out")

    @model_validator(mode="before")
    @classmethod
    def _no_decay(cls, values: object) -> object:
        if isinstance(values, dict) and "weight_decay" in values:
            raise ValueError(
                "weight_decay: tables have none, as FBGEMM's CPU kernels would silently ignore it (and would "
                "only ever decay rows that a batch looks up); training.dense_optimizer.weight_decay is for "
                "the rest"
            )
        return values

    def problems(self) -> list[str]:
        """Return the values that do not go with the optimizer."""
        found = []
        if self.name == "sgd" and self.eps is not None:
            found.append("eps has no meaning for sgd; leave it out")
        if self.name != "adam" and self.betas is not None:
            found.append(f"betas go with adam, not with {self.name}; leave them out")
        return found + betas_problems(self.betas or ())


class TableSharding(Config):
    """How the planner may place one table over the ranks."""

    types: list[ShardingType] | None = Field(
        None,
        min_length=1,
        description="sharding types that the planner may pick from; without them it picks from table_wise, "
        "row_wise (table_row_wise on several nodes with GPUs) and, for small tables, data_parallel",
    )
    kernels: list[Kernel] | None = Field(
        None,
        min_length=1,
        description="fused: weights in the memory of the device; fused_uvm_caching: in that "
        "of the host, with a cache on the GPU; fused_uvm: in that of the host; dense: of data_parallel",
    )
    cache_load_factor: float | None = Field(
        None,
        gt=0,
        le=1,
        description="share of the table that the cache of fused_uvm_caching holds; 0.2 when left out",
    )
    column_width: int | None = Field(
        None,
        ge=4,
        multiple_of=4,
        description="width of the shards of a column-wise or grid-sharded table; one shard for each rank "
        "when left out",
    )

    def problems(self) -> list[str]:
        """Return the settings that exclude each other."""
        found = []
        if self.cache_load_factor is not None and self.kernels != ["fused_uvm_caching"]:
            found.append("cache_load_factor goes with kernels: [fused_uvm_caching], and only with it")
        replicated = [t for t in self.types or () if t in types_where(replicated=True)]
        if replicated and len(self.types or ()) > 1 and self.kernels and "dense" not in self.kernels:
            found.append(f"kernels: {replicated[0]} among the types needs dense; add it, or drop the type")
        by_column = sorted(types_where(splits_columns=True))
        if self.column_width is not None and not set(by_column) & set(self.types or ()):
            found.append(f"column_width goes with types of {', '.join(by_column)}")
        return found


class CommsSettings(Config):
    """Precision in which embeddings (forward) and their gradients (backward) travel between ranks."""

    forward: Precision = "fp32"
    backward: Precision = "fp32"

    @field_validator("forward", "backward", mode="before")
    @classmethod
    def _no_integers(cls, value: object) -> object:
        if value == "int8":
            raise ValueError(
                "int8 cannot be used: its codec refuses messages whose length is not a multiple of 32, as "
                "happens with a ragged number of items; use fp16 or bf16"
            )
        return value


class ShardingSettings(Config):
    """How ID tables are updated, placed on ranks, initialized and exchanged.

    Settings of a training derive from it and say what they ask of the tables beyond it: see the properties.
    """

    table_optimizer: TableOptimizer = Field(default_factory=lambda: TableOptimizer())
    sharding: dict[Name, TableSharding] = Field(
        default_factory=dict,
        description="table -> allowed sharding; for others the planner picks the fastest by its estimate",
        json_schema_extra={"resume": "free"},
    )
    comms: CommsSettings = Field(default_factory=lambda: CommsSettings())
    table_init: Literal["auto", "replicated", "sharded"] = Field(
        "auto",
        description="replicated: each rank initializes all tables in full, then keeps its shards, so that "
        "they are the same on any number of ranks; sharded: it initializes its own shards only; auto: "
        "sharded for tables beyond a quarter of its memory",
    )
    unused_parameters: bool = Field(
        False,
        description="set if some batches do not use all dense parameters; their gradients then travel after "
        "the backward pass, not during it",
    )

    @property
    def prefetches_rows(self) -> bool:
        """Whether rows are brought into caches ahead of their batch, for which kernels must be made."""
        return False

    @property
    def copies_tables(self) -> bool:
        """Whether the hosts also hold a copy of the tables, which a plan must leave room for."""
        return False

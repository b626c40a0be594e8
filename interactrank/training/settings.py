"""Settings of a training run: the section ``training`` of a run's YAML file."""

from __future__ import annotations

import math
from typing import Literal

from pydantic import Field, field_validator, model_validator

from interactrank.schema import Config, Name

__all__ = [
    "CommsSettings",
    "DenseOptimizer",
    "Kernel",
    "Precision",
    "Schedule",
    "ShardingType",
    "TableOptimizer",
    "TableSharding",
    "TrainingSettings",
]

ShardingType = Literal[
    "table_wise",
    "row_wise",
    "column_wise",
    "table_row_wise",
    "table_column_wise",
    "grid_shard",
    "data_parallel",
]
Kernel = Literal["fused", "fused_uvm_caching", "fused_uvm", "dense"]
Precision = Literal["fp32", "fp16", "bf16"]


def _check_betas(betas: tuple[float, ...]) -> None:
    if not all(0 <= b < 1 for b in betas):
        raise ValueError(f"betas {list(betas)}: each must be at least 0 and below 1")


class DenseOptimizer(Config):
    """Adam for everything that is not an ID table."""

    lr: float = Field(1e-3, gt=0, description="peak learning rate")
    betas: tuple[float, float] = Field((0.9, 0.999), description="decay of the two moments, each in 0..1")
    eps: float = Field(1e-8, gt=0)
    weight_decay: float = Field(
        0.0, ge=0, description="decoupled (AdamW); biases, norms and other vectors are left out"
    )

    @model_validator(mode="after")
    def _check(self) -> DenseOptimizer:
        _check_betas(self.betas)
        return self


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
                "only ever decay rows that a batch looks up); training.dense.weight_decay is for the rest"
            )
        return values

    @model_validator(mode="after")
    def _check(self) -> TableOptimizer:
        if self.name == "sgd" and self.eps is not None:
            raise ValueError("eps has no meaning for sgd; leave it out")
        if self.name != "adam" and self.betas is not None:
            raise ValueError(f"betas go with adam, not with {self.name}; leave them out")
        _check_betas(self.betas or ())
        return self


class Schedule(Config):
    """Factor on the peak learning rates of tables and dense parameters alike.

    It grows linearly over ``warmup_steps``, then stays (``constant``) or falls along a half ``cosine`` or a
    straight line (``linear``) to ``final`` at the last step.
    """

    shape: Literal["constant", "cosine", "linear"] = "constant"
    warmup_steps: int = Field(0, ge=0)
    final: float | None = Field(
        None, ge=0, le=1, description="factor at the last step; 0 when left out; constant takes none"
    )

    @model_validator(mode="after")
    def _check(self) -> Schedule:
        if self.shape == "constant" and self.final is not None:
            raise ValueError("final goes with shape cosine or linear, not with constant")
        return self

    def factor(self, step: int, total: int) -> float:
        """Factor of step ``step`` (1 is the first) of ``total``.

        Example::

            >>> schedule = Schedule(shape="linear", warmup_steps=2)
            >>> [schedule.factor(step, 6) for step in range(1, 7)]
            [0.5, 1.0, 0.75, 0.5, 0.25, 0.0]
        """
        if step <= self.warmup_steps:
            return step / self.warmup_steps
        if self.shape == "constant":
            return 1.0
        done = min(1.0, (step - self.warmup_steps) / max(1, total - self.warmup_steps))
        falling = 1 - done if self.shape == "linear" else (1 + math.cos(math.pi * done)) / 2
        final = self.final or 0.0
        return final + (1 - final) * falling


class TableSharding(Config):
    """How the planner may place one table over the ranks."""

    types: list[ShardingType] | None = Field(
        None,
        min_length=1,
        description="allowed sharding types, of which the planner picks; by itself it "
        "picks from table_wise and row_wise (and table_row_wise on several machines with GPUs)",
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
        description="width of the parts of a column-wise or grid-sharded table; one "
        "part for each rank when left out",
    )

    @model_validator(mode="after")
    def _check(self) -> TableSharding:
        if "data_parallel" in (self.types or ()) and len(self.types or ()) > 1:
            raise ValueError("types: data_parallel stands alone (its optimizer is chosen before the plan)")
        if self.cache_load_factor is not None and self.kernels != ["fused_uvm_caching"]:
            raise ValueError("cache_load_factor goes with kernels: [fused_uvm_caching], and only with it")
        by_column = {"column_wise", "table_column_wise", "grid_shard"}
        if self.column_width is not None and not by_column & set(self.types or ()):
            raise ValueError(f"column_width goes with types of {', '.join(sorted(by_column))}")
        return self


class CommsSettings(Config):
    """Precision in which embeddings (forward) and their gradients (backward) travel between ranks."""

    forward: Precision = "fp32"
    backward: Precision = "fp32"

    @field_validator("forward", "backward", mode="before")
    @classmethod
    def _no_integers(cls, value: object) -> object:
        if value == "int8":
            raise ValueError(
                "int8 cannot be used: its codec refuses messages that are no multiple of 32 numbers, which "
                "those of batches with a ragged number of items are not; use fp16 or bf16"
            )
        return value


class TrainingSettings(Config):
    """How to train; every field has a default."""

    steps: int | None = Field(None, ge=1, description="stop after so many steps")
    epochs: int | None = Field(
        None, ge=1, description="stop after so many passes; with steps, whichever ends first; 1 without both"
    )
    seed: int = Field(0, ge=0, description="seed of the initial weights and of dropout")
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="auto: cuda where there is one")
    autocast: Literal["none", "bf16"] = Field(
        "none", description="bf16: matrix products in bfloat16; slower on a CPU without bf16 instructions"
    )
    pipeline: Literal["auto", "plain", "sparse_dist", "prefetch"] = Field(
        "auto",
        description="sparse_dist overlaps the exchange of ids with compute; prefetch (cuda only) also brings "
        "the next rows into the caches of tables with kernel fused_uvm_caching; auto: plain for one rank on "
        "cpu, else sparse_dist",
    )
    dense: DenseOptimizer = Field(default_factory=lambda: DenseOptimizer())
    tables: TableOptimizer = Field(default_factory=lambda: TableOptimizer())
    schedule: Schedule = Field(default_factory=lambda: Schedule())
    unused_parameters: bool = Field(
        False,
        description="True where a batch may leave dense parameters without a gradient; costs a walk "
        "over the graph at each step",
    )
    clip_norm: float | None = Field(
        None, gt=0, description="scale the dense gradients down to this norm over all of them"
    )
    sharding: dict[Name, TableSharding] = Field(
        default_factory=dict,
        description="table -> allowed sharding; others are table_wise or row_wise, which any number of ranks "
        "can resume",
    )
    comms: CommsSettings = Field(default_factory=lambda: CommsSettings())
    first_weights: Literal["auto", "whole", "parts"] = Field(
        "auto",
        description="whole: each rank makes all tables, then keeps its parts, so that they are the same on "
        "any ranks; parts: it makes its own parts; auto: parts of tables beyond a quarter of its memory",
    )
    log_every: int = Field(50, ge=1, description="steps between rows of the history")
    evaluate_every: int | None = Field(None, ge=1, description="steps between evaluations; also at the end")
    checkpoint_every: int | None = Field(None, ge=1, description="steps between checkpoints; also at the end")
    checkpoint_async: bool = Field(
        False,
        description="write checkpoints in the background, from a copy in memory, while steps go on",
    )
    keep_checkpoints: int = Field(2, ge=1, description="newest checkpoints that are kept")
    tensorboard: bool = Field(False, description="write scalars for TensorBoard (extra: report)")
    timeout_s: int = Field(1800, ge=1, description="a rank waits so long for the others, then gives up")

    def total_steps(self, steps_per_epoch: int, more: int = 0) -> int:
        """Steps of the whole run.

        Args:
            steps_per_epoch: steps of one pass over the data.
            more: by how much fewer steps were needed until now, on other ranks, than these would have.

        Example::

            >>> TrainingSettings(epochs=3).total_steps(10)
            30
            >>> TrainingSettings(epochs=3, steps=5).total_steps(10)
            5
            >>> TrainingSettings(epochs=3).total_steps(10, more=4)
            26
        """
        epochs = self.epochs if self.epochs or self.steps else 1
        limits = [self.steps, epochs and epochs * steps_per_epoch - more]
        return min(limit for limit in limits if limit)

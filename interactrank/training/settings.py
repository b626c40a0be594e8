"""Settings of a training run: the section ``training`` of a run's YAML file."""

from __future__ import annotations

import math
from typing import Literal

from pydantic import Field

from interactrank.core.settings import Config
from interactrank.sharding.settings import ShardingSettings, betas_problems
from interactrank.training.early_stopping import EarlyStopping

__all__ = ["DenseOptimizer", "LearningRateSchedule", "TrainingSettings"]


class DenseOptimizer(Config):
    """Adam for everything that is not an ID table."""

    lr: float = Field(0.01, gt=0, description="peak learning rate")
    betas: tuple[float, float] = Field((0.9, 0.999), description="decay of the two moments, each in 0..1")
    eps: float = Field(1e-8, ge=1e-37, description="least denominator; less would be 0 in float32")
    weight_decay: float = Field(
        0.0, ge=0, description="decoupled (AdamW); biases, norms and other vectors are left out"
    )

    def problems(self) -> list[str]:
        """Return what is wrong with the decay rates."""
        return betas_problems(self.betas)


class LearningRateSchedule(Config):
    """Factor on the peak learning rates of tables and dense parameters alike.

    It grows linearly over ``warmup_steps``, then stays (``constant``) or falls along a half ``cosine`` or a
    straight line (``linear``) to ``min_lr_factor`` at the last step.
    """

    decay: Literal["constant", "cosine", "linear"] = "constant"
    warmup_steps: int = Field(0, ge=0)
    min_lr_factor: float | None = Field(
        None, ge=0, le=1, description="factor at the last step; 0 when left out; constant takes none"
    )

    def problems(self) -> list[str]:
        """Return what is wrong with the shape of the schedule."""
        if self.decay == "constant" and self.min_lr_factor is not None:
            return ["min_lr_factor goes with decay cosine or linear, not with constant"]
        return []

    def factor(self, step: int, total: int) -> float:
        """Return the factor of step ``step`` (1 is the first) of ``total``.

        Example::

            >>> schedule = LearningRateSchedule(decay="linear", warmup_steps=2)
            >>> [schedule.factor(step, 6) for step in range(1, 7)]
            [0.5, 1.0, 0.75, 0.5, 0.25, 0.0]
        """
        if step <= self.warmup_steps:
            return step / self.warmup_steps
        if self.decay == "constant":
            return 1.0
        done = min(1.0, (step - self.warmup_steps) / max(1, total - self.warmup_steps))
        falling = 1 - done if self.decay == "linear" else (1 + math.cos(math.pi * done)) / 2
        lowest = self.min_lr_factor or 0.0
        return lowest + (1 - lowest) * falling


class TrainingSettings(ShardingSettings):
    """How to train; every field has a default."""

    steps: int | None = Field(None, ge=1, description="maximum number of steps")
    epochs: int | None = Field(
        None,
        ge=1,
        description="maximum number of epochs; with steps, whichever ends first; 2 if both are left out",
    )
    seed: int = Field(0, ge=0, lt=2**32, description="seed of the initial weights and of dropout")
    pipeline: Literal["auto", "plain", "sparse_dist", "prefetch"] = Field(
        "auto",
        description="sparse_dist overlaps the exchange of ids with compute; prefetch (cuda only) also brings "
        "the next rows into the caches of tables with kernel fused_uvm_caching; auto: plain for one rank on "
        "cpu, else sparse_dist",
        json_schema_extra={"resume": "free"},
    )
    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto", description="auto: cuda on a machine with a GPU", json_schema_extra={"resume": "free"}
    )
    autocast: Literal["none", "bf16"] = Field(
        "none", description="bf16: matrix products in bfloat16; slower on a CPU without bf16 instructions"
    )
    dense_optimizer: DenseOptimizer = Field(default_factory=lambda: DenseOptimizer())
    schedule: LearningRateSchedule = Field(default_factory=lambda: LearningRateSchedule())
    clip_norm: float | None = Field(
        None, gt=0, description="scale the dense gradients down to this norm over all of them"
    )
    log_every: int = Field(
        50, ge=1, description="steps between rows of metrics.jsonl", json_schema_extra={"resume": "free"}
    )
    validate_every: int | None = Field(
        None,
        ge=1,
        description="steps between validations; also at the end",
        json_schema_extra={"resume": "free"},
    )
    early_stopping: EarlyStopping | None = Field(
        None,
        description="stop when a validation metric no longer becomes better; the best checkpoint stays and "
        "gives the model",
    )
    checkpoint_every: int | None = Field(
        None,
        ge=1,
        description="steps between checkpoints; also at the end",
        json_schema_extra={"resume": "free"},
    )
    checkpoint_async: bool = Field(
        False,
        description="write checkpoints in the background, from a copy in memory, while steps go on; plans "
        "count the copy",
        json_schema_extra={"resume": "free"},
    )
    keep_last: int = Field(
        2, ge=1, description="number of newest checkpoints to keep", json_schema_extra={"resume": "free"}
    )
    tensorboard: bool = Field(
        False,
        description="write scalars for TensorBoard (extra: report)",
        json_schema_extra={"resume": "free"},
    )
    timeout_s: int = Field(
        1800,
        ge=1,
        le=10**7,
        description="timeout of collectives in seconds",
        json_schema_extra={"resume": "free"},
    )

    def problems(self) -> list[str]:
        """Return what is wrong between steps, warm-up and validations, and in the sharding settings."""
        found = super().problems()
        if self.early_stopping is not None and self.validate_every is None:
            found.append(
                "early_stopping: needs validations to look at; set validate_every to the steps between them"
            )
        warmup = self.schedule.warmup_steps
        if self.steps is not None and warmup >= self.steps:
            found.append(
                f"schedule.warmup_steps: a warm-up of {warmup} steps is as long as the whole training of "
                f"{self.steps}, or longer; set fewer, or train for more steps"
            )
        return found

    @property
    def prefetches_rows(self) -> bool:
        """Whether the pipeline brings rows into caches ahead of their batch."""
        return self.pipeline == "prefetch"

    @property
    def copies_tables(self) -> bool:
        """Whether checkpoints are written from a copy in the hosts' memory."""
        return self.checkpoint_async

    @property
    def most_epochs(self) -> int | None:
        """Number of epochs after which training ends; None if steps alone decide."""
        return self.epochs if self.epochs or self.steps else 2

    def total_steps(self, steps_per_epoch: int, more: int = 0) -> int:
        """Return the number of steps of the whole run.

        Args:
            steps_per_epoch: steps of one epoch.
            more: by how many steps the run until now was shorter, on other ranks, than it would have been on
                these.

        Example::

            >>> TrainingSettings(epochs=3).total_steps(10)
            30
            >>> TrainingSettings(epochs=3, steps=5).total_steps(10)
            5
            >>> TrainingSettings(epochs=3).total_steps(10, more=4)
            26
        """
        epochs = self.most_epochs
        limits = [self.steps, epochs and epochs * steps_per_epoch - more]
        return min(limit for limit in limits if limit)

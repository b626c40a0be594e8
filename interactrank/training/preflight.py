"""Refuses settings that this machine cannot run, before anything that takes long."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from interactrank.core.errors import TrainingError, UserError
from interactrank.core.extras import MissingExtraError, require
from interactrank.sharding.planner.constraints import allowed_kernels
from interactrank.sharding.table_optimizer import table_optimizer
from interactrank.training.settings import TrainingSettings

__all__ = ["check_settings"]


def check_settings(settings: TrainingSettings, device_type: str | None = None) -> None:
    """Refuse settings that cannot be trained with on this machine.

    Args:
        settings: how to train.
        device_type: ``cpu`` or ``cuda``; what the setting ``device`` stands for here when left out.

    Raises:
        MissingExtraError: TensorBoard is asked for and not installed, and nothing else is wrong.
        TrainingError: lists what is wrong, one a line.
    """
    if device_type is None:
        auto = "cuda" if torch.cuda.is_available() else "cpu"
        device_type = auto if settings.device == "auto" else settings.device
    problems = list(_problems(settings, device_type))
    if settings.tensorboard:
        try:
            require("tensorboard", "report")
        except MissingExtraError as error:
            if not problems:
                raise
            problems.append(f"training.tensorboard: {error}")
    if problems:
        raise TrainingError("\n".join(problems))


def _problems(settings: TrainingSettings, device_type: str) -> Iterator[str]:
    if device_type == "cuda" and not torch.cuda.is_available():
        yield "training.device: this machine shows no GPU to torch; set cpu or auto"
    try:
        table_optimizer(settings.table_optimizer, device_type)
    except UserError as error:
        yield str(error)
    if settings.pipeline == "prefetch" and device_type == "cpu":
        yield (
            "training.pipeline: prefetch fills the caches that tables have on a GPU (kernel "
            "fused_uvm_caching), and this run is on CPU; use sparse_dist"
        )
    for table, how in settings.sharding.items():
        allowed = allowed_kernels(how.types or ["table_wise"], device_type, managed=False)
        if unable := [k for k in how.kernels or () if k.startswith("fused_uvm") and k not in allowed]:
            yield (
                f"training.sharding.{table}.kernels: {', '.join(unable)} cannot run on {device_type}; "
                f"allowed: {', '.join(allowed)}"
            )

"""The optimizer of the ID tables: its class, the state that it keeps, and how TorchRec is told of it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import torch
from torch import nn
from torch.distributed.optim import _apply_optimizer_in_backward
from torch.optim import Optimizer
from torchrec.optim import optimizers as placeholders
from torchrec.optim.rowwise_adagrad import RowWiseAdagrad

from interactrank.sharding.errors import ShardingError
from interactrank.sharding.settings import TableOptimizer
from interactrank.sharding.tables import TableInfo

__all__ = ["apply_table_optimizer", "check_table_optimizers", "state_bytes", "table_optimizer"]

_CLASSES: dict[str, type[Optimizer]] = {
    "row_wise_adagrad": RowWiseAdagrad,
    "adagrad": torch.optim.Adagrad,
    "sgd": torch.optim.SGD,
    "adam": torch.optim.Adam,
}
_ON_CPU = ("row_wise_adagrad", "adagrad", "sgd")  # what FBGEMM's CPU kernels can fuse


def table_optimizer(settings: TableOptimizer, device_type: str) -> tuple[type[Optimizer], dict[str, Any]]:
    """Return class and arguments of the tables' optimizer.

    Raises:
        ShardingError: it cannot run inside the backward pass on this device.

    Example::

        >>> table_optimizer(TableOptimizer(name="sgd", lr=0.1), "cpu")
        (<class 'torch.optim.sgd.SGD'>, {'lr': 0.1})
    """
    if device_type == "cpu" and settings.name not in _ON_CPU:
        raise ShardingError(
            f"training.table_optimizer.name: {settings.name} cannot run inside the backward pass on cpu; "
            f"allowed there: {', '.join(_ON_CPU)}"
        )
    arguments: dict[str, Any] = {"lr": settings.lr}
    if settings.name != "sgd":
        arguments["eps"] = settings.eps or 1e-8
    if settings.name == "adam":
        arguments["betas"] = settings.betas or (0.9, 0.999)
    return _CLASSES[settings.name], arguments


def state_bytes(table: TableInfo, settings: TableOptimizer, column_parts: int = 1) -> int:
    """Return the bytes of a table's optimizer state, in float32.

    Args:
        table: its shape.
        settings: the optimizer.
        column_parts: shards side by side; row-wise Adagrad keeps a number for each row of each.
    """
    numbers = {
        "row_wise_adagrad": column_parts * table.rows,
        "adagrad": table.rows * table.dim,
        "adam": 2 * table.rows * table.dim,
        "sgd": 0,
    }
    return 4 * numbers[settings.name]


def apply_table_optimizer(
    tables: Mapping[str, nn.Parameter],
    settings: TableOptimizer,
    device_type: str,
    replicated: Collection[str],
) -> None:
    """Tell TorchRec, before it shards, to update the tables in the backward pass.

    Args:
        tables: name -> weight of every table.
        settings: the optimizer.
        device_type: ``cpu`` or ``cuda``.
        replicated: data-parallel tables; they have dense gradients, and an optimizer outside of the backward
            pass updates them.
    """
    kind, arguments = _as_fused(*table_optimizer(settings, device_type))
    fused = [weight for name, weight in tables.items() if name not in replicated]
    _apply_optimizer_in_backward(kind, fused, arguments)


def _as_fused(kind: type[Optimizer], arguments: dict[str, Any]) -> tuple[type[Optimizer], dict[str, Any]]:
    """Return class and arguments as FBGEMM's kernels take them: Adam's betas are two arguments there.

    Torch's Adam does not take the two; TorchRec's placeholder takes anything, as it never runs.
    """
    if kind is not torch.optim.Adam:
        return kind, arguments
    beta1, beta2 = arguments["betas"]
    rest = {key: value for key, value in arguments.items() if key != "betas"}
    return placeholders.Adam, {**rest, "beta1": beta1, "beta2": beta2}


def check_table_optimizers(tables: Mapping[str, nn.Parameter], replicated: Collection[str]) -> None:
    """Refuse tables that TorchRec would silently train with plain SGD at a rate of 0.01, its default.

    Raises:
        ShardingError: names the tables without an optimizer, or with more than one.
    """
    counts = {name: len(getattr(w, "_in_backward_optimizers", ())) for name, w in tables.items()}
    wrong = [name for name, n in counts.items() if n != (0 if name in replicated else 1)]
    if wrong:
        raise ShardingError(
            f"tables {', '.join(f'{n} ({counts[n]} optimizers)' for n in wrong)}: every table needs exactly "
            "one optimizer; call apply_table_optimizer once, on all of them, before sharding"
        )

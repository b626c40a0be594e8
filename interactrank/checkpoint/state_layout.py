"""Sharding-independent names and shapes of the training state."""

from __future__ import annotations

from typing import Any

from torch import Tensor

__all__ = ["canonicalize_optimizer_state"]


def canonicalize_optimizer_state(state: dict[str, Any]) -> dict[str, Any]:
    """Rename the optimizer state of replicated tables to that of sharded ones.

    A replicated table is updated by torch's Adagrad or TorchRec's row-wise one, a sharded table by FBGEMM's
    kernels. They keep the same numbers, and only call them differently. Adam's state stays as it is, since
    torch counts the steps of each table and the kernels count their own. Tables without any state (SGD) are
    left out: which of them a rank would name depends on the layout.

    Args:
        state: ``model`` and ``optimizer``, as the sharded model and its optimizer give them.

    Returns:
        The same tensors, or views of them: what is written into them is written into the run.
    """
    parts: dict[str, Any] = {}
    for key, of in state["optimizer"]["state"].items():
        kind, _, weight = key.partition(".")
        if kind == "replicated" and of.keys() == {
            "sum",
            "step",
        }:  # the step counts for a decay of rates alone
            table = weight.split(".")[-2]
            parts[f"fused.{weight}"] = {f"{table}.momentum1": _as_fused(of["sum"])}
        elif of:
            parts[key] = of
    return {**state, "optimizer": {"state": parts}}


def _as_fused(total: Tensor) -> Tensor:
    """Row-wise sums are a column for TorchRec and a vector for FBGEMM, whose tables are 4 wide or more."""
    return total.view(-1) if total.shape[1] == 1 else total

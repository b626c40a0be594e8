"""A golden case: its note, its tensors, and the links from its weights to the parameters of our modules."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

View = Callable[[Tensor], Tensor]


class Skipped(Exception):
    """The case is not compared, for the reason given (golden/README.md lists the reasons allowed)."""


class Case:
    """One case of a golden folder.

    An adapter links each weight ``w.*`` to a parameter (or a view of one), runs our module and returns the
    values of ``out.*``, ``grad.*`` and ``state.*`` by name.

    The reference computed in float32 and its numbers are stored in float32. We compute in float64 from the
    stored inputs, so that what is left is the rounding of the reference alone: no sum of ours depends on the
    processor. So the tolerance of a case is one of its reference: it is never widened here.
    """

    def __init__(self, note: Path, dtype: torch.dtype = torch.float64) -> None:
        content: dict[str, Any] = json.loads(note.read_text())
        self.name = note.stem
        self.component: str = content.get("component", note.stem.split("__")[0])
        self.params: dict[str, Any] = content["params"]
        self.rtol: float = content["tolerance"]["rtol"]
        self.atol: float = content["tolerance"]["atol"]
        tensors = load_file(note.with_suffix(".safetensors"))
        self.tensors = {name: x.to(dtype) if x.is_floating_point() else x for name, x in tensors.items()}
        self.left_out: dict[str, str] = {}
        self._leaves: dict[str, Tensor] = {}
        self._links: dict[str, tuple[Tensor, View]] = {}

    def __contains__(self, name: str) -> bool:
        return name in self.tensors

    def __getitem__(self, name: str) -> Tensor:
        return self.tensors[name]

    def names(self, prefix: str) -> list[str]:
        """What follows ``prefix`` in the names of the tensors."""
        return [name[len(prefix) :] for name in self.tensors if name.startswith(prefix)]

    def input(self, name: str) -> Tensor:
        """``in.<name>``, a leaf whose gradient is kept where it is a float tensor."""
        if name not in self._leaves:
            x = self.tensors[f"in.{name}"].clone()
            self._leaves[name] = x.requires_grad_() if x.is_floating_point() else x
        return self._leaves[name]

    def link(self, name: str, parameter: Tensor, view: View = lambda p: p) -> None:
        """Load ``w.<name>`` into ``view(parameter)``; its gradient is read through the same view."""
        with torch.no_grad():
            view(parameter.data).copy_(self.tensors[f"w.{name}"])
        self._links[name] = (parameter, view)

    def link_layer(self, prefix: str, layer: nn.Module) -> None:
        """Link weight and bias (where there are such) of a linear map or a norm."""
        for part in ("weight", "bias"):
            if f"w.{prefix}.{part}" in self:
                self.link(f"{prefix}.{part}", layer.get_parameter(part))

    def leave_out(self, reason: str, *names: str) -> None:
        """State why values of the case are not compared."""
        self.left_out |= dict.fromkeys(names, reason)

    def leave_out_gradients(self, reason: str) -> None:
        """The same for every ``grad.*``."""
        self.leave_out(reason, *(name for name in self.tensors if name.startswith("grad.")))

    def backward(self, loss: Tensor) -> dict[str, Tensor]:
        """Gradients of every input and weight that the case has one for."""
        loss.sum().backward()
        found = {f"grad.in.{name}": x.grad for name, x in self._leaves.items()}
        found |= {
            f"grad.w.{name}": view(p.grad) if p.grad is not None else None
            for name, (p, view) in self._links.items()
        }
        return {
            name: torch.zeros_like(self[name]) if grad is None else grad
            for name, grad in found.items()
            if name in self
        }

    def with_cotangent(self, y: Tensor) -> dict[str, Tensor]:
        """``out.y``, ``out.L`` = sum(y * cot) and the gradients of L."""
        total = (y * self["in.cot"]).sum()
        return {"out.y": y, **({"out.L": total} if "out.L" in self else {}), **self.backward(total)}

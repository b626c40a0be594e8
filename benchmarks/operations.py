"""How many arithmetic operations PyTorch does: matrix products by formula, everything else by its elements.

| operation | counted as |
|---|---|
| matrix product of [m, k] and [k, n] | 2 m n k, PyTorch's ``flop_counter`` |
| element-wise: add, multiply, exp, log, compare, choose, ... | 1 for each element of the result |
| reduction: sum, mean, max, ... | 1 for each element of the input |
| softmax, layer norm | 5 for each element of the input |
| gather, copy, view | 0 |
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

__all__ = ["Operations", "operations_of"]

_COMPOUND = {"_softmax": 5, "_log_softmax": 5, "native_layer_norm": 5}
_MOVES = {"clone", "copy", "copy_", "_to_copy", "fill", "fill_", "zero_", "arange", "detach", "lift_fresh"}


class Operations(TorchDispatchMode):
    """Counts the operations of what runs inside of it.

    Example::

        >>> with Operations() as count:
        ...     _ = torch.ones(3, 4) @ torch.ones(4, 2) + 1
        >>> count.total
        54
    """

    def __init__(self) -> None:
        super().__init__()
        self.total = 0

    def __torch_dispatch__(
        self,
        func: Any,
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        self.total += self._count(func, args, dict(kwargs or {}), result)
        return result

    def _count(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> int:
        name = func._schema.name.partition("::")[2]
        if func._overloadpacket in flop_registry:
            return int(flop_registry[func._overloadpacket](*args, **kwargs, out_val=result))
        if name in _COMPOUND:
            return _COMPOUND[name] * _elements(args[0])
        if name in _MOVES:
            return 0
        if torch.Tag.pointwise in func.tags:
            return _elements(result)
        return _elements(args[0]) if torch.Tag.reduction in func.tags and args else 0


def operations_of(run: Callable[[], object]) -> int:
    """Operations of one call."""
    with torch.no_grad(), Operations() as count:
        run()
    return count.total


def _elements(value: Any) -> int:
    if isinstance(value, Tensor):
        return value.numel()
    return sum(_elements(one) for one in value) if isinstance(value, tuple | list) else 0

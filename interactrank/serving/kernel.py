"""Kernel: products and selection in C++; where there is no compiler, PyTorch does the same.

Shapes: N items, D embedding dim, C candidates.
"""

from __future__ import annotations

import ctypes
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from interactrank.core.compiled import ANY_ORDER, load_compiled

__all__ = ["Kernel", "kernel"]

_SOURCE = Path(__file__).with_name("kernel.cpp")
_DOTS = {torch.float32: "interactrank_dots_float32", torch.int8: "interactrank_dots_int8"}


class Kernel:
    """The compiled functions.

    Args:
        library: of :data:`_SOURCE`.
    """

    def __init__(self, library: Any) -> None:
        size, pointer = ctypes.c_int64, ctypes.c_void_p
        for name in _DOTS.values():
            function = getattr(library, name)
            function.argtypes = [pointer, pointer, size, size, pointer, size, pointer, pointer]
            function.restype = size
        library.interactrank_top_k.argtypes = [pointer, size, size, pointer]
        library.interactrank_top_k.restype = size
        self._library = library

    def dots(
        self, items: Tensor, query: Tensor, rows: Tensor | None = None, scales: Tensor | None = None
    ) -> Tensor | None:
        """Return the product of each row of ``items`` with a query; None for a type that it does not know.

        Args:
            items: [N, D] float32 or int8, contiguous.
            query: [D] float32.
            rows: [C] int64 in 0..N-1; None for all.
            scales: [N] float32, by which products are multiplied.

        Returns:
            [C] or [N] float32.

        Raises:
            ValueError: the query has another width.
            IndexError: a row does not exist.
        """
        if query.shape != items.shape[1:]:
            raise ValueError(f"a query of shape {list(query.shape)} for vectors of {items.shape[1]} columns")
        name = _DOTS.get(items.dtype)
        if name is None:
            return None
        size = len(items) if rows is None else len(rows)
        found = torch.empty(size)
        query, rows = query.float().contiguous(), None if rows is None else rows.long().contiguous()
        done = getattr(self._library, name)(
            items.data_ptr(),
            None if scales is None else scales.data_ptr(),
            len(items),
            items.shape[1],
            None if rows is None else rows.data_ptr(),
            size,
            query.data_ptr(),
            found.data_ptr(),
        )
        if rows is not None and done < size:
            raise IndexError(f"row {int(rows[done])} of {len(items)} item vectors does not exist")
        return found

    def top_k(self, scores: Tensor, k: int) -> Tensor:
        """Return [min(k, finite scores)] int64, see :func:`~interactrank.serving.selection.top_k`."""
        scores = scores.contiguous()
        out = torch.empty(min(k, len(scores)), dtype=torch.int64)
        found = self._library.interactrank_top_k(scores.data_ptr(), len(scores), len(out), out.data_ptr())
        return out[:found]


@cache
def kernel() -> Kernel | None:
    """Return the kernel, which is built when it is first asked for; None without a compiler."""
    library = load_compiled(_SOURCE, ANY_ORDER)
    return None if library is None else Kernel(library)

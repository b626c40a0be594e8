"""Kernel: products and selection in C++, built once for the processor at hand.

Where there is no compiler, PyTorch does the same.

Plain C functions are called through ctypes: building them takes two seconds, an extension of PyTorch half a
minute, and they know nothing of its version. Shapes: N items, D embedding dim, C candidates.
"""

from __future__ import annotations

import ctypes
import hashlib
import logging
import os
import platform
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from interactrank.core.files import atomic_write

__all__ = ["Kernel", "kernel"]

logger = logging.getLogger(__name__)

OFF = "INTERACTRANK_NO_KERNEL"  # set: PyTorch alone
_SOURCE = Path(__file__).with_name("kernel.cpp")
# Sums may be added in any order, which vector instructions need. Not -ffast-math: a library that is linked
# with it makes the whole process flush subnormal numbers to zero.
_FLAGS = (
    *("-O3", "-march=native", "-std=c++17", "-shared", "-fPIC"),
    *("-fassociative-math", "-fno-signed-zeros", "-fno-trapping-math", "-fno-math-errno"),
)
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
    if os.environ.get(OFF):
        return None
    try:
        return Kernel(ctypes.CDLL(str(_built())))
    except (OSError, subprocess.SubprocessError) as error:
        logger.info("ranking with PyTorch alone, which is slower: no kernel could be built (%s)", error)
        return None


def _built() -> Path:
    """Return the library, of this source, compiler and processor."""
    compiler = os.environ.get("CXX") or "g++"
    if shutil.which(compiler) is None:
        raise OSError(f"there is no C++ compiler '{compiler}'; install g++")
    what = [_SOURCE.read_text(), compiler, *_FLAGS, _processor()]
    name = hashlib.sha256("\0".join(what).encode()).hexdigest()[:16]
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "interactrank"
    path = folder / f"kernel-{name}.so"
    if not path.exists():

        def build(temporary: Path) -> None:
            command = [compiler, *_FLAGS, str(_SOURCE), "-o", str(temporary)]
            subprocess.run(command, check=True, capture_output=True, timeout=120)

        atomic_write(path, build)
    return path


def _processor() -> str:
    """Return what -march=native depends on."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line for line in lines if line.startswith(("flags", "Features")))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()

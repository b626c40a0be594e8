"""ItemVectors: the catalogue's vectors in a mapped file, and their products with a query.

Shapes: N items, D embedding dim, C candidates.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from interactrank.core.files import atomic_write
from interactrank.cross_features.pair_index import Int64s
from interactrank.serving.errors import ArtifactError
from interactrank.serving.kernel import kernel

__all__ = ["PRECISIONS", "ItemVectors", "Precision"]

Precision = Literal["float32", "float16", "int8"]
PRECISIONS: tuple[Precision, ...] = ("float32", "float16", "int8")
_BLOCK = 1 << 14  # rows that are converted to float32 at a time: half a megabyte at 64 columns
_VECTORS, _SCALES, _SHAPE = "vectors", "scales", "shape.json"


class ItemVectors:
    """The vectors of a catalogue.

    Args:
        values: [N, D] float32, float16, or int8 in -127..127.
        scales: [N] float32, by which rows of int8 are multiplied; None for floats.

    Example::

        >>> exact = np.array([[0.6, 0.8], [1.0, 0.0]], np.float32)
        >>> vectors = ItemVectors.of(exact, "int8")
        >>> vectors.dots(torch.tensor([1.0, 0.0])).round(decimals=2).tolist()
        [0.6000000238418579, 1.0]
    """

    def __init__(self, values: NDArray[Any], scales: NDArray[np.float32] | None = None) -> None:
        self.values, self.scales = values, scales
        self._values = torch.from_numpy(values)
        self._scales = None if scales is None else torch.from_numpy(scales)

    def __len__(self) -> int:
        return len(self.values)

    @property
    def dim(self) -> int:
        """D."""
        return int(self.values.shape[1])

    @property
    def precision(self) -> Precision:
        """One of :data:`PRECISIONS`."""
        return next(p for p in PRECISIONS if self.values.dtype == p)

    def dots(self, query: Tensor, rows: Tensor | None = None) -> Tensor:
        """Return the product of each vector with a query.

        Args:
            query: [D] float32.
            rows: [C] int64; None for all N.

        Returns:
            [C] or [N] float32.
        """
        compiled = kernel()
        # All rows of float32 are a product of a matrix, which PyTorch's libraries do as well.
        if compiled is not None and not (rows is None and self._scales is None):
            products = compiled.dots(self._values, query, rows, self._scales)
            if products is not None:
                return products
        return self.slow_dots(query, rows)

    def slow_dots(self, query: Tensor, rows: Tensor | None = None) -> Tensor:
        """Return what :meth:`dots` does, by PyTorch alone."""
        if self._values.dtype == torch.float32:
            some = self._values if rows is None else self._values.index_select(0, rows)
            return torch.mv(some, query)
        size = len(self) if rows is None else len(rows)
        found = torch.empty(size)
        for first in range(0, size, _BLOCK):
            block: Any = slice(first, min(first + _BLOCK, size))
            if rows is not None:
                block = rows[block]
            values = torch.mv(self._values[block].float(), query)
            found[first : first + len(values)] = (
                values if self._scales is None else values * self._scales[block]
            )
        return found

    def as_float32(self, rows: Int64s) -> NDArray[np.float32]:
        """Return [C, D] the vectors of some rows."""
        values = self.values[rows].astype(np.float32)
        return values if self.scales is None else values * self.scales[rows, None]

    @classmethod
    def of(cls, vectors: NDArray[np.float32], precision: Precision) -> ItemVectors:
        """Return vectors of a precision; int8 scales each row by its largest value.

        Args:
            vectors: [N, D] float32.
            precision: of the result.
        """
        if precision != "int8":
            return cls(vectors.astype(precision, copy=False))
        scales = np.abs(vectors).max(1, initial=0.0) / 127
        whole = np.rint(vectors / np.where(scales > 0, scales, 1)[:, None])
        return cls(whole.astype(np.int8), scales.astype(np.float32))

    def write(self, folder: Path) -> None:
        """Write the vectors into ``folder``."""
        arrays: dict[str, NDArray[Any]] = {_VECTORS: self.values}
        if self.scales is not None:
            arrays[_SCALES] = self.scales
        for name, array in arrays.items():
            atomic_write(folder / name, np.ascontiguousarray(array).tofile)
        shape = {"items": len(self), "dim": self.dim, "precision": self.precision}
        atomic_write(folder / _SHAPE, lambda p: p.write_text(json.dumps(shape)))

    @classmethod
    def open(cls, folder: Path) -> ItemVectors:
        """Map what :meth:`write` wrote into memory; pages are shared by all processes.

        Raises:
            ArtifactError: a file is missing or has another size than was written.
        """
        try:
            shape = json.loads((folder / _SHAPE).read_text())
            items, dim, precision = int(shape["items"]), int(shape["dim"]), str(shape["precision"])
            values = _map(folder / _VECTORS, precision, (items, dim))
            scales = _map(folder / _SCALES, "float32", (items,)) if precision == "int8" else None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ArtifactError(
                f"'{folder}' holds no readable item vectors ({error}); export again"
            ) from None
        return cls(values, scales)


def _map(path: Path, dtype: str, shape: tuple[int, ...]) -> NDArray[Any]:
    """Map an array; copy-on-write, as torch wants memory that could be written to."""
    if not int(np.prod(shape)):
        return np.empty(shape, dtype)
    expected = int(np.prod(shape)) * np.dtype(dtype).itemsize
    if path.stat().st_size != expected:
        raise ValueError(f"{path.name} has {path.stat().st_size:,} bytes instead of {expected:,}")
    return np.asarray(np.memmap(path, dtype, "c", shape=shape))

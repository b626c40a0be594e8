"""Counts of all ranks' batches, which travel in one message while the model computes.

Shapes: H heads, W ranks.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from interactrank.modules.losses.gather import world_size


class RankCounts:
    """What the losses of a step must know of the batches of all ranks; known from the batch alone.

    Make it before the forward pass, and read it in the losses; all ranks must make it, with the same names.

    Args:
        counts: name -> [] or [H] number of rows that count on this rank.
        rows: of this rank, for :func:`~interactrank.modules.losses.gather_rows`.
        group: the ranks; None for all, or for this process alone where torch.distributed is not set up.

    Example::

        >>> counts = RankCounts({"positives": torch.tensor([3.0, 1.0])}, rows=7)
        >>> counts["positives"].tolist(), counts.sizes
        ([3.0, 1.0], [7])
    """

    def __init__(
        self, counts: Mapping[str, Tensor], rows: int, group: dist.ProcessGroup | None = None
    ) -> None:
        ranks = world_size(group)
        self._names, self._shapes = list(counts), [count.shape for count in counts.values()]
        device = next(iter(counts.values())).device if counts else torch.device("cpu")
        sizes = torch.zeros(ranks, device=device)
        sizes[dist.get_rank(group) if ranks > 1 else 0] = rows
        parts = [count.detach().float().reshape(-1) / ranks for count in counts.values()]
        self._values = torch.cat([*parts, sizes])
        self._lengths = [len(part) for part in parts] + [ranks]
        self._work: Any = None
        if ranks > 1:
            self._work = dist.all_reduce(self._values, group=group, async_op=True)
        self._parts: dict[str, Tensor] | None = None

    def __getitem__(self, name: str) -> Tensor:
        """Return the mean of a count over the ranks, of its shape."""
        return self._arrived()[name]

    @property
    def sizes(self) -> list[int]:
        """The rows of every rank; waits for the device."""
        return [int(n) for n in self._arrived()[""].tolist()]

    def _arrived(self) -> dict[str, Tensor]:
        if self._parts is None:
            if self._work is not None:
                self._work.wait()
                self._work = None
            *parts, sizes = self._values.split(self._lengths)
            shaped = (part.view(shape) for part, shape in zip(parts, self._shapes, strict=True))
            self._parts = dict(zip(self._names, shaped, strict=True)) | {"": sizes}
        return self._parts

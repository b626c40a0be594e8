"""Counts of a stream of ids in a fixed amount of memory.

Shapes: N ids, W width, K rows (depth) of the sketch.
"""

import torch
from torch import Tensor, nn

from interactrank.modules.checks import require_positive


class CountMinSketch(nn.Module):
    """Count-Min sketch: a count is never too low, and too high only where ids share a cell in every row.

    Cormode and Muthukrishnan 2005. Ids may be any int64. The state travels with checkpoints; the default
    takes 2 MB. All ranks count the same ids.

    Args:
        width: W, cells of a row.
        depth: K, rows.
        seed: of the hash functions.

    Example::

        >>> import torch
        >>> sketch = CountMinSketch(width=1024)
        >>> sketch.update(torch.tensor([5, -7, 5]))
        >>> sketch(torch.tensor([5, -7, 8])).tolist(), sketch.total.item()
        ([2, 1, 0], 3)
    """

    counts: Tensor
    total: Tensor
    salt: Tensor

    def __init__(self, *, width: int = 2**17, depth: int = 2, seed: int = 0) -> None:
        super().__init__()
        require_positive(width=width, depth=depth)
        self.width, self.depth = width, depth
        generator = torch.Generator().manual_seed(seed)
        self.register_buffer("salt", torch.randint(-(2**63), 2**63 - 1, (depth, 1), generator=generator))
        self.register_buffer("counts", torch.zeros(depth, width, dtype=torch.int64))
        self.register_buffer("total", torch.zeros((), dtype=torch.int64))  # all increments so far

    @torch.no_grad()
    def update(self, ids: Tensor, increments: Tensor | None = None) -> None:
        """Count ids; an id that occurs twice counts twice.

        Args:
            ids: [N] int64.
            increments: [N] int64, not negative; None for 1 each. 0 leaves an id out.
        """
        if increments is None:
            increments = torch.ones_like(ids)
        self.counts.scatter_add_(1, self.cells(ids), increments.expand(self.depth, -1))
        self.total += increments.sum()

    def forward(self, ids: Tensor) -> Tensor:
        """Return the counts of [N] ids: [N] int64, never below the true counts."""
        return self.counts.gather(1, self.cells(ids)).min(0).values

    def cells(self, ids: Tensor) -> Tensor:
        """Return the cell of each id in each row of the sketch: [N] int64 -> [K, N] int64 in 0..W-1."""
        # splitmix64's finaliser on salted ids: products wrap around, shifts are made logical by their masks.
        h = ids + self.salt
        h = (h ^ ((h >> 30) & (2**34 - 1))) * -4658895280553007687
        h = (h ^ ((h >> 27) & (2**37 - 1))) * -7723592293110705685
        h = h ^ ((h >> 31) & (2**33 - 1))
        return (h & (2**63 - 1)) % self.width

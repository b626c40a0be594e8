"""Small tensors that travel over the ranks together with the gradients of a training step.

A message costs far more than its bytes while it is small. What a module wants to know of all ranks only after
the step, such as the statistics of a batch, needs no message of its own.

Shapes: W ranks, n numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

__all__ = ["StepSums", "step_sums"]

Then = Callable[[Tensor], None]


class StepSums:
    """What the ranks of a training want summed with the next gradients, and who wants it.

    Every rank must add the same, in the same order.

    Args:
        rank: this rank.
        ranks: W.

    Example::

        >>> sums = StepSums(rank=1, ranks=2)
        >>> sums.gather(torch.tensor([5.0]), print)
        >>> sums.take()  # a place for each rank
        tensor([0., 5.])
        >>> sums.give(torch.tensor([3.0, 5.0]))  # their sum over the ranks
        tensor([[3.],
                [5.]])
    """

    def __init__(self, *, rank: int, ranks: int) -> None:
        self.rank, self.ranks = rank, ranks
        self._added: list[Tensor] = []
        self._travelling: list[tuple[int, Then]] = []
        self._thens: list[Then] = []

    def add(self, values: Tensor, then: Then) -> None:
        """Sum ``values`` over the ranks.

        Args:
            values: [n] of any type; it travels as float32.
            then: called with the [n] float32 sums, after the backward pass.
        """
        self._added.append(values.detach().float().reshape(-1))
        self._thens.append(then)

    def gather(self, values: Tensor, then: Then) -> None:
        """Gather ``values`` of all ranks; ``then`` gets them as [W, n] float32."""
        places = values.new_zeros(self.ranks, values.numel())
        places[self.rank] = values.detach().reshape(-1)
        self.add(places, lambda summed: then(summed.view(self.ranks, -1)))

    def take(self) -> Tensor | None:
        """Return all that was added since the last call, one behind the other; None for nothing."""
        if not self._added:
            return None
        values = torch.cat(self._added)
        self._travelling = [(len(v), then) for v, then in zip(self._added, self._thens, strict=True)]
        self._added, self._thens = [], []
        return values

    def give(self, summed: Tensor) -> None:
        """Hand out the sums over ranks of what :meth:`take` returned."""
        travelling, self._travelling = self._travelling, []
        parts = summed.split([size for size, _ in travelling])
        for part, (_, then) in zip(parts, travelling, strict=True):
            then(part)

    @contextmanager
    def open(self) -> Iterator[None]:
        """Let modules that are called in the block find this through :func:`step_sums`."""
        global _open
        before, _open = _open, self
        try:
            yield
        finally:
            _open = before


_open: StepSums | None = None


def step_sums() -> StepSums | None:
    """Return what this training step sums over ranks; None outside of a training on several ranks."""
    return _open

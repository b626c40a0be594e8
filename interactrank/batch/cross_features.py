"""CrossFeatureTensors: the numbers of (request, item) pairs in a batch.

Shapes: R requests, C candidates, X features that are rates, Y that are numbers of another sort and
Z that are ratios.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["CrossFeatureTensors"]


@dataclass(frozen=True)
class CrossFeatureTensors:
    """The cross features of candidates; a column for each entry of the schema, in its order.

    Args:
        rate: [C, X] float32 in 0..1, such as C(p, key) / C(key); [R, N, X] for N items of a catalogue.
        support: [R, X] float32, the count that the rate is a share of; 0 where nothing is known.
        number: [C, Y] float32, as :class:`interactrank.cross_features.Number` says; NaN where it is unknown;
            [R, N, Y] for N items of a catalogue.
        counts: [C, 2 Z] float32, engagements of each ratio, then impressions of each; [R, N, 2 Z] for N items
            of a catalogue. None for no ratio: the tensor then has no columns.
    """

    rate: Tensor
    support: Tensor
    number: Tensor
    counts: Tensor = None  # type: ignore[assignment]  # always a tensor once it is made

    def __post_init__(self) -> None:
        if self.counts is None:
            object.__setattr__(self, "counts", self.number.new_empty(*self.number.shape[:-1], 0))

    @classmethod
    def zeros(
        cls, *, requests: int, candidates: int, rates: int = 0, numbers: int = 0, ratios: int = 0
    ) -> CrossFeatureTensors:
        """Return zeros of R requests and C candidates.

        Example::

            >>> CrossFeatureTensors.zeros(requests=2, candidates=5, rates=3).rate.shape
            torch.Size([5, 3])
        """
        return cls(
            torch.zeros(candidates, rates),
            torch.zeros(requests, rates),
            torch.zeros(candidates, numbers),
            torch.zeros(candidates, 2 * ratios),
        )

    def to(self, device: torch.device, non_blocking: bool = False) -> CrossFeatureTensors:
        """Return a copy on ``device``."""
        return self._map(lambda t: t.to(device=device, non_blocking=non_blocking))

    def pin_memory(self) -> CrossFeatureTensors:
        """Return a copy in page-locked memory."""
        return self._map(lambda t: t.pin_memory())

    def record_stream(self, stream: torch.Stream) -> None:
        """Keep the tensors' memory until ``stream`` is done with them."""
        for tensor in (self.rate, self.support, self.number, self.counts):
            tensor.record_stream(stream)

    def _map(self, change: Callable[[Tensor], Tensor]) -> CrossFeatureTensors:
        return CrossFeatureTensors(
            change(self.rate), change(self.support), change(self.number), change(self.counts)
        )

"""Means over the batches of all ranks, so that two ranks train as one process on both batches.

Shapes: N rows (candidates or requests), H heads.
"""

from collections.abc import Sequence

import torch
import torch.distributed as dist
from torch import Tensor, nn


def global_mean(
    values: Tensor,
    count: Tensor | None = None,
    *,
    mean_count: Tensor | None = None,
    group: dist.ProcessGroup | None = None,
) -> Tensor:
    """Return the sum over rows divided by the mean count of a rank, the same on every rank.

    Averaging over ranks, as DistributedDataParallel averages gradients, then gives the sum over all ranks
    divided by the count of all ranks, even where ranks have different numbers of rows. (A mean per rank would
    give the rows of a small batch more weight.)

    Args:
        values: [N, ...].
        count: [...] number of rows that count on this rank; None for N.
        mean_count: [...] the mean of that over the ranks, if it is known already (:class:`RankCounts`); no
            message is sent then.
        group: the ranks; None for all, or for this process alone where torch.distributed is not set up.

    Returns:
        [...]; 0 where no rank has a row that counts.

    Example::

        >>> global_mean(torch.tensor([1.0, 3.0])).item(), global_mean(torch.zeros(0)).item()
        (2.0, 0.0)
    """
    if mean_count is not None:
        return values.sum(0) / torch.where(mean_count > 0, mean_count, 1)
    if count is None:
        count = torch.full((), float(values.shape[0]), device=values.device)
    count = count.detach().float()
    if dist.is_available() and dist.is_initialized() and dist.get_world_size(group) > 1:
        count = count / dist.get_world_size(group)
        dist.all_reduce(count, group=group)
    return values.sum(0) / torch.where(count > 0, count, 1)


class HeadWeighting(nn.Module):
    """Mean over rows of every head's loss, then the weighted mean of the heads.

    Args:
        weights: one per head, not negative; scaled to sum 1.

    Raises:
        ValueError: no weight, a negative one, or all zero.

    Example::

        >>> HeadWeighting(weights=[3.0, 1.0])(torch.tensor([[1.0, 5.0], [3.0, 5.0]])).item()
        2.75
    """

    weights: Tensor

    def __init__(self, *, weights: Sequence[float]) -> None:
        super().__init__()
        if not weights or min(weights) < 0 or sum(weights) <= 0:
            raise ValueError(f"head weights are {list(weights)}; they must be >= 0 and not all zero.")
        values = torch.tensor(weights, dtype=torch.float64)
        self.heads = len(weights)
        self.register_buffer(
            "weights", (values / values.sum()).to(torch.get_default_dtype()), persistent=False
        )

    def forward(
        self,
        losses: Tensor,
        *,
        mean_count: Tensor | None = None,
        group: dist.ProcessGroup | None = None,
    ) -> Tensor:
        """Reduce [N, H] losses to a scalar; N counts the rows of all ranks (:func:`global_mean`)."""
        if losses.shape[-1] != self.heads:
            raise ValueError(
                f"HeadWeighting: {losses.shape[-1]} columns of losses for {self.heads} head weights."
            )
        return (global_mean(losses, mean_count=mean_count, group=group) * self.weights).sum()

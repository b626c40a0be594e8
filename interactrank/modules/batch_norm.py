"""Batch norm over rows that stand for different numbers of candidates.

Shapes: N rows, F features, W ranks.
"""

import torch
import torch.distributed as dist
from torch import Tensor, nn

from interactrank.core.step_sums import step_sums
from interactrank.modules.checks import require_positive, require_width


class WeightedBatchNorm(nn.Module):
    """Batch norm whose statistics weigh each row: a row of weight 3 counts as three equal rows.

    Batches here hold every request and item once, however many candidates name it; unweighted statistics
    would describe another population than the candidates that are scored.

    While training, rows are normalised by the statistics of this rank's batch; the running statistics are of
    the batches of all ranks, so that every rank evaluates, and saves, the same model. The ranks take their
    training steps together. In a training of this library the statistics travel with the gradients, and the
    running ones are those of the step after its backward pass.

    Args:
        features: F.
        momentum: weight of a new batch in the running statistics.
        eps: added to the variance.

    Example::

        >>> import torch
        >>> norm = WeightedBatchNorm(features=1)
        >>> x = torch.tensor([[0.0], [4.0]])  # weights 3 and 1: mean 1, variance 3
        >>> norm(x, torch.tensor([3.0, 1.0])).detach().round(decimals=3).flatten().tolist()
        [-0.5770000219345093, 1.7319999933242798]
    """

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, *, features: int, momentum: float = 0.1, eps: float = 1e-5) -> None:
        super().__init__()
        require_positive(features=features)
        self.in_dim = self.out_dim = features
        self.momentum, self.eps = momentum, eps
        self.weight = nn.Parameter(torch.ones(features))
        self.bias = nn.Parameter(torch.zeros(features))
        self.register_buffer("running_mean", torch.zeros(features))
        self.register_buffer("running_var", torch.ones(features))

    def forward(self, x: Tensor, row_weights: Tensor | None = None) -> Tensor:
        """Normalise.

        Args:
            x: [N, F].
            row_weights: [N], not negative; None for 1 each. Used while training only.

        Returns:
            [N, F]; a batch of a single row is allowed.
        """
        require_width(self, x, self.in_dim)
        mean, var = self.running_mean, self.running_var
        if self.training:
            w = x.new_ones(x.shape[0]) if row_weights is None else row_weights.to(x.dtype)
            count = w.sum()
            share = (w / count.clamp_min(torch.finfo(x.dtype).tiny)).unsqueeze(-1)
            mean = (share * x).sum(0)
            var = (share * (x - mean).square()).sum(0)
            with torch.no_grad():
                self._note(count, mean, var)
        return (x - mean) * torch.rsqrt(var + self.eps) * self.weight + self.bias

    def _note(self, count: Tensor, mean: Tensor, var: Tensor) -> None:
        """Update the running statistics, by those of all ranks as soon as they are there."""
        ranks = dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1
        if ranks == 1:
            self._update(count, mean, var)
            return
        own = torch.cat([count.reshape(1), mean, var])
        if (sums := step_sums()) is not None:
            sums.gather(own, self._update_of_ranks)
            return
        of = own.new_empty(ranks * len(own))
        dist.all_gather_into_tensor(of, own)
        self._update_of_ranks(of.view(ranks, -1))

    @torch.no_grad()
    def _update_of_ranks(self, of: Tensor) -> None:
        self._update(*_together(*of.to(self.running_mean.dtype).split([1, self.in_dim, self.in_dim], 1)))

    def _update(self, count: Tensor, mean: Tensor, var: Tensor) -> None:
        filled = (count > 0).to(mean.dtype) * self.momentum
        unbiased = var * count / (count - 1).clamp_min(1)
        self.running_mean += filled * (mean - self.running_mean)
        self.running_var += filled * (unbiased - self.running_var)


def _together(counts: Tensor, means: Tensor, variances: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return [] rows, [F] mean and [F] variance of the rows of ranks together: [W, 1], [W, F], [W, F]."""
    total = counts.sum()
    share = counts / total.clamp_min(torch.finfo(counts.dtype).tiny)
    mean = (share * means).sum(0)
    return total, mean, (share * (variances + (means - mean).square())).sum(0)

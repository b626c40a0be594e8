"""DCN-V2 feature crossing behind the interface of :class:`ParallelMaskNet`.

Shapes: N rows, n columns.
"""

from torch import Tensor, nn
from torchrec.modules.crossnet import CrossNet, LowRankCrossNet, LowRankMixtureCrossNet

from interactrank.modules.checks import require_positive, require_width


class DCNv2(nn.Module):
    """Cross layers ``x_{l+1} = x_0 * (W_l x_l + b_l) + x_l`` of TorchRec.

    DCN-V2, arXiv 2008.13535, equation 1 (full), 2 (low rank) and 4 (mixture of low-rank experts).

    Args:
        in_dim: n.
        layers: number of cross layers.
        low_rank: rank of each W_l; None for full matrices.
        experts: low-rank experts per layer; more than 1 needs ``low_rank``.

    Example::

        >>> import torch
        >>> DCNv2(in_dim=20, layers=2, low_rank=4)(torch.ones(3, 20)).shape
        torch.Size([3, 20])
    """

    def __init__(
        self, *, in_dim: int, layers: int = 3, low_rank: int | None = None, experts: int = 1
    ) -> None:
        super().__init__()
        require_positive(in_dim=in_dim, layers=layers, experts=experts)
        self.in_dim = self.out_dim = in_dim
        if low_rank is None:
            if experts > 1:
                raise ValueError(
                    f"experts is {experts}, but only low-rank layers have experts; set low_rank."
                )
            self.net: nn.Module = CrossNet(in_features=in_dim, num_layers=layers)
        else:
            require_positive(low_rank=low_rank)
            if experts == 1:
                self.net = LowRankCrossNet(in_features=in_dim, num_layers=layers, low_rank=low_rank)
            else:
                self.net = LowRankMixtureCrossNet(
                    in_features=in_dim, num_layers=layers, num_experts=experts, low_rank=low_rank
                )

    def forward(self, x: Tensor) -> Tensor:
        """Cross the columns of [N, n] into [N, n]."""
        require_width(self, x, self.in_dim)
        return self.net(x)

"""PositionBias: what the place of an impression adds to its chance of an engagement.

Shapes: C candidates, K positions.
"""

import torch
from torch import Tensor, nn

from interactrank.modules.checks import require_positive


class PositionBias(nn.Module):
    """A learned number for each position, which is added to scores while training and left out afterwards.

    People look at the top of a list more often. A model that must explain this by the items alone believes
    that what an earlier ranker placed high is better than it is. The additive form is that of the position-
    based click model (Craswell et al., WSDM 2008) for small probabilities: the logarithm of examination times
    attraction is a sum (Zhao et al., "Recommending what video to watch next", RecSys 2019).

    Args:
        positions: K; later positions share the last number.

    Raises:
        ValueError: fewer than two positions, which differ in nothing.

    Example::

        >>> import torch
        >>> bias = PositionBias(positions=3)
        >>> bias(torch.tensor([0, 1, 2, 9])).tolist()  # unknown and first: always 0; the others at first
        [0.0, 0.0, 0.0, 0.0]
    """

    def __init__(self, *, positions: int) -> None:
        super().__init__()
        require_positive(positions=positions)
        if positions < 2:
            raise ValueError(
                f"positions is {positions}; it must be at least 2, as biases are relative to the first."
            )
        self.positions = positions
        self.later = nn.Parameter(torch.zeros(positions - 1))

    def forward(self, position: Tensor) -> Tensor:
        """Return [C] the bias of each candidate, relative to the first position.

        Args:
            position: [C] int64, 1 for the top; 0 where it is not known.
        """
        table = torch.cat([self.later.new_zeros(2), self.later])
        return table[position.clamp(0, self.positions)]

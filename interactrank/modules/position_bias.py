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

    Only differences between positions mean anything. The first one has a number of its own, too: were it the
    reference with a fixed 0, the rest of the model would have to come down for all others to fall below it,
    which Adam's steps take very long for (on a simulated log the line through the biases then had a fifth to
    half of the true slope).

    Args:
        positions: K; later positions share the last number.

    Raises:
        ValueError: fewer than two positions, which differ in nothing.

    Example::

        >>> import torch
        >>> bias = PositionBias(positions=3)
        >>> bias.numbers.data = torch.tensor([0.5, 0.2, 0.0])
        >>> bias(torch.tensor([0, 1, 2, 9])).tolist()  # unknown: always 0
        [0.0, 0.5, 0.20000000298023224, 0.0]
        >>> bias.relative().tolist()
        [0.0, -0.30000001192092896, -0.5]
    """

    def __init__(self, *, positions: int) -> None:
        super().__init__()
        require_positive(positions=positions)
        if positions < 2:
            raise ValueError(
                f"positions is {positions}; it must be at least 2, as biases are differences between them."
            )
        self.positions = positions
        self.numbers = nn.Parameter(torch.zeros(positions))

    def forward(self, position: Tensor) -> Tensor:
        """Return [C] the bias of each candidate.

        Args:
            position: [C] int64, 1 for the top; 0 where it is not known.
        """
        table = torch.cat([self.numbers.new_zeros(1), self.numbers])
        return table[position.clamp(0, self.positions)]

    def relative(self) -> Tensor:
        """Return [K] what each position adds, relative to the first."""
        return self.numbers.detach() - self.numbers.detach()[0]

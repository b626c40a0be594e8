"""RatioSmoothing: engagements per impression, believed as far as there are impressions.

Shapes: C candidates, Z ratios.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from interactrank.modules.checks import require_positive, require_width
from interactrank.modules.precision import wide


class RatioSmoothing(nn.Module):
    """Logarithm of smoothed ratios: r_j = (E_j + k_j m_j) / (I_j + k_j).

    m_j is the ratio to expect without impressions: the smoothed ratio of a wider count, or a base that is
    learned. So an item that was never shown is rated like its genre, and one that was shown twice hardly
    otherwise. k_j > 0, in impressions, is learned. This is the posterior mean of a beta-binomial model whose
    prior is the wider count, as in hierarchical click-through estimates (Agarwal et al., "Estimating rates of
    rare events with multiple hierarchies", WWW 2007).

    Args:
        wider: for each ratio the position of the one that it backs off to; -1 for a learned base.
        bases: for each ratio the first base, in 0..1; that of a ratio with a wider one is not used.
        prior_strength: first k, in impressions.

    Raises:
        ValueError: a number outside its range, or ratios that back off to each other in a circle.

    Example::

        >>> import torch
        >>> smooth = RatioSmoothing(wider=[-1, 0], bases=[0.5, 0.5], prior_strength=10.0)  # all, then query
        >>> engaged, shown = torch.tensor([[30.0, 1.0]]), torch.tensor([[90.0, 0.0]])
        >>> smooth(engaged, shown).exp()  # (30 + 10 * .5) / (90 + 10), then (1 + 10 * .35) / (0 + 10)
        tensor([[0.3500, 0.4500]], grad_fn=<ExpBackward0>)
    """

    def __init__(self, *, wider: Sequence[int], bases: Sequence[float], prior_strength: float = 10.0) -> None:
        super().__init__()
        require_positive(features=len(wider))
        if len(bases) != len(wider):
            raise ValueError(
                f"bases has {len(bases)} numbers; it must have {len(wider)}, one for each ratio."
            )
        outside = [b for b in bases if not 0 < b < 1]
        if outside:
            raise ValueError(f"bases: {outside[0]} does not lie between 0 and 1.")
        if prior_strength <= 0:
            raise ValueError(f"prior_strength is {prior_strength}; it must be above 0.")
        self.features, self.wider = len(wider), tuple(wider)
        self.order = _widest_first(self.wider)
        self.log_strength = nn.Parameter(torch.full((self.features,), math.log(prior_strength)))
        self.base_logit = nn.Parameter(torch.tensor([math.log(b / (1 - b)) for b in bases]))

    def forward(self, engaged: Tensor, shown: Tensor) -> Tensor:
        """Smooth.

        Args:
            engaged: [C, Z] engagements E, 0 or more. More than were shown are taken as they are: an
                engagement may be logged without its impression.
            shown: [C, Z] impressions I, 0 or more.

        Returns:
            [C, Z] natural logarithms; float32, or float64 with such weights.
        """
        require_width(self, engaged, self.features, what="engaged")
        require_width(self, shown, self.features, what="shown")
        dtype = wide(self.log_strength.dtype)
        engaged, shown = engaged.to(dtype), shown.to(dtype)
        strength, base = self.log_strength.exp(), self.base_logit.sigmoid()
        ratios: dict[int, Tensor] = {}
        for j in self.order:
            expected = base[j] if self.wider[j] < 0 else ratios[self.wider[j]]
            ratios[j] = (engaged[..., j] + strength[j] * expected) / (shown[..., j] + strength[j])
        return torch.stack([ratios[j] for j in range(self.features)], -1).log()


def _widest_first(wider: Sequence[int]) -> list[int]:
    order: list[int] = []
    while len(order) < len(wider):
        ready = [j for j, w in enumerate(wider) if j not in order and (w < 0 or w in order)]
        if not ready:
            raise ValueError(f"wider is {list(wider)}; ratios back off to each other in a circle.")
        order += ready
    return order

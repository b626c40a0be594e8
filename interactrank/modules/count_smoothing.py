"""CountSmoothing: transforms of a query-item count before it enters the score.

Shapes: C candidates, X history features, F = X * number of transforms.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from interactrank.modules.checks import require_positive
from interactrank.modules.precision import wide

TRANSFORMS = ("rate", "log_count", "smoothed", "log_smoothed")


class CountSmoothing(nn.Module):
    """Monotone transforms of IQP_p(q) = C(p, q) / C(q), each rising with the count C(p, q).

    InteractRank, arXiv 2504.06609, section 3 (ItemQueryPerf). With support = C(q) and count = rate * support:

    - ``rate``: count / support as it is;
    - ``log_count``: ln(1 + count);
    - ``smoothed``: (count + k prior) / (support + k), the rate drawn towards a prior; k > 0 is learned per
      feature, so that the model itself decides how much history it takes to be believed;
    - ``log_smoothed``: its logarithm, the natural scale of a probability next to a logit.

    Args:
        features: X.
        transforms: which of ``TRANSFORMS``, in the order of the output.
        prior_strength: initial k, in engagements.
        uniform_prior: the prior rate where none is given per candidate.

    Raises:
        ValueError: an unknown transform or a number outside its range.

    Example::

        >>> import torch
        >>> transform = CountSmoothing(features=1, transforms=["rate", "smoothed"], prior_strength=10.0)
        >>> rate, support = torch.tensor([[0.5], [0.0]]), torch.tensor([[10.0], [0.0]])
        >>> transform(rate, support, prior=torch.tensor([[0.1], [0.1]])).tolist()
        [[0.5, 0.30000001192092896], [0.0, 0.10000000149011612]]
    """

    def __init__(
        self,
        *,
        features: int,
        transforms: Sequence[str] = ("log_smoothed",),
        prior_strength: float = 10.0,
        uniform_prior: float = 1e-3,
    ) -> None:
        super().__init__()
        require_positive(features=features, transforms=len(transforms))
        unknown = [name for name in transforms if name not in TRANSFORMS]
        if unknown:
            raise ValueError(f"transforms: no transform {unknown[0]!r}; there are {', '.join(TRANSFORMS)}.")
        if prior_strength <= 0:
            raise ValueError(f"prior_strength is {prior_strength}; it must be above 0.")
        if not 0 < uniform_prior < 1:
            raise ValueError(f"uniform_prior is {uniform_prior}; it must lie between 0 and 1.")
        self.in_dim, self.out_dim = features, features * len(transforms)
        self.transforms, self.uniform_prior = tuple(transforms), uniform_prior
        learns = any(name.endswith("smoothed") for name in transforms)
        strength = torch.full((features,), math.log(prior_strength))
        self.log_strength = nn.Parameter(strength) if learns else None

    def forward(self, rate: Tensor, support: Tensor, prior: Tensor | None = None) -> Tensor:
        """Transform.

        Args:
            rate: [C, X] in [0, 1], C(p, q) / C(q); 0 where the support is 0.
            support: [C, X], C(q), engagements; 0 where the key has no history.
            prior: [C, X] or [X] in (0, 1], the rate to expect without history, such as the item's popularity.

        Returns:
            [C, F], X columns of the first transform, then X of the next one; float32, or float64 with such
            weights.
        """
        dtype = wide(rate.dtype if self.log_strength is None else self.log_strength.dtype)
        rate, support = rate.to(dtype), support.to(dtype)
        out = []
        for name in self.transforms:
            if name == "rate":
                out.append(rate)
            elif name == "log_count":
                out.append(torch.log1p(rate * support))
            else:
                smoothed = self._smoothed(rate, support, prior)
                out.append(smoothed if name == "smoothed" else smoothed.log())
        return torch.cat(out, dim=-1)

    def missing(self, support: Tensor) -> Tensor:
        """Return which outputs rest on no history at all: [C, X] support -> [C, F] bool."""
        return torch.cat([support <= 0] * len(self.transforms), -1)

    def names(self, features: Sequence[str]) -> list[str]:
        """Return the names of the F outputs, given the X names of the inputs."""
        return [f"{name}:{transform}" for transform in self.transforms for name in features]

    def _smoothed(self, rate: Tensor, support: Tensor, prior: Tensor | None) -> Tensor:
        assert self.log_strength is not None
        k = self.log_strength.exp()
        tiny = torch.finfo(rate.dtype).tiny
        expected = self.uniform_prior if prior is None else prior.to(rate.dtype).clamp_min(tiny)
        return (rate * support + k * expected) / (support + k)

"""CrossCorrection: what an affine projection of cross features cannot say.

Shapes: C candidates, F cross features, X facts of the request, H heads.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from interactrank.modules.batch_norm import WeightedBatchNorm
from interactrank.modules.checks import require_positive, require_rate, require_width
from interactrank.modules.precision import wide


class CrossCorrection(nn.Module):
    """A small MLP over the cross features alone, which is added to their affine projection.

    A hotel that the user touched last counts for more if that was a minute ago than after three days. That is
    a product of features, which an affine form does not have. The dot product does not enter: a score still
    rises with it, and a serving engine needs the correction only where a candidate has a history. It starts
    at 0, so that the model begins as the affine one.

    Facts of the request, such as how much history its query has, shift the weights of the features: the
    correction gets x (G z) for normalised features x and facts z, with a learned matrix G that is 0 at first.
    That is affine in x again, with weights that are computed once a request.

    Args:
        features: F.
        heads: H.
        hidden_dims: columns of the hidden layers.
        context: X.
        dropout: share of the hidden columns set to zero while training.

    Raises:
        ValueError: a size or rate outside its range.

    Example::

        >>> import torch
        >>> correct = CrossCorrection(features=3, heads=2, hidden_dims=[8])
        >>> correct(torch.randn(5, 3), torch.zeros(5, 3, dtype=torch.bool)).abs().max().item()
        0.0
    """

    def __init__(
        self,
        *,
        features: int,
        heads: int,
        hidden_dims: Sequence[int] = (16,),
        context: int = 0,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        require_positive(features=features, heads=heads, layers=len(hidden_dims))
        require_positive(**{f"hidden_dims[{n}]": dim for n, dim in enumerate(hidden_dims)})
        require_rate(dropout=dropout)
        self.features, self.context = features, context
        self.norm = WeightedBatchNorm(features=features)
        self.norm_context = WeightedBatchNorm(features=context) if context else None
        layers: list[nn.Module] = []
        width = 2 * features + context
        for dim in hidden_dims:
            layers += [nn.Linear(width, dim), nn.ReLU(), nn.Dropout(dropout)]
            width = dim
        self.hidden = nn.Sequential(*layers)
        self.out = nn.Linear(width, heads)
        self.shift = nn.Linear(context, features * heads, bias=False) if context else None
        if self.shift is not None:
            nn.init.zeros_(self.shift.weight)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, cross: Tensor, missing: Tensor | None = None, context: Tensor | None = None) -> Tensor:
        """Correct.

        Args:
            cross: [..., F] cross features as the projection reads them.
            missing: [..., F] bool, True where a feature is unknown, whatever its value; None if none is.
            context: [..., X] facts of each candidate's request. One that stands for several candidates
                ([1, X], [R, 1, X]) is weighed once. None for X = 0.

        Returns:
            [..., H] to add to the scores; float32, or float64 with such weights.
        """
        require_width(self, cross, self.features, what="cross")
        dtype = wide(self.out.weight.dtype)
        cross = cross.to(dtype)
        flags = torch.zeros_like(cross)
        if missing is not None:
            flags = missing.expand(cross.shape).to(dtype)
            cross = torch.where(missing, 0, cross)
        with torch.autocast(cross.device.type, enabled=False):  # 1e-4 next to 1 needs float32
            normal = _over_rows(self.norm, cross)
            if self.shift is None or self.norm_context is None or context is None:
                return self._mlp(normal, flags)
            facts = _over_rows(self.norm_context, context.to(dtype))
            weights = self.shift(facts).unflatten(-1, (-1, self.features))
            shifted = (weights * (normal * (1 - flags)).unsqueeze(-2)).sum(-1)
            return self._mlp(normal, facts.expand(*cross.shape[:-1], -1), flags) + shifted

    def _mlp(self, *columns: Tensor) -> Tensor:
        corrected: Tensor = self.out(self.hidden(torch.cat(columns, -1)))
        return corrected


def _over_rows(norm: WeightedBatchNorm, x: Tensor) -> Tensor:
    """Normalise the last axis of a tensor of any shape."""
    return norm(x.reshape(-1, norm.in_dim)).reshape(x.shape)

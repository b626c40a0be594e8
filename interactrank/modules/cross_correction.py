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
        self.norm = WeightedBatchNorm(features=features + context)
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
            context: [..., X] facts of each candidate's request; may be one for several candidates. None for
                X = 0.
            missing: [..., F] bool, True where a feature is unknown, whatever its value; None if none is.

        Returns:
            [..., H] to add to the scores; float32, or float64 with such weights.
        """
        require_width(self, cross, self.features, what="cross")
        dtype = wide(self.out.weight.dtype)
        rows = cross.to(dtype).reshape(-1, self.features)
        if missing is None:
            flags = torch.zeros_like(rows)
        else:
            unknown = missing.expand(cross.shape).reshape(-1, self.features)
            flags = unknown.to(dtype)
            rows = torch.where(unknown, 0, rows)
        if context is not None:
            facts = context.to(dtype).expand(*cross.shape[:-1], self.context).reshape(-1, self.context)
            rows = torch.cat([rows, facts], -1)
        with torch.autocast(cross.device.type, enabled=False):  # 1e-4 next to 1 needs float32
            normal = self.norm(rows)
            corrected = self.out(self.hidden(torch.cat([normal, flags], -1)))
            if self.shift is not None:
                features, facts = normal.split([self.features, self.context], -1)
                known = features * (1 - flags)
                weights = self.shift(facts).unflatten(-1, (-1, self.features))
                corrected = corrected + (weights * known.unsqueeze(-2)).sum(-1)
        return corrected.reshape(*cross.shape[:-1], corrected.shape[-1])

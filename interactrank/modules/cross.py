"""The cross-interaction layer: dot product and query-item history become one score per head.

Shapes: C candidates, H heads, F cross features.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from interactrank.modules.checks import require_positive, require_width
from interactrank.modules.precision import wide

MISSING = ("learned", "average", "zero")


class PositiveWeight(nn.Module):
    """A weight that stays above zero: w = exp(v), v unconstrained.

    The exponential lets the weight grow by a share of itself per step, as the scale of dot products of unit
    vectors must.

    Args:
        size: number of weights.
        initial: starting value, above 0.

    Example::

        >>> PositiveWeight(size=2, initial=5.0)().detach().round(decimals=4).tolist()
        [5.0, 5.0]
    """

    def __init__(self, *, size: int, initial: float) -> None:
        super().__init__()
        require_positive(size=size)
        if initial <= 0:
            raise ValueError(f"the initial dot weight is {initial}; it must be above 0.")
        self.log_weight = nn.Parameter(torch.full((size,), math.log(initial)))

    def forward(self) -> Tensor:
        """Return [size] weights, all above 0."""
        return self.log_weight.exp()


class CrossInteraction(nn.Module):
    """score_h = w_h dot_h + sum_f v_hf cross_f + c_h, with w_h > 0.

    InteractRank, arXiv 2504.06609, section 3 (scoring): an affine projection of the two towers' dot product
    and the query-item history. A serving engine may cut by the dot product, so the score must rise with it:
    w is positive by construction.

    Missing history (``missing`` argument of :meth:`forward`):

    - ``"learned"``: a learned value per feature stands in, and a learned flag weight per head is added;
    - ``"average"``: the mean of the feature (missing ones counted as 0) stands in, as the reference does:
      over the batch while training, over past batches in evaluation, so that a score never depends on its
      neighbours;
    - ``"zero"``: 0 stands in.

    Args:
        heads: H.
        features: F; 0 for the dot product alone.
        shared: one projection for all heads, as in the reference; else one per head.
        missing: what stands in for a missing feature.
        initial_dot_weight: starting value of w.
        initial_cross_weight: starting value of v.
        average_momentum: weight of a new batch in the running means of ``missing="average"``.

    Raises:
        ValueError: a size, a weight or a choice is not allowed.

    Example::

        >>> import torch
        >>> cross = CrossInteraction(heads=2, features=1, initial_dot_weight=3.0, initial_cross_weight=0.5)
        >>> scores = cross(torch.tensor([[1.0, -1.0]]), torch.tensor([[0.2]]))
        >>> scores.detach().round(decimals=3).tolist()
        [[3.0999999046325684, -2.9000000953674316]]
    """

    running_sum: Tensor
    running_weight: Tensor

    def __init__(
        self,
        *,
        heads: int,
        features: int,
        shared: bool = True,
        missing: str = "learned",
        initial_dot_weight: float = 1.0,
        initial_cross_weight: float = 1.0,
        average_momentum: float = 0.01,
    ) -> None:
        super().__init__()
        require_positive(heads=heads)
        if features < 0:
            raise ValueError(f"features is {features}; it must be at least 0.")
        if missing not in MISSING:
            raise ValueError(f"missing is {missing!r}; allowed are {', '.join(MISSING)}.")
        self.heads, self.features, self.shared, self.missing = heads, features, shared, missing
        self.average_momentum = average_momentum
        rows = 1 if shared else heads
        self.dot_weight = PositiveWeight(size=rows, initial=initial_dot_weight)
        self.cross_weight = nn.Parameter(torch.full((rows, features), float(initial_cross_weight)))
        self.bias = nn.Parameter(torch.zeros(rows))
        if missing == "learned":
            self.default = nn.Parameter(torch.zeros(features))
            self.flag_weight = nn.Parameter(torch.zeros(rows, features))
        if missing == "average":
            self.register_buffer("running_sum", torch.zeros(features))
            self.register_buffer("running_weight", torch.zeros(()))

    @classmethod
    def from_projection(
        cls, *, weight: Tensor, bias: Tensor, heads: int, missing: str = "learned"
    ) -> CrossInteraction:
        """Load an affine projection of [cross features, dot].

        Args:
            weight: [rows, F + 1], the dot product's weight last; rows is 1 (shared) or H.
            bias: [rows].
            heads: H.
            missing: as in the constructor.

        Returns:
            A layer that computes the same scores.

        Raises:
            ValueError: a weight of the dot product is not positive, or rows is neither 1 nor H.

        Example::

            >>> weight, bias = torch.tensor([[0.5, 2.0]]), torch.tensor([0.1])
            >>> CrossInteraction.from_projection(weight=weight, bias=bias, heads=3).features
            1
        """
        rows, columns = weight.shape
        if rows not in (1, heads):
            raise ValueError(
                f"the projection has {rows} rows; it must have 1 (shared) or {heads} (one per head)."
            )
        if not bool((weight[:, -1] > 0).all()):
            raise ValueError(
                f"the weight of the dot product is {weight[:, -1].tolist()}; it must be positive, or scores "
                f"would fall as the dot product rises. Train with CrossInteraction, or flip a tower's sign."
            )
        layer = cls(heads=heads, features=columns - 1, shared=rows == 1 and heads > 1, missing=missing)
        with torch.no_grad():
            layer.dot_weight.log_weight.copy_(weight[:, -1].log())
            layer.cross_weight.copy_(weight[:, :-1])
            layer.bias.copy_(bias)
        return layer

    def forward(self, dots: Tensor, cross: Tensor, missing: Tensor | None = None) -> Tensor:
        """Score candidates.

        Args:
            dots: [C, H] dot products.
            cross: [C, F] cross features; not changed.
            missing: [C, F] bool, True where a feature is unknown; None if none is, except that
                ``missing="average"`` then takes every exact 0 for unknown, as the reference does.

        Returns:
            [C, H] logits, strictly rising in ``dots`` at equal history; float32 (float64 with
            float64 weights).
        """
        require_width(self, dots, self.heads, what="dots")
        require_width(self, cross, self.features, what="cross")
        dtype = wide(self.bias.dtype)
        dots, cross = dots.to(dtype), cross.to(dtype)
        scores = self.dot_weight() * dots + self.bias
        if missing is None and self.missing == "average":
            missing = cross == 0
        if missing is not None:
            cross = torch.where(missing, self._stand_in(cross, missing), cross)
        with torch.autocast(cross.device.type, enabled=False):  # history of 1e-4 next to 1 needs float32
            scores = scores + cross @ self.cross_weight.t()
            if missing is not None and self.missing == "learned":
                scores = scores + missing.to(dtype) @ self.flag_weight.t()
        return scores

    def contributions(self, cross: Tensor, missing: Tensor | None = None) -> Tensor:
        """Return what each feature adds to the scores: their sum over features, w dot and c make a score.

        Args:
            cross: [C, F] cross features; not changed.
            missing: [C, F] bool, as in :meth:`forward`.

        Returns:
            [C, H, F].
        """
        dtype = wide(self.bias.dtype)
        cross = cross.to(dtype)
        if missing is None and self.missing == "average":
            missing = cross == 0
        if missing is not None:
            cross = torch.where(missing, self._stand_in(cross, missing), cross)
        parts = cross.unsqueeze(-2) * self.cross_weight
        if missing is not None and self.missing == "learned":
            parts = parts + missing.to(dtype).unsqueeze(-2) * self.flag_weight
        return parts.expand(*parts.shape[:-2], self.heads, -1)

    def projection(self) -> tuple[Tensor, Tensor]:
        """Return ([H, F + 1] weights with the dot product's last, [H] bias), for a serving engine."""
        weight = torch.cat([self.cross_weight, self.dot_weight().unsqueeze(-1)], dim=-1)
        return weight.expand(self.heads, -1), self.bias.expand(self.heads)

    def _stand_in(self, cross: Tensor, missing: Tensor) -> Tensor:
        if self.missing == "zero":
            return torch.zeros_like(cross)
        if self.missing == "learned":
            return self.default
        if not self.training:
            return self.running_sum / self.running_weight.clamp_min(torch.finfo(self.running_sum.dtype).tiny)
        mean = torch.where(missing, 0, cross).sum(0) / max(cross.shape[0], 1)
        with torch.no_grad():  # a running mean of the batches seen so far, unbiased from the first one on
            momentum = self.average_momentum if cross.shape[0] else 0.0
            self.running_sum.lerp_(mean, momentum)
            self.running_weight.lerp_(torch.ones_like(self.running_weight), momentum)
        return mean

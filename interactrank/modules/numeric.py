"""Numeric features: raw, logarithmic or standardised, mixed as learned.

Shapes: N rows, F features, K features kept.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from interactrank.core.constant_numbers import is_constant
from interactrank.modules.batch_norm import WeightedBatchNorm
from interactrank.modules.checks import require_width
from interactrank.modules.precision import wide

INNER = ("none", "batch", "layer")
OUTER = ("row", "batch")


@dataclass(frozen=True, kw_only=True)
class NumericStats:
    """Statistics of a feature over the training data."""

    minimum: float
    maximum: float
    mean: float
    std: float


class NumericNorm(nn.Module):
    """Norm that brings numbers of any range into the range of a network.

    With x clipped to [min, max] and range = max - min, a feature has three forms:

    - raw: x;
    - log: where range > 2, ln(1 + x - min), over ln(1 + range) if ``scale_log``; else x - min;
    - standardised: (x - mean) / std.

    With ``mixture`` the result is their weighted sum, with weights softmax_j(E_f . W_j) learned per feature;
    else the log form alone. NaN counts as the mean (or ``nan_fill``) in every form. A feature that is
    constant in the training data is dropped (:func:`~interactrank.core.constant_numbers.is_constant`).

    Args:
        stats: feature -> its statistics; the order is that of the input's columns.
        mixture: mix the three forms.
        scale_log: divide the log form by its largest value.
        inner: norm of the log form: ``"none"``, ``"batch"`` (:class:`WeightedBatchNorm`) or ``"layer"``.
        outer: of the mixture: ``"row"``: the raw form is divided by its largest absolute value, so that all
            forms are of order 1, and a learned gain and bias follow; ``"batch"``: raw form as it is, and
            :class:`WeightedBatchNorm`, as in the reference.
        nan_fill: value of NaN; None for the feature's mean.
        mixture_dim: columns of E and W.

    Raises:
        ValueError: an unknown choice, or statistics that cannot be.

    Example::

        >>> import torch
        >>> stats = {"clicks": NumericStats(minimum=0.0, maximum=100.0, mean=20.0, std=10.0)}
        >>> norm = NumericNorm(stats=stats, mixture=False)
        >>> norm(torch.tensor([[0.0], [1000.0], [float("nan")]])).round(decimals=3).flatten().tolist()
        [0.0, 1.0, 0.6600000262260437]
    """

    minimum: Tensor
    maximum: Tensor
    mean: Tensor
    std: Tensor
    fill: Tensor
    keep: Tensor

    def __init__(
        self,
        *,
        stats: Mapping[str, NumericStats],
        mixture: bool = True,
        scale_log: bool = True,
        inner: str = "none",
        outer: str = "row",
        nan_fill: float | None = None,
        mixture_dim: int = 8,
    ) -> None:
        super().__init__()
        _check(stats, inner, outer)
        self.features = list(stats)
        places = [
            i
            for i, s in enumerate(stats.values())
            if not is_constant(minimum=s.minimum, maximum=s.maximum, std=s.std)
        ]
        self.kept = [self.features[i] for i in places]
        self.in_dim, self.out_dim = len(stats), len(places)
        self.mixture, self.scale_log, self.outer = mixture, scale_log, outer
        self.register_buffer("keep", torch.tensor(places, dtype=torch.int64), persistent=False)
        # In the checkpoint: a model without the statistics it was trained with computes something else.
        for name in ("minimum", "maximum", "mean", "std"):
            values = [getattr(stats[f], name) for f in self.kept]
            self.register_buffer(name, torch.tensor(values))
        fill = self.mean.clone() if nan_fill is None else torch.full_like(self.mean, nan_fill)
        self.register_buffer("fill", fill)
        self.inner: nn.Module = nn.Identity()
        if self.kept and inner == "layer":
            self.inner = nn.LayerNorm(self.out_dim)
        if self.kept and inner == "batch":
            self.inner = WeightedBatchNorm(features=self.out_dim)
        if mixture:
            self.mixture_embedding = nn.Parameter(torch.empty(self.out_dim, mixture_dim))
            self.mixture_weight = nn.Parameter(torch.empty(3, mixture_dim))
            if self.kept:
                nn.init.xavier_normal_(self.mixture_embedding)
            nn.init.kaiming_uniform_(self.mixture_weight, a=math.sqrt(5))
            if outer == "batch" and self.kept:
                self.outer_norm = WeightedBatchNorm(features=self.out_dim)
            else:
                self.gain = nn.Parameter(torch.ones(self.out_dim))
                self.bias = nn.Parameter(torch.zeros(self.out_dim))

    def forward(self, x: Tensor, row_weights: Tensor | None = None) -> Tensor:
        """Normalise.

        Args:
            x: [N, F], any numeric type; not changed.
            row_weights: [N], for batch norms: how many candidates a row stands for.

        Returns:
            [N, K], float32 (float64 with float64 weights), features in order, without the constant ones.
        """
        require_width(self, x, self.in_dim)
        x = x.to(wide(self.minimum.dtype)).index_select(-1, self.keep)
        x = torch.where(x.isnan(), self.fill, x)
        raw = clip(x, self.minimum, self.maximum)
        log = self._normed(self._log(raw), self.inner, row_weights)
        if not self.mixture:
            return log
        standard = (raw - self.mean) / self.std
        if self.outer == "row":
            raw = raw / torch.maximum(self.minimum.abs(), self.maximum.abs())  # 0 would be constant
        share = torch.softmax(self.mixture_embedding @ self.mixture_weight.t(), dim=-1)  # [K, 3]
        mixed = share[:, 0] * raw + share[:, 1] * log + share[:, 2] * standard
        if self.outer == "batch" and self.kept:
            return self._normed(mixed, self.outer_norm, row_weights)
        return mixed * self.gain + self.bias

    def _log(self, raw: Tensor) -> Tensor:
        span = self.maximum - self.minimum
        shifted = raw - self.minimum
        log = torch.log1p(shifted)
        if self.scale_log:
            log = log / torch.log1p(span).clamp_min(1e-6)
        return torch.where(span > 2.0, log, shifted)

    @staticmethod
    def _normed(x: Tensor, norm: nn.Module, row_weights: Tensor | None) -> Tensor:
        return norm(x, row_weights) if isinstance(norm, WeightedBatchNorm) else norm(x)


def clip(x: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """Clip to [low, high], with gradient 1 on the bounds, too, and 0 outside.

    ``torch.clamp`` has the same values, but its gradient on a bound is 1 up to torch 2.13 and 1/2 from 2.14
    on. Counts lie on their lower bound (0) all the time, so models would train otherwise from then on.

    Args:
        x: [..., F].
        low, high: [F]; no gradient flows to them.

    Returns:
        [..., F].

    Example::

        >>> x = torch.tensor([-1.0, 0.0, 1.0, 2.0, 3.0], requires_grad=True)
        >>> clip(x, torch.tensor(0.0), torch.tensor(2.0)).sum().backward()
        >>> x.grad.tolist()
        [0.0, 1.0, 1.0, 1.0, 0.0]
    """
    return torch.where((x >= low) & (x <= high), x, torch.clamp(x.detach(), low, high))


def _check(stats: Mapping[str, NumericStats], inner: str, outer: str) -> None:
    if inner not in INNER:
        raise ValueError(f"inner is {inner!r}; allowed are {', '.join(INNER)}.")
    if outer not in OUTER:
        raise ValueError(f"outer is {outer!r}; allowed are {', '.join(OUTER)}.")
    for name, s in stats.items():
        if not all(map(math.isfinite, (s.minimum, s.maximum, s.mean, s.std))):
            raise ValueError(f"statistics of {name!r} are not finite: {s}.")
        if s.minimum > s.maximum or s.std < 0:
            raise ValueError(f"statistics of {name!r} cannot be: {s}; need minimum <= maximum and std >= 0.")

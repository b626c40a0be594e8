"""Losses of one label each, on logits.

Shapes: C candidates, H heads.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from interactrank.modules.precision import wide


def weighted_bce(logits: Tensor, labels: Tensor, weights: Tensor | None = None) -> Tensor:
    """Return the binary cross-entropy of each element, times its weight.

    Args:
        logits: any shape.
        labels: the same shape, in [0, 1].
        weights: broadcastable to the same shape; None for 1.

    Returns:
        The shape of the logits, not reduced; float64 for float64 logits, else float32.

    Example::

        >>> weighted_bce(torch.tensor([0.0]), torch.tensor([1.0]), torch.tensor([2.0])).tolist()
        [1.3862943649291992]
    """
    dtype = wide(logits.dtype)
    loss = F.binary_cross_entropy_with_logits(logits.to(dtype), labels.to(dtype), reduction="none")
    return loss if weights is None else loss * weights


def binary_focal_loss(
    logits: Tensor, labels: Tensor, weights: Tensor | None = None, *, gamma: float = 2.0
) -> Tensor:
    """Return the focal loss of each element: l (1 - e^-l)^gamma, l the cross-entropy.

    Lin et al., arXiv 1708.02002, equation 4 (no alpha balancing). The factor is differentiated, too.

    Args:
        logits: any shape.
        labels: the same shape, in [0, 1].
        weights: broadcastable to the same shape; None for 1.
        gamma: how strongly easy elements are damped; 0 gives :func:`weighted_bce`.

    Returns:
        The shape of the logits, not reduced; float64 for float64 logits, else float32.

    Example::

        >>> binary_focal_loss(torch.tensor([0.0]), torch.tensor([1.0])).tolist()  # ln 2 * (1 - 1/2)^2
        [0.1732867956161499]
    """
    loss = weighted_bce(logits, labels)
    loss = loss * torch.pow(-torch.expm1(-loss), gamma)
    return loss if weights is None else loss * weights

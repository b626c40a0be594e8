"""The learned temperature of a softmax over dot products."""

import math

import torch
from torch import Tensor, nn


class Temperature(nn.Module):
    """A factor on the logits, e^t = 1 / temperature, with bounds on both sides.

    CLIP, arXiv 2103.00020, section 2.5. Outside its bounds a scale either blows up the gradient or flattens
    the softmax. While training the parameter itself is clamped: a clamped value would give it no gradient
    outside of the bounds.

    Args:
        initial: starting temperature.
        lowest: lower bound of the temperature.
        highest: upper bound.
        learned: whether the temperature is a parameter.

    Raises:
        ValueError: the bounds are not 0 < lowest <= initial <= highest.

    Example::

        >>> round(Temperature(initial=0.05)().item(), 4)
        20.0
    """

    log_scale: Tensor

    def __init__(
        self, *, initial: float = 1.0, lowest: float = 0.01, highest: float = 100.0, learned: bool = True
    ) -> None:
        super().__init__()
        if not 0 < lowest <= initial <= highest:
            raise ValueError(
                f"temperature: need 0 < lowest <= initial <= highest, not {lowest}, {initial}, {highest}."
            )
        self.low, self.high = -math.log(highest), -math.log(lowest)
        log_scale = torch.tensor(-math.log(initial))
        if learned:
            self.log_scale = nn.Parameter(log_scale)
        else:
            self.register_buffer("log_scale", log_scale)

    def forward(self) -> Tensor:
        """Return the scalar factor for the logits."""
        if self.training and isinstance(self.log_scale, nn.Parameter):
            with torch.no_grad():
                self.log_scale.clamp_(self.low, self.high)
            return self.log_scale.exp()
        return self.log_scale.clamp(self.low, self.high).exp()

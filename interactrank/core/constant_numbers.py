"""Which numbers are constant: one rule for ``prepare``, which says so, and the model, which drops them."""

from __future__ import annotations

__all__ = ["is_constant"]

TOLERANCE = 1e-6
"""Of the largest absolute value: float32, in which numbers are stored, has some 10 steps within it."""

SMALLEST = 2.0**-126
"""The smallest number that float32 holds in full precision; a smaller standard deviation would become 0."""


def is_constant(*, minimum: float, maximum: float, std: float) -> bool:
    """Return whether numbers with these statistics are all alike, as far as float32 can tell.

    The standard deviation is compared with the size of the numbers themselves: those that are small by
    nature, such as rates of millionths, are not constant.

    Args:
        minimum, maximum: smallest and largest value.
        std: standard deviation; 0 of fewer than two values.

    Example::

        >>> is_constant(minimum=1e-9, maximum=3e-9, std=1e-9)
        False
        >>> is_constant(minimum=5.0, maximum=5.0, std=0.0), is_constant(minimum=0.0, maximum=0.0, std=0.0)
        (True, True)
    """
    return std <= max(TOLERANCE * max(abs(minimum), abs(maximum)), SMALLEST)

"""Many tests at once: p-values such that the chance of any false alarm among them stays below the level.

Holm, A simple sequentially rejective multiple test procedure, Scandinavian Journal of Statistics 6, 1979. It
holds whatever the tests have to do with each other.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

__all__ = ["holm"]


def holm(p_values: Sequence[float]) -> list[float]:
    """Return Holm's adjusted p-values.

    The smallest of n is multiplied by n, the next one by n - 1, and so on; none is below one before it, none
    above 1.

    Args:
        p_values: of n tests, each in 0..1; NaN where a test could not be made, which then does not count.

    Returns:
        The adjusted p-values in the same order, NaN where they were.

    Raises:
        ValueError: a value outside 0..1.

    Example::

        >>> holm([0.01, 0.04, 0.03])
        [0.03, 0.06, 0.06]
    """
    for p in p_values:
        if not (math.isnan(p) or 0 <= p <= 1):
            raise ValueError(f"{p} is not a p-value; each must be in 0..1")
    order = sorted((i for i, p in enumerate(p_values) if not math.isnan(p)), key=lambda i: p_values[i])
    adjusted = [math.nan] * len(p_values)
    highest = 0.0
    for rank, i in enumerate(order):
        highest = max(highest, min(1.0, (len(order) - rank) * p_values[i]))
        adjusted[i] = highest
    return adjusted

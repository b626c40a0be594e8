"""The precision that a module computes in."""

import torch


def wide(dtype: torch.dtype) -> torch.dtype:
    """Return the floating type to compute in: float64 stays, all others (integers, too) become float32.

    Scores, norms and losses lose what decides a ranking in bfloat16. A module with weights computes in
    ``wide`` of their type, a function in ``wide`` of its inputs' type.

    Example::

        >>> wide(torch.bfloat16), wide(torch.int64), wide(torch.float64)
        (torch.float32, torch.float32, torch.float64)
    """
    return torch.float64 if dtype == torch.float64 else torch.float32

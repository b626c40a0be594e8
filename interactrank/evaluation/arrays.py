"""Checked conversion of what callers hand in (torch tensors, numpy arrays, lists) to numpy arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

__all__ = ["as_array", "as_floats", "as_integers", "request_index"]

Array = ArrayLike | torch.Tensor


def as_array(values: Array, name: str) -> NDArray[Any]:
    """Return a one-dimensional numpy view or copy of ``values``.

    Args:
        values: [N] tensor on any device, array or list. bfloat16 is widened to float32.
        name: what to call it in an error.

    Returns:
        [N] array.

    Raises:
        ValueError: ``values`` is not one-dimensional.

    Example::

        >>> as_array(torch.tensor([1.0, 2.0]), "scores")
        array([1., 2.], dtype=float32)
    """
    if isinstance(values, torch.Tensor):
        values = values.detach()
        array = (values.float() if values.dtype == torch.bfloat16 else values).cpu().numpy()
    else:
        array = np.asarray(values)
    if array.ndim != 1:
        raise ValueError(f"{name} has shape {list(array.shape)}; one dimension is needed: flatten it first")
    return array


def as_floats(
    values: Array, name: str, *, finite: bool = False, minimum: float | None = None
) -> NDArray[Any]:
    """Return a float array without NaN.

    Args:
        values: [N] numbers.
        name: what to call it in an error.
        finite: also refuse infinities.
        minimum: the smallest value allowed.

    Returns:
        [N] floating array (float32 and float64 stay as they are, everything else becomes float64).

    Raises:
        ValueError: a NaN, an infinity where ``finite``, or a value below ``minimum``, with its position.

    Example::

        >>> as_floats([0.5, float("nan")], "scores")
        Traceback (most recent call last):
            ...
        ValueError: scores[1] is nan; NaN is not allowed: find out where the model made it
    """
    array = as_array(values, name)
    if array.dtype not in (np.float32, np.float64):
        array = array.astype(np.float64)
    bad = np.isnan(array)
    if bad.any():
        raise ValueError(
            f"{name}[{bad.argmax()}] is nan; NaN is not allowed: find out where the model made it"
        )
    bad = np.isinf(array) if finite else bad
    if bad.any():
        raise ValueError(f"{name}[{bad.argmax()}] is {array[bad.argmax()]}; only finite numbers are allowed")
    if minimum is not None and (array < minimum).any():
        at = (array < minimum).argmax()
        raise ValueError(f"{name}[{at}] is {array[at]}; at least {minimum} is allowed")
    return array


def as_integers(values: Array, name: str, *, minimum: int = 0, below: int | None = None) -> NDArray[np.int64]:
    """Return an int64 array within a range.

    Args:
        values: [N] integers.
        name: what to call it in an error.
        minimum: the smallest value allowed.
        below: every value must be under this one.

    Returns:
        [N] int64.

    Raises:
        ValueError: a value out of range, with its position.
        TypeError: ``values`` holds something else than integers.

    Example::

        >>> as_integers([0, 7], "item", below=5)
        Traceback (most recent call last):
            ...
        ValueError: item[1] is 7; allowed are 0..4
    """
    array = as_array(values, name)
    if array.size == 0:
        return array.astype(np.int64)
    if not np.issubdtype(array.dtype, np.integer):
        raise TypeError(f"{name} has dtype {array.dtype}; integers are needed")
    bad = (array < minimum) | (array >= below if below is not None else False)
    if bad.any():
        top = "" if below is None else below - 1
        raise ValueError(f"{name}[{bad.argmax()}] is {array[bad.argmax()]}; allowed are {minimum}..{top}")
    return array.astype(np.int64)


def request_index(candidate_lengths: Array, num_candidates: int, name: str = "scores") -> NDArray[np.int64]:
    """Return the request of every candidate.

    Args:
        candidate_lengths: [R] candidates of each request, 0 allowed.
        num_candidates: C, which the lengths must sum to.
        name: what has C entries, for the error.

    Returns:
        [C] int64, non-decreasing.

    Raises:
        ValueError: the lengths do not sum to C.

    Example::

        >>> request_index([2, 0, 1], 3)
        array([0, 0, 2])
    """
    lengths = as_integers(candidate_lengths, "candidate_lengths")
    if lengths.sum() != num_candidates:
        raise ValueError(
            f"candidate_lengths sum to {lengths.sum()} but {name} has {num_candidates} entries; "
            "pass one length per request, in the order of the candidates"
        )
    return np.repeat(np.arange(len(lengths)), lengths)

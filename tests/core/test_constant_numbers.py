"""Numbers are constant by their own size, whatever their unit."""

from __future__ import annotations

import numpy as np
import pytest

from interactrank.core.constant_numbers import is_constant

SCALES = [10.0**n for n in range(-12, 13, 3)]


def constant(values: np.ndarray) -> bool:
    stored = np.asarray(values, np.float32).astype(np.float64)
    return is_constant(minimum=stored.min(), maximum=stored.max(), std=stored.std(ddof=1))


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("sign", [1, -1])
def test_is_constant__no_unit_decides(scale: float, sign: int) -> None:
    assert not constant(sign * scale * np.array([1.0, 2.0, 5.0]))
    assert constant(sign * scale * np.full(1000, 0.1))
    # One request in a thousand has another value: std = 1 / sqrt(1000) of it.
    assert not constant(scale * np.r_[np.zeros(999), 1.0])


def test_is_constant__what_float32_cannot_tell_apart() -> None:
    # Next to 1, float32 has steps of 1.2e-7.
    assert constant(np.array([1.0, 1.0 + 1.2e-7]))
    assert not constant(np.array([1.0, 1.00001]))
    assert is_constant(minimum=0.0, maximum=1e-45, std=1e-45)


def test_is_constant__one_value_or_none() -> None:
    assert is_constant(minimum=7.0, maximum=7.0, std=0.0)
    assert is_constant(minimum=0.0, maximum=0.0, std=0.0)

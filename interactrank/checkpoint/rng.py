"""The random state of a process as tensors: torch's on CPU and GPU, NumPy's global one and Python's."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch
from torch import Tensor

__all__ = ["random_state", "seed_everything", "set_random_state"]


def random_state() -> dict[str, Tensor]:
    """Return the present state, by generator.

    Example::

        >>> before = random_state()
        >>> drawn = torch.rand(()), np.random.rand(), random.random()
        >>> set_random_state(before)
        >>> drawn == (torch.rand(()), np.random.rand(), random.random())
        True
    """
    # NPY002: the global generator is what user code may draw from; a new Generator would not be it.
    legacy: dict[str, Any] = np.random.get_state(legacy=False)  # noqa: NPY002
    _, words, spare = random.getstate()
    state = {
        "cpu": torch.get_rng_state(),
        "numpy": torch.from_numpy(legacy["state"]["key"].astype(np.int64)),
        "numpy_rest": torch.tensor(
            [legacy["state"]["pos"], legacy["has_gauss"], legacy["gauss"]], dtype=torch.float64
        ),
        "python": torch.tensor(words, dtype=torch.int64),
        "python_rest": torch.tensor(float("nan") if spare is None else spare, dtype=torch.float64),
    }
    if torch.cuda.is_initialized():
        state["cuda"] = torch.cuda.get_rng_state()
    return state


def set_random_state(state: dict[str, Tensor]) -> None:
    """Restore a state that :func:`random_state` gave."""
    position, has_gauss, gauss = state["numpy_rest"].tolist()
    keys = state["numpy"].numpy().astype(np.uint32)
    # NPY002: the global generator again, as in `random_state` and `seed_everything`.
    np.random.set_state(("MT19937", keys, int(position), int(has_gauss), gauss))  # noqa: NPY002
    spare = float(state["python_rest"])
    words = tuple(state["python"].tolist())
    random.setstate((3, words, None if np.isnan(spare) else spare))
    torch.set_rng_state(state["cpu"])
    if "cuda" in state:
        torch.cuda.set_rng_state(state["cuda"])


def seed_everything(seed: int, rank: int, step: int = 0) -> None:
    """Seed the generators of a rank, each rank differently, so that dropout differs between them.

    Args:
        seed: of the run.
        rank: of this process.
        step: steps done, so that a run resumed on other ranks does not draw the same numbers again.
    """
    mixed = (seed * 1_000_003 + rank) + step * 15_485_863
    torch.manual_seed(mixed)
    np.random.seed(mixed % 2**32)  # noqa: NPY002
    random.seed(mixed)

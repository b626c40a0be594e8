"""The k best, against a sort of all."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from interactrank.serving.selection import slow_top_k, top_k

Select = Callable[[torch.Tensor, int], torch.Tensor]
SCORES = st.lists(st.sampled_from([0.0, -1.0, 1.0, 0.5, 2.5, float("-inf")]), max_size=30)


@pytest.mark.parametrize("select", [top_k, slow_top_k])
@settings(deadline=None)  # the kernel may be built first
@given(SCORES, st.integers(0, 35))
def test_top_k__is_the_head_of_a_stable_sort(select: Select, values: list[float], k: int) -> None:
    ranked = sorted((i for i, v in enumerate(values) if v > float("-inf")), key=lambda i: (-values[i], i))
    assert select(torch.tensor(values), k).tolist() == ranked[:k]


def test_top_k__of_many_scores_with_ties() -> None:
    torch.manual_seed(0)
    scores = torch.randint(0, 500, (20_000,)).float()
    for k in (1, 7, 1000, 20_000):
        assert torch.equal(top_k(scores, k), slow_top_k(scores, k))

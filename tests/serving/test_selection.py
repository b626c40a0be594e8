"""The k best, against a sort of all."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from interactrank.serving.selection import top_k

SCORES = st.lists(st.sampled_from([0.0, -1.0, 1.0, 0.5, 2.5, float("-inf")]), max_size=30)


@given(SCORES, st.integers(0, 35))
def test_top_k__is_the_head_of_a_stable_sort(values: list[float], k: int) -> None:
    ranked = sorted((i for i, v in enumerate(values) if v > float("-inf")), key=lambda i: (-values[i], i))
    assert top_k(torch.tensor(values), k).tolist() == ranked[:k]

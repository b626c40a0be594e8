from collections import Counter

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from interactrank.modules import CountMinSketch

any_id = st.integers(-(2**63), 2**63 - 1)


@settings(deadline=None, max_examples=40)
@given(stream=st.lists(any_id, max_size=60), width=st.integers(1, 50), depth=st.integers(1, 3))
def test_never_below_the_truth_and_total_exact(stream, width, depth):
    sketch = CountMinSketch(width=width, depth=depth)
    sketch.update(torch.tensor(stream, dtype=torch.int64))
    truth = Counter(stream)
    counts = sketch(torch.tensor(list(truth), dtype=torch.int64))
    assert all(c >= t for c, t in zip(counts.tolist(), truth.values(), strict=True))
    assert sketch.total.item() == len(stream)


def test_ids_spread_over_the_cells():
    sketch = CountMinSketch(width=1000, depth=2)
    for ids in (torch.arange(100_000), torch.arange(100_000) * 2**32, -torch.arange(100_000) * 1000):
        for row in sketch.cells(ids):
            counts = row.bincount(minlength=1000)
            assert counts.min() > 50  # mean 100, standard deviation 10
            assert counts.max() < 150
    first, second = sketch.cells(torch.arange(100_000))
    assert (first == second).float().mean() < 0.002  # rows are independent: 1 in 1000 agree


def test_increments():
    sketch = CountMinSketch(width=64)
    sketch.update(torch.tensor([1, 1, 2]), torch.tensor([3, 4, 0]))
    sketch.update(torch.tensor([2]))
    assert sketch(torch.tensor([1, 2])).tolist() == [7, 1]
    assert sketch.total.item() == 8


def test_the_state_travels():
    sketch, twin = CountMinSketch(width=64, seed=1), CountMinSketch(width=64, seed=2)
    sketch.update(torch.tensor([5]))
    twin.load_state_dict(sketch.state_dict())  # the hash functions are part of it
    assert twin(torch.tensor([5])).tolist() == [1]


def test_the_default_is_small():
    assert sum(b.numel() * b.element_size() for b in CountMinSketch().buffers()) < 3 * 2**20
    with pytest.raises(ValueError, match="depth is 0"):
        CountMinSketch(depth=0)

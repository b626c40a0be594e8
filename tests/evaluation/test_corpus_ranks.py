"""The compiled count of what scores at least as much, next to PyTorch's: ties, infinities, excluded items."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from interactrank.evaluation import corpus_ranks as module


@pytest.mark.skipif(module._library() is None, reason="needs g++")
@pytest.mark.parametrize("share", [0.0, 0.3])
def test_the_compiled_count_is_that_of_pytorch(share: float) -> None:
    random = np.random.default_rng(0)
    scores = torch.from_numpy(random.integers(0, 9, (6, 50)).astype(np.float32))
    scores[0, :5], scores[1, 3], scores[2] = -torch.inf, torch.inf, 1.0
    pairs = random.permutation(300)[:90]
    excluded = np.sort(np.setdiff1d(np.flatnonzero(random.random(300) < share), pairs))
    row, item = np.divmod(pairs, 50)
    found = module._count_at_least(scores, row, item, excluded)
    expected = module._slow_count_at_least(scores, row, item, excluded)
    np.testing.assert_array_equal(found, expected)
    by_hand = [
        sum(float(s) >= float(scores[r, i]) for n, s in enumerate(scores[r]) if r * 50 + n not in excluded)
        for r, i in zip(row, item, strict=True)
    ]
    assert found[0].tolist() == by_hand


def test_an_excluded_pair_counts_once() -> None:
    scores = torch.tensor([[0.9, 0.8, 0.1]])
    ranks = module.ranks_of_relevant(scores, ([0], [2]), excluded=([0, 0], [1, 1]))
    assert (ranks.rank.tolist(), ranks.candidates.tolist()) == ([2], [2])

import math

import pytest
import torch

from interactrank.modules.losses import CountMinSketch, LogQ, log_batch_probability


def test_chance_among_independent_draws():
    # c/N = 1/4, 2 draws: 1 - (3/4)^2 = 7/16. Never seen: the floor. Always: 1.
    out = log_batch_probability(torch.tensor([1, 0, 4]), torch.tensor(4), 2)
    torch.testing.assert_close(out, torch.tensor([math.log(7 / 16), math.log(1e-16), 0.0]))


def test_rare_items_keep_their_digits():
    out = log_batch_probability(torch.tensor([1]), torch.tensor(10**12), 1)
    assert out.item() == pytest.approx(math.log(1e-12), rel=1e-6)


def test_the_estimate_converges_to_the_share_of_batches():
    log_q = LogQ(sketch=CountMinSketch(width=256))
    present = {1: 1.0, 2: 0.5, 3: 0.1}
    generator = torch.Generator().manual_seed(0)
    ids = torch.tensor(list(present))
    for _ in range(2000):
        here = torch.rand(3, generator=generator) < torch.tensor(list(present.values()))
        log_q(ids, here)
    log_q.eval()
    chance = log_q(ids, torch.ones(3, dtype=torch.bool)).exp()
    torch.testing.assert_close(chance, torch.tensor(list(present.values())), atol=0.03, rtol=0)
    assert log_q.batches.item() == 2000  # evaluation does not count

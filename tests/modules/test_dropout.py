import pytest
import torch

from interactrank.modules.dropout import zero_random_entries


@pytest.mark.parametrize("rate", [0.005, 0.03, 0.2])
def test_share_of_zeros(rate):
    torch.manual_seed(0)
    zeros = (zero_random_entries(torch.ones(400, 500), rate) == 0).float().mean().item()
    assert zeros == pytest.approx(rate, rel=0.05)


def test_small_tensors_use_exact_dropout():
    torch.manual_seed(0)
    zeros = torch.stack([zero_random_entries(torch.ones(10), 0.01) == 0 for _ in range(4000)])
    assert zeros.float().mean().item() == pytest.approx(0.01, rel=0.2)
    torch.testing.assert_close(zero_random_entries(torch.ones(3), 0.0), torch.ones(3))

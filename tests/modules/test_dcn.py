import pytest
import torch

from interactrank.modules import DCNv2


def test_one_full_layer_by_hand():
    net = DCNv2(in_dim=2, layers=1)
    with torch.no_grad():
        net.net.kernels[0].copy_(torch.tensor([[0.0, 1.0], [1.0, 0.0]]))  # swaps the columns
        net.net.bias[0].fill_(0.5)
    # x0 * (W x0 + b) + x0 = (2, 3) * (3.5, 2.5) + (2, 3) = (9, 10.5)
    torch.testing.assert_close(net(torch.tensor([[2.0, 3.0]])), torch.tensor([[9.0, 10.5]]))


def test_low_rank_needs_fewer_weights():
    full, low = DCNv2(in_dim=50, layers=2), DCNv2(in_dim=50, layers=2, low_rank=3)
    assert sum(p.numel() for p in low.parameters()) < sum(p.numel() for p in full.parameters()) / 5
    assert low.in_dim == low.out_dim == 50


def test_errors_name_the_thing():
    with pytest.raises(ValueError, match="experts is 2, but only low-rank layers"):
        DCNv2(in_dim=4, experts=2)
    with pytest.raises(ValueError, match="low_rank is 0"):
        DCNv2(in_dim=4, low_rank=0)
    with pytest.raises(ValueError, match="DCNv2: input has shape"):
        DCNv2(in_dim=4)(torch.zeros(1, 3))

import pytest
import torch
import torch.nn.functional as F

from interactrank.modules import ParallelMaskNet


def block_by_block(net, x):
    """The definition, one block after the other."""
    out = []
    for k in range(net.blocks):
        rows = slice(k * net.rank, (k + 1) * net.rank)
        hidden = F.relu(x @ net.mask_in.weight[rows].t() + net.mask_in.bias[rows])
        mask = hidden @ net.mask_out_weight[k] + net.mask_out_bias[k]
        z = (mask * x) @ net.hidden_weight[k]
        normed = (z - z.mean(-1, keepdim=True)) / (z.var(-1, unbiased=False, keepdim=True) + 1e-5).sqrt()
        out.append(F.relu(normed * net.norm_weight[k] + net.norm_bias[k]))
    return torch.cat(out, -1)


def test_all_blocks_at_once_equal_one_after_the_other():
    net = ParallelMaskNet(in_dim=23, blocks=3, block_dim=7, mask_ratio=0.3)
    with torch.no_grad():
        net.norm_weight.uniform_(0.5, 2)
        net.norm_bias.uniform_(-1, 1)
    x = torch.randn(5, 23)
    torch.testing.assert_close(net(x), block_by_block(net, x))
    assert net.rank == 6  # int(23 * 0.3) = int(6.9)


def test_dropout_drops_its_share_and_keeps_the_mean():
    net = ParallelMaskNet(in_dim=8, blocks=2, block_dim=64, dropout=0.02)
    x = torch.randn(400, 8)
    whole = net.eval()(x)
    some = net.train()(x)
    dropped = ((some == 0) & (whole > 0)).sum() / (whole > 0).sum()
    assert 0.015 < dropped < 0.025
    kept = some > 0
    torch.testing.assert_close(some[kept], whole[kept] / 0.98)


def test_dropout_stops_the_gradient_of_what_it_dropped():
    net = ParallelMaskNet(in_dim=8, blocks=1, block_dim=64, dropout=0.02)
    out = net(torch.randn(400, 8))
    out.sum().backward()
    # d out / d bias is 1 / (1 - p) where an output is above 0, so the gradient counts them.
    torch.testing.assert_close(net.norm_bias.grad[0], (out > 0).sum(0) / 0.98)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"in_dim": 0}, "in_dim is 0"),
        ({"in_dim": 4, "blocks": 0}, "blocks is 0"),
        ({"in_dim": 4, "mask_ratio": 0.0}, "mask_ratio is 0.0"),
        ({"in_dim": 4, "dropout": 1.0}, "dropout is 1.0"),
    ],
)
def test_errors_name_the_thing(options, message):
    with pytest.raises(ValueError, match=message):
        ParallelMaskNet(**options)


def test_a_wrong_width_is_named():
    with pytest.raises(ValueError, match=r"ParallelMaskNet: input has shape \(2, 5\).*must be 4"):
        ParallelMaskNet(in_dim=4)(torch.zeros(2, 5))

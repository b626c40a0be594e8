import pytest
import torch

from interactrank.modules import MLP, LowRankLinear


def test_low_rank_by_hand():
    layer = LowRankLinear(in_dim=2, out_dim=2, rank=1)
    with torch.no_grad():
        layer.left.copy_(torch.tensor([[1.0], [2.0]]))
        layer.right.copy_(torch.tensor([[3.0, -1.0]]))
        layer.bias.copy_(torch.tensor([0.5, 0.0]))
    # x U = 1 + 4 = 5; times V = (15, -5); plus b
    torch.testing.assert_close(layer(torch.tensor([[1.0, 2.0]])), torch.tensor([[15.5, -5.0]]))


def test_relu_comes_before_the_norm_unless_norm_first():
    for norm_first, expected in ((False, [[1.0, -1.0]]), (True, [[1.0, 0.0]])):
        mlp = MLP(in_dim=2, hidden_dims=[2], out_dim=None, norm_first=norm_first)
        with torch.no_grad():
            mlp.hidden[0].linear.weight.copy_(torch.eye(2))
        # relu(4, -4) = (4, 0) -> norm (1, -1); or norm (1, -1) -> relu (1, 0)
        torch.testing.assert_close(
            mlp(torch.tensor([[4.0, -4.0]])), torch.tensor(expected), atol=1e-4, rtol=0
        )


def test_skip_widens_by_the_input():
    mlp = MLP(in_dim=3, hidden_dims=[4, 5], out_dim=2, skip=True)
    assert [layer.out_dim for layer in mlp.hidden] == [7, 12]
    assert mlp(torch.zeros(6, 3)).shape == (6, 2)


def test_a_batch_of_requests_can_be_split():
    mlp = MLP(in_dim=3, hidden_dims=[4], out_dim=2)
    x = torch.randn(6, 3)
    torch.testing.assert_close(torch.cat([mlp(x[:1]), mlp(x[1:])]), mlp(x))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"hidden_dims": [], "out_dim": None}, "without hidden_dims needs an out_dim"),
        ({"hidden_dims": [0], "out_dim": 1}, r"hidden_dims\[0\] is 0"),
        ({"hidden_dims": [3], "out_dim": 1, "low_ranks": []}, "low_ranks has 0 entries for 1 hidden"),
        ({"hidden_dims": [3], "out_dim": 1, "low_ranks": [0]}, "rank is 0"),
        ({"hidden_dims": [3], "out_dim": 1, "dropout": -0.1}, "dropout is -0.1"),
    ],
)
def test_errors_name_the_thing(options, message):
    with pytest.raises(ValueError, match=message):
        MLP(in_dim=2, **options)

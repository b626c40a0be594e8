import pytest
import torch

from interactrank.modules.losses import HeadWeighting, global_mean, mean_over_positive


def test_head_weights_are_normalised():
    losses = torch.tensor([[1.0, 2.0, 3.0], [3.0, 2.0, 5.0]])  # means 2, 2, 4
    weighting = HeadWeighting(weights=[20.0, 7.0, 20.0])
    torch.testing.assert_close(weighting(losses), torch.tensor((20 * 2 + 7 * 2 + 20 * 4) / 47))


def test_mean_over_positive_counts_per_head():
    losses = torch.tensor([[2.0, 0.0], [4.0, 0.0], [0.0, 0.0]])
    positive = torch.tensor([[True, False], [True, False], [False, False]])
    assert mean_over_positive(losses, positive).tolist() == [3.0, 0.0]


def test_no_row():
    assert global_mean(torch.zeros(0, 2)).tolist() == [0.0, 0.0]


@pytest.mark.parametrize("weights", [[], [1.0, -1.0], [0.0, 0.0]])
def test_impossible_weights(weights):
    with pytest.raises(ValueError, match="head weights are"):
        HeadWeighting(weights=weights)


def test_a_wrong_number_of_heads():
    with pytest.raises(ValueError, match="3 columns of losses for 2 head weights"):
        HeadWeighting(weights=[1.0, 1.0])(torch.zeros(1, 3))

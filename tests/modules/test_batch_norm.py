import pytest
import torch
from torch import nn

from interactrank.modules import WeightedBatchNorm


def test_weights_count_rows():
    # Rows with weights 1, 3, 2 must give what BatchNorm1d gives for the rows repeated so often.
    x, repeats = torch.randn(3, 4), torch.tensor([1, 3, 2])
    ours, theirs = WeightedBatchNorm(features=4), nn.BatchNorm1d(4)
    repeated = theirs(x.repeat_interleave(repeats, 0))
    torch.testing.assert_close(ours(x, repeats.float()).repeat_interleave(repeats, 0), repeated)
    torch.testing.assert_close(ours.running_mean, theirs.running_mean)
    torch.testing.assert_close(ours.running_var, theirs.running_var)
    ours.eval(), theirs.eval()
    torch.testing.assert_close(ours(x), theirs(x))


def test_a_single_row_and_no_row():
    norm = WeightedBatchNorm(features=2)
    assert norm(torch.tensor([[3.0, -1.0]])).tolist() == [[0.0, 0.0]]
    before = norm.running_mean.clone()
    assert norm(torch.zeros(0, 2)).shape == (0, 2)
    assert torch.equal(norm.running_mean, before)


def test_a_wrong_width_is_named():
    with pytest.raises(ValueError, match="WeightedBatchNorm: input has shape"):
        WeightedBatchNorm(features=2)(torch.zeros(1, 3))

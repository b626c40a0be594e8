from contextlib import nullcontext

import pytest
import torch
from torch import nn

from interactrank.core.step_sums import StepSums
from interactrank.modules import WeightedBatchNorm
from tests.ranks import run_ranks


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


ROWS = {"one": [[0.0, 1.0], [4.0, 3.0], [8.0, -1.0]], "two": [[20.0, 5.0]], "none": []}


def _normalise(rows: dict[int, str], later: bool) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    norm, sums = WeightedBatchNorm(features=2), StepSums(rank=torch.distributed.get_rank(), ranks=2)
    mine = torch.tensor(ROWS[rows[sums.rank]]).view(-1, 2)
    with sums.open() if later else nullcontext():
        out = norm(mine, torch.arange(1.0, 1 + len(mine)))
    if later:
        assert norm.running_mean.tolist() == [0.0, 0.0]  # until the message of the step arrives
        values = sums.take()
        torch.distributed.all_reduce(values)
        sums.give(values)
    return out.detach(), norm.running_mean, norm.running_var


@pytest.mark.slow
@pytest.mark.parametrize("rows", [{0: "one", 1: "two"}, {0: "one", 1: "none"}])
@pytest.mark.parametrize("later", [False, True])
def test_running_statistics_are_of_all_ranks(rows, later):
    """Those of the rows together on both ranks; each rank's rows are normalised by their own."""
    together, alone = WeightedBatchNorm(features=2), WeightedBatchNorm(features=2)
    every = [row for of in rows.values() for row in ROWS[of]]
    weights = [float(w) for of in rows.values() for w in range(1, 1 + len(ROWS[of]))]
    together(torch.tensor(every), torch.tensor(weights))
    found = run_ranks(2, _normalise, rows, later)
    for _, mean, var in found:
        torch.testing.assert_close(mean, together.running_mean)
        torch.testing.assert_close(var, together.running_var)
    torch.testing.assert_close(found[0][0], alone(torch.tensor(ROWS["one"]), torch.arange(1.0, 4.0)))

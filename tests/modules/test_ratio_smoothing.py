import math

import pytest
import torch

from interactrank.modules import RatioSmoothing


def test_by_hand():
    """Genre: 30 of 90, k 10, base .5: (30 + 5) / 100 = .35; item: 1 of 2: (1 + 3.5) / 12; query: none."""
    smooth = RatioSmoothing(wider=[2, 0, -1], bases=[0.5] * 3, prior_strength=10.0)  # item, query, genre
    out = smooth(torch.tensor([1.0, 0.0, 30.0]), torch.tensor([2.0, 0.0, 90.0]))
    assert out.exp().tolist() == pytest.approx([4.5 / 12, 4.5 / 12, 0.35])


def test_many_impressions_are_believed_few_are_not():
    smooth = RatioSmoothing(wider=[-1], bases=[0.1])
    few, many = smooth(torch.tensor([[1.0], [1e6]]), torch.tensor([[1.0], [2e6]])).exp().flatten().tolist()
    assert few == pytest.approx((1 + 10 * 0.1) / 11)
    assert many == pytest.approx(0.5, rel=1e-4)


def test_more_engagements_than_impressions_stay_finite():
    out = RatioSmoothing(wider=[-1], bases=[0.1])(torch.tensor([5.0]), torch.tensor([0.0]))
    assert out.item() == pytest.approx(math.log((5 + 1) / 10))


def test_strength_and_base_are_learned():
    smooth = RatioSmoothing(wider=[-1, 0], bases=[0.1, 0.1])
    smooth(torch.tensor([[1.0, 0.0]]), torch.tensor([[3.0, 1.0]]))[0, 1].backward()
    assert (smooth.log_strength.grad != 0).all()
    assert smooth.base_logit.grad[0] != 0
    assert smooth.base_logit.grad[1] == 0  # it has a wider one


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"wider": [1, 0], "bases": [0.1, 0.1]}, "back off to each other in a circle"),
        ({"wider": [0], "bases": [0.1]}, "back off to each other in a circle"),
        ({"wider": [], "bases": []}, "features is 0"),
        ({"wider": [-1], "bases": [0.1, 0.2]}, "bases has 2 numbers; it must have 1"),
        ({"wider": [-1], "bases": [1.0]}, "bases: 1.0 does not lie between 0 and 1"),
        ({"wider": [-1], "bases": [0.1], "prior_strength": 0.0}, "prior_strength is 0.0"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        RatioSmoothing(**arguments)


def test_wrong_width():
    with pytest.raises(ValueError, match="engaged"):
        RatioSmoothing(wider=[-1], bases=[0.1])(torch.zeros(2, 3), torch.zeros(2, 1))

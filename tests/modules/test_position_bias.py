import pytest
import torch

from interactrank.modules import PositionBias
from interactrank.modules.losses import ListwiseSoftmax


def test_by_hand():
    bias = PositionBias(positions=3)
    with torch.no_grad():
        bias.numbers.copy_(torch.tensor([3.0, -1.0, -2.0]))
    assert bias(torch.tensor([0, 1, 2, 3, 4, 100])).tolist() == [0, 3, -1, -2, -2, -2]
    assert bias.relative().tolist() == [0, -4, -5]


def test_it_recovers_the_bias_of_clicks():
    """One click a list of 5, in proportion to exp(attraction + log(position ** -1)), in random order.

    With the attraction known, the most likely biases are log(1 / position).
    """
    torch.manual_seed(0)
    lists, size = 4000, 5
    attraction = torch.randn(lists, size)
    true = -torch.log(torch.arange(1.0, size + 1))
    clicked = torch.multinomial((attraction + true).softmax(-1), 1)
    labels = torch.zeros(lists, size).scatter(1, clicked, 1).view(-1, 1)
    bias, loss = PositionBias(positions=size), ListwiseSoftmax()
    position = torch.arange(1, size + 1).repeat(lists)
    optimizer = torch.optim.LBFGS(bias.parameters(), max_iter=50, line_search_fn="strong_wolfe")

    def closure():
        optimizer.zero_grad()
        scores = (attraction.view(-1) + bias(position)).unsqueeze(-1)
        value = loss(scores, labels, torch.full((lists,), size)).mean()
        value.backward()
        return value

    optimizer.step(closure)
    torch.testing.assert_close(bias.relative(), true, rtol=0, atol=0.1)


def test_adam_finds_the_bias_of_rare_clicks_in_few_steps():
    """P(click) = sigmoid(attraction) / position, next to an intercept and a weight that are learned, too.

    With the first position as a fixed reference the slope of the line through the biases is 0.2 here: all
    others, and the intercept the other way, have to move together.
    """
    generator = torch.Generator().manual_seed(0)
    bias = PositionBias(positions=25)
    intercept, weight = (torch.tensor([start], requires_grad=True) for start in (-5.0, 0.3))
    optimizer = torch.optim.Adam([*bias.parameters(), intercept, weight], lr=0.02)
    position = torch.arange(1, 26).repeat(32)
    for _ in range(500):
        attraction = 2.5 * torch.randn(len(position), generator=generator) - 5
        clicked = torch.rand(len(position), generator=generator) < attraction.sigmoid() / position
        scores = intercept + weight * attraction + bias(position)
        loss = torch.nn.functional.binary_cross_entropy_with_logits(scores, clicked.float())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    true = -torch.log(torch.arange(1.0, 26))
    slope = float(bias.relative() @ true / (true @ true))
    assert 0.8 < slope < 1.3


def test_one_position_is_refused():
    with pytest.raises(ValueError, match="positions is 1; it must be at least 2"):
        PositionBias(positions=1)

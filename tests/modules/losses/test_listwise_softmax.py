import math

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from interactrank.modules import ListwiseSoftmax


def test_several_positives_share_the_target():
    # Scores ln 1, ln 2, ln 5 (softmax 1/8, 2/8, 5/8); positives 1 and 2 with weights 1 and 3.
    scores = torch.tensor([[1.0], [2.0], [5.0]]).log()
    loss = ListwiseSoftmax()(
        scores, torch.tensor([[1.0], [1.0], [0.0]]), torch.tensor([3]), weights=torch.tensor([1.0, 3.0, 9.0])
    )
    expected = (math.log(8) + 3 * math.log(4)) / 4
    torch.testing.assert_close(loss, torch.tensor([[expected]]))


def test_sampled_negatives_stand_for_as_many_as_they_are():
    # One positive (logged: 0) and one negative that was drawn with expected number 1/3: it stands for 3.
    scores, labels = torch.zeros(2, 1), torch.tensor([[1.0], [0.0]])
    loss = ListwiseSoftmax()(
        scores, labels, torch.tensor([2]), log_sampling=torch.tensor([0.0, -math.log(3)])
    )
    torch.testing.assert_close(loss, torch.tensor([[math.log(4)]]))


@settings(deadline=None, max_examples=40)
@given(lengths=st.lists(st.integers(0, 5), max_size=6), scale=st.sampled_from([1.0, 1e4]))
def test_equal_to_one_request_at_a_time(lengths, scale):
    total = sum(lengths)
    scores = (torch.randn(total, 2) * scale).requires_grad_()
    labels = (torch.rand(total, 2) > 0.6).float()
    loss = ListwiseSoftmax()(scores, labels, torch.tensor(lengths, dtype=torch.int64))
    for ours, s, y in zip(loss, scores.split(lengths), labels.split(lengths), strict=True):
        cost = -(y * s.log_softmax(0)).sum(0) / y.sum(0).clamp_min(1)
        torch.testing.assert_close(ours, cost, rtol=1e-4, atol=1e-4)
    loss.sum().backward()
    assert scores.grad.isfinite().all()


def test_a_constant_on_a_request_changes_nothing():
    scores, labels, lengths = (
        torch.randn(5, 1),
        torch.tensor([[1.0], [0], [0], [1], [0]]),
        torch.tensor([3, 2]),
    )
    shift = torch.tensor([[7.0], [7.0], [7.0], [-3.0], [-3.0]])
    loss = ListwiseSoftmax()
    torch.testing.assert_close(loss(scores + shift, labels, lengths), loss(scores, labels, lengths))

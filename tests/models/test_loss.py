"""The loss: what each part is, by hand, and what is reported."""

import math

import pytest
import torch
from torch import Tensor

from interactrank.models.loss import RankingLoss
from interactrank.models.settings import LossSettings


class Labelled:
    """What the loss reads of a batch. Two requests with two and three candidates of three items."""

    candidate_lengths = torch.tensor([2, 3])
    candidate_item = torch.tensor([0, 1, 0, 1, 2])
    item_index = torch.tensor([7, 8, 9])
    labels = torch.tensor([[1.0], [0.0], [0.0], [1.0], [0.0]])
    weights = torch.tensor([1.0, 1.0, 1.0, 2.0, 1.0])
    sampling_log_q = torch.zeros(5)


REQUEST = torch.tensor([0, 0, 1, 1, 1])
SCORES = torch.tensor([[1.0], [0.0], [0.5], [2.0], [-1.0]])
QUERY = torch.tensor([[[1.0, 0.0]], [[0.0, 1.0]]])
ITEM = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8]])


def loss(**settings: object) -> tuple[Tensor, dict[str, Tensor]]:
    parts = {"listwise_weight": 0, **settings}
    built = RankingLoss(head_weights=[3.0], settings=LossSettings.model_validate(parts))
    return built(Labelled, REQUEST, SCORES, QUERY, ITEM)  # type: ignore[arg-type]


def test_bce_by_hand():
    total, reported = loss(pointwise="bce", sampled_softmax_weight=0, pointwise_weight=0.5)
    # log(1 + e^-s) for a positive, log(1 + e^s) for a negative, times its weight; the mean over 5 candidates.
    each = [
        math.log1p(math.exp(-1)),
        math.log1p(1),
        math.log1p(math.exp(0.5)),
        2 * math.log1p(math.exp(-2)),
        math.log1p(math.exp(-1)),
    ]
    assert reported["loss/pointwise"].item() == pytest.approx(sum(each) / 5)
    assert total.item() == pytest.approx(0.5 * sum(each) / 5)
    assert set(reported) == {"scores", "labels", "loss/pointwise"}


def test_listwise_softmax_by_hand():
    total, _ = loss(pointwise_weight=0, sampled_softmax_weight=0, listwise_weight=1)
    first = -math.log(math.e / (math.e + 1))
    second = -math.log(math.exp(2) / (math.exp(0.5) + math.exp(2) + math.exp(-1)))
    # A weight is a positive's share within its own request; each request has one.
    assert total.item() == pytest.approx((first + second) / 2)


def test_in_batch_softmax_by_hand():
    total, _ = loss(pointwise_weight=0, sampled_softmax_weight=1, log_q=False)
    # Positives: item 0 of request 0, item 1 of request 1; all three items of the batch are negatives.
    first = -math.log(math.e / (math.e + 1 + math.exp(0.6)))
    second = -math.log(math.e / (1 + math.e + math.exp(0.8)))
    assert total.item() == pytest.approx((first + second) / 2)


def test_what_is_reported_carries_no_gradient_and_the_loss_does():
    scores = SCORES.clone().requires_grad_()
    built = RankingLoss(head_weights=[1.0], settings=LossSettings())
    total, reported = built(Labelled, REQUEST, scores, QUERY, ITEM)  # type: ignore[arg-type]
    assert total.requires_grad
    assert not any(v.requires_grad for v in reported.values())


def test_a_part_that_is_off_still_gives_the_scores_a_gradient():
    """Else distributed training would wait for the projection's gradient."""
    scores = SCORES.clone().requires_grad_()
    built = RankingLoss(
        head_weights=[1.0],
        settings=LossSettings(pointwise_weight=0, listwise_weight=0, sampled_softmax_weight=1),
    )
    built(Labelled, REQUEST, scores, QUERY, ITEM)[0].backward()  # type: ignore[arg-type]
    assert scores.grad is not None
    assert not scores.grad.any()

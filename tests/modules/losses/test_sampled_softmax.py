import math

import pytest
import torch

from interactrank.modules import LogQ, SampledSoftmax, Temperature
from interactrank.modules.losses import CountMinSketch
from interactrank.modules.losses.sampled_softmax import NEVER, _logsumexp


def make(**options):
    return SampledSoftmax(temperature=Temperature(learned=False), across_ranks=False, **options)


def slow(query, item, ids, request, candidate_item, labels, log_q=None):
    """One positive at a time, by the definition; items distinct."""
    out = torch.zeros_like(labels)
    q = torch.zeros(len(ids)) if log_q is None else log_q
    for c, h in labels.nonzero().tolist():
        r = request[c]
        engaged = {int(candidate_item[k]) for k in range(len(request)) if request[k] == r and labels[k].any()}
        logits = item @ query[r, h] - q
        keep = [int(candidate_item[c])] + [i for i in range(len(ids)) if i not in engaged]
        out[c, h] = -logits[keep].log_softmax(0)[0]
    return out


@pytest.fixture
def batch():
    torch.manual_seed(0)
    lengths = torch.tensor([3, 0, 4, 1])
    request = torch.repeat_interleave(torch.arange(4), lengths)
    labels = (torch.rand(8, 2) > 0.5).float()
    return torch.randn(4, 2, 3), torch.randn(6, 3), torch.arange(6) * 7, request, torch.arange(8) % 6, labels


def test_equal_to_one_positive_at_a_time(batch):
    torch.testing.assert_close(make()(*batch), slow(*batch))
    log_q = torch.randn(6)
    torch.testing.assert_close(make()(*batch, log_q=log_q), slow(*batch, log_q))


def test_by_hand_with_two_positives_of_one_request():
    # Items a, b, c with products 1, 2, 0. Positives a and b: neither is a negative of the other, only c is.
    query, item = torch.ones(1, 1, 1), torch.tensor([[1.0], [2.0], [0.0]])
    labels = torch.tensor([[1.0], [1.0], [0.0]])
    zero = torch.zeros(3, dtype=torch.int64)
    loss = make()(query, item, torch.arange(3), zero, torch.arange(3), labels)
    expected = [math.log(1 + math.exp(-1)), math.log(1 + math.exp(-2)), 0.0]
    torch.testing.assert_close(loss.flatten(), torch.tensor(expected))


def test_a_hopeless_positive_keeps_its_gradient():
    query = torch.tensor([[[1.0]]], requires_grad=True)
    item, one = torch.tensor([[-1000.0], [1000.0]]), torch.zeros(1, dtype=torch.int64)
    loss = make()(query, item, torch.arange(2), one, one, torch.ones(1, 1))
    loss.sum().backward()
    assert loss.item() == 2000.0
    assert query.grad.item() == 2000.0


def test_without_any_negative_the_loss_is_zero():
    query, item = torch.ones(1, 1, 1, requires_grad=True), torch.ones(1, 1)
    one = torch.zeros(1, dtype=torch.int64)
    loss = make()(query, item, one, one, one, torch.ones(1, 1))
    loss.sum().backward()
    assert (loss.item(), query.grad.item()) == (0.0, 0.0)


def test_duplicate_items_count_once(batch):
    query, item, ids, request, candidate_item, labels = batch
    twice = (query, torch.cat([item, item[2:4]]), torch.cat([ids, ids[2:4]]), request, candidate_item, labels)
    torch.testing.assert_close(make()(*twice), make()(*batch))


def test_permuting_candidates_permutes_losses(batch):
    query, item, ids, request, candidate_item, labels = batch
    order = torch.randperm(8)
    out = make()(query, item, ids, request[order], candidate_item[order], labels[order])
    torch.testing.assert_close(out, make()(*batch)[order])


def test_the_estimator_counts_while_training(batch):
    loss = make(log_q=LogQ(sketch=CountMinSketch(width=64)))
    torch.testing.assert_close(loss(*batch), slow(*batch))  # first batch: every chance is 1, logQ 0
    query, item, ids, request, candidate_item, labels = batch
    out = loss(query, item, ids + 7, request, candidate_item, labels)  # five items seen twice, one once
    log_q = torch.tensor([1.0, 1.0, 1.0, 1.0, 1.0, 0.5]).log()
    torch.testing.assert_close(out, slow(query, item, ids, request, candidate_item, labels, log_q))


def test_temperature_scales_the_logits(batch):
    hot = SampledSoftmax(temperature=Temperature(initial=0.5, learned=False), across_ranks=False)
    query, *rest = batch
    torch.testing.assert_close(hot(*batch), slow(query * 2, *rest))


def test_logsumexp_of_rows_with_absent_negatives():
    x = torch.randn(5, 7)
    x[0, 1:] = NEVER
    x[1] = NEVER
    x[2, 3] += 300  # everything else underflows
    x.requires_grad_()
    found, expected = _logsumexp(x), torch.logsumexp(x, -1)
    torch.testing.assert_close(found, expected)
    weight = torch.tensor([1.0, 0.0, 1.0, 1.0, 1.0])  # a row without negatives has a gradient of 0 above it
    found, expected = (torch.autograd.grad((y * weight).sum(), x)[0] for y in (found, expected))
    torch.testing.assert_close(found, expected)
    assert _logsumexp(torch.zeros(2, 3, 0)).tolist() == [[torch.tensor(NEVER).item()] * 3] * 2

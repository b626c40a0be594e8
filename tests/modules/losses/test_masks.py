import math

import torch

from interactrank.modules import AccidentalHits, HardNegativeMining, SampledSoftmax, Temperature
from interactrank.modules.losses import Negatives

NOTHING = torch.zeros(1, 1, 3, dtype=torch.bool)


def negatives(**changes):
    batch = Negatives(
        logits=torch.zeros(3, 2, 3),
        counts=torch.ones(3),
        candidate_request=torch.tensor([0, 0, 1, 1]),
        candidate_slot=torch.tensor([0, 2, 2, 1]),
        positive=torch.tensor([[True, False], [False, True], [False, False], [True, True]]),
    )
    return batch._replace(**changes)


def test_accidental_hits__an_item_engaged_with_in_any_head_is_a_hit_of_its_request_alone():
    out = AccidentalHits()(negatives(), NOTHING)
    # Request 0 engaged with slots 0 and 2, request 1 with slot 1 (slot 2 was only shown).
    assert out.int().tolist() == [[[1, 0, 1]], [[0, 1, 0]], [[0, 0, 0]]]


def test_hard_negatives__the_highest_logits_of_each_request_and_head_stay():
    logits = torch.tensor([[[1.0, 3.0, 2.0], [5.0, 4.0, 6.0]]])
    out = HardNegativeMining(count=2)(negatives(logits=logits), NOTHING)
    assert out.int().tolist() == [[[1, 0, 0], [0, 1, 0]]]


def test_hard_negatives__what_is_masked_before_does_not_count_and_ties_stay():
    logits = torch.tensor([[[9.0, 1.0, 1.0]]])
    masked = torch.tensor([[[True, False, False]]])
    out = HardNegativeMining(count=1)(negatives(logits=logits), masked)
    assert out.int().tolist() == [[[1, 0, 0]]]


def test_hard_negatives__all_stay_if_there_are_fewer():
    assert not HardNegativeMining(count=9)(negatives(), NOTHING).any()


def test_sampled_softmax__masks_are_applied_in_order():
    # Items a, b, c with products 3, 2, 1; a is the positive: a hit. The hardest of the others is b.
    query, item = torch.ones(1, 1, 1), torch.tensor([[3.0], [2.0], [1.0]])
    one = torch.zeros(1, dtype=torch.int64)
    loss = SampledSoftmax(
        temperature=Temperature(learned=False),
        across_ranks=False,
        masks=[AccidentalHits(), HardNegativeMining(count=1)],
    )(query, item, torch.arange(3), one, one, torch.ones(1, 1))
    torch.testing.assert_close(loss, torch.tensor([[math.log(1 + math.exp(2 - 3))]]))


def test_sampled_softmax__without_a_mask_the_positive_is_a_negative_too():
    query, item = torch.ones(1, 1, 1), torch.tensor([[3.0], [2.0]])
    one = torch.zeros(1, dtype=torch.int64)
    plain = SampledSoftmax(temperature=Temperature(learned=False), across_ranks=False, masks=[])
    loss = plain(query, item, torch.arange(2), one, one, torch.ones(1, 1))
    # Negatives a and b: ln(1 + e^(3 - 3) + e^(2 - 3)).
    torch.testing.assert_close(loss, torch.tensor([[math.log(2 + math.exp(-1))]]))

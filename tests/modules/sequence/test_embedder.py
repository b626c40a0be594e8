import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from interactrank.modules import (
    LearnedWeightedPooling,
    QueryCrossAttention,
    RelativeTimeEmbedding,
    SequenceTransformer,
    UserSequenceEmbedder,
)


def make(encoder=False, normalized=False, **options):
    torch.manual_seed(0)
    embedder = UserSequenceEmbedder(
        dim=4,
        action=nn.Embedding(3, 4),
        time=RelativeTimeEmbedding(dim=4),
        encoder=SequenceTransformer(dim=4, window=3) if encoder else None,
        pooling=LearnedWeightedPooling(max_len=6, normalized=normalized),
        attention=QueryCrossAttention(dim=4, query_dim=5),
        **options,
    )
    with torch.no_grad():
        for parameter in embedder.parameters():
            parameter += 0.3 * torch.randn_like(parameter)
    return embedder


def inputs(lengths, seed=1):
    generator = torch.Generator().manual_seed(seed)
    total = sum(lengths)
    return {
        "events": torch.randn(total, 4, generator=generator),
        "lengths": torch.tensor(lengths, dtype=torch.int64),
        "actions": torch.randint(3, (total,), generator=generator),
        "ages": torch.rand(total, generator=generator) * 100,
        "query": torch.randn(len(lengths), 5, generator=generator),
    }


def test_an_event_is_the_sum_of_its_parts():
    embedder = UserSequenceEmbedder(
        dim=4,
        action=nn.Embedding(2, 4),
        time=RelativeTimeEmbedding(dim=4),
        pooling=LearnedWeightedPooling(max_len=1),
        learned_empty=False,
    )
    with torch.no_grad():
        embedder.pooling.weight.fill_(1.0)
    vectors = {"item": torch.randn(1, 4), "query": torch.randn(1, 4)}
    out = embedder(vectors, torch.tensor([1]), actions=torch.tensor([1]), ages=torch.tensor([0.5]))
    parts = vectors["item"] + vectors["query"] + embedder.action.weight[1] + embedder.time.table.weight[1]
    torch.testing.assert_close(out, parts)


@settings(deadline=None, max_examples=25)
@given(
    lengths=st.lists(st.integers(0, 9), min_size=1, max_size=6),
    encoder=st.booleans(),
    normalized=st.booleans(),
    data=st.data(),
)
def test_a_request_does_not_depend_on_its_batch(lengths, encoder, normalized, data):
    embedder = make(encoder, normalized)
    batch = inputs(lengths)
    whole = embedder(**batch)
    order = data.draw(st.permutations(range(len(lengths))))
    bounds = torch.tensor([0, *lengths]).cumsum(0)
    rows = torch.cat([torch.arange(bounds[r], bounds[r + 1]) for r in order])
    shuffled = {name: batch[name][rows] for name in ("events", "actions", "ages")}
    shuffled |= {name: batch[name][list(order)] for name in ("lengths", "query")}
    torch.testing.assert_close(embedder(**shuffled), whole[list(order)], rtol=1e-4, atol=1e-5)


def test_an_empty_history_is_a_learned_vector():
    embedder = make()
    batch = inputs([0, 2, 0])
    out = embedder(**batch)
    torch.testing.assert_close(out[0], embedder.empty)
    torch.testing.assert_close(out[2], embedder.empty)
    out[0].sum().backward()
    assert embedder.empty.grad.tolist() == [1.0] * 8
    assert embedder.pooling.weight.grad.abs().sum() == 0


@pytest.mark.parametrize("lengths", [[], [0], [0, 0], [1], [9, 9]])
def test_gradients_are_finite(lengths):
    embedder = make(True)
    batch = inputs(lengths)
    batch["events"].requires_grad_()
    embedder(**batch).square().sum().backward()
    assert batch["events"].grad.isfinite().all()
    assert all(p.grad is None or p.grad.isfinite().all() for p in embedder.parameters())


def test_sum_and_concat():
    both = inputs([3, 1])
    concat, total = make(), make(combine="sum")
    total.load_state_dict(concat.state_dict() | {"empty": torch.zeros(4)})
    left, right = concat(**both).chunk(2, dim=-1)
    torch.testing.assert_close(total(**both), left + right)
    assert (concat.out_dim, total.out_dim) == (8, 4)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"actions": None}, "actions is missing; the module was built with an action table"),
        ({"ages": None}, "ages is missing"),
        ({"query": None}, "query is missing"),
        ({"events": torch.zeros(3, 5)}, "events has shape"),
    ],
)
def test_a_missing_input_is_named(change, message):
    with pytest.raises(ValueError, match=message):
        make()(**(inputs([3]) | change))


def test_options_that_cannot_be():
    with pytest.raises(ValueError, match="allowed are concat, sum"):
        UserSequenceEmbedder(dim=4, pooling=LearnedWeightedPooling(max_len=1), combine="max")
    with pytest.raises(ValueError, match="computes nothing"):
        UserSequenceEmbedder(dim=4)
    plain = UserSequenceEmbedder(dim=4, pooling=LearnedWeightedPooling(max_len=1))
    with pytest.raises(ValueError, match="ages was given, but the module was not built"):
        plain(torch.zeros(1, 4), torch.tensor([1]), ages=torch.zeros(1))
    with pytest.raises(ValueError, match="no event vectors"):
        plain({}, torch.tensor([0]))

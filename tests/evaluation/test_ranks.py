import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from interactrank.evaluation import corpus_ranks
from interactrank.evaluation.corpus_ranks import ranks_of_relevant
from interactrank.evaluation.ranks import RelevantRanks, ranks_of_candidates


def slow_ranks(scores, gains):
    """(rank, irrelevant ties, gain) of each relevant candidate of one request, by the obvious sort."""
    order = sorted(range(len(scores)), key=lambda i: (-scores[i], gains[i]))
    return [
        (
            place + 1,
            sum(scores[j] == scores[i] and gains[j] == 0 for j in range(len(scores))),
            gains[i],
        )
        for place, i in enumerate(order)
        if gains[i] > 0
    ]


def test_ties_are_worst_case_and_counted():
    # Scores .9 .5 .5 .5 .1; relevant: one .5 and the .1. It stands behind the two other .5: rank 4.
    ranks = ranks_of_candidates([0.9, 0.5, 0.5, 0.5, 0.1], [0, 0, 1, 0, 1], [5])
    assert ranks.rank.tolist() == [4, 5]
    assert ranks.tied.tolist() == [2, 0]


def test_a_constant_scorer_puts_the_relevant_last():
    ranks = ranks_of_candidates(np.zeros(6), [1, 0, 0, 0, 1, 0], [6])
    assert ranks.rank.tolist() == [5, 6]
    dense = ranks_of_relevant(np.zeros((1, 6)), ([0, 0], [0, 4]))
    assert dense.rank.tolist() == [5, 6]
    assert dense.tied.tolist() == [4, 4]


def test_infinite_scores_rank_and_nan_is_refused():
    assert ranks_of_candidates([-np.inf, 0.0, np.inf], [1, 0, 1], [3]).rank.tolist() == [1, 3]
    with pytest.raises(ValueError, match=r"scores\[1\] is nan"):
        ranks_of_candidates([0.0, np.nan], [1, 0], [2])
    with pytest.raises(ValueError, match="scores of request 1 hold NaN"):
        ranks_of_relevant(torch.tensor([[0.0, 1.0], [float("nan"), 0.0]]), ([0], [1]))


def test_excluded_items_do_not_rank_even_where_the_relevant_scores_minus_infinity():
    scores = torch.tensor([[3.0, -torch.inf, 2.0, 1.0], [0.0, 1.0, 2.0, 3.0]])
    ranks = ranks_of_relevant(scores, ([0, 1], [1, 0]), excluded=([0, 0], [0, 3]))
    assert ranks.candidates.tolist() == [2, 4]
    assert ranks.rank.tolist() == [2, 4]
    assert scores[0, 0] == 3.0  # the caller's scores are left alone


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
def test_every_float_type_is_ranked_as_it_is(dtype):
    scores = torch.tensor([[0.25, 0.5, 0.75]], dtype=dtype)
    assert ranks_of_relevant(scores, ([0], [0])).rank.tolist() == [3]


def test_many_pairs_are_compared_in_steps(monkeypatch):
    generator = np.random.default_rng(0)
    scores = generator.integers(0, 4, (7, 9)).astype(np.float32)
    request, item = np.nonzero(generator.random((7, 9)) < 0.4)
    whole = ranks_of_relevant(scores, (request, item))
    monkeypatch.setattr(corpus_ranks, "_BLOCK_ELEMENTS", 20)
    steps = ranks_of_relevant(scores, (request, item))
    assert np.array_equal(whole.rank, steps.rank)
    assert np.array_equal(whole.tied, steps.tied)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"relevant": ([0, 0], [1, 1])}, "named twice"),
        ({"relevant": ([0], [3])}, r"relevant item\[0\] is 3; allowed are 0\.\.2"),
        ({"relevant": ([2], [0])}, r"relevant request\[0\] is 2; allowed are 0\.\.1"),
        ({"relevant": ([0, 1], [0])}, "relevant has 2 requests but 1 items"),
        (
            {"relevant": ([1], [2]), "excluded": ([1], [2])},
            "item 2 is both relevant and excluded for request 1",
        ),
        ({"relevant": ([1], [2]), "gains": [0.0]}, "gains must hold 1 numbers above 0"),
    ],
)
def test_pairs_that_make_no_sense_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        ranks_of_relevant(torch.zeros(2, 3), **arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"candidates": [3], "request": [0, 0], "rank": [2, 2]}, "two relevant candidates at rank 2"),
        ({"candidates": [3], "request": [0], "rank": [4]}, "request 0 has rank 4 but only 3 candidates"),
        ({"candidates": [3], "request": [1], "rank": [1]}, r"request\[0\] is 1; allowed are 0\.\.0"),
        ({"candidates": [3], "request": [0], "rank": [0]}, r"rank\[0\] is 0"),
        ({"candidates": [3], "request": [0], "rank": [1], "gain": [0.0]}, r"gain\[0\] is not above 0"),
        ({"candidates": [3], "request": [0], "rank": [1], "tied": [0, 0]}, "tied has 2 entries"),
    ],
)
def test_ranks_found_elsewhere_are_checked(arguments, message):
    with pytest.raises(ValueError, match=message):
        RelevantRanks.from_pairs(**arguments)


def test_no_request_and_no_candidate():
    empty = ranks_of_candidates([], [], [])
    assert empty.num_requests == 0
    assert ranks_of_candidates([], [], [0, 0]).candidates.tolist() == [0, 0]
    assert ranks_of_relevant(torch.zeros(0, 5), ([], [])).num_requests == 0
    assert len(ranks_of_relevant(torch.zeros(2, 5), ([], [])).rank) == 0


REQUESTS = st.lists(
    st.lists(st.tuples(st.integers(-3, 3), st.sampled_from([0.0, 0.0, 1.0, 2.0])), max_size=8), max_size=6
)


@given(REQUESTS, st.randoms(use_true_random=False))
@settings(max_examples=150, deadline=None)
def test_jagged_equals_the_slow_sort_in_any_order_of_candidates(requests, random):
    expected = []
    for request in requests:
        if request:
            expected += slow_ranks([s for s, _ in request], [g for _, g in request])
        random.shuffle(request)
    flat = [pair for request in requests for pair in request]
    ranks = ranks_of_candidates([s for s, _ in flat], [g for _, g in flat], [len(r) for r in requests])
    assert list(zip(ranks.rank, ranks.tied, ranks.gain, strict=True)) == expected


@given(
    st.integers(1, 5),
    st.integers(1, 9),
    st.integers(0, 2**32 - 1),
)
@settings(max_examples=150, deadline=None)
def test_dense_equals_jagged_on_what_is_not_excluded(rows, items, seed):
    generator = np.random.default_rng(seed)
    scores = generator.integers(0, 5, (rows, items)).astype(np.float32)
    gains = generator.choice([0.0, 0.0, 1.0, 3.0], (rows, items))
    excluded = (generator.random((rows, items)) < 0.3) & (gains == 0)
    dense = ranks_of_relevant(
        torch.from_numpy(scores), np.nonzero(gains), np.nonzero(excluded), gains=gains[np.nonzero(gains)]
    )
    jagged = ranks_of_candidates(scores[~excluded], gains[~excluded], (~excluded).sum(axis=1))
    for name in ("candidates", "request", "rank", "tied", "gain"):
        assert np.array_equal(getattr(dense, name), getattr(jagged, name)), name

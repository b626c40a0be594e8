import numpy as np
import pytest
import torch.distributed as dist

from interactrank.evaluation.gather import gather_frame, sort_frame
from interactrank.evaluation.metrics import ranking_metrics
from interactrank.evaluation.stats.bootstrap import bootstrap_intervals
from tests.ranks import run_ranks


def evaluate(requests):
    """The table of some requests of a fixed log of 30, whose scores depend on the request alone."""
    scores, labels, lengths = [], [], []
    for request in requests:
        generator = np.random.default_rng(request)
        length = int(generator.integers(1, 12))
        scores.append(generator.random(length))
        labels.append(generator.random(length) < 0.3)
        lengths.append(length)
    table = ranking_metrics(np.concatenate([*scores, []]), np.concatenate([*labels, []]), lengths, ks=[3])
    table["request_id"] = np.array(requests, dtype=np.int64)
    table["query"] = np.array([f"query {'x' * request}" for request in requests], dtype=np.str_)
    table["first_visit"] = np.array([request % 2 == 0 for request in requests], dtype=bool)
    return table


def gather_dealt_out(deals):
    """Gathers each deal of requests over the ranks, then tables that do not fit: tables, errors."""
    rank = dist.get_rank()
    tables = [gather_frame(evaluate(deal[rank])) for deal in deals]
    errors = []
    for table in (
        {"request_id": np.array([rank]), "mrr": np.zeros(1, np.float64 if rank else np.float32)},
        {"request_id": np.array([rank]), "mrr" if rank else "map": np.zeros(1)},
        {"request_id": np.array([5])},
    ):
        try:
            gather_frame(table)
        except ValueError as error:
            errors.append(str(error))
    return tables, errors


def test_two_ranks_give_exactly_the_numbers_of_one_process():
    everything = list(range(30))
    deals = [
        (everything[::2], everything[1::2]),
        (everything[:3], everything[:2:-1]),  # uneven, and out of order
        (everything, []),  # nothing on rank 1
        ([], []),
    ]
    results = run_ranks(2, gather_dealt_out, deals)
    whole = evaluate(everything)
    for tables, errors in results:
        for table in tables[:3]:
            assert list(table) == list(whole)
            for name in whole:
                assert table[name].dtype == whole[name].dtype, name
                assert np.array_equal(table[name], whole[name], equal_nan=whole[name].dtype.kind == "f"), name
            assert bootstrap_intervals(table) == bootstrap_intervals(whole)
        assert len(tables[3]["mrr"]) == 0
        assert "ranks disagree on the columns" in errors[0]
        assert "ranks disagree on the columns" in errors[1]
        assert "request_id 5 occurs 2 times; evaluate every request once" in errors[2]


def test_one_process_sorts():
    table = {"request_id": np.array(["b", "a"]), "mrr": np.array([0.5, 1.0])}
    assert gather_frame(table)["mrr"].tolist() == [1.0, 0.5]
    assert sort_frame(table)["request_id"].tolist() == ["a", "b"]
    assert table["mrr"].tolist() == [0.5, 1.0]


def test_what_is_refused():
    with pytest.raises(KeyError, match="no column 'request_id' to sort by; the frame has mrr"):
        gather_frame({"mrr": np.zeros(1)})
    with pytest.raises(TypeError, match="column 'user' has dtype object; only numbers"):
        gather_frame({"request_id": np.zeros(1), "user": np.array([None])})
    with pytest.raises(ValueError, match=r"request_id 1\.0 occurs 2 times"):
        gather_frame({"request_id": np.ones(2)})

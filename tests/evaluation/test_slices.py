import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interactrank.evaluation.slices import (
    Slice,
    length_slice,
    metrics_by_slice,
    per_user_means,
    query_frequency_slice,
    seen_query_slice,
    segment_slice,
)


def labels(slices):
    return [slices.names[i] for i in slices.index]


def test_head_torso_and_tail_split_the_training_traffic():
    # 60 searches: 20 | 10 10 | 5 5 5 | 1 x 5. Thirds end at 20 and 40: head = {20}, torso = {10, 10}.
    counts = [1] * 5 + [10, 5, 20, 5, 10, 5]
    assert labels(query_frequency_slice([20, 10, 5, 1, 0, 15], counts)) == [
        "head", "torso", "tail", "tail", "unseen", "torso",
    ]  # fmt: skip


def test_queries_of_equal_frequency_stay_together():
    assert set(labels(query_frequency_slice([2, 2], [2] * 9))) == {"head"}


def test_an_empty_training_log_leaves_every_query_unseen():
    assert labels(query_frequency_slice([0, 0], [])) == ["unseen", "unseen"]
    with pytest.raises(ValueError, match="0 < head < torso < 1"):
        query_frequency_slice([0], [1], shares=(0.8, 0.2))


@given(st.lists(st.integers(1, 50), min_size=1, max_size=40))
@settings(max_examples=100, deadline=None)
def test_more_frequent_is_never_further_down(counts):
    slices = query_frequency_slice(sorted(counts), counts)
    assert (np.diff(slices.index) <= 0).all()
    assert slices.index[-1] == 0  # the most frequent query is always head


def test_segments_keep_missing_values_apart():
    assert labels(segment_slice(["b", None, float("nan"), 3])) == ["b", "missing", "missing", "3"]
    assert segment_slice([]).names == ()


@pytest.mark.parametrize(
    ("length", "label"), [(0, "0"), (1, "1-4"), (4, "1-4"), (5, "5-19"), (99, "20-99"), (100, "100+")]
)
def test_history_buckets(length, label):
    assert labels(length_slice([length])) == [label]


def test_edges_must_begin_with_zero_and_increase():
    for edges in ([], [1, 5], [0, 5, 5]):
        with pytest.raises(ValueError, match="must begin with 0 and increase"):
            length_slice([1], edges=edges)


def test_every_label_has_its_own_metrics_and_count():
    table = {"x": np.array([1.0, 0.0, np.nan, 0.5]), "relevant": np.array([1, 1, 0, 1])}
    slices = {"query": seen_query_slice([1, 0, 5, 2]), "length": length_slice([0, 0, 0, 0])}
    result = metrics_by_slice(table, slices, resamples=50)
    seen = result["query"]["seen"]
    assert (seen.requests, seen.metrics["x"].value, seen.metrics["x"].requests) == (3, 0.75, 2)
    assert result["query"]["unseen"].metrics["x"].value == 0.0
    empty = result["length"]["100+"]
    assert empty.requests == 0
    assert np.isnan(empty.metrics["x"].value)
    clustered = metrics_by_slice(table, slices, clusters=np.array(["u", "v", "v", "w"]), resamples=50)
    assert clustered["query"]["seen"].metrics["x"].value == 0.75


def test_slices_of_other_requests_are_refused():
    with pytest.raises(ValueError, match="slice 'query' labels 1 requests but the frame has 2"):
        metrics_by_slice({"x": np.zeros(2)}, {"query": seen_query_slice([1])})
    with pytest.raises(ValueError, match=r"index\[0\] is 2; allowed are 0\.\.1"):
        Slice(("a", "b"), np.array([2]))


def test_every_user_counts_once():
    # u: 1, 0, NaN -> .5; v: .25; w has no defined value
    table = {"x": np.array([1.0, 0.25, 0.0, np.nan, np.nan])}
    means = per_user_means(table, np.array(["u", "v", "u", "u", "w"]))
    assert means["x"][:2].tolist() == [0.5, 0.25]
    assert np.isnan(means["x"][2])
    assert means["requests"].tolist() == [3, 1, 1]
    with pytest.raises(ValueError, match="users has 1 entries but the frame has 5 requests"):
        per_user_means(table, ["u"])

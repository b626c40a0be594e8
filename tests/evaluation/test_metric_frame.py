import numpy as np
import pytest

from interactrank.evaluation.metric_frame import (
    average_frames,
    concatenate_frames,
    count_requests,
    frame_means,
    metric_columns,
    metric_matrix,
    num_requests,
    select_requests,
)

TABLE = {
    "request_id": np.array(["a", "b", "c"]),
    "relevant": np.array([1, 0, 2]),
    "mrr": np.array([1.0, np.nan, 0.25]),
}


def test_only_float_columns_are_metrics():
    assert metric_columns(TABLE) == ["mrr"]
    with pytest.raises(KeyError, match="no metric named ndcg, relevant in the frame; it has mrr"):
        metric_columns(TABLE, ["ndcg", "mrr", "relevant"])


def test_means_skip_undefined_requests_and_say_how_many_counted():
    assert frame_means(TABLE) == {"mrr": (0.625, 2)}  # (1 + 0.25) / 2
    nothing = frame_means(select_requests(TABLE, np.array([1])))["mrr"]
    assert np.isnan(nothing[0])
    assert nothing[1] == 0


def test_requests_without_a_relevant_candidate_are_counted():
    assert count_requests(TABLE) == {"requests": 3, "ranked": 2, "without_relevant": 1}


def test_concatenation_needs_the_same_columns():
    parts = [select_requests(TABLE, np.array([i])) for i in range(3)]
    whole = concatenate_frames(parts)
    assert all(np.array_equal(whole[name], TABLE[name], equal_nan=name == "mrr") for name in TABLE)
    with pytest.raises(ValueError, match="frames differ in their columns"):
        concatenate_frames([TABLE, {"mrr": np.zeros(1)}])
    with pytest.raises(ValueError, match="no frame to concatenate"):
        concatenate_frames([])


def test_columns_of_different_lengths_are_refused():
    with pytest.raises(ValueError, match="differ in length"):
        num_requests({"a": np.zeros(1), "b": np.zeros(2)})
    assert num_requests({}) == 0
    assert metric_matrix(TABLE, []).shape == (3, 0)


def test_tables_of_several_seeds_are_averaged_request_by_request():
    first = {"request_index": np.array([4, 7]), "mrr": np.array([1.0, 0.5]), "auc": np.array([np.nan, 0.2])}
    second = {"request_index": np.array([4, 7]), "mrr": np.array([0.5, 0.5]), "auc": np.array([np.nan, 0.4])}
    mean = average_frames([first, second])
    assert mean["request_index"].tolist() == [4, 7]
    assert mean["mrr"].tolist() == [0.75, 0.5]
    assert np.isnan(mean["auc"][0])
    assert mean["auc"][1] == pytest.approx(0.3)


def test_only_the_same_requests_can_be_averaged():
    first = {"request_index": np.array([4, 7]), "mrr": np.array([1.0, 0.5])}
    with pytest.raises(ValueError, match="column 'request_index' differs"):
        average_frames([first, {**first, "request_index": np.array([7, 4])}])
    with pytest.raises(ValueError, match="column 'mrr' differs"):
        average_frames([first, {"request_index": np.array([4, 7])}])
    with pytest.raises(ValueError, match="no frame to average"):
        average_frames([])

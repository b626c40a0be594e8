import struct
import sys

import pytest

from interactrank.core.extras import MissingExtraError
from interactrank.evaluation.plots import plot_comparison, plot_training_curves
from interactrank.evaluation.stats.bootstrap import Interval

NAN = float("nan")
MODELS = {
    "bm25": {"hit@3": Interval(0.73, 0.72, 0.74, 4906), "mrr": Interval(0.6, 0.59, 0.61, 4906)},
    "interactrank": {"hit@3": Interval(0.88, 0.87, 0.89, 4906), "mrr": Interval(NAN, NAN, NAN, 0)},
    "one request": {"hit@3": Interval(1.0, NAN, NAN, 1)},
}


def size_of(path):
    """Width and height in pixels, from the header of a PNG file."""
    header = path.read_bytes()[:24]
    assert header[:8] == b"\x89PNG\r\n\x1a\n"
    return struct.unpack(">II", header[16:24])


def test_curves_of_a_long_run_with_rare_evaluations_and_gaps(tmp_path):
    rows = [{"step": step, "loss": NAN if step == 30 else 1 / (1 + step)} for step in range(80)]
    rows[40]["hit@3"] = 0.5
    rows[79]["hit@3"] = 0.8
    rows[10]["hit@3"] = None
    loss_only = plot_training_curves(rows, tmp_path / "loss.png")
    both = plot_training_curves(rows, tmp_path / "both.png", metrics=["hit@3"])
    assert size_of(both)[0] == 2 * size_of(loss_only)[0]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["both.png", "loss.png"]


def test_a_column_that_no_row_has_is_named(tmp_path):
    with pytest.raises(ValueError, match="no row has a value of 'mrr'; the rows have loss"):
        plot_training_curves([{"step": 1, "loss": 0.5}], tmp_path / "a.png", metrics=["mrr"])
    with pytest.raises(ValueError, match="no column"):
        plot_training_curves([], tmp_path / "a.png")
    assert list(tmp_path.iterdir()) == []


def test_comparison_grows_with_the_metrics(tmp_path):
    two = plot_comparison(MODELS, tmp_path / "two.png", ceilings={"hit@3": 0.91, "not shown": 1.0})
    one = plot_comparison(MODELS, tmp_path / "one.png", metrics=["hit@3"])
    assert size_of(two)[1] > size_of(one)[1]


def test_nothing_to_compare(tmp_path):
    with pytest.raises(ValueError, match="no model has a value of ndcg; nothing to draw"):
        plot_comparison(MODELS, tmp_path / "a.png", metrics=["ndcg"])
    with pytest.raises(ValueError, match="no model has a value of any metric"):
        plot_comparison({}, tmp_path / "a.png")


def test_without_matplotlib_the_pip_line_is_given(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'interactrank\[report\]'"):
        plot_comparison(MODELS, tmp_path / "a.png")

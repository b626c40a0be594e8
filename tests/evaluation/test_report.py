import io
import json
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from interactrank.core.installed import installed_versions
from interactrank.evaluation.metrics_json import write_metrics_json
from interactrank.evaluation.report import best_of, metrics_table, print_metrics
from interactrank.evaluation.slices import SliceMetrics
from interactrank.evaluation.stats.bootstrap import Interval
from interactrank.evaluation.stats.paired import PairedDifference

NAN = float("nan")
MODELS = {
    "bm25": {"hit@3": Interval(0.732, 0.72, 0.744, 4906), "ne": Interval(1.2, 1.1, 1.3, 4906)},
    "interactrank": {"hit@3": Interval(0.8804, 0.871, 0.889, 4906), "ne": Interval(0.8, 0.7, 0.9, 4900)},
}


def printed(width=200, **options):
    stream = io.StringIO()
    print_metrics(MODELS, console=Console(file=stream, width=width), **options)
    return stream.getvalue()


def test_best_of__depends_on_the_direction_and_equal_prints_tie():
    assert best_of({"bm25": 0.7, "interactrank": 0.8}, "hit@3") == {"interactrank"}
    assert best_of({"bm25": 1.2, "interactrank": 0.8}, "ne") == {"interactrank"}
    assert best_of({"bm25": 1.2, "interactrank": 0.8}, "calibration") == set()  # neither is: 1 is right
    assert best_of({"a": 0.50041, "b": 0.5}, "mrr") == {"a", "b"}
    assert best_of({"a": NAN, "b": None}, "mrr") == set()


def test_values_stand_over_intervals_and_requests_are_counted():
    text = printed(ceilings={"hit@3": 0.91})
    assert "0.732" in text
    assert ".720-.744" in text
    assert "1.100-1.300" in text
    assert "4,900 to 4,906 requests" in text
    assert "95 % bootstrap interval" in text
    assert text.index("interactrank") < text.index("optimum") < text.index("0.910")


def test_nothing_is_cut_on_a_narrow_console():
    assert ".720-.744" in printed(width=20)
    assert "interactrank" in printed(width=20)


def test_the_best_is_bold():
    cells = list(metrics_table(MODELS).columns[1].cells)
    assert ["bold" in str(cell.style) for cell in cells] == [False, True]


def test_missing_values_show_a_dash():
    models = {"a": {"mrr": Interval(NAN, NAN, NAN, 0)}, "b": {}, "c": {"mrr": Interval(0.5, NAN, NAN, 1)}}
    assert [str(cell) for cell in metrics_table(models).columns[1].cells] == ["-", "-", "0.500"]
    with pytest.raises(ValueError, match="no model to print"):
        metrics_table({})


def test_metrics_json_holds_everything_in_plain_types(tmp_path):
    written = write_metrics_json(
        tmp_path / "report" / "metrics.json",
        MODELS,
        data={"requests": np.int64(4906), "share": np.float32(0.5), "path": Path("a/b"), "days": (1, 2)},
        slices={"interactrank": {"query": {"unseen": SliceMetrics(0, {"mrr": Interval(NAN, NAN, NAN, 0)})}}},
        paired={"interactrank - bm25": {"hit@3": PairedDifference(0.15, 0.14, 0.16, 1e-4, 4906)}},
    )
    content = json.loads((tmp_path / "report" / "metrics.json").read_text())
    assert content == written
    assert content["models"]["bm25"]["hit@3"] == {
        "value": 0.732,
        "low": 0.72,
        "high": 0.744,
        "requests": 4906,
    }
    assert content["data"] == {"requests": 4906, "share": 0.5, "path": "a/b", "days": [1, 2]}
    unseen = content["slices"]["interactrank"]["query"]["unseen"]
    assert unseen == {
        "requests": 0,
        "metrics": {"mrr": {"value": None, "low": None, "high": None, "requests": 0}},
    }
    assert content["paired"]["interactrank - bm25"]["hit@3"]["p_value"] == 1e-4
    assert content["versions"] == installed_versions()


def test_what_json_cannot_hold_leaves_the_old_file(tmp_path):
    path = tmp_path / "metrics.json"
    write_metrics_json(path, MODELS)
    before = path.read_text()
    with pytest.raises(TypeError, match="not JSON serializable"):
        write_metrics_json(path, MODELS, data={"set": {1}})
    assert path.read_text() == before

"""The learned position bias against the truth of a simulated log."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks import position, report


def test_share_of_best__by_hand() -> None:
    truth = np.array([0.1, 0.4, 0.2, 0.3, 0.6])
    scores = np.array([3.0, 1.0, 2.0, 0.0, 5.0])
    # Of the first request the rows 0 and 2 come first (.1 + .2 of .4 + .2); of the second both.
    found = position.share_of_best(scores, truth, np.array([3, 2]), k=2)
    assert found == pytest.approx([0.5, 1.0])


def test_a_tiny_log(tmp_path: Path) -> None:
    path = position.main(["--smoke", "--output", str(tmp_path)])
    result = json.loads(path.read_text())
    assert report.problems(result) == []
    (table,) = result["tables"]
    without, with_biases = (dict(zip(table["columns"], row, strict=True)) for row in table["rows"])
    assert (without["model"], with_biases["model"]) == ("without biases", "with biases")
    assert 0 < without["truth in the top 3"] <= 1
    assert without["slope"] is None
    assert isinstance(with_biases["slope"], float)

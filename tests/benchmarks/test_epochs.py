"""The metric by number of epochs: one row for each, on validation requests."""

from __future__ import annotations

import json
from pathlib import Path

from benchmarks import epochs, report


def test_a_tiny_demo(tmp_path: Path) -> None:
    path = epochs.main(
        ["--smoke", "--output", str(tmp_path), "--metric", "mrr", "--models", "interactrank", "bm25"]
    )
    result = json.loads(path.read_text())
    assert report.problems(result) == []
    (table,) = result["tables"]
    assert [row[0] for row in table["rows"]] == [1, 2]
    assert table["columns"] == ["epochs", "InteractRank", "InteractRank, 95 %", "BM25", "BM25, 95 %"]
    one, two = table["rows"]
    assert one[3:] == two[3:]  # BM25 is not trained
    assert one[1] != two[1]
    assert "validation requests" in table["note"]

"""The table and picture of a frontier in a page."""

import json
from pathlib import Path

from benchmarks.frontier import COLUMNS
from tools.frontier_page import block


def test_table_and_picture_come_from_the_file(tmp_path: Path) -> None:
    rows = [
        ["BM25", 0.35, 0.3, 0.4, 0.3341, 0.4, None, 0.03, 124.4, None, "yes"],
        ["two-tower", 0.3, None, None, 2.73, 3.25, 0.212, 0.121, 1199.0, 201.4, ""],
    ]
    content = {
        "tables": [{"title": "demo: HIT@3", "columns": COLUMNS, "rows": rows, "note": "Measured so."}],
        "versions": {"torch": "2"},
        "hardware": {"cpu": "a CPU"},
    }
    result = tmp_path / "results" / "frontier_demo.json"
    result.parent.mkdir()
    result.write_text(json.dumps(content))
    page = tmp_path / "docs" / "page.md"
    assert block(result, page).split("\n") == [
        "| model | HIT@3 | us a candidate p50 | p90 | look-up | one more | us a request | operations |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
        "| **BM25** | 0.350 (0.300-0.400) | 0.334 | 0.4 | - | 0.03 | 124 | - |",
        "| two-tower | 0.300 | 2.73 | 3.25 | 0.212 | 0.121 | 1,199 | 201 |",
        "",
        "Measured so.",
        "",
        "a CPU; torch 2.",
    ]
    result.with_suffix(".png").write_bytes(b"PNG")
    assert block(result, page).startswith("![HIT@3 against cost](../results/frontier_demo.png)\n\n| model")

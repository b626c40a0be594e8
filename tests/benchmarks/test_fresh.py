"""The benchmark of events runs, and all clicks count."""

from __future__ import annotations

import json
from pathlib import Path

from benchmarks import fresh, report


def test_a_tiny_run(tmp_path: Path) -> None:
    result = json.loads(fresh.main(["--smoke", "--output", str(tmp_path)]).read_text())
    assert report.problems(result) == []
    loads, clicks, sizes = result["tables"]
    assert [row[0] for row in loads["rows"]] == [events for events, _ in fresh.LOADS]
    assert all(row[1] > 0 for row in loads["rows"][1:])
    assert clicks["rows"][0][:2] == [10, 10]
    recorded = sizes["rows"][1]
    # 8 + 4 + 4 + 1 bytes an event of a user, and 8 + 8 for who it is and where they begin.
    assert recorded[:3] == ["recorded", 50, 10]
    assert 10 * 17 + 16 <= recorded[3] <= 10 * 17 + 16 + 8

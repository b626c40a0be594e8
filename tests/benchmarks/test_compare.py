from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks import compare, harness
from benchmarks.compare import changes, markdown


def row(name: str, qps: float, ratio: float | None = None, *, spread: float = 0.02) -> dict[str, Any]:
    values: dict[str, Any] = {"short_name": f"g/{name}", "rounds": 9}
    for p, factor in ((10, 1 - spread), (50, 1.0), (90, 1 + spread)):
        values[f"qps_p{p}"] = qps * factor
        if ratio is not None:
            values |= {f"{key}_p{p}": ratio * factor for key in ("ratio", "cpu_time_ratio")}
            values["ratio_to"] = "base"
    return values


def result(*rows: dict[str, Any], hardware: str = "cpu", threads: int = 2) -> dict[str, Any]:
    return {
        "benchmark": "toy",
        "date": "2001-01-01",
        "hardware": {"name": hardware, "threads": threads},
        "versions": {"torch": "2"},
        "load_before": [0.1],
        "results": list(rows),
    }


def test_a_change_beyond_the_noise_is_marked() -> None:
    old = result(row("base", 100), row("ours", 300, 3.0), row("other", 200, 2.0))
    new = result(row("base", 102), row("ours", 240, 2.4), row("other", 250, 2.5))
    found = {change.short_name: change for change in changes(old, new)}
    assert found["g/base"].mark == ""  # +2 %, below what is ever marked
    assert found["g/ours"].change == pytest.approx(-0.2)
    assert found["g/ours"].mark == "slower"
    assert found["g/other"].mark == "faster"


def test_the_noise_is_three_standard_errors_of_the_difference() -> None:
    # ln 1.5 - ln 0.5 = 1.0986 from p10 to p90; / 2.563 = 0.4287; * 1.253 / 3 (root of 9 rounds) = 0.1790;
    # two of them: 0.1790 * 1.4142 * 3 = 0.7596; e^0.7596 - 1 = 1.137
    old, new = (result(row("base", 100), row("ours", 1, ratio, spread=0.5)) for ratio in (1.0, 2.0))
    (change,) = [c for c in changes(old, new) if c.what == "ratio"]
    assert change.noise == pytest.approx(1.137, abs=2e-3)
    assert change.change == pytest.approx(1.0)
    assert change.mark == ""  # twice as fast, and yet within the noise


def test_only_ratios_cross_machines() -> None:
    old = result(row("base", 100), row("ours", 300, 3.0))
    new = result(row("base", 50), row("ours", 150, 3.0), hardware="another")
    assert [change.what for change in changes(old, new)] == ["ratio"]
    assert [change.what for change in changes(old, old)] == ["speed", "ratio"]


def test_one_thread_is_compared_by_cpu_time() -> None:
    old, new = (result(row("base", 100), row("ours", 1, 3.0), threads=1) for _ in range(2))
    new["results"][1] |= {f"cpu_time_ratio_p{p}": 9.0 for p in (10, 50, 90)}
    assert changes(old, new)[1].new == 9.0


def test_what_cannot_be_compared_is_refused() -> None:
    with pytest.raises(ValueError, match="toy and toys"):
        changes(result(row("base", 1)), result(row("base", 1)) | {"benchmark": "toys"})
    with pytest.raises(ValueError, match="no row in common"):
        changes(result(row("one", 1)), result(row("two", 1)))


def test_the_page_counts_changes_and_lone_rows() -> None:
    old = result(row("base", 100), row("gone", 100))
    new = result(row("base", 70), row("come", 100))
    page = markdown(old, new)
    assert "| g/base | speed | 100 | 70 | -30.0% | 5.0% | slower |" in page
    assert "1 slower, 0 faster beyond the noise, of 1 rows; 2 rows are in one result only." in page


def test_the_command_compares_committed_results(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = next(p for p in sorted(harness.RESULTS.glob("sequence_*.json")))
    monkeypatch.setattr(sys, "argv", ["compare", str(path), str(path)])
    compare.main()
    assert "0 slower, 0 faster" in capsys.readouterr().out
    damaged = tmp_path / "damaged.json"
    damaged.write_text(json.dumps({"benchmark": "sequence"}))
    monkeypatch.setattr(sys, "argv", ["compare", str(path), str(damaged)])
    with pytest.raises(SystemExit, match=r"damaged.json' is not a result: format: absent"):
        compare.main()
    monkeypatch.setattr(sys, "argv", ["compare", str(path), str(tmp_path / "none.json")])
    with pytest.raises(SystemExit, match="cannot read"):
        compare.main()

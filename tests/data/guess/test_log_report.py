"""What a schema makes of a log, counted by hand."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from interactrank.data.errors import DatasetError
from interactrank.data.guess.leaks import auc
from interactrank.data.guess.log_report import Leak, LogReport, report_log
from interactrank.data.settings import PrepareSettings
from tests.data.logs import event, item, minimal, write_log


def report(folder: Path, *overrides: str, **columns: list[object]) -> LogReport:
    """Three requests of 2, 2 and 1 rows, the first item clicked; one row without an item that is known."""
    rows = [
        event("r0", "u", "q", "a", 0, click=1),
        event("r0", "u", "q", "b", 0),
        event("r1", "u", "q", "a", 60, click=1),
        event("r1", "u", "q", "b", 60),
        event("r2", "v", "q", "b", 120),
        event("r2", "v", "q", "?", 120),
    ]
    rows = [row | {name: values[n] for name, values in columns.items()} for n, row in enumerate(rows)]
    log = write_log(folder / "log", rows, [item("a"), item("b")])
    return report_log(log, minimal("events.request=request_id", *overrides), PrepareSettings())


def test_report(tmp_path: Path) -> None:
    found = report(tmp_path, "events.impressions=true")
    assert found.rows == {"events": 6, "items": 2}
    assert (found.first, found.last) == ("2024-01-01 00:00:00", "2024-01-01 02:00:00")
    assert sum(found.requests.values()) == 3
    assert found.candidates == {"min": 1, "median": 2, "mean": pytest.approx(5 / 3), "max": 2}
    assert (found.engagements, found.shown, found.positives_only) == ({"click": 2}, 5, False)
    assert found.left_out == {"item_id not in items": 1}
    assert "user_id" in found.unused["events"]
    assert "brand" in found.unused["items"]
    assert "query" not in found.unused["events"]
    told = dict(found.lines())
    assert told["left out"] == "1 rows (16.67%): item_id not in items"
    assert told["not joined"].startswith("1 of 3 distinct item_id are not in items, such as '?'")
    assert json.loads(json.dumps(found.to_json()))["shown"] == 5


def test_positives_only(tmp_path: Path) -> None:
    found = report(tmp_path)
    assert (found.positives_only, found.leaks) == (True, [])
    assert found.left_out == {"item_id not in items": 1, "no engagement, and the log has no impressions": 3}
    assert "positives only" in dict(found.lines())["impressions"]


def test_columns_that_look_like_leaks(tmp_path: Path) -> None:
    found = report(
        tmp_path,
        "events.impressions=true",
        "features.candidate=[{name: paid, kind: number, column: paid}]",
        paid=[9.5, 0.0, 7.0, 0.0, 0.0, 0.0],  # higher in clicked rows
        paid_at=[1, None, 2, None, None, None],  # there in clicked rows alone
        state=["sold", "seen", "sold", "seen", "kept", "kept"],
        price=[1.0, 2.0, 3.0, 4.0, 5.0, 6.0],
    )
    leaks = {leak.column: leak for leak in found.leaks}
    assert leaks["events.paid"] == Leak("events.paid", 1.0, used=True)
    assert leaks["events.paid_at"] == Leak("events.paid_at", 1.0, used=False)
    assert leaks["events.state"].auc == 1.0
    assert "events.price" not in leaks


def test_a_log_that_cannot_be_prepared(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="no folder"):
        report_log(tmp_path / "nothing", minimal(), PrepareSettings())


def test_auc_is_the_share_of_pairs_in_order() -> None:
    random = np.random.default_rng(0)
    score, label = random.integers(0, 5, 60).astype(float), random.random(60) < 0.3
    pairs = score[label][:, None] - score[~label][None, :]
    assert auc(score, label) == pytest.approx(((pairs > 0) + 0.5 * (pairs == 0)).mean())
    assert auc(score, np.ones(60, bool)) == 0.5


def test_an_infinite_number_of_a_file(tmp_path: Path) -> None:
    """Neither NaN nor infinity ends the report."""
    report(tmp_path, "events.impressions=true", odd=[float("nan"), float("inf"), 1.0, 2.0, None, 3.0])
    assert pq.read_table(tmp_path / "log" / "events.parquet")["odd"].type == pa.float64()

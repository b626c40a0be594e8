from pathlib import Path

import pytest

from interactrank.training.metrics_log import MetricsLogger, read_metrics


def test_rows_after_the_resumed_step_are_dropped(tmp_path: Path) -> None:
    log = MetricsLogger(tmp_path)
    for step in (1, 2, 3):
        log.add({"step": step, "loss": 1.0 / step})
    log.close()
    resumed = MetricsLogger(tmp_path, step=2)
    resumed.add({"step": 3, "loss": 9.0})
    resumed.close()
    assert resumed.rows == read_metrics(tmp_path / "metrics.jsonl")
    assert [(row["step"], row["loss"]) for row in resumed.rows] == [(1, 1.0), (2, 0.5), (3, 9.0)]


def test_a_line_that_was_cut_off_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1, "loss": 1.0}\n{"step": 2, "lo')
    assert read_metrics(path) == [{"step": 1, "loss": 1.0}]
    assert read_metrics(tmp_path / "none.jsonl") == []


@pytest.mark.parametrize("rest", [b"\x00\xff\x00", b"[1, 2]", b"{}"])
def test_what_is_not_a_row_ends_the_log(tmp_path: Path, rest: bytes) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b'{"step": 1, "loss": 1.0}\n' + rest + b'\n{"step": 2, "loss": 1.0}\n')
    assert read_metrics(path, until=9) == [{"step": 1, "loss": 1.0}]


def test_other_ranks_keep_rows_but_write_nothing(tmp_path: Path) -> None:
    log = MetricsLogger(tmp_path, write=False)
    log.add({"step": 1, "loss": 1.0})
    log.close()
    assert log.rows == [{"step": 1, "loss": 1.0}]
    assert list(tmp_path.iterdir()) == []

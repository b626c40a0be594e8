"""Seconds, milli-, micro- and nanoseconds are told by their size, or asked for."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from interactrank.data.errors import DatasetError
from tests.data.logs import START, event, item, minimal, prepared, requests, table

ALL_TRAIN = {"split": {"validation_share": 0, "test_share": 0}}
MINUTE = 60_000


def times(folder: Path, values: pa.Array, *overrides: str) -> tuple[list[int], dict[str, int]]:
    events = table([event(f"r{n}", "u", "q", "a", 0, click=1) for n in range(len(values))])
    events = events.set_column(events.schema.get_field_index("timestamp"), "timestamp", values)
    schema = minimal("events.request=request_id", *overrides)
    log = prepared(folder, events, [item("a")], schema=schema, settings=ALL_TRAIN)
    return [r["time"] for r in requests(log)], log.manifest["malformed"]


@pytest.mark.parametrize(
    ("scale", "kind"),
    [
        (1e-3, pa.int32()),
        (1e-3, pa.int64()),
        (1e-3, pa.float64()),
        (1, pa.int64()),
        (1e3, pa.int64()),
        (1e6, pa.int64()),
        (1e-3, pa.string()),
        (1, pa.string()),
    ],
)
def test_units(tmp_path: Path, scale: float, kind: Any) -> None:
    moments = [START, START + 5 * MINUTE]
    values = pa.array([round(m * scale) for m in moments]).cast(kind)
    assert times(tmp_path, values) == (moments, {})


def test_fractions_of_seconds(tmp_path: Path) -> None:
    assert times(tmp_path, pa.array([START / 1000 + 0.25]))[0] == [START + 250]


def test_the_unit_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "interactrank"):
        times(tmp_path, pa.array([START // 1000]))
    assert "column 'timestamp' is read as seconds since 1970" in caplog.text


def test_rows_of_another_unit_are_left_out_and_counted(tmp_path: Path) -> None:
    values = pa.array([START, START + MINUTE, START // 1000, START * 1000])
    found = times(tmp_path, values)
    assert found == ([START, START + MINUTE], {"null or unparsable timestamp": 2})


def test_small_numbers_are_asked_for(tmp_path: Path) -> None:
    with pytest.raises(
        DatasetError, match=r"'timestamp' holds numbers such as 5000.*schema\.events\.time_unit"
    ):
        times(tmp_path, pa.array([5000]))


@pytest.mark.parametrize(("unit", "expected"), [("ms", 5000), ("s", 5_000_000), ("us", 5), ("ns", 0)])
def test_a_unit_that_is_given(tmp_path: Path, unit: str, expected: int) -> None:
    assert times(tmp_path, pa.array([5000]), f"events.time_unit={unit}")[0] == [expected]

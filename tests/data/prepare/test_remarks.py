"""What prepare tells before a training that would find it out too late."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest

from interactrank.data import PreparedDataset, PrepareSettings, prepare_log
from interactrank.data.prepare.remarks import remarks
from tests.data.logs import event, item, minimal, prepared, write_log


def facts(**positives: tuple[int, int]) -> dict[str, Any]:
    counts = {s: {"click": {"with_positive": p, "with_both": b}} for s, (p, b) in positives.items()}
    return {"numbers": {}, "requests": {"train": 5, "validation": 0, "test": 5}, "positives": counts}


@pytest.mark.parametrize(
    ("positives", "expected"),
    [
        ({"train": (5, 0), "validation": (0, 0), "test": (5, 1)}, []),
        ({"train": (0, 0), "test": (5, 1)}, ["no train request has a positive of head click"]),
        ({"train": (5, 5), "test": (0, 0)}, ["no test request has a positive of head click"]),
    ],
)
def test_remarks__positives(positives: dict[str, tuple[int, int]], expected: list[str]) -> None:
    assert remarks(facts(**positives)) == expected


def test_remarks__metrics_that_say_nothing() -> None:
    (line,) = remarks(facts(test=(3, 0)))
    assert line.startswith(
        "no test request has both a positive of head click and another candidate: metrics "
    )


def test_remarks__no_test_requests() -> None:
    manifest = facts(test=(0, 0)) | {"requests": {"train": 5, "validation": 0, "test": 0}}
    assert remarks(manifest) == ["there are no test requests to evaluate on; see prepare.split"]


def log_of(tmp_path: Path, price: float, scale: float) -> PreparedDataset:
    """Three requests that show a, which is clicked, and b; both have one price, and different rates."""
    events = [
        event(f"r{n}", "u", "q", name, n, click=int(name == "a"), split="train" if n else "test")
        for n in range(3)
        for name in "ab"
    ]
    items = [item("a", price=price, rate=scale), item("b", price=price, rate=3 * scale)]
    features = ", ".join(f"{{name: {c}, kind: number, column: {c}}}" for c in ("price", "rate"))
    title = "{name: title, kind: words, column: title, table: word}"
    wanted = minimal("events.impressions=true", "events.split=split", f"features.item=[{title}, {features}]")
    return prepared(tmp_path, events, items, schema=wanted)


@pytest.mark.parametrize("scale", [1e-12, 1e-6, 1.0, 1e12])
def test_prepare_log__says_which_numbers_are_constant(
    tmp_path: Path, scale: float, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "interactrank"):
        log_of(tmp_path, 4.0, scale)
    assert [r.getMessage() for r in caplog.records] == [
        "number feature 'price' is dropped: constant, 4 in all training data"
    ]


def test_prepare_log__counts_positives(tmp_path: Path) -> None:
    assert log_of(tmp_path, 4.0, 1.0).manifest["positives"] == {
        "train": {"click": {"with_positive": 2, "with_both": 2}},
        "validation": {"click": {"with_positive": 0, "with_both": 0}},
        "test": {"click": {"with_positive": 1, "with_both": 1}},
    }


def test_prepare_log__says_it_again_of_a_dataset_that_it_keeps(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    log = write_log(tmp_path / "log", [event("r", "u", "q", "a", 0, click=1)], [item("a")])
    for _ in range(2):
        caplog.clear()
        with caplog.at_level(logging.WARNING, "interactrank"):
            prepare_log(log, tmp_path / "out", minimal(), PrepareSettings())
        assert "there are no test requests" in caplog.text

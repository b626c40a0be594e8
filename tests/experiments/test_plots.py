"""The picture of an ablation is drawn from any report."""

from pathlib import Path
from typing import Any

import pytest
from matplotlib.figure import Figure

from interactrank.experiments.plots import plot_ablation
from tests.experiments.reports import report, table


def texts(found: dict[str, Any], path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[list[str], Figure]:
    """(every text of the picture, the picture)."""
    drawn: list[Figure] = []
    save = Figure.savefig
    with monkeypatch.context() as patch:
        patch.setattr(Figure, "savefig", lambda self, *a, **k: (drawn.append(self), save(self, *a, **k)))
        assert plot_ablation(found, path) == path
    assert path.read_bytes()[1:4] == b"PNG"
    return [t.get_text() for axes in drawn[0].axes for t in axes.texts], drawn[0]


def test_every_model_and_every_change_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown, figure = texts(report(optimum=table(95)), tmp_path / "a.png", monkeypatch)
    labels = [t.get_text() for t in figure.axes[0].get_yticklabels()]
    assert labels == ["BM25", "two-tower", "+ lexical match = full", "full - MaskNet", "full - IQP"]
    assert {"0.200", "0.500", "0.800", "0.790"} <= set(shown)
    assert {"+0.300 against BM25", "+0.300", "-0.300", "-0.010", "best possible"} <= set(shown)
    assert [t for t in shown if "part" in t] == ["one part more at a time", "the full model without a part"]


def test_one_request_has_no_interval(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = report()
    for model in found["models"].values():
        model["metrics"]["hit@3"] |= {"low": None, "high": None}
    for pair in found["paired"].values():
        pair["hit@3"] |= {"low": None, "high": None}
    shown, _ = texts(found, tmp_path / "a.png", monkeypatch)
    assert "0.800" in shown
    assert "+0.300" not in shown

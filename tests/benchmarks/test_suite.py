from __future__ import annotations

import argparse
import sys
from pathlib import Path

import pytest

from benchmarks import suite

FOLDER = Path(suite.__file__).parent
NO_SCRIPTS = {"compare", "fault_job", "report", "suite"}  # they measure nothing


def test_every_script_is_in_the_suite() -> None:
    scripts = {path.stem for path in FOLDER.glob("*.py") if '__name__ == "__main__"' in path.read_text()}
    assert scripts - NO_SCRIPTS == set(suite.SCRIPTS)


def test_a_script_that_fails_fails_the_suite(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(suite, "SCRIPTS", {"nothing": ()})
    monkeypatch.setattr(sys, "argv", ["suite", "--smoke", "--output", str(tmp_path)])
    with pytest.raises(SystemExit, match="failed: nothing"):
        suite.main()
    printed = capsys.readouterr().out
    assert "No module named benchmarks.nothing" in printed
    assert "nothing: FAILED" in printed
    assert "0 of 1" in printed


def test_a_script_that_writes_no_result_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(suite, "SCRIPTS", {"report": ()})
    assert not suite.run("report", tmp_path, smoke=False)


def test_an_unknown_script_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["suite", "--only", "^nothing$"])
    with pytest.raises(SystemExit, match=r"no such script; there are train_step, sequence"):
        suite.main()


def test_a_smoke_run_leaves_no_results_behind(tmp_path: Path) -> None:
    options = argparse.Namespace(smoke=True, output=None)
    with suite._folder(options) as folder:
        assert folder != suite.RESULTS
    assert not folder.exists()
    with suite._folder(argparse.Namespace(smoke=True, output=tmp_path / "new")) as folder:
        assert folder == tmp_path / "new"
    assert folder.exists()


def test_a_smoke_run_takes_over_the_options_that_are_not_sizes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(
        suite, "SCRIPTS", {"nothing": ("--no-memory", "--rounds", "5", "--threads", "1"), "none": ()}
    )
    for name in suite.SCRIPTS:
        assert not suite.run(name, tmp_path, smoke=True)
    printed = capsys.readouterr().out
    assert "python -m benchmarks.nothing --smoke --no-memory --threads 1\n" in printed
    assert "python -m benchmarks.none --smoke\n" in printed

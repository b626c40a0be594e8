import logging

import pytest

from interactrank.training.progress import ProgressReport


def test_progress_report__away_from_a_terminal_each_row_is_a_log_line(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.INFO, logger="interactrank"):
        with ProgressReport(total=5, step=0, show=True) as progress:
            progress.advance()
            progress.row({"step": 1, "loss": 0.25, "requests_per_s": 1234.5})
        with ProgressReport(total=5, step=0, show=False) as progress:
            progress.row({"step": 1, "loss": 0.25})
    assert caplog.messages == ["step 1/5  loss 0.25  requests_per_s 1234"]

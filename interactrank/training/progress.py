"""How far a training is: a progress bar on a terminal, else a line of the log for each row of metrics."""

from __future__ import annotations

import logging
from types import TracebackType

from interactrank.core.progress import progress_bar
from interactrank.training.metrics_log import MetricsRow

__all__ = ["ProgressReport"]

logger = logging.getLogger(__name__)


class ProgressReport:
    """A bar with rate and time left if stderr is a terminal, else a log line for each row; rank 0 only.

    Args:
        total: steps of the run.
        step: steps done before this start.
        show: whether this rank shows anything.
    """

    def __init__(self, *, total: int, step: int, show: bool) -> None:
        self.total = total
        self.show = show
        bar = progress_bar()
        self._bar = bar if show and not bar.disable else None
        if self._bar is not None:
            self._task = self._bar.add_task("training", total=total, completed=step)

    def __enter__(self) -> ProgressReport:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def advance(self) -> None:
        """Count one more step."""
        if self._bar is not None:
            self._bar.advance(self._task)

    def row(self, row: MetricsRow) -> None:
        """Show a row of metrics."""
        if self._bar is not None:
            self._bar.update(self._task, description=f"training, loss {row['loss']:.4f}")
        elif self.show:
            text = "  ".join(f"{name} {value:.4g}" for name, value in row.items() if name != "step")
            logger.info("step %d/%d  %s", row["step"], self.total, text)

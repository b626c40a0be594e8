"""Early stopping: how long a validation metric has not become better, read off the rows of metrics.

Nothing is kept apart from the rows, so that a resumed run decides as an uninterrupted one does.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Literal, NamedTuple

from pydantic import Field

from interactrank.core.errors import TrainingError
from interactrank.core.settings import Config, near

__all__ = ["EarlyStopping", "Progress"]


class EarlyStopping(Config):
    """Stop when validations no longer become better, and keep the model of the best one."""

    metric: str = Field(description="that decides, such as ndcg@10")
    patience: int = Field(3, ge=1, description="validations in a row that may be no better than the best")
    min_gain: float = Field(0.0, ge=0, description="a validation is better if it gains more than this")
    mode: Literal["max", "min"] = Field("max", description="whether large values are good, or small ones")

    def progress(self, rows: Iterable[Mapping[str, float]]) -> Progress:
        """Return where a run stands.

        Args:
            rows: of the metrics log; those without a validation do not count.

        Raises:
            TrainingError: a validation does not have the metric; names those that it has.

        Example::

            >>> rows = [{"step": s, "validation/mrr": v} for s, v in [(10, 0.2), (20, 0.4), (30, 0.3)]]
            >>> EarlyStopping(metric="mrr", patience=2).progress(rows)
            Progress(best_step=20, best=0.4, since=1, is_over=False)
        """
        best_step, best, since = 0, float("nan"), 0
        sign = 1 if self.mode == "max" else -1
        for row in rows:
            value = self._value(row)
            if value is None:
                continue
            first = math.isnan(best) and not math.isnan(value)
            if first or sign * (value - best) > self.min_gain:
                best_step, best, since = int(row["step"]), value, 0
            else:
                since += 1
        return Progress(best_step, best, since, since >= self.patience)

    def _value(self, row: Mapping[str, float]) -> float | None:
        measured = [name.removeprefix("validation/") for name in row if name.startswith("validation/")]
        if not measured:
            return None
        if self.metric not in measured:
            raise TrainingError(
                f"training.early_stopping.metric: validations have no {self.metric}"
                f"{near(self.metric, measured)}"
            )
        return row[f"validation/{self.metric}"]


class Progress(NamedTuple):
    """Where a run with early stopping stands.

    Args:
        best_step: of the best validation; 0 before the first one.
        best: its value.
        since: validations after it.
        is_over: whether the patience is at its end.
    """

    best_step: int
    best: float
    since: int
    is_over: bool

"""The metrics of a run: ``metrics.jsonl``, TensorBoard, and a line or a progress bar on the terminal."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from types import TracebackType
from typing import Any

from interactrank.core.extras import require
from interactrank.core.files import atomic_write_text
from interactrank.core.progress import progress_bar

__all__ = ["MetricsLogger", "ProgressReport", "read_metrics"]

MetricsRow = dict[str, float]


def read_metrics(path: str | os.PathLike[str], until: int | None = None) -> list[MetricsRow]:
    """Rows of a ``metrics.jsonl``, in order; none where there is no file.

    Args:
        path: the file.
        until: leave out rows after this step.
    """
    file = Path(path)
    if not file.exists():
        return []
    rows = []
    for line in file.read_text(errors="replace").splitlines():
        try:
            row = json.loads(line)
        except ValueError:
            break  # the last line of a run that was killed while writing it
        if not isinstance(row, dict) or "step" not in row:
            break  # or of a machine that lost power
        rows.append(row)
    return [row for row in rows if until is None or row["step"] <= until]


class MetricsLogger:
    """Rows of a run in memory, in ``metrics.jsonl`` and, if asked, for TensorBoard.

    Args:
        folder: where the files go.
        step: steps done before this start; rows after it, of steps to be run again, are dropped.
        write: whether this rank writes (rank 0 does); the others only keep the rows.
        tensorboard: write scalars under ``folder/tensorboard``.

    Raises:
        MissingExtraError: TensorBoard is asked for and not installed.
    """

    def __init__(self, folder: Path, *, step: int = 0, write: bool = True, tensorboard: bool = False) -> None:
        self.rows = read_metrics(folder / "metrics.jsonl", until=step)
        self._file: Any = None
        self._scalars: Any = None
        if tensorboard:
            require("tensorboard", "report")
        if write:
            text = "".join(json.dumps(row) + "\n" for row in self.rows)
            path = atomic_write_text(folder / "metrics.jsonl", text)
            self._file = path.open("a")
        if write and tensorboard:
            from torch.utils.tensorboard import SummaryWriter

            self._scalars = SummaryWriter(str(folder / "tensorboard"), purge_step=step + 1)

    def add(self, row: MetricsRow) -> None:
        """Appends a row; ``step`` is its key."""
        self.rows.append(row)
        if self._file is not None:
            self._file.write(json.dumps(row) + "\n")
            self._file.flush()
        if self._scalars is not None:
            for name, value in row.items():
                if name != "step":
                    self._scalars.add_scalar(name, value, int(row["step"]))

    def close(self) -> None:
        """Closes the files."""
        for file in (self._file, self._scalars):
            if file is not None:
                file.close()


class ProgressReport:
    """A bar with rate and time left where stderr is a terminal, else a line for each row; rank 0 only.

    Args:
        total: steps of the run.
        step: steps done before this start.
        show: whether this rank prints.
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
        """One more step is done."""
        if self._bar is not None:
            self._bar.advance(self._task)

    def row(self, row: MetricsRow) -> None:
        """Show a row of the metrics."""
        if self._bar is not None:
            self._bar.update(self._task, description=f"training, loss {row['loss']:.4f}")
        elif self.show:
            text = "  ".join(f"{name} {value:.4g}" for name, value in row.items() if name != "step")
            print(f"step {row['step']}/{self.total}  {text}", file=sys.stderr, flush=True)

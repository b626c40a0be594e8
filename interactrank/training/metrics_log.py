"""The metrics of a run, a row every few steps: in ``metrics.jsonl`` and, if asked, for TensorBoard."""

from __future__ import annotations

import json
import os
from pathlib import Path
from types import TracebackType
from typing import Any

from typing_extensions import Self

from interactrank.core.extras import require
from interactrank.core.files import atomic_write_text

__all__ = ["MetricsLogger", "MetricsRow", "read_metrics"]

MetricsRow = dict[str, float]
"""Metric -> value, with the key ``step``."""


def read_metrics(path: str | os.PathLike[str], until: int | None = None) -> list[MetricsRow]:
    """Return the rows of a ``metrics.jsonl``, in order; none if there is no file.

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
    """Rows of a run in memory, in ``metrics.jsonl`` and, if asked, for TensorBoard; closed by ``with``.

    Args:
        folder: where the files go.
        step: steps done before this start; rows after it, of steps that are repeated, are dropped.
        write: whether this rank writes (rank 0 does); the others only keep the rows.
        tensorboard: write scalars under ``folder/tensorboard``.

    Raises:
        MissingExtraError: TensorBoard is asked for and not installed.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        *,
        step: int = 0,
        write: bool = True,
        tensorboard: bool = False,
    ) -> None:
        folder = Path(folder)
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

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def add(self, row: MetricsRow) -> None:
        """Append a row; ``step`` is its key."""
        self.rows.append(row)
        if self._file is not None:
            self._file.write(json.dumps(row) + "\n")
            self._file.flush()
        if self._scalars is not None:
            for name, value in row.items():
                if name != "step":
                    self._scalars.add_scalar(name, value, int(row["step"]))

    def close(self) -> None:
        """Close the files."""
        for file in (self._file, self._scalars):
            if file is not None:
                file.close()

"""Progress bars with rate and time left, on the console that log records are printed on."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from typing import TypeVar

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from interactrank.core.logging import current_rank, stderr

__all__ = ["progress_bar", "track"]

T = TypeVar("T")

logger = logging.getLogger(__name__)


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text("" if task.speed is None else f"{task.speed:,.1f}/s", style="progress.data.speed")


def progress_bar() -> Progress:
    """Return a bar on stderr.

    It is shown on rank 0, on a terminal, and if the logger of this module is enabled for INFO: a program that
    silences the package silences its bars, too.
    """
    console = stderr()
    shown = console.is_terminal and logger.isEnabledFor(logging.INFO) and current_rank() == 0
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        _Rate(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not shown,
    )


def track(values: Iterable[T], total: int, label: str) -> Iterator[T]:
    """Yield the values, with a progress bar while they are consumed."""
    with progress_bar() as bar:
        yield from bar.track(values, total=total, description=label)

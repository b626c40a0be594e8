"""The metrics of an evaluation as a table on the console."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from rich import box
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from interactrank.core.output import ResultConsole
from interactrank.evaluation.metrics.registry import higher_is_better, shown_name
from interactrank.evaluation.scorers.registry import BASELINES
from interactrank.evaluation.stats.bootstrap import Interval
from interactrank.models import MODELS

__all__ = [
    "best_of",
    "metrics_table",
    "model_title",
    "print_metrics",
]

ModelMetrics = Mapping[str, Mapping[str, Interval]]


def best_of(values: Mapping[str, float | None], metric: str, *, digits: int = 3) -> set[str]:
    """Return the models with the best value of a metric, equal ones included.

    Args:
        values: ``{model: value}``, None or NaN without one.
        metric: its column; the registry tells the direction.
        digits: values that are printed alike count as equal.

    Returns:
        Names of models; none if no model has a value or neither direction is better.

    Example::

        >>> best_of({"a": 0.5, "b": 0.2}, "mrr"), best_of({"a": 0.5, "b": 0.2}, "ne")
        ({'a'}, {'b'})
    """
    rounded = {m: round(v, digits) for m, v in values.items() if v is not None and not math.isnan(v)}
    higher = higher_is_better(metric)
    if higher is None or not rounded:
        return set()
    best = (max if higher else min)(rounded.values())
    return {model for model, value in rounded.items() if value == best}


def model_title(name: str) -> str:
    """Return how pages and pictures call a model.

    Example::

        >>> model_title("bm25"), model_title("two_tower"), model_title("no_sequence")
        ('BM25', 'two-tower', 'no sequence')
    """
    known = MODELS.get(name) or BASELINES.get(name)
    return name.replace("_", " ") if known is None else known.title


def metrics_table(
    models: ModelMetrics,
    metrics: Sequence[str] | None = None,
    *,
    ceilings: Mapping[str, float] | None = None,
    title: str | None = None,
    digits: int = 3,
    confidence: float = 0.95,
) -> Table:
    """Lay out a row per model, a column per metric, each value over its interval, the best in bold.

    Args:
        models: ``{model: {metric: Interval}}``, in the order of the rows.
        metrics: the columns; those of the first model when left out.
        ceilings: ``{metric: value}`` that no ranker can pass (known for simulated logs), as a last row.
        title: above the table.
        digits: decimals shown.
        confidence: of the intervals, named in the caption.

    Returns:
        The table; its caption states the number of requests.

    Raises:
        ValueError: no model.

    Example::

        >>> table = metrics_table({"bm25": {"mrr": Interval(0.604, 0.591, 0.617, 4906)}})
        >>> print(table.caption)
        4,906 requests · below each value its 95 % bootstrap interval · best in bold
    """
    if not models:
        raise ValueError("no model to print; evaluate at least one")
    names = list(metrics) if metrics is not None else list(next(iter(models.values())))
    best = {
        name: best_of({m: of[name].value for m, of in models.items() if name in of}, name, digits=digits)
        for name in names
    }
    table = Table(
        title=title,
        title_style="bold",
        caption=_caption(models, names, confidence),
        caption_justify="left",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        show_edge=False,
        padding=(0, 1, 0, 0),
    )
    table.add_column("model", no_wrap=True)
    for name in names:
        table.add_column(shown_name(name), justify="right", no_wrap=True)
    for model, values in models.items():
        cells = [_cell(values.get(name), model in best[name], digits) for name in names]
        table.add_row(Text(model), *cells)
    if ceilings:
        cells = [Text(f"{ceilings[name]:.{digits}f}" if name in ceilings else "") for name in names]
        table.add_row(Text("optimum"), *cells, style="dim italic")
    return table


def print_metrics(
    models: ModelMetrics,
    metrics: Sequence[str] | None = None,
    *,
    ceilings: Mapping[str, float] | None = None,
    title: str | None = None,
    digits: int = 3,
    confidence: float = 0.95,
    console: Console | None = None,
) -> None:
    """Print :func:`metrics_table`, never so narrow that a number is cut.

    Args:
        models: ``{model: {metric: Interval}}``.
        metrics: the columns; those of the first model when left out.
        ceilings: ``{metric: value}`` that no ranker can pass.
        title: above the table.
        digits: decimals shown.
        confidence: of the intervals.
        console: where to print; standard output when left out.

    Example::

        >>> models = {"bm25": {"hit@3": Interval(0.732, 0.72, 0.744, 4906)}}
        >>> print_metrics(models, title="one week")  # doctest: +ELLIPSIS +NORMALIZE_WHITESPACE
            one week
        model      HIT@3
        ...
        bm25       0.732
               .720-.744
        ...
    """
    console = console or ResultConsole()
    table = metrics_table(
        models, metrics, ceilings=ceilings, title=title, digits=digits, confidence=confidence
    )
    # Measured against a wide console: against a narrow one the answer is its own width.
    needed = Measurement.get(console, console.options.update(max_width=10_000), table).maximum
    width = console.width
    try:
        console.width = max(width, needed)
        console.print(table)
    finally:
        console.width = width


def _caption(models: ModelMetrics, names: Sequence[str], confidence: float) -> str:
    counts = sorted({m[name].requests for m in models.values() for name in names if name in m})
    if not counts:
        requests = "0"
    elif counts[0] == counts[-1]:
        requests = f"{counts[0]:,}"
    else:
        requests = f"{counts[0]:,} to {counts[-1]:,}"
    share = f"{100 * confidence:g} %"
    return f"{requests} requests · below each value its {share} bootstrap interval · best in bold"


def _cell(interval: Interval | None, best: bool, digits: int) -> Text:
    if interval is None or math.isnan(interval.value):
        return Text("-", style="dim")
    text = Text(f"{interval.value:.{digits}f}", style="bold green" if best else "")
    if not math.isnan(interval.low):
        text.append(
            f"\n{_short(interval.low, digits)}-{_short(interval.high, digits)}", style="not bold dim default"
        )
    return text


def _short(value: float, digits: int) -> str:
    """Return fixed decimals without the leading zero."""
    return f"{value:.{digits}f}".removeprefix("0") if value >= 0 else f"{value:.{digits}f}"

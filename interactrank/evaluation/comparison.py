"""Several models on the same requests: their metrics, slices and differences, printed and written.

Shapes: R requests.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from interactrank.data.prepared.dataset import PreparedDataset
from interactrank.evaluation.evaluator import request_slices, users
from interactrank.evaluation.intervals import Interval, bootstrap_intervals
from interactrank.evaluation.paired import PairedDifference, compare_paired
from interactrank.evaluation.plots import plot_comparison
from interactrank.evaluation.report import print_metrics, write_metrics_json
from interactrank.evaluation.settings import EvaluationSettings
from interactrank.evaluation.slices import SliceMetrics, metrics_by_slice, per_user_means
from interactrank.evaluation.table import RequestTable, count_requests, table_means

__all__ = ["HEADLINE", "Comparison", "compare"]

HEADLINE = ("hit@3", "hit@10", "mrr", "ndcg@10", "recall@100", "auc")
"""What a table shows, where the settings have the cut-offs."""

ModelMetrics = dict[str, dict[str, Interval]]


@dataclass(frozen=True)
class Comparison:
    """What an evaluation of several models found.

    Attributes:
        models: ``{model: {metric: Interval}}``.
        per_user: the same, every user counting once; empty unless asked for.
        slices: ``{model: {slice: {label: SliceMetrics}}}`` of the headline metrics.
        paired: ``{"first - other": {metric: PairedDifference}}`` of the headline metrics.
        optimum: ``{metric: value}`` that no ranker can pass; empty unless the log is simulated.
        data: what was evaluated.
    """

    models: ModelMetrics
    per_user: ModelMetrics
    slices: dict[str, dict[str, dict[str, SliceMetrics]]]
    paired: dict[str, dict[str, PairedDifference]]
    optimum: dict[str, float]
    data: dict[str, Any]

    @property
    def headline(self) -> list[str]:
        """The headline metrics that were measured."""
        return [m for m in HEADLINE if m in next(iter(self.models.values()))]

    def share_of_optimum(self) -> dict[str, dict[str, float]]:
        """``{model: {headline metric: share}}`` of what any ranker could reach; empty without an optimum."""
        names = [m for m in self.headline if self.optimum.get(m)]
        if not names:
            return {}
        return {model: {m: of[m].value / self.optimum[m] for m in names} for model, of in self.models.items()}

    def show(self, console: Console | None = None) -> None:
        """Print the tables and the lines below them.

        Args:
            console: where to; standard output when left out.
        """
        console = console or Console()
        title = f"{self.data['split']}, {self.data['candidates']} candidates"
        print_metrics(self.models, self.headline, ceilings=self.optimum or None, title=title, console=console)
        for line in [*self._share_lines(), *self._paired_lines()]:
            console.print(line, highlight=False, soft_wrap=True)
        by_query = {
            f"{model} ({label})": of.metrics
            for model, slices in self.slices.items()
            for label, of in slices["query"].items()
            if of.requests
        }
        console.print()
        print_metrics(by_query, self.headline, title="queries seen in training, and others", console=console)
        if self.per_user:
            console.print()
            print_metrics(self.per_user, self.headline, title="every user counts once", console=console)

    def write(self, folder: Path) -> dict[str, Any]:
        """Write ``metrics.json`` and ``comparison.png``.

        Args:
            folder: where to; made if it is not there.

        Returns:
            What ``metrics.json`` holds.
        """
        plot_comparison(
            self.models, folder / "comparison.png", metrics=self.headline, ceilings=self.optimum or None
        )
        return write_metrics_json(
            folder / "metrics.json",
            self.models,
            data={**self.data, "optimum": self.optimum, "share_of_optimum": self.share_of_optimum()},
            slices=self.slices,
            paired=self.paired,
            per_user=self.per_user,
        )

    def _share_lines(self) -> list[str]:
        shares = self.share_of_optimum()
        return [
            f"share of the optimum, {metric}: "
            + ", ".join(f"{model} {of[metric]:.1%}" for model, of in shares.items())
            for metric in ("hit@3", "mrr")
            if any(metric in of for of in shares.values())
        ]

    def _paired_lines(self) -> list[str]:
        return [
            f"{name}: "
            + ", ".join(
                f"{metric} {d.difference:+.3f} ({d.low:+.3f} to {d.high:+.3f})"
                for metric, d in differences.items()
            )
            for name, differences in self.paired.items()
        ]


def compare(
    tables: Mapping[str, RequestTable],
    log: PreparedDataset,
    settings: EvaluationSettings,
    optimum: RequestTable | None = None,
) -> Comparison:
    """Put the evaluations of several models together.

    Args:
        tables: model -> per-request table of :func:`evaluate` over the whole split; the first one is compared
            with each of the others.
        log: the prepared log.
        settings: that the models were evaluated with.
        optimum: table of the ranking by the true probabilities, for a simulated log.

    Returns:
        Metrics with intervals, by slice, by user, and paired.

    Raises:
        ValueError: no model.
    """
    if not tables:
        raise ValueError("no model to compare; evaluate at least one")
    first, table = next(iter(tables.items()))
    headline = [m for m in HEADLINE if m in table]
    cut_offs = [f"{kind}@{k}" for k in settings.ks for kind in ("hit", "ndcg", "recall")]
    metrics = list(dict.fromkeys([*headline, "map", *cut_offs]))
    who = users(log, settings.split) if settings.by_user else None
    draws: dict[str, Any] = {"resamples": settings.resamples, "seed": settings.seed}
    how = {**draws, "clusters": who}
    slices = request_slices(log, settings.split)
    per_user = {} if who is None else {n: per_user_means(t, who, metrics) for n, t in tables.items()}
    return Comparison(
        models={name: bootstrap_intervals(t, metrics, **how) for name, t in tables.items()},
        per_user={name: bootstrap_intervals(t, metrics, **draws) for name, t in per_user.items()},
        slices={name: metrics_by_slice(t, slices, headline, **how) for name, t in tables.items()},
        paired={
            f"{first} - {name}": compare_paired(table, t, headline, key="request_index", **how)
            for name, t in tables.items()
            if name != first
        },
        optimum={}
        if optimum is None
        else {name: mean for name, (mean, _) in table_means(optimum, metrics).items()},
        data={
            "prepared": str(log.folder),
            "split": settings.split,
            "candidates": settings.candidates,
            "events": log.manifest["events"],
            "items": log.manifest["items"],
            "malformed": log.manifest["malformed"],
            **count_requests(table),
        },
    )

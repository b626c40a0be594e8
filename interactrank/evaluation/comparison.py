"""Several models on the same requests: their metrics, slices and differences, written and printed.

Shapes: R requests.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from interactrank.core.output import ResultConsole
from interactrank.data.prepared.dataset import PreparedDataset
from interactrank.evaluation.checks import describe_meaningless, head_index
from interactrank.evaluation.evaluator import request_slices, users
from interactrank.evaluation.metric_frame import PESSIMISTIC, MetricFrame, count_requests, frame_means
from interactrank.evaluation.metrics.registry import columns, headline, probability_metrics, shown_name
from interactrank.evaluation.metrics_json import write_metrics_json
from interactrank.evaluation.plots import has_value, plot_comparison
from interactrank.evaluation.predictions import Predictions
from interactrank.evaluation.report import print_metrics
from interactrank.evaluation.settings import EvaluationSettings
from interactrank.evaluation.slices import SliceMetrics, metrics_by_slice, per_user_means
from interactrank.evaluation.stats.bootstrap import Interval, bootstrap_intervals, mean_values
from interactrank.evaluation.stats.paired import PairedDifference, compare_paired
from interactrank.evaluation.stats.pooled import pooled_intervals

__all__ = ["Comparison", "compare"]

_SHOWN_DIFFERENCE = 0.005  # of a metric with ties in random order and with them ranked last

ModelMetrics = dict[str, dict[str, Interval]]


@dataclass(frozen=True)
class Comparison:
    """What an evaluation of several models found.

    Attributes:
        models: ``{model: {metric: Interval}}``; tied candidates count as if in random order.
        pessimistic: ``{model: {metric: value}}`` with relevant candidates last among tied ones.
        probabilities: ``{model: {metric: Interval}}`` of models whose scores are probabilities.
        per_user: as ``models``, every user counting once; empty unless asked for.
        slices: ``{model: {slice: {label: SliceMetrics}}}`` of the headline metrics.
        paired: ``{"first - other": {metric: PairedDifference}}`` of the headline metrics.
        optimum: ``{metric: value}`` that no ranker can pass; empty unless the log is simulated.
        data: what was evaluated.
        note: the line that tells why metrics say nothing, or less than they seem to.
    """

    models: ModelMetrics
    pessimistic: dict[str, dict[str, float]]
    probabilities: ModelMetrics
    per_user: ModelMetrics
    slices: dict[str, dict[str, dict[str, SliceMetrics]]]
    paired: dict[str, dict[str, PairedDifference]]
    optimum: dict[str, float]
    data: dict[str, Any]
    note: str | None

    @property
    def headline(self) -> list[str]:
        """The headline metrics that were measured."""
        return headline(next(iter(self.models.values())))

    def share_of_optimum(self) -> dict[str, dict[str, float]]:
        """Return ``{model: {headline metric: share}}`` of what any ranker could reach, if that is known."""
        names = [m for m in self.headline if self.optimum.get(m)]
        if not names:
            return {}
        return {model: {m: of[m].value / self.optimum[m] for m in names} for model, of in self.models.items()}

    def write(self, folder: Path) -> dict[str, Any]:
        """Write ``metrics.json``.

        Args:
            folder: where to; made if it is not there.

        Returns:
            What ``metrics.json`` holds.
        """
        return write_metrics_json(
            folder / "metrics.json",
            self.models,
            data={
                **self.data,
                "optimum": self.optimum,
                "share_of_optimum": self.share_of_optimum(),
                "note": self.note,
            },
            slices=self.slices,
            paired=self.paired,
            per_user=self.per_user,
            pessimistic=self.pessimistic,
            probabilities=self.probabilities,
        )

    def plot(self, folder: Path) -> Path | None:
        """Draw the headline metrics.

        Args:
            folder: where to; made if it is not there.

        Returns:
            The picture, ``comparison.png``; None if no metric has a value.

        Raises:
            MissingExtraError: matplotlib is not installed.
        """
        drawn = [m for m in self.headline if any(has_value(of.get(m)) for of in self.models.values())]
        if not drawn:
            return None
        path = folder / "comparison.png"
        return plot_comparison(self.models, path, metrics=drawn, ceilings=self.optimum or None)

    def show(self, console: Console | None = None) -> None:
        """Print the tables and the lines around them.

        Args:
            console: where to; standard output when left out, whatever becomes of it.
        """
        console = console or ResultConsole()
        if self.note is not None:
            console.print(self.note, highlight=False, soft_wrap=True, markup=False)
        title = f"{self.data['split']}, {self.data['candidates']} candidates"
        print_metrics(self.models, self.headline, ceilings=self.optimum or None, title=title, console=console)
        for line in [*self._tie_lines(), *self._share_lines(), *self._paired_lines()]:
            console.print(line, highlight=False, soft_wrap=True, markup=False)
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
        if self.probabilities:
            console.print()
            names = [metric.name for metric in probability_metrics()]
            print_metrics(self.probabilities, names, title="predicted probabilities", console=console)

    def _tie_lines(self) -> list[str]:
        """Return a line for each model whose headline metrics depend on the order of tied candidates."""
        lines = []
        for model, worst in self.pessimistic.items():
            differences = [
                f"{shown_name(m)} {worst[m]:.3f} instead of {self.models[model][m].value:.3f}"
                for m in self.headline
                if m in worst and self.models[model][m].value - worst[m] > _SHOWN_DIFFERENCE
            ]
            if differences:
                lines.append(
                    f"{model} gives candidates equal scores; they count as if in random order. With relevant "
                    f"ones last: {', '.join(differences)}"
                )
        return lines

    def _share_lines(self) -> list[str]:
        shares = self.share_of_optimum()
        return [
            f"share of the optimum, {shown_name(metric)}: "
            + ", ".join(f"{model} {of[metric]:.1%}" for model, of in shares.items())
            for metric in self.headline[:3]
            if any(metric in of for of in shares.values())
        ]

    def _paired_lines(self) -> list[str]:
        return [
            f"{name}: "
            + ", ".join(
                f"{shown_name(metric)} {d.difference:+.3f} ({d.low:+.3f} to {d.high:+.3f})"
                for metric, d in differences.items()
                if d.requests
            )
            for name, differences in self.paired.items()
            if any(d.requests for d in differences.values())
        ]


def compare(
    frames: Mapping[str, MetricFrame],
    log: PreparedDataset,
    settings: EvaluationSettings,
    optimum: MetricFrame | None = None,
    predictions: Mapping[str, Predictions] | None = None,
) -> Comparison:
    """Put the evaluations of several models together.

    Args:
        frames: model -> frame of :func:`evaluate` over the whole split; the first one is compared with each
            of the others.
        log: the prepared log.
        settings: that the models were evaluated with.
        optimum: frame of the ranking by the true probabilities, for a simulated log.
        predictions: of the models whose scores are probabilities.

    Returns:
        Metrics with intervals, by slice, by user, and paired.

    Raises:
        ValueError: no model.
    """
    if not frames:
        raise ValueError("no model to compare; evaluate at least one")
    first, frame = next(iter(frames.items()))
    metrics = [name for name in columns(settings.ks) if name in frame]
    shown = headline(metrics)
    worst = [name + PESSIMISTIC for name in metrics if name + PESSIMISTIC in frame]
    who = users(log, settings.split) if settings.by_user else None
    draws: dict[str, Any] = {"resamples": settings.resamples, "seed": settings.seed}
    how = {**draws, "clusters": who}
    slices = request_slices(log, settings.split)
    per_user = {} if who is None else {n: per_user_means(f, who, metrics) for n, f in frames.items()}
    head = log.schema.head_names[head_index(log, settings)]
    return Comparison(
        models={name: bootstrap_intervals(f, metrics, **how) for name, f in frames.items()},
        pessimistic={
            name: {m.removesuffix(PESSIMISTIC): mean for m, mean in mean_values(f, worst).items()}
            for name, f in frames.items()
        },
        probabilities={
            name: pooled_intervals(p, probability_metrics(), **how) for name, p in (predictions or {}).items()
        },
        per_user={name: bootstrap_intervals(f, metrics, **draws) for name, f in per_user.items()},
        slices={name: metrics_by_slice(f, slices, shown, **how) for name, f in frames.items()},
        paired={
            f"{first} - {name}": compare_paired(frame, f, shown, key="request_index", **how)
            for name, f in frames.items()
            if name != first
        },
        optimum={}
        if optimum is None
        else {name: mean for name, (mean, _) in frame_means(optimum, metrics).items()},
        data=_data(frame, log, settings),
        note=describe_meaningless(frame, settings.split, head),
    )


def _data(frame: MetricFrame, log: PreparedDataset, settings: EvaluationSettings) -> dict[str, Any]:
    return {
        "prepared": str(log.folder),
        "split": settings.split,
        "candidates": settings.candidates,
        "events": log.manifest["events"],
        "items": log.manifest["items"],
        "malformed": log.manifest["malformed"],
        **count_requests(frame),
    }

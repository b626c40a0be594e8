"""From the per-request tables of an ablation's models to its report: means, intervals, tests, findings.

The report is what ``ablation.json`` holds; page, picture and console are made from it alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from numpy.typing import NDArray

from interactrank.core.installed import installed_versions
from interactrank.evaluation.metric_frame import MetricFrame, average_frames, frame_means
from interactrank.evaluation.metrics import headline
from interactrank.evaluation.metrics_json import plain
from interactrank.evaluation.stats.bootstrap import bootstrap_intervals
from interactrank.evaluation.stats.holm import holm
from interactrank.evaluation.stats.paired import compare_paired
from interactrank.experiments.findings import METRIC, claims, verdict
from interactrank.experiments.variants import FULL, Variant
from interactrank.runs.config import RunConfig

__all__ = ["TESTED", "ablation_report"]

TESTED = (METRIC, "hit@10", "mrr", "ndcg@10")
"""Metrics whose differences are tested."""


def ablation_report(
    config: RunConfig,
    variants: Sequence[Variant],
    tables: Mapping[str, Mapping[int, MetricFrame]],
    *,
    users: NDArray[Any] | None,
    optimum: MetricFrame | None = None,
    data: Mapping[str, Any] | None = None,
    failed: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Put the evaluations of all models and seeds together.

    A model's metrics are averaged over its seeds request by request; intervals and tests are those of these
    means over requests (or users), p-values corrected by Holm over all tests of a metric.

    Args:
        config: of the full model.
        variants: the models, in the order of the table; those without a table are left out.
        tables: model -> seed -> per-request table; baselines have the one seed 0.
        users: [R] user of each request, where users are resampled.
        optimum: table of the ranking by the true probabilities, for a simulated log.
        data: what was evaluated.
        failed: model and seed -> why it could not be trained.

    Returns:
        ``models``, ``paired`` (with the difference of each seed, ``seeds``), ``findings``, ``optimum``,
        ``data``, ``settings``, ``failed`` and ``versions``, in JSON's types; NaN is None.
    """
    variants = [variant for variant in variants if tables.get(variant.name)]
    means = {variant.name: average_frames(list(tables[variant.name].values())) for variant in variants}
    metrics = headline(next(iter(means.values())))
    settings = config.evaluation
    draws: dict[str, Any] = {"clusters": users, "resamples": settings.resamples, "seed": settings.seed}
    models = {}
    for variant in variants:
        intervals = bootstrap_intervals(means[variant.name], metrics, **draws)
        seeds = {str(n): _means(table, metrics) for n, table in tables[variant.name].items()}
        models[variant.name] = {
            "label": variant.label,
            "group": variant.group,
            "compared_with": variant.compared_with if variant.compared_with in means else None,
            "equivalent_to": list(variant.equivalent_to),
            "changes": variant.changes,
            "metrics": {name: interval._asdict() for name, interval in intervals.items()},
            "seeds": seeds,
        }
    tested = claims(config, variants)
    pairs = dict.fromkeys(
        [
            *(
                (r.name, r.compared_with)
                for r in variants
                if r.compared_with in means and r.group != "without"
            ),
            *((FULL, r.name) for r in variants if FULL in means and r.name != FULL and r.group != "with"),
            *((c.first, c.other) for c in tested if c.first is not None),
        ]
    )
    names = [m for m in TESTED if m in metrics]
    paired: dict[str, Any] = {
        f"{first} - {other}": {
            name: {
                **{key: value for key, value in found._asdict().items() if key != "requests"},
                "seeds": _seed_differences(models[str(first)], models[str(other)], name),
            }
            for name, found in compare_paired(
                means[str(first)], means[str(other)], names, key="request_index", **draws
            ).items()
        }
        for first, other in pairs
    }
    for name in names:
        corrected = holm([found[name]["p_value"] for found in paired.values()])
        for found, p in zip(paired.values(), corrected, strict=True):
            found[name]["p_holm"] = p
    findings = []
    for claim in tested:
        pair = None if claim.first is None else f"{claim.first} - {claim.other}"
        says = verdict(None if pair is None else paired[pair][METRIC])
        findings.append({"paper": claim.text, "pair": pair, "verdict": says})
    report = {
        "data": dict(data or {}),
        "settings": {
            "metric": METRIC,
            "seeds": max(len(seeds) for seeds in tables.values()),
            "resampled": "requests" if users is None else "users",
            "resamples": settings.resamples,
            "tests": len(pairs),
            "config": config.model_dump(mode="json", by_alias=True, exclude={"variants", "models"}),
        },
        "models": models,
        "paired": paired,
        "findings": findings,
        "optimum": {} if optimum is None else _means(optimum, metrics),
        "failed": dict(failed or {}),
        "versions": installed_versions(),
    }
    written: dict[str, Any] = plain(report)
    return written


def _seed_differences(first: Mapping[str, Any], other: Mapping[str, Any], metric: str) -> list[float]:
    """First minus other for each seed that both have; a baseline, which has none, is the same for all."""
    seeds = first["seeds"].keys() & other["seeds"].keys()
    for side, opposite in ((first, other), (other, first)):
        if side["group"] == "baseline":
            seeds = opposite["seeds"].keys()

    def value(model: Mapping[str, Any], seed: str) -> float:
        return float(model["seeds"]["0" if model["group"] == "baseline" else seed][metric])

    return [value(first, seed) - value(other, seed) for seed in sorted(seeds)]


def _means(table: MetricFrame, metrics: Sequence[str]) -> dict[str, float]:
    return {name: mean for name, (mean, _) in frame_means(table, metrics).items()}

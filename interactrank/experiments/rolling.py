"""Rolling evaluation: train through day d, test on day d + 1, for the last days of a log.

It is the offline test of a ranker in production, which is trained every night: how much a training from
nothing is worth each night, against one that goes on from yesterday's model with yesterday's requests alone,
and what each of them costs.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from interactrank.core.files import atomic_write_text
from interactrank.core.overrides import apply_overrides
from interactrank.core.settings import ConfigError, parse_config
from interactrank.data.prepared.dataset import PreparedDataset
from interactrank.evaluation.metric_frame import MetricFrame, concatenate_frames, frame_means
from interactrank.evaluation.metrics import headline
from interactrank.evaluation.stats.paired import compare_paired
from interactrank.experiments.days import cut_into_days
from interactrank.runs.config import RunConfig
from interactrank.runs.datasets import append_to_dataset, prepare_dataset
from interactrank.runs.evaluation import measure
from interactrank.runs.training import train_model
from interactrank.training.metrics_log import read_metrics

__all__ = ["REPORT", "markdown", "roll"]

logger = logging.getLogger(__name__)

REPORT = "rolling.json"
WAYS = ("full", "continued")


@dataclass(frozen=True)
class Cost:
    """What a training took.

    Attributes:
        seconds: on the clock.
        cpu_seconds: of all threads of this process.
        steps: of the training.
    """

    seconds: float
    cpu_seconds: float
    steps: int


def roll(
    config: RunConfig,
    data: Path,
    output: Path,
    *,
    days: int,
    model: str = "interactrank",
    continued: Sequence[str] = (),
) -> dict[str, Any]:
    """Train and test day by day, from nothing and going on, and write the report.

    For each of the last ``days`` days with events, the dataset grows by the day, the requests before the day
    train and those of the day test. Both trainings are of one process, with the same settings, but that
    the one that goes on trains on the requests of the day before alone, without a warm-up. On the first day
    both are one model. A start into the same directory goes on with the first day that is not in its report.

    Args:
        config: the run's settings; splits and validations of it are not used.
        data: directory of the raw log.
        output: directory of the report, the dataset and the models.
        days: to test on.
        model: the model of the config that is trained.
        continued: settings of the trainings that go on, such as ``training.epochs=2``.

    Returns:
        The report, as written to ``rolling.json``.

    Raises:
        ConfigError: the config stops early, for which there is no validation.
        DatasetError: the log has no more days than are tested on, or cannot be prepared.
    """
    if config.training.early_stopping is not None:
        raise ConfigError("training.early_stopping: roll has no validation requests; set it to null")
    config = _changed(config, "schema.events.split=null", "training.validate_every=null")
    names = cut_into_days(data, output / "days", config.search, days)
    report = _read(output / REPORT, config, names, model, continued)
    frames: dict[str, list[MetricFrame]] = {way: [] for way in WAYS}
    for n, name in enumerate(names):
        folder = output / "frames" / name
        if n >= len(report["days"]):
            dataset = _grown(config, output, names, n)
            row = _one_day(config, dataset, output, names, n, model, continued)
            found = _measure(_of_day(config, name), dataset, output, name, first=n == 0)
            for way in WAYS:
                _save(folder / f"{way}.npz", found[way])
                row[way]["metrics"] = {k: mean for k, (mean, _) in _means(found[way]).items()}
            report["days"].append(row)
            atomic_write_text(output / REPORT, json.dumps(report, indent=1) + "\n")
        for way in WAYS:
            frames[way].append(_load(folder / f"{way}.npz"))
    report["total"] = _total(report["days"], frames, config)
    atomic_write_text(output / REPORT, json.dumps(report, indent=1) + "\n")
    atomic_write_text(output / "rolling.md", markdown(report))
    return report


def _changed(config: RunConfig, *overrides: str) -> RunConfig:
    values = config.model_dump(mode="json", by_alias=True)
    return parse_config(RunConfig, apply_overrides(values, list(overrides)), "settings of roll")


def _of_day(config: RunConfig, day: str) -> RunConfig:
    """Return the config in which the requests before a day train and the day tests."""
    return _changed(
        config,
        f"prepare.split={{test_from: '{day}'}}",
        "prepare.keep_log=true",
        "evaluation.split=test",
    )


def _grown(config: RunConfig, output: Path, names: Sequence[str], n: int) -> Path:
    """Let the dataset grow by the n-th day to test on, and return it."""
    dataset, day, settings = output / "dataset", output / "days" / names[n], _of_day(config, names[n])
    if n == 0:
        prepare_dataset(settings, day, dataset)
    else:
        append_to_dataset(settings, day, dataset)
    return dataset


def _one_day(
    config: RunConfig,
    dataset: Path,
    output: Path,
    names: Sequence[str],
    n: int,
    model: str,
    continued: Sequence[str],
) -> dict[str, Any]:
    """Train both ways, and return the costs."""
    day = names[n]
    settings = _of_day(config, day)
    requests = PreparedDataset(dataset).num_requests("test")
    full = output / "full" / day
    cost = _timed(full, lambda: train_model(settings, dataset, full, model=model))
    row: dict[str, Any] = {"day": day, "requests": requests, "full": asdict(cost)}
    if n == 0:
        row["continued"] = asdict(Cost(0.0, 0.0, 0))
        return row
    before = output / ("full" if n == 1 else "continued") / names[n - 1]
    going_on = _changed(
        settings,
        f"loader.since='{names[n - 1]}'",
        "training.schedule.warmup_steps=0",
        *continued,
    )
    target = output / "continued" / day
    train = lambda: train_model(going_on, dataset, target, model=model, start_from=before)  # noqa: E731
    row["continued"] = asdict(_timed(target, train))
    return row


def _timed(directory: Path, train: Callable[[], None]) -> Cost:
    clock, cpu = time.perf_counter(), time.process_time()
    train()
    took = time.perf_counter() - clock, time.process_time() - cpu
    return Cost(*took, int(read_metrics(directory / "metrics.jsonl")[-1]["step"]))


def _measure(
    config: RunConfig, dataset: Path, output: Path, day: str, *, first: bool
) -> dict[str, MetricFrame]:
    models = {way: output / ("full" if first else way) / day for way in WAYS}
    return measure(config, PreparedDataset(dataset), models).frames


def _means(frame: MetricFrame) -> dict[str, tuple[float, int]]:
    return frame_means(frame, headline(frame))


def _save(path: Path, frame: MetricFrame) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        np.savez(file, **frame)  # type: ignore[arg-type]  # its stub takes no mapping


def _load(path: Path) -> MetricFrame:
    with np.load(path) as values:  # arrays of numbers: no pickle
        return {name: values[name] for name in values.files}


def _read(
    path: Path, config: RunConfig, names: Sequence[str], model: str, continued: Sequence[str]
) -> dict[str, Any]:
    """Return the report of an earlier start of the same roll, or an empty one."""
    values = config.model_dump(mode="json", by_alias=True)
    own = {"model": model, "continued_with": list(continued), "tested": list(names), "config": values}
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError):
        return {**own, "days": []}
    if any(found.get(key) != value for key, value in own.items()):
        raise ConfigError(f"'{path.parent}' holds a roll with other settings; name another --output")
    return {**own, "days": found["days"]}


def _total(
    days: Sequence[dict[str, Any]], frames: dict[str, list[MetricFrame]], config: RunConfig
) -> dict[str, Any]:
    """Return the metrics over all days but the first, where both are one model, and the sum of costs."""
    later = days[1:]
    if not later:
        return {}
    joined = {way: concatenate_frames(frames[way][1:]) for way in WAYS}
    total: dict[str, Any] = {}
    for way in WAYS:
        costs = {key: sum(d[way][key] for d in later) for key in ("seconds", "cpu_seconds", "steps")}
        total[way] = {**costs, "metrics": {k: mean for k, (mean, _) in _means(joined[way]).items()}}
    paired = compare_paired(
        joined["continued"],
        joined["full"],
        headline(joined["full"]),
        key="request_index",
        resamples=config.evaluation.resamples,
    )
    total["continued_minus_full"] = {k: {**d._asdict()} for k, d in paired.items()}
    total["share_of_cpu"] = total["continued"]["cpu_seconds"] / max(total["full"]["cpu_seconds"], 1e-9)
    return total


def markdown(report: dict[str, Any]) -> str:
    """Return the report as a page: a line for each day, then all days but the first together."""
    metrics = list(report["days"][0]["full"]["metrics"])[:3]
    head = ["day", "requests", *(f"{m}, {w}" for m in metrics for w in WAYS), *(f"CPU s, {w}" for w in WAYS)]
    lines = [f"# {report['model']}: trained from nothing each day, and going on", "", _line(head)]
    lines.append(_line(["---"] * len(head)))
    rows = [(d["day"], f"{d['requests']:,}", d) for d in report["days"]]
    if report["total"]:
        rows.append(
            ("all but the first", f"{sum(d['requests'] for d in report['days'][1:]):,}", report["total"])
        )
    for name, requests, row in rows:
        numbers = [f"{row[way]['metrics'][m]:.4f}" for m in metrics for way in WAYS]
        lines.append(_line([name, requests, *numbers, *(f"{row[way]['cpu_seconds']:.1f}" for way in WAYS)]))
    if report["total"]:
        lines.append("")
        for metric in metrics:
            d = report["total"]["continued_minus_full"][metric]
            lines.append(
                f"- {metric}, going on minus from nothing: {d['difference']:+.4f} "
                f"[{d['low']:+.4f}, {d['high']:+.4f}]"
            )
        lines.append(f"- going on takes {report['total']['share_of_cpu']:.1%} of the CPU time of training")
    return "\n".join(lines) + "\n"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"

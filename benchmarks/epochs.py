"""Does a longer training ruin a model? The ranking metric on the validation period by number of epochs.

    python -m benchmarks.epochs --config examples/configs/ranklens.yaml --data path/to/log --name ranklens

Each model is trained again for each number of epochs with the settings of the config. The schedule ends with
the last epoch. It ranks the last fifth of the training requests, which it is not trained on. Test requests
are not looked at. Further arguments are overrides of the config. Without a config it is a small demo.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import machine, report, tables
from benchmarks.frontier import DEMO, SMALL, TINY
from benchmarks.harness import RESULTS
from interactrank.core.known_warnings import silence_known_warnings
from interactrank.evaluation.metrics import headline, shown_name
from interactrank.evaluation.report import model_title
from interactrank.runs.config import load_config
from interactrank.runs.workflow import run_models

QUESTION = "does a longer training ruin a model?"
ON_VALIDATION = ("evaluation.split=validation", "ranks=1", "training.validate_every=null")
SPLIT = "prepare.split.validation_of_train=0.2"


def measure(
    options: argparse.Namespace, folder: Path, overrides: Sequence[str]
) -> dict[int, dict[str, dict[str, Any]]]:
    """Return number of epochs -> model -> metric -> ``value``, ``low`` and ``high``."""
    found = {}
    for epochs in options.epochs:
        config = load_config(options.config, [*overrides, f"models=[{', '.join(options.models)}]"])
        for model in config.trained:  # a variant may have epochs of its own
            config = config.with_settings(model, {("training", "epochs"): epochs})
        run_models(config, options.data, folder)
        found[epochs] = json.loads((folder / "metrics.json").read_text())["models"]
    return found


def epochs_table(
    found: dict[int, dict[str, dict[str, Any]]], metric: str, name: str, note: str
) -> report.Table:
    """A row for each number of epochs; two columns for each model, its value and its interval.

    Example::

        >>> of = {"value": 0.5, "low": 0.4, "high": 0.6}
        >>> epochs_table({2: {"interactrank": {"mrr": of}}}, "mrr", "demo", "")["rows"]
        [[2, 0.5, '0.400-0.600']]
    """
    models = list(next(iter(found.values())))
    rows = []
    for epochs, of in found.items():
        row: list[Any] = [epochs]
        for model in models:
            one = of[model][metric]
            row += [one["value"], f"{one['low']:.3f}-{one['high']:.3f}"]
        rows.append(row)
    columns = ["epochs", *(c for m in models for c in (model_title(m), f"{model_title(m)}, 95 %"))]
    return report.Table(title=f"{name}: {shown_name(metric)}", columns=columns, rows=rows, note=note)


def main(arguments: list[str] | None = None) -> Path:
    """Train, rank and write the result; return the path of the JSON file."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config", type=Path, help="of a run; a small demo when left out")
    parser.add_argument("--data", type=Path, help="the raw log")
    parser.add_argument("--name", default="demo", help="of the log, in titles and names of files")
    parser.add_argument("--models", nargs="+", default=["interactrank", "two_tower"])
    parser.add_argument("--epochs", nargs="+", type=int, default=[1, 2, 4, 8, 12])
    parser.add_argument("--metric", help="the first of the run's table when left out")
    parser.add_argument("--smoke", action="store_true", help="a tiny size, to see that it runs")
    parser.add_argument("--output", type=Path, default=RESULTS, help="folder of the result files")
    options, overrides = parser.parse_known_args(arguments)
    silence_known_warnings()
    before = machine.load()
    overrides = [*ON_VALIDATION, *overrides]
    if options.config is None:
        options.config, overrides = DEMO, [*SMALL, *(TINY if options.smoke else ()), *overrides]
    else:
        overrides = [SPLIT, *overrides]
    if options.smoke:
        options.epochs = [1, 2]
        overrides = [o for o in overrides if not o.startswith("training.steps")]
    with tempfile.TemporaryDirectory() as folder:
        found = measure(options, Path(folder) / "run", overrides)
    first = next(iter(next(iter(found.values())).values()))
    metric = options.metric or headline(first)[0]
    note = (
        f"{first[metric]['requests']:,} validation requests, trained with the settings of the config but for "
        "the number of epochs."
    )
    return tables.write(
        f"epochs_{options.name}",
        QUESTION,
        [epochs_table(found, metric, options.name, note)],
        smoke=options.smoke,
        load_before=before,
        folder=options.output,
    )


if __name__ == "__main__":
    main()

"""A trained model for serving: an export that a server opens, or the vectors of the catalogue alone."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from interactrank.core.progress import progress_bar
from interactrank.core.settings import ConfigError, near
from interactrank.data.prepare.kept_log import LOG
from interactrank.data.prepared.dataset import PreparedDataset
from interactrank.distributed.collectives import raise_on_all_ranks
from interactrank.distributed.world import process_group
from interactrank.evaluation.evaluator import head_index
from interactrank.runs.config import RunConfig, load_config
from interactrank.runs.datasets import open_dataset
from interactrank.runs.run_directory import RunDirectoryError, log_overridden, open_model, read_spec
from interactrank.serving.artifact import Version
from interactrank.serving.export import export_model
from interactrank.serving.item_embeddings import export_items
from interactrank.serving.item_vectors import Precision
from interactrank.serving.pre_ranker import PreRanker
from interactrank.serving.verify import verify

__all__ = ["export_item_embeddings", "export_trained"]

logger = logging.getLogger(__name__)


def export_item_embeddings(config: RunConfig, data: Path, model_dir: Path, output: Path) -> dict[str, Any]:
    """Embed the whole catalogue with a trained model; every rank calls it.

    Args:
        config: the run's settings.
        data: the dataset that the model was trained on.
        model_dir: run directory of the trained model.
        output: directory of the embeddings.

    Returns:
        The export's manifest.

    Raises:
        DatasetError: the dataset is not what the config needs.
        RunDirectoryError: ``model_dir`` holds no trained model of this dataset.
    """
    with process_group(config.training.device, config.training.timeout_s) as world:
        dataset = open_dataset(config, data)
        with raise_on_all_ranks("loading the model"):
            name, model = open_model(model_dir, dataset)
        if world.is_main:
            log_overridden(name, model_dir, config)
        origin = {"name": name, "prepared": dataset.manifest["fingerprint"]}
        with progress_bar() as bar:
            task = bar.add_task("embed items", visible=world.is_main)
            manifest = export_items(
                model,
                dataset,
                output,
                world,
                origin=origin,
                progress=lambda done, total: bar.update(task, completed=done, total=total),
            )
        logger.info("embedded %s items of %s numbers each: %s", manifest["items"], manifest["dim"], output)
        return manifest


def export_trained(
    model_dir: Path,
    output: Path,
    *,
    data: Path | None = None,
    precision: Precision = "float32",
    head_weights: Mapping[str, float] | None = None,
    verify_requests: int = 0,
    replace_newer: bool = False,
    browse: str | None = None,
) -> Version:
    """Export a trained model with everything that ranking by it needs.

    Args:
        model_dir: run directory of the model.
        output: folder of the export.
        data: the dataset that it was trained on; next to ``model_dir``, under the name ``prepared``, when
            left out.
        precision: of the item vectors.
        head_weights: head -> its weight in the score; the head that evaluation ranks by when left out.
        verify_requests: requests that are replayed afterwards.
        replace_newer: serve it even if the version that is served has later events.
        browse: also export what the search page shows of this log; empty for the one that the dataset keeps
            or that lies next to ``model_dir``. None for nothing.

    Returns:
        The version.

    Raises:
        RunDirectoryError: ``model_dir`` holds no trained model of this dataset.
        ArtifactError: the model cannot be exported, or ``output`` is something else than an export.
        ConfigError: there is no such head, or no such log.
        DatasetError: the log's items cannot be read.
    """
    if not (model_dir / "config.yaml").exists():
        raise RunDirectoryError(f"'{model_dir}' holds no trained model; name the run directory of one")
    config = load_config(model_dir / "config.yaml")
    dataset = PreparedDataset(data or model_dir.parent / "prepared")
    name, model = open_model(model_dir, dataset)
    spec = read_spec(model_dir)
    assert spec is not None
    heads = dataset.schema.head_names
    weights = dict(head_weights or {heads[head_index(dataset, config.evaluation)]: 1.0})
    for head in weights:
        if head not in heads:
            raise ConfigError(f"--head: no head '{head}'{near(head, heads)}")
    facts = {
        "model": {"name": name, "settings": spec.settings["model"], "metrics": _metrics(model_dir, name)},
        "head_weights": weights,
        "plugins": list(config.plugins),
        "command": " ".join(["interactrank", *(a for a in sys.argv[1:] if not a.startswith("/"))]),
    }
    version = export_model(
        model,
        dataset,
        output,
        weights=model_dir / "model.safetensors",
        facts=facts,
        precision=precision,
        replace_newer=replace_newer,
        browse=None if browse is None else browse or _log_of(dataset, model_dir),
    )
    if verify_requests:
        found = verify(PreRanker(version), model, dataset, verify_requests)
        version.note("verify", found)
        logger.info(
            "%d %s requests: scores differ by %.2g at most; %.4f of the %d best are the same",
            *(found["requests"], found["split"], found["largest_difference"], found["overlap"], found["k"]),
        )
    logger.info("exported %s items as %s: %s", f"{version.facts['items']:,}", version.name, output)
    return version


def _log_of(dataset: PreparedDataset, model_dir: Path) -> Path:
    """Return the log that the dataset keeps, or the simulated one of the run."""
    places = [dataset.folder / LOG, model_dir.parent / "log"]
    found = next((place for place in places if place.is_dir()), None)
    if found is None:
        raise ConfigError(
            "--browse: neither the dataset nor the run holds its log; name its folder: --browse LOG"
        )
    return found


def _metrics(model_dir: Path, name: str) -> dict[str, Any]:
    """Return metric -> value of the report next to the model's directory, if there is one."""
    try:
        found = json.loads((model_dir.parent / "metrics.json").read_text())["models"][name]
        return {metric: of["value"] for metric, of in found.items()}
    except (OSError, ValueError, KeyError, TypeError):
        return {}

"""The catalogue through a trained model, on every rank."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from interactrank.core.progress import progress_bar
from interactrank.distributed.collectives import raise_on_all_ranks
from interactrank.distributed.world import process_group
from interactrank.runs.config import RunConfig
from interactrank.runs.datasets import open_dataset
from interactrank.runs.run_directory import log_overridden, open_model
from interactrank.serving.item_embeddings import export_items

__all__ = ["export_item_embeddings"]

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

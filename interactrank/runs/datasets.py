"""The data of a run: a log simulated, a dataset prepared and opened."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

from interactrank.core.progress import progress_bar
from interactrank.core.settings import ConfigError
from interactrank.data import prepare_log
from interactrank.data.errors import DatasetError
from interactrank.data.prepare.append import append_log
from interactrank.data.prepared.dataset import PreparedDataset
from interactrank.data.simulator import simulate
from interactrank.data.spark import prepare_on_spark
from interactrank.runs.config import RunConfig
from interactrank.version import __version__

__all__ = ["append_to_dataset", "open_dataset", "prepare_dataset", "simulate_log"]

logger = logging.getLogger(__name__)


def simulate_log(config: RunConfig, output: Path) -> Path:
    """Generate a search log, unless the directory holds the same one already.

    Args:
        config: with a section ``simulate``.
        output: directory of the log.

    Returns:
        ``output``.

    Raises:
        ConfigError: the config has no section ``simulate``.
        FileExistsError: the directory holds something else than a simulated log.
    """
    settings = config.simulate
    if settings is None:
        raise ConfigError("the config has no section simulate; give a log with --data")
    if _read_json(output / "simulation.json") == {
        "version": __version__,
        "settings": settings.model_dump(mode="json"),
    }:
        return output
    with progress_bar() as bar:
        task = bar.add_task("simulate", total=settings.requests)
        simulate(
            settings,
            output,
            overwrite=True,
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
    return output


def prepare_dataset(
    config: RunConfig, log: str | Path, output: Path, *, strict: bool = False, master: str | None = None
) -> dict[str, Any]:
    """Prepare a log and log what was found in it.

    Args:
        config: the run's settings.
        log: directory of the raw log.
        output: directory of the dataset.
        strict: a malformed row is an error.
        master: of Spark, whose executors do the work; None for this machine.

    Returns:
        The manifest.

    Raises:
        DatasetError: the log cannot be prepared.
    """
    settings = config.prepare.model_copy(update={"strict": True}) if strict else config.prepare
    if master is not None:
        return _told(prepare_on_spark(log, output, config.search, settings, master=master))
    return _told(prepare_log(log, output, config.search, settings))


def append_to_dataset(config: RunConfig, day: Path, dataset: Path, *, strict: bool = False) -> dict[str, Any]:
    """Make a day part of a dataset and log what was found in the whole log.

    Args:
        config: the run's settings; its schema is that of the dataset.
        day: directory of the new events, and of new and changed items and users.
        dataset: directory of the dataset.
        strict: a malformed row is an error.

    Returns:
        The manifest.

    Raises:
        DatasetError: the day cannot be appended.
    """
    settings = config.prepare.model_copy(update={"strict": True}) if strict else config.prepare
    return _told(append_log(day, dataset, config.search, settings))


def _told(manifest: dict[str, Any]) -> dict[str, Any]:
    requests = ", ".join(f"{n:,} {split}" for split, n in manifest["requests"].items())
    logger.info(
        "prepared %s events, %s items; requests: %s",
        f"{manifest['events']:,}",
        f"{manifest['items']:,}",
        requests,
    )
    for kind, rows in manifest["malformed"].items():
        logger.warning("left out %s rows: %s", f"{rows:,}", kind)
    return manifest


def open_dataset(config: RunConfig, data: Path) -> PreparedDataset:
    """Open a dataset that was prepared with the config's schema.

    Raises:
        DatasetError: it is not a dataset, or was prepared with another schema.
    """
    dataset = PreparedDataset(data)
    if config.search != dataset.schema:
        raise DatasetError(f"'{data}' was prepared with another schema than this config's; prepare it again")
    return dataset


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError):
        return None

"""A small model with its first weights moved, exported; and the raw log that it was prepared from."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import torch

from interactrank.checkpoint.weights import save_model
from interactrank.data.prepared.dataset import PreparedDataset
from interactrank.distributed.world import process_group
from interactrank.models import InteractRank, ModelSettings
from interactrank.runs.config import RunConfig
from interactrank.runs.datasets import prepare_dataset
from interactrank.runs.run_directory import RunSpec, open_or_resume
from interactrank.serving.artifact import Version
from interactrank.serving.export import export_model
from tests.data import logs
from tests.models import search
from tests.trained import config

HIDDEN = {"cross_features": {"hidden_dims": [4]}}


class Exported(NamedTuple):
    """What an export was made from."""

    folder: Path
    log: PreparedDataset
    model: InteractRank
    events: list[dict[str, Any]]
    config: RunConfig

    @property
    def artifact(self) -> Path:
        """The export."""
        return self.folder / "artifact"


def export(folder: Path, *overrides: str, model: dict[str, Any] | None = None) -> Exported:
    """Prepare a random log, build a model on it and export it."""
    settings = config(*overrides)
    settings = settings.model_copy(
        update={"model": ModelSettings.model_validate({**search.SMALL, **(model or HIDDEN)})}
    )
    events, items, users = logs.random_log(3, requests=60)
    for n, event in enumerate(events):  # what belongs to a request and an item
        event |= {"offer": n % 7 or None, "source": ["ann", "bm25", None][n % 3]}
    prepare_dataset(settings, logs.write_log(folder / "log", events, items, users), folder / "prepared")
    made = model_on(folder, PreparedDataset(folder / "prepared"), settings, events)
    export_again(made, folder / "artifact")
    return made


def model_on(
    folder: Path, log: PreparedDataset, settings: RunConfig, events: list[dict[str, Any]]
) -> Exported:
    """Build a model on a dataset."""
    torch.manual_seed(3)
    built = InteractRank(layout=log.layout, settings=settings.model)
    with torch.no_grad():
        for parameter in built.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    run = folder / "interactrank"
    open_or_resume(run, RunSpec.of("interactrank", settings, log))
    (run / "config.yaml").write_text(settings.dump())
    with process_group("cpu"):
        save_model(built, run / "model.safetensors")
    return Exported(folder, log, built.eval(), events, settings)


def export_again(of: Exported, output: Path, **more: Any) -> Version:
    """Export the model with other choices."""
    facts = {
        "model": {"name": "interactrank", "settings": of.config.model.model_dump(mode="json")},
        "head_weights": {"like": 1.0},
    }
    weights = of.folder / "interactrank" / "model.safetensors"
    return export_model(of.model, of.log, output, weights=weights, facts=facts, **more)


def live_request(of: Exported, request_id: str) -> dict[str, Any]:
    """A logged request as it would have come to a server."""
    row = next(e for e in of.events if e["request_id"] == request_id)
    return {
        name: row[name] for name in ("query", "user_id", "session_id", "timestamp", "hour", "query_vector")
    }

"""The folder of a trained model, and what it was trained from, so that nothing else is taken for it.

``origin.json`` names the model, the prepared log and the settings. A training is only taken up, and a model
only evaluated, where they are the same.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from interactrank.config import RunConfig
from interactrank.data.prepared import PreparedLog
from interactrank.errors import UserError
from interactrank.files import atomic_write_text
from interactrank.models import InteractRank, ModelSettings
from interactrank.schema import parse_config
from interactrank.training.weights import load_model

__all__ = ["ModelFolderError", "claim", "is_trained", "load", "origin", "release"]

ORIGIN, WEIGHTS = "origin.json", "model.safetensors"
# What a training may change when it is taken up: where tables lie, what is written, how long to wait.
FREE = (
    *("sharding", "timeout_s", "log_every", "tensorboard"),
    *("checkpoint_every", "checkpoint_async", "keep_checkpoints"),
)
SETTINGS = ("schema", "loader", "model", "training", "ranks")  # sections that a training depends on


class ModelFolderError(UserError, ValueError):
    """A folder that does not hold the model that is asked for; the message says what it holds."""


def origin(name: str, config: RunConfig, log: PreparedLog) -> dict[str, Any]:
    """What a training starts from, in JSON's types.

    Args:
        name: of the model.
        config: that it is trained with, of :meth:`RunConfig.for_model`.
        log: the prepared log.
    """
    settings = config.model_dump(mode="json", by_alias=True)
    return {
        "model": name,
        "prepared": log.manifest["fingerprint"],
        "settings": {section: settings[section] for section in SETTINGS},
    }


def claim(folder: Path, wanted: dict[str, Any]) -> None:
    """Take a folder for a training, new or to be taken up.

    Args:
        folder: of the model.
        wanted: the origin of the training.

    Raises:
        ModelFolderError: the folder holds a model of another origin.
    """
    found = _read(folder)
    if found is None:
        if is_trained(folder) or (folder / "checkpoints").exists():
            raise ModelFolderError(f"'{folder}' holds a model without {ORIGIN}; name another folder")
        atomic_write_text(folder / ORIGIN, json.dumps(wanted, indent=1) + "\n")
    elif differences := _differences(found, wanted):
        raise ModelFolderError(
            f"'{folder}' holds a model of another {', '.join(differences)}; name another folder, or remove it"
        )


def release(folder: Path, wanted: dict[str, Any]) -> list[str]:
    """Remove a folder whose model has another origin than the one wanted; any other folder stays.

    Args:
        folder: of the model.
        wanted: the origin of the training to come.

    Returns:
        What differed, such as ``["training settings"]``; nothing where the folder stayed.
    """
    found = _read(folder)
    differences = [] if found is None else _differences(found, wanted)
    if differences:
        shutil.rmtree(folder)
    return differences


def is_trained(folder: Path) -> bool:
    """Whether the training in a folder has come to its end."""
    return (folder / WEIGHTS).exists()


def load(name: str, folder: Path, log: PreparedLog) -> InteractRank:
    """A trained model, built from the settings that it was trained with, in evaluation mode.

    Args:
        name: of the model.
        folder: of the model.
        log: the prepared log that it was trained on.

    Raises:
        ModelFolderError: the folder holds no trained model, another one, or one of another prepared log.
        WeightsError: the weights are damaged.
    """
    found = _read(folder)
    if found is None or not is_trained(folder):
        raise ModelFolderError(f"'{folder}' is not the folder of a trained model; train one into it first")
    if found["model"] != name:
        raise ModelFolderError(f"'{folder}' holds the model {found['model']}, not {name}")
    if found["prepared"] != log.manifest["fingerprint"]:
        raise ModelFolderError(
            f"the model in '{folder}' was trained on another preparation than '{log.folder}', where the rows "
            "of ID tables may stand for other values; train it again"
        )
    settings = parse_config(ModelSettings, found["settings"]["model"], str(folder / ORIGIN))
    model = InteractRank(layout=log.layout, settings=settings)
    load_model(model, folder / WEIGHTS)
    return model.eval()


def _read(folder: Path) -> dict[str, Any] | None:
    try:
        found = json.loads((folder / ORIGIN).read_text())
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) and {"model", "prepared", "settings"} <= found.keys() else None


def _differences(found: dict[str, Any], wanted: dict[str, Any]) -> list[str]:
    differences = [] if found["model"] == wanted["model"] else ["model"]
    if found["prepared"] != wanted["prepared"]:
        differences.append("preparation of the log")
    changed = [s for s in SETTINGS if _binding(s, found["settings"]) != _binding(s, wanted["settings"])]
    return differences + [f"section {section}" for section in changed]


def _binding(section: str, settings: dict[str, Any]) -> Any:
    """A section without what a training may change when it is taken up."""
    values = settings.get(section)
    if section != "training" or not isinstance(values, dict):
        return values
    return {key: value for key, value in values.items() if key not in FREE}

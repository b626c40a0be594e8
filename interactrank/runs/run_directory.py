"""The folder of a trained model, and what it was trained from, so that nothing else is taken for it.

``origin.json`` names the model, the prepared log and the settings. A training is only taken up, and a model
only evaluated, where those that decide about its weights are the same.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from interactrank.checkpoint.weights import load_model
from interactrank.core.errors import UserError
from interactrank.core.files import atomic_write_text
from interactrank.core.settings import parse_config
from interactrank.data.prepared.dataset import PreparedDataset
from interactrank.models import MODELS, InteractRank, ModelSettings, build_model
from interactrank.runs.config import RunConfig

__all__ = ["ModelFolderError", "claim", "former", "is_trained", "load", "origin", "passed_over", "release"]

ORIGIN, WEIGHTS = "origin.json", "model.safetensors"
SECTIONS = ("schema", "loader", "model", "training")  # that decide about the weights
# What may change when it is taken up: where it runs and its tables lie, what is written, how long to wait.
FREE = {
    "training": frozenset(
        {
            *("device", "pipeline", "sharding", "timeout_s", "log_every", "validate_every", "tensorboard"),
            *("checkpoint_every", "checkpoint_async", "keep_last"),
        }
    ),
    "loader": frozenset({"prefetch"}),
}


class ModelFolderError(UserError, ValueError):
    """A folder that does not hold the model that is asked for; the message says what it holds."""


def origin(name: str, config: RunConfig, log: PreparedDataset) -> dict[str, Any]:
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
        "settings": {section: settings[section] for section in (*SECTIONS, "ranks")},
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
        strange = [name for name in (WEIGHTS, "checkpoints", "manifest.json") if (folder / name).exists()]
        if strange:
            raise ModelFolderError(
                f"'{folder}' is no model's folder: it holds {strange[0]} and no {ORIGIN}; name another folder"
            )
        _write(folder, wanted)
    elif differences := _differences(found, wanted):
        raise ModelFolderError(
            f"'{folder}' holds a training with other settings: {'; '.join(differences)}. Take those to go on "
            "with it, or name another folder"
        )
    elif found != wanted and not is_trained(folder):
        _write(folder, wanted)  # what is free may have changed


def release(folder: Path, wanted: dict[str, Any]) -> list[str]:
    """Move a folder whose model has another origin than the one wanted out of the way; any other stays.

    It goes to ``<folder>.before``, in place of what is there. A training that has not come to its end can be
    taken up by another number of ranks, so that only a finished one is moved for that.

    Args:
        folder: of the model.
        wanted: the origin of the training to come.

    Returns:
        What differed, such as ``["training.epochs was 1 and is 2"]``; nothing where the folder stayed.
    """
    found = _read(folder)
    if found is None:
        return []
    differences = _differences(found, wanted)
    if is_trained(folder) and found["settings"]["ranks"] != wanted["settings"]["ranks"]:
        differences.append(_difference("ranks", found["settings"]["ranks"], wanted["settings"]["ranks"]))
    if differences:
        before = former(folder)
        if before.exists():
            shutil.rmtree(before)
        folder.rename(before)
    return differences


def former(folder: Path) -> Path:
    """Where :func:`release` moves a folder to."""
    return folder.with_name(f"{folder.name}.before")


def is_trained(folder: Path) -> bool:
    """Whether the training in a folder has come to its end."""
    return (folder / WEIGHTS).exists()


def load(name: str, folder: Path, log: PreparedDataset) -> InteractRank:
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
    model = build_model(name, layout=log.layout, settings=settings)
    load_model(model, folder / WEIGHTS)
    return model.eval()


def passed_over(name: str, folder: Path, config: RunConfig) -> list[str]:
    """Settings of the model in ``config`` that a trained one differs in; the model is as it was trained.

    Args:
        name: of the model.
        folder: of a trained model.
        config: the run's settings.
    """
    found = _read(folder)
    if found is None or name not in (*MODELS, *config.variants):
        return []
    asked = config.for_model(name).model.model_dump(mode="json", by_alias=True)
    return _compare(_flat(found["settings"]["model"], "model"), _flat(asked, "model"))


def _write(folder: Path, origin: dict[str, Any]) -> None:
    atomic_write_text(folder / ORIGIN, json.dumps(origin, indent=1) + "\n")


def _read(folder: Path) -> dict[str, Any] | None:
    try:
        found = json.loads((folder / ORIGIN).read_text())
    except (OSError, ValueError):
        return None
    good = isinstance(found, dict) and {"model", "prepared", "settings"} <= found.keys()
    return found if good and {*SECTIONS, "ranks"} <= set(found["settings"]) else None


def _differences(found: dict[str, Any], wanted: dict[str, Any]) -> list[str]:
    """What keeps a training from being taken up; that may be with other ranks than it was begun with."""
    old, new = (_flat({s: _binding(s, of["settings"]) for s in SECTIONS}) for of in (found, wanted))
    old, new = {"model": found["model"], **old}, {"model": wanted["model"], **new}
    differences = _compare(old, new)
    if found["prepared"] != wanted["prepared"]:
        differences.append("the log was prepared anew")
    return differences


def _binding(section: str, settings: dict[str, Any]) -> Any:
    """A section without what a training may change when it is taken up."""
    values, free = settings[section], FREE.get(section, frozenset())
    return {key: value for key, value in values.items() if key not in free}


def _flat(values: Any, prefix: str = "") -> dict[str, Any]:
    """``section.key`` -> value, for every value that is no mapping."""
    if not isinstance(values, dict) or not values:
        return {prefix: values}
    found: dict[str, Any] = {}
    for key, value in values.items():
        found |= _flat(value, f"{prefix}.{key}" if prefix else str(key))
    return found


def _compare(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    return [
        _difference(key, old.get(key), new.get(key))
        for key in dict.fromkeys([*old, *new])
        if old.get(key) != new.get(key)
    ]


def _difference(key: str, old: Any, new: Any) -> str:
    old, new = (json.dumps(value) for value in (old, new))
    if len(old) + len(new) > 80:
        return f"{key} has changed"
    return f"{key} was {old} and is {new}"

"""The run directory of a model, and what the model was trained from.

``run_spec.json`` names the model, the dataset and the settings. A run is resumed or evaluated only if the
settings that determine its weights are unchanged. A setting whose field has
``json_schema_extra={"resume": "free"}`` may change on resume: device, sharding, logging, checkpointing,
timeouts.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from interactrank.batch.layout import BatchLayout
from interactrank.checkpoint.weights import load_model
from interactrank.core.errors import UserError
from interactrank.core.files import atomic_write_text, sha256
from interactrank.core.settings import parse_config
from interactrank.data.prepared.dataset import PreparedDataset
from interactrank.models import MODELS, InteractRank, ModelSettings, build_model
from interactrank.runs.config import RunConfig

__all__ = [
    "SPEC",
    "RunDirectoryError",
    "RunSpec",
    "changed_settings",
    "fixed_settings",
    "is_trained",
    "log_overridden",
    "move_aside",
    "next_backup",
    "open_model",
    "open_or_resume",
    "overridden_settings",
    "read_spec",
    "trained_spec",
]

logger = logging.getLogger(__name__)

SPEC, WEIGHTS = "run_spec.json", "model.safetensors"
SECTIONS = ("schema", "loader", "model", "training")  # that determine the weights


class RunDirectoryError(UserError, ValueError):
    """A directory that does not hold the model that is asked for; the message says what it holds."""


@dataclass(frozen=True)
class RunSpec:
    """What a model is trained from, in JSON's types.

    Attributes:
        model: its name.
        dataset: fingerprint of the dataset.
        settings: the sections that determine the weights, and ``ranks``.
        lineage: of the dataset, see :attr:`~interactrank.data.PreparedDataset.lineage`.
        layout: rows of ID tables, number of items and statistics of numbers that the model is built with.
        started_from: SHA-256 of the weights that the training went on from; None if it began at the start.
    """

    model: str
    dataset: str
    settings: dict[str, Any]
    lineage: list[str] = field(default_factory=list)
    layout: dict[str, Any] = field(default_factory=dict)
    started_from: str | None = None

    @classmethod
    def of(
        cls, model: str, config: RunConfig, dataset: PreparedDataset, started_from: Path | None = None
    ) -> RunSpec:
        """Return the spec of a training.

        Args:
            model: its name.
            config: that it is trained with, of :meth:`RunConfig.for_model`.
            dataset: that it is trained on.
            started_from: run directory of a trained model that it goes on from.
        """
        values = config.model_dump(mode="json", by_alias=True)
        settings = {section: values[section] for section in (*SECTIONS, "ranks")}
        built = dataset.layout
        layout = {"tables": built.table_rows, "items": built.num_items, "numbers": built.number_stats}
        weights = None if started_from is None else sha256(started_from / WEIGHTS)
        return cls(model, dataset.manifest["fingerprint"], settings, dataset.lineage, layout, weights)

    def differences(self, other: RunSpec) -> list[str]:
        """Return what prevents ``other`` from resuming this run, such as ``loader.seed was 0 and is 4``.

        The number of ranks may differ.
        """
        old, new = (_flat({s: _fixed(s, spec.settings[s]) for s in SECTIONS}) for spec in (self, other))
        found = _compare({"model": self.model, **old}, {"model": other.model, **new})
        if self.started_from != other.started_from:
            found.append("the model that the training goes on from has changed")
        return [*found, "the dataset has changed"] if self.dataset != other.dataset else found


def open_or_resume(directory: Path, spec: RunSpec) -> None:
    """Open a run directory for a training, new or resumed.

    Args:
        directory: of the model.
        spec: of the training.

    Raises:
        RunDirectoryError: the directory holds a model of another spec.
    """
    found = read_spec(directory)
    if found is None:
        held = [name for name in (WEIGHTS, "checkpoints", "manifest.json") if (directory / name).exists()]
        if held:
            raise RunDirectoryError(
                f"'{directory}' is not a run directory: it has {held[0]} but no {SPEC}; name another one"
            )
        _write_spec(directory, spec)
    elif differences := found.differences(spec):
        raise RunDirectoryError(
            f"'{directory}' holds a training with other settings: {'; '.join(differences)}. Use those to "
            "resume it, or name another directory"
        )
    elif found != spec and not is_trained(directory):
        _write_spec(directory, spec)  # settings that may change on resume


def move_aside(directory: Path, spec: RunSpec) -> Path | None:
    """Move a run directory aside if its model was trained from another spec.

    Nothing is deleted: the backups are numbered. A run that is not finished may resume on another number of
    ranks, so that only a finished one is moved for that. If the directory is a link, it stays one.

    Args:
        directory: of the model.
        spec: of the training to come.

    Returns:
        Where the old model is now; None if it stayed.
    """
    found = read_spec(directory)
    if found is None:
        return None
    differences = found.differences(spec)
    if is_trained(directory) and found.settings["ranks"] != spec.settings["ranks"]:
        differences.append(_difference("ranks", found.settings["ranks"], spec.settings["ranks"]))
    if not differences:
        return None
    target = directory.resolve()
    backup = next_backup(target)
    target.rename(backup)
    target.mkdir()
    logger.warning(
        "%s: %s. Retraining; the previous model was moved to %s", spec.model, "; ".join(differences), backup
    )
    return backup


def next_backup(directory: Path) -> Path:
    """Return the first free name of ``<directory>.before_1``, ``.before_2``, ..."""
    number = 1
    while (backup := directory.with_name(f"{directory.name}.before_{number}")).exists():
        number += 1
    return backup


def is_trained(directory: Path) -> bool:
    """Return whether the training of a run directory is finished."""
    return (directory / WEIGHTS).exists()


def open_model(directory: Path, dataset: PreparedDataset) -> tuple[str, InteractRank]:
    """Load a trained model, built from the settings that it was trained with, in evaluation mode.

    Args:
        directory: of the model.
        dataset: that it was trained on, or one that has grown from it, or that it has grown from.

    Returns:
        Its name, and the model. Values that its tables do not have are read as row 0.

    Raises:
        RunDirectoryError: the directory holds no trained model, or one of a dataset of another lineage.
        WeightsError: the weights are damaged.
    """
    found = trained_spec(directory, dataset)
    settings = parse_config(ModelSettings, found.settings["model"], str(directory / SPEC))
    layout = dataset.layout
    grown = found.dataset != dataset.manifest["fingerprint"]
    if grown:
        rows = {name: max(n, found.layout["tables"][name]) for name, n in layout.table_rows.items()}
        layout = BatchLayout(dataset.schema, rows, found.layout["items"], found.layout["numbers"])
    model = build_model(found.model, layout=layout, settings=settings)
    load_model(model, directory / WEIGHTS, grown=grown)
    return found.model, model.eval()


def trained_spec(directory: Path, dataset: PreparedDataset) -> RunSpec:
    """Return what a model was trained from, which goes with a dataset.

    Args:
        directory: of the trained model.
        dataset: of the same lineage as that which it was trained on.

    Raises:
        RunDirectoryError: the directory holds no trained model, or one of a dataset of another lineage.
    """
    found = read_spec(directory)
    if found is None or not is_trained(directory):
        raise RunDirectoryError(f"'{directory}' holds no trained model; train one into it first")
    if found.dataset not in dataset.lineage and dataset.manifest["fingerprint"] not in found.lineage:
        raise RunDirectoryError(
            f"the model in '{directory}' was trained on another dataset than '{dataset.folder}', in which "
            "the rows of ID tables may stand for other values; train it again, or let a dataset grow by "
            "`interactrank prepare --append`, where they stay"
        )
    return found


def overridden_settings(name: str, directory: Path, config: RunConfig) -> list[str]:
    """Return the settings of a model in ``config`` that its trained model overrides with its own.

    Args:
        name: of the model.
        directory: of the trained model.
        config: the run's settings.
    """
    found = read_spec(directory)
    if found is None or name not in (*MODELS, *config.variants):
        return []
    wanted = config.for_model(name).model.model_dump(mode="json", by_alias=True)
    return _compare(_flat(found.settings["model"], "model"), _flat(wanted, "model"))


def log_overridden(name: str, directory: Path, config: RunConfig) -> None:
    """Log the settings of :func:`overridden_settings`, if there are any."""
    if ignored := overridden_settings(name, directory, config):
        logger.warning(
            "%s keeps the settings it was trained with; ignored from this config: %s",
            name,
            "; ".join(ignored),
        )


def read_spec(directory: Path) -> RunSpec | None:
    """Return the spec of a run directory; None if there is none that can be read."""
    try:
        spec = RunSpec(**json.loads((directory / SPEC).read_text()))
        return spec if {*SECTIONS, "ranks"} <= spec.settings.keys() else None
    except (OSError, ValueError, TypeError, AttributeError):
        return None


def _write_spec(directory: Path, spec: RunSpec) -> None:
    atomic_write_text(directory / SPEC, json.dumps(asdict(spec), indent=1) + "\n")


def free_settings(section: str) -> Iterator[str]:
    """Yield the settings of a section that may change on resume."""
    fields = {f.alias or name: f for name, f in RunConfig.model_fields.items()}
    kind = fields[section].annotation
    for name, setting in getattr(kind, "model_fields", {}).items():
        extra = setting.json_schema_extra
        if isinstance(extra, dict) and extra.get("resume") == "free":
            yield name


def fixed_settings(config: RunConfig) -> dict[str, Any]:
    """Return the sections that determine the weights, without the settings that may change on resume."""
    values = config.model_dump(mode="json", by_alias=True)
    return {section: _fixed(section, values[section]) for section in SECTIONS}


def changed_settings(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """Return what differs between two mappings of settings, such as ``loader.seed was 0 and is 4``."""
    return _compare(_flat(old), _flat(new))


def _fixed(section: str, values: dict[str, Any]) -> dict[str, Any]:
    """Return a section without the settings that may change on resume."""
    free = set(free_settings(section))
    return {key: value for key, value in values.items() if key not in free}


def _flat(values: Any, prefix: str = "") -> dict[str, Any]:
    """Return ``section.key`` -> value for every value that is not a mapping."""
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

"""What trials must have in common to belong to one tuning; those of another are moved aside."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

from interactrank.core.files import atomic_write_text
from interactrank.evaluation.scorers.registry import BASELINES
from interactrank.experiments.tuning.study import JOURNAL
from interactrank.experiments.tuning.trial import Judge
from interactrank.runs.run_directory import changed_settings, fixed_settings, next_backup

__all__ = ["keep_or_move_aside", "spec_of"]

logger = logging.getLogger(__name__)

STUDY = "study.json"


def spec_of(judge: Judge) -> dict[str, Any]:
    """Return what the trials of a tuning have in common, in JSON's types."""
    config = judge.config
    own = config if judge.model in BASELINES else config.for_model(judge.model)
    spec = {
        "model": judge.model,
        "dataset": judge.dataset.manifest["fingerprint"],
        "metric": judge.metric,
        "candidates": config.evaluation.candidates,
        "head": config.evaluation.head,
        "requests": config.tuning.requests,
        "seed": config.tuning.seed,
        "space": {dim.key: dim.plain() for dim in judge.dimensions},
        **fixed_settings(own),
    }
    written: dict[str, Any] = json.loads(json.dumps(spec))
    return written


def keep_or_move_aside(folder: Path, spec: dict[str, Any]) -> None:
    """Make the folder of a tuning ready: what is there stays if it is of the same spec.

    Nothing is deleted: other trials go to ``trials.before_1``, ``trials.before_2``, ... within the folder.

    Args:
        folder: of the tuning of one model.
        spec: of :func:`spec_of`.
    """
    try:
        found = json.loads((folder / STUDY).read_text())
    except (OSError, ValueError):
        found = None
    changed = changed_settings(found, spec) if isinstance(found, dict) else []
    if changed:
        backup = next_backup(folder / "trials")
        backup.mkdir()
        # The spec goes last: if this process is stopped in between, the next one moves the rest.
        for name in ("trials", JOURNAL, "trials.json", "trials.md", STUDY):
            if (folder / name).exists():
                (folder / name).rename(backup / name)
        logger.warning("%s. A new tuning begins; the previous trials are in %s", "; ".join(changed), backup)
    if found is None or changed:
        atomic_write_text(folder / STUDY, json.dumps(spec, indent=1) + "\n")

"""What a training may change when it is taken up, and what makes it another one."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from interactrank.model_folder import FREE, ModelFolderError, claim, origin, release
from interactrank.training.settings import TrainingSettings
from tests.runs import config

LOG: Any = SimpleNamespace(manifest={"fingerprint": "a"})


def wanted(*overrides: str) -> dict[str, Any]:
    return origin("interactrank", config(*overrides), LOG)


CHANGES = [
    "training.timeout_s=5",
    "training.checkpoint_every=7",
    "training.checkpoint_async=true",
    "training.keep_checkpoints=4",
    "training.sharding={item: {types: [row_wise]}}",
]


def test_operation_may_change(tmp_path: Path) -> None:
    claim(tmp_path, wanted())
    for change in CHANGES:
        claim(tmp_path, wanted(change))
    assert release(tmp_path, wanted(*CHANGES)) == []
    assert set(FREE) <= set(TrainingSettings.model_fields)


@pytest.mark.parametrize(
    ("change", "section"), [("training.dense.lr=0.5", "training"), ("loader.seed=4", "loader")]
)
def test_what_decides_about_the_weights_may_not(tmp_path: Path, change: str, section: str) -> None:
    claim(tmp_path, wanted())
    with pytest.raises(ModelFolderError, match=f"another section {section}; name another folder"):
        claim(tmp_path, wanted(change, *CHANGES))

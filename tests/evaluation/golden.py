"""Golden cases of the reference, if they are present: next to the project or at INTERACTRANK_GOLDEN."""

import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

FOLDER = Path(
    os.environ.get("INTERACTRANK_GOLDEN", Path(__file__).resolve().parents[3] / "shared" / "golden")
)


def golden_case(name: str) -> dict[str, torch.Tensor]:
    path = FOLDER / f"{name}.safetensors"
    if not path.exists():
        pytest.skip(f"no golden case at {path}")
    return load_file(path)

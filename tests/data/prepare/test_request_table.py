"""Labels and weights that prepare writes are those of the module that computes them from a batch."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from interactrank.data.prepare.request_table import _label, _weights
from interactrank.modules import HeadRule, PriorityLabels

NAMES = ["click", "save", "bounce"]


@pytest.fixture
def engagements() -> torch.Tensor:
    """[8, 3]: every combination."""
    return torch.cartesian_prod(*[torch.tensor([0, 1])] * 3)


def test_labels_and_weights__numpy_and_torch_agree(engagements: torch.Tensor) -> None:
    # Two homes: prepare runs without torch, and a model that labels its own batches runs without numpy.
    rule = PriorityLabels(
        columns=NAMES,
        heads={"engaged": HeadRule(any_of=["click", "save"], unless=["bounce"])},
        priorities=[("save", 7.0), ("click", 2.0)],
        default_weight=0.5,
    )
    labels, weights = rule(engagements)
    happened = dict(zip(NAMES, (engagements.numpy() > 0).T, strict=True))
    block = SimpleNamespace(engaged=happened.__getitem__, items=SimpleNamespace(values=np.arange(8)))
    schema = SimpleNamespace(impression_weight=0.5, label_weights={"save": 7.0, "click": 2.0})
    assert _label(block, ["click", "save"], ["bounce"]).tolist() == labels[:, 0].tolist()  # type: ignore[arg-type]
    assert _weights(schema, block).tolist() == weights.tolist()  # type: ignore[arg-type]

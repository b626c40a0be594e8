"""Labels and weights that prepare writes are those of the module that computes them from a batch."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from interactrank.data.prepare.labels import candidate_weights, head_labels
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
    schema = SimpleNamespace(
        heads=[SimpleNamespace(engagements=["click", "save"], unless=["bounce"])],
        impression_weight=0.5,
        label_weights={"save": 7.0, "click": 2.0},
    )
    requests: Any = SimpleNamespace(
        schema=schema, engaged=happened.__getitem__, items=SimpleNamespace(values=np.arange(8))
    )
    assert head_labels(requests)[:, 0].tolist() == labels[:, 0].tolist()
    assert candidate_weights(requests).tolist() == weights.tolist()

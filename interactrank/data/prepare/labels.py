"""Labels and weights of candidates.

:class:`interactrank.modules.PriorityLabels` computes the same kind of labels from tensors of engagements in
a model. A dataset stores the result: ``prepare`` runs without PyTorch, and a model that reads the dataset
need not know the engagements. A test holds the two equal.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from interactrank.data.prepare.raw_requests import RawRequests

__all__ = ["candidate_weights", "head_labels"]


def head_labels(requests: RawRequests) -> NDArray[np.float32]:
    """Return [C, H]: 1 if any of a head's engagements happened and none of ``unless``, else 0."""
    columns = []
    for head in requests.schema.heads:
        happened = np.any([requests.engaged(e) for e in head.engagements], axis=0)
        for e in head.unless:
            happened &= ~requests.engaged(e)
        columns.append(happened.astype(np.float32))
    return np.stack(columns, axis=1)


def candidate_weights(requests: RawRequests) -> NDArray[np.float32]:
    """Return [C]: the weight of the first engagement in ``label_weights`` that happened."""
    schema = requests.schema
    weights = np.full(len(requests.items.values), schema.impression_weight, np.float32)
    for engagement, weight in reversed(schema.label_weights.items()):
        weights[requests.engaged(engagement)] = weight
    return weights

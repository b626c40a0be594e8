"""What ``interactrank tune`` varies for each model when the config says nothing else.

Each learned model varies what decides whether it is trained well: its learning rates, how long, dropout and
decay, the weight of the in-batch softmax, its width, and the weights that its score begins with. Layers are
left to the config.
"""

from __future__ import annotations

from collections.abc import Mapping

from interactrank.core.search_space import Domain, Range

__all__ = [
    "EARLY_INTERACTION_SPACE",
    "INTERACTRANK_SPACE",
    "LATE_INTERACTION_SPACE",
    "TWO_TOWER_SPACE",
    "tower_space",
    "training_space",
]


def training_space() -> dict[str, Domain]:
    """Return the search space that any model has: its optimizers and its epochs."""
    return {
        "training.dense_optimizer.lr": Range(low=3e-4, high=0.1, log=True),
        "training.dense_optimizer.weight_decay": [0.0, 0.001, 0.01, 0.1],
        "training.table_optimizer.lr": Range(low=1e-3, high=1.0, log=True),
        "training.epochs": Range(low=1, high=10),
    }


def tower_space() -> dict[str, Domain]:
    """Return the search space of a model with two towers."""
    return {
        **training_space(),
        "model.dim": [16, 32, 64],
        "model.*_tower.input_dropout": Range(low=0.0, high=0.6),
        "model.loss.sampled_softmax_weight": [0.0, 0.01, 0.1, 1.0],
    }


INTERACTRANK_SPACE: Mapping[str, Domain] = {
    **tower_space(),
    "model.initial_dot_weight": Range(low=1e-4, high=10.0, log=True),
    "model.initial_cross_weight": Range(low=0.1, high=3.0, log=True),
    "model.cross_features.prior_strength": Range(low=1.0, high=100.0, log=True),
    "model.cross_features.hidden_dims": [[], [16], [32]],
    "loader.projection_share": [0.0, 0.2, 0.4],
}

TWO_TOWER_SPACE: Mapping[str, Domain] = {
    **tower_space(),
    # The dot product is the whole score: it is never less than the default.
    "model.initial_dot_weight": Range(low=5.0, high=30.0, log=True),
}

EARLY_INTERACTION_SPACE: Mapping[str, Domain] = {
    **INTERACTRANK_SPACE,
    "model.interaction.hidden_dims": [[32], [64, 32], [128, 64]],
    "model.interaction.dropout": Range(low=0.0, high=0.5),
}

LATE_INTERACTION_SPACE: Mapping[str, Domain] = {
    **INTERACTRANK_SPACE,
    "model.interaction.vectors": [2, 4, 8],
}

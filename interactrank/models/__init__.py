"""Models: InteractRank and its baselines, composed from the modules by a schema."""

from interactrank.models.interactrank import InteractRank
from interactrank.models.registry import MODELS, ModelFamily, build_model, register_model
from interactrank.models.settings import (
    CrossFeatureModelSettings,
    LossSettings,
    ModelSettings,
    SequenceSettings,
    TowerSettings,
)

__all__ = [
    "MODELS",
    "CrossFeatureModelSettings",
    "InteractRank",
    "LossSettings",
    "ModelFamily",
    "ModelSettings",
    "SequenceSettings",
    "TowerSettings",
    "build_model",
    "register_model",
]

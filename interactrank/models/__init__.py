"""Models: InteractRank and its baselines, composed from the modules by a schema."""

from interactrank.models.interactrank import InteractRank, two_tower
from interactrank.models.settings import (
    HistorySettings,
    LossSettings,
    ModelSettings,
    SequenceSettings,
    TowerSettings,
)

__all__ = [
    "HistorySettings",
    "InteractRank",
    "LossSettings",
    "ModelSettings",
    "SequenceSettings",
    "TowerSettings",
    "two_tower",
]

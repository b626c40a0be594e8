"""Checkpoints of a sharded model and its optimizer, for any number of ranks. Knows no search."""

from interactrank.checkpoint.lock import folder_lock
from interactrank.checkpoint.manifest import CheckpointError
from interactrank.checkpoint.store import CheckpointStore
from interactrank.checkpoint.weights import WeightsError, load_model, save_model

__all__ = ["CheckpointError", "CheckpointStore", "WeightsError", "folder_lock", "load_model", "save_model"]

"""What flows through every part: requests, items and candidates as TorchRec tensors."""

from interactrank.batch.batch import SearchBatch
from interactrank.batch.cross_features import CrossFeatureTensors
from interactrank.batch.layout import BatchLayout, Slot

__all__ = ["BatchLayout", "CrossFeatureTensors", "SearchBatch", "Slot"]

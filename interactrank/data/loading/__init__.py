"""From a prepared dataset to batches."""

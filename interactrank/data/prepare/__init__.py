"""From a raw log to a prepared dataset."""

"""From a staged log to a prepared dataset: vocabularies, items, user sequences, counts, requests."""
